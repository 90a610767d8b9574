"""What a law says of a budget: the best size and its text, the loss to expect, smaller models that are trained longer."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tasks.scaling.laws import BESIROGLU, FLOPS_PER_PARAMETER_TOKEN, Chinchilla
from tasks.training.mfu import PEAK_FLOPS

CONFIDENCE = 0.95
BESIDE = (0.5, 2.0)  # budgets that are shown beside the one asked for
SMALLER = (1.5, 2.0, 3.0, 5.0, 10.0)
FEWEST_SAMPLES = 20
PUBLISHED = "Chinchilla's law with the constants of Besiroglu et al. 2024 (their text and tokenizer, not yours)"


@dataclass(frozen=True, kw_only=True)
class Law:
    """A law to plan with: `samples` are refits of resampled rows, none where only constants are known."""

    law: Chinchilla
    samples: tuple[Chinchilla, ...]
    source: str
    parameters: str  # how it counts N


def published() -> Law:
    return Law(law=BESIROGLU, samples=(), source=PUBLISHED, parameters="all parameters, embeddings included")


def read_fit(path: Path) -> Law:
    """The law in a file of `espalier scaling fit --json`; ValueError when approach 3 is not in it."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: cannot be read as a fit ({error})") from error
    found = document.get("approach_3", document) if isinstance(document, dict) else {}
    names = ("E", "A", "B", "alpha", "beta")
    try:
        law = Chinchilla(**{name: float(found[name]) for name in names})
        samples = tuple(Chinchilla(**dict(zip(names, each, strict=True))) for each in found.get("samples", ()))
        counted = str(found.get("conventions", {}).get("parameters", "not said"))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: holds no fit of approach 3; make one with espalier scaling fit TABLE --approach 3 --json > {path}"
        ) from error
    return Law(
        law=law, samples=tuple(each for each in samples if _is_usable(each)), source=str(path), parameters=counted
    )


def _is_usable(law: Chinchilla) -> bool:
    return law.alpha > 0 and law.beta > 0 and law.A > 0 and law.B > 0


def flops_of(hours: float, hardware: str, mfu: float) -> float:
    """What a board gives in that time at that share of its bf16 peak."""
    peaks = {name.lower(): peak for name, peak in PEAK_FLOPS.items()}
    if hardware.lower() not in peaks:
        raise ValueError(
            f"--hardware {hardware}: no peak is known for it; there are {', '.join(peaks)}; or give --flops"
        )
    if not (hours > 0 and 0 < mfu <= 1):
        raise ValueError("--hours must be above 0 and --mfu in (0, 1]")
    return hours * 3600 * peaks[hardware.lower()] * mfu


def plan(known: Law, flops: float, *, most_tokens_per_parameter: float | None = None) -> dict[str, Any]:
    """The optimum at `flops`, at half and at twice as much, and smaller models that reach the same loss."""
    if not flops > 0 or not np.isfinite(flops):
        raise ValueError(f"--flops {flops:g}: must be a number above 0")
    if most_tokens_per_parameter is not None and not most_tokens_per_parameter > 0:
        raise ValueError("--tokens-per-parameter-cap must be above 0")
    if not _is_usable(known.law):
        raise ValueError(f"{known.source}: its alpha and beta must be above 0; no optimum follows from this fit")
    best = _optimum(known, flops, most_tokens_per_parameter)
    return {
        "flops": flops,
        "law": known.source,
        "constants": {name: getattr(known.law, name) for name in ("E", "A", "B", "alpha", "beta")},
        "optimum": best,
        "beside": [_optimum(known, share * flops, most_tokens_per_parameter) for share in BESIDE],
        "over_trained": [_smaller(known.law, best, factor) for factor in SMALLER],
        "conventions": {
            "flops": "6 N D",
            "parameters": known.parameters,
            "loss": "nats a token of the law's text and tokenizer",
            "intervals": f"{CONFIDENCE:.0%} of {len(known.samples)} refits of resampled rows"
            if len(known.samples) >= FEWEST_SAMPLES
            else "not known: the law comes without refits",
            "inference": "2 N FLOPs a token",
            "tokens_per_parameter_cap": most_tokens_per_parameter,
        },
    }


def _optimum(known: Law, flops: float, cap: float | None) -> dict[str, Any]:
    parameters, tokens = known.law.optimum(flops, most_tokens_per_parameter=cap)
    drawn = np.array([_drawn(law, flops, cap) for law in known.samples]).reshape(-1, 3)
    edges = [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]
    enough = len(drawn) >= FEWEST_SAMPLES
    intervals = np.quantile(drawn, edges, axis=0).T.tolist() if enough else [None] * 3
    return {
        "flops": flops,
        "parameters": parameters,
        "tokens": tokens,
        "tokens_per_parameter": tokens / parameters,
        "loss": known.law.loss(parameters, tokens),
        "intervals": dict(zip(("parameters", "tokens", "loss"), intervals, strict=True)),
    }


def _drawn(law: Chinchilla, flops: float, cap: float | None) -> tuple[float, float, float]:
    parameters, tokens = law.optimum(flops, most_tokens_per_parameter=cap)
    return parameters, tokens, law.loss(parameters, tokens)


def _smaller(law: Chinchilla, best: Mapping[str, Any], factor: float) -> dict[str, Any]:
    """A model `factor` times smaller: what it reaches on the same FLOPs, and what the same loss takes and saves.

    "pays_after_tokens" is when the training's extra FLOPs are saved at inference.
    """
    parameters = best["parameters"] / factor
    same_flops = law.loss(parameters, best["flops"] / (FLOPS_PER_PARAMETER_TOKEN * parameters))
    tokens = law.tokens_for(best["loss"], parameters)
    found = {"smaller": factor, "parameters": parameters, "loss_on_the_same_flops": same_flops, "tokens": tokens}
    if tokens is None:
        return {**found, "flops": None, "times_the_training": None, "inference_saved": 1 - 1 / factor,
                "pays_after_tokens": None}  # fmt: skip
    flops = FLOPS_PER_PARAMETER_TOKEN * parameters * tokens
    return {
        **found,
        "flops": flops,
        "times_the_training": flops / best["flops"],
        "inference_saved": 1 - 1 / factor,
        "pays_after_tokens": (flops - best["flops"]) / (2 * (best["parameters"] - parameters)),
    }
