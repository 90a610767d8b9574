"""The main job: raw text to released assistant, each stage a subflow, each gate a door."""

from typing import Any

from prefect import flow

from flows import align, corpus, evaluate, instruct, prefect_runs, pretrain, release, reward, session
from flows import recipe as recipes
from flows.conclude import concluding
from flows.display import Display
from flows.session import Session
from flows.stages import Stage, settle
from infra.settings import load_settings

STAGES: tuple[Stage, ...] = (
    corpus.STAGE, pretrain.STAGE, instruct.STAGE, reward.STAGE, align.STAGE, evaluate.STAGE, release.STAGE,
)  # fmt: skip


@flow(name="lifecycle")
def lifecycle(recipe: str = "laptop", assignments: list[str] | None = None, stage: str | None = None) -> dict[str, Any]:
    """Run the whole lifecycle, or one `stage` of it after what it needs has been made; the record of the run.

    `assignments` are laid on the recipe: ["instruct.steps=200"].
    """
    if session.is_open():
        return carry_out(session.current(), stage)
    settings, chosen = load_settings(), recipes.load(recipe, assignments or [])
    record: dict[str, Any] = {}
    with (
        session.opened(settings, chosen, Display(), command="a deployment") as opened,
        concluding(opened, record),
    ):
        carry_out(opened, stage)
    return record


def carry_out(opened: Session, only: str | None = None) -> dict[str, Any]:
    """Settle stage after stage; with `only`, the stages before it must be there already."""
    prefect_runs.close_stale(opened.settings)
    with prefect_runs.marked_open(opened.settings):
        for stage in STAGES:
            if only is not None and stage.name != only:
                _require(opened, stage)
            elif not _stands(opened, stage):
                settle(opened, stage)
            if stage.name == only:
                break
    return {"run": opened.run_id, "stages": [outcome["stage"] for outcome in opened.outcomes]}


def _require(opened: Session, stage: Stage) -> None:
    """An earlier stage of a single one: reused, never run."""
    from flows import reuse

    known, damage = reuse.find(opened.engine, stage.key(opened))
    if known is None:
        reason = damage or "its inputs have changed, or it has never run"
        raise ValueError(
            f"{stage.name} must run first ({reason}): espalier stage {stage.name} --recipe {opened.recipe.name}"
        )
    opened.outcomes.append({**known, "state": "reused", "reused_from": known["run"], "seconds": 0.0})


def _stands(opened: Session, stage: Stage) -> bool:
    """A release about which nothing is to be decided: the model is in production, or a person took it out."""
    if stage.name != "release":
        return False
    outcome = release.decided_before(opened)
    if outcome is None:
        return False
    opened.outcomes.append(outcome)
    opened.display.stage_ended("release", outcome["state"], outcome["reason"], 0.0)
    return True
