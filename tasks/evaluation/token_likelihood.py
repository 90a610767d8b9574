"""Log-likelihoods of token sequences after others, in batches of like length.

Continuations of one context share a row in which the context stands once: each of them is read as if it followed the
context alone. The vocabulary is looked at only where a token of a continuation is predicted, each place once.

Shapes: B rows, T tokens, N predicted tokens, U places that predict them, D width, V vocabulary.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from models.heads import vocabulary_head
from models.sampling import SHARED_AT_LEAST, shared_beginning

BATCH_TOKENS = 4096  # for 1.3M weights on one core, 1024 to 16384 took 0.72 to 0.97 s
HEAD_VALUES = 1 << 22  # logits that are held at once


@dataclass(frozen=True, kw_only=True)
class Split:
    """Token ids; neither part is empty, and all but the last are what a model reads."""

    context: tuple[int, ...]
    continuation: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class TokenScore:
    nats: float
    greedy: bool
    tokens: int


@dataclass(frozen=True, kw_only=True)
class Row:
    """A context, and the numbers of the splits whose continuations follow it."""

    context: tuple[int, ...]
    splits: tuple[int, ...]
    length: int


@torch.inference_mode()
def score_splits(model: Any, splits: Sequence[Split], *, batch_tokens: int = BATCH_TOKENS) -> list[TokenScore]:
    """Of each split, in their order; equal ones are scored once, so that two equal choices are equally likely."""
    distinct = list(dict.fromkeys(splits))
    scores: dict[Split, TokenScore] = {}
    was_training = model.training
    model.eval()
    for rows in batches(shared_rows(distinct), batch_tokens):
        batch = _Batch(rows, distinct)
        nats_N, greedy_N = _predicted(model, batch)
        lengths = [len(distinct[number].continuation) for number in batch.splits]
        parts = zip(batch.splits, torch.split(nats_N, lengths), torch.split(greedy_N, lengths), strict=True)
        for number, nats, greedy in parts:
            scores[distinct[number]] = TokenScore(nats=float(nats.sum()), greedy=bool(greedy.all()), tokens=len(nats))
    model.train(was_training)
    return [scores[split] for split in splits]


def shared_rows(splits: Sequence[Split]) -> list[Row]:
    """Continuations of the same context in one row, as long as they are together no longer than the context."""
    of_context: dict[tuple[int, ...], list[int]] = {}
    for number, split in enumerate(splits):
        of_context.setdefault(split.context, []).append(number)
    rows = []
    for context, numbers in of_context.items():
        taken: list[int] = []
        length = 0
        for number in numbers:
            own = len(splits[number].continuation) - 1  # the last token is predicted and never read
            if taken and length + own > len(context):
                rows.append(Row(context=context, splits=tuple(taken), length=len(context) + length))
                taken, length = [], 0
            taken.append(number)
            length += own
        rows.append(Row(context=context, splits=tuple(taken), length=len(context) + length))
    return rows


def batches(rows: Sequence[Row], batch_tokens: int) -> Iterator[list[Row]]:
    """Rows of like length together, the longest first, of at most `batch_tokens` with their padding."""
    batch: list[Row] = []
    for row in sorted(rows, key=lambda row: -row.length):
        if batch and (len(batch) + 1) * batch[0].length > batch_tokens:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


class _Batch:
    """Rows padded on the right, after what all their contexts begin with (`begun`, which is read once).

    `parts_BT` is 0 on a context, k on its k-th continuation, -1 on padding.
    Its splits' tokens follow one another in `targets_N`; `places_N` are those in the flattened batch that predict them.
    """

    def __init__(self, rows: Sequence[Row], splits: Sequence[Split]) -> None:
        shared = shared_beginning([row.context for row in rows]) if len(rows) > 1 else 0
        shared = shared if shared >= SHARED_AT_LEAST else 0
        self.begun = rows[0].context[:shared]
        width = max(row.length for row in rows) - shared
        self.splits = [number for row in rows for number in row.splits]
        self.ids_BT = torch.zeros(len(rows), width, dtype=torch.long)
        self.positions_BT = torch.zeros(len(rows), width, dtype=torch.long)
        self.parts_BT = torch.full((len(rows), width), -1)
        places: list[int] = []
        for number, row in enumerate(rows):
            context, place = len(row.context), len(row.context) - shared
            before = place - 1
            self._lay(number, 0, row.context[shared:], position=shared, part=0)
            for part, split in enumerate(row.splits, start=1):
                read = splits[split].continuation[:-1]
                self._lay(number, place, read, position=context, part=part)
                places += [number * width + each for each in (before, *range(place, place + len(read)))]
                place += len(read)
        self.places_N = torch.tensor(places)
        self.targets_N = torch.tensor([token for number in self.splits for token in splits[number].continuation])

    def _lay(self, row: int, place: int, ids: Sequence[int], *, position: int, part: int) -> None:
        end = place + len(ids)
        self.ids_BT[row, place:end] = torch.tensor(ids, dtype=torch.long)
        self.positions_BT[row, place:end] = torch.arange(position, position + len(ids))
        self.parts_BT[row, place:end] = part

    def mask(self) -> Tensor | None:
        """[B, 1, T, begun + T]: a token looks at its context and at its own part, up to itself; None where that is all."""
        if int(self.parts_BT.max()) <= 1:
            return None
        parts_BT = self.parts_BT
        same_BTT = parts_BT[:, :, None] == parts_BT[:, None, :]
        own_BTT = (same_BTT | (parts_BT == 0)[:, None, :]).tril()
        return torch.nn.functional.pad(own_BTT, (len(self.begun), 0), value=True)[:, None]


def _predicted(model: Any, batch: _Batch) -> tuple[Tensor, Tensor]:
    """ln p [N] of the targets, and whether each was the most likely token [N]; on the CPU."""
    device = next(model.parameters()).device
    mask_B1TT = batch.mask()
    cache = None
    if batch.begun:
        cache = DynamicCache(config=model.config)
        model.base_model(input_ids=torch.tensor([batch.begun], device=device), past_key_values=cache, use_cache=True)
        cache.batch_repeat_interleave(len(batch.ids_BT))
    output = model.base_model(
        input_ids=batch.ids_BT.to(device),
        attention_mask=None if mask_B1TT is None else mask_B1TT.to(device),
        position_ids=batch.positions_BT.to(device),
        past_key_values=cache,
        use_cache=cache is not None,
    )
    head_VD = vocabulary_head(model)
    places_U, used_N = torch.unique(batch.places_N.to(device), return_inverse=True)
    states_UD = output.last_hidden_state.flatten(0, 1)[places_U]
    sums, likeliest = [], []
    for states_CD in states_UD.split(max(1, HEAD_VALUES // head_VD.shape[0])):
        logits_CV = (states_CD @ head_VD.T).float()
        sums.append(logits_CV.logsumexp(1))
        likeliest.append(logits_CV.argmax(1))
    targets_N = batch.targets_N.to(device)
    logits_N = (states_UD[used_N] * head_VD[targets_N]).float().sum(1)
    nats_N = logits_N - torch.cat(sums)[used_N]
    return nats_N.double().cpu(), (torch.cat(likeliest)[used_N] == targets_N).cpu()
