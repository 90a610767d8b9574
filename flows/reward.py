"""Reward modelling: preference pairs of the instruction-tuned model's answers, and a model that tells which is better."""

import hashlib
import shutil
from pathlib import Path
from typing import Any

from prefect import flow

from flows.reuse import key_of
from flows.session import Session, current
from flows.stages import Outcome, Stage, handle
from flows.trained import Trained, require_promoted, train_and_judge, training_identity
from infra import data_versions
from infra.database import lineage, runs
from infra.storage import read_json
from tasks.alignment.human_labels import labels_file
from tasks.artifacts import ARTIFACT_FILE, read_artifact, verify
from tasks.corpus import steps as corpus

PIPELINE = "tasks/alignment/dvc.yaml"

WHAT = Trained(
    stage="reward",
    kind="reward",
    part="alignment",
    function="tasks.alignment.reward:run",
    measured_by="tasks.alignment.measures:measure_reward",
    measured_as="reward",
)


def inputs(session: Session) -> dict[str, Any]:
    """The model that answers, and the pairs as what they are made of: they need not be there to know their identity."""
    base = session.artifact("instruct", "instruct")
    return {"base": base, "preferences": {"digest": pairs_key(session), "path": str(session.data("preferences"))}}


def pairs_key(session: Session) -> str:
    """What the preference pairs depend on: the checkpoint, the questions, the settings, the annotator's rule or people."""
    from tasks.configuration import read_yaml

    checkout = session.settings.checkout
    settings = (read_yaml(checkout / "params.yaml").get("preferences") or {}).get(session.recipe.data)
    return key_of(
        checkout,
        "alignment",
        stage="preferences",
        inputs={
            "instruct": session.artifact("instruct", "instruct")["digest"],
            "instructions": session.artifact("corpus", "instructions")["digest"],
            "labels": hashlib.sha256(_labels(session)).hexdigest(),
        },
        settings=settings,
    )


def _labels(session: Session) -> bytes:
    """What people have labelled for this data set, as it lies in the home; nothing where they have not."""
    path = labels_file(session.settings.home, session.recipe.data)
    return path.read_bytes() if path.is_file() else b""


def key(session: Session) -> str:
    return training_identity(session, WHAT, inputs(session), {})[1]


@flow(name="reward")
def reward(recipe: str, key: str) -> Outcome:
    """Take people's labels, else label pairs with the rule annotator; tell held-out ones apart better than lengths do."""
    del recipe, key
    session = current()
    given = inputs(session)
    require_promoted(session, "instruct", given["base"]["digest"])
    pairs = make_pairs(session, given["base"], given["preferences"]["digest"])
    outcome = train_and_judge(session, WHAT, given, {}, {"preferences": pairs["path"]})
    outcome["artifacts"]["preferences"] = pairs
    return outcome


def make_pairs(session: Session, instruct: Any, identity: str) -> dict[str, Any]:
    """Lay the checkpoint's artifact.json where DVC looks for it, and run the stage by name, if it must run."""
    folder, marker = session.data("preferences"), session.data("instruct")
    made_of = marker / "pairs-key"
    whole = folder.is_dir() and verify(folder)[0] and made_of.is_file() and made_of.read_text() == identity
    if not whole:
        shutil.rmtree(marker, ignore_errors=True)
        marker.mkdir(parents=True)
        shutil.copyfile(Path(instruct["path"]) / ARTIFACT_FILE, marker / ARTIFACT_FILE)
        (marker / "labels.jsonl").write_bytes(_labels(session))
        with session.clock.part("sampling"):
            corpus.reproduce([f"{PIPELINE}:preferences@{session.recipe.data}"], single=True)
        runs.keep_data_lock(session.engine, session.run_id, data_versions.lock_bytes(session.settings))
        made_of.write_text(identity)
    artifact = read_artifact(folder)
    lineage.record_artifact(
        session.engine,
        digest=identity,
        kind="preferences",
        path=folder,
        parents=artifact.parents,
        summary={"annotator": read_json(folder / "index.json")["annotator"], "content": artifact.digest[:12]},
    )
    return handle(artifact)


STAGE = Stage(name="reward", key=key, flow=reward)
