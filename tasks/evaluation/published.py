"""Benchmarks in the files in which they were published, recognised by the names of their fields.

A format turns a row into (slots, the right answer, rationale, options, which options are right), all as the file has
them; what is asked with them stands in benchmarks/NAME.yaml.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tasks.conversations.fields import fields_of, first_of, text_or_none
from tasks.conversations.format import joined
from tasks.conversations.formats import COLUMNS as CONVERSATION_COLUMNS
from tasks.conversations.formats import NSMC_LABELS, fits_reasoned, reasoned
from tasks.conversations.gsm8k import MARK, without_annotations
from tasks.conversations.induction import question_and_answers
from tasks.evaluation.golds import yes_no_gold

Row = Any
YNAT = ("IT과학", "경제", "사회", "생활문화", "세계", "스포츠", "정치")
NLI = ("entailment", "neutral", "contradiction")
_LETTERED = re.compile(r"\(?([A-Z])\)[\s:.]*(.*)", re.DOTALL)
MMLU_CELLS = 6
_BBH_OPTION = re.compile(r"^\(([A-Z])\) (.*)$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Raw:
    """A question as a file holds it. `answer` is a letter where the answer is a choice."""

    slots: Mapping[str, str]
    answer: Any
    options: tuple[str, ...] = ()
    right: tuple[int, ...] = ()
    rationale: str = ""


@dataclass(frozen=True, kw_only=True)
class Published:
    """`items` gives all questions of a row with their places inside it; KeyError or ValueError for a broken row."""

    name: str
    fits: Callable[[Row], bool]
    items: Callable[[Row], Iterator[tuple[str, Raw]]]
    by_instruction: bool = False  # what to do is said in a file beside it


def _has(*names: str) -> Callable[[Row], bool]:
    return lambda row: isinstance(row, Mapping) and set(names) <= set(fields_of(row))


def _one(make: Callable[[Mapping[str, Any]], Raw]) -> Callable[[Row], Iterator[tuple[str, Raw]]]:
    def items(row: Row) -> Iterator[tuple[str, Raw]]:
        yield "", make(fields_of(row))

    return items


def lettered(options: Sequence[str], letter: str) -> tuple[int, ...]:
    """The place of the option that a letter means; ValueError for a letter that none of them has."""
    place = "ABCDEFGHIJKLMNOPQRSTUVWXYZ".find(letter.strip().upper())
    if len(letter.strip()) != 1 or not 0 <= place < len(options):
        raise ValueError(f"the answer {letter!r} is none of its {len(options)} options")
    return (place,)


def _choice(text: str, options: Sequence[str], place: int, rationale: str = "") -> Raw:
    if not 0 <= place < len(options):
        raise ValueError(f"the answer {place} is none of its {len(options)} options")
    found = tuple(str(each) for each in options)
    return Raw(slots={"text": text}, answer=chr(65 + place), options=found, right=(place,), rationale=rationale)


def _gsm8k(row: Mapping[str, Any]) -> Raw:
    solution = without_annotations(str(row["answer"]))
    rationale = " ".join(solution.split(MARK)[0].split())
    return Raw(slots={"text": row["question"]}, answer=row["answer"], rationale=rationale)


def _svamp(row: Mapping[str, Any]) -> Raw:
    body = str(row["body"]).strip()
    joint = " " if body.endswith((".", "?", "!", ",")) else ". "
    return Raw(slots={"text": f"{body}{joint}{row['question']}"}, answer=_number(row["answer"]))


def _number(value: Any) -> Any:
    """145.0 -> 145: the published files have floats where the answers are whole."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _aqua(row: Mapping[str, Any]) -> Raw:
    split = [_LETTERED.fullmatch(str(each)) for each in row["options"]]
    options = [found[2].strip() if found else str(each) for found, each in zip(split, row["options"], strict=True)]
    (place,) = lettered(options, str(row["correct"]))
    return _choice(row["question"], options, place, " ".join(str(row["rationale"]).split()))


def _multiarith(row: Mapping[str, Any]) -> Raw:
    if "final_ans" in row:
        return Raw(slots={"text": str(row["question"]).strip()}, answer=row["final_ans"])
    return Raw(slots={"text": str(row["squestion"]).strip()}, answer=_number(row["lsolutions"][0]))


def _commonsenseqa(row: Mapping[str, Any]) -> Raw:
    """The published file nests the choices in the question, the one on the Hub holds them beside it."""
    nested = isinstance(row["question"], Mapping)
    text = row["question"]["stem"] if nested else row["question"]
    choices = row["question"]["choices"] if nested else row["choices"]
    options = [each["text"] for each in choices] if isinstance(choices, list) else list(choices["text"])
    (place,) = lettered(options, str(row["answerkey"]))
    return _choice(text, options, place)


