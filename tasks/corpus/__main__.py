"""DVC's door: `python -m tasks.corpus STAGE NAME` runs one stage of one corpus, in a checkout."""

from pathlib import Path

from tasks.corpus.clean import clean
from tasks.corpus.corpora import default_home, load_corpus
from tasks.corpus.decontaminate import decontaminate, evaluation_texts
from tasks.corpus.deduplicate import deduplicate
from tasks.corpus.ingest import ingest
from tasks.corpus.inventory import take_inventory
from tasks.corpus.redact import redact
from tasks.corpus.split import split
from tasks.door import enter

STAGES = ("inventory", "ingest", "clean", "deduplicate", "decontaminate", "redact", "split")


def run(stage: str, name: str, checkout: Path) -> None:
    """One stage; folders are where dvc.yaml says."""
    config = load_corpus(checkout, default_home(checkout), name)
    data = checkout / ".espalier" / "data" / name
    refused = data / "refused" / stage
    if stage == "inventory":
        take_inventory(data / "inventory", config, checkout, name)
    elif stage == "ingest":
        ingest(
            data / "inventory", data / "raw", refused,
            sources=config.sources, limits=config.limits, checkout=checkout,
        )  # fmt: skip
    elif stage == "clean":
        clean(data / "raw", data / "clean", refused, config.clean)
    elif stage == "deduplicate":
        deduplicate(data / "clean", data / "deduplicated", refused, config.deduplicate)
    elif stage == "decontaminate":
        texts = evaluation_texts(checkout, config.decontaminate)
        decontaminate(data / "deduplicated", data / "decontaminated", refused, config.decontaminate, texts)
    elif stage == "redact":
        redact(data / "decontaminated", data / "redacted", refused, config.redact)
    else:
        split(data / "redacted", data / "split", refused, config.split)


if __name__ == "__main__":
    raise SystemExit(enter("tasks.corpus", STAGES, run))
