"""Answers to questions with a known answer: asked greedily or by sampling, compared as words.

An item is a mapping with "id", "task", "family", "prompt", "input" and "answer" (tasks/alignment/instructions.py).
"""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from models.sampling import SamplingConfig, sample
from models.tokenizers.chat import ChatTokenizer
from tasks.evaluation.overlap import word_f1

Item = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a model said; `finished`: it ended by itself."""

    text: str
    finished: bool
    tokens: tuple[int, ...] = ()


def ask(
    model: Any,
    tokenizer: ChatTokenizer,
    prompts: Sequence[str],
    config: SamplingConfig,
    *,
    seed: int = 0,
    batch_sequences: int = 64,
) -> list[Answer]:
    """One answer per prompt, each a user's turn of its own; a prompt that leaves no room for one is not answered."""
    ids = [tokenizer.encode_prompt([{"role": "user", "content": prompt}]) for prompt in prompts]
    fitting = [place for place, each in enumerate(ids) if len(each) < int(model.config.max_position_embeddings)]
    found = sample(
        model,
        [ids[place] for place in fitting],
        config,
        seed=seed,
        stop_ids=frozenset({tokenizer.end_id}),
        pad_id=tokenizer.pad_id,
        keys=fitting,
        batch_sequences=batch_sequences,
    )
    answers = [Answer(text="", finished=False)] * len(prompts)
    for place, each in zip(fitting, found, strict=True):
        text = tokenizer.decode(each.tokens).strip()
        answers[place] = Answer(text=text, finished=each.finished, tokens=each.tokens)
    return answers


def normalised_words(text: str) -> tuple[str, ...]:
    """Lower-case words (NFKC) without surrounding punctuation; of text that is all signs, the text itself."""
    words = [_without_outer_signs(word) for word in unicodedata.normalize("NFKC", text).casefold().split()]
    return tuple(word for word in words if word) or tuple(text.split())


def _without_outer_signs(word: str) -> str:
    start, end = 0, len(word)
    while start < end and unicodedata.category(word[start])[0] in "PZC":
        start += 1
    while end > start and unicodedata.category(word[end - 1])[0] in "PZC":
        end -= 1
    return word[start:end]


def exact_match(said: str, wanted: str) -> float:
    """1.0 or 0.0; case, outer punctuation and white space do not count."""
    return float(normalised_words(said) == normalised_words(wanted))


def token_f1(said: str, wanted: str) -> float:
    """Harmonic mean of precision and recall over words as a multiset (Rajpurkar et al. 2016)."""
    return word_f1(normalised_words(said), normalised_words(wanted))


def _words(text: str) -> list[str]:
    return text.split() or [""]


# What can be answered by copying without reading the question.
COPY_RULES: Mapping[str, Callable[[str], str]] = {
    "the whole text": lambda text: text,
    "the first word": lambda text: _words(text)[0],
    "the last word": lambda text: _words(text)[-1],
    "the longest word": lambda text: max(_words(text), key=len),
    "the shortest word": lambda text: min(_words(text), key=len),
    "the middle word": lambda text: _words(text)[len(_words(text)) // 2],
}


def shallow_rules(train: Sequence[Item], unseen: Sequence[Item]) -> dict[str, dict[str, Any]]:
    """Per task, what answers without understanding reach on the unseen items.

    {task: {"constant": {"answer", "exact_match", "token_f1"}, "copy": {"rule", "exact_match", "token_f1"}}}; both are
    chosen on the training items (of a task that is not trained: on the unseen ones, in their favour).
    """
    trained, fresh = by_task(train), by_task(unseen)
    found = {}
    for task, items in fresh.items():
        known = trained.get(task, items)
        constant = Counter(str(item["answer"]) for item in known).most_common(1)[0][0]
        rule = max(COPY_RULES, key=lambda name: _mean_match(COPY_RULES[name], known[:2000]))
        found[task] = {
            "constant": {"answer": constant, **_scores(lambda _, said=constant: said, items)},
            "copy": {"rule": rule, **_scores(COPY_RULES[rule], items)},
        }
    return found


def by_task(items: Sequence[Item]) -> dict[str, list[Item]]:
    groups: defaultdict[str, list[Item]] = defaultdict(list)
    for item in items:
        groups[str(item["task"])].append(item)
    return dict(sorted(groups.items()))


def _mean_match(rule: Callable[[str], str], items: Sequence[Item]) -> float:
    return sum(exact_match(rule(str(item["input"])), str(item["answer"])) for item in items) / len(items)


def _scores(rule: Callable[..., str], items: Sequence[Item]) -> dict[str, float]:
    said = [(rule(str(item["input"])), str(item["answer"])) for item in items]
    return {
        "exact_match": sum(exact_match(*pair) for pair in said) / len(said),
        "token_f1": sum(token_f1(*pair) for pair in said) / len(said),
    }
