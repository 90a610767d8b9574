"""ELMo trained by the engine: both directions learn, nothing leaks, it is resumed to the byte, and its features tell."""

import math
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from models.elmo import ElmoModel, ElmoShape, Mix
from tasks.generations.elmo import (
    BothDirections,
    BothWays,
    backward_nats,
    features,
    mean_nats,
    sample,
    token_nats,
)
from tests.generations.languages import COLUMNS, KINDS, WORDS, Agreement, resumes_to_the_byte, trained
from tests.training.tiny_training import Notes, SignalAt

SHAPE = ElmoShape(character_width=8, filters=(8, 16), projection=24, cells=64)
WIDTH = 2 * SHAPE.projection  # of the features: both directions
LANGUAGE = Agreement(fillers=1)
STEPS = 500


def tiny(**changed: object) -> ElmoModel:
    torch.manual_seed(0)
    return ElmoModel(ElmoShape(**{**vars(SHAPE), **changed}), words=WORDS)  # type: ignore[arg-type]


def columns(column_sentences: int = 150) -> BothWays:
    return BothWays(LANGUAGE.training_text(column_sentences), columns=COLUMNS, segment_tokens=20)


@pytest.fixture(scope="module")
def elmo(tmp_path_factory: pytest.TempPathFactory) -> ElmoModel:
    torch.set_num_threads(1)
    model = tiny()
    outcome = trained(tmp_path_factory.mktemp("elmo"), model, BothDirections(), columns(), steps=STEPS)
    assert outcome.metrics["loss"] == pytest.approx(
        (outcome.metrics["forward_loss"] + outcome.metrics["backward_loss"]) / 2
    )
    return model


def test_the_reversed_columns_are_the_stream_from_its_end() -> None:
    batches = BothWays(np.arange(13), columns=2, segment_tokens=3)
    first, second = islice(batches.starting_at(0), 2)
    assert first.tensors["ids"].tolist() == [[0, 1, 2], [6, 7, 8]]
    assert first.tensors["reversed_ids"].tolist() == [[12, 11, 10], [6, 5, 4]]
    assert second.tensors["reversed_labels"].tolist() == [[8, 7, 6], [2, 1, 0]]
    assert next(batches.starting_at(1)).tensors["begins"].tolist() == [False, False]


def test_the_loss_is_the_mean_of_both_directions_over_carried_states() -> None:
    """Of two batches, against both language models asked about the whole columns by themselves."""
    model = tiny().double()
    batches, objective = columns(20), BothDirections()
    given = list(islice(batches.starting_at(0), 2))
    found = [objective.loss(model, batch) for batch in given]
    width = given[0].tensors["ids"].shape[1]
    for prefix, read in (("", model), ("reversed_", model.read_backwards)):
        ids_BT, labels_BT = (
            torch.cat([batch.tensors[prefix + name] for batch in given], 1) for name in ("ids", "labels")
        )
        assert torch.equal(ids_BT[:, 1:], labels_BT[:, :-1])  # each predicts what it reads next
        nats_BT = F.cross_entropy(model.head(read(ids_BT)[0]).transpose(1, 2), labels_BT, reduction="none")
        name = "backward_loss" if prefix else "forward_loss"
        expected = [nats_BT[:, :width].sum().item(), nats_BT[:, width:].sum().item()]
        assert [loss.sums[name] for loss in found] == pytest.approx(expected, rel=1e-6)
    for batch, loss in zip(given, found, strict=True):
        assert loss.sums["loss"] == pytest.approx((loss.sums["forward_loss"] + loss.sums["backward_loss"]) / 2)
        assert loss.total.item() == loss.sums["loss"]
        assert objective.weight(batch) == batch.tensors["labels"].numel() == batch.tokens


def test_both_directions_learn_an_agreement_that_pairs_do_not_show(elmo: ElmoModel) -> None:
    """Backwards it is the opener that follows from the closer; together they would know both, and neither does."""
    held_out = LANGUAGE.text(400, seed=2)
    forward, backward = token_nats(elmo, held_out), backward_nats(elmo, held_out)
    bigram = LANGUAGE.counted_nats(held_out, order=2)
    assert forward.mean() < bigram.mean()
    openers, closers = slice(0, None, LANGUAGE.sentence), slice(LANGUAGE.sentence - 1, None, LANGUAGE.sentence)
    assert forward[closers].mean() < 0.6 < 1.2 < forward[openers].mean()  # ln 4 = 1.39 is to know nothing of its kind
    assert backward[openers].mean() < 0.6 < 1.2 < backward[closers].mean()
    np.testing.assert_allclose(mean_nats(elmo, held_out), (forward + backward) / 2)


