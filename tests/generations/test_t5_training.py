"""T5: batches that hold their text, the library's own loss, and a model that learns to say what is missing."""

import math
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformer_training import Same, counted_flops, counting, train_tiny, with_opinions

from models.sampling import SamplingConfig
from models.t5 import T5Shape, build_t5
from tasks.generations.spans import SpanConfig, spans_of, spliced
from tasks.generations.t5 import (
    SpanBatches,
    SpanCorruption,
    continuation_nats,
    fill_spans,
    target_nats,
    training_flops,
)
from tasks.training.batches import IGNORED, Batch

CONFIG = SpanConfig(inputs=32)
WORDS = 25  # five special ids, twenty words
VOCABULARY = WORDS + CONFIG.spans
END, PAD = 1, 0


def small() -> Any:
    torch.manual_seed(0)
    shape = T5Shape(layers=2, width=32, heads=2, feed_forward=64)
    return build_t5(shape, vocabulary=VOCABULARY, end_id=END, pad_id=PAD).eval()


def source(length: int = 3000, seed: int = 1, size: int = 16) -> SpanBatches:
    text = counting(length, seed=seed)
    return SpanBatches(text, CONFIG, vocabulary=VOCABULARY, end_id=END, batch_sequences=size, seed=seed)


def texts(batch: Batch) -> list[tuple[int, ...]]:
    """The windows that rows were made of."""
    pairs = zip(batch.tensors["ids"].numpy(), batch.tensors["labels"].numpy(), strict=True)
    return [tuple(spliced(ids[:-1], labels[:-1], CONFIG.spans, VOCABULARY).tolist()) for ids, labels in pairs]


def test_rows_hold_their_window_and_each_window_comes_once_an_epoch() -> None:
    """35 tokens of text: 5 of noise in 2 spans, 35 - 5 + 2 + 1 = 33 would be too many; 34 -> 32 and 8."""
    assert (CONFIG.raw, CONFIG.targets, CONFIG.spans) == (34, 8, 2)
    batches, text = source(34 * 32), counting(34 * 32, seed=1)
    windows = sorted(tuple(text[start : start + 34].tolist()) for start in range(0, len(text), 34))
    for epoch in (0, 3):
        found = list(islice(batches.starting_at(2 * epoch), 2))
        assert sorted(each for batch in found for each in texts(batch)) == windows
        for batch in found:
            assert batch.tensors["ids"].shape == (16, 32)
            assert batch.tensors["labels"].shape == (16, 8)
            assert batch.tokens == 16 * 40
            assert (batch.tensors["ids"][:, -1] == END).all()
            assert (batch.tensors["labels"][:, -1] == END).all()


def test_batches_follow_from_seed_and_position_and_noise_is_drawn_anew() -> None:
    whole = list(islice(source().starting_at(0), 8))
    for start in (1, 5):
        for batch, expected in zip(islice(source().starting_at(start), 2), whole[start:], strict=False):
            assert all(torch.equal(each, expected.tensors[name]) for name, each in batch.tensors.items())
    one = source(length=34, size=1)
    drawn = {tuple(batch.tensors["labels"][0].tolist()) for batch in islice(one.starting_at(0), 20)}
    assert len(drawn) > 15


def test_the_loss_is_the_librarys() -> None:
    model, objective = with_opinions(small(), 2.0), SpanCorruption()
    (batch,) = islice(source().starting_at(0), 1)
    batch.tensors["labels"][3, 4:] = IGNORED
    with torch.no_grad():
        expected = model(input_ids=batch.tensors["ids"], labels=batch.tensors["labels"]).loss
        found = objective.loss(model, batch)
    assert objective.weight(batch) == 16 * 8 - 4
    assert float(found.total) / objective.weight(batch) == pytest.approx(float(expected), rel=1e-5)


def test_it_learns_to_say_what_is_missing(tmp_path: Path) -> None:
    """Windows of one word each: from a guess, ln V + 1/2, to that word, which only the encoder has seen."""

    def text(windows: int, seed: int) -> np.ndarray:
        return np.repeat(np.random.default_rng(seed).integers(5, WORDS, size=windows), CONFIG.raw)

    def rows(ids: np.ndarray, size: int) -> SpanBatches:
        return SpanBatches(ids, CONFIG, vocabulary=VOCABULARY, end_id=END, batch_sequences=size, seed=3)

    model, held_out = small(), text(20, seed=7)
    before = target_nats(model, held_out, CONFIG, end_id=END, seed=3).mean()
    seen = train_tiny(tmp_path, model, SpanCorruption(), rows(text(900, seed=1), 16), steps=100, rate=5e-3, rows=16)
    assert seen[0]["loss"] == pytest.approx(math.log(VOCABULARY) + 0.5, abs=0.5)  # of a few different tokens
    assert before == pytest.approx(math.log(VOCABULARY) + 0.5, abs=0.5)
    assert target_nats(model, held_out, CONFIG, end_id=END, seed=3).mean() < 0.5
    greedy, right = SamplingConfig(max_tokens=8, temperature=0), 0
    for number in range(20):
        ids, labels = rows(held_out, 1).row(number, (3, number))
        found = fill_spans(model, ids[:-1].tolist(), greedy, end_id=END, sentinels=CONFIG.spans)
        for sentinel, span in spans_of(labels[:-1], CONFIG.spans, VOCABULARY).items():
            right += found.get(sentinel, [])[:1] == span[:1].tolist()
    assert right > 20  # of 40; one in twenty by chance


def test_one_batch_can_be_learned_by_heart(tmp_path: Path) -> None:
    seen = train_tiny(tmp_path, small(), SpanCorruption(), Same(source(size=8)), steps=150, rate=1e-2, rows=8)
    assert seen[-1]["loss"] < 0.01


