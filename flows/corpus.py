"""The corpus stage: DVC makes what is missing or outdated, from sources to token shards and instruction items."""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.artifacts import create_table_artifact

from flows.conclude import SIEVES
from flows.reuse import key_of
from flows.session import Session, current
from flows.stages import Outcome, Stage, handle
from infra import data_versions
from infra.database import lineage, runs
from tasks.artifacts import read_artifact, verify
from tasks.corpus import steps
from tasks.corpus.corpora import load_corpus
from tasks.corpus.inventory import take_inventory

TARGETS = ("tokens", "instructions", "baseline")
# every folder a data stage writes; what later stages ask for by name, and what only people look at
MADE = ("split", "tokenizer", "tokens", "instructions", "baseline")
ON_THE_WAY = ("raw", "clean", "deduplicated", "decontaminated", "redacted", *(f"refused/{name}" for name in SIEVES))
SETTINGS = ("tokenizers", "instructions")


def key(session: Session) -> str:
    """What all sources hold and all stages are set to, looked at now: nothing is started for it."""
    checkout, name = session.settings.checkout, session.recipe.data
    config = load_corpus(checkout, session.settings.home, name)
    with tempfile.TemporaryDirectory() as temporary:
        inventory = Path(temporary) / "inventory"
        take_inventory(inventory, config, checkout, name)
        digest = read_artifact(inventory).digest
    return key_of(checkout, "corpus", name=name, inventory=digest, settings=_settings(checkout, name))


def _settings(checkout: Path, name: str) -> dict[str, Any]:
    from tasks.configuration import read_yaml

    params = read_yaml(checkout / "params.yaml")
    return {section: (params.get(section) or {}).get(name) for section in SETTINGS}


@flow(name="corpus")
def corpus(recipe: str, key: str) -> Outcome:
    """Run `dvc repro` for the recipe's data, and say what was kept and refused."""
    del recipe, key
    session = current()
    name = session.recipe.data
    for folder in damaged(session):
        session.display.note(f"{folder}: damaged; DVC makes it again")
        shutil.rmtree(session.data(folder), ignore_errors=True)
    with session.clock.part("data"):
        ran = steps.reproduce([f"{target}@{name}" for target in TARGETS])
    runs.keep_data_lock(session.engine, session.run_id, data_versions.lock_bytes(session.settings))
    artifacts = {folder: handle(read_artifact(session.data(folder))) for folder in (*MADE, *ON_THE_WAY)}
    counts = {sieve: _read(session.data("refused", sieve, "counts.json")) for sieve in SIEVES}
    tokens = _read(session.data("tokens", "index.json"))["splits"]
    _remember(session, counts, tokens)
    create_table_artifact(
        table=[{"stage": stage, **_flat(found)} for stage, found in counts.items()],
        key="corpus", description=f"documents of {name}: kept and refused, by reason",
    )  # fmt: skip
    return {
        "state": "done",
        "metric": "documents kept",
        "unit": "documents",
        "before": counts["ingest"]["input"],
        "after": counts["split"]["kept"],
        "artifacts": artifacts,
        "digest": artifacts["tokens"]["digest"],
        "figures": {"counts": counts, "tokens": tokens, "stages": dict(ran)},
    }


def damaged(session: Session) -> list[str]:
    """Folders whose files are not what their manifests say; DVC itself would not notice."""
    there = [folder for folder in (*MADE, *ON_THE_WAY) if session.data(folder).is_dir()]
    return [folder for folder in there if not verify(session.data(folder))[0]]


def _remember(session: Session, counts: dict[str, Any], tokens: dict[str, Any]) -> None:
    """Data in the ledger's lineage, so that a model's chain ends at its text."""
    summaries: dict[str, dict[str, Any]] = {
        "split": {"data": session.recipe.data, "documents": counts["split"]["kept"], "of": counts["ingest"]["input"]},
        "tokens": {f"{split} tokens": found["tokens"] for split, found in tokens.items()},
    }
    for folder in (*ON_THE_WAY, *MADE):
        artifact = read_artifact(session.data(folder))
        if artifact.digest in artifact.parents:
            continue  # a stage that refused nothing: the very documents that the one before it kept
        lineage.record_artifact(
            session.engine,
            digest=artifact.digest,
            kind="corpus" if folder == "split" else folder,
            path=artifact.path,
            parents=artifact.parents,
            summary=summaries.get(folder, {}),
        )


def _flat(counts: dict[str, Any]) -> dict[str, Any]:
    refused = ", ".join(f"{reason}: {number}" for reason, number in counts["refused"].items())
    return {"in": counts["input"], "kept": counts["kept"], "refused": refused}


def _read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8")))


STAGE = Stage(name="corpus", key=key, flow=corpus)
