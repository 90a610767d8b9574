"""The small form: what the platform adds to a step inside the worker, in CPU time, against three times the aim."""

from pathlib import Path

from tests.benchmarks.overhead import AIM, hook_cost
from tests.benchmarks.trainings import SMALL, encode_text
from tests.decoders import one_thread

__all__ = ["one_thread"]

SLIP = 3


def test_a_step_s_line_costs_little_even_for_a_tiny_decoder(tmp_path: Path) -> None:
    """Its steps take a tenth of the laptop's; CPU time does not mind a busy machine."""
    inputs = encode_text(tmp_path / "data", vocabulary=400)
    step, line = hook_cost(SMALL.job(tmp_path, inputs, steps=60, checkpoint_steps=60))
    print(f"a step {step * 1000:.2f} ms, its line {line * 1000:.3f} ms: {line / step:.2%}")
    assert line / step < SLIP * AIM
