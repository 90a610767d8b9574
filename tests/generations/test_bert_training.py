"""BERT: rows as the original lays them out, the library's own loss, and a model that learns both of its tasks."""

import math
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformer_training import Same, counted_flops, train_tiny, with_opinions

from models.bert import BertShape, build_bert
from tasks.generations.bert import (
    Marks,
    MaskedAndNext,
    PairBatches,
    fill,
    measure,
    pseudo_nats,
    represent,
    training_flops,
)
from tasks.generations.masking import MaskingConfig
from tasks.generations.sentence_pairs import Documents, PairConfig
from tasks.training.batches import IGNORED, Batch

MARKS = Marks(pad=0, classify=1, separate=2, mask=3)
SPECIAL = [MARKS.pad, MARKS.classify, MARKS.separate, MARKS.mask]
VOCABULARY, CONTEXT = 85, 24


def topics(documents: int, seed: int) -> Documents:
    """Each document speaks of one of eight topics with ten words each; 12 segments of 5."""
    draw = np.random.default_rng(seed)
    bases = 5 + 10 * draw.integers(8, size=documents)
    return Documents.of([(base + draw.integers(10, size=(12, 5))).tolist() for base in bases])


def source(
    documents: int = 40, seed: int = 1, *, size: int = 16, words: Any = None, masking: MaskingConfig | None = None
) -> PairBatches:
    return PairBatches(
        topics(documents, seed), PairConfig(length=CONTEXT, copies=1), masking or MaskingConfig(),
        marks=MARKS, vocabulary=VOCABULARY, batch_sequences=size, seed=seed, words=words,
    )  # fmt: skip


def small() -> Any:
    torch.manual_seed(0)
    shape = BertShape(layers=2, width=32, heads=2, feed_forward=64, context=CONTEXT)
    return build_bert(shape, vocabulary=VOCABULARY, pad_id=MARKS.pad).eval()


def truth(batch: Batch) -> torch.Tensor:
    """The rows before anything was masked."""
    return torch.where(batch.tensors["labels"] == IGNORED, batch.tensors["ids"], batch.tensors["labels"])


def test_rows_are_laid_out_as_the_originals() -> None:
    """[CLS] A [SEP] B [SEP] and padding; type 1 from B on to its [SEP]; the pair is where the numbers say."""
    batches = source()
    for position, batch in enumerate(islice(batches.starting_at(0), 8)):
        numbers = batches._shuffle.numbers(position * 16, 16)
        for number, ids, mask, types, is_random in zip(
            numbers,
            truth(batch),
            batch.tensors["mask"],
            batch.tensors["types"],
            batch.tensors["is_random"],
            strict=True,
        ):
            a_begin, a_end, b_begin, b_end, random = batches.pairs[number]
            text = batches._documents.ids
            expected = [1, *text[a_begin:a_end], 2, *text[b_begin:b_end], 2]
            assert ids.tolist() == expected + [0] * (CONTEXT - len(expected))
            assert mask.tolist() == [1] * len(expected) + [0] * (CONTEXT - len(expected))
            a = a_end - a_begin + 2
            assert types.tolist() == [0] * a + [1] * (len(expected) - a) + [0] * (CONTEXT - len(expected))
            assert int(is_random) == random
        assert batch.tokens == int(batch.tensors["mask"].sum())


def test_marks_are_never_asked_for_and_nothing_else_is_touched() -> None:
    masked, kept, all_asked = 0, 0, 0
    for batch in islice(source().starting_at(0), 60):
        asked = batch.tensors["labels"] != IGNORED
        assert not torch.isin(truth(batch)[asked], torch.tensor(SPECIAL)).any()
        all_asked += int(asked.sum())
        lengths = batch.tensors["mask"].sum(1)
        assert asked.sum(1).tolist() == [min(20, max(1, round(0.15 * length))) for length in lengths.tolist()]
        masked += int((batch.tensors["ids"][asked] == MARKS.mask).sum())
        kept += int((batch.tensors["ids"] == truth(batch))[asked].sum())
        assert batch.tensors["pair_weight"].tolist() == pytest.approx([float(asked.sum()) / 16] * 16)
    assert masked / all_asked == pytest.approx(0.8, abs=0.03)
    assert kept / all_asked == pytest.approx(0.1, abs=0.03)


