"""Before step 1: what would train without a complaint, and wrong, is found here and shown by its token, sample or number.

Every check gives (passed, reason). Those of this file hold for every method of training; a stage brings its own besides.
They read the very batch that step 1 then trains on, and leave nothing behind: no gradient, no drawn number, no state.
"""

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from models.tokenizers.chat import ChatTokenizer
from tasks.training.batches import Batch
from tasks.training.distributed import Ranks
from tasks.training.gradients import OutOfMemory, accumulate_gradients
from tasks.training.machine import Decided
from tasks.training.objectives import Objective
from tasks.training.optimizers import Optimizer, Schedule

MOST_ROWS, MOST_TOKENS = 32, 2048  # of a batch that is read twice in fp32: neither its time nor its memory may count
SAME_LOSS, SAME_GRADIENT = 1e-4, 1e-3  # relative
ROUNDING = 1e-5  # absolute, of a mean: a sum over advantages, whose mean is 0, may be next to nothing
SHOWN_CHARACTERS, SHOWN_IDS = 160, 16

Verdict = tuple[bool, str]
PASSED: Verdict = (True, "")


class PreflightFailed(ValueError):
    """The training must not start: `name` is the rule that was broken, `reason` shows by what and says how to mend it."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name, reason)
        self.name, self.reason = name, reason

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


@dataclass(frozen=True, kw_only=True)
class Start:
    """What a training is about to make its first step with; the batch is the whole one, not a rank's share of it."""

    module: nn.Module
    objective: Objective
    batch: Batch
    optimizer: Optimizer
    steps: int
    schedule: Schedule
    tokenizer: ChatTokenizer | None = None


@dataclass(frozen=True, kw_only=True)
class Check:
    """`name` is what is wrong when `find` does not pass."""

    name: str
    find: Callable[[Start], Verdict]


def preflight(start: Start, checks: Sequence[Check], ranks: Ranks) -> float:
    """All checks, the stage's own after everybody's, on the first rank; PreflightFailed, on all, when one does not pass.

    Returns the seconds that it took, which are no part of step 1.
    """
    started = time.perf_counter()
    wrong = ranks.of_first(first_wrong(start, checks) if ranks.first else None)
    if wrong is not None:
        raise PreflightFailed(*wrong)
    return time.perf_counter() - started


def first_wrong(start: Start, checks: Sequence[Check]) -> tuple[str, str] | None:
    """The name and the reason of the first check that does not pass."""
    with undisturbed(start):
        for check in (*EVERYWHERE, *checks):
            passed, reason = check.find(start)
            if not passed:
                return check.name, reason
    return None


@contextmanager
def undisturbed(start: Start) -> Iterator[None]:
    """Without dropout, and with all put back in its place afterwards: mode, gradients, random numbers, objective."""
    was_training, state = start.module.training, copy.deepcopy(start.objective.state_dict())
    devices = {each.device for each in start.module.parameters() if each.is_cuda}
    with torch.random.fork_rng(devices=devices):
        start.module.eval()
        try:
            yield
        finally:
            start.module.train(was_training)
            start.optimizer.drop_gradients()
            start.objective.load_state_dict(state)


def schedule_reaches_the_end(start: Start) -> Verdict:
    for step in range(1, start.steps + 1):
        share = start.schedule.share(step, start.steps)
        if not share > 0:
            return False, (
                f"from step {step} of {start.steps} on the learning rate is {share:g} and what the data say there would "
                "not be learned; give the schedule as many steps as the training has"
            )
    return PASSED


def sizes_agree(start: Start) -> Verdict:
    """A model may embed more ids than the tokenizer has, since vocabularies are padded; never fewer."""
    decoder = decoder_of(start.module)
    if decoder is None:
        return PASSED
    layers = {
        "the token embedding": decoder.get_input_embeddings(),
        "the vocabulary head": decoder.get_output_embeddings(),
    }
    sizes = {name: len(layer.weight) for name, layer in layers.items() if layer is not None}
    sizes["config.vocab_size"] = int(decoder.config.vocab_size)
    if len(set(sizes.values())) > 1:
        found = ", ".join(f"{name} {size}" for name, size in sizes.items())
        return False, f"the model is at odds with itself: {found}; they must be one number"
    rows = sizes["the token embedding"]
    known = start.tokenizer.vocabulary if start.tokenizer else rows
    if known > rows:
        return False, f"the tokenizer has {known} tokens and the model embeds {rows}; they belong to different models"
    if "actions" in start.batch.tensors:  # a policy may say an id that only fills up its vocabulary
        known = rows
    for name, number in _largest_ids(start, decoder).items():
        if number >= known:
            return (
                False,
                f"{name} is {number}, and ids end at {known - 1}; encode the data with the model's own tokenizer",
            )
    return PASSED


def _largest_ids(start: Start, decoder: PreTrainedModel) -> dict[str, int]:
    tensors = {name: start.batch.tensors[name] for name in ("ids", "labels") if name in start.batch.tensors}
    found = {f"the largest of the batch's {name}": int(tensor.max()) for name, tensor in tensors.items()}
    for name in ("eos_token_id", "pad_token_id"):
        number = getattr(decoder.config, name, None)
        found |= {f"the model's {name}": number} if isinstance(number, int) else {}
    return found


