"""Instruction tuning by LoRA: the adapters alone are trained, and what is published is the model with them merged."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModelForCausalLM
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from models.catalogue import load_weights
from models.lora import LoraShape
from models.tokenizers.chat import ChatTokenizer
from models.weights import WEIGHTS_FILE
from tasks.alignment.instruct import ADAPTER_FOLDER, InstructConfig, run
from tasks.artifacts import verify
from tasks.configuration import build
from tasks.training.engine import Preempted, TrainingConfig
from tasks.training.optimizers import OptimizerConfig

TRAINING = TrainingConfig(
    steps=40, batch_sequences=8, optimizer=OptimizerConfig(learning_rate=0.01), checkpoint_steps=10
)
SHAPE = LoraShape(rank=4, alpha=8, learning_rate_factor=2.0, targets=("q_proj", "v_proj", "down_proj"))
MARKERS = {"<|user|>", "<|assistant|>", "<|end|>"}
IDS = torch.arange(40).view(2, 20) * 11 % 261


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    found: torch.Tensor = model.eval()(input_ids=IDS.to(model.device)).logits
    return found


@pytest.fixture(scope="module")
def tuned(
    half_taught: Path,
    make_item: Any,
    write_rows: Any,
    make_job: Callable[..., dict[str, Any]],
    watching: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Any]:
    """Whoever has learned to echo learns to say z: the outcome, its losses, where its checkpoints lie."""
    folder, hook = tmp_path_factory.mktemp("lora"), watching()
    for name in ("train", "valid", "held_out"):
        write_rows(folder / "items" / f"{name}.jsonl", [make_item(f"say {letter}", "z") for letter in "abcdefgh"])
    config = InstructConfig(training=TRAINING, lora=SHAPE)
    job = make_job(folder, "zed", config, base=half_taught, instructions=folder / "items")
    return {**run(job, [hook]), "losses": hook.column("loss"), "run": folder / "zed"}


def test_it_learns_and_shows_how_few_parameters_it_trained(tuned: dict[str, Any]) -> None:
    # rank x (inputs + outputs): q 32 + 32, v 32 + 32, down 64 + 32, in two layers; and the markers' rows of the embedding
    assert tuned["trained_parameters"] == 2 * 4 * (64 + 64 + 96) + len(MARKERS) * 32
    assert tuned["losses"][-1] < 0.3 * tuned["losses"][0]


def test_nothing_but_the_adapters_is_trained_or_kept_for_a_resume(tuned: dict[str, Any]) -> None:
    newest = sorted((tuned["run"] / "checkpoints").glob("step-*"))[-1]
    weights, states = (load_file(newest / f"{name}.safetensors") for name in ("model", "optimizer"))
    assert sum(each.numel() for each in weights.values()) == tuned["trained_parameters"]
    assert {name.partition(".")[2] for name in states if name != "steps"} == set(weights)


def test_what_is_published_is_the_base_with_the_adapters_and_nothing_else(
    tuned: dict[str, Any], half_taught: Path, tokenizer: ChatTokenizer
) -> None:
    folder = Path(tuned["artifact"]["path"])
    assert verify(folder, digest=tuned["artifact"]["digest"]) == (True, "")
    before, after = (load_file(each / WEIGHTS_FILE) for each in (half_taught, folder))
    assert set(before) == set(after)
    changed = {name.split(".")[-2] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {*SHAPE.targets, "embed_tokens"}
    rows = (after["model.embed_tokens.weight"] != before["model.embed_tokens.weight"]).any(1)
    assert {tokenizer.token(row) for row in rows.nonzero().flatten().tolist()} == MARKERS


def test_adapters_learn_at_a_rate_of_their_own_and_embeddings_three_times_as_fast(
    base: Path, instructions: Path, job_in: Callable[..., dict[str, Any]], watching: Any
) -> None:
    """The first step of AdamW is the learning rate, whatever the gradient; twice 0.01 is the adapters'."""
    config, hook = InstructConfig(training=dataclasses.replace(TRAINING, steps=1), lora=SHAPE), watching()
    tuned = run(job_in("echo-rate", config, base=base, instructions=instructions), [hook])
    assert hook.column("learning_rate") == [0.02]
    before, after = (
        load_file(each / WEIGHTS_FILE)["model.embed_tokens.weight"] for each in (base, Path(tuned["artifact"]["path"]))
    )
    assert float((after - before).abs().max()) == pytest.approx(0.06, rel=1e-3)


