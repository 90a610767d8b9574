"""word2vec by the one engine: frequent words, subsampling, windows, noise and the loss of negative sampling.

The rules are those of word2vec.c (2013), which are not all those of the paper. Two things differ. The negatives of a
centre word are shared by the words of its window, which leaves the expected gradient as it is and reads a third of the
memory (Ji et al. 2016). And the engine's AdamW makes few large steps, with a learning rate that falls along a line to
nothing as the paper's does, in place of millions of small ones.

Shapes: B centre words, C = 2 window words around them, K negatives, O = 1 + K output words, V vocabulary,
I inputs of a centre word: C (skip-gram) or 1 (CBOW).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional as F

from models.word2vec import Kind
from tasks.training.batches import Batch, Shuffle, Stateless
from tasks.training.objectives import Loss
from tasks.training.optimizers import OptimizerConfig, Schedule

SENTENCE_TOKENS = 1000  # a longer sentence is cut
# On WikiText-2 (five epochs, 100 dimensions) plain SGD a pair at a time in C came to 2.31 nats a pair and to 0.32 on
# WordSim-353, this in 655 steps to 2.23 and 0.43. A rare word's share of a mean over a large batch is small: epsilon must
# not be what its step is divided by.
OPTIMIZER = OptimizerConfig(kind="adamw", learning_rate=0.02, beta1=0.9, beta2=0.99, epsilon=1e-12)
SCHEDULE = Schedule(decay_share=1.0, final_share=1e-4)

Ids = npt.NDArray[np.integer]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Word2vecConfig:
    """`window` is the farthest a neighbour may be, `subsample` the t of the formula (0: every token is kept)."""

    window: int = 5
    negatives: int = 5
    subsample: float = 1e-3
    noise_power: float = 0.75

    def __post_init__(self) -> None:
        if min(self.window, self.negatives) < 1 or self.subsample < 0:
            raise ValueError("word2vec: window and negatives must be at least 1, subsample at least 0")


@dataclass(frozen=True, kw_only=True, eq=False)
class FrequentWords:
    """The words that get vectors, most frequent first: a word's rank is its row in the tables.

    `ids` [V] and `counts` [V] are by rank; `ranks` gives the rank of every id, -1 for the rare ones and for `end_id`.
    """

    ids: Ids
    counts: Ids
    ranks: Ids
    end_id: int | None

    @classmethod
    def of(cls, stream: Ids, *, vocabulary_size: int, min_count: int = 5, end_id: int | None = None) -> "FrequentWords":
        counts = np.bincount(stream, minlength=vocabulary_size)
        if end_id is not None:
            counts[end_id] = 0
        order = np.argsort(-counts, kind="stable")
        ids = order[counts[order] >= max(1, min_count)]
        if len(ids) < 2:
            raise ValueError(f"word2vec: {len(ids)} words occur {min_count} times; lower min_count or add text")
        ranks = np.full(vocabulary_size, -1)
        ranks[ids] = np.arange(len(ids))
        return cls(ids=ids, counts=counts[ids], ranks=ranks, end_id=end_id)

    def __len__(self) -> int:
        return len(self.ids)


def keep_probabilities(counts: Ids, subsample: float) -> Floats:
    """(sqrt(f/t) + 1) t/f, at most 1: the code's rule. The paper's is sqrt(t/f); f is a share of all frequent words.

    f = 0.01, t = 1e-4 -> 0.11
    """
    if subsample == 0:
        return np.ones(len(counts))
    excess = counts / counts.sum() / subsample
    kept: Floats = np.minimum(1.0, (np.sqrt(excess) + 1) / excess)
    return kept


def noise_edges(counts: Ids, power: float) -> Floats:
    """Where each word's part of [0, 1) ends when its length is its count to the power of 0.75."""
    edges = np.cumsum(counts.astype(np.float64) ** power)
    normalised: Floats = edges / edges[-1]
    return normalised


def draw_noise(edges: Floats, rng: np.random.Generator, shape: tuple[int, ...]) -> Ids:
    return np.searchsorted(edges, rng.random(shape), side="right")


def windows(words: Ids, sentences: Ids, reaches: Ids, window: int) -> tuple[Ids, Ids, npt.NDArray[np.bool_]]:
    """Centre words [B], the words around them [B, 2 window], and which of these are within reach and in the sentence.

    A word without any neighbour is no centre.
    """
    offsets = np.concatenate([np.arange(-window, 0), np.arange(1, window + 1)])
    places = np.arange(len(words))[:, None] + offsets
    mask = (places >= 0) & (places < len(words)) & (np.abs(offsets) <= reaches[:, None])
    places = places.clip(0, len(words) - 1)
    mask &= sentences[places] == sentences[:, None]
    rows = mask.any(axis=1)
    return words[rows], words[places[rows]], mask[rows]


