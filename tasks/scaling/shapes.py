"""A decoder of a wanted size: depth and width in sensible proportion, counted the way the law counts parameters."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain

from tasks.training.mfu import flops_per_token

SMALL_WIDTH, SMALL_HEAD, HEAD = 512, 32, 64
NARROWEST, WIDEST, MOST_LAYERS = 64, 16_384, 128
FEWEST_LAYERS = 4  # narrow decoders of two and three lost more: 4.16 nats at 4.2e12 FLOPs, of four 4.13
FAMILY_FROM, FAMILY_STEPS = 16, ((128, 8), (256, 16), (512, 32), (math.inf, 64))  # between widths below so much
SMALL_FEED_FORWARD_STEP, FEED_FORWARD_STEP = 8, 64  # SwiGLU's hidden width, about 8/3 of the model's, in steps of this
CLOSE, OFF_PRICE = 0.04, 20.0  # a size this close is as wanted; beyond it counts for more than a shape's proportions
SHORT_CONTEXT, CONTEXT, SHORT_BELOW = 256, 1024, 30e6


@dataclass(frozen=True, kw_only=True)
class Sized:
    """The keys of models.llama.LlamaShape, with its parameters in and outside the (tied) embedding table."""

    architecture: Mapping[str, int]
    embedding: int
    body: int

    @property
    def parameters(self) -> int:
        return self.embedding + self.body

    def flops_per_token(self, *, embeddings: bool = True, attention: bool = True) -> float:
        """Training FLOPs a token by each way of counting (Porian et al. 2024): the tied table counts as the logits.

        Without embeddings and attention it is Kaplan's 6 N; with both it is PaLM's (tasks/training/mfu.py).
        """
        shape = self.architecture
        return flops_per_token(
            parameters=self.parameters if embeddings else self.body,
            layers=shape["layers"] if attention else 0,
            width=shape["width"],
            tokens=shape["context"],
        )


def closest_shape(parameters: float, *, vocabulary: int, embeddings: bool = True) -> Sized:
    """The shape whose count, with or without the embedding table, comes closest to `parameters`."""
    if not parameters > 0 or vocabulary < 1:
        raise ValueError("a shape needs a size and a vocabulary above 0")
    context = SHORT_CONTEXT if parameters < SHORT_BELOW else CONTEXT

    def price(sized: Sized) -> float:
        count = sized.parameters if embeddings else sized.body
        off = abs(math.log(count / parameters))
        return _disproportion(sized) + OFF_PRICE * max(0.0, off - CLOSE)

    return min(chain(family(vocabulary), _shapes(vocabulary, context)), key=price)


def family(vocabulary: int) -> Iterator[Sized]:
    """One shape for each width, from 16 up: what a ladder compares must differ in size and not in proportion."""
    width = FAMILY_FROM
    while width <= WIDEST:
        step = next(step for below, step in FAMILY_STEPS if width < below)
        head = HEAD if width >= SMALL_WIDTH else _head_near(SMALL_HEAD, width)
        layers = max(FEWEST_LAYERS, round(width / _width_a_layer(width)))
        context = SHORT_CONTEXT if vocabulary * width + layers * 12 * width**2 < SHORT_BELOW else CONTEXT
        yield _sized(width, layers, head, vocabulary, context)
        width += step


def _head_near(wanted: int, width: int) -> int:
    """The even divisor of a width that is nearest in ratio: of 48 it is 24, of 40 it is 40."""
    even = [each for each in range(2, width + 1, 2) if width % each == 0]
    return min(even, key=lambda each: abs(math.log(each / wanted)))


def _shapes(vocabulary: int, context: int) -> Iterator[Sized]:
    width = NARROWEST
    while width <= WIDEST:
        head = SMALL_HEAD if width < SMALL_WIDTH else HEAD
        for layers in range(FEWEST_LAYERS, MOST_LAYERS + 1):
            yield _sized(width, layers, head, vocabulary, context)
        width += head


def _sized(width: int, layers: int, head: int, vocabulary: int, context: int) -> Sized:
    step = FEED_FORWARD_STEP if width >= SMALL_WIDTH else SMALL_FEED_FORWARD_STEP
    feed_forward = step * math.ceil(8 * width / 3 / step)
    layer = 4 * width**2 + 3 * width * feed_forward + 2 * width
    heads = width // head
    return Sized(
        architecture={
            "layers": layers, "width": width, "heads": heads, "kv_heads": heads,
            "feed_forward": feed_forward, "context": context,
        },
        embedding=vocabulary * width,
        body=layers * layer + width,
    )  # fmt: skip


def _disproportion(sized: Sized) -> float:
    """How far width / layers is from what the recipes have."""
    width, layers = sized.architecture["width"], sized.architecture["layers"]
    return abs(math.log(width / layers / _width_a_layer(width)))


def _width_a_layer(width: int) -> float:
    """32 at width 128, 66 at 768, 97 at 2048: what the recipes have."""
    return float(32 * (width / 128) ** 0.4)
