"""A small split corpus with a tokenizer of its own."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tasks.artifacts import write_artifact
from tasks.corpus.documents import SPLITS, Document, to_line

TEXTS = {
    "train": [
        "def f(value):\n    return value + 1\n" * 20,
        "모든 국민은 법 앞에 평등하다.\n" * 20,
        "A document that says <|endoftext|> in the middle.\n",
        "Once more with an emoji \U0001f609 and a \u2028 in it.\n" * 10,
    ],
    "valid": ["Held out text that no tokenizer saw: zzqx zzqx zzqx zzqx.\n"],
    "test": ["Another held out text.\n", "And a last one.\n"],
}


def write_split(folder: Path, texts: Mapping[str, list[str]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for split in SPLITS:
        documents = [
            Document(id=f"{split}/{number}", group=f"{split}/{number}", kind=("text", "source")[number % 2], text=text)
            for number, text in enumerate(texts.get(split, []))
        ]
        (folder / f"{split}.jsonl").write_text("".join(map(to_line, documents)), encoding="utf-8", newline="\n")
    write_artifact(folder, kind="split")
    return folder


@pytest.fixture
def split_of(tmp_path: Path) -> Callable[..., Path]:
    """split_of({"train": ["a text", ...], ...}) -> a sealed split folder."""

    def make(texts: Mapping[str, list[str]] = TEXTS, name: str = "split") -> Path:
        return write_split(tmp_path / name, texts)

    return make