@pytest.mark.parametrize("nats", [token_nats, backward_nats])
def test_a_stream_costs_the_same_in_chunks(nats: object) -> None:
    model, ids = tiny().double(), LANGUAGE.text(20, seed=3)
    whole = nats(model, ids, chunk_tokens=1000)  # type: ignore[operator]
    for chunk_tokens in (1, 7, 99):
        np.testing.assert_allclose(nats(model, ids, chunk_tokens=chunk_tokens), whole, rtol=0, atol=1e-12)  # type: ignore[operator]
    edge = 0 if nats is token_nats else -1
    assert whole[edge] == pytest.approx(math.log(len(WORDS)))  # the bias is zero at first


def test_a_token_costs_what_its_own_direction_says(elmo: ElmoModel) -> None:
    """Another word at 4 changes no forward cost before it and no backward cost after it."""
    ids = LANGUAGE.text(3, seed=6)
    changed = ids.copy()
    changed[4] = (ids[4] + 1) % KINDS + KINDS
    np.testing.assert_allclose(token_nats(elmo, ids)[:4], token_nats(elmo, changed)[:4], rtol=0, atol=1e-6)
    np.testing.assert_allclose(backward_nats(elmo, ids)[5:], backward_nats(elmo, changed)[5:], rtol=0, atol=1e-6)


def test_samples_go_forwards(elmo: ElmoModel) -> None:
    prompt = LANGUAGE.text(4, seed=5).tolist()
    drawn = np.array(sample(elmo, prompt, 201, seed=1)).reshape(-1, LANGUAGE.sentence)
    assert (drawn[:, 0] == drawn[:, -1] - 2 * KINDS).mean() > 0.7
    assert sample(elmo, prompt, 20, seed=1) == drawn.ravel()[:20].tolist()


def test_features_of_a_sentence_do_not_depend_on_its_company(elmo: ElmoModel) -> None:
    one, two, new = ["open1", "filler2", "closed1"], ["open0"], ["open3", "나무", "x" * 99]
    found = features(elmo, [one, two, new])
    assert [tuple(each.shape) for each in found] == [(3, 3, WIDTH), (3, 1, WIDTH), (3, 3, WIDTH)]
    for sentence, expected in zip((one, two, new), found, strict=True):
        torch.testing.assert_close(features(elmo, [sentence])[0], expected, rtol=0, atol=1e-5)
    edged = features(elmo, [one], edge="closed3")[0]
    assert edged.shape == (3, 3, WIDTH)
    torch.testing.assert_close(edged[0], found[0][0], rtol=0, atol=1e-5)  # words alone
    assert not torch.allclose(edged[1:], found[0][1:], atol=1e-3)
    with pytest.raises(ValueError, match="sentence 1 has no word"):
        features(elmo, [one, []])


def test_features_tell_what_words_alone_do_not(elmo: ElmoModel) -> None:
    """Which kind of sentence a filler stands in: its word does not say, its forward state does. The mix learns so."""
    sentences = [[WORDS[id] for id in row] for row in LANGUAGE.text(300, seed=7).reshape(-1, LANGUAGE.sentence)]
    kinds = torch.tensor([WORDS.index(sentence[0]) for sentence in sentences])
    of_filler_JNP = torch.stack([each[:, 1] for each in features(elmo, sentences)], 1).cpu()
    torch.manual_seed(0)
    right = []
    for layers_JNP in (of_filler_JNP, of_filler_JNP[:1]):
        mix, probe = Mix(len(layers_JNP)), torch.nn.Linear(WIDTH, KINDS)
        optimizer = torch.optim.Adam([*mix.parameters(), *probe.parameters()], lr=0.05)
        for _ in range(150):
            optimizer.zero_grad()
            F.cross_entropy(probe(mix(layers_JNP[:, :200])), kinds[:200]).backward()
            optimizer.step()
        right.append(float((probe(mix(layers_JNP[:, 200:])).argmax(1) == kinds[200:]).float().mean()))
    assert right[0] > 0.8
    assert right[1] < 0.5


def test_in_bf16_it_learns_the_same(tmp_path: Path) -> None:
    losses = [
        trained(tmp_path / precision, tiny(), BothDirections(), columns(20), steps=4, precision=precision).metrics[
            "loss"
        ]
        for precision in ("fp32", "bf16")
    ]
    assert losses[1] == pytest.approx(losses[0], rel=0.05)
    assert losses[1] != losses[0]


def straight(folder: Path, killed_at: int = 0) -> None:
    torch.set_num_threads(1)
    notes = Notes(folder.with_suffix(".notes"))
    hooks = (notes, SignalAt(killed_at)) if killed_at else (notes,)
    trained(
        folder,
        tiny(dropout=0.1),
        BothDirections(),
        columns(40),
        steps=14,
        hooks=hooks,
        checkpoint_steps=4,
        micro_batch=5,
    )


def test_killed_and_resumed_is_never_stopped(tmp_path: Path) -> None:
    """An epoch has six batches: killed within it, and after columns began anew."""
    resumes_to_the_byte(straight, tmp_path)
