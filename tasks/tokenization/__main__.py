"""DVC's door: `python -m tasks.tokenization tokenizer|tokens NAME` runs one stage of one corpus, in a checkout.

Exit status 2 and one sentence when the settings or the data are wrong.
"""

import argparse
import sys
from pathlib import Path

from tasks.corpus.params import load_named
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


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tasks.tokenization", description=__doc__)
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("name", help="a name of params.yaml")
    options = parser.parse_args()
    try:
        run(options.stage, options.name, Path.cwd())
    except (ValueError, OSError) as error:
        sys.stderr.write(f"ValueError: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
