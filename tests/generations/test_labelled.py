"""Labelled sentences: read from what people have, told by vectors that hold the label, and refused in one sentence."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from tasks.generations.labelled import classified, label_reading, read_labelled
from tasks.generations.sentences import word_means
from tasks.generations.text import SPLITS, TextConfig, cut

WORDS = {"good": ("fine", "great", "lovely"), "bad": ("poor", "awful", "dull"), "odd": ("strange", "weird", "queer")}


def rows(count: int) -> list[dict[str, str]]:
    random = np.random.default_rng(4)
    labels = random.choice(list(WORDS), count)
    return [{"sentence": f"a {random.choice(WORDS[label])} film", "label": str(label)} for label in labels]


def test_json_lines_and_tables_are_read_alike(tmp_path: Path) -> None:
    found = rows(60)
    with gzip.open(tmp_path / "a.jsonl.gz", "wt", encoding="utf-8") as stream:
        stream.writelines(json.dumps(row) + "\n" for row in found)
    table = "".join(f"{n}\t{row['sentence']}\t{row['label']}\n" for n, row in enumerate(found))
    (tmp_path / "b.txt").write_text("id\tdocument\tlabel\n" + table, encoding="utf-8")
    one, other = read_labelled(tmp_path / "a.jsonl.gz"), read_labelled(tmp_path / "b.txt")
    assert one.sentences == other.sentences == tuple(row["sentence"] for row in found)
    assert one.labels == other.labels
    assert one.name == "a.jsonl.gz"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"sentence": "a film"}\n', 'row 1 has no "label"'),
        ('{"sentence": "a film", "label": 1}\n' * 60, "of two labels are needed"),
        ("a film\n", "cannot be read as labelled sentences"),
        ('["a film"]\n', "line 1 is no JSON object"),
    ],
)
def test_what_is_no_classification_set_is_refused(content: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=said):
        read_labelled(tmp_path / "a.jsonl")


@pytest.mark.parametrize("level", ["word", "subword", "char"])
def test_vectors_that_hold_the_label_tell_it(level: str, tmp_path: Path) -> None:
    found = rows(400)
    for name in SPLITS:
        (tmp_path / f"{name}.txt").write_text("".join(f"{row['sentence']}\n" for row in found), encoding="utf-8")
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in found), encoding="utf-8")
    text = cut({name: tmp_path / f"{name}.txt" for name in SPLITS}, TextConfig(level=level, subwords=300))  # type: ignore[arg-type]
    assert text.spoken(text.coded("a fine film")) == "a fine film"
    labelled, vectors = read_labelled(tmp_path / "a.jsonl"), np.eye(text.vocabulary)
    (said,) = label_reading(
        lambda sentences: word_means(vectors, np.arange(text.vocabulary), sentences), text, labelled, seed=1
    ).values()
    assert said.startswith("100.0% right of 80")


def test_the_surest_reader_decides() -> None:
    """Three corners of a triangle: each label's own corner, with a little noise."""
    random = np.random.default_rng(2)
    corners = {"a": (1.0, 0.0), "b": (-0.5, 0.9), "c": (-0.5, -0.9)}
    labels = random.choice(list(corners), 300).tolist()
    points = np.array([corners[label] for label in labels]) + 0.1 * random.standard_normal((300, 2))
    assert classified(points[:200], labels[:200], points[200:], labels[200:]) > 0.97
