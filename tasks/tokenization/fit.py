"""The tokenizer of a corpus, fitted on its training documents alone."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from models.tokenizers import bpe
from tasks.artifacts import read_artifact
from tasks.corpus.documents import halvings, in_sample, read_documents
from tasks.corpus.staging import seal, temporary


@dataclass(frozen=True, kw_only=True)
class TokenizerConfig:
    """`vocabulary` counts the special tokens and the 256 bytes too.

    A training text longer than `max_text_bytes` is halved, by documents, until it is not.
    """

    vocabulary: int = 4096
    spelling: bpe.Spelling = field(default_factory=bpe.Spelling)
    max_text_bytes: int = 50_000_000

    def __post_init__(self) -> None:
        if self.max_text_bytes < 1:
            raise ValueError("max_text_bytes must be at least 1")


def fit_tokenizer(split: Path, folder: Path, config: TokenizerConfig) -> None:
    """split/train.jsonl -> tokenizer/tokenizer.json."""
    parents = [read_artifact(split).digest]
    temporary_folder = temporary(folder)
    texts = _texts(split / "train.jsonl", config.max_text_bytes)
    bpe.save(bpe.fit(texts, vocabulary=config.vocabulary, spelling=config.spelling), temporary_folder)
    seal(temporary_folder, folder, kind="tokenizer", parents=parents, recipe=asdict(config))


def _texts(path: Path, most_bytes: int) -> Iterator[str]:
    halved = halvings(path.stat().st_size, most_bytes)
    return (document.text for document in read_documents(path) if in_sample(document.id, halved))
