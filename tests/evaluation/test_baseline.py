"""The floor: what counting reaches on the same tokens, equal to a counting model that is asked directly."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.ngram import NgramModel
from models.ngram_smoothing import NgramConfig
from tasks.artifacts import read_artifact, verify
from tasks.evaluation.__main__ import baseline as baseline_stage
from tasks.evaluation.baseline import BaselineConfig, count, floor_nats, name_of, read_baseline
from tasks.tokenization.shards import open_split

TEXTS = {
    "train": ["the cat sat on the mat. " * 3, "the dog sat on the log. " * 3, "a cat and a dog met. " * 2] * 4,
    "valid": ["the cat sat on the log. ", "the dog met a cat. "],
    "test": ["a dog sat on the mat. " * 2, "zzz qqq", "the cat met the dog. "],
}
TokenSet = Callable[[Any], Path]


@pytest.fixture
def tokens(token_set: TokenSet) -> Path:
    return token_set(TEXTS)


def counted(tokens: Path, folder: Path, *orders: int) -> dict[str, Any]:
    folder.mkdir()
    return count(tokens, folder, BaselineConfig(orders=orders) if orders else BaselineConfig())


def ids_of(tokens: Path, split: str) -> np.ndarray:
    stream = open_split(tokens, split)
    return stream.slice(0, stream.tokens).astype(np.int64)


def test_the_floor_is_the_counting_model_asked_directly(tokens: Path, tmp_path: Path) -> None:
    report = counted(tokens, tmp_path / "baseline", 1, 3)
    for order, name in ((1, "unigram"), (3, "Kneser-Ney 3-gram")):
        config = NgramConfig(order=order, start_mark=False, fallback_discounts=(0.5, 1.0, 1.5))
        model = NgramModel.fit(ids_of(tokens, "train"), vocabulary_size=261, config=config)
        for split in ("valid", "test"):
            nats = -model.log_probabilities(ids_of(tokens, split)).sum()
            bytes_ = sum(len(text.encode()) for text in TEXTS[split])
            assert report["models"][name][split]["value"] == pytest.approx(nats / math.log(2) / bytes_, rel=1e-12)
    assert report["floor"] == "Kneser-Ney 3-gram"
    assert list(report["models"]) == ["unigram", "Kneser-Ney 3-gram"]


def test_a_unigram_by_hand(token_set: TokenSet, tmp_path: Path) -> None:
    """Of "ab" and "ab": a, b and the end of a text twice each; Kneser-Ney gives part of it to what was never seen."""
    tokens = token_set({"train": ["ab", "ab"], "valid": ["ab"], "test": ["ba"]})
    report = counted(tokens, tmp_path / "baseline", 1)
    # counts are all 2: discount 1 each, so (2 - 1) / 6, and 3 x 1 / 6 of the mass spread over 261 tokens
    each = (2 - 1) / 6 + 3 / 6 / 261
    assert report["models"]["unigram"]["test"]["value"] == pytest.approx(-3 * math.log2(each) / 2)
    assert report["models"]["unigram"]["test"]["n"] == 1


def test_longer_contexts_are_better_where_the_text_repeats(tokens: Path, tmp_path: Path) -> None:
    report = counted(tokens, tmp_path / "baseline")
    values = [report["models"][name]["valid"]["value"] for name in ("unigram", "bigram", "Kneser-Ney 5-gram")]
    assert values == sorted(values, reverse=True)
    assert values[0] > 1.5 * values[2]


def test_nats_are_kept_by_document_in_the_order_of_the_split(tokens: Path, tmp_path: Path) -> None:
    report = counted(tokens, tmp_path / "baseline")
    nats = floor_nats(tmp_path / "baseline", "test")
    sizes = [len(text.encode()) for text in TEXTS["test"]]
    assert len(nats) == 3
    assert nats.sum() / math.log(2) / sum(sizes) == pytest.approx(
        report["models"]["Kneser-Ney 5-gram"]["test"]["value"]
    )
    config = NgramConfig(order=5, start_mark=False, fallback_discounts=(0.5, 1.0, 1.5))
    model = NgramModel.fit(ids_of(tokens, "train"), vocabulary_size=261, config=config)
    by_token = -model.log_probabilities(ids_of(tokens, "test"))
    ends = np.cumsum([size + 1 for size in sizes])  # a token a byte, and the end of the text
    assert nats.tolist() == pytest.approx([part.sum() for part in np.split(by_token, ends[:-1])])
    per_byte = nats / sizes
    assert per_byte.argmax() == 1, "the text of letters that were never seen costs the most"
    assert report["models"]["Kneser-Ney 5-gram"]["test"]["by_kind"]["source"] == pytest.approx(
        per_byte[1] / math.log(2)
    )


def test_the_same_tokens_give_the_same_bytes(tokens: Path, tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        counted(tokens, folder)
    names = sorted(path.name for path in folders[0].iterdir())
    assert names == ["baseline.json", "test.nats.npy", "valid.nats.npy"]
    assert all((folders[0] / name).read_bytes() == (folders[1] / name).read_bytes() for name in names)
    assert read_baseline(folders[0]) == json.loads((folders[1] / "baseline.json").read_text(encoding="utf-8"))


def test_the_stage_seals_what_it_counted(tokens: Path, tmp_path: Path) -> None:
    data = tmp_path / ".espalier" / "data" / "tiny"
    data.mkdir(parents=True)
    tokens.rename(data / "tokens")
    baseline_stage("tiny", tmp_path)
    assert verify(data / "baseline") == (True, "")
    assert read_artifact(data / "baseline").parents == (read_artifact(data / "tokens").digest,)
    assert read_baseline(data / "baseline")["floor"] == "Kneser-Ney 5-gram"


def test_names_of_orders() -> None:
    assert [name_of(order) for order in (1, 2, 3, 5)] == ["unigram", "bigram", "Kneser-Ney 3-gram", "Kneser-Ney 5-gram"]


@pytest.mark.parametrize("orders", [(), (0, 1), (2, 1), (1, 1), (-1,)])
def test_orders_that_do_not_rise_are_refused(orders: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected rising numbers from 1 on"):
        BaselineConfig(orders=orders)


def test_a_folder_without_a_baseline_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no counting baseline there .*; run the data stages"):
        read_baseline(tmp_path)
