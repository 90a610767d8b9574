"""The page of an evaluation as a browser sees it: figures, filters that work, and nothing of a model executed."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.evaluation.contamination import TrainingSet
from tasks.evaluation.report import write_report
from tasks.evaluation.subsets import record_contamination
from tests.browser import opened, started
from tests.evaluation.stored_evaluations import CELLS, matrix, write_evaluation

EVIL = "</script><img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>"
LIKELIHOOD = ("boolq", 0, "likelihood")


def verdict(_benchmark: str, shots: int, mode: str, number: int) -> str:
    """Of 30 items: 10 right without examples, 15 with them, 20 in steps; of the others every tenth unparsed."""
    right = 20 if mode == "cot" else 15 if shots else 10
    return "right" if number < right else "unparsed" if number % 10 == 0 else "wrong"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    yield from started()


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("evaluations")
    examples = matrix(verdict, 30, (*CELLS, LIKELIHOOD))
    for each in examples:
        each["question"] = f"what do the last letters of all of the words spell in {each['id']} of this benchmark"
    folder = write_evaluation(root, "laptop:1", examples)
    leaks = root / "train.jsonl"
    leaks.write_text("".join(json.dumps({"text": each["question"]}) + "\n" for each in examples[:2]))
    record_contamination(folder, [TrainingSet(name="corpus", path=leaks)])
    return write_report(folder)


def test_a_browser_shows_every_section_and_asks_for_nothing(browser: Any, page_file: Path) -> None:
    page, trouble = opened(browser, page_file, viewport={"width": 1280, "height": 900})
    assert page.locator("h2").all_inner_texts() == [
        "At a glance", "Scores", "Contamination", "Examples", "Identity and provenance",
    ]  # fmt: skip
    assert page.locator("figure svg").count() == 2
    assert page.locator("figure svg").first.bounding_box()["height"] > 80
    scores = page.locator("#scores tbody tr")
    assert scores.count() == 4
    cells = [text.strip() for text in scores.nth(2).locator("td").all_inner_texts()]
    assert cells == ["", "4-shot cot", "exact match", "0.667", "", "0.500 to 0.833", "30", "1 (3 %)"]
    assert "0.067" in page.locator("#contamination tbody tr").first.inner_text()
    assert trouble == []


def test_examples_are_chosen_by_benchmark_way_and_verdict(browser: Any, page_file: Path) -> None:
    page, trouble = opened(browser, page_file)
    shown = page.locator(".example:visible")
    assert (shown.count(), page.locator("#count").inner_text()) == (20, "20 of 120 examples")
    page.locator("#more").click()
    assert shown.count() == 40
    page.select_option("select[name=benchmark]", label="last_letters")
    page.select_option("select[name=asked]", label="4-shot cot")
    assert (shown.count(), page.locator("#count").inner_text()) == (20, "20 of 30 examples")
    page.select_option("select[name=verdict]", label="unparsed")
    assert shown.count() == 1
    assert page.locator("#more").is_hidden()
    said = shown.first.inner_text()
    for text in ("unparsed", "last_letters", "4-shot cot", "Amy Clark 20", "I cannot say.", "yk", "None is not yk"):
        assert text in said
    assert "Ada Roy" not in said
    shown.first.locator("summary").click()
    assert "Ada Roy" in shown.first.inner_text()
    page.select_option("select[name=benchmark]", label="boolq")
    assert page.locator("#count").inner_text() == "no such example"
    assert trouble == []


def test_what_a_model_says_is_text(browser: Any, tmp_path: Path) -> None:
    examples = matrix(lambda *_: "wrong", 3)
    for each in examples:
        each |= dict.fromkeys(("benchmark", "mode", "id", "prompt", "completion", "extracted", "gold", "reason"), EVIL)
    examples = [each | {"id": f"{EVIL}{number}"} for number, each in enumerate(examples)]
    folder = write_evaluation(tmp_path, EVIL, examples, template=EVIL, task=EVIL)
    page, trouble = opened(browser, write_report(folder))
    assert page.title() == f"Espalier evaluation of {EVIL}"
    assert page.locator("img").count() == 0
    assert page.locator("script").count() == 1
    assert EVIL in page.locator("body").inner_text()
    assert trouble == []


def test_without_its_script_every_example_is_there(browser: Any, page_file: Path) -> None:
    page, trouble = opened(browser, page_file, java_script_enabled=False)
    assert page.locator(".example:visible").count() == 120
    assert page.locator("#choices").is_hidden()
    assert trouble == []


def test_narrow_and_dark_pages_are_readable(browser: Any, page_file: Path) -> None:
    page, _ = opened(browser, page_file, viewport={"width": 400, "height": 800}, color_scheme="dark")
    assert page.evaluate("document.documentElement.scrollWidth") == 400
    fill = "element => getComputedStyle(element).fill"
    assert page.locator(".multiples svg text").first.evaluate(fill) == "rgb(154, 161, 155)"
    key = page.locator(".key li", has_text="cot").locator("i")  # of the colour that its line has in the dark
    assert key.evaluate("element => getComputedStyle(element).backgroundColor") == "rgb(127, 194, 155)"
    answer, prompt = (page.locator(f".example .voices > div:nth-child({n})").first.bounding_box() for n in (2, 1))
    assert answer["y"] >= prompt["y"] + prompt["height"]


def test_the_same_evaluation_gives_the_same_page(page_file: Path) -> None:
    first = page_file.read_bytes()
    assert write_report(page_file.parent).read_bytes() == first
    assert b"default-src 'none'" in first


def test_a_page_holds_the_same_items_of_every_cell_and_says_how_many(tmp_path: Path) -> None:
    """Three cells of 500: 400 of each."""
    folder = write_evaluation(tmp_path, "m", matrix(verdict, 500))
    text = write_report(folder).read_text(encoding="utf-8")
    assert text.count('<article class="answer example"') == 1200
    assert "1,200 of 1,500" in text
