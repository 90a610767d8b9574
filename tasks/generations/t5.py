"""T5 through the one engine: batches of corrupted text, teacher forcing, and what can be asked of the model afterwards.

Shapes: B rows, S tokens of an input, T tokens of a target, N labelled tokens, V vocabulary, D width.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from models.sampling import SamplingConfig, choose, uniform
from tasks.generations.asking import asked
from tasks.generations.spans import Ids, SpanConfig, corrupted, noise_mask, spans_of
from tasks.training.batches import IGNORED, Batch, Shuffle, Stateless, padded
from tasks.training.cross_entropy import cross_entropy_sum
from tasks.training.objectives import Loss

IdsLike = npt.NDArray[np.integer]
Floats = npt.NDArray[np.float64]


class SpanBatches(Stateless):
    """Windows of a row of ids in a new order each epoch, their noise drawn anew from (seed, position, row).

    `vocabulary` is the model's: the ids' own and at least `config.spans` sentinels above them.
    """

    def __init__(
        self, ids: IdsLike, config: SpanConfig, *, vocabulary: int, end_id: int, batch_sequences: int, seed: int
    ) -> None:
        _check_text(ids, vocabulary, config)
        self._ids, self._config, self._end_id, self._seed = ids, config, end_id, seed
        self._vocabulary, self._size = vocabulary, batch_sequences
        self._shuffle = Shuffle(len(ids) // config.raw, seed)

    def batch(self, position: int) -> Batch:
        numbers = self._shuffle.numbers(position * self._size, self._size)
        rows = [self.row(number, (self._seed, position, row)) for row, number in enumerate(numbers)]
        ids_BS, labels_BT = _stacked(rows)
        return Batch(tensors={"ids": ids_BS, "labels": labels_BT}, tokens=ids_BS.numel() + labels_BT.numel())

    def row(self, number: int, drawn_from: Sequence[int]) -> tuple[Ids, Ids]:
        """The input and the target of one window; its noise follows from the numbers of `drawn_from`."""
        raw, config = self._config.raw, self._config
        window = np.asarray(self._ids[number * raw : (number + 1) * raw], dtype=np.int64)
        draw = np.random.Generator(np.random.PCG64(list(drawn_from)))
        noise = noise_mask(raw, config.noise_share, config.mean_span, draw)
        return corrupted(window, noise, self._vocabulary, self._end_id)


def _stacked(rows: Sequence[tuple[Ids, Ids]]) -> tuple[Tensor, Tensor]:
    inputs, targets = zip(*rows, strict=True)
    return torch.from_numpy(np.stack(inputs)), torch.from_numpy(np.stack(targets))


def _check_text(ids: IdsLike, vocabulary: int, config: SpanConfig) -> None:
    if len(ids) < config.raw:
        raise ValueError(
            f"t5: the text has {len(ids)} tokens, fewer than one window of {config.raw}: add more text, or lower inputs"
        )
    if int(ids.max()) >= vocabulary - config.spans:
        raise ValueError(
            f"t5: the text has the id {int(ids.max())}, and {config.spans} sentinels are taken from {vocabulary - 1} down: "
            f"build the model with a vocabulary of at least {int(ids.max()) + 1 + config.spans}"
        )


class SpanCorruption:
    """Cross-entropy of the target's tokens, sentinels and end id with them, in nats per token; teacher forcing."""

    def weight(self, batch: Batch) -> float:
        return float((batch.tensors["labels"] != IGNORED).sum())

    def loss(self, module: Any, batch: Batch) -> Loss:
        labels_BT = batch.tensors["labels"]
        states_BTD = decoder_states(module, batch.tensors["ids"], labels_BT, batch.tensors.get("mask"))
        wanted_BT = labels_BT != IGNORED
        total = cross_entropy_sum(states_BTD[wanted_BT], module.lm_head.weight, labels_BT[wanted_BT])
        return Loss(total=total, sums={"loss": float(total.detach())})

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        del state


def decoder_states(model: Any, ids_BS: Tensor, labels_BT: Tensor, mask_BS: Tensor | None = None) -> Tensor:
    """What the decoder knows before it says each label: labels are shifted by one, the pad id before them."""
    encoded_BSD = model.encoder(input_ids=ids_BS, attention_mask=mask_BS).last_hidden_state
    decoded = model.decoder(
        input_ids=model.prepare_decoder_input_ids_from_labels(labels_BT),
        encoder_hidden_states=encoded_BSD,
        encoder_attention_mask=mask_BS,
        use_cache=False,
    )
    states: Tensor = decoded.last_hidden_state
    return states


def training_flops(model: Any, *, inputs: int, targets: int) -> float:
    """Of one row, thrice what its forward products cost: encoder, decoder, what it looks up in the encoder, head."""
    config = model.config
    width, feed_forward = config.d_model, 3 * config.d_model * config.d_ff
    encoder = 2 * inputs * (4 * width**2 + feed_forward) + 4 * inputs**2 * width
    decoder = 2 * targets * (4 * width**2 + feed_forward) + 4 * targets**2 * width
    across = 4 * (inputs + targets) * width**2 + 4 * inputs * targets * width
    head = 2 * targets * width * config.vocab_size
    return float(3 * (config.num_layers * (encoder + decoder + across) + head))


