"""The strict loader: what it refuses, and that each refusal names the key and the mend."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from tasks.configuration import build, merge, read_yaml, set_dotted


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    learning_rate: float
    warmup_steps: int = 0
    alpha: int | None = None

    def __post_init__(self) -> None:
        if self.warmup_steps < 0:
            raise ValueError(f"warmup_steps: expected 0 or more, found {self.warmup_steps}")
        if self.learning_rate < 0:
            raise ValueError("optimizer: learning_rate must be above 0")
        if self.learning_rate > 9:
            raise ValueError("stages.largest_rate: expected at most 9")


@dataclass(frozen=True, kw_only=True)
class Stage:
    optimizer: Optimizer
    names: tuple[str, ...] = ()


def test_a_configs_own_sentence_is_passed_on_as_it_is() -> None:
    with pytest.raises(ValueError, match="warmup_steps") as caught:
        build(Stage, {"optimizer": {"learning_rate": 1.0, "warmup_steps": -1}}, where="tiny.yaml")
    assert str(caught.value) == "tiny.yaml: optimizer: warmup_steps: expected 0 or more, found -1"


@pytest.mark.parametrize(
    ("rate", "where", "sentence"),
    [
        (-1.0, "tiny.yaml: pretrain", "tiny.yaml: pretrain.optimizer: learning_rate must be above 0"),
        (10.0, "params.yaml: stages", "params.yaml: stages.optimizer.largest_rate: expected at most 9"),
        (10.0, "tiny.yaml: pretrain", "tiny.yaml: pretrain.optimizer: stages.largest_rate: expected at most 9"),
    ],
)
def test_a_sentence_that_begins_with_its_section_does_not_say_it_twice(rate: float, where: str, sentence: str) -> None:
    with pytest.raises(ValueError, match="rate") as caught:
        build(Stage, {"optimizer": {"learning_rate": rate}}, where=where)
    assert str(caught.value) == sentence


def test_builds_nested_frozen_dataclasses() -> None:
    stage = build(Stage, {"optimizer": {"learning_rate": 1}, "names": ["a", "b"]}, where="tiny.yaml")
    assert stage == Stage(optimizer=Optimizer(learning_rate=1.0), names=("a", "b"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"optimizer": {"lerning_rate": 1.0}}, "optimizer.lerning_rate: unknown key; did you mean learning_rate?"),
        ({"optimiser": {}}, "optimiser: unknown key; did you mean optimizer?"),
        ({"optimizer": {"learning_rate": "1e-3"}}, "YAML reads 1e-3 as text; write 1.0e-3"),
        ({"optimizer": {"learning_rate": True}}, "learning_rate: expected a number, found true"),
        ({"optimizer": {"learning_rate": "nan"}}, "learning_rate: expected a number, found the text 'nan'"),
        ({"optimizer": {"learning_rate": float("nan")}}, "nan is no finite number; give one"),
        ({"optimizer": {"learning_rate": 0.1, "warmup_steps": 1.5}}, "warmup_steps"),
        ({"optimizer": {"learning_rate": 0.1, "alpha": True}}, "optimizer.alpha: expected a number, found true"),
        ({"optimizer": {"learning_rate": 0.1, "alpha": "3"}}, "optimizer.alpha: expected a number, found the text '3'"),
        ({"optimizer": {}}, "optimizer.learning_rate"),
        ({"optimizer": 3}, "tiny.yaml: optimizer: expected keys and values (found 3)"),
        ({"optimizer": {"learning_rate": 0.1}, "names": "a"}, "tiny.yaml: names: expected a list (found 'a')"),
    ],
)
def test_refuses_with_the_key_and_the_mend(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=r"tiny\.yaml") as caught:
        build(Stage, values, where="tiny.yaml")
    assert message in str(caught.value)


def test_a_doubled_key_is_refused_not_silently_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("a: 1\nb: {c: 1, c: 2}\n", encoding="utf-8")
    with pytest.raises(ValueError, match="line 2: the key 'c' is given twice"):
        read_yaml(path)


def test_merge_lays_keys_on_keys_and_replaces_lists() -> None:
    assert merge({"a": {"b": 1, "c": [1, 2]}}, {"a": {"c": [3]}}) == {"a": {"b": 1, "c": [3]}}


def test_set_dotted_reads_the_value_as_yaml() -> None:
    assert set_dotted({"a": {"b": 1, "c": 2}}, "a.b=1.0e-3") == {"a": {"b": 0.001, "c": 2}}
    with pytest.raises(ValueError, match="expected KEY=VALUE"):
        set_dotted({}, "a.b")
