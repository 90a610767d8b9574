"""Planted duplicates are found, near ones too, and texts that only share a phrase stay."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks.corpus.deduplicate import BandIndex, DeduplicateConfig, DuplicateFinder, deduplicate
from tasks.corpus.documents import Document, read_documents
from tasks.corpus.words import gram_hashes, words_of

CHANCE = random.Random(11)
WORDS = ["".join(CHANCE.choices("abcdefghijklmnopqrstuvwxyz", k=7)) for _ in range(3000)]


def text_of(chance: random.Random, words: int = 300) -> list[str]:
    return chance.choices(WORDS, k=words)


def changed(words: list[str], places: int, chance: random.Random) -> list[str]:
    """`places` words far from one another replaced: each touches five runs of five words."""
    found = list(words)
    for number in range(places):
        found[number * len(words) // places + chance.randrange(5)] = f"other{number}"
    return found


def document(id: str, text: str) -> Document:
    return Document(id=id, group=id, kind="text", text=text)


def jaccard(one: str, other: str) -> float:
    a, b = (set(gram_hashes(words_of(text), 5).tolist()) for text in (one, other))
    return len(a & b) / len(a | b)


def test_planted_near_duplicates_are_found_and_nothing_else(
    sealed: Callable[..., Path], refused: Callable[[Path], list[dict[str, Any]]], tmp_path: Path
) -> None:
    chance = random.Random(1)
    originals = [text_of(chance) for _ in range(200)]
    documents = [document(f"original/{number}", " ".join(words)) for number, words in enumerate(originals)]
    near = [document(f"near/{number}", " ".join(changed(words, 3, chance))) for number, words in enumerate(originals)]
    far = [document(f"far/{number}", " ".join(changed(words, 40, chance))) for number, words in enumerate(originals)]
    assert jaccard(documents[0].text, near[0].text) == pytest.approx(0.90, abs=0.02)
    assert jaccard(documents[0].text, far[0].text) < 0.25

    clean = sealed(*documents, *near, *far)
    deduplicate(clean, tmp_path / "out", tmp_path / "refused", DeduplicateConfig())
    kept = [item.id for item in read_documents(tmp_path / "out" / "documents.jsonl")]
    assert kept == [item.id for item in (*documents, *far)]
    assert {(record["id"], record["reason"], record["detail"]) for record in refused(tmp_path / "refused")} == {
        (f"near/{number}", "near duplicate", f"of original/{number}") for number in range(200)
    }


@pytest.mark.parametrize(
    "text",
    [
        "모든 국민은 법 앞에 평등하다. 누구든지 성별·종교 또는 사회적 신분에 의하여 차별을 받지 아니한다. " * 3,
        "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ ต่างมีเหตุผลและมโนธรรม",
        "人人生而自由,在尊严和权利上一律平等。他们赋有理性和良心,并应以兄弟关系的精神相对待。",
    ],
)
def test_case_and_signs_make_no_other_text_in_any_script(text: str) -> None:
    finder = DuplicateFinder(DeduplicateConfig())
    assert finder.judge(document("a", text)) == (True, "", "")
    assert finder.judge(document("b", text.replace(" ", "\n") + "!!")) == (False, "near duplicate", "a")
    assert finder.judge(document("c", text)) == (False, "exact duplicate", "a")


def test_a_text_shorter_than_a_run_of_words_has_only_exact_duplicates() -> None:
    finder = DuplicateFinder(DeduplicateConfig())
    judged = [finder.judge(document(str(number), text)) for number, text in enumerate(("Yes.", "yes", "Yes.", ""))]
    assert judged == [(True, "", ""), (True, "", ""), (False, "exact duplicate", "0"), (True, "", "")]


def test_agreeing_minima_estimate_similarity() -> None:
    """The share of equal minima is an unbiased estimate with deviation sqrt(s (1 - s) / 128): at most 0.044."""
    finder, chance = DuplicateFinder(DeduplicateConfig()), random.Random(2)
    errors = []
    for places in (1, 5, 10, 20, 30) * 20:
        words = text_of(chance)
        other = changed(words, places, chance)
        one, two = finder.signature(words), finder.signature(other)
        assert one is not None
        assert two is not None
        errors.append(float(np.mean(one == two)) - jaccard(" ".join(words), " ".join(other)))
    assert abs(np.mean(errors)) < 0.015
    assert np.std(errors) < 0.055


def test_a_small_text_in_a_large_one_is_no_duplicate() -> None:
    chance = random.Random(3)
    words = text_of(chance, 1000)
    finder = DuplicateFinder(DeduplicateConfig())
    assert finder.judge(document("whole", " ".join(words)))[0]
    assert finder.judge(document("part", " ".join(words[:200])))[0]


def test_the_index_of_bands_finds_the_settled_and_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.corpus.deduplicate._NEWEST_KEYS", 50)
    chance = np.random.default_rng(5)
    index = BandIndex()
    entries = chance.integers(0, 200, size=(300, 4), dtype=np.uint64)
    for number, keys in enumerate(entries):
        index.add(keys, number)
    wanted = np.array([7, 50, 199, 1000], dtype=np.uint64)
    assert index.find(wanted) == {number for number, keys in enumerate(entries) if set(keys) & set(wanted)}


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="min_similarity: expected a share above 0"):
        DeduplicateConfig(min_similarity=0)
    with pytest.raises(ValueError, match="gram_words, bands and rows must be at least 1"):
        DeduplicateConfig(bands=0)
