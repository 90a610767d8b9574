"""Tokenizers side by side on texts: those that are there, and those that are fitted on a part of the texts here."""

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from models.tokenizers import bpe, gpt2, wordpiece
from tasks.corpus.documents import Document
from tasks.corpus.files import file_documents, plain_name
from tasks.corpus.sources import Limits, Source
from tasks.tokenization.fit import SETTINGS, TokenizerConfig, fit
from tasks.tokenization.measure import measure

MOST_TEXT_BYTES = 20_000_000  # of each text; what is beyond is not read
HELD_OUT = 10  # every tenth line is measured, where tokenizers are fitted on the others
FIT_STEPS = 5  # in the progress: a fit takes about as long as this many tokenizers' measuring
GPT2_FILES = (("encoder.json", "vocab.bpe"), ("vocab.json", "merges.txt"))

Texts = Mapping[str, Sequence[str]]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One tokenizer on one text; shares and megabytes are of 1 and of a million bytes."""

    tokenizer: str
    vocabulary: int
    text: str
    bytes: int
    words: int
    tokens: int
    bytes_per_token: float
    fertility: float | None
    split_word_share: float | None
    unknown_share: float
    megabytes_per_second: float


def read_texts(paths: Sequence[str], *, each: bool = False, only: Sequence[str] = ()) -> dict[str, list[str]]:
    """{"botchan": [its text, in parts], ...}: a text for each path, or with `each` for each file in folders and archives.

    `only` names the files to be read; ValueError for a name that is not there, and for a text without a character.
    """
    found: dict[str, list[str]] = {}
    for path in paths:
        before = len(found)
        for name, text in _parts(path, each=each or bool(only)):
            found.setdefault(name, []).append(text)
        if len(found) == before:
            raise ValueError(f"{path}: there is no text in it, or only in files named like earlier ones")
    for name in only:
        if name not in found:
            near = difflib.get_close_matches(name, found, n=1, cutoff=0.4)
            mend = f"did you mean {near[0]}?" if near else "a file is named without its folder and ending"
            raise ValueError(f"--only {name}: there is no such file in {' '.join(paths)}; {mend}")
    return {name: found[name] for name in only} if only else found


def _parts(path: str, *, each: bool) -> Iterator[tuple[str, str]]:
    source = Source(path=str(Path(path).expanduser().absolute()), name=plain_name(Path(path)))
    read: dict[str, int] = {}
    for document in file_documents(source, Limits(), Path.cwd()):
        name = source.name
        if each:
            name = PurePosixPath(document.id.rpartition("#")[0] or document.id).name.split(".")[0]
        read[name] = read.get(name, 0) + len(document.text.encode("utf-8", "surrogatepass"))
        if isinstance(document, Document) and document.text.strip() and read[name] <= MOST_TEXT_BYTES:
            yield name, document.text


def open_tokenizer(path: Path) -> Any:
    """tokenizer.json, GPT-2's two files or WordPiece's vocab.txt: the file, or the folder that it is in."""
    if (path / bpe.TOKENIZER_FILE).is_file():
        return bpe.load(path)
    if path.name == bpe.TOKENIZER_FILE and path.is_file():
        return bpe.load(path.parent)
    candidates = sorted(path.iterdir()) if path.is_dir() else [path]
    for file in candidates:
        for vocabulary, merges in GPT2_FILES:
            for ending in (vocabulary, merges):
                if file.name.endswith(ending) and file.is_file():
                    stem = str(file).removesuffix(ending)
                    return gpt2.load(Path(stem + vocabulary), Path(stem + merges))
    for file in candidates:
        if file.name.endswith("vocab.txt") and file.is_file():
            return wordpiece.of_vocabulary(file.read_text(encoding="utf-8").splitlines())
    raise ValueError(f"{path}: no tokenizer; name tokenizer.json, vocab.json, encoder.json, vocab.txt, or their folder")


def to_fit(wanted: str) -> TokenizerConfig:
    """to_fit("unigram:8000") -> TokenizerConfig(kind="unigram", vocabulary=8000)"""
    kind, _, vocabulary = wanted.partition(":")
    if not vocabulary.isdecimal():
        raise ValueError(
            f"--fit {wanted}: expected KIND:VOCABULARY, for example unigram:8000; kinds: {', '.join(SETTINGS)}"
        )
    return TokenizerConfig(kind=kind, vocabulary=int(vocabulary))


def divided(texts: Texts) -> tuple[list[str], dict[str, list[str]]]:
    """What is fitted on, of all texts, and what is measured, of each: every tenth line."""
    fitted: list[str] = []
    measured: dict[str, list[str]] = {}
    for name, parts in texts.items():
        lines = [line for part in parts for line in part.splitlines(keepends=True) if line.strip()]
        if len(lines) < HELD_OUT:
            raise ValueError(f"{name}: {len(lines)} lines are too few to fit on most and measure on every tenth")
        measured[name] = lines[HELD_OUT - 1 :: HELD_OUT]
        del lines[HELD_OUT - 1 :: HELD_OUT]
        fitted += lines
    return fitted, measured


def compare(
    texts: Texts,
    tokenizers: Mapping[str, Any],
    fits: Mapping[str, TokenizerConfig],
    progress: Callable[[int, int], None] | None = None,
) -> list[Row]:
    """A row for each tokenizer on each text. With `fits` all are measured on every tenth line, no fit sees it."""
    fitted_on, measured = divided(texts) if fits else ([], texts)
    fit_steps = FIT_STEPS * len(measured)
    steps = len(fits) * fit_steps + (len(tokenizers) + len(fits)) * len(measured)
    found = dict(tokenizers)
    for done, (name, config) in enumerate(fits.items()):
        if progress:
            progress(done * fit_steps, steps)
        found[name] = fit(iter(fitted_on), config)
    rows: list[Row] = []
    for name, tokenizer in found.items():
        for text, parts in measured.items():
            if progress:
                progress(len(fits) * fit_steps + len(rows), steps)
            rows.append(_row(name, tokenizer, text, parts))
    return rows


def _row(name: str, tokenizer: Any, text: str, parts: Sequence[str]) -> Row:
    got = measure(tokenizer, parts)
    return Row(
        tokenizer=name,
        vocabulary=tokenizer.get_vocab_size(),
        text=text,
        bytes=got.bytes,
        words=got.words,
        tokens=got.tokens,
        bytes_per_token=got.bytes_per_token,
        fertility=got.fertility,
        split_word_share=got.split_word_share,
        unknown_share=got.unknown_share,
        megabytes_per_second=got.megabytes_per_second,
    )