def test_target_nats_are_the_librarys_loss() -> None:
    """Row by row, whatever the batch; the same spans at every call, other ones under another seed."""
    model, text = with_opinions(small(), 2.0), counting(34 * 7 + 5, seed=2)
    found = target_nats(model, text, CONFIG, end_id=END, seed=3, batch_sequences=4)
    assert found.shape == (7, 8)
    assert np.array_equal(found, target_nats(model, text, CONFIG, end_id=END, seed=3, batch_sequences=4))
    assert np.allclose(found[:2], target_nats(model, text, CONFIG, end_id=END, seed=3, max_rows=2), atol=1e-4)
    assert not np.allclose(found, target_nats(model, text, CONFIG, end_id=END, seed=4), atol=1e-2)
    rows = SpanBatches(text, CONFIG, vocabulary=VOCABULARY, end_id=END, batch_sequences=1, seed=3)
    for number in range(7):
        ids, labels = (torch.from_numpy(each)[None] for each in rows.row(number, (3, number)))
        with torch.no_grad():
            assert found[number].mean() == pytest.approx(float(model(input_ids=ids, labels=labels).loss), abs=1e-4)


def test_continuations_are_scored_as_the_span_at_the_end() -> None:
    """Three tokens at a time behind at most ten; the softmax is over words, ends and pads, without sentinels."""
    model, text = with_opinions(small(), 2.0), counting(20, seed=2)
    expected = []
    for start in range(0, 20, 3):
        ids = torch.tensor([[*text[max(0, start - 10) : start].tolist(), VOCABULARY - 1, END]])
        span = text[start : start + 3].tolist()
        with torch.no_grad():
            logits = model(input_ids=ids, decoder_input_ids=torch.tensor([[PAD, VOCABULARY - 1, *span]])).logits[0]
        scores = logits[1:, :WORDS].log_softmax(1)
        expected += [-float(scores[place, token]) for place, token in enumerate(span)]
    found = continuation_nats(model, text, end_id=END, sentinels=CONFIG.spans, prefix=10, batch_sequences=3)
    assert found.tolist() == pytest.approx(expected, abs=1e-4)
    some = continuation_nats(model, text, end_id=END, sentinels=CONFIG.spans, prefix=10, max_tokens=8)
    assert some.tolist() == pytest.approx(expected[:8], abs=1e-4)


def test_a_sentinel_is_no_text() -> None:
    """It would cost nothing."""
    with pytest.raises(ValueError, match="the text has the id 25; ids from 25 on are sentinels"):
        continuation_nats(small(), np.array([7, 25]), end_id=END, sentinels=CONFIG.spans, prefix=10)


def test_continuations_are_a_distribution() -> None:
    """Over all words in the place of the last, of the first, and of one within a span, probabilities add up to one."""
    model = with_opinions(small(), 2.0)
    for place in (0, 4, 8):
        total = 0.0
        for word in range(WORDS):
            text = counting(9, seed=2)
            text[place] = word
            nats = continuation_nats(model, text, end_id=END, sentinels=CONFIG.spans, prefix=10, max_tokens=place + 1)
            total += math.exp(-nats[place])
        assert total == pytest.approx(1, abs=1e-4)


def test_a_gap_is_filled_token_by_token_as_by_the_whole() -> None:
    """With the cache and without: the same greedy tokens; what belongs to no gap of the text is left out."""
    model, asked = with_opinions(small(), 2.0), [5, 6, VOCABULARY - 1, 9, VOCABULARY - 2]
    ids, said = torch.tensor([[*asked, END]]), [PAD]
    with torch.no_grad():
        while len(said) < 13:
            logits = model(input_ids=ids, decoder_input_ids=torch.tensor([said]), use_cache=False).logits
            said.append(int(logits[0, -1].argmax()))
            if said[-1] == END:
                break
    greedy = SamplingConfig(max_tokens=12, temperature=0)
    found = fill_spans(model, asked, greedy, end_id=END, sentinels=CONFIG.spans)
    spans: dict[int, list[int]] = {}
    for token in said[1:]:
        if token >= WORDS:
            spans[token] = []
        elif spans and token != END:
            spans[list(spans)[-1]].append(token)
    assert found == spans
    only = fill_spans(model, [5, VOCABULARY - 2], greedy, end_id=END, sentinels=CONFIG.spans)
    assert set(only) <= {VOCABULARY - 2}


def test_a_draw_follows_from_its_seed() -> None:
    model, sampling = small(), SamplingConfig(max_tokens=12)
    asked = [5, 6, VOCABULARY - 1, 9, VOCABULARY - 2]
    found = [fill_spans(model, asked, sampling, end_id=END, sentinels=CONFIG.spans, seed=seed) for seed in (1, 1, 2, 3)]
    assert found[0] == found[1]
    assert len({str(each) for each in found}) > 1


def test_flops_are_what_torch_counts() -> None:
    model = small()
    ids, labels = torch.randint(5, WORDS, (1, 32)), torch.randint(5, WORDS, (1, 8))
    assert 3 * counted_flops(model, input_ids=ids, labels=labels) == training_flops(model, inputs=32, targets=8)


@pytest.mark.parametrize(
    ("ids", "reason"),
    [
        (np.full(33, 7), "has 33 tokens, fewer than one window of 34"),
        (np.full(50, 25), "has the id 25, and 2 sentinels are taken from 26 down: .* at least 28"),
    ],
)
def test_a_text_that_does_not_fit_is_refused(ids: np.ndarray, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        SpanBatches(ids, CONFIG, vocabulary=VOCABULARY, end_id=END, batch_sequences=1, seed=0)
