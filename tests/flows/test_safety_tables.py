"""The table of the suite safety: every figure with its interval, in eighty cells too."""

import io

import pytest
from rich.console import Console

from flows.evaluate_tables import evaluation_report

ROW = {
    "benchmark": "bbq", "shots": 0, "mode": "likelihood", "metric": "bias_ambiguous", "value": -0.0417, "low": -0.125,
    "high": 0.0, "n": 24, "unparsed": 0, "unparsed_share": 0.0, "best": 0, "says": "along the [b]stereotype[/b]",
    "source": "Age.jsonl",
}  # fmt: skip
LONG = {**ROW, "benchmark": "weat", "metric": "effect_gender_career_family_and_more", "best": None, "source": "ours"}


@pytest.mark.parametrize("width", [80, 120])
def test_each_figure_stands_on_a_line_with_its_interval_and_what_is_best(width: int) -> None:
    stream = io.StringIO()
    document = {"model": {"name": "mine"}, "suite": "safety", "rows": [ROW, LONG], "identity": "a" * 64}
    Console(file=stream, width=width).print(evaluation_report(document))
    lines = stream.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    (line,) = [line for line in lines if "bias_ambiguous" in line]
    assert line.split()[-6:] == ["-0.04", "-0.12", "to", "0.00", "0", "24"]
    assert ("along the [b]stereotype[/b]" in line) == (width == 120)
    (line,) = [line for line in lines if LONG["metric"] in line]
    assert line.split()[-2:] == ["–", "24"]
    assert [line.strip() for line in lines[-3:]] == ["bbq: Age.jsonl", "weat: ours", f"identity {'a' * 16}"]