def _strategyqa(row: Mapping[str, Any]) -> Raw:
    said = yes_no_gold(row["answer"]) == "yes"
    facts = row.get("facts", "")
    rationale = facts if isinstance(facts, str) else " ".join(facts)
    return _yes_no(row["question"], said, rationale)


def _yes_no(text: str, said: bool, rationale: str = "") -> Raw:
    return Raw(
        slots={"text": text}, answer="yes" if said else "no", options=("yes", "no"), right=(0 if said else 1,),
        rationale=rationale,
    )  # fmt: skip


def _examples(row: Row) -> Iterator[tuple[int, Mapping[str, Any]]]:
    found = fields_of(row)["examples"]
    yield from enumerate(found.values() if isinstance(found, Mapping) else found, start=1)


def _has_examples(*names: str) -> Callable[[Row], bool]:
    def fits(row: Row) -> bool:
        found = fields_of(row).get("examples") if isinstance(row, Mapping) else None
        examples = list(found.values()) if isinstance(found, Mapping) else found
        first = examples[0] if isinstance(examples, list) and examples else None
        return isinstance(first, Mapping) and set(names) <= set(first)

    return fits


def _bigbench(row: Row) -> Iterator[tuple[str, Raw]]:
    """StrategyQA as BIG-bench holds it: {"input", "target_scores": {"Yes": 1, "No": 0}}."""
    for number, each in _examples(row):
        scores = {name.lower(): value for name, value in each["target_scores"].items()}
        yield f"example {number}", _yes_no(each["input"], scores["yes"] > scores["no"])


def _bbh(row: Row) -> Iterator[tuple[str, Raw]]:
    """Targets are options that the input lists, "(B)", or short texts: "yes", "True", "valid", "24", "apple bread"."""
    for number, each in _examples(row):
        yield f"example {number}", _bbh_item(str(each["input"]), str(each["target"]))


def _bbh_item(text: str, target: str) -> Raw:
    listed = _BBH_OPTION.findall(text)
    found = re.fullmatch(r"\(([A-Z])\)", target.strip())
    if not listed or found is None:
        return Raw(slots={"text": text}, answer=target)
    options = tuple(f"({letter})" for letter, _ in listed)
    if target.strip() not in options:
        raise ValueError(f"the target {target!r} is none of its options {', '.join(options)}")
    return Raw(slots={"text": text}, answer=target, options=options, right=(options.index(target.strip()),))


def _mmlu(row: Mapping[str, Any]) -> Raw:
    answer = row["answer"]
    (place,) = (answer,) if isinstance(answer, int) else lettered(row["choices"], str(answer))
    return _choice(row["question"], row["choices"], place)


def _mmlu_cells(row: Row) -> Iterator[tuple[str, Raw]]:
    """A line of the published files, which have no header: question, four options, letter."""
    if len(row) != MMLU_CELLS:
        raise ValueError(f"{len(row)} cells, and a line has a question, four options and a letter")
    text, *options, letter = row
    (place,) = lettered(options, letter)
    yield "", _choice(text, options, place)


def _truthful(targets: str) -> Callable[[Mapping[str, Any]], Raw]:
    def make(row: Mapping[str, Any]) -> Raw:
        given = row[targets]
        pairs = list(zip(given["choices"], given["labels"], strict=True)) if "labels" in given else list(given.items())
        right = tuple(place for place, (_, label) in enumerate(pairs) if label)
        if not right:
            raise ValueError("none of its options is right")
        options = tuple(str(option) for option, _ in pairs)
        return Raw(slots={"text": row["question"]}, answer=options[right[0]], options=options, right=right)

    return make


def _labelled(names: Mapping[str, str], label: str, labels: Sequence[str]) -> Callable[[Mapping[str, Any]], Raw]:
    """Texts under `names` (field -> slot), and a label that is a word or its number."""

    def make(row: Mapping[str, Any]) -> Raw:
        given = row[label] if label in row else row["label"]
        said = labels[int(given)] if str(given).isdecimal() and int(given) < len(labels) else str(given)
        if said not in labels:
            raise ValueError(f"the label {given!r} is none of {', '.join(labels)}")
        slots = {slot: str(row[field]) for field, slot in names.items()}
        return Raw(slots=slots, answer=said, options=tuple(labels), right=(labels.index(said),))

    return make


