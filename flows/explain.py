"""The chain behind a model in plain words, for `espalier models explain`."""

from collections.abc import Mapping
from typing import Any

WORDS: Mapping[str, str] = {
    "aligned": "made by reinforcement learning (PPO) on the learned reward, held near its instruction-tuned parent",
    "reward": "learned which of two answers is preferred; whose preference it is stands with the pairs",
    "instruct": "learned to answer from instruction items; only the answers' words were learned",
    "pretrained": "learned to predict the next token of the corpus, from random weights",
    "imported": "brought in by a person from their own folder",
    "preferences": "pairs of answers and which is better: labelled by people, or sampled and labelled by the rule annotator",
    "instructions": "questions made from the corpus itself, several wordings each, one family held out",
    "conversations": "conversations that a person gave; only the assistant's words were learned",
    "tokens": "the documents as token ids",
    "tokenizer": "byte-level BPE, fitted on the training documents",
    "corpus": "documents split by group, so that nothing held out stands in training text too",
    "redacted": "documents without personal data",
    "decontaminated": "documents without evaluation texts",
    "deduplicated": "documents without copies and near-copies",
    "clean": "documents that passed the cleaning rules",
    "raw": "documents as the sources gave them",
}
# stages of the data that say nothing by themselves; `espalier models explain --json` has them all
SKIPPED = ("redacted", "decontaminated", "deduplicated", "clean", "raw", "artifact")


def in_words(node: Mapping[str, Any], seen: set[str] | None = None) -> dict[str, Any]:
    """The chain with a sentence for every thing, each thing unfolded once, and without the steps inside the data."""
    seen = set() if seen is None else seen
    again = node["digest"] in seen
    seen.add(str(node["digest"]))
    parents = [] if again else [in_words(parent, seen) for parent in _shown(node.get("parents") or ())]
    text = "see above" if again else _sentence(node)
    figures = {} if again else _before_last(node.get("figures") or {})
    return {**node, "text": text, "figures": figures, "parents": parents}


def _before_last(figures: Mapping[str, Any]) -> dict[str, Any]:
    """{"before": 0.3, "exact match": 0.7} -> the figure first, then what it was before."""
    return dict(sorted(figures.items(), key=lambda figure: figure[0] == "before"))


def _shown(parents: Any) -> list[Mapping[str, Any]]:
    return [parent for parent in parents if parent.get("kind") not in SKIPPED]


def _sentence(node: Mapping[str, Any]) -> str:
    said = WORDS.get(str(node.get("kind")), "")
    made = f" on {str(node['created'])[:16].replace('T', ' ')}" if node.get("created") else ""
    run = f", run {node['run_id']}" if node.get("run_id") else ""
    return f"{said}{f' ({made.strip()}{run})' if made or run else ''}"
