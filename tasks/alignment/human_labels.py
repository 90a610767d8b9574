"""Comparisons that people have made; where there are any, they take the rule annotator's place in the preference set.

JSON lines: {"prompt", "chosen", "rejected"}, three texts. They lie in the home, `labels/NAME.jsonl` for the data set NAME.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from tasks.alignment.instructions import read_lines
from tasks.alignment.phrases import key_of

NAME = "human annotators"
TEXTS = ("prompt", "chosen", "rejected")
VALID_SHARE = 0.15

Label = dict[str, str]


def labels_file(home: Path, name: str) -> Path:
    return home / "labels" / f"{name}.jsonl"


def read_labels(path: Path) -> list[Label]:
    """Each comparison once, in the order of the file; ValueError with file and line for one that says nothing."""
    found: dict[str, Label] = {}
    for number, line in enumerate(read_lines(path), start=1):
        label = line if isinstance(line, dict) else {}
        missing = [name for name in TEXTS if not isinstance(label.get(name), str)]
        if missing:
            raise ValueError(
                f"{path}, line {number}: expected the texts prompt, chosen and rejected; {missing[0]} is missing"
            )
        if not label["prompt"].strip() or label["chosen"].strip() == label["rejected"].strip():
            raise ValueError(f"{path}, line {number}: expected a prompt and two answers that differ")
        texts = {name: label[name] for name in TEXTS}
        found[key_of("label", *texts.values())] = texts
    return list(found.values())


def add_labels(home: Path, path: Path, name: str, *, replace: bool) -> tuple[Path, int]:
    """Lay the comparisons of `path` beside those that are there, or in their place; returns the file and its length."""
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file; labels are JSON lines of prompt, chosen and rejected")
    new = read_labels(path)
    if not new:
        raise ValueError(f"{path}: holds no comparison")
    target = labels_file(home, name)
    known = [] if replace or not target.is_file() else read_labels(target)
    merged = known + [label for label in new if label not in known]
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_suffix(".part")
    lines = (json.dumps(label, ensure_ascii=False, sort_keys=True) + "\n" for label in merged)
    beside.write_text("".join(lines), encoding="utf-8", newline="\n")
    beside.replace(target)
    return target, len(merged)


def split_labels(labels: Sequence[Label], seed: int) -> dict[str, list[Label]]:
    """{"train", "valid"}: all comparisons of one prompt lie on one side. ValueError where one side would be empty."""
    prompts = sorted({label["prompt"] for label in labels}, key=lambda prompt: key_of("labels", seed, prompt))
    if len(prompts) < 2:
        raise ValueError(
            "human labels: comparisons of one prompt alone leave none to judge the reward model on; add more"
        )
    held_out = set(prompts[: max(1, round(VALID_SHARE * len(prompts)))])
    return {
        "train": [label for label in labels if label["prompt"] not in held_out],
        "valid": [label for label in labels if label["prompt"] in held_out],
    }
