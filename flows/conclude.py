"""The end of a run, whatever it was: its record, its report, its state in the ledger and in MLflow."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from flows.session import Refused, Session
from infra import tracking
from infra.database import lineage, runs
from infra.settings import Settings
from infra.spool import SPOOL_FILE, SpoolReader
from infra.storage import bytes_used, read_json, write_json

SHOWN_IN_TABLE = (
    "stage", "state", "reused_from", "metric", "before", "after", "unit", "verdict", "reason", "seconds",
    "worker_pid", "digest", "mlflow_run", "floors_note",
)  # fmt: skip
SIEVES = ("ingest", "clean", "deduplicate", "decontaminate", "redact", "split")
LATEST_REPORT = "latest"


@contextmanager
def concluding(session: Session, record: dict[str, Any]) -> Iterator[None]:
    """Fill `record` at the end, and leave nothing that still says "running"; exceptions go on."""
    try:
        yield
    except BaseException as error:
        record.update(conclude(session, state_of(error)))
        raise
    record.update(conclude(session, "done"))


def state_of(error: BaseException) -> str:
    if isinstance(error, Refused):
        return "refused"
    if getattr(error, "exit_status", None) == 75:
        return "preempted"
    return "failed" if isinstance(error, Exception) else "interrupted"


def conclude(session: Session, state: str) -> dict[str, Any]:
    """Write record and report, end the run in the ledger and in MLflow; the record."""
    with session.clock.part("glue"):
        if session.mlflow_run is not None:
            status = {"done": "FINISHED", "refused": "FAILED", "failed": "FAILED"}.get(state, "KILLED")
            tracking.finish(session.settings, session.mlflow_run, status)
    record = record_of(session, state)
    if session.outcomes:
        folder = session.settings.reports / session.run_id
        record["report"] = str(write_page(record, folder))
        record["places"] = {"report": record["report"], **record["places"]}
    # the report takes a second of its own, which the record must not forget
    record["time"] = {"parts": session.clock.summary(), "wall": round(session.clock.wall, 2)}
    record["run"]["seconds"] = record["time"]["wall"]
    runs.end_run(session.engine, session.run_id, state, _kept(record))
    return record


def write_page(record: Mapping[str, Any], folder: Path) -> Path:
    from tasks.release.report import write_report

    page = write_report(record, folder)
    write_json(folder.parent / f"{LATEST_REPORT}.json", {"run": record["run"]["id"], "page": str(page)})
    return page


def record_of(session: Session, state: str) -> dict[str, Any]:
    """What the page and the final table show (tests/golden/run_record.json is one)."""
    outcomes = {outcome["stage"]: outcome for outcome in session.outcomes}
    return {
        "run": {
            "id": session.run_id,
            "version": metadata.version("espalier"),
            "recipe": session.recipe.name,
            "started": session.started,
            "seconds": round(session.clock.wall, 2),
            "state": state,
            "went on after a break": "yes" if session.resumed else "no",
            "code": session.code or "no git",
        },
        "stages": [{name: outcome.get(name) for name in SHOWN_IN_TABLE} for outcome in session.outcomes],
        "curves": {name: curve for name, found in outcomes.items() if (curve := _curve(found))},
        "samples": [sample for found in session.outcomes for sample in _samples(found)],
        "answers": (outcomes.get("evaluate", {}).get("figures") or {}).get("answers", []),
        "bits_per_byte": _bits(outcomes.get("pretrain", {})),
        "gates": [_gate(found) for found in session.outcomes if found.get("gate")],
        "data": _data(outcomes.get("corpus", {})),
        "lineage": _lineage(session),
        "time": {"parts": session.clock.summary(), "wall": round(session.clock.wall, 2)},
        "production": (outcomes.get("release") or {}).get("production"),
        "places": _places(session.settings),
        "disk_bytes": bytes_used(session.settings.home),
    }


def _data(outcome: Mapping[str, Any]) -> dict[str, Any]:
    """Kept and refused documents in the order in which the text goes through."""
    counts = (outcome.get("figures") or {}).get("counts", {})
    return {sieve: _documents(counts[sieve]) for sieve in SIEVES if sieve in counts}


def _documents(counts: Mapping[str, Any]) -> dict[str, Any]:
    """{"input", "kept", "refused": {reason: n}, and what was changed, by its own name}."""
    counted = {name: counts[name] for name in ("input", "kept", "refused") if name in counts}
    return {**counted, **(counts.get("changes") or {})}


def _curve(outcome: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The metrics of every step, the last of each; of a training that ran long ago if its folder still lies there."""
    folder = (outcome.get("training") or {}).get("folder")
    records = SpoolReader(Path(folder) / SPOOL_FILE).read() if folder else []
    by_step = {record["step"]: record for record in records}
    return [by_step[step] for step in sorted(by_step)]


def _samples(outcome: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the model wrote at its last look."""
    folder = (outcome.get("training") or {}).get("folder")
    if not folder:
        return []
    from tasks.training.spoken import read_samples

    found = read_samples(Path(folder))
    last = max((sample["step"] for sample in found), default=0)
    return [{"stage": outcome["stage"], **sample} for sample in found if sample["step"] == last]


def _bits(outcome: Mapping[str, Any]) -> dict[str, float]:
    figures = outcome.get("figures") or {}
    if "bits_per_byte" not in figures:
        return {}
    return {**figures.get("counting", {}), "model": figures["bits_per_byte"]["value"]}


def _gate(outcome: Mapping[str, Any]) -> dict[str, Any]:
    gate = outcome["gate"]
    checks = {_label(check["rule"]): check["reason"].removeprefix(f"{check['rule']}: ") for check in gate["checks"]}
    passed = gate["verdict"] == "PASS"
    reason = "" if passed else f"{gate['reason']}; likely: {gate['likely']}"
    return {
        "stage": outcome["stage"],
        "verdict": gate["verdict"],
        "passed": passed,
        "reason": reason,
        "figures": checks,
    }


def _label(rule: str) -> str:
    """The rule on numbers of items is named by what it leads to; a reader wants to know what it asks."""
    return "enough to judge by" if rule == "INSUFFICIENT" else rule


def _lineage(session: Session) -> Any:
    """The chain of the newest checkpoint of this run."""
    made = [found["digest"] for found in session.outcomes if found.get("artifacts") and found.get("training")]
    return lineage.chain(session.engine, made[-1]) if made else []


def _places(settings: Settings) -> dict[str, str]:
    return {"models": str(settings.artifacts), "logs": str(settings.logs), "data": str(settings.data)}


def _kept(record: Mapping[str, Any]) -> dict[str, Any]:
    """What the ledger keeps of a record: the page's file has the curves."""
    return {name: value for name, value in record.items() if name not in ("curves", "samples", "lineage")}


def latest_report(settings: Settings) -> Path | None:
    found = read_json(settings.reports / f"{LATEST_REPORT}.json")
    return Path(found["page"]) if isinstance(found, dict) else None
