"""Every generation goes the whole way on a tiny text: trained, scored, asked; the table says who has not beaten counting."""

import json
from pathlib import Path

import pytest

from tasks.generations import run
from tasks.generations.catalogue import GENERATIONS, ROW_FILE, budgets, chosen
from tasks.generations.learning import PLAN_FILE
from tasks.generations.rows import PERPLEXITY, beside_counting
from tasks.generations.text import SPLITS

LINE = "the {0} cat sees the {1} dog and the {1} dog sees the {0} cat again today\n"
COLOURS = ("red", "blue", "green", "black", "white", "brown", "grey")


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("text")
    for name, count in zip(SPLITS, (600, 120, 120), strict=True):
        lines = (LINE.format(COLOURS[n % 7], COLOURS[(n * n + n // 7) % 7]) for n in range(count))
        (folder / f"{name}.txt").write_text("".join(lines), encoding="utf-8")
    run.prepare({name: str(folder / f"{name}.txt") for name in SPLITS}, str(folder / "cut"), {"level": "word"})
    return folder / "cut"


@pytest.mark.parametrize("name", [each.name for each in GENERATIONS])
def test_each_learns_in_a_few_steps_and_leaves_its_row(name: str, text: Path, tmp_path: Path) -> None:
    (tmp_path / PLAN_FILE).write_text(json.dumps({"steps": 12}), encoding="utf-8")
    job = {"folder": str(tmp_path), "text": str(text), "model": name, "seconds": 1.0, "seed": 1, "runtime": {}}
    row = run.run(job, [])
    assert json.loads((tmp_path / ROW_FILE).read_text(encoding="utf-8")) == json.loads(json.dumps(row))
    assert row["model"] == name
    assert row["parameters"] > 0
    vocabulary = 17
    if name in ("word2vec", "rnn", "lstm", "elmo", "gpt2", "bert", "llama"):
        assert "right of 119" in row["probe"]["do two sentences stand side by side"]
    if row["test_perplexity"] is None:
        assert len(row["probe"]) > 0
    else:
        assert 1 < row["test_perplexity"] < 1.2 * vocabulary
    if row["measure"] == PERPLEXITY and row["test_perplexity"] is not None:
        assert row["bits_per_byte"] > 0


def test_a_plan_is_made_by_the_clock_and_kept(text: Path, tmp_path: Path) -> None:
    job = {"folder": str(tmp_path), "text": str(text), "model": "rnn", "seconds": 0.2, "seed": 1, "runtime": {}}
    row = run.run(job, [])
    assert json.loads((tmp_path / PLAN_FILE).read_text(encoding="utf-8"))["steps"] == row["steps"] >= 20


def test_who_has_not_beaten_counting_says_so() -> None:
    rows = [
        {"model": "ngram", "measure": PERPLEXITY, "test_perplexity": 200.0, "note": ""},
        {"model": "rnn", "measure": PERPLEXITY, "test_perplexity": 250.0, "note": "small"},
        {"model": "llama", "measure": PERPLEXITY, "test_perplexity": 150.0, "note": ""},
        {"model": "bert", "measure": "pseudo-perplexity", "test_perplexity": 900.0, "note": ""},
        {"model": "word2vec", "measure": PERPLEXITY, "test_perplexity": None, "note": ""},
    ]
    notes = {row["model"]: row["note"] for row in beside_counting(rows)}
    assert notes.pop("rnn") == "has not beaten counting (250.0 against 200.0); small"
    assert set(notes.values()) == {""}


def test_models_are_chosen_by_name_and_share_the_minutes() -> None:
    assert chosen(["llama", "ngram"]) == ["ngram", "llama"]
    assert len(chosen([])) == len(GENERATIONS)
    with pytest.raises(ValueError, match=r"there is no lstms \(did you mean lstm\?\)"):
        chosen(["lstms"])
    shares = budgets(["ngram", "nnlm", "lstm"], 100.0)
    assert shares == {"ngram": 0.0, "nnlm": 40.0, "lstm": 60.0}
