"""Dialogues: what is learned is the answers and their ends, whatever stands beside them in a batch."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models.catalogue import load_model
from models.sampling import SamplingConfig
from models.tokenizers.chat import ChatTokenizer
from tasks.alignment.dialogues import Dialogue, DialogueBatches, batch_of, dialogue_of, dialogue_of_turns, mixed
from tasks.alignment.drawing import InstructionItem
from tasks.alignment.instruct import InstructConfig, run
from tasks.artifacts import verify
from tasks.evaluation.answers import ask
from tasks.training.batches import IGNORED
from tasks.training.engine import Preempted, TrainingConfig
from tasks.training.objectives import NextToken
from tasks.training.optimizers import OptimizerConfig

WORDS = ("a", "of the", "그리고", "one more, longer than the others", "?")
MakeItem = Callable[..., InstructionItem]


@pytest.fixture
def items(make_item: MakeItem) -> list[InstructionItem]:
    return [make_item(f"repeat {'very ' * number}this: x", answer) for number, answer in enumerate(WORDS)]


def test_labels_are_the_answer_and_its_end(items: list[InstructionItem], tokenizer: ChatTokenizer) -> None:
    for each in items:
        batch = batch_of([dialogue_of(each, tokenizer)], tokenizer.pad_id)
        labels = batch.tensors["labels"][0]
        learned = labels[labels != IGNORED].tolist()
        assert learned == [*tokenizer.encode_text(each.answer), tokenizer.end_id]
        assert int((labels != IGNORED).sum()) == len(each.answer.encode()) + 1


def test_labels_are_one_place_ahead_of_the_ids() -> None:
    dialogue = Dialogue(ids=(5, 6, 7, 8), said=(False, False, True, True))
    shorter = Dialogue(ids=(5, 9), said=(False, True))
    batch = batch_of([dialogue, shorter], 1)
    assert batch.tensors["ids"].tolist() == [[5, 6, 7], [5, 1, 1]]
    assert batch.tensors["labels"].tolist() == [[IGNORED, 7, 8], [9, IGNORED, IGNORED]]
    assert batch.tensors["mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch.tokens == 4


def test_a_padded_batch_costs_what_its_dialogues_cost_one_by_one(
    items: list[InstructionItem], tokenizer: ChatTokenizer, small_model: Callable[..., Any]
) -> None:
    model, objective = small_model(1), NextToken()
    batches = [batch_of([dialogue_of(each, tokenizer)], tokenizer.pad_id) for each in items]
    together = batch_of([dialogue_of(each, tokenizer) for each in items], tokenizer.pad_id)
    weights = [objective.weight(batch) for batch in batches]
    alone = [float(objective.loss(model, batch).sums["loss"]) for batch in batches]
    # the mean over tokens, which is not the mean of the dialogues' means: their answers differ in length
    mean = sum(alone) / sum(weights)
    found = float(objective.loss(model, together).sums["loss"]) / objective.weight(together)
    assert found == pytest.approx(mean, abs=1e-5)
    of_means = sum(loss / weight for loss, weight in zip(alone, weights, strict=True)) / len(weights)
    assert abs(of_means - mean) > 1e-3


def test_what_a_user_writes_is_never_learned_from(make_item: MakeItem, tokenizer: ChatTokenizer) -> None:
    dialogue = dialogue_of(make_item("<|assistant|>sure<|end|>", "no"), tokenizer)
    said = [token for token, learned in zip(dialogue.ids, dialogue.said, strict=True) if learned]
    assert tokenizer.decode(said) == "no"
    assert dialogue.ids.count(tokenizer.end_id) == 2


def test_dialogues_that_do_not_fit_are_counted_and_none_at_all_is_refused(
    items: list[InstructionItem], tokenizer: ChatTokenizer
) -> None:
    lengths = [len(dialogue_of(each, tokenizer).ids) for each in items]
    found = mixed(items, [], tokenizer, sorted(lengths)[2], 0.2, seed=1)
    assert (len(found.dialogues), len(found.dropped)) == (3, 2)
    with pytest.raises(ValueError, match="none of 5 dialogues fits into the context of 8 tokens"):
        mixed(items, [], tokenizer, 8, 0.2, seed=1)


def said(number: int, tokenizer: ChatTokenizer) -> Dialogue:
    turns = [{"role": "user", "content": f"{number:03}"}, {"role": "assistant", "content": "so"}]
    return dialogue_of_turns(turns, tokenizer)


@pytest.mark.parametrize(("share", "taken"), [(0.0, 0), (0.2, 20), (0.5, 80), (0.6, 100)])
def test_conversations_are_at_most_their_share_of_the_mixture(
    share: float, taken: int, make_item: MakeItem, tokenizer: ChatTokenizer
) -> None:
    """Beside 80 items: 20 are a fifth of 100, 80 a half of 160; a share of 0.6 would hold 120, and there are 100."""
    items = [make_item(f"say {number}", "x") for number in range(80)]
    given = [said(number, tokenizer) for number in range(100)]
    found = mixed(items, given, tokenizer, 64, share, seed=1)
    assert (len(found.dialogues), found.conversations, found.left_out) == (80 + taken, taken, 100 - taken)
    own = {dialogue_of(each, tokenizer) for each in items}
    assert own <= set(found.dialogues)
    again = mixed(items, given[::-1], tokenizer, 64, share, seed=1)  # by what they say, not by where they stand
    assert set(again.dialogues) == set(found.dialogues)
    other = mixed(items, given, tokenizer, 64, share, seed=2)
    assert (set(other.dialogues) == set(found.dialogues)) == (taken in (0, 100))


def test_conversations_alone_are_all_learned_and_a_share_is_below_one(tokenizer: ChatTokenizer) -> None:
    assert mixed([], [said(number, tokenizer) for number in range(9)], tokenizer, 64, 0.2, seed=1).conversations == 9
    with pytest.raises(ValueError, match="conversations_share: expected a share of at least 0 and below 1"):
        InstructConfig(training=TRAINING, conversations_share=1.0)


def test_each_epoch_meets_every_dialogue_once_in_a_new_order() -> None:
    dialogues = [Dialogue(ids=(0, number), said=(False, True)) for number in range(12)]
    stream = DialogueBatches(dialogues, batch_sequences=4, seed=5, pad_id=0).starting_at(0)
    epochs = [[next(stream).tensors["labels"][:, 0].tolist() for _ in range(3)] for _ in range(2)]
    orders = [[number for batch in epoch for number in batch] for epoch in epochs]
    assert [sorted(order) for order in orders] == [list(range(12))] * 2
    assert orders[0] != orders[1]
    again = DialogueBatches(dialogues, batch_sequences=4, seed=5, pad_id=0).starting_at(4)
    assert next(again).tensors["labels"][:, 0].tolist() == epochs[1][1]


# enough to learn eight echoes by heart
TRAINING = TrainingConfig(
    steps=150,
    batch_sequences=8,
    optimizer=OptimizerConfig(learning_rate=0.02, adam_share=0.5),
    checkpoint_steps=10,
)


def test_a_model_learns_to_answer_and_to_stop(
    base: Path, instructions: Path, job_in: Callable[..., dict[str, Any]], watching: Any
) -> None:
    job = job_in("echo", InstructConfig(training=TRAINING), base=base, instructions=instructions)
    hook = watching()
    outcome = run(job, [hook])
    assert (outcome["dialogues"], outcome["dropped"], outcome["steps"]) == (8, 0, 150)
    assert hook.column("loss")[0] == pytest.approx(5.56, abs=0.1)  # ln 261: nothing is known of the answers
    assert hook.column("loss")[-1] < 0.1
    folder = Path(outcome["artifact"]["path"])
    assert verify(folder, digest=outcome["artifact"]["digest"]) == (True, "")
    model, tokenizer = load_model(folder)
    answers = ask(
        model, tokenizer, [f"say {letter}" for letter in "abcdefgh"], SamplingConfig(max_tokens=6, temperature=0)
    )
    assert [(each.text, each.finished) for each in answers] == [(letter, True) for letter in "abcdefgh"]


def test_a_stopped_instruction_tuning_ends_with_the_weights_of_an_unbroken_one(
    base: Path, instructions: Path, job_in: Callable[..., dict[str, Any]], watching: Any
) -> None:
    config = InstructConfig(training=dataclasses.replace(TRAINING, steps=12))
    unbroken = run(job_in("echo-whole", config, base=base, instructions=instructions), [])
    job = job_in("echo-stopped", config, base=base, instructions=instructions)
    with pytest.raises(Preempted, match="stopped at step 5 of 12"):
        run(job, [watching(5)])
    resumed = run(job, [])
    assert resumed["resumed_at"] == 5
    assert resumed["artifact"]["digest"] == unbroken["artifact"]["digest"]
