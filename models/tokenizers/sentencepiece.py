"""SentencePiece (Kudo and Richardson 2018): unigram and BPE pieces, fitted by its library and encoded by `tokenizers`.

The two give the same ids on every text but one: U+2581, by which sentencepiece means a space, comes back as it was here.
What no piece holds is spelled in bytes, so any Unicode text comes back.
"""

import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from models.tokenizers.special import SPECIAL_TOKENS

Kind = Literal["unigram", "bpe"]

UNKNOWN = "<unk>"  # sentencepiece wants one; with a piece for every byte it never comes out of a text
SPACE = "\u2581"
BYTE_PIECES = tuple(f"<0x{byte:02X}>" for byte in range(256))
# Their spelling can be written in these pieces, so no text becomes one of them.
SPELLED_OUT = "".join(sorted({*"".join((*SPECIAL_TOKENS, UNKNOWN, *BYTE_PIECES))}))
NEVER = -1e5  # the score of a piece that no text may become: any spelling in letters beats it
LONGEST_SENTENCE = (
    4000  # characters; sentencepiece itself leaves out what is longer than its limit, and does not say so
)
# sentencepiece adds scores in 32 bits, `tokenizers` in 64. Of multiples of 1/128 both sums are exact, up to 131,072 nats.
SCORE_STEPS = 128
THREADS = 2  # what is fitted depends on their number

_LINE_ENDS = re.compile(r"[\r\n]+")
# what the trainer keeps for itself: NUL, its boundary, its space, its unknown character
_RESERVED = str.maketrans(dict.fromkeys("\0\t\u2581\u2585", " "))
# no piece reaches over the beginning of a run of spaces, or over a line end
_WORDS = r" *[^ \n]+| +|\n+"


@dataclass(frozen=True, kw_only=True)
class PieceSettings:
    """How text is read before it is cut, and of which characters pieces are made.

    `normalization`: a text comes back as it was, in Unicode's form NFKC, or that with all white space as plain spaces and
    control characters left out. `character_coverage` is the share of the text's characters that are pieces; the others
    are spelled in bytes. `dummy_prefix` reads every text as if a space stood before it, as sentencepiece does by itself:
    a word has the same ids at the beginning and in the middle, but a text that is put together of parts has too many spaces.
    """

    normalization: Literal["identity", "nfkc", "nmt_nfkc"] = "identity"
    split_digits: bool = True
    character_coverage: float = 0.9995
    dummy_prefix: bool = False

    def __post_init__(self) -> None:
        if not 0.9 <= self.character_coverage <= 1:
            raise ValueError(f"character_coverage is {self.character_coverage}; it is a share from 0.9 to 1")


def fit(
    texts: Iterable[str],
    *,
    kind: Kind,
    vocabulary: int,
    settings: PieceSettings | None = None,
) -> Tokenizer:
    """The tokenizer of `texts`, read once as a stream.

    Ids: the special tokens, <unk>, the 256 bytes, then the pieces. A short text has fewer than `vocabulary`.
    """
    settings = settings or PieceSettings()
    return convert(train(texts, kind=kind, vocabulary=vocabulary, settings=settings), kind=kind, settings=settings)


def train(texts: Iterable[str], *, kind: Kind, vocabulary: int, settings: PieceSettings) -> bytes:
    """sentencepiece's own model file. It does not normalize: `convert` does, and did so before the training.

    (sentencepiece's table of NFKC cannot be used: as `tokenizers` reads it, decomposed Korean stays so, and the accent
    after a full-width letter is lost.)
    """
    # where a tokenizer is only used, the library need not be there
    from sentencepiece import SentencePieceTrainer

    if vocabulary < len(SPECIAL_TOKENS) + 1 + len(BYTE_PIECES) + len(SPELLED_OUT):
        raise ValueError(_too_small(vocabulary))
    sentences = _Sentences(texts, _normalizer(settings))
    model = io.BytesIO()
    try:
        SentencePieceTrainer.train(
            sentence_iterator=iter(sentences), model_writer=model, model_type=kind, vocab_size=vocabulary,
            hard_vocab_limit=False, control_symbols=list(SPECIAL_TOKENS), unk_id=len(SPECIAL_TOKENS), bos_id=-1,
            eos_id=-1, pad_id=-1, unk_piece=UNKNOWN, byte_fallback=True, required_chars=SPELLED_OUT,
            character_coverage=settings.character_coverage, split_digits=settings.split_digits,
            add_dummy_prefix=settings.dummy_prefix, normalization_rule_name="identity", remove_extra_whitespaces=False,
            allow_whitespace_only_pieces=True, max_sentence_length=8 * LONGEST_SENTENCE, num_threads=THREADS,
            minloglevel=3,
        )  # fmt: skip
    except (RuntimeError, ValueError) as error:
        raise sentences.failure or ValueError(_reason(sentences, vocabulary, error)) from error
    return _with_exact_scores(model.getvalue()) if kind == "unigram" else model.getvalue()


