"""What every stage of the lifecycle has in common: be reused, or run as a subflow, and be written down either way."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from flows import reuse
from flows.session import Refused, Session, figures_of
from infra.database import runs

Outcome = dict[str, Any]
Artifacts = Mapping[str, Mapping[str, Any]]

FINISHED = ("trained", "done")


@dataclass(frozen=True, kw_only=True)
class Stage:
    """`key` is what the stage's result depends on; `flow` is the Prefect flow that makes it, called with flat values.

    A stage whose `key` is "" is never reused: what it does depends on what is in production.
    """

    name: str
    key: Callable[[Session], str]
    flow: Callable[..., Outcome]


def settle(session: Session, stage: Stage) -> Outcome:
    """Reuse the stage or run it; the outcome joins the session's. Raises what the stage raises, written down first."""
    with session.clock.part("glue"):
        key = stage.key(session)
        known, damage = reuse.find(session.engine, key) if key else (None, "")
    if damage:
        session.display.note(f"{stage.name}: not reused, {damage}")
    outcome = _run(session, stage, key) if known is None else _reused(session, known)
    session.outcomes.append(outcome)
    _show(session, outcome)
    return outcome


def _reused(session: Session, known: Outcome) -> Outcome:
    """What this very run did before it was broken off stays its own work."""
    if known["run"] == session.run_id:
        return {**known, "reused_from": None}
    return {**known, "state": "reused", "reused_from": known["run"], "seconds": 0.0}


def _run(session: Session, stage: Stage, key: str) -> Outcome:
    session.ready_to_work()
    session.display.stage_started(stage.name)
    began = time.monotonic()
    try:
        outcome = stage.flow(recipe=session.recipe.name, key=key)
    except BaseException as error:
        failed = _failed(stage.name, error, time.monotonic() - began)
        runs.record_stage(session.engine, session.run_id, stage.name, key, failed["state"], failed, [])
        session.outcomes.append(failed)
        session.display.stage_ended(stage.name, failed["state"], figures_of(failed), failed["seconds"])
        raise
    outcome = {"stage": stage.name, "reused_from": None, "seconds": round(time.monotonic() - began, 2), **outcome}
    artifacts = list(outcome["artifacts"].values())
    runs.record_stage(session.engine, session.run_id, stage.name, key, outcome["state"], outcome, artifacts)
    return outcome


def _failed(stage: str, error: BaseException, seconds: float) -> Outcome:
    """A refusal carries the gate's figures; everything else its one sentence."""
    state = "refused" if isinstance(error, Refused) else "failed" if isinstance(error, Exception) else "interrupted"
    if getattr(error, "exit_status", None) == 75:
        state = "interrupted"
    shown = getattr(error, "outcome", {"reason": " ".join(str(error).split())[:500]})
    return {"artifacts": {}, **shown, "stage": stage, "state": state, "seconds": round(seconds, 2), "reused_from": None}


def _show(session: Session, outcome: Outcome) -> None:
    figures: Any = figures_of(outcome)
    if outcome["state"] == "reused":
        figures = f"from run {outcome['reused_from']}"
    session.display.stage_ended(outcome["stage"], outcome["state"], figures, outcome["seconds"])


def handle(artifact: Any) -> dict[str, Any]:
    """What an outcome says of an artifact: kind, digest and where it lies."""
    return {"kind": artifact.kind, "digest": artifact.digest, "path": str(artifact.path)}
