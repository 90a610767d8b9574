"""The formats by name, the more particular ones first, and those that are rows of named fields.

Nothing is worded here but what the formats leave open: parts of a question are set apart by an empty line, and the labels
of a labelled text are offered as options (FLAN, Wei et al. 2022).
"""

from collections.abc import Callable, Iterator, Sequence

from tasks.conversations import gsm8k, induction, preferences
from tasks.conversations.conversation import BadRow
from tasks.conversations.fields import (
    SYSTEM_NAMES,
    TURN_LISTS,
    fields_of,
    first_of,
    has,
    messages,
    system_messages,
    text,
    text_or_none,
)
from tasks.conversations.format import File, Format, Item, Made, asked, joined
from tasks.conversations.preferences import CHOSEN, REJECTED

LABEL, LABELLED_TEXT = ("label",), ("sentence", "text", "document", "review")
MOST_OPTIONS = 20
NSMC_FIELDS, NSMC_NUMBERS, NSMC_LABELS = {"id", "document", "label"}, {"0", "1"}, ("negative", "positive")  # Park 2015
INSTRUCTION, PROMPT, COMPLETION = ("instruction",), ("prompt",), ("completion", "response", "answer", "output")
INPUTS, TARGETS = ("inputs", "inputs_pretokenized", "input"), ("targets", "targets_pretokenized", "target", "output")
QUESTION, ANSWER, CONTEXT = ("question",), ("answer", "response", "output"), ("context",)
RATIONALE = ("rationale", "chain_of_thought", "cot")


def _pair(name: str, question: Sequence[str], more: Sequence[str], answer: Sequence[str]) -> Format:
    """A field that asks, perhaps one more to ask about, and a field that answers."""

    def fits(row: Item) -> bool:
        fields = fields_of(row)
        return has(fields, question) and has(fields, answer)

    def make(row: Item, _: File) -> Made:
        fields = fields_of(row)
        said = joined(text(fields, question), text_or_none(fields, more))
        return asked(said, text(fields, answer), before=system_messages(fields))

    return Format(name=name, fits=fits, make=make)


def _fits_turns(speaker: str) -> Callable[[Item], bool]:
    """Whether a row has a list of messages whose speakers stand under this name."""

    def fits(row: Item) -> bool:
        turns = first_of(fields_of(row), TURN_LISTS)
        if isinstance(turns, str):  # CSV and some Parquet files hold it as JSON
            return f'"{speaker}"' in turns
        return isinstance(turns, list) and any(
            isinstance(turn, dict) and turn.get(speaker) is not None for turn in turns[:2]
        )

    return fits


def _turns(row: Item, file: File) -> Made:
    fields = fields_of(row)
    if not has(fields, TURN_LISTS):
        raise BadRow(f"a missing field ({' or '.join(TURN_LISTS[:2])})")
    turns = first_of(fields, TURN_LISTS)
    made = (*system_messages(fields), *messages(turns))
    if isinstance(turns, list):
        file.notes["messages of weight 0, learned like the others"] += sum(turn.get("weight") == 0 for turn in turns)
    return made, ""


def _fits_gsm8k(row: Item) -> bool:
    fields = fields_of(row)
    return has(fields, QUESTION) and gsm8k.MARK in str(fields.get("answer"))


def _gsm8k(row: Item, file: File) -> Made:
    fields = fields_of(row)
    answer = text(fields, ("answer",))
    if gsm8k.gold_answer(answer) is None:
        raise BadRow("an answer that does not end with #### and a number")
    for right in gsm8k.annotations(answer):
        file.notes["calculator annotations, taken out"] += 1
        if not right:
            file.notes["of these no arithmetic" if right is None else "of these wrong"] += 1
    return asked(text(fields, QUESTION), gsm8k.without_annotations(answer))


def reasoned(row: Item) -> tuple[str, str, str] | None:
    """(question, answer, rationale): the three cells of FLAN's files, whose line ends are escaped, or fields so named."""
    if isinstance(row, list):
        cells = [cell.replace("\\n", "\n").strip() for cell in row if isinstance(cell, str)]
        return (cells[0], cells[1], cells[2]) if len(cells) == len(row) == 3 else None
    fields = fields_of(row)
    if not all(has(fields, names) for names in (QUESTION, ANSWER, RATIONALE)):
        return None
    return text(fields, QUESTION), text(fields, ANSWER), text(fields, RATIONALE)


def fits_reasoned(row: Item) -> bool:
    try:
        return reasoned(row) is not None
    except BadRow:
        return False


