"""Preference pairs: two answers to one question, and which of them is better.

Where people have labelled some (tasks/alignment/human_labels.py), those are the set. Until then the instruction-tuned model
answers, the rule annotator judges (tasks/alignment/annotator.py), and the set says so. One line:

    {"id", "task", "prompt", "chosen", "rejected", "chosen_finished", "rejected_finished",
     "chosen_score", "rejected_score", "annotator"}
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from models.catalogue import load_model
from models.sampling import SamplingConfig
from models.tokenizers.chat import ChatTokenizer
from tasks.alignment import annotator, human_labels
from tasks.alignment.drawing import InstructionItem
from tasks.alignment.human_labels import Label
from tasks.alignment.instructions import read_items, read_lines
from tasks.evaluation.answers import Answer, ask
from tasks.exercises.phrases import key_of

BATCH_SEQUENCES = 128


@dataclass(frozen=True, kw_only=True)
class PreferenceConfig:
    """Questions to train and to judge the reward model on, and how their answers are sampled."""

    train_prompts: int = 3000
    valid_prompts: int = 600
    answers_per_prompt: int = 4
    temperature: float = 1.0
    max_answer_tokens: int = 24
    seed: int = 1

    def __post_init__(self) -> None:
        if min(self.train_prompts, self.valid_prompts) < 1 or self.answers_per_prompt < 2:
            raise ValueError("preferences: expected prompts to train and judge on, and at least 2 answers_per_prompt")


@dataclass(frozen=True, kw_only=True)
class Pair:
    """`*_finished`: the answer ended by itself, which the reward model sees as the end token."""

    id: str
    task: str
    prompt: str
    chosen: str
    rejected: str
    chosen_finished: bool
    rejected_finished: bool
    chosen_score: float
    rejected_score: float
    annotator: str = annotator.NAME


Counted = tuple[list[Pair], dict[str, float]]


def build_preferences(
    instruct: Path, instructions: Path, folder: Path, config: PreferenceConfig, labels: Sequence[Label] = ()
) -> dict[str, Any]:
    """Write train.jsonl, valid.jsonl and index.json into an existing folder, from `labels` if there are any, else from
    sampled and judged answers; returns the index.
    """
    index: dict[str, Any] = {"settings": asdict(config)}
    if labels:
        index["annotator"] = human_labels.NAME
        # a question that answers are judged on later is held out from the reward model, whoever labelled its answers
        unseen = {item.prompt for name in ("valid", "held_out") for item in read_items(instructions / f"{name}.jsonl")}
        sides = human_labels.split_labels(labels, config.seed, unseen)
        made = {name: _labelled(side) for name, side in sides.items()}
    else:
        index |= {"annotator": annotator.NAME, "rule": annotator.rule_digest()}
        made = _judged(instruct, instructions, config)
    for name, (pairs, counts) in made.items():
        lines = (json.dumps(asdict(pair), ensure_ascii=False, sort_keys=True) + "\n" for pair in pairs)
        (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8", newline="\n")
        index[name] = counts
    text = json.dumps(index, ensure_ascii=False, indent=1, sort_keys=True)
    (folder / "index.json").write_text(text + "\n", encoding="utf-8")
    return index


def _judged(instruct: Path, instructions: Path, config: PreferenceConfig) -> dict[str, Counted]:
    model, tokenizer = load_model(instruct)
    made = {}
    # the same split of questions as the instruction set's: a held-out question is held out from the reward model too
    for name, most in (("train", config.train_prompts), ("valid", config.valid_prompts)):
        items = _chosen(read_items(instructions / f"{name}.jsonl"), most, config.seed)
        pairs, counts = pairs_of(items, _answers(model, tokenizer, items, config), config.answers_per_prompt)
        if not pairs:
            raise ValueError(f"preferences: no two answers to any of {len(items)} {name} questions differ in score")
        made[name] = pairs, counts
    return made


def _labelled(labels: Sequence[Label]) -> Counted:
    """A person's choice as a score of 1 against 0; an answer that a person read had ended."""
    pairs = [
        Pair(
            id=key_of("pair", label["prompt"], label["chosen"], label["rejected"]),
            task="human",
            prompt=label["prompt"],
            chosen=label["chosen"],
            rejected=label["rejected"],
            chosen_finished=True,
            rejected_finished=True,
            chosen_score=1.0,
            rejected_score=0.0,
            annotator=human_labels.NAME,
        )
        for label in labels
    ]
    questions = len({label["prompt"] for label in labels})
    return pairs, {"questions": questions, "pairs": len(pairs), "ties": 0, "tie_share": 0.0}


def _chosen(items: Sequence[InstructionItem], most: int, seed: int) -> list[InstructionItem]:
    return sorted(items, key=lambda item: key_of("preferences", seed, item.id))[:most]


def _answers(
    model: Any, tokenizer: ChatTokenizer, items: Sequence[InstructionItem], config: PreferenceConfig
) -> list[Answer]:
    """`answers_per_prompt` answers to each item, next to one another."""
    prompts = [item.prompt for item in items for _ in range(config.answers_per_prompt)]
    sampling = SamplingConfig(max_tokens=config.max_answer_tokens, temperature=config.temperature)
    return ask(model, tokenizer, prompts, sampling, seed=config.seed, batch_sequences=BATCH_SEQUENCES)


def pairs_of(items: Sequence[InstructionItem], answers: Sequence[Answer], per_prompt: int) -> Counted:
    """The best and the worst answer to each question; where all score the same there is nothing to prefer (a tie)."""
    pairs = []
    for place, item in enumerate(items):
        own = answers[place * per_prompt : (place + 1) * per_prompt]
        scored = [(annotator.score(each.text, gold=item.answer, finished=each.finished).score, each) for each in own]
        best, worst = max(scored, key=lambda entry: entry[0]), min(scored, key=lambda entry: entry[0])
        if best[0] > worst[0]:
            pairs.append(_pair(item, best, worst))
    ties = len(items) - len(pairs)
    counts = {"questions": len(items), "pairs": len(pairs), "ties": ties, "tie_share": ties / max(1, len(items))}
    return pairs, counts


def _pair(item: InstructionItem, best: tuple[float, Answer], worst: tuple[float, Answer]) -> Pair:
    return Pair(
        id=key_of("pair", item.id, best[1].text, worst[1].text),
        task=item.task,
        prompt=item.prompt,
        chosen=best[1].text,
        rejected=worst[1].text,
        chosen_finished=best[1].finished,
        rejected_finished=worst[1].finished,
        chosen_score=best[0],
        rejected_score=worst[0],
    )


def read_pairs(path: Path) -> list[Pair]:
    return [Pair(**line) for line in read_lines(path)]


def read_preferences_index(folder: Path) -> Mapping[str, Any]:
    return dict(json.loads((folder / "index.json").read_text(encoding="utf-8")))
