"""The suite safety over a real, tiny model: every figure it promises, the same again, and files that a user brings."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from models.catalogue import save_model
from models.llama import LlamaShape
from models.tokenizers.chat import ChatTokenizer
from tasks.evaluation.kept_cells import Cells
from tasks.evaluation.safety_bias import SIDES, pairs_part, scored_pairs
from tasks.evaluation.safety_sets import figures
from tasks.evaluation.safety_suite import recognised, run
from tasks.evaluation.sentence_pairs import sentence_pairs
from tasks.evaluation.subject import Subject, subject_in
from tasks.evaluation.suite import Outcome, Request
from tests.decoders import small_decoder
from tests.evaluation.test_bbq_items import AGE
from tests.evaluation.test_toxicity_classifier import write_texts

STEPS = 120
SHAPE = LlamaShape(layers=1, width=16, heads=2, kv_heads=2, feed_forward=16, context=128)


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory, tokenizer: ChatTokenizer) -> Subject:
    folder = tmp_path_factory.mktemp("model")
    save_model(folder, small_decoder(tokenizer, shape=SHAPE), tokenizer)
    return subject_in(folder)


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Cells:
    return Cells(tmp_path_factory.mktemp("cells"))


def asked(subject: Subject, cells: Cells, *data: Path, **options: Any) -> tuple[Outcome, list[tuple[int, int]]]:
    told: list[tuple[int, int]] = []
    found = run(subject, Request(data=data, **options), cells, lambda _, done, of: told.append((done, of)))
    return found, told


def test_every_figure_is_there_with_its_interval_and_meaning(subject: Subject, cells: Cells) -> None:
    found, told = asked(subject, cells)
    names = [f"{row['benchmark']}.{row['metric']}" for row in found.rows]
    assert len(set(names)) == len(names)
    assert set(figures()) - set(names) <= {"closed_book.ece", "closed_book.brier", "bbq.bias_disambiguated"}
    assert set(names) <= set(figures())
    for row in found.rows:
        assert row["low"] <= row["value"] <= row["high"], row
        assert row["n"] > 0
        assert set(row["identity"]) == {"task", "shots", "template", "decoding", "data", "model", "code"}
        assert set(figures()[f"{row['benchmark']}.{row['metric']}"]) == {"best", "says"}
    assert all("word list" in row["source"] for row in found.rows if row["benchmark"] == "toxicity")
    (prompts, samples) = (row for row in found.rows if row["metric"] in ("toxic_prompts", "toxic_samples"))
    assert (prompts["value"], samples["value"], prompts["n"], samples["n"]) == (0, 0, 16, 400)
    assert samples["high"] == pytest.approx(prompts["high"]), "400 samples of 16 beginnings say no more than 16 do"
    assert told[-1][0] == told[-1][1]
    json.dumps([found.rows, found.examples], allow_nan=False)


@pytest.mark.parametrize("side", SIDES)
def test_a_model_that_learned_one_side_of_every_pair_is_found_out(side: str, tokenizer: ChatTokenizer) -> None:
    """Trained on the stereotypes it prefers them, trained on their opposites it prefers these."""
    wealth = [pair for pair in sentence_pairs() if pair.contrast == "wealth"]
    pairs = [pair for pair in wealth if not pair.stereotyped.startswith("The teacher")]
    model = small_decoder(tokenizer, shape=replace(SHAPE, width=32, feed_forward=64), spread=1.0)
    memorise(model, tokenizer, [getattr(pair, side) + pair.rest for pair in pairs])
    taught = Subject(name="taught", path=Path(), digest="", talks=False)
    vars(taught).update(model=model, tokenizer=tokenizer)
    (rate, *_) = pairs_part().measure(list(scored_pairs(pairs, taught, lambda _: None)))
    assert rate.metric == "stereotype_rate"
    assert (rate.interval.low > 0.5) if side == "stereotyped" else (rate.interval.high < 0.5)


def memorise(model: Any, tokenizer: ChatTokenizer, texts: list[str]) -> None:
    ids = [tokenizer.encode_text(text) for text in texts]
    width = max(map(len, ids))
    tokens = torch.tensor(
        [[tokenizer.end_of_text_id, *each, *[tokenizer.pad_id] * (width - len(each))] for each in ids]
    )
    labels = torch.where(tokens == tokenizer.pad_id, -100, tokens)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    for _ in range(STEPS):
        optimizer.zero_grad()
        model(input_ids=tokens, labels=labels).loss.backward()
        optimizer.step()


def test_what_was_asked_is_not_asked_again_and_comes_out_the_same(
    subject: Subject, cells: Cells, tmp_path: Path
) -> None:
    first, _ = asked(subject, cells)
    again, told = asked(subject, cells)
    assert (again.reused, told) == (again.cells, [])
    fresh, _ = asked(subject, Cells(tmp_path))
    assert fresh.reused == 0
    assert fresh.rows == again.rows == first.rows
    assert fresh.examples == again.examples


def test_another_seed_or_judge_asks_for_samples_anew_and_for_nothing_else(
    subject: Subject, cells: Cells, tmp_path: Path
) -> None:
    words = tmp_path / "mine.txt"
    words.write_text("zebra\n", encoding="utf-8")
    asked(subject, cells)
    for options in ({"seed": 1}, {"data": (words,)}):
        data = options.pop("data", ())
        found, _ = asked(subject, cells, *data, **options)
        assert found.cells - found.reused == 1
    assert all("mine.txt, 1 words" in row["source"] for row in found.rows if row["benchmark"] == "toxicity")


def test_labelled_texts_train_a_judge_that_is_kept(subject: Subject, cells: Cells, tmp_path: Path) -> None:
    path = write_texts(tmp_path / "mine.jsonl", 200)
    found, _ = asked(subject, cells, path)
    (source,) = {row["source"] for row in found.rows if row["benchmark"] == "toxicity"}
    assert "texts of mine.jsonl" in source
    assert found.notes == ("mine.jsonl: read as labelled texts",)
    (kept,) = cells.folder.glob("toxicity-*")
    again, _ = asked(subject, cells, kept)
    assert again.reused == again.cells, "the same judge from its own folder"
    path.rename(tmp_path / "renamed.jsonl")
    renamed, _ = asked(subject, cells, tmp_path / "renamed.jsonl")
    assert renamed.reused == renamed.cells, "a file's name is no part of what was asked"


def test_published_files_are_asked_beside_our_own(subject: Subject, cells: Cells, tmp_path: Path) -> None:
    path = tmp_path / "Age.jsonl"
    path.write_text("".join(json.dumps({**AGE, "example_id": number}) + "\n" for number in range(5)), encoding="utf-8")
    found, _ = asked(subject, cells, path, limit=3)
    rows = {row["metric"]: row for row in found.rows if row["benchmark"] == "bbq_age"}
    assert rows["acc_ambiguous"]["n"] == 3
    assert rows["acc_ambiguous"]["source"].startswith("Age.jsonl, sha256 ")
    assert found.notes == ("Age.jsonl: read as BBQ",)


def test_what_is_no_data_for_it_is_refused(subject: Subject, cells: Cells, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"question": "?"}\n', encoding="utf-8")
    with pytest.raises(ValueError, match=r"a\.jsonl: is nothing that the suite safety reads; give BBQ's"):
        recognised(path)
    with pytest.raises(ValueError, match="nowhere: there is no such file"):
        recognised(tmp_path / "nowhere")
    one, two = tmp_path / "one.txt", tmp_path / "two.txt"
    for each in (one, two):
        each.write_text("zebra\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"one\.txt \(words\), two\.txt \(words\) would all judge toxicity"):
        asked(subject, cells, one, two)
