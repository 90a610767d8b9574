"""A classifier of one's own labelled texts: it finds what was planted, again and again the same, and says how well."""

import json
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from tasks.evaluation.labelled_texts import is_labelled, read_labelled
from tasks.evaluation.toxicity_classifier import features, load_classifier, train_classifier

WORDS = (
    "the",
    "a",
    "my",
    "your",
    "cat",
    "dog",
    "tree",
    "house",
    "runs",
    "stands",
    "old",
    "green",
    "quiet",
    "and",
    "or",
)
PLANTED = ("grumbok", "그럼복")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Products this small are not worth sharing out."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def write_texts(path: Path, count: int = 400, *, shuffled: bool = False) -> Path:
    """Half of the texts hold a planted word in one of its forms; `shuffled` labels have nothing to do with them."""
    chance = random.Random(3)
    lines = []
    for number in range(count):
        words = [chance.choice(WORDS) for _ in range(8)]
        if number % 2:
            words.insert(chance.randrange(8), chance.choice(PLANTED) + chance.choice(("", "s", "ed")))
        label = chance.randrange(2) if shuffled else number % 2
        lines.append(json.dumps({"text": " ".join(words), "label": label}) + "\n")
    path.write_text("".join(lines), encoding="utf-8")
    return path


def test_it_finds_what_was_planted_in_any_form(tmp_path: Path) -> None:
    found = train_classifier(write_texts(tmp_path / "mine.jsonl"))
    assert found.card.accuracy == 1.0
    assert found.card.area == 1.0
    assert found.card.trained + found.card.held_out == 400
    toxic, clean = found.score(["a GRUMBOKER stands", "the green river"])
    assert toxic > 0.5 > clean
    assert found.source.startswith(f"classifier of {found.card.trained} texts of mine.jsonl, sha256 ")


def test_it_finds_nothing_where_there_is_nothing(tmp_path: Path) -> None:
    card = train_classifier(write_texts(tmp_path / "mine.jsonl", 1000, shuffled=True)).card
    assert card.accuracy_low < 0.5 < card.accuracy_high
    assert card.area == pytest.approx(0.5, abs=0.15)


def test_it_is_the_same_again_and_after_saving(tmp_path: Path) -> None:
    path = write_texts(tmp_path / "mine.jsonl")
    first, second = train_classifier(path), train_classifier(path)
    assert first.weights.tobytes() == second.weights.tobytes()
    first.save(tmp_path / "kept")
    kept = load_classifier(tmp_path / "kept")
    assert (kept.card, kept.source) == (first.card, first.source)
    texts = ["a grumbok", "", "the 그럼복", "\ud800"]
    assert kept.score(texts).tolist() == first.score(texts).tolist()


def test_a_text_is_a_vector_of_length_one_and_a_constant() -> None:
    rows = features(["one two", "ONE  two", "three", ""]).toarray()
    assert np.linalg.norm(rows[:, :-1], axis=1) == pytest.approx([1.0, 1.0, 1.0, 1.0])
    assert rows[:, -1].tolist() == [1.0] * 4
    assert rows[0].tolist() == rows[1].tolist()
    assert rows[0] @ rows[2] < 1.5


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", 'id,comment_text,toxic\n1,"good, day",0\n2,bad,1\n'),
        ("a.tsv", "id\tdocument\tlabel\n1\tgood, day\t0\n2\tbad\t1\n"),
        ("a.jsonl", '{"text": "good, day", "label": "not toxic"}\n{"text": "bad", "label": true}\n'),
        ("a.jsonl", '{"text": "good, day", "toxicity": 0.2}\n{"text": "bad", "toxicity": 0.9}\n'),
    ],
)
def test_labelled_texts_are_read_as_they_are_published(name: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    assert is_labelled(path)
    good, bad = read_labelled(path)
    assert (good.text, bad.text) == ("good, day", "bad")
    assert good.label < 0.5 < bad.label


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.csv", "text,label\ngood,0\nbad,worse\n", r"a\.csv, line 3: the label 'worse' is none"),
        ("a.csv", "text,label\ngood,0\nbad,2\n", "line 3: the label '2' is none"),
        ("a.jsonl", '{"text": "good"}\n', r"a\.jsonl, line 1: there is no label"),
        ("a.jsonl", '{"label": 1}\n', "line 1: there is no text"),
        ("a.csv", "text,label\ngood,0\nfine,0\n", "0 of 2 texts are toxic"),
    ],
)
def test_a_row_that_is_not_labelled_is_named(name: str, text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=said):
        read_labelled(path)


def test_too_few_texts_and_a_folder_without_a_classifier_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="too few to train on some and try on others"):
        train_classifier(write_texts(tmp_path / "few.jsonl", 99))
    with pytest.raises(ValueError, match="holds no toxicity classifier"):
        load_classifier(tmp_path)
