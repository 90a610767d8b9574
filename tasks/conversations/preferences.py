"""Pairs of answers to one prompt: hh-rlhf's transcripts (Bai et al. 2022), and chosen and rejected beside a prompt."""

import re

from tasks.conversations.conversation import ASSISTANT, USER, BadRow, Message, check_turns
from tasks.conversations.fields import fields_of, has, messages, system_messages, text
from tasks.conversations.format import File, Item, Made, asked

CHOSEN, REJECTED, PROMPT = ("chosen",), ("rejected",), ("prompt", "question")
_TURN = re.compile(r"(?:\A|\n\n)(Human|Assistant):")
_ROLES = {"Human": USER, "Assistant": ASSISTANT}


def fits_transcripts(row: Item) -> bool:
    fields = fields_of(row)
    return all(
        isinstance(fields.get(name), str) and _TURN.match(fields[name]) is not None for name in (*CHOSEN, *REJECTED)
    )


def pair_of_transcripts(row: Item, _: File) -> Made:
    """The chosen one's messages and the rejected answer; BadRow when they are no two answers to one prompt."""
    fields = fields_of(row)
    chosen, rejected = text(fields, CHOSEN), text(fields, REJECTED)
    if chosen == rejected:
        raise BadRow("chosen and rejected are the same")
    return _two_answers(turns(chosen), turns(rejected))


def turns(transcript: str) -> tuple[Message, ...]:
    """ "\\n\\nHuman: hi\\n\\nAssistant: hello" -> user "hi", assistant "hello"; BadRow when nobody is named as speaking."""
    before, *parts = _TURN.split(transcript)
    if before.strip() or not parts:
        raise BadRow("not a transcript of Human and Assistant")
    return tuple(
        Message(role=_ROLES[name], content=said.strip()) for name, said in zip(parts[::2], parts[1::2], strict=True)
    )


def fits_pair(row: Item) -> bool:
    fields = fields_of(row)
    lists = all(isinstance(fields.get(name), list) for name in (*CHOSEN, *REJECTED))
    return has(fields, CHOSEN) and has(fields, REJECTED) and (lists or has(fields, PROMPT))


def pair(row: Item, _: File) -> Made:
    """Both answers as texts beside a prompt, or each at the end of a list of messages."""
    fields = fields_of(row)
    if isinstance(fields.get("chosen"), list):
        return _two_answers(messages(fields["chosen"]), messages(fields.get("rejected")))
    question, before = text(fields, PROMPT), system_messages(fields)
    chosen, rejected = (asked(question, text(fields, names), before=before)[0] for names in (CHOSEN, REJECTED))
    return _two_answers(tuple(chosen), tuple(rejected))


def _two_answers(better: tuple[Message, ...], worse: tuple[Message, ...]) -> Made:
    if better == worse:
        raise BadRow("chosen and rejected are the same")
    if better[:-1] != worse[:-1]:
        raise BadRow("chosen and rejected answer different prompts")
    check_turns(better)
    check_turns(worse)
    return better, worse[-1].content
