"""A released model from its folder, after every one of its bytes has been checked against its digest."""

from pathlib import Path
from typing import Any

from tasks.artifacts import read_artifact, verify

TALKING = ("instruct", "aligned")


def load_released(folder: Path, *, digest: str | None = None) -> tuple[Any, Any]:
    """The model in evaluation mode and its tokenizer; ValueError when a file is missing, changed or added.

    `digest` is what the ledger says that this model is: a folder that is whole but another model is refused too.
    """
    intact, reason = verify(folder, digest=digest)
    if not intact:
        raise ValueError(f"{reason}; the model is not loaded. `espalier run` makes it again")
    kind = read_artifact(folder).kind
    if kind == "reward":
        raise ValueError(
            f"{folder}: a reward model scores answers and cannot talk; name one that is {' or '.join(TALKING)}"
        )
    from models.catalogue import load_model  # torch and transformers: five seconds, and only for an intact folder

    model, tokenizer = load_model(folder)
    return model.eval(), tokenizer