def _induction(row: Row) -> Iterator[tuple[str, Raw]]:
    for number, each in _examples(row):
        question, answers = question_and_answers(each)
        yield f"example {number}", Raw(slots={"text": question}, answer=list(answers))


def _flan_cot(row: Row) -> Iterator[tuple[str, Raw]]:
    found = reasoned(row)
    if found is None:
        raise ValueError("expected a question, an answer and a rationale")
    question, answer, rationale = found
    yield "", Raw(slots={"text": question}, answer=answer, rationale=" ".join(rationale.split()))


def _is_instruction(row: Row) -> bool:
    return _has("instruction")(row) and any(_has(name)(row) for name in _ANSWER)


def _instruction(row: Mapping[str, Any]) -> Raw:
    answer = first_of(row, _ANSWER)
    if not str(answer or "").strip():
        raise ValueError("its answer is empty")
    return Raw(slots={"text": joined(str(row["instruction"]), text_or_none(row, _CONTEXT))}, answer=answer)


def _is_induction(row: Row) -> bool:
    return any(_has_examples(*names)(row) for names in (("input", "output"), ("cause", "effect"), ("concept", "items")))


def _natural_instructions(row: Row) -> Iterator[tuple[str, Raw]]:
    fields = fields_of(row)
    definition = fields["definition"]
    told = next(iter(definition), "") if isinstance(definition, list) else definition
    if not str(told).strip():
        raise ValueError("its definition is empty")
    for number, each in enumerate(fields["instances"], start=1):
        yield f"instance {number}", Raw(slots={"definition": told, "text": each["input"]}, answer=each["output"])


def _is_gsm8k(row: Row) -> bool:
    return _has("question", "answer")(row) and MARK in str(fields_of(row)["answer"])


def _is_mmlu_line(row: Row) -> bool:
    return isinstance(row, list) and len(row) == MMLU_CELLS and str(row[-1]).strip() in ("A", "B", "C", "D")


_ANSWER, _CONTEXT = ("response", "output"), ("context", "input")  # of Dolly and of Alpaca
_PAIR = {"premise": "text", "hypothesis": "hypothesis"}
_MULTIARITH = _has("squestion", "lsolutions"), _has("question", "final_ans")
FORMATS: tuple[Published, ...] = (
    Published(name="gsm8k", fits=_is_gsm8k, items=_one(_gsm8k)),
    Published(name="svamp", fits=_has("body", "question", "answer"), items=_one(_svamp)),
    Published(name="aqua", fits=_has("question", "options", "rationale", "correct"), items=_one(_aqua)),
    Published(name="multiarith", fits=lambda row: any(fits(row) for fits in _MULTIARITH), items=_one(_multiarith)),
    Published(name="commonsenseqa", fits=_has("question", "answerkey"), items=_one(_commonsenseqa)),
    Published(name="mmlu", fits=_has("question", "choices", "answer"), items=_one(_mmlu)),
    Published(name="mmlu", fits=_is_mmlu_line, items=_mmlu_cells),
    Published(name="truthfulqa_mc1", fits=_has("question", "mc1_targets"), items=_one(_truthful("mc1_targets"))),
    Published(name="truthfulqa_mc2", fits=_has("question", "mc2_targets"), items=_one(_truthful("mc2_targets"))),
    Published(name="strategyqa", fits=_has("question", "answer", "facts"), items=_one(_strategyqa)),
    Published(name="strategyqa", fits=_has_examples("input", "target_scores"), items=_bigbench),
    Published(name="bbh", fits=_has_examples("input", "target"), items=_bbh),
    Published(
        name="nsmc", fits=_has("document", "label"), items=_one(_labelled({"document": "text"}, "label", NSMC_LABELS))
    ),
    Published(
        name="klue_ynat", fits=_has("guid", "title", "label"), items=_one(_labelled({"title": "text"}, "label", YNAT))
    ),
    Published(
        name="klue_nli", fits=_has("guid", "premise", "hypothesis"), items=_one(_labelled(_PAIR, "gold_label", NLI))
    ),
    Published(name="flan_cot", fits=fits_reasoned, items=_flan_cot),
    Published(name="instructions", fits=_is_instruction, items=_one(_instruction)),
    Published(name="natural_instructions", fits=_has("definition", "instances"), items=_natural_instructions),
    Published(name="instruction_induction", fits=_is_induction, items=_induction, by_instruction=True),
)
# what the first line of a table may name
COLUMNS = CONVERSATION_COLUMNS | {
    "id", "guid", "title", "premise", "hypothesis", "gold_label", "body", "options", "correct", "equation", "numbers",
    "type", "subject", "choices", "final_ans",
}  # fmt: skip
