"""Planted abilities: answers whose tokens are right with a known probability, drawn by Bernoulli's coin.

Shapes: K sizes, S seeds, I items, L tokens.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tasks.emergence.study import parameters_of
from tasks.emergence.verdict import Curve
from tasks.evaluation.seed_intervals import Array

SIZES = (1_000_000, 4_000_000, 16_000_000, 64_000_000, 256_000_000, 1_024_000_000)


@dataclass(frozen=True, kw_only=True)
class Planted:
    """All measures of one planted ability, a higher score being better."""

    exact: Curve
    nats: Curve
    distance: Curve


def planted(
    probability: Callable[[float], float], *, tokens: int = 5, items: int = 400, seeds: int = 3, seed: int = 0,
    sizes: tuple[int, ...] = SIZES, spread: float = 1.0,
) -> Planted:  # fmt: skip
    """`probability` of a token given N; items and seeds differ: each multiplies the nats by a number around 1.

    `spread` 0 makes all of them alike.
    """
    generator = np.random.default_rng(seed)
    difficulty_I = np.exp(0.2 * spread * generator.standard_normal(items))
    luck_KS1 = np.exp(0.05 * spread * generator.standard_normal((len(sizes), seeds, 1)))
    nats_K = -np.log([probability(size) for size in sizes])
    nats_KSI = nats_K[:, None, None] * luck_KS1 * difficulty_I
    right_KSIL = generator.random((*nats_KSI.shape, tokens)) < np.exp(-nats_KSI)[..., None]
    return Planted(
        exact=_curve(sizes, right_KSIL.all(3)),
        nats=_curve(sizes, -nats_KSI),
        distance=_curve(sizes, right_KSIL.sum(3) - tokens),
    )


def _curve(sizes: tuple[int, ...], scores_KSI: Array) -> Curve:
    return Curve(parameters=sizes, scores=scores_KSI.astype(np.float64))


def power_law(n: float, *, critical: float = 4e6, exponent: float = 0.6) -> float:
    """p = exp(-(N/Nc)^-a): nats per token fall as a power of N, as losses do (Schaeffer et al. 2023, section 2)."""
    return float(np.exp(-((n / critical) ** -exponent)))


def step(n: float) -> float:
    """Nothing but guessing among ten below 100 million parameters, nearly all above."""
    return 0.97 if n > 1e8 else 0.1


def linear(n: float) -> float:
    """From 0.05 to 0.95 along log N."""
    return 0.05 + 0.9 * float(np.log(n / SIZES[0]) / np.log(SIZES[-1] / SIZES[0]))


def planted_records() -> list[dict[str, Any]]:
    """Four sizes x two seeds of 3-digit addition: direct a jump at the third, scratchpad there from the second on."""
    records = []
    for place, size in enumerate(("4k", "11k", "28k", "93k")):
        for seed in range(2):
            abilities = [
                _ability("direct", exact=[0.0, 0.0, 1.0, 1.0][place], nats=[2.3, 2.2, 0.1, 0.05][place]),
                _ability("scratchpad", exact=[0.0, 1.0, 1.0, 1.0][place], nats=[2.3, 0.1, 0.1, 0.05][place]),
            ]
            records.append(
                {
                    "size": size, "seed": seed, "parameters": parameters_of(size),
                    "non_embedding_parameters": 1, "abilities": abilities,
                }
            )  # fmt: skip
    return records


def _ability(mode: str, *, exact: float, nats: float, n: int = 50) -> dict[str, Any]:
    scores = {"exact": [exact] * n, "nats": [nats] * n, "distance": [3.0 * (1 - exact)] * n, "brier": []}
    train = {"n": 2, "exact_match": 1.0, "token_nats": 0.0}
    return {"name": "addition", "digits": 3, "mode": mode, "scores": scores, "train": train}
