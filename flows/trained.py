"""The four stages that train: train in a worker, measure, judge, register, promote; one MLflow run each."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect.artifacts import (
    create_link_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

from flows.reuse import key_of
from flows.session import Refused, Session
from flows.stages import Outcome
from infra import data_versions, tracking
from infra.spool import SPOOL_FILE, SpoolReader
from infra.storage import read_json
from infra.workers import RESULT_FILE
from tasks.artifacts import digest_of, file_sha256
from tasks.release import steps as release
from tasks.training import goodput
from tasks.training import steps as training

AUTHOR = "espalier run"
LOCK_FILE = "constraints.txt"
PROGRESS_EVERY_SECONDS = 10.0

Inputs = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A stage that trains. `kind` is what it makes, `part` the code it can import, `function` the worker's.

    `measured_by` is the function whose figures the gate judges; it is given the new model under `measured_as`.
    """

    stage: str
    kind: str
    part: str
    function: str
    measured_by: str
    measured_as: str


def training_identity(session: Session, what: Trained, inputs: Inputs, measured_with: Inputs) -> tuple[str, str]:
    """(what the training is, what the whole stage is: with its measures and its gate).

    Another floor in the gate judges again, and trains nothing.
    """
    checkout = session.settings.checkout
    training = key_of(
        checkout,
        what.part,
        stage=what.stage,
        inputs={name: each["digest"] for name, each in inputs.items()},
        recipe=session.recipe.section(what.stage),
        seed=session.recipe.seed,
    )
    judged = key_of(
        checkout,
        "release",
        training=training,
        measured_with={name: each["digest"] for name, each in measured_with.items()},
        gate=session.recipe.gate(what.stage),
    )
    return training, judged


def train_and_judge(
    session: Session, what: Trained, inputs: Inputs, measured_with: Inputs, arguments: Mapping[str, Any]
) -> Outcome:
    """The outcome of the stage; Refused, with its figures, when the gate says no.

    `arguments` go to the measuring function beside the folder of what was trained.
    """
    identity, _ = training_identity(session, what, inputs, measured_with)
    run = _tracked(session, what, inputs)
    with tracking.tracked(session.settings, run):
        result = _train(session, what, inputs, identity, run)
        artifact = result["artifact"]
        with session.clock.part("evaluation"):
            measured = training.call(
                f"measure {what.stage}", what.measured_by, {what.measured_as: artifact["path"], **arguments}
            )
        verdict = release.gate(what.stage, measured, session.recipe.section("gates"))
        outcome = _outcome(session, what, result, measured, verdict, run)
        _register(session, what, inputs, outcome)
        _write_down(session, what, outcome, run)
        if verdict["verdict"] != "PASS":
            raise refusal(outcome, verdict)
    return outcome


def refusal(outcome: Outcome, verdict: Mapping[str, Any]) -> Refused:
    """One sentence with the figures and the likely reasons."""
    reason = f"{verdict['reason']}; likely: {verdict['likely']}"
    return Refused(f"{outcome['stage']}: {reason}", {**outcome, "reason": reason})


def model_name(session: Session, kind: str) -> str:
    return f"{session.recipe.data}-{kind}"


def require_promoted(session: Session, kind: str, digest: str) -> None:
    """A stage takes only a checkpoint that the gate before it has promoted."""
    if not release.was_promoted(session.engine, model_name(session, kind), digest):
        raise ValueError(
            f"{model_name(session, kind)} {digest[:12]}: no gate has promoted it; run the whole of `espalier run`"
        )


def _tracked(session: Session, what: Trained, inputs: Inputs) -> str:
    """The stage's MLflow run, with its recipe, its parents and the versions of its data."""
    settings = session.settings
    with session.clock.part("glue"):
        run = tracking.stage_run(
            settings, parent=session.tracked, stage=what.stage, run_key=f"{session.run_id}:{what.stage}"
        )
        tracking.log_parameters(settings, run, {what.stage: session.recipe.section(what.stage)})
        tags = {f"espalier.input.{name}": each["digest"] for name, each in inputs.items()}
        tracking.set_tags(settings, run, {**tags, "espalier.code": session.code or "", "espalier.run": session.run_id})
        versions = data_versions.output_digests(settings)
        for name, each in inputs.items():
            path = Path(each["path"])
            place = path.relative_to(settings.checkout).as_posix() if path.is_relative_to(settings.checkout) else ""
            if place in versions:
                tracking.log_dataset(
                    settings, run, name=f"{session.recipe.data}/{name}", digest=versions[place], source=place,
                    context=what.stage,
                )  # fmt: skip
    return run


