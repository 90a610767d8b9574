"""The last gate: an aligned checkpoint becomes production, unless what is in production answers better."""

from typing import Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from flows.instruct import answer_tokens
from flows.session import Session, current
from flows.stages import Outcome, Stage
from flows.trained import AUTHOR, data_digest, model_name, refusal
from infra.database import champions
from tasks.artifacts import digest_of
from tasks.release import steps
from tasks.training import steps as training

KIND = "aligned"


def key(session: Session) -> str:
    """Never reused: what it does depends on what is in production."""
    del session
    return ""


def decided_before(session: Session) -> Outcome | None:
    """The outcome where nothing is to be decided: the candidate is in production, or a person has taken it out."""
    name, digest = model_name(session, KIND), session.artifact("align", KIND)["digest"]
    outcome: Outcome = {
        "stage": "release", "reused_from": None, "seconds": 0.0, "metric": None, "before": None, "after": None,
        "unit": None, "verdict": None, "digest": digest, "artifacts": {}, "figures": {},
    }  # fmt: skip
    champion = champions.champion(session.engine, name)
    if champion is not None and champion["digest"] == digest:
        production = {"name": name, "digest": digest, "epoch": champion["epoch"]}
        said = "this very model is in production"
        return {**outcome, "state": "reused", "verdict": "PASS", "reason": said, "production": production}
    if steps.was_rolled_back(session.engine, name, digest):
        said = "a person rolled this very model back; it is not promoted again by itself"
        return {**outcome, "state": "skipped", "reason": said}
    return None


@flow(name="release")
def release(recipe: str, key: str) -> Outcome:
    """Compare the candidate with production on the same questions, promote it, and let MLflow's registry follow."""
    del recipe, key
    session = current()
    candidate, name = session.artifact("align", KIND), model_name(session, KIND)
    champion = champions.champion(session.engine, name)
    figures = _figures(session, candidate, champion)
    verdict = steps.gate("release", figures, session.recipe.section("gates"))
    gates = session.recipe.section("gates")
    outcome: Outcome = {
        "stage": "release",
        "state": "done",
        "metric": verdict["metric"],
        "unit": verdict["unit"],
        "before": verdict["before"] if champion is not None else None,
        "after": verdict["after"],
        "verdict": verdict["verdict"],
        "reason": verdict["reason"],
        "digest": candidate["digest"],
        "artifacts": {},
        "figures": figures,
        "gate": verdict,
        "floors_note": gates.get("note") or None,
    }
    version = {
        "stage": KIND,
        "digest": candidate["digest"],
        "path": candidate["path"],
        "parents": [],
        "recipe": {},
        "run_id": session.run_id,
        "figures": {},
        "author": AUTHOR,
    }
    report = {
        "report": {"gate": verdict, "figures": figures, "note": gates.get("note", "")},
        "gates_digest": digest_of(gates),
        "data": data_digest(session),
        "code": session.code or "",
    }
    gate_report = steps.register(name, version, verdict, report)
    if verdict["verdict"] != "PASS":
        raise refusal(outcome, verdict)
    epoch = 0 if champion is None else int(champion["epoch"])
    key_of_promotion = f"{session.run_id}:{name}:{gate_report}"
    promoted = steps.promote(name, candidate["digest"], gate_report, AUTHOR, key_of_promotion, expected_epoch=epoch)
    outcome["production"] = {"name": name, "digest": candidate["digest"], "epoch": promoted["epoch"]}
    with session.clock.part("glue"):
        steps.project()
    said = f"`{name}` {candidate['digest'][:12]} is in production (epoch {promoted['epoch']}): {verdict['reason']}"
    create_markdown_artifact(said, key="release")
    return outcome


def _figures(session: Session, candidate: Any, champion: Any) -> dict[str, Any]:
    models = {"candidate": candidate["path"]}
    if champion is not None:
        models["production"] = champion["path"]
    with session.clock.part("evaluation"):
        found: dict[str, Any] = training.call(
            "measure release",
            "tasks.evaluation.measures:measure_release",
            {
                "models": models,
                "instructions": session.artifact("corpus", "instructions")["path"],
                "max_answer_tokens": answer_tokens(session),
            },
        )
        if session.recipe.gate("safety").get("bounds"):
            found["safety"] = training.call(
                "measure safety",
                "tasks.evaluation.safety_suite:measure_safety",
                {"model": candidate["path"], "seed": session.recipe.seed},
            )
    return found


STAGE = Stage(name="release", key=key, flow=release)
