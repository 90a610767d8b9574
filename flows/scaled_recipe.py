"""A recipe for a planned size: it extends laptop, whose learning rates are scaled, and runs as it is."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from flows.recipe import load
from tasks.scaling.grid import batch_sequences, rate_share, warmup_steps
from tasks.scaling.shapes import Sized, closest_shape

BASE = "laptop"
TRAINED = ("pretrain", "instruct", "reward")


def write_recipe(path: Path, document: Mapping[str, Any], *, vocabulary: int, device: str | None) -> dict[str, Any]:
    """{"path", "architecture", "parameters", "steps", "tokens", "flops"} of the recipe at `path`."""
    if path.suffix not in (".yaml", ".yml"):
        raise ValueError(f"--recipe {path}: give the path of a .yaml file, as `espalier run --recipe` wants it")
    if not path.parent.is_dir():
        raise ValueError(f"--recipe {path}: there is no folder {path.parent}")
    optimum = document["optimum"]
    embeddings = not str(document["conventions"]["parameters"]).startswith("without embeddings")
    sized = closest_shape(optimum["parameters"], vocabulary=vocabulary, embeddings=embeddings)
    values = recipe_values(sized, optimum["tokens"], device)
    training = values["pretrain"]["training"]
    tokens = training["steps"] * training["batch_sequences"] * sized.architecture["context"]
    counted = sized.parameters if embeddings else sized.body
    path.write_text(_comment(document, sized, tokens, vocabulary, path) + _yaml(values), encoding="utf-8")
    load(str(path))
    return {
        "path": str(path),
        "architecture": dict(sized.architecture),
        "parameters": sized.parameters,
        "parameters_without_embeddings": sized.body,
        "times_the_planned_size": counted / optimum["parameters"],
        "steps": training["steps"],
        "tokens": tokens,
        "vocabulary": vocabulary,
        "flops_6nd": 6 * counted * tokens,
        "flops_with_attention": sized.flops_per_token() * tokens,
    }


def recipe_values(sized: Sized, tokens: float, device: str | None) -> dict[str, Any]:
    """What is laid over the laptop recipe: shape, length, batch, and learning rates for the size."""
    context = sized.architecture["context"]
    batch = batch_sequences(tokens, context)
    steps = max(1, round(tokens / (batch * context)))
    base = load(BASE).values
    share = rate_share(sized.body)
    values: dict[str, Any] = {"extends": BASE}
    if device:
        values["runtime"] = {"precision": "bf16", "device": device, "compile": True, "hang_seconds": 900}
    for stage in TRAINED:
        rate = base[stage]["training"]["optimizer"]["learning_rate"] * share
        values[stage] = {"training": {"optimizer": {"learning_rate": _rounded(rate)}}}
    rate = base["align"]["optimizer"]["learning_rate"] * share
    values["align"] = {"optimizer": {"learning_rate": _rounded(rate)}}
    values["pretrain"] = {
        "architecture": dict(sized.architecture),
        "training": {
            "steps": steps,
            "batch_sequences": batch,
            **values["pretrain"]["training"],
            "schedule": {"warmup_steps": warmup_steps(steps)},
            "checkpoint_steps": max(1, min(500, steps // 10)),
        },
    }
    return values


def _rounded(rate: float) -> float:
    """Two figures: 0.000642 -> 0.00064"""
    return float(f"{rate:.2g}")


def _comment(document: Mapping[str, Any], sized: Sized, tokens: int, vocabulary: int, path: Path) -> str:
    optimum = document["optimum"]
    return (
        f"# Planned for {document['flops']:.3g} FLOPs by {document['law']}:\n"
        f"# {optimum['parameters']:.3g} parameters on {optimum['tokens']:.3g} tokens, loss {optimum['loss']:.3f} expected.\n"
        f"# This shape has {sized.parameters:,} parameters with a vocabulary of {vocabulary:,} "
        f"({sized.body:,} of them outside the embedding table)\n"
        f"# and sees {tokens:,} tokens; a smaller corpus is read more than once. Learning rates follow the size; not tuned.\n"
        f"#\n#   espalier run --recipe {path}\n"
    )


def _yaml(values: Mapping[str, Any]) -> str:
    text: str = yaml.safe_dump(dict(values), sort_keys=False, default_flow_style=None, width=120)
    return text