def target_nats(
    model: Any,
    ids: IdsLike,
    config: SpanConfig,
    *,
    end_id: int,
    seed: int,
    max_rows: int | None = None,
    batch_sequences: int = 16,
) -> Floats:
    """-ln p of every target token of a text kept apart, [rows, targets]: its windows in order, noise from (seed, row).

    Its mean is T5's own figure, nats per target token of span corruption. The decoder sees text on both sides of a span,
    and is asked for sentinels and the end id too: it stands beside no other model's perplexity.
    """
    source = SpanBatches(ids, config, vocabulary=model.config.vocab_size, end_id=end_id, batch_sequences=1, seed=seed)
    count = min(len(ids) // config.raw, max_rows or len(ids))
    rows = [source.row(number, (seed, number)) for number in range(count)]
    with asked(model):
        parts = [rows[start : start + batch_sequences] for start in range(0, count, batch_sequences)]
        return np.concatenate([_label_nats(model, *_stacked(part)) for part in parts])


def continuation_nats(
    model: Any,
    ids: IdsLike,
    *,
    end_id: int,
    sentinels: int,
    prefix: int,
    span: int = 3,
    max_tokens: int | None = None,
    batch_sequences: int = 32,
) -> Floats:
    """-ln p of every token from left to right: `span` at a time, as the span behind at most `prefix` tokens before it.

    Sentinels are ruled out and the rest renormalised, so by the chain rule this is a proper distribution over texts, and
    bits per byte of it may stand beside those of other models. It is not what the model was trained on: there most
    inputs have more than one gap, and text behind it.
    """
    vocabulary, end = model.config.vocab_size, min(len(ids), max_tokens or len(ids))
    if end and int(ids[:end].max()) >= vocabulary - sentinels:
        raise ValueError(
            f"t5: the text has the id {int(ids[:end].max())}; ids from {vocabulary - sentinels} on are sentinels"
        )
    nats = np.empty(end)
    starts = list(range(0, end, span))
    with asked(model):
        for place in range(0, len(starts), batch_sequences):
            some = starts[place : place + batch_sequences]
            before = [[*ids[max(0, start - prefix) : start].tolist(), vocabulary - 1, end_id] for start in some]
            spans = [[vocabulary - 1, *ids[start : min(end, start + span)].tolist()] for start in some]
            mask_BS = padded([[1] * len(row) for row in before], 0)
            found_BT = _label_nats(model, padded(before, end_id), padded(spans, IGNORED), mask_BS, sentinels)
            for start, row, values in zip(some, spans, found_BT, strict=True):
                nats[start : start + len(row) - 1] = values[1 : len(row)]
    return nats


def _label_nats(
    model: Any, ids_BS: Tensor, labels_BT: Tensor, mask_BS: Tensor | None = None, ruled_out: int = 0
) -> Floats:
    """-ln p of each label, 0 where there is none; the `ruled_out` highest ids have no share of the probability."""
    device = next(model.parameters()).device
    ids_BS, labels_BT = ids_BS.to(device), labels_BT.to(device)
    mask_BS = mask_BS.to(device) if mask_BS is not None else None
    logits_BTV = model.lm_head(decoder_states(model, ids_BS, labels_BT, mask_BS)).float()
    if ruled_out:
        logits_BTV = logits_BTV[..., :-ruled_out]
        labels_BT = labels_BT.masked_fill(labels_BT >= logits_BTV.shape[-1], IGNORED)
    flat_N = F.cross_entropy(logits_BTV.flatten(0, 1), labels_BT.flatten(), reduction="none", ignore_index=IGNORED)
    found: Floats = flat_N.view(labels_BT.shape).double().cpu().numpy()
    return found


def fill_spans(
    model: Any, ids: Sequence[int], sampling: SamplingConfig, *, end_id: int, sentinels: int, seed: int = 0
) -> dict[int, list[int]]:
    """What the model puts where `ids` has sentinels: {sentinel: ids}, in the order in which it says them.

    It says up to max_tokens tokens, sentinels among them; a gap that it does not come to has no entry.
    """
    device, vocabulary = next(model.parameters()).device, model.config.vocab_size
    gaps = {each for each in ids if each >= vocabulary - sentinels}
    with asked(model):
        encoded = model.encoder(input_ids=torch.tensor([[*ids, end_id]], device=device)).last_hidden_state
        said = np.array(_said(model, encoded, sampling, end_id, seed), dtype=np.int64)
    found = spans_of(said, sentinels, vocabulary)
    return {sentinel: span.tolist() for sentinel, span in found.items() if sentinel in gaps}


def _said(model: Any, encoded_BSD: Tensor, sampling: SamplingConfig, end_id: int, seed: int) -> list[int]:
    """A target token by token, each the only one that the decoder reads anew, without the end id."""
    said: list[int] = []
    cache, token_BT = None, torch.full((1, 1), model.config.decoder_start_token_id, device=encoded_BSD.device)
    for position in range(sampling.max_tokens):
        output = model.decoder(
            input_ids=token_BT, encoder_hidden_states=encoded_BSD, past_key_values=cache, use_cache=True
        )
        cache = output.past_key_values
        logits_BV = model.lm_head(output.last_hidden_state[:, -1]).float()
        chosen_B, _ = choose(logits_BV, sampling, uniform(seed, np.zeros(1, dtype=np.uint64), position))
        if int(chosen_B) == end_id:
            break
        said.append(int(chosen_B))
        token_BT = chosen_B[:, None]
    return said
