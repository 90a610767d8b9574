"""Log-likelihoods of continuations and of whole texts, by the conventions of lm-evaluation-harness (0.4.13).

Context and continuation are tokenised together and then split where the context's own tokens end, so that a word keeps
its usual tokens; spaces at a context's end belong to what follows. Where a context is empty, the token that begins a
document stands before the continuation.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from models.tokenizers.chat import ChatTokenizer
from tasks.evaluation.choices import bits_per_byte, byte_perplexity, word_perplexity
from tasks.evaluation.token_likelihood import BATCH_TOKENS, Split, TokenScore, score_splits

WhenTooLong = Literal["cut", "refuse"]


@dataclass(frozen=True, kw_only=True)
class Scored:
    """`nats`: the sum of ln p over the continuation's `tokens`; `greedy`: each of them was the most likely one.

    `cut`: how many tokens of the context's beginning the model could not read.
    """

    nats: float
    greedy: bool
    tokens: int
    cut: int = 0


def score_continuations(
    model: Any,
    tokenizer: ChatTokenizer,
    pairs: Sequence[tuple[str, str]],
    *,
    batch_tokens: int = BATCH_TOKENS,
    too_long: WhenTooLong = "cut",
) -> list[Scored]:
    """ln p(continuation | context) of each (context, continuation), in their order.

    A choice brings its delimiter: ("The sky is", " blue"). What is too long for the model is cut at the context's
    beginning, and `cut` says how much, or it is refused with ValueError; a continuation is never cut.
    """
    context = int(model.config.max_position_embeddings)
    splits, cuts = [], []
    for number, pair in enumerate(pairs, start=1):
        split = encode_pair(tokenizer, *pair)
        _refuse(split, context, too_long, where=f"pair {number}")
        splits.append(fitted(split, context))
        cuts.append(len(split.context) - len(splits[-1].context))
    found = score_splits(model, splits, batch_tokens=batch_tokens)
    return [_scored([score], cut) for score, cut in zip(found, cuts, strict=True)]


def score_texts(
    model: Any, tokenizer: ChatTokenizer, texts: Sequence[str], *, batch_tokens: int = BATCH_TOKENS
) -> list[Scored]:
    """ln p of each whole text: every token once, in windows of the model's context that follow one another."""
    context = int(model.config.max_position_embeddings)
    windows = [rolling_windows(tokenizer.encode_text(text), start_id(tokenizer), context) for text in texts]
    found = iter(score_splits(model, [each for own in windows for each in own], batch_tokens=batch_tokens))
    return [_scored([next(found) for _ in own]) for own in windows]


def text_measures(texts: Sequence[str], scored: Sequence[Scored]) -> Mapping[str, float]:
    """Bits per byte, byte and word perplexity of all texts together; a word is what stands between white space."""
    byte_count = sum(len(text.encode()) for text in texts)
    if not byte_count:
        raise ValueError("the texts to score are empty; give a file with text in it")
    bits = bits_per_byte(-sum(each.nats for each in scored), byte_count)
    words = sum(len(re.split(r"\s+", text)) for text in texts)
    return {
        "bits_per_byte": bits,
        "byte_perplexity": byte_perplexity(bits),
        "word_perplexity": word_perplexity(bits, byte_count, words),
    }


def encode_pair(tokenizer: ChatTokenizer, context: str, continuation: str) -> Split:
    """("The sky is ", "blue") -> the ids of "The sky is" and of " blue"; apart, where they are one token together."""
    bare = context.rstrip()
    continuation = context[len(bare) :] + continuation
    if not bare:
        return Split(context=(start_id(tokenizer),), continuation=tuple(tokenizer.encode_text(continuation)))
    before, whole = tokenizer.encode_text(bare), tokenizer.encode_text(bare + continuation)
    after = whole[len(before) :] or tokenizer.encode_text(continuation)
    return Split(context=(*tokenizer.opening_ids, *before), continuation=tuple(after))


def start_id(tokenizer: ChatTokenizer) -> int:
    """The token before a document's first: the tokenizer's own beginning, else the end of the document before."""
    return tokenizer.opening_ids[-1] if tokenizer.opening_ids else tokenizer.beginning_id


def rolling_windows(ids: Sequence[int], start: int, context: int) -> list[Split]:
    """Windows of `context` tokens; the first is read after `start`, the last reaches back as far as it can."""
    before = [start, *ids]  # before[i] is read where ids[i] is predicted
    found = []
    for first in range(0, len(ids), context):
        last = min(first + context, len(ids))
        found.append(
            Split(context=tuple(before[max(0, last - context) : first + 1]), continuation=tuple(ids[first:last]))
        )
    return found


def fitted(split: Split, context: int) -> Split:
    """The end of the context that fits before the continuation; a model of `context` positions predicts one more."""
    room = context + 1 - len(split.continuation)
    return Split(context=split.context[-room:], continuation=split.continuation)


def _refuse(split: Split, context: int, too_long: WhenTooLong, where: str) -> None:
    length, all_tokens = len(split.continuation), len(split.context) + len(split.continuation)
    if not length:
        raise ValueError(f"{where}: the continuation is empty; give its text")
    if length > context:
        raise ValueError(f"{where}: the continuation has {length} tokens and the model reads {context}; shorten it")
    if too_long == "refuse" and all_tokens > context + 1:
        raise ValueError(
            f"{where}: context and continuation have {all_tokens} tokens and the model reads {context + 1}; "
            "give fewer or shorter examples"
        )


def _scored(scores: Sequence[TokenScore], cut: int = 0) -> Scored:
    return Scored(
        nats=sum(score.nats for score in scores),
        greedy=all(score.greedy for score in scores),
        tokens=sum(score.tokens for score in scores),
        cut=cut,
    )
