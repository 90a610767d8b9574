"""Two processes over gloo train what one trains. Gradient norms are compared: Adam and Muon would hide a wrong scale."""

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from tiny_training import Notes, StopAt, UnequalBatches, read_notes, start_apart, tiny_model, train_tiny

from tasks.training.batches import IGNORED, Batch
from tasks.training.distributed import Ranks
from tasks.training.engine import Preempted
from tasks.training.gradients import accumulate_gradients
from tasks.training.machine import Decided
from tasks.training.objectives import Loss, NextToken
from tasks.training.optimizers import Optimizer, OptimizerConfig


def as_rank(rank: int, world: int, folder: Path, work: Callable[[int, Path], None]) -> None:
    """`work` as one of several ranks; what it raises is written down."""
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=world, timeout=timedelta(seconds=60)
    )
    try:
        work(rank, folder)
    except (ValueError, Preempted) as error:
        (folder / f"raised-{rank}").write_text(f"{type(error).__name__}: {error}", encoding="utf-8")
    dist.destroy_process_group()


def with_ranks(world: int, folder: Path, work: Callable[[int, Path], None]) -> None:
    folder.mkdir(exist_ok=True)
    processes = [start_apart(as_rank, rank, world, folder, work) for rank in range(world)]
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * world
    (folder / "meeting").unlink(missing_ok=True)


def raised(folder: Path, rank: int) -> str:
    path = folder / f"raised-{rank}"
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def batches_by_name() -> dict[str, Batch]:
    """Five rows (two and three), one row (none and one), and rows of which the second process can learn nothing."""
    masked = UnequalBatches(4).batch(2)
    masked.tensors["labels"][2:] = IGNORED
    return {"uneven": UnequalBatches(5).batch(0), "single": UnequalBatches(1).batch(1), "masked": masked}


class RowsCounted(NextToken):
    def __init__(self) -> None:
        self.rows = 0

    def loss(self, module: Any, batch: Batch) -> Loss:
        self.rows += len(batch)
        return super().loss(module, batch)


def accumulate(name: str, ranks: Ranks) -> tuple[dict[str, float], dict[str, torch.Tensor]]:
    module = tiny_model()
    optimizer = Optimizer(module, OptimizerConfig(learning_rate=0.1))
    decided = Decided(precision="fp32", threads=1, micro_batch=2, reason="")
    objective = RowsCounted()
    metrics = accumulate_gradients(module, objective, batches_by_name()[name], decided, optimizer, ranks)
    metrics["rows"] = float(objective.rows)
    return metrics, {key: tensor.grad for key, tensor in module.named_parameters() if tensor.grad is not None}


def gradients_of_rank(rank: int, folder: Path) -> None:
    ranks = Ranks.current()
    ranks.self_test()
    for name in batches_by_name():
        metrics, gradients = accumulate(name, ranks)
        figures = {key: torch.tensor(metrics[key]) for key in ("loss", "rows")}
        save_file({**gradients, **figures}, folder / f"{name}-{rank}.safetensors")


@pytest.mark.parametrize("world", [2, 3])
def test_gradients_of_several_processes_are_those_of_one(tmp_path: Path, world: int) -> None:
    """Relative 1e-5 in fp32; an average instead of a sum would be off by half, whoever has how many rows."""
    with_ranks(world, tmp_path, gradients_of_rank)
    for name in batches_by_name():
        metrics, expected = accumulate(name, Ranks())
        rows = 0.0
        for rank in range(world):
            found = load_file(tmp_path / f"{name}-{rank}.safetensors")
            rows += float(found.pop("rows"))
            assert float(found.pop("loss")) == pytest.approx(metrics["loss"], rel=1e-5)
            assert set(found) == set(expected)
            for key, gradient in expected.items():
                torch.testing.assert_close(found[key], gradient, rtol=1e-4, atol=1e-6, msg=f"{name} {key}")
        assert rows == metrics["rows"]  # nobody's work was done twice


