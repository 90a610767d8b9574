"""Instruction tuning: a pretrained decoder learns to answer, from dialogues whose answers alone are learned."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from models.catalogue import load_model, save_model
from models.lora import LoraShape
from models.tokenizers.chat import ChatTokenizer
from tasks.alignment.dialogues import Dialogue, DialogueBatches, batch_of, mixed, sayable
from tasks.alignment.instructions import read_items
from tasks.alignment.packing import PackedDialogues
from tasks.alignment.preflight import dialogue_checks
from tasks.conversations.kept import Kept, read_kept
from tasks.training.batches import Batches
from tasks.training.engine import Hook, TrainingConfig, step_seed
from tasks.training.job import Job, of_record, run_training
from tasks.training.objectives import NextToken
from tasks.training.samples import SampleWriter

KIND = "instruct"
ADAPTER_FOLDER = "adapter"  # beside the merged model, not among its files: transformers would apply it once more
MERGED_DIALOGUES = 8  # that the merged model must read as the trained one does
SAMPLED_ITEMS = 4
TOKEN_RATE = 3.0  # with adapters: how much faster than Muon's matrices the embeddings of special tokens learn


@dataclass(frozen=True, kw_only=True)
class InstructConfig:
    """`max_answer_tokens` bounds what is sampled when the model is asked.

    `packed`: a sequence of a batch is a row of the context's length with as many dialogues as fit into it, else one.
    `conversations_share` bounds how many of all dialogues are conversations that a person gave: of more some are drawn.
    `lora`: adapters are trained, and the model's own weights stay as they are until both are merged.
    """

    training: TrainingConfig
    max_answer_tokens: int = 24
    packed: bool = False
    lora: LoraShape | None = None
    conversations_share: float = 0.2

    def __post_init__(self) -> None:
        if not 0 <= self.conversations_share < 1:
            raise ValueError(
                "instruct.conversations_share: expected a share of at least 0 and below 1, for example 0.2"
            )


def run(job: Mapping[str, Any], hooks: Sequence[Hook]) -> dict[str, Any]:
    """The worker's function. Inputs: `base` (a pretrained model), `instructions`, and `conversations` if there are any."""
    record = of_record(Job, job)
    config = of_record(InstructConfig, record.config)
    model, tokenizer = load_model(record.input("base"))
    context = int(model.config.max_position_embeddings)
    items = read_items(record.input("instructions") / "train.jsonl")
    writer = _writer(record, model, tokenizer, config)
    conversations, refused = sayable(_conversations(record), tokenizer)
    mixture = mixed(items, conversations, tokenizer, context, config.conversations_share, record.seed)
    dialogues = mixture.dialogues
    adapters = _adapters(model, config.lora, record.seed, _special_tokens(dialogues, tokenizer))

    def save(folder: Path) -> None:
        if adapters is not None:
            adapters.save(folder / ADAPTER_FOLDER)
            adapters.merge(batch_of(dialogues[:MERGED_DIALOGUES], tokenizer.pad_id).tensors["ids"])
        save_model(folder, model, tokenizer)

    outcome = run_training(
        record,
        [*hooks, writer],
        module=model,
        objective=NextToken(),
        batches=_batches(dialogues, config, context, record.seed, tokenizer.pad_id),
        config=_training(config),
        sequence_tokens=context if config.packed else max(len(dialogue.ids) for dialogue in dialogues),
        save=save,
        checks=dialogue_checks(dialogues, tokenizer),
        tokenizer=tokenizer,
    )
    return {**outcome, **mixture.counts, "refused_conversations": refused, "context": context}


def _training(config: InstructConfig) -> TrainingConfig:
    """Adapters have a learning rate of their own; the rows of the embedding, which are AdamW's, need a larger one."""
    if config.lora is None:
        return config.training
    optimizer = config.training.optimizer
    faster = replace(
        optimizer,
        learning_rate=optimizer.learning_rate * config.lora.learning_rate_factor,
        adam_share=optimizer.adam_share * TOKEN_RATE,
    )
    return replace(config.training, optimizer=faster)


def _special_tokens(dialogues: Sequence[Dialogue], tokenizer: ChatTokenizer) -> list[int]:
    """Those that stand in the dialogues: where turns begin and end."""
    return sorted({number for dialogue in dialogues for number in dialogue.ids} & tokenizer.special_ids)


def _adapters(model: Any, shape: LoraShape | None, seed: int, special_tokens: Sequence[int]) -> Any:
    """A machine that tunes whole models need not have peft."""
    if shape is None:
        return None
    from models.adapters import Adapters

    return Adapters(model, shape, seed=step_seed(seed, -1), token_ids=special_tokens if shape.special_tokens else ())


def _conversations(record: Job) -> list[Kept]:
    """Without those that ask what answers are judged on later: a held-out question is held out from these too."""
    if "conversations" not in record.inputs:
        return []
    folder = record.input("instructions")
    unseen = {item.prompt for name in ("valid", "held_out") for item in read_items(folder / f"{name}.jsonl")}
    found = read_kept(record.input("conversations"))
    return [each for each in found if not any(turn["content"] in unseen for turn in each.turns)]


def _batches(dialogues: Sequence[Dialogue], config: InstructConfig, context: int, seed: int, pad_id: int) -> Batches:
    size = config.training.batch_sequences
    if config.packed:
        return PackedDialogues(dialogues, context=context, batch_sequences=size, seed=seed, pad_id=pad_id)
    return DialogueBatches(dialogues, batch_sequences=size, seed=seed, pad_id=pad_id)


def _writer(record: Job, model: Any, tokenizer: ChatTokenizer, config: InstructConfig) -> SampleWriter:
    items = read_items(record.input("instructions") / "valid.jsonl")[:SAMPLED_ITEMS]
    prompts = {item.prompt: tokenizer.encode_prompt([{"role": "user", "content": item.prompt}]) for item in items}
    return SampleWriter(
        Path(record.folder), model, tokenizer, prompts, max_tokens=config.max_answer_tokens, seed=record.seed
    )
