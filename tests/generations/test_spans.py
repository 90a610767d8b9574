"""Span corruption: the goldens of preprocessors_test.py, and what must hold of every draw."""

from typing import Any

import numpy as np
import pytest

from tasks.generations.spans import (
    SpanConfig,
    corrupted,
    drop_noise,
    drop_text,
    lengths,
    noise_mask,
    noise_to_one_sentinel,
    noise_to_sentinels,
    spans_of,
    spliced,
    text_to_one_sentinel,
    text_to_sentinels,
)

IDS = np.arange(10, 16)
NOISE = np.array([True, True, False, False, True, False])


def draws(count: int) -> list[np.random.Generator]:
    return [np.random.default_rng(each) for each in range(count)]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [((512, 0.15, 3.0), (568, 114)), ((64, 0.20, 2.0), (70, 22)), ((64, 0.20, 1.0), (63, 27))],
)
def test_lengths_are_the_published_ones(asked: tuple[int, float, float], expected: tuple[int, int]) -> None:
    """random_spans_helper."""
    assert lengths(*asked) == expected
    config = SpanConfig(inputs=asked[0], noise_share=asked[1], mean_span=asked[2])
    assert (config.raw, config.targets) == expected


def test_what_noise_gives_way_to_is_as_published() -> None:
    """preprocessors_test.py, its six tokens under its mask, vocabulary 1000."""
    assert noise_to_sentinels(IDS, NOISE, 1000).tolist() == [999, 12, 13, 998, 15]
    assert noise_to_one_sentinel(IDS, NOISE, 1000).tolist() == [999, 12, 13, 999, 15]
    assert text_to_one_sentinel(IDS, NOISE, 1000).tolist() == [10, 11, 999, 14, 999]
    assert text_to_sentinels(IDS, NOISE, 1000).tolist() == [10, 11, 999, 14, 998]
    assert drop_noise(IDS, NOISE).tolist() == [12, 13, 15]
    assert drop_text(IDS, NOISE).tolist() == [10, 11, 14]


def test_the_example_of_the_module() -> None:
    noise = np.array([False, False, True, False, True, True])
    inputs, targets = corrupted(IDS, noise, 1000, 1)
    assert inputs.tolist() == [10, 11, 999, 13, 998, 1]
    assert targets.tolist() == [999, 12, 998, 14, 15, 1]


def test_noise_has_the_published_counts() -> None:
    """L = 32, density 0.25, mean 2 -> exactly 8 tokens in 4 spans; L = 568 -> 85 in 28, inputs 512, targets 114."""
    for length, share, mean, tokens, spans in ((32, 0.25, 2.0, 8, 4), (568, 0.15, 3.0, 85, 28)):
        for draw in draws(50):
            noise = noise_mask(length, share, mean, draw)
            begins = noise & ~np.concatenate([[False], noise[:-1]])
            assert (len(noise), noise.sum(), begins.sum()) == (length, tokens, spans)
            assert not noise[0]
            assert noise[-1]
            if length == 568:
                inputs, targets = corrupted(np.arange(2, 570), noise, 1000, 1)
                assert (len(inputs), len(targets)) == (512, 114)
                assert noise.mean() == pytest.approx(0.15, abs=0.01)


def test_every_partition_is_equally_likely() -> None:
    """Five tokens of text and three of noise in two spans: 4 x 2 masks, an eighth of 4000 draws each (5 deviations)."""
    found: dict[str, int] = {}
    for draw in draws(4000):
        mask = "".join("x" if each else "." for each in noise_mask(8, 0.375, 1.5, draw))
        found[mask] = found.get(mask, 0) + 1
    assert set(found) == {
        "." * left + "x" * lost + "." * (5 - left) + "x" * (3 - lost) for left in (1, 2, 3, 4) for lost in (1, 2)
    }
    assert max(abs(count / 4000 - 1 / 8) for count in found.values()) < 5 * np.sqrt(1 / 8 * 7 / 8 / 4000)


def test_no_span_is_ever_asked_for_that_has_no_text_before_it() -> None:
    for length in range(2, 40):
        for share in (0.05, 0.15, 0.5, 0.9, 0.99):
            noise = noise_mask(length, share, 1.0, np.random.default_rng(length))
            assert len(noise) == length
            assert not noise[0]
            assert noise[-1]


def test_input_and_target_give_the_text_again() -> None:
    for draw in draws(300):
        ids = draw.integers(2, 900, size=int(draw.integers(5, 200)))
        noise = noise_mask(len(ids), float(draw.uniform(0.05, 0.6)), float(draw.uniform(1, 5)), draw)
        inputs, targets = corrupted(ids, noise, 1000, 1)
        assert np.array_equal(spliced(inputs[:-1], targets[:-1], 100, 1000), ids)


def test_a_sentinel_announces_its_span() -> None:
    """Sentinel k stands in the input where span k was, and before span k in the target."""
    for draw in draws(100):
        ids = np.arange(2, 130)
        noise = noise_mask(len(ids), 0.15, 3.0, draw)
        inputs, targets = corrupted(ids, noise, 1000, 1)
        sentinels = inputs[inputs >= 900]
        assert sentinels.tolist() == list(range(999, 999 - len(sentinels), -1))
        assert targets[targets >= 900].tolist() == sentinels.tolist()
        for sentinel, span in spans_of(targets[:-1], 100, 1000).items():
            place = int(np.flatnonzero(inputs == sentinel)[0])
            assert span[0] == inputs[place - 1] + 1
            assert np.array_equal(span, np.arange(span[0], span[0] + len(span)))
            assert inputs[place + 1] in (span[-1] + 1, 1)


def test_a_sentinel_without_a_span_leaves_a_gap() -> None:
    assert spliced(np.array([5, 999, 6, 998]), np.array([998, 7]), 100, 1000).tolist() == [5, 6, 7]
    assert spans_of(np.array([4, 998, 7]), 100, 1000)[998].tolist() == [7]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"noise_share": 0.0}, "noise_share lies between 0 and 1"),
        ({"noise_share": 1.0}, "noise_share lies between 0 and 1"),
        ({"mean_span": 0.5}, "mean_span is at least 1"),
        ({"inputs": 2}, "inputs must be at least 3"),
    ],
)
def test_impossible_settings_are_refused(changed: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        SpanConfig(**changed)


def test_a_single_token_cannot_be_corrupted() -> None:
    with pytest.raises(ValueError, match="at least 2 tokens, one of them left, found 1"):
        noise_mask(1, 0.15, 3.0, np.random.default_rng(0))