class Word2vecBatches(Stateless):
    """Pieces of the stream in a new random order each epoch; a batch is every word that subsampling leaves of some.

    Its rows are centre words, fewer than the `batch_tokens` that were read. What is drawn is drawn anew each epoch.
    """

    def __init__(
        self, stream: Ids, words: FrequentWords, config: Word2vecConfig, *, batch_tokens: int, seed: int
    ) -> None:
        if batch_tokens < 1:
            raise ValueError(f"word2vec: batch_tokens must be at least 1, found {batch_tokens}")
        self._config, self._seed = config, seed
        self._words = words.ranks[stream]
        ends = np.zeros(len(stream), dtype=np.int64) if words.end_id is None else stream == words.end_id
        self._sentences = np.cumsum(ends)
        self._kept = keep_probabilities(words.counts, config.subsample)
        self._noise = noise_edges(words.counts, config.noise_power)
        self._piece = min(SENTENCE_TOKENS, batch_tokens)
        self._pieces = batch_tokens // self._piece
        self._all_pieces = -(-len(stream) // self._piece)
        self._shuffle = Shuffle(self._all_pieces, seed)

    @property
    def steps_per_epoch(self) -> int:
        return -(-self._all_pieces // self._pieces)

    def batch(self, position: int) -> Batch:
        rng = np.random.Generator(np.random.PCG64([self._seed, position, 1]))  # the shuffle's has two numbers
        words, sentences, tokens = self._subsampled(position, rng)
        reaches = rng.integers(1, self._config.window + 1, len(words))
        centres, contexts, mask = windows(words, sentences, reaches, self._config.window)
        if not len(centres):
            raise ValueError(
                f"word2vec: nothing is left of a batch of {tokens} tokens; raise batch_tokens or subsample"
            )
        negatives = draw_noise(self._noise, rng, (len(centres), self._config.negatives))
        tensors = {"ids": centres, "contexts": contexts, "within": mask, "negatives": negatives}
        return Batch(tensors={name: torch.from_numpy(each) for name, each in tensors.items()}, tokens=tokens)

    def _subsampled(self, position: int, rng: np.random.Generator) -> tuple[Ids, Ids, int]:
        """The batch's frequent words that are kept, the sentence of each (no piece shares one), and the tokens read."""
        numbers = np.array(self._shuffle.numbers(position * self._pieces, self._pieces))
        places = numbers[:, None] * self._piece + np.arange(self._piece)
        rows, columns = np.nonzero(places < len(self._words))
        flat = places[rows, columns]
        words = self._words[flat]
        kept = (words >= 0) & (rng.random(len(words)) < self._kept[words])
        sentences = self._sentences[flat] + rows * (int(self._sentences[-1]) + 1)
        return words[kept], sentences[kept], len(flat)


class NegativeSampling:
    """-ln s(v_o v_c) - sum_k ln s(-v_k v_c), in nats a pair (skip-gram) or a centre word (CBOW).

    A negative that happens to be the centre word is skipped.
    """

    def __init__(self, kind: Kind) -> None:
        self._kind = kind

    def weight(self, batch: Batch) -> float:
        return float(len(batch) if self._kind == "cbow" else batch.tensors["within"].sum())

    def loss(self, module: nn.Module, batch: Batch) -> Loss:
        centres_B1, negatives_BK = batch.tensors["ids"][:, None], batch.tensors["negatives"]
        within_BC = batch.tensors["within"]
        outputs_BO = torch.cat([centres_B1, negatives_BK], dim=1)
        scores_BIO = module(batch.tensors["contexts"], within_BC, outputs_BO)
        counted_BO = torch.cat([torch.ones_like(centres_B1, dtype=torch.bool), negatives_BK != centres_B1], dim=1)
        inputs_BI = within_BC.any(1, keepdim=True) if self._kind == "cbow" else within_BC
        signs_O = scores_BIO.new_full(outputs_BO.shape[1:], -1.0)
        signs_O[0] = 1.0
        costs_BIO = F.logsigmoid(scores_BIO * signs_O) * (inputs_BI[:, :, None] & counted_BO[:, None])
        total = -costs_BIO.sum()
        return Loss(total=total, sums={"loss": float(total.detach())})

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        del state
