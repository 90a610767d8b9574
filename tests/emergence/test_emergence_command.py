"""The command: a study in worker processes of its own, told as one document, and not repeated."""

import json
from pathlib import Path
from typing import Any

import pytest
from planted import planted_records
from rich.console import Console

from flows.emergence_tables import effects_table, short, verdicts_table
from tasks.emergence import report


def test_two_sizes_from_the_command_line_and_the_same_again(espalier: Any, workspace: Path) -> None:
    arguments = ("scaling", "emergence", "--family", "arithmetic", "--sizes", "11k,4k", "--seeds", "1", "--steps", "3")
    first = espalier(*arguments, "--json", "--plots", str(workspace / "figures"))
    assert first.returncode == 0, first.stderr
    document = json.loads(first.stdout)
    assert len(document["rows"]) == 2 * 10
    assert {verdict["reason"] for verdict in document["verdicts"]} == {"fewer than 4 sizes"}
    assert [Path(path).name for path in document["plots"]] == ["emergence-addition.png"]
    records = sorted((workspace / ".espalier" / "emergence").glob("*/measures.json"))
    before = [path.stat().st_mtime_ns for path in records]
    again = espalier(*arguments, "--json", "--plots", str(workspace / "figures"))
    assert json.loads(again.stdout) == document
    assert [path.stat().st_mtime_ns for path in records] == before
    assert len(records) == 2
    refused = espalier("scaling", "emergence", "--sizes", "12k")
    assert refused.returncode == 2
    assert "sizes are different ones of" in refused.stderr


def test_tables_show_every_size_and_the_gain() -> None:
    console, records = Console(width=160), planted_records()
    with console.capture() as capture:
        console.print(verdicts_table(report.rows(records), report.verdicts(records)))
        console.print(effects_table(report.scratchpad_effects(records)))
    text = capture.get()
    assert "sharp under both" in text
    gains = text.split("gain ")[1].splitlines()
    place = next(number for number, line in enumerate(gains) if "addition 3" in line)
    # fifty items that all gain alike: z^2 / (50 + z^2) = .07 of others may not, and of a gain of one lose twice that
    shown = [["+1.00", "+0.00", "+0.00"], ["+0.86", "-0.07", "-0.07"], ["+1.00", "+0.07", "+0.07"]]
    assert [line.split()[-3:] for line in gains[place : place + 3]] == shown
    assert all(size in text for size in ("4k", "11k", "28k", "92k"))


def test_there_is_nothing_to_tell_of_abilities_without_a_second_mode() -> None:
    console = Console(width=80)
    with console.capture() as capture:
        console.print(effects_table([]))
    assert "scratchpad" not in capture.get()


@pytest.mark.parametrize(("parameters", "said"), [(4368, "4k"), (92448, "92k"), (1_626_048, "1.6M")])
def test_sizes_are_short(parameters: int, said: str) -> None:
    assert short(parameters) == said
