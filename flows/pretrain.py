"""Pretraining: from tokens to a language model that has beaten counting.

A user's own base model takes its place (`--start-from`), or is where it begins (`pretrain.start_from`).
"""

from pathlib import Path
from typing import Any

from prefect import flow

from flows.imported import bring_in, identity_of, reason_for
from flows.reuse import key_of
from flows.session import Session, current
from flows.stages import Outcome, Stage
from flows.trained import Trained, train_and_judge, training_identity

WHAT = Trained(
    stage="pretrain",
    kind="pretrained",
    part="pretrain",
    function="tasks.training.pretraining:run",
    measured_by="tasks.evaluation.measures:measure_pretrained",
    measured_as="model",
)
INPUTS = ("tokens", "tokenizer")


def key(session: Session) -> str:
    begun_from = session.start_from or session.recipe.section("pretrain").get("start_from")
    if begun_from is None:
        given = {name: session.artifact("corpus", name) for name in INPUTS}
        return training_identity(session, WHAT, given, {"baseline": session.artifact("corpus", "baseline")})[1]
    section = {name: value for name, value in session.recipe.section("pretrain").items() if name != "start_from"}
    return key_of(
        session.settings.checkout,
        "release",
        stage="import",
        model=identity_of(Path(begun_from)),
        split=session.artifact("corpus", "split")["digest"],
        goes_on=None if session.start_from else {"recipe": section, "gate": session.recipe.gate("pretrain")},
        seed=session.recipe.seed,
    )


@flow(name="pretrain")
def pretrain(recipe: str, key: str) -> Outcome:
    """Train from scratch and be better than a Kneser-Ney model of the same tokens; or bring in the user's model."""
    del recipe, key
    session = current()
    if session.start_from is not None:
        return _brought_in(session, Path(session.start_from))
    begun_from = session.recipe.section("pretrain").get("start_from")
    if begun_from is None:
        given = {name: session.artifact("corpus", name) for name in INPUTS}
        return _trained(session, given, session.artifact("corpus", "baseline"))
    found = bring_in(session, Path(str(begun_from)), with_baseline=True)
    outcome = _trained(session, {"base": found["model"], "tokens": found["tokens"]}, found["baseline"])
    outcome["artifacts"] |= {"tokens": found["tokens"], "baseline": found["baseline"]}
    return outcome


def _trained(session: Session, given: dict[str, Any], baseline: dict[str, Any]) -> Outcome:
    arguments = {"tokens": given["tokens"]["path"], "baseline": baseline["path"]}
    return train_and_judge(session, WHAT, given, {"baseline": baseline}, arguments)


def _brought_in(session: Session, folder: Path) -> Outcome:
    found = bring_in(session, folder, with_baseline=False)
    return {
        "state": "done",
        "metric": "bits per byte",
        "unit": "held-out text, the model that was brought in; lower is better",
        "before": None,
        "after": found["bits_per_byte"]["value"],
        "digest": found["model"]["digest"],
        "verdict": "PASS",
        "reason": reason_for(found),
        "artifacts": {WHAT.kind: found["model"], "tokens": found["tokens"]},
        "figures": {"bits_per_byte": found["bits_per_byte"]},
    }


STAGE = Stage(name="pretrain", key=key, flow=pretrain)