def _chain_of_thought(row: Item, _: File) -> Made:
    """The rationale comes before the answer, as in FLAN's own templates: "… The answer is 72." """
    found = reasoned(row)
    if found is None:
        raise BadRow("not question, answer and rationale")
    question, answer, rationale = found
    if not answer.strip():
        raise BadRow("an empty answer")
    if not rationale.strip():
        raise BadRow("an empty rationale")
    return asked(question, f"{rationale}\nThe answer is {answer}.")


def _fits_instances(row: Item) -> bool:
    fields = fields_of(row)
    return has(fields, ("definition",)) and isinstance(fields.get("instances"), list)


def _instances(row: Item, file: File) -> Iterator[tuple[str, Item]]:
    fields = fields_of(row)
    if not _fits_instances(row):
        raise BadRow("a missing field (Definition or Instances)")
    if isinstance(shown := fields.get("positive examples"), list):
        file.notes["positive examples, not among the rows"] += len(shown)
    shared = {name: fields.get(name) for name in ("definition", "categories")}
    for number, instance in enumerate(fields["instances"], start=1):
        part = {**fields_of(instance), **shared} if isinstance(instance, dict) else instance
        yield f"instance {number}", part


def _instance(row: Item, file: File) -> Made:
    fields = fields_of(row)
    answers = fields.get("output")
    if isinstance(answers, list) and len(answers) > 1:
        file.notes["further right answers, not used"] += len(answers) - 1
    return asked(joined(text(fields, ("definition",)), text(fields, ("input",))), text(fields, ("output",)))


def _fits_labelled(row: Item) -> bool:
    fields = fields_of(row)
    return has(fields, LABELLED_TEXT) and has(fields, LABEL)


def _labelled(row: Item, file: File) -> Made:
    fields = fields_of(row)
    said, label = text(fields, LABELLED_TEXT), text(fields, LABEL).strip()
    if not said.strip():
        raise BadRow("an empty user turn")
    options = "".join(f"\n- {each}" for each in file.labels) if len(file.labels) <= MOST_OPTIONS else ""
    if file.labels == NSMC_LABELS and label in NSMC_NUMBERS:
        label = NSMC_LABELS[int(label)]
        file.notes["labels 0 and 1 of NSMC, learned as negative and positive"] += 1
    return asked(joined(said, f"OPTIONS:{options}" if options else ""), label)


def labels_in(rows: Sequence[Item]) -> tuple[str, ...]:
    """Every label of a file, sorted; of NSMC's numbers the words, which are what evaluation asks for."""
    found, is_nsmc = set(), False
    for row in rows:
        try:
            fields = fields_of(row)
            found.add(text(fields, LABEL).strip())
        except BadRow:
            continue  # it is dropped with its reason when its turn comes
        is_nsmc |= set(fields) == NSMC_FIELDS
    labels = found - {""}
    return NSMC_LABELS if is_nsmc and labels <= NSMC_NUMBERS else tuple(sorted(labels))


def _induced(row: Item, file: File) -> Made:
    return asked(*induction.example(row, file.task, file.wordings))


FORMATS: tuple[Format, ...] = (
    Format(name="hh-rlhf", fits=preferences.fits_transcripts, make=preferences.pair_of_transcripts),
    Format(name="preferences", fits=preferences.fits_pair, make=preferences.pair),
    Format(name="openai", fits=_fits_turns("role"), make=_turns),
    Format(name="sharegpt", fits=_fits_turns("from"), make=_turns),
    Format(name="natural-instructions", fits=_fits_instances, make=_instance, items=_instances, named_by_file=True),
    Format(
        name="instruction-induction", fits=induction.fits, make=_induced, items=induction.examples, named_by_file=True
    ),
    Format(name="gsm8k", fits=_fits_gsm8k, make=_gsm8k),
    _pair("dolly", INSTRUCTION, CONTEXT, ("response",)),
    _pair("alpaca", INSTRUCTION, ("input",), ("output",)),
    Format(name="flan-cot", fits=fits_reasoned, make=_chain_of_thought, named_by_file=True),
    _pair("prompt-completion", PROMPT, (), COMPLETION),
    _pair("question-answer", QUESTION, CONTEXT, ANSWER),
    _pair("inputs-targets", INPUTS, (), TARGETS),
    Format(name="labelled", fits=_fits_labelled, make=_labelled),
)

_NAMES = (
    SYSTEM_NAMES, TURN_LISTS, LABEL, LABELLED_TEXT, CHOSEN, REJECTED, INSTRUCTION, PROMPT, COMPLETION, INPUTS, TARGETS,
    QUESTION, ANSWER, CONTEXT, RATIONALE,
)  # fmt: skip
COLUMNS = frozenset(name for names in _NAMES for name in names)  # what the first line of a table may name
