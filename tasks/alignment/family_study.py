"""The leave-one-family-out study: a mixture of families is tuned on once for each seed, and asked whatever it left out.

Shapes: S seeds, I items.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from models.catalogue import load_model
from models.sampling import SamplingConfig, sample
from models.tokenizers.chat import ChatTokenizer
from tasks.alignment.drawing import InstructionItem
from tasks.alignment.families import Pool, Wording, check_apart, trained_families
from tasks.alignment.instructions import removed_families
from tasks.alignment.tuning import Tuning, tune
from tasks.evaluation.answers import ask, exact_match
from tasks.evaluation.choices import chosen
from tasks.evaluation.seed_intervals import Array, interval
from tasks.evaluation.token_likelihood import Split, score_splits

NAMES: Wording = "names"


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """What a model was tuned on: `families` in alphabetical order, () for the base itself."""

    families: tuple[str, ...]
    wording: Wording
    seed: int

    @property
    def name(self) -> str:
        said = json.dumps([self.families, self.wording, self.seed])
        return hashlib.sha256(said.encode()).hexdigest()[:12]


@dataclass(frozen=True, kw_only=True)
class Marks:
    """Of each asked item, in their order: exact match of the greedy answer, log2 of the probability of the right answer
    per byte of it, and whether the right option was likeliest.

    `ranked` has an entry only for items with options. `likelihood` shows a gain long before an answer is right throughout
    (Schaeffer et al. 2023); what ends an answer is left out of it, since the base was taught no end of a turn.
    """

    exact: tuple[float, ...]
    likelihood: tuple[float, ...]
    ranked: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Result:
    """A held-out family asked after a tuning on `families` others (`number` None: on all others)."""

    held_out: str
    number: int | None
    wording: Wording
    seed: int
    families: tuple[str, ...]
    marks: Marks


@dataclass(kw_only=True)
class Study:
    """`numbers` of families to train on, None among them for all; the control is trained on all."""

    pool: Pool
    base: Path
    folder: Path
    tuning: Tuning
    seeds: Sequence[int] = (1, 2, 3)
    numbers: Sequence[int | None] = (1, 2, 4, None)
    max_answer_tokens: int = 24
    _tuned: dict[Mixture, tuple[Any, ChatTokenizer]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._asked = {family: self.pool.asked(family) for family in self.pool.families}
        asked = frozenset(item.input for items in self._asked.values() for item in items)
        wordings: tuple[Wording, ...] = ("templates", "names")
        self._items = {
            (family, wording): self.pool.trained((family,), wording, asked)
            for family in self.pool.families
            for wording in wordings
        }

    def base_marks(self, held_out: str) -> Marks:
        """Of the base, which knows no turns: the question as plain text, its answer on the next line."""
        model, tokenizer = load_model(self.base)
        return asked_plainly(model, tokenizer, self._asked[held_out], self.max_answer_tokens)

    def results(self, held_out: Sequence[str]) -> Iterator[Result]:
        """Seed by seed; of the same mixture the second family that asks finds its model tuned."""
        asked_for: list[tuple[int | None, Wording]] = [(number, "templates") for number in self.numbers]
        for seed in self.seeds:
            for number, wording in (*asked_for, (None, NAMES)):
                for family in held_out:
                    yield self._result(family, number, wording, seed)
                self._tuned.clear()

    def _result(self, held_out: str, number: int | None, wording: Wording, seed: int) -> Result:
        families = trained_families(self.pool, held_out, number, seed)
        mixture = Mixture(families=tuple(sorted(families)), wording=wording, seed=seed)
        model, tokenizer = self._model(mixture)
        items = self._asked[held_out]
        return Result(
            held_out=held_out, number=number, wording=wording, seed=seed, families=families,
            marks=asked_in_turns(model, tokenizer, items, self.max_answer_tokens),
        )  # fmt: skip

    def _model(self, mixture: Mixture) -> tuple[Any, ChatTokenizer]:
        if mixture not in self._tuned:
            items = [item for family in mixture.families for item in self._items[family, mixture.wording]]
            for family, asked in self._asked.items():
                removed = removed_families(self.pool.tasks, (family,))
                if not removed & set(mixture.families):
                    check_apart(items, asked, removed)
            tuned = tune(self.base, items, self.tuning, self.folder / mixture.name, seed=mixture.seed)
            self._tuned[mixture] = load_model(tuned.path)
        return self._tuned[mixture]


def asked_in_turns(model: Any, tokenizer: ChatTokenizer, items: Sequence[InstructionItem], max_tokens: int) -> Marks:
    """As a user asks an assistant."""
    config = SamplingConfig(max_tokens=max_tokens, temperature=0.0)
    said = [answer.text for answer in ask(model, tokenizer, [item.prompt for item in items], config)]
    contexts = [tokenizer.encode_prompt([{"role": "user", "content": item.prompt}]) for item in items]
    return _marks(model, tokenizer, items, said, contexts, [tokenizer.end_id])


def asked_plainly(model: Any, tokenizer: ChatTokenizer, items: Sequence[InstructionItem], max_tokens: int) -> Marks:
    """As a text that goes on: what counts is the first line after the question."""
    contexts = [tokenizer.encode_text(f"{item.prompt}\n") for item in items]
    config = SamplingConfig(max_tokens=max_tokens, temperature=0.0)
    stops = frozenset({tokenizer.end_of_text_id})
    found = sample(model, contexts, config, seed=0, stop_ids=stops, pad_id=tokenizer.pad_id)
    said = [tokenizer.decode(each.tokens).strip().split("\n")[0] for each in found]
    return _marks(model, tokenizer, items, said, contexts, tokenizer.encode_text("\n"))


def _marks(
    model: Any,
    tokenizer: ChatTokenizer,
    items: Sequence[InstructionItem],
    said: Sequence[str],
    contexts: Sequence[Sequence[int]],
    ending: Sequence[int],
) -> Marks:
    """An option is likely with what ends an answer after it: 34 alone never is less likely than 343."""
    exact = tuple(exact_match(text, item.answer) for text, item in zip(said, items, strict=True))
    right = [
        Split(context=tuple(context), continuation=tuple(tokenizer.encode_text(item.answer)))
        for item, context in zip(items, contexts, strict=True)
    ]
    likelihood = tuple(
        score.nats / math.log(2) / len(item.answer.encode())
        for item, score in zip(items, score_splits(model, right), strict=True)
    )
    closed = [(item, context) for item, context in zip(items, contexts, strict=True) if item.options]
    splits = [
        Split(context=tuple(context), continuation=(*tokenizer.encode_text(option), *ending))
        for item, context in closed
        for option in item.options
    ]
    nats = iter([scored.nats for scored in score_splits(model, splits)] if splits else [])
    ranked = []
    for item, _ in closed:
        likeliest = item.options[chosen([next(nats) for _ in item.options])]
        ranked.append(float(likeliest == item.answer))
    return Marks(exact=exact, likelihood=likelihood, ranked=tuple(ranked))


def gain(
    tuned: Sequence[Sequence[float]], base: Sequence[float], *, least: float | None = -1.0
) -> tuple[float, float, float]:
    """Tuned - base on the same items: the mean over seeds, and its 95 % interval over seeds and items.

    `least` is that of a difference of marks from 0 to 1; None of likelihoods, which have no end.
    """
    gains_SI: Array = np.asarray(tuned, dtype=np.float64) - np.asarray(base, dtype=np.float64)
    return interval(gains_SI, least=least)
