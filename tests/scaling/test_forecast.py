"""Plans: the budget is kept, intervals come from refits, and a shape has the size that was planned."""

import json
from pathlib import Path

import pytest
import torch

from models.llama import LlamaShape, build_llama
from tasks.scaling.fit import fit_runs
from tasks.scaling.forecast import flops_of, plan, published, read_fit
from tasks.scaling.laws import BESIROGLU
from tasks.scaling.parametric import fit_parametric
from tasks.scaling.plots import draw
from tasks.scaling.records import record
from tasks.scaling.shapes import closest_shape
from tasks.training.mfu import counted_parameters
from tests.scaling.planted import FEW_STARTS, curves, planted


def test_a_plan_by_published_constants_keeps_its_budget_and_names_its_law() -> None:
    found = plan(published(), 1e21)
    best = found["optimum"]
    assert 6 * best["parameters"] * best["tokens"] == pytest.approx(1e21)
    assert (best["parameters"], best["tokens"]) == pytest.approx((2.7785e9, 5.9985e10), rel=1e-3)
    assert best["intervals"]["parameters"] is None
    assert "Besiroglu" in found["law"]
    half, twice = found["beside"]
    assert half["flops"] == 5e20
    assert half["loss"] > best["loss"] > twice["loss"]


def test_a_smaller_model_reaches_the_same_loss_with_more_text() -> None:
    found = plan(published(), 1e20)
    best = found["optimum"]
    halved = next(each for each in found["over_trained"] if each["smaller"] == 2)
    assert BESIROGLU.loss(halved["parameters"], halved["tokens"]) == pytest.approx(best["loss"])
    assert halved["times_the_training"] > 1
    assert halved["loss_on_the_same_flops"] > best["loss"]
    saved = 2 * (best["parameters"] - halved["parameters"]) * halved["pays_after_tokens"]
    assert saved == pytest.approx(halved["flops"] - best["flops"])
    tenth = next(each for each in found["over_trained"] if each["smaller"] == 10)
    assert tenth["tokens"] is None


def test_hours_of_a_board_are_flops() -> None:
    assert flops_of(10, "h200", 0.4) == pytest.approx(10 * 3600 * 989e12 * 0.4)
    with pytest.raises(ValueError, match="no peak is known for it; there are a100, h100, h200"):
        flops_of(1, "tpu", 0.4)


def test_a_fit_of_ours_gives_the_plan_its_intervals(tmp_path: Path) -> None:
    runs = planted(0.005, 0, budgets=5, sizes=6)
    fitted = fit_runs(runs, approach="3", bootstraps=60)
    path = tmp_path / "fit.json"
    path.write_text(json.dumps(record(fitted, "3")), encoding="utf-8")
    best = plan(read_fit(path), 1e21)["optimum"]
    low, high = best["intervals"]["parameters"]
    assert low < best["parameters"] < high
    assert low < BESIROGLU.optimum(1e21)[0] < high
    low, high = best["intervals"]["loss"]
    assert high - low < 0.1 * best["loss"]


@pytest.mark.parametrize("text", ["{}", "[]", "no", '{"approach_3": {"refused": "why"}}'])
def test_what_is_no_fit_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "fit.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"cannot be read as a fit|holds no fit of approach 3"):
        read_fit(path)


@pytest.mark.parametrize("parameters", [1e6, 3e6, 12e6, 124e6, 350e6, 1.1e9, 7e9])
@pytest.mark.parametrize("embeddings", [True, False])
def test_a_shape_has_the_planned_size_counted_as_the_model_counts(parameters: float, embeddings: bool) -> None:
    sized = closest_shape(parameters, vocabulary=4096, embeddings=embeddings)
    with torch.device("meta"):
        model = build_llama(LlamaShape(**sized.architecture), vocabulary=4096, end_id=0, pad_id=1)
    assert counted_parameters(model) == sized.parameters
    assert (sized.parameters if embeddings else sized.body) == pytest.approx(parameters, rel=0.1)
    assert 12 <= sized.architecture["width"] / sized.architecture["layers"] <= 200


def test_flops_are_counted_in_every_way_that_papers_do() -> None:
    """GPT-2 small's width and depth: attention's 12 L H Q T and the table's 6 V w apart."""
    sized = closest_shape(124e6, vocabulary=50_304)
    shape = sized.architecture
    bare = sized.flops_per_token(embeddings=False, attention=False)
    assert bare == 6 * sized.body
    assert sized.flops_per_token(attention=False) - bare == 6 * 50_304 * shape["width"]
    attention = sized.flops_per_token(embeddings=False) - bare
    assert attention == 12 * shape["layers"] * shape["width"] * shape["context"]


def test_all_approaches_in_one_record_and_the_refused_one_says_why() -> None:
    document = record(fit_runs(planted(0.002, 0, budgets=4, sizes=6), bootstraps=20), "all")
    assert list(document) == ["approach_1", "approach_2", "approach_3", "kaplan"]
    assert "approach 1 needs training curves" in document["approach_1"]["refused"]
    assert json.loads(json.dumps(document)) == document
    third = document["approach_3"]
    assert third["rows_used"] == 24
    assert set(third["intervals"]) == {"A", "B", "E", "alpha", "beta", "N", "D"}


def test_dropped_rows_are_named_and_counted() -> None:
    runs = planted(0.002, 0, budgets=3, sizes=5)
    runs.loss[[3, 7]] = (9.0, 8.0)
    found = record(fit_runs(runs, approach="3", drop_highest=2, bootstraps=0), "3")
    assert [each["row"] for each in found["dropped_rows"]] == [4, 8]
    assert found["dropped"] == {"the 2 of the highest loss (--drop-highest)": 2}
    assert found["rows_used"] == 13


def test_the_objective_is_a_sum_over_rows() -> None:
    """The same rows twice: the same law, twice the objective."""
    runs = planted(0.01, 3, budgets=4, sizes=5)
    twice = runs.only([*range(len(runs)), *range(len(runs))])
    one, two = (fit_parametric(each, starts_SP=FEW_STARTS, bootstraps=0) for each in (runs, twice))
    assert two.objective == pytest.approx(2 * one.objective, rel=1e-6)
    assert two.law.alpha == pytest.approx(one.law.alpha, rel=1e-3)


def test_every_figure_is_drawn(tmp_path: Path) -> None:
    fitted = fit_runs(planted(0.002, 0, budgets=4, sizes=6), bootstraps=0)
    names = {path.name for path in draw(fitted, tmp_path)}
    assert names == {"iso-flop.png", "predicted.png", "optimal-sizes.png"}
    drawn = draw(fit_runs(curves(), approach="1", bootstraps=0), tmp_path)
    assert drawn[0].name == "envelope.png"
    assert all(path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 20_000 for path in drawn)
