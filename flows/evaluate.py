"""The whole family side by side: base, instruction-tuned and aligned model on the same held-out questions and text."""

from typing import Any

from prefect import flow
from prefect.artifacts import create_table_artifact

from flows.instruct import answer_tokens
from flows.reuse import key_of
from flows.session import Session, current
from flows.stages import Outcome, Stage
from tasks.training import steps

FAMILY = (("base", "pretrain", "pretrained"), ("instruct", "instruct", "instruct"), ("aligned", "align", "aligned"))


def inputs(session: Session) -> dict[str, Any]:
    return {name: session.artifact(stage, kind) for name, stage, kind in FAMILY}


def key(session: Session) -> str:
    data = {"instructions": session.artifact("corpus", "instructions")["digest"], "tokens": session.tokens()["digest"]}
    digests = {name: each["digest"] for name, each in inputs(session).items()}
    checkout = session.settings.checkout
    return key_of(checkout, "evaluation", stage="evaluate", inputs={**digests, **data}, most=answer_tokens(session))


def measured_by_gates(session: Session) -> dict[str, Any]:
    """Bits per byte that the gates of this run's stages measured of the same models on the same text."""
    base, kept = (session.outcome(stage)["figures"].get("bits_per_byte") or {} for stage in ("pretrain", "align"))
    found = {"base": base, "instruct": kept.get("reference"), "aligned": kept.get("policy")}
    return {name: record for name, record in found.items() if record}


@flow(name="evaluate")
def evaluate(recipe: str, key: str) -> Outcome:
    """Ten questions answered side by side, exact match of all, and what each has kept of plain language."""
    del recipe, key
    session = current()
    with session.clock.part("evaluation"):
        compared = steps.call(
            "compare models",
            "tasks.evaluation.measures:compare_models",
            {
                "models": {name: each["path"] for name, each in inputs(session).items()},
                "instructions": session.artifact("corpus", "instructions")["path"],
                "tokens": session.tokens()["path"],
                "max_answer_tokens": answer_tokens(session),
                "bits_per_byte": measured_by_gates(session),
            },
        )
    models = compared["models"]
    rows = [
        {
            "model": name,
            **{group: f"{found['value']:.3f}" for group, found in entry["exact_match"].items()},
            "bits per byte": f"{entry['bits_per_byte']['value']:.3f}",
        }
        for name, entry in models.items()
    ]
    create_table_artifact(table=rows, key="models", description="exact match on held-out questions, bits per byte")
    create_table_artifact(table=compared["answers"], key="answers", description="the first held-out questions by hash")
    return {
        "state": "done",
        "metric": "exact match, greedy",
        "unit": "unseen items of trained families; before: the instruction-tuned model",
        "before": models["instruct"]["exact_match"]["unseen"]["value"],
        "after": models["aligned"]["exact_match"]["unseen"]["value"],
        "artifacts": {},
        "figures": compared,
    }


STAGE = Stage(name="evaluate", key=key, flow=evaluate)
