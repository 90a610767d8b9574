"""A byte tokenizer, small decoders, and the jobs and folders that alignment's trainings are handed."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from models.catalogue import save_model
from models.llama import LlamaShape
from models.tokenizers.chat import ChatTokenizer
from tasks.alignment import instruct
from tasks.alignment.drawing import InstructionItem
from tasks.training.engine import TrainingConfig, TrainState
from tasks.training.job import Job
from tasks.training.optimizers import OptimizerConfig
from tests.decoders import one_thread, small_decoder, tokenizer

__all__ = ["one_thread", "tokenizer"]

SHAPE = LlamaShape(layers=2, width=32, heads=2, kv_heads=2, feed_forward=64, context=64)


@pytest.fixture(scope="session")
def small_model(tokenizer: ChatTokenizer) -> Callable[..., Any]:
    """small_model(seed) -> a decoder of 35k parameters."""
    return partial(small_decoder, tokenizer, shape=SHAPE)


@pytest.fixture(scope="session")
def base(tokenizer: ChatTokenizer, small_model: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model that knows nothing."""
    folder = tmp_path_factory.mktemp("base")
    save_model(folder, small_model(7, spread=1.0), tokenizer)
    return folder


def item(prompt: str, answer: str, task: str = "echo") -> InstructionItem:
    return InstructionItem(
        id=f"{task}/{prompt}/{answer}", task=task, family=task, template=f"{task}/0",
        input=prompt.split()[-1], prompt=prompt, answer=answer,
    )  # fmt: skip


@pytest.fixture(scope="session")
def make_item() -> Callable[..., InstructionItem]:
    return item


def write_lines(path: Path, rows: Sequence[Any]) -> None:
    text = "".join(json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


@pytest.fixture(scope="session")
def write_rows() -> Callable[[Path, Sequence[Any]], None]:
    """write_rows(path, rows) writes items or pairs as JSON lines."""
    return write_lines


@pytest.fixture(scope="session")
def instructions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Echo one of eight letters; the valid questions are worded as the trained ones."""
    folder = tmp_path_factory.mktemp("instructions")
    write_lines(folder / "train.jsonl", [item(f"say {letter}", letter) for letter in "abcdefgh"])
    write_lines(folder / "valid.jsonl", [item(f"say {letter}", letter) for letter in "aceg"])
    write_lines(folder / "held_out.jsonl", [item(f"shout {letter}", letter.upper(), task="shout") for letter in "ab"])
    return folder


def job_record(
    folder: Path, name: str, config: Any, *, kind: str = "test", seed: int = 3, **inputs: Path
) -> dict[str, Any]:
    job = Job(
        folder=str(folder / name),
        out=str(folder / f"{name}-out"),
        kind=kind,
        identity=name.split("-")[0],
        seed=seed,
        config=asdict(config),
        runtime={"precision": "fp32", "threads": 1},
        inputs={key: str(path) for key, path in inputs.items()},
        parents={key: key * 8 for key in inputs},
        recipe={},
    )
    return dict(json.loads(json.dumps(asdict(job))))


@pytest.fixture
def job_in(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """job_in("name", config, base=..., instructions=...) -> the JSON that a worker is handed."""
    return partial(job_record, tmp_path)


@pytest.fixture(scope="session")
def make_job() -> Callable[..., dict[str, Any]]:
    """`job_in` for fixtures that live longer than a test: make_job(folder, "name", config, base=...)."""
    return job_record


@pytest.fixture(scope="session")
def half_taught(base: Path, instructions: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model that says the right letter sometimes, and ends sometimes."""
    torch.set_num_threads(1)
    training = TrainingConfig(
        steps=35, batch_sequences=8, optimizer=OptimizerConfig(learning_rate=0.02, adam_share=0.5)
    )
    folder = tmp_path_factory.mktemp("half-taught")
    config = instruct.InstructConfig(training=training)
    outcome = instruct.run(job_record(folder, "echo", config, base=base, instructions=instructions), [])
    return Path(outcome["artifact"]["path"])


class StopAt:
    """A hook that asks the training to stop from a step on, and keeps every metric it saw."""

    def __init__(self, step: int | None = None) -> None:
        self._step = step
        self.seen: list[dict[str, float]] = []

    def __call__(self, state: TrainState, metrics: Mapping[str, float]) -> None:
        self.seen.append({"step": state.step, **metrics})

    def stop_requested(self) -> bool:
        return self._step is not None and self.seen[-1]["step"] >= self._step

    def column(self, name: str) -> list[float]:
        return [row[name] for row in self.seen if name in row]


@pytest.fixture(scope="session")
def watching() -> type[StopAt]:
    return StopAt
