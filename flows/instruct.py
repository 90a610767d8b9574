"""Instruction tuning: from a pretrained model to one that answers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect import flow

from flows.session import Session, current
from flows.stages import Outcome, Stage
from flows.trained import Trained, require_promoted, train_and_judge, training_identity
from infra.database import lineage
from tasks.artifacts import file_sha256
from tasks.conversations.kept import conversations_file

WHAT = Trained(
    stage="instruct",
    kind="instruct",
    part="alignment",
    function="tasks.alignment.instruct:run",
    measured_by="tasks.evaluation.measures:measure_instruct",
    measured_as="instruct",
)


def inputs(session: Session) -> dict[str, Any]:
    """Beside the corpus's own items, conversations that a person gave for this data set (`espalier data instruct`)."""
    given = {
        "base": session.artifact("pretrain", "pretrained"),
        "instructions": session.artifact("corpus", "instructions"),
    }
    path = conversations_file(session.settings.home, session.recipe.data)
    if path.is_file():
        given["conversations"] = {"kind": "conversations", "digest": file_sha256(path), "path": str(path)}
    return given


def key(session: Session) -> str:
    return training_identity(session, WHAT, inputs(session), {})[1]


@flow(name="instruct")
def instruct(recipe: str, key: str) -> Outcome:
    """Learn from the training items, and answer unseen ones better than the base model and than shallow rules."""
    del recipe, key
    session = current()
    given = inputs(session)
    require_promoted(session, "pretrained", given["base"]["digest"])
    if "conversations" in given:
        said = given["conversations"]
        lineage.record_artifact(
            session.engine, digest=said["digest"], kind=said["kind"], path=Path(said["path"]), parents=(), summary={}
        )
    arguments = {
        "base": given["base"]["path"],
        "instructions": given["instructions"]["path"],
        "max_answer_tokens": answer_tokens(session),
    }
    outcome = train_and_judge(session, WHAT, given, {}, arguments)
    trained, of_all = (int(outcome["training"][name]) for name in ("trained_parameters", "parameters"))
    if trained < of_all:
        session.display.note(f"instruct: trained {trained:,} parameters of adapters and merged them into {of_all:,}")
    for reason, count in outcome["training"]["refused_conversations"].items():
        session.display.note(f"instruct: left out {count:,} conversations: {reason}")
    if dropped := int(outcome["training"]["dropped"]):
        session.display.note(f"instruct: {_too_long(outcome['training'], dropped)}")
    if left_out := int(outcome["training"]["left_out"]):
        session.display.note(
            f"instruct: left out {left_out:,} of the conversations given, so that they do not swamp the corpus's own "
            "questions; instruct.conversations_share says how many of all may be theirs"
        )
    return outcome


def _too_long(training: Mapping[str, Any], dropped: int) -> str:
    first = f", the first conversation of them {training['dropped_first']}" if training["dropped_first"] else ""
    return (
        f"left out {dropped:,} of {int(training['dialogues']) + dropped:,} dialogues, which are longer than the context of "
        f"{training['context']} tokens{first}; shorten them, or pretrain with a longer context"
    )


def answer_tokens(session: Session) -> int:
    """How many tokens a model may say when it is asked; one setting for every stage that asks."""
    return int(session.recipe.section("instruct").get("max_answer_tokens", 24))


STAGE = Stage(name="instruct", key=key, flow=instruct)
