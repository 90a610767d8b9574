"""WordPiece for BERT (Schuster and Nakajima 2012; Devlin et al. 2019) through the `tokenizers` library.

Words are cut at spaces and signs, then into the longest pieces from the left; `##` marks a piece that goes on. Spaces are
not kept, and a word with a letter of its own is unknown: texts do not come back, so this is for models that read.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from models.tokenizers.special import SPECIAL_TOKENS

UNKNOWN, CLASSIFIER, SEPARATOR, MASK = "[UNK]", "[CLS]", "[SEP]", "[MASK]"
BERT_TOKENS = (UNKNOWN, CLASSIFIER, SEPARATOR, MASK)
GOES_ON = "##"
WORD = "\ue000"  # before every word while pairs are counted; a character of private use, taken out of the texts


@dataclass(frozen=True, kw_only=True)
class WordSettings:
    """`strip_accents` takes the accents off letters; it takes Korean syllables to pieces too, so it is apart from
    `lower_case`. `character_coverage` is the share of the text's characters that the vocabulary holds.
    """

    lower_case: bool = False
    strip_accents: bool = False
    character_coverage: float = 0.9995

    def __post_init__(self) -> None:
        if not 0.9 <= self.character_coverage <= 1:
            raise ValueError(f"character_coverage is {self.character_coverage}; it is a share from 0.9 to 1")


def fit(texts: Iterable[str], *, vocabulary: int, settings: WordSettings | None = None) -> Tokenizer:
    """The tokenizer of `texts`, read once as a stream; the same texts in any order give the same one.

    Ids: the special tokens, BERT's own four, every character alone and going on, then pieces in the order of their
    merges. (The library's own WordPiece trainer gives another vocabulary in every process: it numbers `##` pieces as a
    hash map happens to hold them. So pairs are counted by its BPE trainer, on words with a mark at their beginning; on an
    English novel and Korean reviews its vocabularies gave between 0.2 % fewer and 1.1 % more tokens than these.)
    """
    settings = settings or WordSettings()
    given = (*SPECIAL_TOKENS, *BERT_TOKENS)
    counted: Counter[str] = Counter()
    counting = Tokenizer(models.BPE())
    counting.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.BertPreTokenizer(),
            pre_tokenizers.Metaspace(replacement=WORD, prepend_scheme="always", split=False),
        ]
    )
    # more than are kept: first characters, and what holds rare ones, fall out again
    trainer = trainers.BpeTrainer(vocab_size=2 * max(vocabulary, 0), min_frequency=2, show_progress=False)
    counting.train_from_iterator(_counted(texts, _normalizer(settings), counted), trainer)
    characters = _covered(counted, settings.character_coverage)
    if not characters:
        raise ValueError("there is no text to fit a tokenizer on")
    smallest = len(given) + 2 * len(characters)
    if vocabulary < smallest:
        raise ValueError(
            f"vocabulary: {vocabulary} is too small; {smallest} hold the special tokens and the text's "
            f"{len(characters)} characters alone and going on; raise it, or lower character_coverage"
        )
    ranked = counting.get_vocab()
    pieces = [*given, *characters, *(GOES_ON + character for character in characters)]
    pieces += _merged(sorted(ranked, key=ranked.__getitem__), frozenset(characters))
    return of_vocabulary(pieces[:vocabulary], settings)


def of_vocabulary(pieces: Sequence[str], settings: WordSettings | None = None) -> Tokenizer:
    """The tokenizer of a vocabulary, one piece after another, as BERT's vocab.txt holds it."""
    settings = settings or WordSettings()
    ids = {piece: number for number, piece in enumerate(pieces)}
    missing = [token for token in BERT_TOKENS if token not in ids]
    if missing:
        raise ValueError(f"not a vocabulary of WordPiece: it has no {' '.join(missing)}")
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token=UNKNOWN, continuing_subword_prefix=GOES_ON))
    tokenizer.normalizer = _normalizer(settings)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix=GOES_ON, cleanup=False)
    tokenizer.post_processor = processors.BertProcessing((SEPARATOR, ids[SEPARATOR]), (CLASSIFIER, ids[CLASSIFIER]))
    tokenizer.add_special_tokens([token for token in (*SPECIAL_TOKENS, "[PAD]", *BERT_TOKENS) if token in ids])
    tokenizer.encode_special_tokens = True  # see bpe.py: for ordinary text
    return tokenizer


def _normalizer(settings: WordSettings) -> Any:
    return normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=True, strip_accents=settings.strip_accents, lowercase=settings.lower_case
    )


def _counted(texts: Iterable[str], normalizer: Any, counted: Counter[str]) -> Iterator[str]:
    for text in texts:
        normal = normalizer.normalize_str(text).replace(WORD, " ")
        counted.update(normal)
        yield normal


def _covered(counted: Counter[str], coverage: float) -> list[str]:
    """The most frequent characters that make up this share of the text, sorted."""
    for character in [character for character in counted if character.isspace()]:
        del counted[character]
    most = coverage * counted.total()
    kept: list[str] = []
    for character, count in sorted(counted.items(), key=lambda item: (-item[1], item[0])):
        if most <= 0:
            break
        kept.append(character)
        most -= count
    return sorted(kept)


def _merged(ranked: Sequence[str], characters: frozenset[str]) -> Iterator[str]:
    """Pieces of more than one character, in the order of their merges; those of rare characters are left out."""
    for piece in ranked:
        letters = piece.removeprefix(WORD)
        if len(letters) > 1 and characters.issuperset(letters):
            yield letters if piece.startswith(WORD) else GOES_ON + letters
