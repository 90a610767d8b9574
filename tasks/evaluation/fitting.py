"""How many tokens a prompt and its answer take of what a model reads; torch is not needed to know."""

from tasks.evaluation.prompts import Prompt
from tasks.evaluation.subject import Subject

DELIMITER = " "  # between a prompt in plain text and an option, as lm-evaluation-harness has it
CLOSING_TOKENS = 16  # of an answer that is asked for after a rationale


def prompt_ids(subject: Subject, prompt: Prompt) -> list[int]:
    tokenizer = subject.tokenizer
    if subject.talks:
        return tokenizer.encode_prompt(prompt.turns)
    return [*tokenizer.opening_ids, *tokenizer.encode_text(prompt.text)]


def prompt_as_asked(subject: Subject, prompt: Prompt) -> str:
    """What a person reads of it: with the special tokens of the turns, where it was asked in turns."""
    if not subject.talks:
        return prompt.text
    return subject.tokenizer.decode(prompt_ids(subject, prompt), skip_special_tokens=False)


def tokens_needed(subject: Subject, prompt: Prompt, max_tokens: int) -> int:
    """Those of a prompt and the longest answer to it."""
    closing = len(subject.tokenizer.encode_text(prompt.closing)) + CLOSING_TOKENS if prompt.closing else 0
    return len(prompt_ids(subject, prompt)) + max_tokens + closing


def tokens_of_choice(subject: Subject, prompt: Prompt, option: str) -> int:
    """Those of a prompt and an option after it."""
    tokenizer = subject.tokenizer
    if subject.talks:
        return len(prompt_ids(subject, prompt)) + len(tokenizer.encode_text(option))
    return len(tokenizer.opening_ids) + len(tokenizer.encode_text(prompt.text + DELIMITER + option))
