"""The model that is evaluated: any folder of a Hugging Face model, known by the bytes of its files."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from models.tokenizers.chat import ChatTokenizer
from models.tokenizers.settings import TEMPLATE_FILE
from tasks.artifacts import ARTIFACT_FILE, digest_of, read_artifact, sha256_of_files, verify

CONFIG_FILE, WEIGHTS_FILES = "config.json", "model*.safetensors*"  # one of them, or several and their index
TALKING = ("instruct", "aligned")  # kinds of our own artifacts that learned the turns of a chat
CONTEXT_NAMES = ("max_position_embeddings", "n_positions", "n_ctx")
NOT_ASKED = ("reward",)


@dataclass(frozen=True, kw_only=True)
class Subject:
    """`talks`: it is asked in the turns of its chat template, else in plain text. Nothing is loaded before it is needed."""

    name: str
    path: Path
    digest: str
    talks: bool

    @cached_property
    def tokenizer(self) -> ChatTokenizer:
        return ChatTokenizer.load(self.path)

    @cached_property
    def context(self) -> int:
        """How many tokens it reads, prompt and answer together."""
        path = self.path / CONFIG_FILE
        try:
            settings = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path}: not JSON in UTF-8 ({error}); copy the model's folder again") from error
        try:
            return int(next(settings[name] for name in CONTEXT_NAMES if name in settings))
        except (ValueError, TypeError, StopIteration) as error:
            raise ValueError(
                f"{path}: does not say how many tokens the model reads; give {CONTEXT_NAMES[0]}"
            ) from error

    @cached_property
    def model(self) -> Any:
        from models.catalogue import (  # torch and transformers: five seconds, and only where it is asked
            ASKED,
            load_model,
        )

        return load_model(self.path, ASKED)[0].eval()


def subject_in(folder: Path, *, name: str = "", digest: str | None = None) -> Subject:
    """The model in a folder, its files checked; `digest` is what the ledger says that it is. ValueError in a sentence."""
    if not folder.is_dir():
        raise ValueError(f"{folder}: there is no such folder; name a model of `espalier models list`, or its folder")
    if not (folder / CONFIG_FILE).is_file():
        raise ValueError(f"{folder}: there is no {CONFIG_FILE} in it; name the folder of a Hugging Face model")
    if not (folder / ARTIFACT_FILE).is_file():
        return Subject(name=name or folder.name, path=folder, digest=_digest(folder), talks=_has_template(folder))
    intact, reason = verify(folder, digest=digest)
    if not intact:
        raise ValueError(f"{reason}; the model is not evaluated. `espalier run` makes it again")
    artifact = read_artifact(folder)
    if artifact.kind in NOT_ASKED:
        raise ValueError(f"{folder}: a {artifact.kind} model scores answers and gives none; name another model")
    return Subject(name=name or folder.name, path=folder, digest=artifact.digest, talks=artifact.kind in TALKING)


def _digest(folder: Path) -> str:
    """Of what decides about answers alone: a README or another format of the same weights changes nothing."""
    weights = sorted(path.name for path in folder.glob(WEIGHTS_FILES))
    names = (CONFIG_FILE, *weights, *ChatTokenizer.FILES)
    return digest_of(sha256_of_files(folder, [name for name in names if (folder / name).is_file()]))


def _has_template(folder: Path) -> bool:
    settings = folder / "tokenizer_config.json"
    named = settings.is_file() and '"chat_template"' in settings.read_text(encoding="utf-8", errors="replace")
    return (folder / TEMPLATE_FILE).is_file() or named
