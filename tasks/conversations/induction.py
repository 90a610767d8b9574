"""instruction-induction (Honovich et al. 2022): 24 small tasks, a file each, with people's wordings in a file beside it.

execute.antonyms.json      {"examples": {"1": {"input": "real", "output": "nominal"}, …}}
annotations.antonyms.json  {"annotations": ["Write an antonym to the following word.", …]}
"""

import json
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any

from tasks.conversations.conversation import BadRow
from tasks.conversations.fields import Fields, fields_of, text
from tasks.conversations.format import File

# what the authors count as right besides the output: any rhyme, any translation, any way to say no
OTHER_ANSWERS = ("other_rhymes", "possible_translations", "all_common_concepts", "possible_outputs")
_SPLITS = ("execute.", "induce.")


def fits(row: object) -> bool:
    found = fields_of(row).get("examples")
    return isinstance(found, dict) and all(isinstance(each, dict) for each in found.values())


def are_wordings(row: object) -> bool:
    return isinstance(row, dict) and isinstance(row.get("annotations"), list) and len(row) == 1


def examples(row: object, _: File) -> Iterator[tuple[str, Any]]:
    if not fits(row):
        raise BadRow("a missing field (examples)")
    for key, each in fields_of(row)["examples"].items():
        yield f"example {key}", each


def example(row: object, task: str, wordings: Sequence[str]) -> tuple[str, str]:
    """(a wording and the input, the output); the wording depends on the input alone. Without any, the task's name stands."""
    question, answers = question_and_answers(row)
    return f"{wording(task, question, wordings)}\n\n{question}", answers[0]


def wording(task: str, question: str, wordings: Sequence[str]) -> str:
    return wordings[_chance(task, question) % len(wordings)] if wordings else task.replace("_", " ")


def question_and_answers(row: object) -> tuple[str, tuple[str, ...]]:
    """The answer to learn first, then all others that are as right.

    Two tasks have no input and output of their own; these are made as the authors' code makes them.
    """
    fields = fields_of(row)
    if "cause" in fields and "effect" in fields:
        cause, effect = text(fields, ("cause",)), text(fields, ("effect",))
        first, second = (cause, effect) if _chance(cause, effect) % 2 else (effect, cause)
        return f"Sentence 1: {first} Sentence 2: {second}", (cause,)
    if "concept" in fields:
        items = fields.get("items")
        if not isinstance(items, list) or not items:
            raise BadRow("a missing field (items)")
        return ", ".join(map(str, items)), _answers(text(fields, ("concept",)), fields)
    return text(fields, ("input",)), _answers(text(fields, ("output",)), fields)


def _answers(first: str, fields: Fields) -> tuple[str, ...]:
    others = (each for name in OTHER_ANSWERS if isinstance(each := fields.get(name), list))
    return tuple(dict.fromkeys([first, *(str(each) for found in others for each in found)]))


def task_of(name: str) -> str:
    """ "execute.antonyms.json" -> antonyms"""
    plain = PurePosixPath(name).name
    for split in _SPLITS:
        plain = plain.removeprefix(split)
    return plain.split(".")[0]


def wordings_beside(file: Path, task: str) -> tuple[str, ...]:
    """The task's wordings in the authors' own tree (data/raw/execute, data/annotations) or in the same folder, or none."""
    places = [file.parent / f"annotations.{task}.json"]
    places += [folder / "annotations" / f"{task}.json" for folder in file.parents[:3]]
    for place in places:
        if place.is_file():
            try:
                found = json.loads(place.read_text(encoding="utf-8"))
            except ValueError as error:
                raise ValueError(f"{place}: not JSON in UTF-8 ({error}); mend it, or move it away") from error
            if are_wordings(found):
                return tuple(str(each).strip() for each in found["annotations"])
    return ()


def _chance(*parts: str) -> int:
    return int.from_bytes(sha256("\n".join(parts).encode("utf-8", "surrogatepass")).digest()[:8], "big")