def train_six_steps(rank: int, folder: Path) -> None:
    module = tiny_model()
    notes = Notes(folder / f"notes-{rank}")
    train_tiny(folder / "checkpoints", steps=6, batch_sequences=5, module=module, hooks=[notes], max_gradient_norm=1e9)
    save_file(dict(module.named_parameters()), folder / f"weights-{rank}.safetensors")


def test_a_training_of_two_processes_is_that_of_one(tmp_path: Path) -> None:
    """Losses and gradient norms of every step, and weights that are bit for bit the same on both."""
    with_ranks(2, tmp_path / "two", train_six_steps)
    (tmp_path / "one").mkdir()
    train_six_steps(0, tmp_path / "one")
    alone = read_notes(tmp_path / "one" / "notes-0")
    for rank in (0, 1):
        for found, expected in zip(read_notes(tmp_path / "two" / f"notes-{rank}"), alone, strict=True):
            assert found["step"] == expected["step"]
            assert found["loss"] == pytest.approx(expected["loss"], rel=1e-4)
            assert found["gradient_norm"] == pytest.approx(expected["gradient_norm"], rel=1e-3)
    first, second = ((tmp_path / "two" / f"weights-{rank}.safetensors").read_bytes() for rank in (0, 1))
    assert first == second
    weights = load_file(tmp_path / "one" / "weights-0.safetensors")
    for name, tensor in load_file(tmp_path / "two" / "weights-0.safetensors").items():
        assert float((tensor - weights[name]).norm() / weights[name].norm()) < 1e-3, name


def stop_in_the_middle(rank: int, folder: Path) -> None:
    """Only the second process is asked to stop."""
    train_tiny(folder / "checkpoints", steps=6, batch_sequences=5, hooks=[StopAt(3)] if rank == 1 else [])


def test_asked_to_stop_on_one_all_stop_and_one_process_may_go_on(tmp_path: Path) -> None:
    with_ranks(2, tmp_path, stop_in_the_middle)
    assert raised(tmp_path, 0) == raised(tmp_path, 1) == "Preempted: stopped at step 3 of 6, with a checkpoint"
    outcome = train_tiny(tmp_path / "checkpoints", steps=6, batch_sequences=5)
    assert outcome.resumed_at == 3
    assert outcome.note == "continued, not byte-equal to an unbroken run: workers 2 -> 1"


def resume_over_damage(_rank: int, folder: Path) -> None:
    outcome = train_tiny(folder / "checkpoints", steps=6, batch_sequences=5)
    (folder / f"resumed-{_rank}").write_text(str(outcome.resumed_at), encoding="utf-8")


def test_all_processes_resume_from_the_same_checkpoint(tmp_path: Path) -> None:
    """The newest is damaged: the first process sets it aside, and the others look after it."""
    train_tiny(tmp_path / "checkpoints", steps=5, batch_sequences=5, checkpoint_steps=2)
    os.truncate(tmp_path / "checkpoints" / "step-00000005" / "model.safetensors", 100)
    with_ranks(2, tmp_path, resume_over_damage)
    assert [(tmp_path / f"resumed-{rank}").read_text(encoding="utf-8") for rank in (0, 1)] == ["4", "4"]


class PoisonedOnSecond(NextToken):
    """In step 3, on the second process alone, the loss is no number."""

    def __init__(self, rank: int) -> None:
        self._rank, self._calls = rank, 0

    def loss(self, module: Any, batch: Batch) -> Loss:
        self._calls += 1
        found = super().loss(module, batch)
        factor = float("nan") if self._rank == 1 and self._calls == 3 else 1.0
        return Loss(total=found.total * factor, sums={"loss": found.sums["loss"] * factor})


def poison(rank: int, folder: Path) -> None:
    module, notes = tiny_model(), Notes(folder / f"notes-{rank}")
    objective = PoisonedOnSecond(rank)
    outcome = train_tiny(folder / "run", steps=6, micro_batch=8, module=module, objective=objective, hooks=[notes])
    (folder / f"events-{rank}").write_text("\n".join(outcome.events), encoding="utf-8")
    save_file(dict(module.named_parameters()), folder / f"weights-{rank}.safetensors")


