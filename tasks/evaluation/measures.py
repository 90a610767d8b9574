"""What the gates of pretraining and instruction tuning look at, and what a person compares: plain figures as JSON."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from models.catalogue import load_model
from models.sampling import SamplingConfig
from models.tokenizers.chat import ChatTokenizer
from tasks.artifacts import digest_of
from tasks.evaluation.answers import Answer, Item, ask, by_task, exact_match, shallow_rules, token_f1
from tasks.evaluation.baseline import counted_on, floor_nats, read_baseline
from tasks.evaluation.cells import TURNS
from tasks.evaluation.comparable import comparable
from tasks.evaluation.held_out import identity_of, measure
from tasks.evaluation.intervals import difference_interval, ratio_interval, scores_interval
from tasks.evaluation.kept_cells import code_digest
from tasks.tokenization.shards import open_split, read_index

TEST_SPLIT = "test"
SHOWN_PROMPTS = 10
Figures = dict[str, Any]


def measure_pretrained(model: str, tokens: str, baseline: str) -> Figures:
    """Bits per byte on held-out text beside the counting models of the same tokens, and the paired difference."""
    network, _ = load_model(Path(model))
    report, stream = read_baseline(Path(baseline)), open_split(Path(tokens), TEST_SPLIT)
    same, reason = counted_on(Path(baseline), Path(tokens), TEST_SPLIT)
    if not same:
        raise ValueError(f"the counting models are no floor for this text: {reason}; run the data stages again")
    found = measure(network, stream)
    floor = floor_nats(Path(baseline), TEST_SPLIT)
    difference = ratio_interval((found.nats - floor) / np.log(2), found.bytes)
    counted = {name: entry[TEST_SPLIT]["value"] for name, entry in report["models"].items()}
    return {
        "split": TEST_SPLIT,
        "bits_per_byte": found.bits_per_byte.record() | {"identity": identity_of(stream)},
        "by_kind": found.by_kind(read_index(Path(tokens))["kinds"]),
        "floor": report["floor"],
        "counting": counted,
        "difference": difference.record(),
    }


def measure_instruct(base: str, instruct: str, instructions: str, max_answer_tokens: int) -> Figures:
    """Exact match and token F1 of greedy answers on unseen items, against the base model and against shallow rules.

    "shallow" is, task by task, the better of the best constant answer and the best copy rule.
    """
    folder = Path(instructions)
    train, unseen, held_out = (read_items(folder / f"{name}.jsonl") for name in ("train", "valid", "held_out"))
    answers = {
        name: _answered(Path(path), [*unseen, *held_out], max_answer_tokens)
        for name, path in (("base", base), ("instruct", instruct))
    }
    rules = shallow_rules(train, unseen)
    figures: Figures = {
        "unseen": {},
        "held_out": {},
        "tasks": {},
        "items": len(unseen),
        "held_out_items": len(held_out),
    }
    for measured, score in (("exact_match", exact_match), ("token_f1", token_f1)):
        scores = {name: [score(said.text, item["answer"]) for said, item in found] for name, found in answers.items()}
        own = {name: values[: len(unseen)] for name, values in scores.items()}
        other = {name: values[len(unseen) :] for name, values in scores.items()}
        shallow = [max(rules[item["task"]][kind][measured] for kind in ("constant", "copy")) for item in unseen]
        figures["unseen"][measured] = {
            **{name: scores_interval(values).record() for name, values in own.items()},
            "shallow": scores_interval(shallow).record(),
            "over_base": difference_interval(own["instruct"], own["base"]).record(),
            "over_shallow": difference_interval(own["instruct"], shallow).record(),
        }
        if held_out:
            figures["held_out"][measured] = {
                **{name: scores_interval(values).record() for name, values in other.items()},
                "over_base": difference_interval(other["instruct"], other["base"]).record(),
            }
        _per_task(figures["tasks"], measured, [*unseen, *held_out], scores, rules)
    return figures


def _per_task(
    table: dict[str, Any], measured: str, items: Sequence[Item], scores: Mapping[str, Sequence[float]], rules: Any
) -> None:
    for task, own in by_task([{**item, "place": place} for place, item in enumerate(items)]).items():
        entry = table.setdefault(task, {"family": own[0]["family"], "items": len(own)})
        entry[measured] = {
            name: sum(values[item["place"]] for item in own) / len(own) for name, values in scores.items()
        }
        if task in rules:
            entry[measured] |= {kind: rules[task][kind][measured] for kind in ("constant", "copy")}
            entry["constant"], entry["copy_rule"] = rules[task]["constant"]["answer"], rules[task]["copy"]["rule"]


def _answered(model: Path, items: Sequence[Item], max_answer_tokens: int) -> list[tuple[Answer, Item]]:
    network, tokenizer = load_model(model)
    return list(zip(greedy(network, tokenizer, items, max_answer_tokens), items, strict=True))


def greedy(network: Any, tokenizer: ChatTokenizer, items: Sequence[Item], max_answer_tokens: int) -> list[Answer]:
    config = SamplingConfig(max_tokens=max_answer_tokens, temperature=0.0)
    return ask(network, tokenizer, [item["prompt"] for item in items], config)


def compare_models(
    models: Mapping[str, str],
    instructions: str,
    tokens: str,
    max_answer_tokens: int,
    bits_per_byte: Mapping[str, Figures] | None = None,
) -> Figures:
    """The same held-out questions to every model: ten answers side by side, the held-out family, bits per byte.

    `bits_per_byte` are those that a gate has measured already, by the names of `models`; one of another text is measured
    again.
    """
    folder = Path(instructions)
    unseen, held_out = read_items(folder / "valid.jsonl"), read_items(folder / "held_out.jsonl")
    shown = first_by_hash([*unseen, *held_out], SHOWN_PROMPTS)
    rows = [{"prompt": item["prompt"], "gold": item["answer"], "task": item["task"]} for item in shown]
    table: Figures = {}
    stream = open_split(Path(tokens), TEST_SPLIT)
    identity = identity_of(stream)
    for name, path in models.items():
        network, tokenizer = load_model(Path(path))
        for row, answer in zip(rows, greedy(network, tokenizer, shown, max_answer_tokens), strict=True):
            row[name] = answer.text
        scores = {}
        for group, items in (("unseen", unseen), ("held_out_family", held_out)):
            if items:
                said = greedy(network, tokenizer, items, max_answer_tokens)
                marks = [exact_match(each.text, item["answer"]) for each, item in zip(said, items, strict=True)]
                scores[group] = scores_interval(marks).record()
        bits = (bits_per_byte or {}).get(name, {})
        if not comparable(bits, {"identity": identity})[0]:
            bits = measure(network, stream).bits_per_byte.record() | {"identity": identity}
        table[name] = {"exact_match": scores, "bits_per_byte": bits}
    return {"answers": rows, "models": table}


def first_by_hash(items: Sequence[Item], count: int) -> list[Item]:
    """An arbitrary choice that nobody made: the items with the smallest sha256 of their prompts."""
    return sorted(items, key=lambda item: hashlib.sha256(str(item["prompt"]).encode()).hexdigest())[:count]


def read_items(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def _identity(items: Sequence[Item], max_answer_tokens: int) -> dict[str, str]:
    return {
        "task": "exact match of the unseen questions",
        "data": digest_of(items),
        "template": TURNS,
        "decoding": f"greedy, at most {max_answer_tokens} tokens",
        "code": code_digest(),
    }


def measure_release(models: Mapping[str, str], instructions: str, max_answer_tokens: int) -> Figures:
    """Exact match of the candidate, and of the model in production if there is one, on the same unseen questions.

    Production is asked anew, beside the candidate; each figure says how it was measured, and the gate compares that too.
    """
    items = read_items(Path(instructions) / "valid.jsonl")
    scores = {}
    for name, path in models.items():
        said = _answered(Path(path), items, max_answer_tokens)
        scores[name] = [exact_match(answer.text, item["answer"]) for answer, item in said]
    identity = _identity(items, max_answer_tokens)
    figures: Figures = {name: scores_interval(each).record() | {"identity": identity} for name, each in scores.items()}
    if "production" in scores:
        return {**figures, "over_production": difference_interval(scores["candidate"], scores["production"]).record()}
    return {**figures, "production": None}
