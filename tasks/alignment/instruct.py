"""Instruction tuning: a pretrained decoder learns to answer, from dialogues whose answers alone are learned."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.catalogue import load_model, save_model
from models.tokenizers.chat import ChatTokenizer
from tasks.alignment.dialogues import Dialogue, DialogueBatches, fitting_dialogues
from tasks.alignment.instructions import read_items
from tasks.training.engine import Hook, TrainingConfig
from tasks.training.job import Job, of_record, run_training
from tasks.training.objectives import NextToken
from tasks.training.samples import SampleWriter

KIND = "instruct"
SAMPLED_ITEMS = 4


@dataclass(frozen=True, kw_only=True)
class InstructConfig:
    """`max_answer_tokens` bounds what is sampled when the model is asked."""

    training: TrainingConfig
    max_answer_tokens: int = 24


def run(job: Mapping[str, Any], hooks: Sequence[Hook]) -> dict[str, Any]:
    """The worker's function. Inputs: `base` (a pretrained model) and `instructions`."""
    record = of_record(Job, job)
    config = of_record(InstructConfig, record.config)
    model, tokenizer = load_model(record.input("base"))
    context = int(model.config.max_position_embeddings)
    items = read_items(record.input("instructions") / "train.jsonl")
    dialogues, dropped = fitting_dialogues(items, tokenizer, context)
    check_dialogues(dialogues, tokenizer)
    batches = DialogueBatches(
        dialogues, batch_sequences=config.training.batch_sequences, seed=record.seed, pad_id=tokenizer.pad_id
    )
    outcome = run_training(
        record,
        [*hooks, _writer(record, model, tokenizer, config)],
        module=model,
        objective=NextToken(),
        batches=batches,
        config=config.training,
        sequence_tokens=max(len(dialogue.ids) for dialogue in dialogues),
        save=lambda folder: save_model(folder, model, tokenizer),
    )
    return {**outcome, "dialogues": len(dialogues), "dropped": dropped}


def check_dialogues(dialogues: Sequence[Dialogue], tokenizer: ChatTokenizer) -> None:
    """The preflight: ValueError when an answer has nothing to learn, or its end is not learned."""
    check_template(tokenizer)
    for dialogue in dialogues:
        said = [token for token, learned in zip(dialogue.ids, dialogue.said, strict=True) if learned]
        shown = tokenizer.decode(dialogue.ids, skip_special_tokens=False)
        if len(said) < 2:
            raise ValueError(f"a dialogue has nothing to learn from: {shown!r}; give it an answer")
        if said[-1] != tokenizer.end_id:
            raise ValueError(
                f"the end token {tokenizer.end} stands outside of the loss mask, the answer ends with "
                f"{tokenizer.token(said[-1])!r}: the model would never stop; mend the chat template ({shown!r})"
            )


def check_template(tokenizer: ChatTokenizer) -> None:
    """ValueError when the template does not end an earlier answer as it is learned: with the end token."""
    answer, following = "\ue100", "\ue101"  # private-use characters: found again between what the template says
    said = (("user", ""), ("assistant", answer), ("user", following))
    ids = tokenizer.encode_prompt([{"role": role, "content": text} for role, text in said])
    after = _after(ids, tokenizer.encode_text(answer))
    between = after[: len(after) - len(_after(after, tokenizer.encode_text(following)))]
    if tokenizer.end_id not in between:
        raise ValueError(
            f"the chat template drops the end token {tokenizer.end}: after an answer it goes on with "
            f"{tokenizer.token(after[0])!r}, and the model would never stop; mend the chat template"
        )


def _after(ids: Sequence[int], wanted: Sequence[int]) -> Sequence[int]:
    """What stands behind the first `wanted` in `ids`."""
    for place in range(len(ids) - len(wanted) + 1):
        if list(ids[place : place + len(wanted)]) == list(wanted):
            return ids[place + len(wanted) :]
    raise ValueError("the chat template changes the texts of a dialogue; none can be built with it")


def _writer(record: Job, model: Any, tokenizer: ChatTokenizer, config: InstructConfig) -> SampleWriter:
    items = read_items(record.input("instructions") / "valid.jsonl")[:SAMPLED_ITEMS]
    prompts = {item.prompt: tokenizer.encode_prompt([{"role": "user", "content": item.prompt}]) for item in items}
    return SampleWriter(
        Path(record.folder), model, tokenizer, prompts, max_tokens=config.max_answer_tokens, seed=record.seed
    )
