"""A model from elsewhere: its folder is checked and copied in our own form, and its text is encoded in its own tokens."""

import shutil
from pathlib import Path
from typing import Any

from models.catalogue import load_model, save_model
from tasks.artifacts import Artifact, publish, read_artifact, verify, write_artifact
from tasks.evaluation.baseline import BaselineConfig, count, counted_on
from tasks.evaluation.held_out import identity_of, measure
from tasks.evaluation.measures import TEST_SPLIT
from tasks.tokenization.encode import encode_corpus
from tasks.tokenization.shards import open_split


def bring_in(source: str, out: str, split: str, code: str | None, with_baseline: bool = False) -> dict[str, Any]:
    """{"model", "tokens", "baseline", "bits_per_byte"}: handles below `out`, and what it reaches on held-out text.

    ValueError when the folder is not a model that is let in. `with_baseline` counts the n-grams of its tokens too.
    """
    model, tokenizer = load_model(Path(source))
    temporary = Path(out) / "import.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    save_model(temporary, model, tokenizer)
    artifact = write_artifact(temporary, kind="imported", code=code)
    folder = Path(out) / artifact.digest[:16]
    publish(temporary, folder)
    tokens = _tokens(folder, Path(split), tokenizer.end_of_text)
    found = {"model": _handle(read_artifact(folder)), "tokens": _handle(tokens), "baseline": None}
    if with_baseline:
        found["baseline"] = _handle(_baseline(tokens))
    stream = open_split(tokens.path, TEST_SPLIT)
    return {**found, "bits_per_byte": measure(model, stream).bits_per_byte.record() | {"identity": identity_of(stream)}}


def _tokens(model: Path, split: Path, end_of_text: str) -> Artifact:
    """Of this corpus in this model's tokens, made once."""
    folder = model.with_name(f"{model.name}-tokens-{read_artifact(split).digest[:16]}")
    if not (folder.is_dir() and verify(folder)[0]):
        encode_corpus(split, model, folder, end_of_text=end_of_text)
    return read_artifact(folder)


def _baseline(tokens: Artifact) -> Artifact:
    folder = tokens.path.with_name(f"{tokens.path.name}-baseline")
    if not (folder.is_dir() and verify(folder)[0] and counted_on(folder, tokens.path, TEST_SPLIT)[0]):
        temporary = folder.with_name(f"{folder.name}.tmp")
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        count(tokens.path, temporary, BaselineConfig())
        write_artifact(temporary, kind="baseline", parents=[tokens.digest])
        publish(temporary, folder)
    return read_artifact(folder)


def _handle(artifact: Artifact) -> dict[str, Any]:
    return {"kind": artifact.kind, "digest": artifact.digest, "path": str(artifact.path)}
