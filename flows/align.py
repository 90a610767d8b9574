"""RLHF: PPO on the learned reward, held near the instruction-tuned model."""

from typing import Any

from prefect import flow

from flows.instruct import answer_tokens
from flows.session import Session, current
from flows.stages import Outcome, Stage
from flows.trained import Trained, require_promoted, train_and_judge, training_identity

WHAT = Trained(
    stage="align",
    kind="aligned",
    part="alignment",
    function="tasks.alignment.ppo:run",
    measured_by="tasks.alignment.measures:measure_aligned",
    measured_as="policy",
)


def inputs(session: Session) -> dict[str, Any]:
    return {
        "base": session.artifact("instruct", "instruct"),
        "reward": session.artifact("reward", "reward"),
        "instructions": session.artifact("corpus", "instructions"),
    }


def measured_with(session: Session) -> dict[str, Any]:
    return {"tokens": session.tokens()}


def key(session: Session) -> str:
    return training_identity(session, WHAT, inputs(session), measured_with(session))[1]


@flow(name="align")
def align(recipe: str, key: str) -> Outcome:
    """Climb the learned reward, and be judged by the rule annotator on held-out questions against the reference."""
    del recipe, key
    session = current()
    given = inputs(session)
    require_promoted(session, "instruct", given["base"]["digest"])
    require_promoted(session, "reward", given["reward"]["digest"])
    section = session.recipe.section("align")
    arguments = {
        "reference": given["base"]["path"],
        "instructions": given["instructions"]["path"],
        "tokens": measured_with(session)["tokens"]["path"],
        "max_answer_tokens": answer_tokens(session),
        "temperature": float((section.get("rollouts") or {}).get("temperature", 1.0)),
        "families": list(section.get("families") or ()),
        "seed": session.recipe.seed,
    }
    return train_and_judge(session, WHAT, given, measured_with(session), arguments)


STAGE = Stage(name="align", key=key, flow=align)
