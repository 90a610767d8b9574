"""The page as a browser sees it: every section there, nothing asked of a network, and nothing of a model executed."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.pages import visible
from tasks.release.report import write_report
from tests.browser import opened, started

RECORD = Path(__file__).parent.parent / "golden" / "run_record.json"


def training(steps: int, **ends: float) -> list[dict[str, float]]:
    """A falling loss with noise, and what else is named rising to its end."""
    curve = []
    for step in range(1, steps + 1):
        noise = math.sin(step * 12.9898) * 43758.5453 % 1 - 0.5
        point = {"step": step, "loss": 3 + 5 * math.exp(-4 * step / steps) + noise * 0.2, "learning_rate": 0.01}
        point |= {"gradient_norm": 0.4 + abs(noise), "tokens_per_second": 14_200 + noise * 2_600}
        curve.append(point | {name: end * step / steps for name, end in ends.items()})
    return curve


@pytest.fixture
def record() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(RECORD.read_text(encoding="utf-8"))
    loaded["curves"] = {"pretrain": training(700), "align": training(24, kl=0.08, reward=1.4)}
    return loaded


def test_what_lines_say_of_themselves_is_no_curve(record: dict[str, Any], tmp_path: Path) -> None:
    record["curves"] = {"pretrain": training(5, process_age=4.0, step_seconds=0.2, checkpoint_seconds=0.1, kl=1.0)}
    text = write_report(record, tmp_path).read_text(encoding="utf-8")
    drawn = {path.stem for path in tmp_path.rglob("pretrain-*.png")}
    assert {"pretrain-loss", "pretrain-kl"} <= drawn
    assert not {name for name in drawn if "seconds" in name or "age" in name}
    assert "process age" not in text


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    yield from started()


def test_a_browser_shows_every_section_and_asks_for_nothing(
    browser: Any, record: dict[str, Any], tmp_path: Path
) -> None:
    page, trouble = opened(browser, write_report(record, tmp_path), viewport={"width": 1280, "height": 900})
    assert page.locator("h2").all_inner_texts() == [
        "Stages", "Where the time went", "Bits per byte on held-out text", "Answers side by side", "Curves", "Gates",
        "Data", "Lineage", "Samples while training",
    ]  # fmt: skip
    assert page.locator("#stages tbody tr").count() == 5
    assert page.locator("figure svg").count() == 4 + 6
    assert page.locator("figure svg").first.bounding_box()["height"] > 80
    assert "1.862" in page.locator("#stages tbody tr").nth(1).inner_text()
    assert "다음 설명은" in page.locator(".answer").nth(1).inner_text()
    assert page.locator("ul.tree > li").count() == 1
    assert trouble == []


def test_what_a_model_says_is_text(browser: Any, record: dict[str, Any], tmp_path: Path) -> None:
    evil = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>"
    for stage in record["stages"]:
        stage |= {
            "reason": evil,
            "metric": evil,
            "reused_from": evil,
            "mlflow_run": "javascript:document.title='taken'",
        }
    record["run"]["recipe"] = evil
    record["data"] = {evil: {evil: 1}}
    record["samples"] = [{"stage": evil, "step": 1, "text": evil}]
    record["lineage"] = [{"kind": evil, "name": evil, "digest": evil, "parents": [evil]}]
    record["curves"] = {evil: [{"step": 1, evil: 2.0}]}
    record["bits_per_byte"] = {evil: 1.0}
    record["time"]["parts"][evil] = 100.0
    page, trouble = opened(browser, write_report(record, tmp_path))
    assert page.title() == f"Espalier run {record['run']['id']}"
    assert page.locator("img, script").count() == 0
    assert page.locator("a[href^='javascript']").count() == 0
    assert evil in page.locator("body").inner_text()
    assert trouble == []


def test_narrow_and_dark_pages_are_readable(browser: Any, record: dict[str, Any], tmp_path: Path) -> None:
    page, _ = opened(
        browser, write_report(record, tmp_path), viewport={"width": 400, "height": 800}, color_scheme="dark"
    )
    assert page.evaluate("document.documentElement.scrollWidth") == 400
    colour = "element => getComputedStyle(element).getPropertyValue('background-color')"
    assert page.locator("body").evaluate(colour) == "rgb(23, 27, 25)"
    label = page.locator(".bars svg text").first
    assert label.evaluate("element => getComputedStyle(element).fill") == "rgb(232, 230, 223)"


def test_every_figure_is_a_file_and_the_record_is_beside_the_page(record: dict[str, Any], tmp_path: Path) -> None:
    record["curves"]["align"][3]["loss"] = float("nan")
    page = write_report(record, tmp_path)
    figures = sorted(path.name for path in tmp_path.glob("*.png"))
    assert {"time.png", "bits_per_byte.png", "pretrain-loss.png", "align-kl.png"} <= set(figures)
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG") for name in figures)
    kept = json.loads((tmp_path / "record.json").read_text(encoding="utf-8"))
    assert kept["stages"] == record["stages"]
    assert kept["curves"]["align"][3]["loss"] is None
    assert "default-src 'none'" in page.read_text(encoding="utf-8")
    assert not list(tmp_path.glob("*.tmp"))


def test_the_same_record_gives_the_same_page(record: dict[str, Any], tmp_path: Path) -> None:
    first = write_report(record, tmp_path / "a").read_bytes()
    assert write_report(record, tmp_path / "b").read_bytes() == first
    assert (tmp_path / "a/time.png").read_bytes() == (tmp_path / "b/time.png").read_bytes()


def test_a_run_that_failed_early_has_a_page_too(tmp_path: Path) -> None:
    stages = [{"stage": "corpus", "state": "failed", "reason": "no training data left: 3 of 3 refused as empty"}]
    run = {"id": "r1", "recipe": "tiny", "started": "now", "seconds": 0.4, "state": "failed"}
    text = write_report({"run": run, "stages": stages}, tmp_path).read_text(encoding="utf-8")
    assert "3 of 3 refused as empty" in text
    assert "<h2>Curves</h2>" not in text


def test_hidden_characters_are_named_and_ordinary_ones_kept() -> None:
    assert visible("a\u202eb\x00\ud800\u2028") == "a⟨U+202E⟩b⟨U+0000⟩⟨U+D800⟩⟨U+2028⟩"
    assert visible("줄\n\t바꿈 👩\u200d🔧") == "줄\n\t바꿈 👩\u200d🔧"
    assert visible("x" * 5000).endswith("… (1,000 more characters)")
