"""Published goldens of byte-level BPE, and its trainer beside one that counts every pair anew."""

import random
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from models.tokenizers import bpe, gpt2

FIRST_MERGE = 260


@pytest.fixture(scope="module")
def published(test_data: Path) -> Any:
    folder = test_data / "tokenizer_files"
    return gpt2.load(folder / "GPT2.encoder.json", folder / "GPT2.vocab.bpe")


def ids(tokenizer: Any, text: str) -> list[int]:
    found: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
    return found


def merges(tokenizer: Any) -> list[str]:
    return [tokenizer.id_to_token(number) for number in range(FIRST_MERGE, tokenizer.get_vocab_size())]


def test_the_trainer_golden_of_the_library() -> None:
    """trainer.rs test_train: with a frequency of at least two exactly r+e, a+re, i+s."""
    counts = {"roses": 1, "are": 2, "red": 1, "voilets": 1, "blue": 1, "BERT": 1, "is": 2, "big": 1, "and": 1, "so": 1}
    text = "\n".join([word for word, count in counts.items() for _ in range(count)] + ["GPT-2"])
    assert merges(bpe.fit([text], vocabulary=400)) == ["re", "are", "is"]


def test_minbpes_golden() -> None:
    """ "aaabdaaabac" after three merges (Sennrich's example, as minbpe has it): aaab d aaab a c."""
    tokenizer = bpe.fit(["aaabdaaabac"], vocabulary=FIRST_MERGE + 3)
    assert [tokenizer.id_to_token(number) for number in ids(tokenizer, "aaabdaaabac")] == [
        "aaab",
        "d",
        "aaab",
        "a",
        "c",
    ]


def test_overlapping_pairs_are_merged_from_the_left() -> None:
    tokenizer = bpe.fit(["aa\naa"], vocabulary=FIRST_MERGE + 1)
    assert [len(ids(tokenizer, text)) for text in ("aa", "aaa", "aaaa", "aaaaa")] == [1, 2, 2, 3]
    assert ids(tokenizer, "aaa")[0] == FIRST_MERGE


@pytest.mark.parametrize("seed", range(50))
def test_the_trainer_merges_what_a_naive_one_merges(seed: int) -> None:
    """The most frequent pair of all, and of equals the one with the smallest ids; few letters make many ties."""
    chance = random.Random(seed)
    words = ["".join(chance.choices("abc", k=chance.randrange(1, 7))) for _ in range(chance.randrange(5, 40))]
    tokenizer = bpe.fit(["\n".join(words)], vocabulary=FIRST_MERGE + 12)
    assert merges(tokenizer) == naive_merges(words, 12)


def naive_merges(words: list[str], most: int) -> list[str]:
    counts = Counter(words)
    symbols = {word: list(word) for word in counts}
    order = {letter: place for place, letter in enumerate("abc")}
    made: list[str] = []
    while len(made) < most:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, parts in symbols.items():
            for pair in pairwise(parts):
                pairs[pair] += counts[word]
        best = min(pairs, key=lambda pair: (-pairs[pair], order[pair[0]], order[pair[1]]), default=None)
        if best is None or pairs[best] < 2:
            break
        made.append("".join(best))
        order.setdefault(made[-1], len(order))
        symbols = {word: merged(parts, best) for word, parts in symbols.items()}
    return made


def merged(parts: list[str], pair: tuple[str, str]) -> list[str]:
    done: list[str] = []
    at = 0
    while at < len(parts):
        together = tuple(parts[at : at + 2]) == pair
        done.append("".join(pair) if together else parts[at])
        at += 2 if together else 1
    return done


def test_gpt2s_goldens(published: Any) -> None:
    assert published.get_vocab_size() == 50257
    assert ids(published, "hello world") == [31373, 995]
    zeros = [[15], [405], [830], [2388], [20483], [10535], [24598], [8269], [10535, 830]]
    assert [ids(published, "0" * count) for count in range(1, 10)] == zeros
    assert ids(published, "0" * 16) == [25645]
    assert 50256 not in ids(published, "hello <|endoftext|>")
    published.encode_special_tokens = False
    assert ids(published, "hello <|endoftext|>") == [31373, 220, 50256]
    published.encode_special_tokens = True


def test_every_text_comes_back_from_gpt2_and_broken_bytes_are_replaced(published: Any) -> None:
    chance = random.Random(3)
    pools = (
        [*"👩‍👩‍👧🏽é\u0301한ᄒ\u1161\u11abม\u0e33\u202e\u200f\u2028\ufeff \r\n\t\x00ab'sS1"],
        [chr(code) for code in (*range(0x80, 0xD800, 97), *range(0xE000, 0x110000, 9973))],
    )
    for _ in range(10_000):
        text = "".join(chance.choices(chance.choice(pools), k=chance.randrange(1, 30)))
        assert published.decode(ids(published, text)) == text
    emoji = ids(published, "😉")
    assert len(emoji) > 1
    assert published.decode([*emoji[:-1], *ids(published, "a")]).endswith("\ufffda")


def test_files_that_are_not_gpt2s_are_refused(test_data: Path, tmp_path: Path) -> None:
    folder = test_data / "tokenizer_files"
    for vocabulary, pairs in (("GPT2.vocab.bpe", "GPT2.vocab.bpe"), ("GPT2.encoder.json", "botchan.txt")):
        with pytest.raises(ValueError, match="not GPT-2's vocabulary and merges"):
            gpt2.load(folder / vocabulary, folder / pairs)
    with pytest.raises(ValueError, match="not GPT-2's vocabulary and merges"):
        gpt2.load(tmp_path / "vocab.json", tmp_path / "merges.txt")
