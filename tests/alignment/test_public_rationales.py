"""Published chains of thought (FLAN flan_cot, GSM8K) are read, trained on, and those that were held out get likelier."""

from pathlib import Path
from typing import Any

import pytest
import torch

from models.catalogue import load_model, save_model
from models.llama import LlamaShape
from models.tokenizers import bpe
from models.tokenizers.chat import ChatTokenizer
from tasks.alignment.dialogues import batch_of, dialogue_of_turns, fitting_dialogues
from tasks.alignment.tuning import Tuning, tune
from tasks.conversations.kept import Turns
from tasks.conversations.read import read
from tasks.evaluation.extraction import extract
from tasks.training.machine import Runtime
from tasks.training.objectives import NextToken
from tests.decoders import small_decoder

SHAPE = LlamaShape(layers=2, width=64, heads=2, kv_heads=2, feed_forward=128, context=160)
TRAINED, HELD_OUT, STEPS = 256, 64, 40


def turns_of(path: Path) -> list[Turns]:
    (reading,), passed_over = read(path)
    assert not passed_over
    assert not reading.dropped
    return [
        [{"role": message.role, "content": message.content} for message in conversation.messages]
        for conversation in reading.conversations
    ]


@torch.no_grad()
def answer_nats(model: Any, tokenizer: ChatTokenizer, conversations: list[Turns]) -> float:
    """The mean loss of the tokens of the answers."""
    dialogues = fitting_dialogues([dialogue_of_turns(turns, tokenizer) for turns in conversations], SHAPE.context)
    batch = batch_of(dialogues, tokenizer.pad_id)
    objective = NextToken()
    return float(objective.loss(model.eval(), batch).total) / objective.weight(batch)


@pytest.mark.parametrize(
    ("file", "rows", "answer_type"),
    [("flan_cot/strategyqa_train.tsv.gz", 2061, "yes_no"), ("gsm8k/train.jsonl", 7473, "number")],
)
def test_held_out_rationales_get_likelier(
    file: str, rows: int, answer_type: str, test_data: Path, tmp_path: Path
) -> None:
    conversations = turns_of(test_data / file)
    assert len(conversations) == rows
    answers = [turns[-1]["content"] for turns in conversations]
    assert all(extract(answer, answer_type).answer for answer in answers)  # what is learned can be scored
    train, held_out = conversations[:TRAINED], conversations[-HELD_OUT:]
    texts = [turn["content"] for turns in train for turn in turns]
    tokenizer = ChatTokenizer.ours(bpe.fit(texts, vocabulary=600))
    before = small_decoder(tokenizer, spread=1.0, shape=SHAPE)
    save_model(tmp_path / "base", before, tokenizer)
    tuning = Tuning(
        steps=STEPS, batch_sequences=8, learning_rate=0.02, runtime=Runtime(threads=1, precision="fp32")
    )  # fmt: skip
    tuned = tune(tmp_path / "base", [], tuning, tmp_path / "tuned", seed=1, conversations=train)
    after, _ = load_model(tuned.path)
    untaught, taught = (answer_nats(model, tokenizer, held_out) for model in (before, after))
    assert untaught == pytest.approx(torch.log(torch.tensor(float(tokenizer.vocabulary))).item(), abs=0.2)
    assert taught < untaught - 1.0