def _train(session: Session, what: Trained, inputs: Inputs, identity: str, run: str) -> dict[str, Any]:
    """Charge what the worker computed to training or sampling, and what it took to get it there to start-up."""
    settings, recipe = session.settings, session.recipe
    folder = settings.runs / f"{what.stage}-{identity[:16]}"
    job = {
        "folder": str(folder),
        "out": str(settings.artifacts / what.stage),
        "kind": what.kind,
        "identity": identity,
        "seed": recipe.seed,
        "config": recipe.section(what.stage),
        "runtime": recipe.section("runtime"),
        "inputs": {name: each["path"] for name, each in inputs.items()},
        "parents": {name: each["digest"] for name, each in inputs.items()},
        "recipe": recipe.section(what.stage),
        "code": session.code,
        "environment": {LOCK_FILE: file_sha256(settings.checkout / LOCK_FILE)[:16]},
    }
    if not folder.exists():
        for said in left_unfinished(settings.runs, what.stage):
            session.display.note(said)
    session.workers.listener = _Progress(session, what.stage)
    began, began_at = time.monotonic(), time.time()
    try:
        with session.clock.part("training"):
            result = training.train(
                what.stage, what.function, job, run, num_workers=int(recipe.section("runtime").get("workers", 1))
            )
    finally:
        session.workers.listener = None
    result["elapsed"] = time.monotonic() - began
    for event in _events(result):
        session.display.note(f"{what.stage}: {event}")
    result["folder"] = str(folder)
    records = SpoolReader(folder / SPOOL_FILE).read()
    result["sampling_seconds"] = _sampling_seconds(records, result["resumed_at"])
    result["goodput"] = goodput.split(records, began_at, time.time()).figures()  # of this call, not of those before it
    session.clock.move(result["elapsed"] - result["own_seconds"], source="training", target="start-up")
    session.clock.move(result["sampling_seconds"], source="training", target="sampling")
    return result


def left_unfinished(runs: Path, stage: str) -> list[str]:
    """One sentence for each training of this stage that has made steps and no result: its identity is another one."""
    found = []
    for folder in sorted(runs.glob(f"{stage}-*")):
        records = SpoolReader(folder / SPOOL_FILE).read()
        if records and "result" not in (read_json(folder / RESULT_FILE) or {}):
            last = records[-1]
            found.append(
                f"{stage}: begins anew; a training that ended unfinished at step {last['step']} of "
                f"{last.get('steps', 'its steps')} had other code, packages, data or settings, and is kept in {folder}: put "
                "these back to go on with it, or delete it"
            )
    return found


def _events(result: Mapping[str, Any]) -> list[str]:
    """What a person should know of a training beside its figures: how it was continued, what went wrong on the way."""
    return [said for said in (result["note"], *result["events"]) if said]


def _sampling_seconds(records: Sequence[Mapping[str, Any]], resumed_at: int) -> float:
    return sum(float(each.get("sampling_seconds", 0.0)) for each in records if each["step"] > resumed_at)


class _Progress:
    """Every step to the display; every few seconds to Prefect's page."""

    def __init__(self, session: Session, stage: str) -> None:
        self._session, self._stage = session, stage
        self._artifact: Any = create_progress_artifact(0.0, key=f"progress-{stage}", description=f"{stage}: steps")
        self._spoke = time.monotonic()
        self._last: dict[str, float] = {}

    def __call__(self, record: dict[str, Any]) -> None:
        self._last.update(record)
        step, steps = int(record["step"]), int(record.get("steps", record["step"]))
        self._session.display.progress(self._stage, step, steps, self._last)
        if step == steps or time.monotonic() - self._spoke >= PROGRESS_EVERY_SECONDS:
            self._spoke = time.monotonic()
            update_progress_artifact(self._artifact, progress=100.0 * step / max(1, steps))


