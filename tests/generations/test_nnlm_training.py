"""NNLM trained by the engine: its windows, its loss, what it says of a stream, and that it helps counting."""

import subprocess
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from models.ngram import NgramModel, document_starts
from models.ngram_smoothing import NgramConfig
from models.ngram_vocabulary import Vocabulary
from models.nnlm import Nnlm, NnlmShape
from tasks.generations.nnlm import (
    NnlmBatches,
    NnlmObjective,
    interpolated_nats,
    sample,
    token_nats,
    windows_of,
)
from tasks.training.optimizers import OptimizerConfig
from tests.generations.brief_training import train_briefly

CHECKOUT = Path(__file__).resolve().parents[2]
END = 0
CYCLE = np.tile(np.array([1, 2, 3, 1, 4, 5, END]), 60)  # after 1 it takes two words to know the next


def small(vocabulary: int = 6) -> Nnlm:
    torch.manual_seed(0)
    return Nnlm(NnlmShape(order=3, embedding=8, hidden=16), vocabulary=vocabulary, end_id=END)


def test_windows_begin_behind_the_end_id() -> None:
    assert windows_of(np.array([7, 8, 9]), order=3, end_id=0).tolist() == [[0, 0, 7], [0, 7, 8], [7, 8, 9]]
    for wrong in (np.zeros((2, 2), dtype=int), np.zeros(0, dtype=int)):
        with pytest.raises(ValueError, match="one row of at least one token"):
            windows_of(wrong, order=3, end_id=0)


def test_every_token_is_predicted_once_an_epoch_and_any_position_can_be_begun_at() -> None:
    ids = np.arange(20)
    batches = NnlmBatches(ids, order=3, end_id=END, batch_sequences=5, seed=1)
    assert batches.steps_per_epoch == 4
    first = list(islice(batches.starting_at(0), 8))
    for epoch in (first[:4], first[4:]):
        assert sorted(torch.cat([batch.tensors["labels"] for batch in epoch]).tolist()) == list(range(20))
    labels = [batch.tensors["labels"].tolist() for batch in first]
    assert labels[:4] != labels[4:]
    for batch in first:
        assert batch.tensors["ids"][:, 1].tolist() == [max(0, label - 1) for label in batch.tensors["labels"].tolist()]
    again = NnlmBatches(ids, order=3, end_id=END, batch_sequences=5, seed=1).starting_at(6)
    assert next(again).tensors["labels"].tolist() == labels[6]


def test_loss_is_the_plain_cross_entropy_and_so_are_its_gradients() -> None:
    model = small(40)
    batch = next(NnlmBatches(np.arange(40), order=3, end_id=END, batch_sequences=16, seed=0).starting_at(0))
    loss = NnlmObjective().loss(model, batch)
    loss.total.backward()
    found = {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}
    model.zero_grad()
    plain = F.cross_entropy(model(batch.tensors["ids"]), batch.tensors["labels"], reduction="sum")
    plain.backward()
    assert float(loss.total.detach()) == pytest.approx(float(plain.detach()), rel=1e-6)
    assert NnlmObjective().weight(batch) == 16
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, msg=name)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Nnlm, list[float]]:
    model = small()
    batches = NnlmBatches(CYCLE, order=3, end_id=END, batch_sequences=64, seed=1)
    optimizer = OptimizerConfig(kind="adamw", learning_rate=0.02)
    folder = tmp_path_factory.mktemp("nnlm")
    losses = train_briefly(folder, model, NnlmObjective(), batches, steps=60, batch_sequences=64, optimizer=optimizer)
    return model, losses


def test_it_learns_what_two_words_tell(trained: tuple[Nnlm, list[float]]) -> None:
    model, losses = trained
    assert losses[0] == pytest.approx(np.log(6), abs=0.1)
    # the word before alone leaves ln 2 after each 1, two of seven tokens: 0.198
    assert token_nats(model, CYCLE).mean() < 0.05


def test_each_token_s_cost_is_of_its_own_window(trained: tuple[Nnlm, list[float]]) -> None:
    model, _ = trained
    ids = np.array([1, 2, 5, 0], dtype=np.uint16)
    costs = token_nats(model, ids)
    assert costs.dtype == np.float64
    for place, before in enumerate([[END, END], [END, 1], [1, 2], [2, 5]]):
        chances_V = model(torch.tensor([before]))[0].log_softmax(0)
        assert costs[place] == pytest.approx(-float(chances_V[int(ids[place])].detach()), abs=1e-5)
    assert costs[2] > 3  # after 1 2 comes 3


