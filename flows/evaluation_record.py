"""What is kept of an evaluation beside its figures: what its model may have seen of it, its page, its run in MLflow."""

import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from infra import tracking
from infra.database import lineage, sessions
from infra.settings import Settings, apply_environment
from infra.storage import read_json, write_json
from tasks.artifacts import ARTIFACT_FILE, file_sha256, read_artifact
from tasks.evaluation.contamination import TrainingSet

TRAINING_FILE = "train.jsonl"
HOLD_TEXTS = ("corpus", "instructions", "conversations", "preferences")  # kinds of the ledger
RECORD_FILE = "recorded.json"  # {"document": sha256 of document.json, "mlflow_run"}
LONGEST_METRIC = 250  # characters: MLflow's limit


def keep_record(settings: Settings, folder: Path) -> dict[str, Any]:
    """Contamination, report.html and the MLflow run of the evaluation in `folder`; its document.

    What stands there for the very document that is in the folder is not made again.
    """
    from tasks.evaluation.documents import DOCUMENT_FILE, read_document

    path = folder / DOCUMENT_FILE
    if (read_json(folder / RECORD_FILE) or {}).get("document") == file_sha256(path):
        return read_document(folder)
    apply_environment(settings)
    from tasks.evaluation.report import write_report
    from tasks.evaluation.subsets import record_contamination

    document = read_document(folder)
    if "contamination" not in document:
        document = record_contamination(folder, training_sets(settings, str(document["model"].get("digest"))))
    page = write_report(folder)
    try:
        run_id = track(settings, document, page)
        write_json(folder / RECORD_FILE, {"document": file_sha256(path), "mlflow_run": run_id})
    except Exception as error:  # MLflow is for people's eyes: that it is down must not cost the figures
        sys.stderr.write(f"MLflow has no run of this evaluation yet ({error}); the same command makes it\n")
    return document


def training_sets(settings: Settings, digest: str) -> list[TrainingSet]:
    """What the ledger says the model was made from, as far as it still lies there; nothing for a model from elsewhere."""
    with sessions.ledger(settings) as engine:
        chain = lineage.chain(engine, digest)
    learned = {str(node["digest"]): node for node in _nodes(chain) if node["kind"] in HOLD_TEXTS}
    found = []
    for each, node in learned.items():
        if path := _texts_of(node):
            found.append(TrainingSet(name=f"{node['kind']} {each[:12]}", path=path))
        else:
            sys.stderr.write(
                f"contamination: the {node['kind']} {each[:12]} that the model learned from are no longer at "
                f"{node['path']}; what they hold of these questions is not known\n"
            )
    return found


def _texts_of(node: Mapping[str, Any]) -> Path | None:
    """The file with its texts, unless something else lies there by now: a folder of data is made again in its place."""
    path = Path(node["path"])
    if path.is_file():
        return path if file_sha256(path) == node["digest"] else None
    if (path / ARTIFACT_FILE).is_file():
        lies_there = _digest_at(path)
        if lies_there != node["digest"] and lies_there[:12] != node["figures"].get("content"):
            return None
    texts = path / TRAINING_FILE
    return texts if texts.is_file() else None


def _digest_at(folder: Path) -> str:
    with suppress(ValueError):  # damaged: it is not what the ledger names
        return read_artifact(folder).digest
    return ""


def _nodes(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for parent in node["parents"]:
        yield parent
        yield from _nodes(parent)


def track(settings: Settings, document: Mapping[str, Any], page: Path) -> str:
    """The finished MLflow run of an evaluation: one for an identity, whoever asks how often. Its id."""
    model = document["model"]
    name = f"{document['suite']} {model['name']}"
    run_id = tracking.evaluation_run(settings, identity=document["identity"], name=name)
    with tracking.tracked(settings, run_id):
        tracking.log_missing(settings, run_id, metrics_of(document))
        tags = {"identity": document["identity"], "model": model["name"], "model_digest": model["digest"]}
        tracking.set_tags(settings, run_id, {f"espalier.{key}": str(each) for key, each in tags.items()})
        for path in (page, page.with_name("document.json")):
            tracking.log_file(settings, run_id, path)
    return run_id


def metrics_of(document: Mapping[str, Any]) -> dict[str, float]:
    """{"gsm8k/4-shot/cot/exact_match": 0.3, ".../low": 0.2, ".../high": 0.4, "gsm8k/dirty_share": 0.0}"""
    found: dict[str, float] = {}
    for row in document["rows"]:
        parts = (row["benchmark"], f"{row['shots']}-shot", row["mode"], row["metric"], row.get("subset"))
        name = "/".join(_plain(part) for part in parts if part)
        found |= {name: row["value"], f"{name}/low": row["low"], f"{name}/high": row["high"]}
    for each in document.get("contamination", {}).get("benchmarks", ()):
        if each["dirty_share"]:
            found[f"{_plain(each['benchmark'])}/dirty_share"] = each["dirty_share"]["value"]
    return found


def _plain(part: object) -> str:
    """MLflow takes letters, digits and a few signs in the name of a metric."""
    return re.sub(r"[^\w.\- ]", "_", str(part))[: LONGEST_METRIC // 5].strip(".") or "_"