def _outcome(
    session: Session,
    what: Trained,
    result: Mapping[str, Any],
    measured: Mapping[str, Any],
    verdict: Mapping[str, Any],
    run: str,
) -> Outcome:
    gates = session.recipe.section("gates")
    return {
        "stage": what.stage,
        "state": "trained",
        "metric": verdict["metric"],
        "unit": verdict["unit"],
        "before": verdict["before"],
        "after": verdict["after"],
        "verdict": verdict["verdict"],
        "reason": verdict["reason"],
        "digest": result["artifact"]["digest"],
        "worker_pid": result["worker_pid"],
        "mlflow_run": tracking.run_address(session.settings, run) or run,
        "floors_note": gates.get("note") or None,
        "artifacts": {what.kind: result["artifact"]},
        "figures": dict(measured),
        "gate": dict(verdict),
        "training": {name: value for name, value in result.items() if name not in ("artifact", "metrics")},
    }


def _register(session: Session, what: Trained, inputs: Inputs, outcome: Outcome) -> None:
    """Into the ledger with its gate report; promoted if the gate said so."""
    artifact, name = outcome["artifacts"][what.kind], model_name(session, what.kind)
    gates = session.recipe.section("gates")
    version = {
        "stage": what.kind,
        "digest": artifact["digest"],
        "path": artifact["path"],
        "parents": [each["digest"] for each in inputs.values()],
        "recipe": session.recipe.section(what.stage),
        "run_id": session.run_id,
        "figures": {outcome["metric"]: outcome["after"], "before": outcome["before"]},
        "author": AUTHOR,
    }
    report = {
        "report": {"gate": outcome["gate"], "figures": outcome["figures"], "note": gates.get("note", "")},
        "gates_digest": digest_of(gates),
        "data": data_digest(session),
        "code": session.code or "",
    }
    gate_report = release.register(name, version, outcome["gate"], report)
    outcome["gate_report"] = gate_report
    # the aligned model is promoted by the last gate, not by its own
    if outcome["verdict"] == "PASS" and what.kind != "aligned":
        release.promote(name, artifact["digest"], gate_report, AUTHOR, f"{session.run_id}:{name}:{gate_report}")


def data_digest(session: Session) -> str:
    """The version of all data: a digest of dvc.lock's bytes."""
    return digest_of(data_versions.lock_bytes(session.settings).decode("utf-8", "replace"))


def _write_down(session: Session, what: Trained, outcome: Outcome, run: str) -> None:
    """The stage's figures where people look: a table and a link in Prefect, metrics and files in MLflow."""
    with session.clock.part("glue"):
        rows = [
            {"rule": check["rule"], "passed": "yes" if check["passed"] else "no", "figures": check["reason"]}
            for check in outcome["gate"]["checks"]
        ]
        headline = {"rule": outcome["metric"], "passed": outcome["verdict"], "figures": f"{outcome['after']:.4f}"}
        create_table_artifact(table=[headline, *rows], key=f"gate-{what.stage}", description=outcome["unit"])
        address = str(outcome["mlflow_run"])
        if address.startswith("http"):
            create_link_artifact(link=address, link_text="MLflow run", key=f"mlflow-{what.stage}")
        figures = {"gate.before": outcome["before"], "gate.after": outcome["after"]}
        figures["gate.passed"] = float(outcome["verdict"] == "PASS")
        figures |= {f"goodput.{name}": value for name, value in outcome["training"]["goodput"].items()}
        tracking.log_metrics(session.settings, run, figures)
        said = {
            "events": "; ".join(_events(outcome["training"])) or "none",
            "digest": outcome["digest"],
            "verdict": outcome["verdict"],
            "gate": outcome["reason"],
        }
        tracking.set_tags(session.settings, run, {f"espalier.{name}": text for name, text in said.items()})
        samples = Path(outcome["training"]["folder"]) / "samples.jsonl"
        if samples.is_file():
            tracking.log_file(session.settings, run, samples)
        tracking.log_text(session.settings, run, data_versions.lock_bytes(session.settings).decode(), "dvc.lock")