def decoder_of(module: nn.Module) -> PreTrainedModel | None:
    """The language model that is trained: the module itself, or the one within a reward model or a policy."""
    return next((each for each in module.modules() if isinstance(each, PreTrainedModel)), None)


def every_row_teaches(start: Start) -> Verdict:
    """A row without a label is a micro-batch without one, where that is what the machine has room for."""
    for row in range(len(start.batch)):
        alone = start.batch.rows(slice(row, row + 1))
        if not start.objective.weight(alone) > 0:
            return False, (
                f"row {row} of the first batch has no label, every one is masked: {shown(_ids(alone), start.tokenizer)}; "
                "check the template and the lengths"
            )
    return PASSED


def cut_makes_no_difference(start: Start) -> Verdict:
    """1 x 32 is 32 x 1: a mean of means is neither (transformers issue 34191). Fewer rows, where memory ends before."""
    rows = start.batch.rows(slice(0, affordable(start.batch, fewest=2)))
    while len(rows) > 1:
        try:
            return _same_gradients(start, rows)
        except OutOfMemory:
            rows = rows.rows(slice(0, len(rows) // 2))
    return PASSED


def _same_gradients(start: Start, rows: Batch) -> Verdict:
    whole, gradients = _accumulated(start, rows, len(rows))
    single, others = _accumulated(start, rows, 1)
    ways = f"as 1 x {len(rows)} and %s as {len(rows)} x 1"
    mend = "the objective must give a sum, over what its weight counts"
    if not math.isfinite(whole):
        return PASSED  # the engine refuses it at step 1, in its own words
    if not agree(whole, single):
        return False, f"the first batch costs {whole:.6f} {ways % format(single, '.6f')}; {mend}"
    norm = _norm(gradients)
    difference = {name: gradient - others.get(name, 0.0) for name, gradient in gradients.items()}
    if not _norm(difference) <= SAME_GRADIENT * norm + ROUNDING:
        worst = max(difference, key=lambda name: float(difference[name].norm()))
        return False, (
            f"the gradient has norm {norm:.6f} {ways % format(_norm(others), '.6f')}, and they are "
            f"{_norm(difference):.6f} apart, most of it in {worst}; {mend}"
        )
    return PASSED


def _accumulated(start: Start, rows: Batch, micro_batch: int) -> tuple[float, dict[str, Tensor]]:
    """The loss and the gradients by the engine's own way to them, in fp32 and on this process alone."""
    cut = Decided(precision="fp32", threads=torch.get_num_threads(), micro_batch=micro_batch, reason="preflight")
    with _checkpointed(start.module):
        metrics = accumulate_gradients(start.module, start.objective, rows, cut, start.optimizer, Ranks())
    named = {name: each.grad for name, each in start.module.named_parameters() if each.grad is not None}
    start.optimizer.drop_gradients()
    return metrics.get("loss", 0.0), named


@contextmanager
def _checkpointed(module: nn.Module) -> Iterator[None]:
    """Layers that are to keep no activations keep none here either: the library asks the layer itself whether it trains.

    The dropouts, which are further in, stay off.
    """
    layers = [each for each in module.modules() if isinstance(each, GradientCheckpointingLayer)]
    for layer in layers:
        layer.training = layer.gradient_checkpointing
    try:
        yield
    finally:
        for layer in layers:
            layer.training = False


def _norm(tensors: Mapping[str, Tensor]) -> float:
    return math.hypot(*(float(each.norm()) for each in tensors.values()))


EVERYWHERE = (
    Check(name="the learning rate ends before the data", find=schedule_reaches_the_end),
    Check(name="tokenizer, vocabulary and embedding sizes disagree", find=sizes_agree),
    Check(name="nothing to learn from", find=every_row_teaches),
    Check(name="gradient accumulation changes the training", find=cut_makes_no_difference),
)


def agree(one: float, other: float, count: float = 1) -> bool:
    """Equal but for rounding: two means, or two sums over `count` things."""
    return abs(one - other) <= SAME_LOSS * abs(one) + ROUNDING * count


def affordable(batch: Batch, *, fewest: int) -> int:
    """How many rows of a batch are read where all would be too many."""
    width = max(tensor[0].numel() for tensor in batch.tensors.values())
    return min(len(batch), MOST_ROWS, max(fewest, MOST_TOKENS // width))


def shown(ids: Sequence[int], tokenizer: ChatTokenizer | None) -> str:
    """A sample for a person: its text with its special tokens, or the ids; the end of it where it is long."""
    if tokenizer is None:
        return f"ids {', '.join(map(str, ids[-SHOWN_IDS:]))}"
    text = repr(tokenizer.decode(ids, skip_special_tokens=False))
    return text if len(text) <= SHOWN_CHARACTERS else f"'…{text[-SHOWN_CHARACTERS:]}"


def shown_token(number: int, tokenizer: ChatTokenizer | None) -> str:
    return f"token {number}" if tokenizer is None else repr(tokenizer.token(number))


def _ids(row: Batch) -> list[int]:
    ids = row.tensors["ids"]
    found: list[int] = ids[row.tensors.get("mask", torch.ones_like(ids)).bool()].tolist()
    return found
