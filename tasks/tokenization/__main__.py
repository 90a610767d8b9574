"""DVC's door: `python -m tasks.tokenization tokenizer|tokens NAME` runs one stage of one corpus, in a checkout."""

from pathlib import Path

from tasks.corpus.params import load_named
from tasks.door import enter
from tasks.tokenization.encode import encode_corpus
from tasks.tokenization.fit import TokenizerConfig, fit_tokenizer

STAGES = ("tokenizer", "tokens")


def run(stage: str, name: str, checkout: Path) -> None:
    """One stage; folders are where dvc.yaml says."""
    data = checkout / ".espalier" / "data" / name
    if stage == "tokenizer":
        config = load_named(TokenizerConfig, checkout, "tokenizers", name)
        fit_tokenizer(data / "split", data / "tokenizer", config)
    else:
        encode_corpus(data / "split", data / "tokenizer", data / "tokens")


if __name__ == "__main__":
    raise SystemExit(enter("tasks.tokenization", STAGES, run))
