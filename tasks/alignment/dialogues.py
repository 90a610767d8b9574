"""Instruction items and conversations -> batches of dialogues with labels on the answers alone."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from models.tokenizers.chat import ChatTokenizer
from tasks.alignment.drawing import InstructionItem
from tasks.conversations.kept import Kept
from tasks.exercises.phrases import key_of
from tasks.training.batches import IGNORED, Batch, Shuffle, Stateless, padded


@dataclass(frozen=True, kw_only=True)
class Dialogue:
    """Ids of one dialogue, and which of them the assistant says, its end tokens included; `prompt` is what was asked first.

    It is "" where a system message or tools were read before it. `source` says where a conversation was given: file and line.
    """

    ids: tuple[int, ...]
    said: tuple[bool, ...]
    prompt: str = ""
    source: str = ""


def dialogue_of(item: InstructionItem, tokenizer: ChatTokenizer) -> Dialogue:
    return dialogue_of_turns(
        [{"role": "user", "content": item.prompt}, {"role": "assistant", "content": item.answer}], tokenizer
    )


def dialogue_of_turns(
    turns: Sequence[Mapping[str, Any]], tokenizer: ChatTokenizer, tools: Sequence[Mapping[str, Any]] = ()
) -> Dialogue:
    """Every answer in it is learned, not the last alone."""
    ids, said = tokenizer.encode_dialogue(turns, tools)
    prompt = turns[0]["content"] if turns[0]["role"] == "user" and not tools else ""
    return Dialogue(ids=tuple(ids), said=tuple(said), prompt=prompt)


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """What is learned from. `dropped` are longer than the context, `left_out` are conversations above their share."""

    dialogues: Sequence[Dialogue]
    conversations: int
    dropped: Sequence[Dialogue]
    left_out: int

    @property
    def counts(self) -> dict[str, Any]:
        return {
            "dialogues": len(self.dialogues),
            "conversations": self.conversations,
            "dropped": len(self.dropped),
            "dropped_first": next((each.source for each in self.dropped if each.source), ""),
            "left_out": self.left_out,
        }


def sayable(conversations: Sequence[Kept], tokenizer: ChatTokenizer) -> tuple[list[Dialogue], dict[str, int]]:
    """Dialogues of those that the chat template has a place for, and {why not: how many} of the others."""
    found: list[Dialogue] = []
    refused: Counter[str] = Counter()
    for each in conversations:
        try:
            made = dialogue_of_turns(each.turns, tokenizer, each.tools)
            found.append(replace(made, source=each.source))
        except ValueError as error:
            refused[str(error)] += 1
    return found, dict(refused)


def mixed(
    items: Sequence[InstructionItem],
    conversations: Sequence[Dialogue],
    tokenizer: ChatTokenizer,
    context: int,
    share: float,
    seed: int,
) -> Mixture:
    """Items and conversations that fit whole into the context, at most `share` of all of them conversations.

    Which of more are taken depends on the seed and on what they say. ValueError when not one dialogue fits.
    """
    own = [dialogue_of(item, tokenizer) for item in items]
    fitting_own, fitting = fitting_dialogues(own, context), fitting_dialogues(conversations, context)
    # n conversations beside m items are their share of n + m; without items there is nothing to swamp
    most = int(share * len(fitting_own) / (1 - share) + 1e-9) if fitting_own else len(fitting)
    taken = sorted(fitting, key=lambda dialogue: key_of("conversation", seed, *dialogue.ids))[:most]
    dialogues = [*fitting_own, *taken]
    if not dialogues:
        longest = f"none of {len(own) + len(conversations)} dialogues fits into the context of {context} tokens"
        raise ValueError(f"{longest}; shorten them, or train a model of a longer context")
    return Mixture(
        dialogues=dialogues,
        conversations=len(taken),
        dropped=[each for each in (*own, *conversations) if len(each.ids) > context],
        left_out=len(fitting) - len(taken),
    )


def fitting_dialogues(dialogues: Sequence[Dialogue], context: int) -> list[Dialogue]:
    return [dialogue for dialogue in dialogues if len(dialogue.ids) <= context]


class DialogueBatches(Stateless):
    """Dialogues in a new random order each epoch; labels are the next token where the assistant says it."""

    def __init__(self, dialogues: Sequence[Dialogue], *, batch_sequences: int, seed: int, pad_id: int) -> None:
        self._dialogues = dialogues
        self._size = batch_sequences
        self._pad_id = pad_id
        self._shuffle = Shuffle(len(dialogues), seed)

    def batch(self, position: int) -> Batch:
        numbers = self._shuffle.numbers(position * self._size, self._size)
        return batch_of([self._dialogues[number] for number in numbers], self._pad_id)


def batch_of(dialogues: Sequence[Dialogue], pad_id: int) -> Batch:
    """batch_of([ids 5 6 7 8, said 0 0 1 1]) -> ids 5 6 7, labels - 7 8 (- is not learned from)."""
    ids_BT = padded([dialogue.ids[:-1] for dialogue in dialogues], pad_id)
    labels_BT = padded([labels_of(dialogue) for dialogue in dialogues], IGNORED)
    mask_BT = padded([[1] * (len(dialogue.ids) - 1) for dialogue in dialogues], 0)
    tensors = {"ids": ids_BT, "labels": labels_BT, "mask": mask_BT.to(torch.long)}
    return Batch(tensors=tensors, tokens=int(mask_BT.sum()))


def labels_of(dialogue: Dialogue) -> list[int]:
    """One label for each id but the last: the next token where the assistant says it."""
    pairs = zip(dialogue.ids[1:], dialogue.said[1:], strict=True)
    return [token if said else IGNORED for token, said in pairs]
