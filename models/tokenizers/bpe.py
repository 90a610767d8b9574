"""Byte-level BPE (Sennrich et al. 2016; bytes: Radford et al. 2019) through the `tokenizers` library.

Any Unicode text comes back as it was, because the alphabet is the 256 bytes. Text that spells a special token stays text:
only the code that builds prompts may write a special id.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from models.tokenizers.special import SPECIAL_TOKENS

TOKENIZER_FILE = "tokenizer.json"
BYTES = 256

_DIGITS = {"single": r"\p{N}", "triples": r"\p{N}{1,3}", "runs": r"\p{N}+"}


@dataclass(frozen=True, kw_only=True)
class Spelling:
    """How a text is cut before pairs are merged: no token reaches over a cut.

    `digits`: each for itself, up to three, or as long as they stand together. `normalization`: "nfc" gives composed and
    decomposed letters the same ids, and a text that was not NFC comes back as NFC.
    """

    digits: Literal["single", "triples", "runs"] = "single"
    normalization: Literal["none", "nfc"] = "none"


def fit(
    texts: Iterable[str],
    *,
    vocabulary: int,
    special_tokens: Sequence[str] = SPECIAL_TOKENS,
    spelling: Spelling | None = None,
) -> Tokenizer:
    """The tokenizer of `texts`, read once as a stream; the same texts in any order give the same tokenizer.

    Ids: the special tokens, the 256 bytes, then the merges in their order. A short text has fewer pairs to merge, and
    then fewer than `vocabulary` tokens.
    """
    smallest = len(special_tokens) + BYTES
    if vocabulary < smallest:
        raise ValueError(
            f"vocabulary: {vocabulary} is too small; {smallest} hold the bytes and the special tokens alone"
        )
    spelling = spelling or Spelling()
    tokenizer = Tokenizer(models.BPE())
    if spelling.normalization == "nfc":
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_pattern(spelling)), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        min_frequency=2,
        special_tokens=list(special_tokens),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return _for_text(tokenizer)


def save(tokenizer: Tokenizer, folder: Path) -> None:
    """Write tokenizer.json, the same bytes for the same tokenizer, of whatever kind."""
    (folder / TOKENIZER_FILE).write_text(tokenizer.to_str(pretty=True) + "\n", encoding="utf-8", newline="\n")


def load(folder: Path) -> Tokenizer:
    """The tokenizer in a folder, of whatever kind, for ordinary text; ValueError when there is none."""
    path = folder / TOKENIZER_FILE
    if not path.is_file():
        raise ValueError(f"{folder}: there is no {TOKENIZER_FILE}; fit a tokenizer first")
    return _for_text(Tokenizer.from_str(path.read_text(encoding="utf-8")))


def _for_text(tokenizer: Tokenizer) -> Tokenizer:
    # not kept in tokenizer.json: without it "<|endoftext|>" in a document would end the document
    tokenizer.encode_special_tokens = True
    return tokenizer


def _pattern(spelling: Spelling) -> str:
    """Words with one sign or space before them, figures, signs, line ends and spaces, as GPT-4 cuts.

    Marks count as letters: the vowels of Thai and Hindi are marks.
    """
    return "|".join(
        [
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)",
            r"[^\r\n\p{L}\p{M}\p{N}]?[\p{L}\p{M}]+",
            _DIGITS[spelling.digits],
            r" ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*",
            r"\s*[\r\n]+",
            r"\s+(?!\S)",
            r"\s+",
        ]
    )
