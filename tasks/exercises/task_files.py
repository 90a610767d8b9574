"""A task as data: a YAML file with its source, its wordings, its answers and its family. The built-in ones are in tasks/.

family: symbolic
related: []                          # families that are removed with this one when it is held out
source: {maker: last_letters}        # or {corpus: phrases, maker: count_words}, or {file: own.csv, fields: {...}}
slots: [word]                        # what wordings may use besides {text}, {answer} and {options}
answer_type: letters
options: []                          # the closed answers, [] where every exercise has its own
answer_in_text: false
templates:
  - {form: question, prompt: "What do the last letters of {text} spell?"}
  - {form: turned, prompt: "Name words whose last letters spell {answer}.", answer: "{text}"}
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from tasks.exercises.corpus_makers import CLOSED, CORPUS_MAKERS
from tasks.exercises.makers import MAKERS
from tasks.exercises.marked_yaml import Marked, nearest, read_marked
from tasks.exercises.phrases import MATERIALS
from tasks.exercises.template import AS_IT_IS, FORMS, TURNED, Template, slots_in

BUILT_IN = Path(__file__).with_name("tasks")
SUFFIX = ".yaml"
ANSWER_TYPES = ("number", "choice", "yes_no", "letters", "text", "summary", "code")  # those that evaluation can check
FEWEST_TEMPLATES, MOST_TURNED = 10, 3
ALWAYS = ("text", "answer", "options")
_MORE_FIELDS = ("rationale", "options")  # a row's own, beside its text, its answer and the slots
_REQUIRED = ("family", "source", "answer_type", "templates")
_OPTIONAL = ("related", "slots", "options", "answer_in_text")


@dataclass(frozen=True, kw_only=True)
class Source:
    """`maker` alone draws exercises; with `corpus` it turns the corpus's own phrases, words or definitions into them.

    `file` has one exercise a row, whose parts stand in its `fields`: {"text": "question", "answer": "answer"}.
    """

    maker: str = ""
    corpus: str = ""
    file: Path | None = None
    fields: Mapping[str, str] | None = None


@dataclass(frozen=True, kw_only=True)
class TaskFile:
    """`options` are the closed answers, given out evenly; () where every exercise has its own."""

    name: str
    path: Path
    family: str
    related: tuple[str, ...]
    source: Source
    slots: tuple[str, ...]
    answer_type: str
    options: tuple[str, ...]
    answer_in_text: bool
    templates: tuple[Template, ...]

    @property
    def asking(self) -> tuple[Template, ...]:
        """The wordings that ask for the answer: what answers are judged by, as turned around there may be several."""
        return tuple(template for template in self.templates if not template.turned_around)


def built_in_tasks() -> tuple[TaskFile, ...]:
    return tuple(read_task(path) for path in sorted(BUILT_IN.glob(f"*{SUFFIX}")))


def all_tasks(own: Collection[Path] = ()) -> tuple[TaskFile, ...]:
    """The built-in tasks and one's own, by name; ValueError where two have the same, or one is related to no family."""
    found = {task.name: task for task in built_in_tasks()}
    for path in own:
        task = read_task(path)
        if task.name in found:
            raise ValueError(f"{path}: there is a task {task.name} already ({found[task.name].path}); rename the file")
        found[task.name] = task
    families = sorted({task.family for task in found.values()})
    for task in found.values():
        for family in task.related:
            if family not in families:
                raise ValueError(f"{task.path}: related: there is no family {family}; {nearest(family, families)}")
    return tuple(found[name] for name in sorted(found))


