"""What must hold before answers are trained or judged: they end, they teach something, and a model is asked as it was taught.

What is compared is ids: what training reads before an answer must be what inference will put there.
"""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from models.tokenizers.chat import ChatTokenizer
from tasks.alignment.dialogues import Dialogue, labels_of
from tasks.alignment.preferences import Pair
from tasks.training.batches import IGNORED, Batch
from tasks.training.label_checks import documents_of, next_token_checks
from tasks.training.preflight import PASSED, Check, Start, Verdict, shown, shown_token

NOTHING_LEARNED = "nothing to learn from"
NO_END = "end-of-turn learned nowhere"
END_OUTSIDE = "stop token outside the loss mask"
OTHER_TEMPLATE = "template of training is not the template of inference"
OTHER_CHANCES = "sampler and trainer disagree about log-probabilities"
COMPARED = 64  # prompts that are encoded once more
SAME_POLICY = 1e-5  # nats per token: before the first step nothing but rounding may lie between the two readings
SAME_SAMPLER = 1e-2  # nats per token: the sampler reads with a cache, and pads on the other side

Prompt = tuple[str, Sequence[int]]  # what a user says, and what training reads for it


def dialogue_checks(dialogues: Sequence[Dialogue], tokenizer: ChatTokenizer) -> tuple[Check, ...]:
    """Of instruction tuning: every dialogue is looked at, and the first batch as it was made of some."""
    asked = [each for each in dialogues[:COMPARED] if each.prompt and any(each.said)]
    prompts = [(each.prompt, each.ids[: each.said.index(True)]) for each in asked]
    return (
        Check(name=NOTHING_LEARNED, find=lambda _: answers_say_something(dialogues, tokenizer)),
        *next_token_checks(),
        Check(name=NO_END, find=lambda start: ends_somewhere(start.batch, tokenizer)),
        Check(name=END_OUTSIDE, find=lambda start: every_answer_ends(dialogues, start.batch, tokenizer)),
        Check(name=OTHER_TEMPLATE, find=lambda _: template_keeps_ends(tokenizer)),
        Check(name=OTHER_TEMPLATE, find=lambda _: asked_as_taught(prompts, tokenizer, as_saved(tokenizer))),
    )


def pair_checks(
    pairs: Sequence[Pair],
    ids: Sequence[tuple[Sequence[int], Sequence[int]]],
    prompts: Sequence[Prompt],
    tokenizer: ChatTokenizer,
) -> tuple[Check, ...]:
    """Of reward modelling: `ids` are the two dialogues of each pair as the reward model reads them, the chosen one first."""
    return (
        Check(name=NOTHING_LEARNED, find=lambda _: answers_differ(ids, tokenizer)),
        Check(name=END_OUTSIDE, find=lambda _: finished_answers_end(pairs, ids, tokenizer)),
        Check(name=OTHER_TEMPLATE, find=lambda _: asked_as_taught(prompts, tokenizer, as_saved(tokenizer))),
    )


def rollout_checks(
    prompts: Sequence[Prompt], tokenizer: ChatTokenizer, reward_tokenizer: ChatTokenizer
) -> tuple[Check, ...]:
    """Of PPO; the reward model must have been taught with the dialogues that it will judge."""
    return (
        Check(name=OTHER_TEMPLATE, find=lambda _: asked_as_taught(prompts, tokenizer, as_saved(tokenizer))),
        Check(name=OTHER_TEMPLATE, find=lambda _: asked_as_taught(prompts, tokenizer, reward_tokenizer)),
        Check(name=END_OUTSIDE, find=last_tokens_are_actions),
        Check(name=OTHER_CHANCES, find=sampled_as_trained),
    )


def answers_say_something(dialogues: Sequence[Dialogue], tokenizer: ChatTokenizer) -> Verdict:
    for dialogue in dialogues:
        if not any(said and token != tokenizer.end_id for token, said in zip(dialogue.ids, dialogue.said, strict=True)):
            return False, f"{shown(dialogue.ids, tokenizer)} has an empty answer; give it one, or leave it out"
    return PASSED


def ends_somewhere(batch: Batch, tokenizer: ChatTokenizer) -> Verdict:
    answers = list(_labelled(batch))
    if any(tokenizer.end_id in labels for _, labels in answers):
        return PASSED
    ids, last = next((ids, label) for ids, labels in answers for label in reversed(labels) if label != IGNORED)
    return False, (
        f"none of the {len(answers)} answers of the first batch has {tokenizer.end} among its labels, the first one ends "
        f"with {shown_token(last, tokenizer)} ({shown(ids, tokenizer)}): the model would never stop"
    )


def every_answer_ends(dialogues: Sequence[Dialogue], batch: Batch, tokenizer: ChatTokenizer) -> Verdict:
    """Each stretch of labels is an answer, and its last one must be the end token; in a packed row some may have none."""
    for ids, labels in (*_labelled(batch), *((each.ids, labels_of(each)) for each in dialogues)):
        if all(label == IGNORED for label in labels):
            return False, f"nothing of {shown(ids, tokenizer)} is learned, not even {tokenizer.end}; mend the labels"
        for label, following in zip(labels, [*labels[1:], IGNORED], strict=True):
            if label not in (IGNORED, tokenizer.end_id) and following == IGNORED:
                return False, (
                    f"what is learned of an answer ends with {shown_token(label, tokenizer)} and not with {tokenizer.end} "
                    f"({shown(ids, tokenizer)}): the model would never stop; mend the template or the labels"
                )
    return PASSED


def _labelled(batch: Batch) -> Iterator[tuple[Sequence[int], list[int]]]:
    for document in documents_of(batch):
        yield document.ids.tolist(), document.labels.tolist()


