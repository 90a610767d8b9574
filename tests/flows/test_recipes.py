"""The recipes that come with the platform: complete, valid, and of the size that their names say."""

import pytest
import torch

from flows import recipe
from models.llama import LlamaShape, build_llama
from tasks.training.mfu import counted_parameters

VOCABULARY = 50_304  # what the recipes for a GPU say they are made for
PARAMETERS = {"gpu-124m": 124e6, "gpu-350m": 350e6, "gpu-1b": 1.1e9}


@pytest.mark.parametrize("name", recipe.names())
def test_a_recipe_is_complete_and_valid(name: str) -> None:
    found = recipe.load(name, ["runtime.device=cpu"])
    recipe.validate(found.name, found.values)


@pytest.mark.parametrize(("name", "expected"), PARAMETERS.items())
def test_a_recipe_for_a_gpu_has_its_size_and_twenty_tokens_a_parameter(name: str, expected: float) -> None:
    pretrain = recipe.load(name).section("pretrain")
    shape = LlamaShape(**pretrain["architecture"])
    with torch.device("meta"):
        parameters = counted_parameters(build_llama(shape, vocabulary=VOCABULARY, end_id=0, pad_id=1))
    assert parameters == pytest.approx(expected, rel=0.03)
    training = pretrain["training"]
    tokens = training["steps"] * training["batch_sequences"] * shape.context
    assert tokens / parameters == pytest.approx(20, rel=0.03)


@pytest.mark.parametrize("number", [".nan", ".inf", "[0, -.inf]"])
def test_a_number_that_is_none_is_refused_with_its_place(number: str) -> None:
    with pytest.raises(
        ValueError, match=r"tiny\.yaml: gates\.safety\.floor(\[1\])?: (nan|-?inf) is no finite number; give one"
    ):
        recipe.load("tiny", [f"gates.safety.floor={number}"])


def test_a_device_that_is_not_there_is_refused_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    found = recipe.load("gpu-124m")
    with pytest.raises(ValueError, match="device cuda was asked for, and torch finds none; take cpu, or auto"):
        recipe.validate(found.name, found.values)


@pytest.mark.parametrize(
    ("assignment", "sentence"),
    [
        ("align=3", "tiny.yaml: align: expected keys and values, found 3"),
        ("gates=", "tiny.yaml: gates: expected keys and values, found None"),
        ("seed=x", "tiny.yaml: seed: expected a whole number of at least 0, found 'x'"),
        ("seed=-1", "tiny.yaml: seed: expected a whole number of at least 0, found -1"),
        ("seed=true", "tiny.yaml: seed: expected a whole number of at least 0, found True"),
        ("data=[a]", r"tiny.yaml: data: expected a name of params.yaml, found \['a'\]"),
    ],
)
def test_a_recipe_of_another_shape_is_refused_when_it_is_read(assignment: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        recipe.load("tiny", [assignment])