def read_task(path: Path) -> TaskFile:
    """ValueError in one sentence with file, line and mend for a file that is no task."""
    top = read_marked(path)
    values = top.mapping(_REQUIRED, _OPTIONAL)
    slots = values["slots"].texts() if "slots" in values else ()
    options = values["options"].texts() if "options" in values else ()
    source = _source(values["source"], slots)
    if source.corpus:
        _refuse_other_answers(values.get("options", top), source.maker, options)
    open_source = source.file is not None and "options" not in (source.fields or {})
    unknown = ("options",) if open_source and not options else ()  # there will be nothing to show
    usable = [name for name in (*ALWAYS, *slots) if name not in unknown]
    return TaskFile(
        name=path.stem,
        path=path,
        family=values["family"].text(),
        related=values["related"].texts() if "related" in values else (),
        source=source,
        slots=slots,
        answer_type=values["answer_type"].one_of("answer_type", ANSWER_TYPES),
        options=options,
        answer_in_text="answer_in_text" in values and values["answer_in_text"].truth(),
        templates=_templates(path.stem, values["templates"], usable),
    )


def _source(marked: Marked, slots: tuple[str, ...]) -> Source:
    names = marked.any_mapping()
    if "file" in names:
        values = marked.mapping(("file", "fields"))
        file = marked.path.parent / Path(values["file"].text()).expanduser()
        if not file.is_file():
            raise values["file"].wrong(f"there is no file {file}; name one beside this file, or by its whole path")
        fields = values["fields"].mapping(("text", "answer", *slots), _MORE_FIELDS)
        return Source(file=file, fields={name: field.text() for name, field in fields.items()})
    values = marked.mapping(("maker",), ("corpus",))
    if "corpus" not in values:
        return Source(maker=values["maker"].one_of("maker", MAKERS))
    corpus = values["corpus"].one_of("material", MATERIALS)
    return Source(corpus=corpus, maker=values["maker"].one_of(f"maker of {corpus}", CORPUS_MAKERS[corpus]))


def _refuse_other_answers(marked: Marked, maker: str, options: Collection[str]) -> None:
    closed = CLOSED.get(maker, ())
    if closed and not options:
        raise marked.wrong(f"the answers of {maker} are closed; write options: [{', '.join(closed)}]")
    for option in options:
        if option not in closed:
            raise marked.wrong(f"{maker} never answers {option}; {nearest(option, closed)}")


def _templates(task: str, marked: Marked, usable: Collection[str]) -> tuple[Template, ...]:
    entries = marked.items()
    if len(entries) < FEWEST_TEMPLATES:
        raise marked.wrong(f"{len(entries)} templates, and a task has at least {FEWEST_TEMPLATES}; add other forms")
    found: dict[str, Template] = {}
    for place, entry in enumerate(entries):
        template = _template(f"{task}/{place}", entry, usable)
        if template.prompt in found:
            raise entry.wrong(f"the same prompt as that of {found[template.prompt].name}; word it in another form")
        found[template.prompt] = template
        if sum(each.turned_around for each in found.values()) > MOST_TURNED:
            raise entry.wrong(f"more than {MOST_TURNED} templates are turned around; ask for the answer in this one")
    return tuple(found.values())


def _template(name: str, entry: Marked, usable: Collection[str]) -> Template:
    values = entry.mapping(("form", "prompt"), ("answer",))
    template = Template(
        name=name,
        form=values["form"].one_of("form", FORMS),
        prompt=_wording(values["prompt"], usable),
        answer=_wording(values["answer"], usable) if "answer" in values else AS_IT_IS,
    )
    if template.turned_around != (template.form == TURNED):
        raise entry.wrong(
            f"a template of the form {TURNED}, and no other, has an answer of its own; for example {{text}}"
        )
    if not slots_in(template.prompt):
        raise entry.wrong("the prompt shows nothing of the exercise; put {text} into it")
    return template


def _wording(marked: Marked, usable: Collection[str]) -> str:
    wording = marked.text()
    try:
        used = slots_in(wording)
    except ValueError as error:
        raise marked.wrong(f"braces that are no slot ({error}); double them, as {{{{ and }}}}") from error
    for name in sorted(used - set(usable)):
        raise marked.wrong(f"unknown template variable {{{name}}}; {nearest(name, usable)}, or name it in slots")
    return wording
