"""Comparisons that people have made; where there are any, they take the rule annotator's place in the preference set.

JSON lines: {"prompt", "chosen", "rejected"}, three texts. They lie in the home, `labels/NAME.jsonl` for the data set NAME.
"""

import json
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from tasks.conversations.conversation import BadRow, check_text
from tasks.corpus.json_lines import numbered_lines
from tasks.exercises.phrases import key_of

NAME = "human annotators"
TEXTS = ("prompt", "chosen", "rejected")
VALID_SHARE = 0.15

Label = dict[str, str]


def labels_file(home: Path, name: str) -> Path:
    return home / "labels" / f"{name}.jsonl"


def read_labels(path: Path) -> list[Label]:
    """Each comparison once, in the order of the file; ValueError with file and line for one that says nothing."""
    found = []
    for number, line in numbered_lines(path):
        missing = [name for name in TEXTS if not isinstance(line.get(name), str)]
        if missing:
            raise ValueError(
                f"{path}, line {number}: expected the texts prompt, chosen and rejected; {missing[0]} is missing"
            )
        if not line["prompt"].strip() or line["chosen"].strip() == line["rejected"].strip():
            raise ValueError(f"{path}, line {number}: expected a prompt and two answers that differ")
        for name in TEXTS:
            _check_text(f"{path}, line {number}", name, line[name])
        found.append({name: line[name] for name in TEXTS})
    return _each_once(found)


def _check_text(where: str, name: str, text: str) -> None:
    if not text.strip():
        raise ValueError(f"{where}: {name} is empty; write an answer there, or leave the line out")
    try:
        check_text(name, text)
    except BadRow as bad:
        raise ValueError(f"{where}: {bad.reason} ({bad.detail}); mend its escapes") from None


def _each_once(labels: Iterable[Label]) -> list[Label]:
    return list({tuple(label.values()): label for label in labels}.values())


def add_labels(home: Path, path: Path, name: str, *, replace: bool) -> tuple[Path, int]:
    """Lay the comparisons of `path` beside those that are there, or in their place; returns the file and its length."""
    if not path.is_file():
        raise ValueError(
            f"{path}: there is no such file; labels are a file of JSON lines with prompt, chosen and rejected"
        )
    new = read_labels(path)
    if not new:
        raise ValueError(f"{path}: holds no comparison; write a line each: prompt, chosen and rejected")
    target = labels_file(home, name)
    known = [] if replace or not target.is_file() else read_labels(target)
    labels = _each_once([*known, *new])
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_suffix(".part")
    lines = (json.dumps(label, ensure_ascii=False, sort_keys=True) + "\n" for label in labels)
    beside.write_text("".join(lines), encoding="utf-8", newline="\n")
    beside.replace(target)
    return target, len(labels)


def split_labels(labels: Sequence[Label], seed: int, unseen: Collection[str] = ()) -> dict[str, list[Label]]:
    """{"train", "valid"}: all comparisons of one prompt lie on one side, those of the prompts `unseen` in valid.

    ValueError where one side would be empty.
    """
    prompts = sorted({label["prompt"] for label in labels}, key=lambda prompt: key_of("labels", seed, prompt))
    held_out = {*prompts[: max(1, round(VALID_SHARE * len(prompts)))], *unseen}
    sides = {
        "train": [label for label in labels if label["prompt"] not in held_out],
        "valid": [label for label in labels if label["prompt"] in held_out],
    }
    if not all(sides.values()):
        raise ValueError(
            "human labels: no comparison is left to train the reward model on when some prompts are kept to judge it; "
            "add comparisons of further prompts"
        )
    return sides
