"""One answer of a released model, word by word as it is sampled.

Shapes: T tokens, V vocabulary.
"""

from collections.abc import Iterable, Iterator, Sequence, Set
from typing import Any

import torch
from torch import Tensor

from models.tokenizers.chat import ChatTokenizer
from models.tokenizers.template import Message

UNFINISHED = "\ufffd"  # what a decoder says of bytes that are no whole character, or not yet
SHORTEST_ANSWER = 16  # tokens; a prompt that leaves less room than this is refused, not answered with a stump


def chat_reply(
    model: Any,
    tokenizer: ChatTokenizer,
    messages: Sequence[Message],
    *,
    max_tokens: int,
    temperature: float,
    seed: int,
) -> Iterator[str]:
    """Pieces of the answer to `messages`, in whole characters; nothing of a special token.

    The oldest turns are left out when the conversation does not fit into the model's context; ValueError when even the
    last message does not. The same arguments give the same answer.
    """
    if max_tokens < 1 or temperature < 0:
        raise ValueError(f"expected max_tokens >= 1 and temperature >= 0, found {max_tokens} and {temperature}")
    ids = fitting_prompt(tokenizer, messages, context=int(model.config.max_position_embeddings), wanted=max_tokens)
    room = int(model.config.max_position_embeddings) - len(ids)
    stops = {*tokenizer.special_ids, tokenizer.end_id, tokenizer.end_of_text_id}
    tokens = _sampled(model, ids, min(max_tokens, room), temperature, seed, stops)
    return pieces(tokenizer, tokens)


def fitting_prompt(tokenizer: ChatTokenizer, messages: Sequence[Message], *, context: int, wanted: int) -> list[int]:
    """The ids of the latest turns that leave room for `wanted` tokens, or for a short answer after the last one."""
    kept = list(messages)
    while True:
        ids = tokenizer.encode_prompt(kept)
        alone = len(kept) <= 1
        if len(ids) + (min(SHORTEST_ANSWER, wanted) if alone else wanted) <= context:
            return ids
        if alone:
            raise ValueError(
                f"the message has {len(ids)} tokens and the model reads {context} with its answer; shorten the message"
            )
        kept = kept[2:] if len(kept) > 2 else kept[1:]  # a question goes together with its answer


def pieces(tokenizer: ChatTokenizer, tokens: Iterable[int]) -> Iterator[str]:
    """Text as soon as its characters are whole: a Korean syllable may be spread over three tokens.

    A decoder of single bytes takes back a whole run of them when the next one makes it no text: then the run is left
    behind, and what follows is read by itself.
    """
    ids: list[int] = []
    fresh = 0  # how many of the ids have not been said
    said = ""
    for token in tokens:
        ids.append(token)
        fresh += 1
        whole = tokenizer.decode(ids, skip_special_tokens=False)
        text = whole.rstrip(UNFINISHED)
        if text == whole and not text.startswith(said):
            ids, said = ids[-fresh:], ""
            text = tokenizer.decode(ids, skip_special_tokens=False)
        if len(text) > len(said) and text.startswith(said):
            yield text[len(said) :]
            fresh, said = 0, text


def _sampled(
    model: Any, ids: Sequence[int], max_tokens: int, temperature: float, seed: int, stops: Set[int]
) -> Iterator[int]:
    """Token after token until a special one, each from (seed, its position) alone."""
    device = next(model.parameters()).device
    ids_1T = torch.tensor([list(ids)], device=device)
    cache = None
    for position in range(max_tokens):
        with torch.inference_mode():
            out = model(input_ids=ids_1T, past_key_values=cache, use_cache=True, logits_to_keep=1)
        cache = out.past_key_values
        token = _choose(out.logits[0, -1].float(), temperature, seed, position)
        if token in stops:
            return
        yield token
        ids_1T = torch.tensor([[token]], device=device)


def _choose(logits_V: Tensor, temperature: float, seed: int, position: int) -> int:
    if temperature == 0:
        return int(logits_V.argmax())
    generator = torch.Generator().manual_seed((seed * 1_000_003 + position * 7_919) % (2**63 - 1))
    chances_V = torch.softmax(logits_V / temperature, dim=-1).cpu()
    return int(torch.multinomial(chances_V, 1, generator=generator))