def test_an_update_that_is_bad_on_one_is_left_out_by_all(tmp_path: Path) -> None:
    """Both say so of the same step, and their weights stay one another's bytes."""
    with_ranks(2, tmp_path, poison)
    for rank in (0, 1):
        assert (
            (tmp_path / f"events-{rank}").read_text(encoding="utf-8").startswith("step 3: the loss is nan; its update")
        )
        notes = read_notes(tmp_path / f"notes-{rank}")
        assert [note["step"] for note in notes if "skipped" in note] == [3]
    first, second = ((tmp_path / f"weights-{rank}.safetensors").read_bytes() for rank in (0, 1))
    assert first == second


class TooLargeOnSecond(NextToken):
    """On the second process more than one row does not fit."""

    def __init__(self, rank: int) -> None:
        self._rank = rank

    def loss(self, module: Any, batch: Batch) -> Loss:
        if self._rank == 1 and len(batch) > 1:
            raise torch.OutOfMemoryError("out of memory")
        return super().loss(module, batch)


def run_short_of_memory(rank: int, folder: Path) -> None:
    outcome = train_tiny(folder / "run", steps=3, micro_batch=2, objective=TooLargeOnSecond(rank))
    (folder / f"events-{rank}").write_text("\n".join(outcome.events), encoding="utf-8")


def test_short_of_memory_on_one_all_take_smaller_pieces(tmp_path: Path) -> None:
    with_ranks(2, tmp_path, run_short_of_memory)
    for rank in (0, 1):
        said = (tmp_path / f"events-{rank}").read_text(encoding="utf-8")
        assert said.startswith(
            "step 1: micro-batches of 2 sequences do not fit into the memory; they are half as large"
        )


def speak(rank: int, folder: Path) -> None:
    ranks = Ranks.current()
    said = [
        ranks.sum(float(rank + 1)),
        sorted(ranks.sums({"both": 1.0, f"only-{rank}": 2.0}).items()),
        ranks.sums({}),
        ranks.any(rank == 1),
        ranks.any(False),
        ranks.of_first(f"of {rank}"),
        ranks.first,
    ]
    (folder / f"said-{rank}").write_text(repr(said), encoding="utf-8")


def test_what_ranks_tell_each_other(tmp_path: Path) -> None:
    with_ranks(2, tmp_path, speak)
    common = "[3.0, [('both', 2.0), ('only-0', 2.0), ('only-1', 2.0)], {}, True, False, 'of 0', "
    assert (tmp_path / "said-0").read_text(encoding="utf-8") == f"{common}True]"
    assert (tmp_path / "said-1").read_text(encoding="utf-8") == f"{common}False]"


def test_one_process_asks_nobody() -> None:
    ranks = Ranks.current()
    assert ranks == Ranks(rank=0, world=1)
    assert (ranks.sum(2.5), ranks.sums({"a": 1.0}), ranks.any(True), ranks.of_first(3)) == (2.5, {"a": 1.0}, True, 3)
    ranks.self_test()


@pytest.mark.parametrize("world", range(1, 6))
@pytest.mark.parametrize("count", [0, 1, 2, 5, 8, 13])
def test_shares_of_a_batch_are_all_of_it_once(world: int, count: int) -> None:
    rows = [list(range(count))[Ranks(rank=rank, world=world).rows(count)] for rank in range(world)]
    assert [row for share in rows for row in share] == list(range(count))
    assert max(map(len, rows)) - min(map(len, rows)) <= 1


def test_a_backend_that_cannot_add_is_refused() -> None:
    """As some releases of gloo averaged or summed what they should not."""

    class Averaging(Ranks):
        def sum(self, value: float) -> float:
            return value / self.world

    with pytest.raises(ValueError, match=r"all_reduce over 2 workers gives 0\.5, not 3\.0: a broken backend"):
        Averaging(rank=0, world=2).self_test()