def convert(model: bytes, *, kind: Kind, settings: PieceSettings) -> Tokenizer:
    """sentencepiece's model file as a tokenizer of the `tokenizers` library; spaces in its pieces are plain ones."""
    from sentencepiece import SentencePieceProcessor

    processor = SentencePieceProcessor(model_proto=model)
    numbers = range(len(processor))
    spelled = [processor.id_to_piece(number).replace(SPACE, " ") for number in numbers]
    core: Any
    given = len(SPECIAL_TOKENS) + 1 + len(BYTE_PIECES)  # ids before the pieces that were learned
    if kind == "unigram":
        scores = [processor.get_score(number) if number >= given else NEVER for number in numbers]
        vocabulary = list(zip(spelled, scores, strict=True))
        core = models.Unigram(vocabulary, unk_id=processor.unk_id(), byte_fallback=True)
    else:
        ids = {piece: number for number, piece in enumerate(spelled)}
        core = models.BPE(ids, merges(spelled[given:]), unk_token=UNKNOWN, fuse_unk=True, byte_fallback=True)
    return _around(core, settings)


def merges(pieces: list[str]) -> list[tuple[str, str]]:
    """Every way to put a piece together of two others, the earlier piece first: sentencepiece merges any such pair.

    Where two ways to the same piece overlap in a text ("ab", "a", "ba"), it takes the left one. So a way whose right part
    is also the piece's beginning stands before the one whose left part is also its end.
    """
    known = set(pieces)
    found: list[tuple[str, str]] = []
    for piece in pieces:
        ways = [(piece[:at], piece[at:]) for at in range(1, len(piece))]
        ways = [(left, right) for left, right in ways if left in known and right in known]
        ways.sort(key=lambda way: piece.endswith(way[0]) - piece.startswith(way[1]))
        found += ways
    return found


def _around(core: Any, settings: PieceSettings) -> Tokenizer:
    """What stands before and behind the model, and the special tokens."""
    tokenizer = Tokenizer(core)
    steps = [_normalizer(settings)] if settings.normalization != "identity" else []
    steps += [normalizers.Prepend(" ")] if settings.dummy_prefix else []
    if steps:
        tokenizer.normalizer = normalizers.Sequence(steps)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(_WORDS), behavior="isolated")
    end = [decoders.Strip(" ", 1, 0)] if settings.dummy_prefix else []
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse(), *end])
    tokenizer.add_special_tokens([*SPECIAL_TOKENS, UNKNOWN])
    tokenizer.encode_special_tokens = True  # see bpe.py: for ordinary text
    return tokenizer


def _normalizer(settings: PieceSettings) -> Any:
    steps: list[Any] = [normalizers.Nmt()] if settings.normalization == "nmt_nfkc" else []
    steps += [normalizers.NFKC()] if settings.normalization != "identity" else []
    return normalizers.Sequence(steps)


class _Sentences:
    """Normalized lines, long ones in parts; keeps what went wrong, which sentencepiece would make a message of."""

    def __init__(self, texts: Iterable[str], normalizer: Any) -> None:
        self._texts, self._normalizer = texts, normalizer
        self.count = 0
        self.failure: Exception | None = None

    def __iter__(self) -> Iterator[str]:
        try:
            for text in self._texts:
                for line in _LINE_ENDS.split(self._normalizer.normalize_str(text).translate(_RESERVED)):
                    yield from self._parts(line)
        except Exception as error:
            self.failure = error
            raise

    def _parts(self, line: str) -> Iterator[str]:
        while line.strip():
            cut = len(line) if len(line) <= LONGEST_SENTENCE else line.rfind(" ", 1, LONGEST_SENTENCE)
            cut = cut if cut > 0 else LONGEST_SENTENCE
            self.count += 1
            yield line[:cut]
            line = line[cut:]


def _too_small(vocabulary: int) -> str:
    return (
        f"vocabulary: {vocabulary} is too small for the special tokens, the 256 bytes and every character of the text; "
        "raise it, or lower character_coverage"
    )


def _reason(sentences: _Sentences, vocabulary: int, error: Exception) -> str:
    if not sentences.count:
        return "there is no text to fit a tokenizer on"
    if "required_chars" in str(error) or "vocab_size" in str(error):
        return _too_small(vocabulary)
    return f"sentencepiece cannot be fitted on this text ({' '.join(str(error).split())})"


def _with_exact_scores(model: bytes) -> bytes:
    from sentencepiece import sentencepiece_model_pb2

    parsed = sentencepiece_model_pb2.ModelProto.FromString(model)
    for piece in parsed.pieces:
        piece.score = round(piece.score * SCORE_STEPS) / SCORE_STEPS
    return bytes(parsed.SerializeToString())
