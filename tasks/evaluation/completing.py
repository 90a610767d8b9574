"""Prompts to a model, and what it writes after them: plain text to a base model, turns to one that talks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial

from models.sampling import SamplingConfig, sample
from models.tokenizers.chat import ChatTokenizer
from tasks.evaluation.extraction import NEXT_QUESTION
from tasks.evaluation.fitting import CLOSING_TOKENS, prompt_ids
from tasks.evaluation.prompts import Prompt
from tasks.evaluation.subject import Subject

BATCH_SEQUENCES = 64
_QUESTION_TOKENS = 12  # "\nQuestion:" in any tokenizer, letter by letter

Told = Callable[[int], None]  # how many more were answered


@dataclass(frozen=True, kw_only=True)
class Completed:
    """`text` is all that followed the prompt; the answer is to be looked for in `answer`, after a rationale's question."""

    text: str
    answer: str


def complete(
    subject: Subject, prompts: Sequence[Prompt], config: SamplingConfig, *, seed: int, keys: Sequence[int], told: Told
) -> list[Completed]:
    """In their order; two rounds where a rationale comes first and is followed by a question for the answer."""
    ids = [prompt_ids(subject, each) for each in prompts]
    first = _written(subject, ids, prompts, config, seed, keys, told)
    if not any(each.closing for each in prompts):
        return [Completed(text=text, answer=text) for text in first]
    tokenizer, room = subject.tokenizer, subject.context
    closings = [tokenizer.encode_text(each.closing) for each in prompts]
    again = [
        [*before, *tokenizer.encode_text(said)[: room - len(before) - len(closing) - CLOSING_TOKENS], *closing]
        for before, said, closing in zip(ids, first, closings, strict=True)
    ]
    closing_config = SamplingConfig(max_tokens=CLOSING_TOKENS, temperature=0.0)
    plain = [Prompt(shown=(), question="") for _ in prompts]
    answers = _written(subject, again, plain, closing_config, seed, keys, lambda _: None)
    return [
        Completed(text=f"{said}{prompt.closing}{answer}", answer=answer)
        for said, prompt, answer in zip(first, prompts, answers, strict=True)
    ]


def _written(
    subject: Subject,
    ids: Sequence[list[int]],
    prompts: Sequence[Prompt],
    config: SamplingConfig,
    seed: int,
    keys: Sequence[int],
    told: Told,
) -> list[str]:
    """Prompts of like length share a batch, the longest first: what needs most memory and time is seen at once."""
    tokenizer = subject.tokenizer
    order = sorted(range(len(ids)), key=lambda place: -len(ids[place]))
    texts = [""] * len(ids)
    one_line = not any(each.has_line_breaks for each in prompts) and not subject.talks
    stops = {tokenizer.end_id, tokenizer.end_of_text_id} | (_line_breaks(tokenizer) if one_line else set())
    for start in range(0, len(order), BATCH_SEQUENCES):
        places = order[start : start + BATCH_SEQUENCES]
        found = sample(
            subject.model,
            [ids[place] for place in places],
            config,
            seed=seed,
            stop_ids=frozenset(stops),
            pad_id=tokenizer.pad_id,
            keys=[keys[place] for place in places],
            batch_sequences=BATCH_SEQUENCES,
            is_complete=None if one_line or subject.talks else partial(_goes_on, tokenizer),
        )
        for place, each in zip(places, found, strict=True):
            texts[place] = _own(tokenizer.decode(each.tokens), one_line)
        told(len(places))
    return texts


def _own(text: str, one_line: bool) -> str:
    """Without the next question that a base model goes on with."""
    return text.split("\n")[0] if one_line else NEXT_QUESTION.split(text)[0]


def _goes_on(tokenizer: ChatTokenizer, tokens: Sequence[int]) -> bool:
    """Whether the next question has begun."""
    return NEXT_QUESTION.search(tokenizer.decode(tokens[-_QUESTION_TOKENS:])) is not None


@cache
def _line_breaks(tokenizer: ChatTokenizer) -> set[int]:
    """The tokens that end a line."""
    return {number for number in range(tokenizer.vocabulary) if "\n" in tokenizer.decode([number])}
