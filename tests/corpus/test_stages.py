"""The stages one after another, as `python -m tasks.corpus` runs them: counts, endings, and the same bytes anywhere."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.artifacts import read_artifact, verify
from tasks.corpus.__main__ import STAGES

CHECKOUT = Path(__file__).resolve().parents[2]
SIEVES = STAGES[1:]
FOLDERS = ("raw", "clean", "deduplicated", "decontaminated", "redacted")


def dirty_corpus(folder: Path) -> Path:
    """A little of everything: good text in groups of its own, and something for most stages to refuse."""
    folder.mkdir()
    for number in range(12):
        words = " ".join(f"word{number * 97 + place}" for place in range(120))
        (folder / f"good-{number:02}.txt").write_text(f"Write to someone{number}@corp.kr about it.\n\n{words}\n")
    (folder / "copy.txt").write_bytes((folder / "good-03.txt").read_bytes())
    (folder / "near.txt").write_bytes((folder / "good-04.txt").read_bytes().replace(b"word400", b"another"))
    (folder / "bad.txt").write_bytes(b"bad \xff byte\n")
    (folder / "empty.txt").write_bytes(b"")
    (folder / "blank.txt").write_text(" \n \n")
    (folder / "figures.txt").write_text("1 2 3 4 5 6 7 8 9 10 11 12 13\n")
    (folder / "korean.txt").write_text("모든 국민은 법률이 정하는 바에 의하여 국방의 의무를 진다.\n")
    return folder


def test_the_counts_of_all_stages_add_up_and_chain(checkout: Callable[..., Any], tmp_path: Path) -> None:
    own = checkout(dirty_corpus(tmp_path / "files")).run()
    counts = [own.counts(stage) for stage in SIEVES]
    for count in counts:
        assert count["input"] == count["kept"] + sum(count["refused"].values())
    assert [count["input"] for count in counts[1:]] == [count["kept"] for count in counts[:-1]]
    assert [count["refused"] for count in counts] == [
        {"empty file": 1, "invalid encoding": 1},
        {"empty": 1, "few letters": 1},
        {"exact duplicate": 1, "near duplicate": 1},
        {}, {}, {},
    ]  # fmt: skip
    assert counts[4]["changes"] == {"email": 12}
    assert all(len(own.refused(stage)) == sum(own.counts(stage)["refused"].values()) for stage in SIEVES)


def test_every_folder_is_sealed_and_names_its_parent(checkout: Callable[..., Any], tmp_path: Path) -> None:
    own = checkout(dirty_corpus(tmp_path / "files")).run()
    for parent, child in zip(FOLDERS, (*FOLDERS[1:], "split"), strict=True):
        assert verify(own.data / child) == (True, "")
        assert read_artifact(own.data / child).parents == (read_artifact(own.data / parent).digest,)
    assert not list(own.data.rglob("*.tmp"))


def test_the_same_text_gives_the_same_bytes_at_another_place_and_in_another_process(
    checkout: Callable[..., Any], tmp_path: Path
) -> None:
    files = dirty_corpus(tmp_path / "files")
    here = checkout(files).run()
    there = tmp_path / "quite" / "elsewhere"
    shutil.copytree(files, there / "texts")
    for path in (there / "texts").iterdir():
        os.utime(path, (0, 0))
    (there / "params.yaml").write_text("corpora: {own: {sources: [{path: texts, name: own}]}}\n")
    for stage in STAGES:
        result = door(stage, there, PYTHONHASHSEED="77")
        assert (result.returncode, result.stderr) == (0, "")
    assert tree(there / ".espalier" / "data" / "own") == tree(here.data)


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def door(stage: str, checkout: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tasks.corpus", stage, "own"],
        cwd=checkout, env={**os.environ, "PYTHONPATH": str(CHECKOUT), **environment}, capture_output=True, text=True,
    )  # fmt: skip


def test_no_text_left_ends_with_one_sentence_and_the_record_of_why(
    checkout: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "files").mkdir()
    for number in range(5):
        (tmp_path / "files" / f"{number}.txt").write_text(f"{number} {number} {number} {number} {number} 1 2 3 4 5\n")
    own = checkout(tmp_path / "files").run("inventory", "ingest")
    result = door("clean", own.folder)
    assert result.returncode == 2
    assert result.stderr == (
        "ValueError: clean: no training data left: 5 documents in, 0 kept (few letters: 5); "
        "name other sources, or loosen this stage's rules under corpora: in params.yaml\n"
    )
    assert own.counts("clean") == {"input": 5, "kept": 0, "refused": {"few letters": 5}}
    assert not (own.data / "clean").exists()
    assert not list(own.data.rglob("*.tmp"))


@pytest.mark.parametrize(
    ("texts", "stages", "sentence"),
    [
        ([""] * 3, ("ingest",), r"ingest: no training data left: 3 documents in, 0 kept \(empty file: 3\)"),
        ([" \n"] * 3, ("ingest", "clean"), r"clean: no training data left: 3 documents in, 0 kept \(empty: 3\)"),
        (["The same text in all of the files.\n"] * 9, STAGES[1:], r"split: the text is 1 group\(s\)"),
        (["A corpus of a single document, and no more.\n"], STAGES[1:], r"split: the text is 1 group\(s\)"),
    ],
    ids=["empty files", "blank files", "all the same", "one document"],
)
def test_too_little_text_is_named(
    texts: list[str], stages: tuple[str, ...], sentence: str, checkout: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "files").mkdir()
    for number, text in enumerate(texts):
        (tmp_path / "files" / f"{number}.txt").write_text(text)
    with pytest.raises(ValueError, match=sentence):
        checkout(tmp_path / "files").run("inventory", *stages)


def test_a_killed_stage_leaves_nothing_that_counts(checkout: Callable[..., Any], tmp_path: Path) -> None:
    own = checkout(dirty_corpus(tmp_path / "files")).run("inventory", "ingest")
    half = own.data / "clean.tmp"
    half.mkdir()
    (half / "documents.jsonl").write_text("half a li")
    own.run("clean")
    assert verify(own.data / "clean") == (True, "")
    assert not half.exists()


def test_a_wrong_setting_and_an_unknown_name_are_one_sentence(checkout: Callable[..., Any], tmp_path: Path) -> None:
    own = checkout(tmp_path, clean={"min_charcters": 5})
    result = door("inventory", own.folder)
    assert (result.returncode, result.stderr) == (
        2,
        "ValueError: params.yaml: corpora.own.clean.min_charcters: unknown key; did you mean min_characters?\n",
    )


def test_the_inventory_changes_only_where_something_changed(checkout: Callable[..., Any], tmp_path: Path) -> None:
    files = dirty_corpus(tmp_path / "files")
    first = tree(checkout(files).run("inventory").data / "inventory")
    second = tree(checkout(files, clean={"min_characters": 7}).run("inventory").data / "inventory")
    assert {name for name in first if first[name] != second[name]} == {"clean.json", "artifact.json"}
    (files / "good-00.txt").write_text("Another text.\n")
    third = tree(checkout(files, clean={"min_characters": 7}).run("inventory").data / "inventory")
    assert {name for name in second if second[name] != third[name]} == {"sources.json", "artifact.json"}
    assert str(tmp_path).encode() not in b"".join(third.values())


def test_evaluation_files_of_one_name_are_told_apart(checkout: Callable[..., Any], tmp_path: Path) -> None:
    files = dirty_corpus(tmp_path / "files")
    named = [str(tmp_path / "a" / "texts.txt"), str(tmp_path / "b" / "texts.txt")]
    for path in map(Path, named):
        path.parent.mkdir()
        path.write_text("one\n")
    settings = {"decontaminate": {"evaluation_texts": named}}
    first = tree(checkout(files, **settings).run("inventory").data / "inventory")
    Path(named[0]).write_text("two\n")
    second = tree(checkout(files, **settings).run("inventory").data / "inventory")
    assert first["decontaminate.json"] != second["decontaminate.json"]
    assert str(tmp_path).encode() not in second["decontaminate.json"]
