"""Span corruption (Raffel et al. 2020): spans of a text give way to sentinels, and the target says what they were.

After text-to-text-transfer-transformer's preprocessors.py. Sentinels are the highest ids, from `vocabulary` - 1 down.

    ids 10 11 12 13 14 15, noise at 12 and at 14 15, vocabulary 1000:
    10 11 999 13 998 | 999 12 998 14 15, both with the end id behind them in a batch
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class SpanConfig:
    """How much of a text is noise, and in spans of what mean length; `inputs` is what the encoder reads of each row."""

    inputs: int = 128
    noise_share: float = 0.15
    mean_span: float = 3.0

    def __post_init__(self) -> None:
        if not (0 < self.noise_share < 1 and self.mean_span >= 1):
            raise ValueError("spans: noise_share lies between 0 and 1, and mean_span is at least 1")
        if self.inputs < 3:
            raise ValueError(f"spans: inputs must be at least 3: a token, a sentinel, the end; found {self.inputs}")

    @property
    def raw(self) -> int:
        """Tokens of text in a row: those that the encoder reads and those that the decoder says."""
        return lengths(self.inputs, self.noise_share, self.mean_span)[0]

    @property
    def targets(self) -> int:
        """Tokens of a target: noise, a sentinel before each span, the end id."""
        return lengths(self.inputs, self.noise_share, self.mean_span)[1]

    @property
    def spans(self) -> int:
        return _counts(self.raw, self.noise_share, self.mean_span)[1]


def lengths(inputs: int, noise_share: float, mean_span: float) -> tuple[int, int]:
    """(tokens of text, tokens of target) of the longest text whose input has at most `inputs` tokens: random_spans_helper.

    (512, 0.15, 3.0) -> (568, 114): 85 tokens of noise in 28 spans, 568 - 85 + 28 + 1 = 512 and 85 + 28 + 1 = 114
    """
    raw = inputs - 1  # always fits: there are no more spans than tokens of noise
    while _of_raw(raw + 1, noise_share, mean_span)[0] <= inputs:
        raw += 1
    targets = _of_raw(raw, noise_share, mean_span)[1]
    return (raw - 1, targets - 1) if noise_share == 0.5 and targets > inputs else (raw, targets)


def _of_raw(raw: int, noise_share: float, mean_span: float) -> tuple[int, int]:
    noise, spans = _counts(raw, noise_share, mean_span)
    return raw - noise + spans + 1, noise + spans + 1


def _counts(length: int, noise_share: float, mean_span: float) -> tuple[int, int]:
    """Tokens of noise, and the spans they come in; a token is left before each span."""
    noise = min(max(round(length * noise_share), 1), length - 1)
    return noise, min(max(round(noise / mean_span), 1), length - noise)


def noise_mask(length: int, noise_share: float, mean_span: float, draw: np.random.Generator) -> Mask:
    """True where noise is; it begins with text and ends with noise, and its counts follow from the length alone."""
    if length < 2:
        raise ValueError(f"spans: a text must have at least 2 tokens, one of them left, found {length}")
    noise, spans = _counts(length, noise_share, mean_span)
    left, lost = _parts(length - noise, spans, draw), _parts(noise, spans, draw)
    mask: Mask = np.repeat(np.tile([False, True], spans), np.stack([left, lost], axis=1).ravel())
    return mask


def _parts(total: int, count: int, draw: np.random.Generator) -> Ids:
    """`total` as `count` numbers of at least 1, every way of it equally likely: bars among the stars."""
    bars = np.sort(draw.permutation(total - 1)[: count - 1]) + 1
    return np.diff(bars, prepend=0, append=total)


def noise_to_sentinels(ids: Ids, noise: Mask, vocabulary: int) -> Ids:
    """Each span of noise becomes a sentinel of its own: noise_span_to_unique_sentinel."""
    first = _firsts(noise)
    return np.where(first, vocabulary - np.cumsum(first), ids)[first | ~noise]


def text_to_sentinels(ids: Ids, noise: Mask, vocabulary: int) -> Ids:
    """Each span between the noise becomes a sentinel of its own: nonnoise_span_to_unique_sentinel."""
    return noise_to_sentinels(ids, ~noise, vocabulary)


def noise_to_one_sentinel(ids: Ids, noise: Mask, vocabulary: int) -> Ids:
    """Each span of noise becomes the same sentinel: noise_span_to_sentinel."""
    first = _firsts(noise)
    return np.where(first, vocabulary - 1, ids)[first | ~noise]


def text_to_one_sentinel(ids: Ids, noise: Mask, vocabulary: int) -> Ids:
    """nonnoise_span_to_sentinel."""
    return noise_to_one_sentinel(ids, ~noise, vocabulary)


def drop_noise(ids: Ids, noise: Mask) -> Ids:
    """drop_noise_tokens."""
    return ids[~noise]


def drop_text(ids: Ids, noise: Mask) -> Ids:
    """drop_nonnoise_tokens."""
    return ids[noise]


def _firsts(noise: Mask) -> Mask:
    firsts: Mask = noise & ~np.concatenate([[False], noise[:-1]])
    return firsts


def corrupted(ids: Ids, noise: Mask, vocabulary: int, end_id: int) -> tuple[Ids, Ids]:
    """(input, target), each with its end: sentinel k of the input announces what follows sentinel k in the target."""
    inputs, targets = noise_to_sentinels(ids, noise, vocabulary), text_to_sentinels(ids, noise, vocabulary)
    return np.append(inputs, end_id), np.append(targets, end_id)


def spans_of(targets: Ids, sentinels: int, vocabulary: int) -> dict[int, Ids]:
    """What follows each sentinel of a target that has lost its end id; what stands before any sentinel is left out."""
    places = np.flatnonzero(np.asarray(targets) >= vocabulary - sentinels)
    edges = [*places.tolist(), len(targets)]
    return {int(targets[begin]): targets[begin + 1 : end] for begin, end in pairwise(edges)}


def spliced(inputs: Ids, targets: Ids, sentinels: int, vocabulary: int) -> Ids:
    """The text again, from an input and a target without their end ids; a sentinel without a span is left out."""
    found, nothing = spans_of(targets, sentinels, vocabulary), np.zeros(0, dtype=np.int64)
    is_sentinel = inputs >= vocabulary - sentinels
    pairs = zip(inputs, is_sentinel, strict=True)
    parts = [found.get(int(each), nothing) if special else np.array([each]) for each, special in pairs]
    return np.concatenate([nothing, *parts]).astype(np.int64)
