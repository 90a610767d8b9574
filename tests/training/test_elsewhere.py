"""Every stage once more on a device that is not the CPU, which tests/elsewhere.py makes: in a process of its own.

There a tensor that was made on the CPU and forgotten there meets the weights, and the stage breaks as it would on a GPU.
"""

import os
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
STAGES = (
    "training/test_pretraining.py::test_it_says_something_four_times_on_its_way",
    "training/test_preflight.py::test_a_right_pretraining_passes_every_check",
    "alignment/test_packing.py::test_a_packed_instruction_tuning_learns_from_all_and_resumes_in_the_same_bytes",
    "alignment/test_lora.py::test_peft_puts_the_adapter_back_on_the_base_and_transformers_loads_it_merged_once",
    "alignment/test_reward.py::test_a_stopped_reward_model_ends_with_the_weights_of_an_unbroken_one",
    "alignment/test_ppo.py::test_a_stopped_ppo_ends_with_the_weights_of_an_unbroken_one",
    "alignment/test_alignment_measures.py::test_the_difference_is_the_policys_and_its_sign_is_right",
    "evaluation/test_evaluation_measures.py::test_bits_of_a_network_stand_beside_those_of_counting",
    "serving/test_chat.py::test_streaming_says_what_the_model_would_say_at_once",
    "emergence/test_measures.py::test_what_a_model_knows_by_heart_is_right_by_every_measure_and_other_answers_are_not",
    "generations/test_methods.py::test_each_learns_in_a_few_steps_and_leaves_its_row[word2vec]",
    "generations/test_methods.py::test_each_learns_in_a_few_steps_and_leaves_its_row[nnlm]",
)

ELSEWHERE = """
import torch
from tests.elsewhere import NAME, install
install()
there, here = torch.ones(2, 3, device=NAME), torch.ones(2, 3)
"""
REFUSED = (
    "there + here",
    "there.T @ here",
    "torch.equal(there, here)",
    "torch.cat([there, here])",
    "there.gather(1, torch.zeros(2, 1, dtype=torch.long))",
    "here[torch.tensor([0], device=NAME)]",
    "there.bernoulli_(generator=torch.Generator())",
)
DONE = (
    "there + there.cpu().to(NAME)",
    "there.copy_(here)",
    "here.copy_(there)",
    "there[torch.tensor([1, 0])]",
    "there * torch.tensor(2.0)",
    "torch.tensor([1, 2], device=NAME) + torch.arange(2, device=NAME)",
    "there.data = here.neg().to(NAME); assert there.sum() == -6",
)


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    return subprocess.run(
        [sys.executable, *arguments], cwd=CHECKOUT, env=environment, capture_output=True, text=True, timeout=300
    )


def test_every_stage_runs_where_its_weights_are() -> None:
    result = python("-m", "pytest", "-p", "tests.elsewhere", "-q", *(f"tests/{stage}" for stage in STAGES))
    assert result.returncode == 0, result.stdout
    assert f"{len(STAGES)} passed" in result.stdout


def test_tensors_of_two_devices_do_not_meet() -> None:
    """What CUDA refuses is refused, and what it does is done: copies, numbers, and indices from the CPU."""
    tried = [f"try:\n    {line}\nexcept RuntimeError:\n    pass\nelse:\n    print({line!r})\n" for line in REFUSED]
    result = python("-c", "\n".join((ELSEWHERE, *DONE, *tried)))
    assert (result.returncode, result.stdout) == (0, ""), result.stderr