def test_batches_follow_from_seed_and_position() -> None:
    whole = list(islice(source().starting_at(0), 6))
    for start in (1, 4):
        for batch, expected in zip(islice(source().starting_at(start), 2), whole[start:], strict=False):
            assert all(torch.equal(each, expected.tensors[name]) for name, each in batch.tensors.items())
    (other,) = islice(source(seed=2).starting_at(0), 1)
    assert not torch.equal(other.tensors["ids"], whole[0].tensors["ids"])


def test_masks_are_drawn_anew_each_epoch() -> None:
    """The same pairs come again, and other tokens of them are asked for."""
    batches = source(documents=3, size=1)
    count = len(batches.pairs)
    epochs = [list(islice(batches.starting_at(epoch * count), count)) for epoch in (0, 1)]
    first, second = ({tuple(truth(each)[0].tolist()): each.tensors["labels"] for each in epoch} for epoch in epochs)
    assert set(first) == set(second)
    assert sum(torch.equal(first[text], second[text]) for text in first) < count / 2


def test_words_are_asked_for_as_a_whole() -> None:
    """Every two tokens are a word, of A and of B, and of the text before truncation."""
    words = np.arange(40 * 60) // 2
    batches = source(words=words, masking=MaskingConfig(whole_words=True))
    broken, seen = 0, 0
    for position, batch in enumerate(islice(batches.starting_at(0), 20)):
        for number, labels in zip(batches._shuffle.numbers(position * 16, 16), batch.tensors["labels"], strict=True):
            a_begin, a_end, b_begin, b_end, _ = batches.pairs[number]
            a = (labels[1 : 1 + a_end - a_begin] != IGNORED).numpy()
            b = (labels[2 + a_end - a_begin :][: b_end - b_begin] != IGNORED).numpy()
            for asked, own in ((a, words[a_begin:a_end]), (b, words[b_begin:b_end])):
                for word in set(own[asked]):
                    seen += 1
                    broken += not asked[own == word].all()
    assert seen > 300
    assert broken == 0


def test_the_loss_is_the_librarys() -> None:
    """The mean over tokens plus the mean over pairs, also where the batch is cut into rows."""
    model, objective = with_opinions(small()), MaskedAndNext()
    (batch,) = islice(source().starting_at(0), 1)
    tensors = batch.tensors
    with torch.no_grad():
        expected = model(
            tensors["ids"], attention_mask=tensors["mask"], token_type_ids=tensors["types"], labels=tensors["labels"],
            next_sentence_label=tensors["is_random"],
        ).loss  # fmt: skip
        whole = objective.loss(model, batch)
        rows = [objective.loss(model, batch.rows(slice(row, row + 1))) for row in range(16)]
    weight = objective.weight(batch)
    assert float(whole.total) / weight == pytest.approx(float(expected), rel=1e-5)
    assert sum(float(row.total) for row in rows) / weight == pytest.approx(float(expected), rel=1e-5)
    assert whole.sums["loss"] == pytest.approx(whole.sums["masked_loss"] + whole.sums["next_loss"])


