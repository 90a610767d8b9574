"""Conversations that a person gave are learned beside the corpus's items: every answer in them, and nothing else."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models.catalogue import load_model
from models.sampling import SamplingConfig
from models.tokenizers import bpe
from models.tokenizers.chat import ChatTokenizer
from tasks.alignment.dialogues import batch_of, dialogue_of_turns, sayable
from tasks.alignment.instruct import InstructConfig, run
from tasks.conversations.kept import Kept
from tasks.evaluation.answers import ask
from tasks.training.batches import IGNORED
from tasks.training.engine import TrainingConfig
from tasks.training.optimizers import OptimizerConfig

TURNS = [
    {"role": "system", "content": "be brief"},
    {"role": "user", "content": "hi"},
    {"role": "assistant", "content": "yo"},
    {"role": "user", "content": "why"},
    {"role": "assistant", "content": "so"},
]


def test_labels_are_every_answer_and_its_end(tokenizer: ChatTokenizer) -> None:
    dialogue = dialogue_of_turns(TURNS, tokenizer)
    labels = batch_of([dialogue], tokenizer.pad_id).tensors["labels"][0]
    assert labels[labels != IGNORED].tolist() == [*tokenizer.encode_answer("yo"), *tokenizer.encode_answer("so")]
    assert dialogue.prompt == ""
    assert dialogue_of_turns(TURNS[1:], tokenizer).prompt == "hi"


@pytest.fixture
def given(tmp_path: Path) -> Callable[..., Path]:
    def write(*conversations: list[dict[str, str]]) -> Path:
        path = tmp_path / "given.jsonl"
        path.write_text("".join(json.dumps({"messages": each, "source": "x"}) + "\n" for each in conversations))
        return path

    return write


def test_a_model_answers_as_the_conversations_taught_it(
    base: Path, instructions: Path, given: Callable[..., Path], job_in: Callable[..., dict[str, Any]]
) -> None:
    training = TrainingConfig(steps=60, batch_sequences=8, optimizer=OptimizerConfig(learning_rate=0.01))
    said = [{"role": "user", "content": "name the dog"}, {"role": "assistant", "content": "rex"}]
    held_out = [{"role": "user", "content": "shout a"}, {"role": "assistant", "content": "no"}]
    conversations = given(said, TURNS, held_out)
    config = InstructConfig(training=training)
    job = job_in("given", config, base=base, instructions=instructions, conversations=conversations)
    outcome = run(job, [])
    assert (outcome["dialogues"], outcome["conversations"]) == (8 + 2, 2)  # what is asked later is not learned
    model, tokenizer = load_model(Path(outcome["artifact"]["path"]))
    (answer,) = ask(model, tokenizer, ["name the dog"], SamplingConfig(max_tokens=8, temperature=0.0), seed=1)
    assert answer.text == "rex"
    assert answer.finished


RAIN = {"type": "function", "function": {"name": "rain", "parameters": {}}}
CALLING = [
    {"role": "user", "content": "rain?"},
    {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "rain", "arguments": {}}}]},
    {"role": "tool", "content": "dry"},
    {"role": "assistant", "content": "no"},
]


def test_calls_are_learned_where_the_template_has_a_place_for_them_and_counted_where_not(
    tokenizer: ChatTokenizer,
) -> None:
    given = [Kept(turns=CALLING, tools=[RAIN], source="a.jsonl, line 3"), Kept(turns=TURNS)]
    chatml = ChatTokenizer.ours(bpe.fit([], vocabulary=260))
    (called, plain), refused = sayable(given, chatml)
    assert refused == {}
    assert (called.source, called.prompt, plain.source) == ("a.jsonl, line 3", "", "")
    learned = [token for token, said in zip(called.ids, called.said, strict=True) if said]
    assert chatml.decode(learned) == '<tool_call>\n{"name": "rain", "arguments": {}}\n</tool_call>no'
    assert learned.count(chatml.end_id) == 2
    (only,), refused = sayable(given, tokenizer)
    assert only == dialogue_of_turns(TURNS, tokenizer)
    assert refused == {"the chat template has no place for tools, it leaves out rain; use one that has": 1}