def test_samples_go_on_as_the_text_does_and_depend_on_the_seed_alone(trained: tuple[Nnlm, list[float]]) -> None:
    model, _ = trained
    assert sample(model, [1, 2], 5, seed=0) == [3, 1, 4, 5, END]
    assert sample(model, [], 3, seed=0) == sample(model, [END, END], 3, seed=0)
    fresh = small()
    drawn = [sample(fresh, [1], 12, seed) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_interpolation_is_of_probabilities() -> None:
    halves = interpolated_nats(-np.log([0.5, 1.0]), -np.log([0.25, 1e-300]))
    assert np.exp(-halves) == pytest.approx([0.375, 0.5])
    assert np.exp(-interpolated_nats(-np.log([0.5]), -np.log([0.1]), share=0.25)) == pytest.approx([0.2])
    with pytest.raises(ValueError, match="share must lie between 0 and 1, found 1"):
        interpolated_nats(np.ones(1), np.ones(1), share=1.0)


class WikiTextPart:
    """The first lines of WikiText-2's validation text: 60,000 tokens to learn, 12,000 to predict, rare words as one."""

    def __init__(self, folder: Path) -> None:
        with (folder / "valid.txt").open(encoding="utf-8") as file:
            lines = [line.split() for line in file]
        ids, _ = Vocabulary.of(lines, end="</s>").encode(lines, end="</s>")
        train, test = ids[:60_000], ids[60_000:72_000]
        kept = np.flatnonzero(np.bincount(train, minlength=ids.max() + 1) >= 4)
        renamed = np.full(ids.max() + 1, len(kept))
        renamed[kept] = np.arange(len(kept))
        self.vocabulary, self.end_id = len(kept) + 1, int(renamed[0])
        self.train, self.test = renamed[train], renamed[test]


def test_with_counting_it_is_better_than_counting(test_data: Path, tmp_path: Path) -> None:
    text = WikiTextPart(test_data / "wikitext-2")
    config = NgramConfig(order=5, fallback_discounts=(0.5, 1.0, 1.5))
    starts, test_starts = (document_starts(ids, text.end_id) for ids in (text.train, text.test))
    counted = NgramModel.fit(text.train, vocabulary_size=text.vocabulary, config=config, starts=starts)
    torch.manual_seed(0)
    model = Nnlm(NnlmShape(order=5, embedding=32, hidden=48), vocabulary=text.vocabulary, end_id=text.end_id)
    model.start_from(torch.from_numpy(np.bincount(text.train, minlength=text.vocabulary)))
    batches = NnlmBatches(text.train, order=5, end_id=text.end_id, batch_sequences=512, seed=1)
    optimizer = OptimizerConfig(kind="adamw", learning_rate=0.004)
    steps = 3 * batches.steps_per_epoch
    train_briefly(tmp_path, model, NnlmObjective(), batches, steps=steps, batch_sequences=512, optimizer=optimizer)
    alone = -counted.log_probabilities(text.test, test_starts)
    neural = token_nats(model, text.test)
    together = interpolated_nats(neural, alone)
    assert np.exp(together.mean()) < 0.95 * np.exp(alone.mean())


MEMORY = """
import sys
import numpy as np
from models.nnlm import Nnlm, NnlmShape
from tasks.generations import nnlm
from tests.peak import peak_bytes
model = Nnlm(NnlmShape(order=3, embedding=8, hidden=8), vocabulary=33_278, end_id=0).eval()
ids = np.arange(8000) % 33_278
nnlm.token_nats(model, ids[:1000])
before = peak_bytes()
nnlm.token_nats(model, ids)
print(peak_bytes() - before)
"""


def test_scoring_a_long_text_takes_no_more_memory_than_a_short_one() -> None:
    """With WikiText-2's vocabulary a token's logits are 133 kB: where batches of them stayed, it was gigabytes.

    Where they stay, they stay every time; now and then the allocator keeps a few more of its own accord.
    """
    command = [sys.executable, "-c", MEMORY]
    found = (subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True) for _ in range(3))
    assert any(int(each.stdout) < 80e6 for each in found)
