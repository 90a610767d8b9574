"""`espalier scaling`: what a person types, what a machine reads, and a planned recipe that validates."""

import json
from pathlib import Path

import pytest

from flows import recipe
from flows.cli import main
from tests.scaling.planted import planted


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = planted(0.005, 0, budgets=4, sizes=5)
    rows = [f"{n},{d},{loss}" for n, d, loss in zip(runs.parameters, runs.tokens, runs.loss, strict=True)]
    path = tmp_path_factory.mktemp("table") / "runs.csv"
    path.write_text("\n".join(["size,text,loss", *rows]) + "\n", encoding="utf-8")
    return path


COLUMNS = "parameters=size,tokens=text"


def test_a_fit_is_one_json_document_with_a_law(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["scaling", "fit", str(table), "--columns", COLUMNS, "--approach", "3", "--bootstraps", "40", "--json"]
    assert main(arguments) == 0
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    assert {"E", "A", "B", "alpha", "beta", "objective", "rows_used", "dropped", "exponents", "intervals"} <= set(found)
    assert found["exponents"]["N"] + found["exponents"]["D"] == pytest.approx(1)
    assert found["columns"]["parameters"] == "size"
    assert "fitting 20 rows" in shown.err


@pytest.mark.parametrize("width", ["80", "120"])
def test_a_fit_and_a_plan_are_shown_within_the_width(
    width: str, table: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", width)
    assert main(["scaling", "fit", str(table), "--columns", COLUMNS, "--bootstraps", "20", "--hold-out"]) == 0
    fitted = capsys.readouterr().out
    assert "approach 3: L = E + A / N^alpha + B / D^beta" in fitted
    assert "not fitted: approach 1 needs training curves" in " ".join(fitted.split())
    assert main(["scaling", "plan", "--hours", "1", "--hardware", "h100"]) == 0
    planned = capsys.readouterr().out
    assert "1.42e+18 FLOPs (1 h of one H100 at 40% of its peak)" in planned
    assert max(map(len, (fitted + planned).splitlines())) <= int(width)


@pytest.mark.parametrize("budget", [["--flops", "1e15"], ["--flops", "1e18"], ["--hours", "10", "--hardware", "h200"]])
def test_a_planned_recipe_is_complete_and_valid(
    budget: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "planned.yaml"
    arguments = ["scaling", "plan", *budget, "--recipe", str(path), "--vocabulary", "4096", "--json"]
    assert main(arguments) == 0
    planned = json.loads(capsys.readouterr().out)
    found = recipe.load(str(path), ["runtime.device=cpu"])
    recipe.validate(found.name, found.values)
    training = found.section("pretrain")["training"]
    tokens = training["steps"] * training["batch_sequences"] * found.section("pretrain")["architecture"]["context"]
    assert tokens == pytest.approx(planned["optimum"]["tokens"], rel=0.02)
    assert planned["recipe"]["times_the_planned_size"] == pytest.approx(1, abs=0.1)
    assert (recipe.load(str(path)).section("runtime").get("device") == "cuda") == ("--hours" in budget)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fit", "absent.csv"], "there is no such file"),
        (["plan", "--hours", "1"], "name the board too"),
        (["plan", "--flops", "-1"], "must be a number above 0"),
        (["plan", "--flops", "1e18", "--recipe", "x.txt"], "give the path of a .yaml file"),
        (["plan", "--flops", "1e18", "--fit", "absent.json"], "cannot be read as a fit"),
    ],
)
def test_a_wrong_call_is_one_sentence(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["scaling", *arguments]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert len(said.strip().splitlines()) == 1
