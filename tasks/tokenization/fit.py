"""The tokenizer of a corpus, fitted on its training documents alone."""

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from models.tokenizers import bpe, sentencepiece, wordpiece
from tasks.artifacts import read_artifact
from tasks.corpus.documents import halvings, in_sample, read_documents
from tasks.corpus.staging import seal, temporary

# every kind of tokenizer, and the section of its own settings
SETTINGS = {"bpe": "spelling", "unigram": "pieces", "sentencepiece_bpe": "pieces", "wordpiece": "words"}


@dataclass(frozen=True, kw_only=True)
class TokenizerConfig:
    """`kind` is bpe (of bytes), unigram or sentencepiece_bpe (both by sentencepiece), or wordpiece (BERT's).

    `vocabulary` counts the special tokens and the 256 bytes too. A training text longer than `max_text_bytes` is halved,
    by documents, until it is not.
    """

    kind: str = "bpe"
    vocabulary: int = 4096
    spelling: bpe.Spelling = field(default_factory=bpe.Spelling)
    pieces: sentencepiece.PieceSettings = field(default_factory=sentencepiece.PieceSettings)
    words: wordpiece.WordSettings = field(default_factory=wordpiece.WordSettings)
    max_text_bytes: int = 50_000_000

    def __post_init__(self) -> None:
        if self.kind not in SETTINGS:
            near = difflib.get_close_matches(self.kind, SETTINGS, n=1, cutoff=0.4)
            mend = f"did you mean {near[0]}?" if near else f"kinds: {', '.join(SETTINGS)}"
            raise ValueError(f"kind {self.kind}: there is no such tokenizer; {mend}")
        for section, default in (
            ("spelling", bpe.Spelling()),
            ("pieces", sentencepiece.PieceSettings()),
            ("words", wordpiece.WordSettings()),
        ):
            if SETTINGS[self.kind] != section and getattr(self, section) != default:
                owners = " or ".join(kind for kind, own in SETTINGS.items() if own == section)
                raise ValueError(f"{section}: kind {self.kind} has no such settings, {owners} has")
        if self.max_text_bytes < 1:
            raise ValueError("max_text_bytes must be at least 1")

    @property
    def recipe(self) -> dict[str, Any]:
        """What the tokenizer depends on; a bpe's is spelled as it was when there was no other kind."""
        kept = {"vocabulary", SETTINGS[self.kind], "max_text_bytes", *(("kind",) if self.kind != "bpe" else ())}
        return {name: value for name, value in asdict(self).items() if name in kept}


def fit(texts: Iterable[str], config: TokenizerConfig) -> Any:
    """A tokenizer of the `tokenizers` library, of the kind that is asked for."""
    if config.kind == "bpe":
        return bpe.fit(texts, vocabulary=config.vocabulary, spelling=config.spelling)
    if config.kind == "wordpiece":
        return wordpiece.fit(texts, vocabulary=config.vocabulary, settings=config.words)
    kind: sentencepiece.Kind = "unigram" if config.kind == "unigram" else "bpe"
    return sentencepiece.fit(texts, kind=kind, vocabulary=config.vocabulary, settings=config.pieces)


def fit_tokenizer(split: Path, folder: Path, config: TokenizerConfig) -> None:
    """split/train.jsonl -> tokenizer/tokenizer.json."""
    parents = [read_artifact(split).digest]
    temporary_folder = temporary(folder)
    texts = _texts(split / "train.jsonl", config.max_text_bytes)
    bpe.save(fit(texts, config), temporary_folder)
    seal(temporary_folder, folder, kind="tokenizer", parents=parents, recipe=config.recipe)


def _texts(path: Path, most_bytes: int) -> Iterator[str]:
    halved = halvings(path.stat().st_size, most_bytes)
    return (document.text for document in read_documents(path) if in_sample(document.id, halved))
