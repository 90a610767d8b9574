"""The live view and the tables, as they arrive on a terminal of a given width or in a log file."""

import io
import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console, RenderableType

from flows import display, tables
from flows.display import Display

RECORD = json.loads((Path(__file__).parent.parent / "golden" / "run_record.json").read_text(encoding="utf-8"))
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def terminal(width: int = 80) -> Console:
    return Console(file=io.StringIO(), width=width, force_terminal=True, highlight=False, color_system=None)


def log_file() -> Console:
    return Console(file=io.StringIO(), force_terminal=False, highlight=False)


def shown(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return ESCAPES.sub("", console.file.getvalue())


def rendered(renderable: RenderableType, width: int) -> list[str]:
    console = terminal(width)
    console.print(renderable)
    return shown(console).splitlines()


def test_a_log_gets_whole_lines_and_only_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(float(second) for second in range(1000))
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    console = log_file()
    live = Display("espalier run", console)
    live.stage_started("pretrain", "a note that is " + "very " * 30 + "long")
    for step in range(1, 41):
        live.progress("pretrain", step, 40, {"loss": 2.5, "tokens_per_second": 8123.4, "other": 1.0})
    live.stage_ended("pretrain", "trained", {"bits_per_byte": 1.7241}, 75.0)
    lines = shown(console).splitlines()
    steps = [line for line in lines if " step " in line]
    assert 5 < len(steps) < 25
    assert "left  loss 2.500  8,123 tokens/s" in steps[2]
    assert steps[-1].startswith("  pretrain   step 40/40")
    assert lines[1].endswith("long")
    assert lines[-1] == "✓ pretrain   trained in 1 min 15 s  bits per byte 1.724"


def test_a_terminal_gets_a_bar_that_leaves_when_the_stage_ends() -> None:
    console = terminal()
    live = Display(console=console)
    live.stage_started("align")
    live.progress("align", 1, 10, {"kl": 0.021})
    time.sleep(0.02)
    live.progress("align", 4, 10, {"kl": 0.031, "reward": 1.5})
    assert live.seconds_left("align", 4, 10) == pytest.approx(0.04, abs=0.03)
    live.note("still here")
    live.close()
    said = shown(console)
    assert "4/10" in said
    assert "reward 1.500  KL 0.031" in said
    assert "still here" in said


@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_the_bar_is_one_line_at_any_width(width: int) -> None:
    console = terminal(width)
    live = Display(console=console)
    live.stage_started("align")
    live.progress("align", 1, 1160, {"loss": 1.0})
    for step in range(2, 1160, 100):
        metrics = {"loss": 1.58, "reward": 0.324, "kl": 0.335, "tokens_per_second": 6905.0}
        live.progress("align", step, 1160, metrics)
        assert live._live is not None
        lines = console.render_lines(live._live.get_renderable())
        assert len(lines) == 1, ["".join(each.text for each in line) for line in lines]
        said = "".join(each.text for each in lines[0])
        assert "loss 1.580" in said
        assert ("6,905 tokens/s" in said) == (width >= 100)
    live.close()


def test_the_pace_counts_from_the_step_a_resumed_run_began_at() -> None:
    live = Display(console=log_file())
    live.progress("pretrain", 500, 600)
    assert live.seconds_left("pretrain", 500, 600) is None
    time.sleep(0.02)
    assert (live.seconds_left("pretrain", 501, 600) or 0) > 99 * 0.02


def test_text_of_others_cannot_style_or_break_the_screen() -> None:
    console = terminal()
    live = Display(console=console)
    live.note("[red]not red[/] \x1b]0;title\x07 \x1b[2J one\ntwo \u202e three")
    live.error("worker ended: [bold]list[int]", "/tmp/log")
    live.stage_ended("align", "failed", "[/] closes nothing", 3.0)
    assert "[red]not red[/]" in shown(console)
    assert "error: worker ended: [bold]list[int]" in shown(console)
    written = console.file.getvalue()  # type: ignore[attr-defined]
    assert not any(bad in written for bad in ("\x1b]0", "\x1b[2J", "\x07", "\u202e"))


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_final_table_fits_and_says_what_a_person_needs(width: int) -> None:
    record = {**RECORD, "places": {"report": "/home/me/.espalier/reports/r/index.html"}, "disk_bytes": 812_345_678}
    lines = rendered(tables.final_table(record, width=width), width)
    text = " ".join(" ".join(lines).split())
    assert max(cell_len(line) for line in lines) <= width
    assert "1.862 →" in text
    assert "1.724" in text
    assert "3 min 21 s" in text
    assert "training 5 min 11 s" in text
    assert "812 MB" in text
    assert "espalier up" in text
    assert "align: the paired interval" in text


def test_a_finished_run_says_to_chat_and_a_reused_stage_from_where() -> None:
    record: dict[str, Any] = {**RECORD, "run": {**RECORD["run"], "state": "finished"}}
    text = "\n".join(rendered(tables.final_table(record, width=120), 120))
    assert "espalier chat" in text
    assert "from 20261122-204410-9c1e" in text


def test_korean_names_stay_in_their_column() -> None:
    versions = [
        {
            "name": name,
            "version": 1,
            "stage": "aligned",
            "digest": "a" * 64,
            "aliases": ["production"],
            "created": "2026",
        }
        for name in ("한국어비서", "assistant")
    ]
    lines = [line for line in rendered(tables.models_table(versions), 80) if "aligned" in line]
    columns = {cell_len(line[: line.index("aligned")]) for line in lines}
    assert len(lines) == 2
    assert len(columns) == 1
    assert cell_len(display.fitted("가나다", 10)) == cell_len(display.fitted("abc", 10)) == 10


def test_the_other_tables_name_what_they_are_given() -> None:
    chain = {"kind": "aligned", "name": "a:3", "digest": "77ee" * 4, "verdict": "PASS", "figures": {"score": 0.71}}
    explained = "\n".join(
        rendered(tables.explanation({**chain, "parents": [{"kind": "corpus", "text": "9 texts"}]}), 80)
    )
    assert "aligned a:3 77ee77ee77ee" in explained
    assert "score 0.710" in explained
    assert explained.index("aligned") < explained.index("corpus")
    event = {"seq": 4, "at": "2026-11-23T21:22:41", "actor": "gate", "kind": "promoted", "payload": {"epoch": 3}}
    assert "epoch 3" in "\n".join(rendered(tables.history_table([event]), 80))
    assert "espalier run" in rendered(tables.models_table([]), 80)[0]
    services = {"services": [{"name": "worker", "address": None, "pid": None}]}
    assert "stopped" in "\n".join(rendered(tables.services_table(services), 80))
    checks = [("memory", False, "1 GB free", "close other programs"), ("python", True, "3.11", "")]
    found = "\n".join(rendered(tables.doctor_table(checks), 80))
    assert "→ close other programs" in found
    assert found.count("→") == 1


def test_durations_and_sizes_read_well() -> None:
    assert [tables.duration(each) for each in (0.04, 9.96, 59.6, 75, 3700, None)] == [
        "0.0 s", "10 s", "1 min 00 s", "1 min 15 s", "1 h 01 min", "–",
    ]  # fmt: skip
    assert [tables.size(each) for each in (0, 999, 1500, 123_456_789, 6.1e9)] == [
        "0 B", "999 B", "1.5 kB", "123 MB", "6.1 GB",
    ]  # fmt: skip
