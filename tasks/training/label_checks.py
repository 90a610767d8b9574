"""What must hold where the next token is learned: labels are it, the loss is its cross-entropy, packing changes neither.

Shapes: T tokens of one document.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from models.tokenizers.chat import ChatTokenizer
from tasks.training.batches import IGNORED, Batch
from tasks.training.preflight import PASSED, Check, Start, Verdict, affordable, agree, shown, shown_token

PLAIN_TOKENS = 1024  # are read by the library itself, whose logits exist for a whole document at once
SHIFTS = {0: "they are not shifted", 2: "they are shifted twice"}


@dataclass(frozen=True, kw_only=True)
class Document:
    """A document of a batch as it would be alone, without padding and without the others of its row."""

    row: int
    number: int
    ids: Tensor
    labels: Tensor

    @property
    def learned(self) -> int:
        return int((self.labels != IGNORED).sum())

    def alone(self) -> Batch:
        tensors = {"ids": self.ids[None], "labels": self.labels[None]}
        return Batch(tensors=tensors, tokens=len(self.ids))


def documents_of(batch: Batch) -> Iterator[Document]:
    """By `segments` where the batch is packed, by `mask` where it is padded; else each row is one."""
    ids_BT, labels_BT = batch.tensors["ids"], batch.tensors["labels"]
    whole_BT = batch.tensors.get("mask", torch.ones_like(ids_BT))
    segments_BT = batch.tensors.get("segments", whole_BT)
    for row, segments_T in enumerate(segments_BT):
        for number in range(1, int(segments_T.max()) + 1):
            own_T = segments_T == number
            yield Document(row=row, number=number, ids=ids_BT[row][own_T], labels=labels_BT[row][own_T])


def next_token_checks() -> tuple[Check, ...]:
    """For an objective that learns "labels" after "ids"."""
    return (
        Check(name="labels are not the next token", find=labels_are_next_tokens),
        Check(name="the loss is not the next token's cross-entropy", find=loss_is_plain),
        Check(name="packed loss differs from unpacked loss", find=packing_makes_no_difference),
    )


def labels_are_next_tokens(start: Start) -> Verdict:
    """The last label of a document is not looked at: what it should be was cut off when ids and labels were made."""
    for document in documents_of(start.batch):
        labels_T, next_T = document.labels[:-1], document.ids[1:]
        wrong_T = (labels_T != IGNORED) & (labels_T != next_T)
        if wrong_T.any():
            place = int(wrong_T.int().argmax())
            label, following = (shown_token(int(each[place]), start.tokenizer) for each in (labels_T, next_T))
            return False, (
                f"after {shown(document.ids[: place + 1].tolist(), start.tokenizer)} (row {document.row}, position "
                f"{place}) comes {following}, the label is {label}; {_explained(document)}"
            )
    return PASSED


def _explained(document: Document) -> str:
    for shift, explanation in SHIFTS.items():
        labels_T, moved_T = document.labels[: len(document.ids) - shift], document.ids[shift:]
        wanted_T = labels_T != IGNORED
        if wanted_T.any() and bool((labels_T == moved_T)[wanted_T].all()):
            return f"{explanation}: labels[t] must be ids[t + 1]"
    return "labels[t] must be ids[t + 1]"


@torch.no_grad()
def loss_is_plain(start: Start) -> Verdict:
    """Beside the library's own logits and torch's own loss of ids that are shifted here, once."""
    read = 0
    for document in documents_of(start.batch):
        labels_T = document.labels.clone()
        labels_T[-1] = IGNORED
        wanted_T = labels_T[:-1] != IGNORED
        if read >= PLAIN_TOKENS or not wanted_T.any():
            continue
        read += len(labels_T)
        alone = Document(row=document.row, number=document.number, ids=document.ids, labels=labels_T)
        found = float(start.objective.loss(start.module, alone.alone()).total)
        logits_TV = start.module(input_ids=document.ids[None], use_cache=False).logits[0, :-1].float()
        plain = float(F.cross_entropy(logits_TV[wanted_T], document.ids[1:][wanted_T], reduction="sum"))
        if not agree(plain, found, alone.learned):
            return False, (
                f"{alone.learned} tokens cost {plain:.4f} nats by the model's own logits and {found:.4f} by the objective "
                f"({shown(document.ids.tolist(), start.tokenizer)}); it must shift nothing and sum over its labels"
            )
    return PASSED


@torch.no_grad()
def packing_makes_no_difference(start: Start) -> Verdict:
    """Each document alone, without padding, costs what it costs in its row; a row that holds one has nothing to prove."""
    if "segments" not in start.batch.tensors:
        return PASSED
    rows = start.batch.rows(slice(0, affordable(start.batch, fewest=1)))
    documents = [each for each in documents_of(rows) if each.learned]
    costs = [float(start.objective.loss(start.module, each.alone()).total) for each in documents]
    packed = float(start.objective.loss(start.module, rows).total)
    if agree(sum(costs), packed, sum(each.learned for each in documents)):
        return PASSED
    for document, cost in zip(documents, costs, strict=True):
        within = float(start.objective.loss(start.module, _only(document, rows)).total)
        if not agree(cost, within, document.learned):
            return False, (
                f"document {document.number} of row {document.row} costs {cost:.4f} nats alone and {within:.4f} packed: "
                f"{shown(document.ids.tolist(), start.tokenizer)}; no document may see another, and positions start "
                "again with each"
            )
    return False, f"the documents cost {sum(costs):.4f} nats one by one and {packed:.4f} packed"


def _only(document: Document, batch: Batch) -> Batch:
    """The document's row, in which nothing but the document itself has labels."""
    row = batch.rows(slice(document.row, document.row + 1))
    own_BT = row.tensors["segments"] == document.number
    labels_BT = row.tensors["labels"].masked_fill(~own_BT, IGNORED)
    return Batch(tensors={**row.tensors, "labels": labels_BT}, tokens=row.tokens)


def ends_are_learned(documents: Sequence[Sequence[int]], tokenizer: ChatTokenizer) -> Verdict:
    """Of plain text: some document has the token that ends it, else the model never learns to come to an end."""
    if any(tokenizer.end_of_text_id in document for document in documents):
        return PASSED
    last = documents[0][-1]
    return False, (
        f"none of {len(documents)} documents has {tokenizer.end_of_text} at its end; the first ends with "
        f"{shown_token(last, tokenizer)}; encode the text again"
    )


def ends_are_labels(start: Start) -> Verdict:
    """Of plain text: where padding and end of text are one token, masking the padding would mask the ends (trl 3091)."""
    assert start.tokenizer is not None
    for document in documents_of(start.batch):
        ends_T = (document.ids[1:] == start.tokenizer.end_of_text_id) & (document.labels[:-1] == IGNORED)
        if ends_T.any():
            place = int(ends_T.int().argmax())
            return False, (
                f"{start.tokenizer.end_of_text} after {shown(document.ids[: place + 1].tolist(), start.tokenizer)} is "
                f"masked (row {document.row}, position {place}), the model would never stop; mask padding by its place, "
                "not by its token"
            )
    return PASSED