def template_keeps_ends(tokenizer: ChatTokenizer) -> Verdict:
    """In a longer dialogue an answer of before must end as answers are learned: with the end token."""
    answer, following = "\ue100", "\ue101"  # private-use characters: found again between what the template says
    said = (("user", ""), ("assistant", answer), ("user", following))
    ids = tokenizer.encode_prompt([{"role": role, "content": text} for role, text in said])
    after = _after(ids, tokenizer.encode_text(answer))
    rest = _after(after, tokenizer.encode_text(following))
    if not after or not rest:
        return False, "the chat template changes the texts of a dialogue; none can be built with it"
    if tokenizer.end_id not in after[: len(after) - len(rest)]:
        return False, (
            f"the chat template drops {tokenizer.end}: after an answer it goes on with "
            f"{shown_token(after[0], tokenizer)}, and the model would never stop; mend the chat template"
        )
    return PASSED


def _after(ids: Sequence[int], wanted: Sequence[int]) -> Sequence[int]:
    """What stands behind the first `wanted` in `ids`; nothing where it is not in there."""
    for place in range(len(ids) - len(wanted) + 1):
        if list(ids[place : place + len(wanted)]) == list(wanted):
            return ids[place + len(wanted) :]
    return []


def as_saved(tokenizer: ChatTokenizer) -> ChatTokenizer:
    """The tokenizer that will be loaded with the trained model: whoever asks the model asks with this one."""
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save(Path(folder))
        return ChatTokenizer.load(Path(folder))


def asked_as_taught(prompts: Sequence[Prompt], taught: ChatTokenizer, asking: ChatTokenizer) -> Verdict:
    """The same prompt and the same answer must be the same ids, for the one that trains and the one that asks."""
    for text, expected in prompts[:COMPARED]:
        found = asking.encode_prompt([{"role": "user", "content": text}])
        for before, after in ((list(expected), found), (taught.encode_answer(text), asking.encode_answer(text))):
            if before != after:
                return False, _parted(before, after, taught, asking)
    return PASSED


def _parted(before: Sequence[int], after: Sequence[int], taught: ChatTokenizer, asking: ChatTokenizer) -> str:
    place = next((n for n, (one, other) in enumerate(zip(before, after, strict=False)) if one != other), -1)
    place = min(len(before), len(after)) if place < 0 else place
    longer = shown(before, taught) if len(before) >= len(after) else shown(after, asking)
    one = shown_token(before[place], taught) if place < len(before) else "not read before the answer"
    other = shown_token(after[place], asking) if place < len(after) else "not there"
    return (
        f"token {place} of {longer} is {one} in training and {other} where the model is asked or judged; keep one "
        "template and one tokenizer with all models of a line, and the loss mask on answers alone"
    )


def answers_differ(ids: Sequence[tuple[Sequence[int], Sequence[int]]], tokenizer: ChatTokenizer) -> Verdict:
    for chosen, rejected in ids:
        if chosen == rejected:
            return False, f"both answers of a pair are {shown(chosen, tokenizer)}; leave the pair out"
    return PASSED


def finished_answers_end(
    pairs: Sequence[Pair], ids: Sequence[tuple[Sequence[int], Sequence[int]]], tokenizer: ChatTokenizer
) -> Verdict:
    for pair, read in zip(pairs, ids, strict=True):
        for finished, row in zip((pair.chosen_finished, pair.rejected_finished), read, strict=True):
            if finished != (row[-1] == tokenizer.end_id):
                said = "ended by itself" if finished else "was cut off"
                return False, (
                    f"an answer that {said} is read with {shown_token(row[-1], tokenizer)} as its last token "
                    f"({shown(row, tokenizer)}): answers that end and answers that do not would be judged alike"
                )
    return PASSED


def last_tokens_are_actions(start: Start) -> Verdict:
    """Else the policy would be paid for whatever comes before its end token, and never for ending."""
    ids, mask, actions = (start.batch.tensors[name] for name in ("ids", "mask", "actions"))
    for row, length in enumerate(mask.sum(1).tolist()):
        if not actions[row, length - 2]:
            read = ids[row, :length].tolist()
            return False, (
                f"{shown_token(read[-1], start.tokenizer)}, the last token of row {row}, is not among the actions "
                f"({shown(read, start.tokenizer)})"
            )
    return PASSED


@torch.no_grad()
def sampled_as_trained(start: Start) -> Verdict:
    """At the first minibatch the ratio is 1; else every importance ratio of the training is biased (trl issue 4159)."""
    tensors, weight = start.batch.tensors, start.objective.weight(start.batch)
    start.module.train()  # as it will be: a dropout that is left on shows itself here
    kl = float(start.objective.loss(start.module, start.batch).sums["approximate_kl"]) / weight
    start.module.eval()
    if not abs(kl) <= SAME_POLICY:
        return False, f"before the first step the policy is {kl:.6f} nats per token away from itself; it must be 0"
    gap = (tensors["old_log_probabilities"] - tensors["sampled_log_probabilities"]).abs() * tensors["actions"]
    if not float(gap.sum()) / weight <= SAME_SAMPLER:
        row, place = divmod(int(gap.argmax()), gap.shape[1])
        sampled, trained = (float(tensors[f"{name}_log_probabilities"][row, place]) for name in ("sampled", "old"))
        return False, (
            f"{shown_token(int(tensors['ids'][row, place + 1]), start.tokenizer)} (row {row}, position {place}) was "
            f"sampled at log-probability {sampled:.4f} and is trained at {trained:.4f}; give both one temperature"
        )
    return PASSED
