"""Pretraining: a decoder from scratch (or from given weights) on a token set, by next-token prediction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from models.catalogue import load_model, save_model
from models.llama import LlamaShape, build_llama
from models.tokenizers.chat import ChatTokenizer
from tasks.tokenization.shards import TokenStream, open_split, read_index
from tasks.training.batches import TokenBatches
from tasks.training.engine import Hook, TrainingConfig, step_seed
from tasks.training.job import Job, of_record, run_training
from tasks.training.label_checks import ends_are_labels, ends_are_learned, next_token_checks
from tasks.training.objectives import NextToken
from tasks.training.preflight import Check
from tasks.training.samples import SampleWriter

KIND = "pretrained"
PROMPT_TOKENS, SAMPLED_DOCUMENTS = 12, 3
LOOKED_AT = 64  # documents whose end the preflight looks for


@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """`start_from` is a folder to go on from instead of fresh weights; its own size then replaces `architecture`."""

    architecture: LlamaShape = field(default_factory=LlamaShape)
    training: TrainingConfig
    start_from: str | None = None


def run(job: Mapping[str, Any], hooks: Sequence[Hook]) -> dict[str, Any]:
    """The worker's function. Inputs: `tokens`, `tokenizer`, and `base` where the training starts from a model."""
    record = of_record(Job, job)
    config = of_record(PretrainConfig, record.config)
    model, tokenizer = _model(record, config)
    context = int(model.config.max_position_embeddings)
    stream = open_split(record.input("tokens"), "train")
    batches = TokenBatches(stream, context=context, batch_sequences=config.training.batch_sequences, seed=record.seed)
    writer = SampleWriter(Path(record.folder), model, tokenizer, _prompts(record, tokenizer), seed=record.seed)
    return run_training(
        record,
        [*hooks, writer],
        module=model,
        objective=NextToken(),
        batches=batches,
        config=config.training,
        sequence_tokens=context,
        save=lambda folder: save_model(folder, model, tokenizer),
        checks=_checks(stream, tokenizer),
        tokenizer=tokenizer,
    )


def _checks(stream: TokenStream, tokenizer: ChatTokenizer) -> tuple[Check, ...]:
    def some_documents() -> list[list[int]]:
        count = len(stream.documents)
        chosen = range(0, count, max(1, count // LOOKED_AT))
        return [stream.document(number).tolist() for number in chosen]

    return (
        *next_token_checks(),
        Check(name="end-of-turn learned nowhere", find=lambda _: ends_are_learned(some_documents(), tokenizer)),
        Check(name="stop token outside the loss mask", find=ends_are_labels),
    )


def _model(record: Job, config: PretrainConfig) -> tuple[Any, ChatTokenizer]:
    base = load_model(record.input("base")) if "base" in record.inputs else None
    tokenizer = base[1] if base else ChatTokenizer.load(record.input("tokenizer"))
    index = read_index(record.input("tokens"))
    if index["vocabulary"] != tokenizer.vocabulary or index["end_id"] != tokenizer.end_of_text_id:
        raise ValueError(f"{record.input('tokens')}: was encoded with another tokenizer; run the data stages again")
    if base:
        return base
    torch.manual_seed(step_seed(record.seed, -1))
    model = build_llama(
        config.architecture,
        vocabulary=tokenizer.vocabulary,
        end_id=tokenizer.end_of_text_id,
        pad_id=tokenizer.pad_id,
    )
    return model, tokenizer


def _prompts(record: Job, tokenizer: ChatTokenizer) -> dict[str, list[int]]:
    """The first tokens of some held-out documents."""
    stream = open_split(record.input("tokens"), "valid")
    chosen = range(min(SAMPLED_DOCUMENTS, len(stream.documents)))
    heads = [stream.document(number)[:PROMPT_TOKENS].astype("int64").tolist() for number in chosen]
    return {tokenizer.decode(ids): ids for ids in heads if ids}