def test_it_learns_both_tasks_and_tells_held_out_pairs_apart(tmp_path: Path) -> None:
    """First losses of a guess. At the end more of the held-out pairs are told right than by the commoner answer alone."""
    model, held_out = small(), source(documents=60, seed=9)
    seen = train_tiny(tmp_path, model, MaskedAndNext(), source(300), steps=200, rate=4e-3, rows=16)
    assert seen[0]["masked_loss"] == pytest.approx(math.log(VOCABULARY), abs=0.1)
    assert seen[0]["next_loss"] == pytest.approx(math.log(2), abs=0.05)
    pairs, right, random = 0, 0, 0
    for batch in islice(held_out.starting_at(0), len(held_out.pairs) // 16):
        tensors = batch.to(next(model.parameters()).device).tensors
        with torch.no_grad():
            output = model(tensors["ids"], attention_mask=tensors["mask"], token_type_ids=tensors["types"])
        said = output.seq_relationship_logits.argmax(1)
        pairs, right = pairs + 16, right + int((said == tensors["is_random"]).sum())
        random += int(tensors["is_random"].sum())
    chance = max(random, pairs - random) / pairs
    beyond = sum(
        math.comb(pairs, each) * chance**each * (1 - chance) ** (pairs - each) for each in range(right, pairs + 1)
    )
    assert beyond < 0.01
    figures = measure(model, held_out, len(held_out.pairs) // 16)
    assert figures["next_accuracy"] == pytest.approx(right / pairs, abs=0.03)
    assert figures["masked_loss"] < math.log(VOCABULARY) - 1  # ln 10 at best: the words of a topic are random


def test_one_batch_can_be_learned_by_heart(tmp_path: Path) -> None:
    seen = train_tiny(tmp_path, small(), MaskedAndNext(), Same(source(size=8)), steps=120, rate=1e-2, rows=8)
    assert seen[-1]["loss"] < 0.01


def test_pseudo_nats_are_those_of_one_masked_token_at_a_time() -> None:
    """Each in the middle of 22 tokens, where the text has that much, else at its edge."""
    model = with_opinions(small())
    ids = np.random.default_rng(0).integers(5, VOCABULARY, size=40)
    expected = []
    for place in range(40):
        begin = min(max(0, place - 11), 40 - 22)
        row = ids[begin : begin + 22].tolist()
        row[place - begin] = MARKS.mask
        with torch.no_grad():
            logits = model(torch.tensor([[1, *row, 2]])).prediction_logits[0, 1 + place - begin]
        expected.append(-float(logits.log_softmax(0)[ids[place]]))
    assert pseudo_nats(model, ids, MARKS, batch_sequences=7).tolist() == pytest.approx(expected, abs=1e-4)
    assert pseudo_nats(model, ids, MARKS, max_tokens=9).tolist() == pytest.approx(expected[:9], abs=1e-4)


def test_later_pieces_of_a_word_do_not_give_it_away() -> None:
    """The first piece of a word of two is read without the second, the second with the first."""
    model = with_opinions(small())
    ids = np.random.default_rng(0).integers(5, VOCABULARY, size=8)
    alone = pseudo_nats(model, ids, MARKS)
    found = pseudo_nats(model, ids, MARKS, words=np.array([0, 1, 1, 2, 3, 4, 5, 6]))
    assert np.flatnonzero(np.abs(found - alone) > 1e-6).tolist() == [1]
    row = [1, ids[0], 3, 3, *ids[3:], 2]
    with torch.no_grad():
        logits = model(torch.tensor([row])).prediction_logits[0, 2]
    assert found[1] == pytest.approx(-float(logits.log_softmax(0)[ids[1]]), abs=1e-4)


def test_masks_are_filled_with_what_is_likeliest() -> None:
    model, ids = with_opinions(small()), [7, 3, 9, 11, 3]
    with torch.no_grad():
        chances = model(torch.tensor([[1, *ids, 2]])).prediction_logits[0, [2, 5]].softmax(1)
    for found, row in zip(fill(model, ids, MARKS, k=3), chances, strict=True):
        assert [number for number, _ in found] == row.topk(3).indices.tolist()
        assert [chance for _, chance in found] == pytest.approx(row.topk(3).values.tolist(), abs=1e-5)
    with pytest.raises(ValueError, match=r"has no \[MASK\] \(id 3\)"):
        fill(model, [7, 8], MARKS)
    with pytest.raises(ValueError, match="has 23 tokens, and this model reads 22 between its marks"):
        fill(model, [3] * 23, MARKS)


def test_a_text_is_represented_by_the_mean_of_its_tokens() -> None:
    """Whatever it shares a batch with; what is longer than the context is cut off."""
    model, texts = with_opinions(small()), [[7, 8], list(range(5, 20)), list(range(5, 60))]
    found = represent(model, texts, MARKS)
    assert found.shape == (3, 32)
    for text, vector in zip(texts, found, strict=True):
        with torch.no_grad():
            states = model.bert(torch.tensor([[1, *text[:22], 2]])).last_hidden_state[0, 1:-1]
        assert vector.tolist() == pytest.approx(states.mean(0).tolist(), abs=1e-5)


def test_flops_are_what_torch_counts() -> None:
    """Of a row whose tokens are all asked for: the library's head says something about each."""
    model = small()
    ids = torch.randint(5, VOCABULARY, (1, CONTEXT))
    assert 3 * counted_flops(model, ids) == training_flops(model, tokens=CONTEXT, asked_for=CONTEXT)


def test_whole_words_want_word_numbers() -> None:
    for words in (None, np.zeros(3)):
        with pytest.raises(ValueError, match="whole_words needs the number of each token's word"):
            source(words=words, masking=MaskingConfig(whole_words=True))