def test_a_recipe_may_leave_the_embedding_as_it_is(
    base: Path, instructions: Path, job_in: Callable[..., dict[str, Any]]
) -> None:
    shape = dataclasses.replace(SHAPE, special_tokens=False)
    config = InstructConfig(training=dataclasses.replace(TRAINING, steps=1), lora=shape)
    tuned = run(job_in("echo-plain", config, base=base, instructions=instructions), [])
    assert tuned["trained_parameters"] == 2 * 4 * (64 + 64 + 96)


def test_peft_puts_the_adapter_back_on_the_base_and_transformers_loads_it_merged_once(
    tuned: dict[str, Any], half_taught: Path
) -> None:
    folder = Path(tuned["artifact"]["path"])
    published, untuned = logits(load_weights(folder)), load_weights(half_taught)
    assert float((published - logits(untuned)).abs().max()) > 0.1
    adapted = PeftModelForCausalLM.from_pretrained(untuned, folder / ADAPTER_FOLDER)
    torch.testing.assert_close(logits(adapted), published, rtol=0, atol=1e-5)
    as_any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).to(untuned.device)
    assert torch.equal(logits(as_any), published)


@pytest.mark.parametrize("packed", [False, True])
def test_a_stopped_one_ends_with_the_bytes_of_an_unbroken_one(
    packed: bool, base: Path, instructions: Path, job_in: Callable[..., dict[str, Any]], watching: Any
) -> None:
    """With dropout, so that a step's chance has to be the same one too."""
    config = InstructConfig(
        training=dataclasses.replace(TRAINING, steps=12, batch_sequences=2),
        lora=dataclasses.replace(SHAPE, dropout=0.2),
        packed=packed,
    )
    unbroken = run(job_in("echo-whole", config, base=base, instructions=instructions), [])
    job = job_in("echo-stopped", config, base=base, instructions=instructions)
    with pytest.raises(Preempted, match="stopped at step 5 of 12"):
        run(job, [watching(5)])
    resumed = run(job, [])
    assert resumed["resumed_at"] == 5
    assert resumed["artifact"]["digest"] == unbroken["artifact"]["digest"]


def test_another_seed_begins_with_other_adapters(
    base: Path, instructions: Path, job_in: Callable[..., dict[str, Any]]
) -> None:
    config = InstructConfig(training=dataclasses.replace(TRAINING, steps=1), lora=SHAPE)
    made = [
        run(job_in(f"echo{seed}-x", config, seed=seed, base=base, instructions=instructions), []) for seed in (1, 2)
    ]
    adapters = [
        load_file(Path(each["artifact"]["path"]) / ADAPTER_FOLDER / "adapter_model.safetensors") for each in made
    ]
    assert all(not torch.equal(adapters[0][name], adapters[1][name]) for name in adapters[0] if "lora_A" in name)


@pytest.mark.parametrize(
    ("lora", "said"),
    [
        ({"ranks": 8}, r"tiny.yaml: instruct.lora.ranks: unknown key; did you mean rank\?"),
        ({"rank": 0}, "^tiny.yaml: instruct.lora: rank and alpha must be at least 1"),
        ({"targets": ["q_prj"]}, "^tiny.yaml: instruct.lora: no decoder has a linear layer q_prj; there are q_proj, k_proj"),
    ],
)  # fmt: skip
def test_a_recipe_that_asks_for_what_cannot_be_is_refused(lora: dict[str, Any], said: str) -> None:
    training = {"steps": 1, "batch_sequences": 1, "optimizer": {"learning_rate": 0.1}}
    with pytest.raises(ValueError, match=said):
        build(InstructConfig, {"training": training, "lora": lora}, where="tiny.yaml: instruct")
