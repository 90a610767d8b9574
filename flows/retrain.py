"""Scheduled retraining: every run ends as trained, skipped because <what was unchanged>, or failed."""

from typing import Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.lifecycle import lifecycle


@flow(name="retrain")
def retrain(recipe: str = "laptop", assignments: list[str] | None = None) -> State[Any]:
    """Run the lifecycle; the final state's name says *Trained* or *Skipped*, its message what and why."""
    record = lifecycle(recipe, assignments or [])
    trained = [stage["stage"] for stage in record["stages"] if stage["state"] == "trained"]
    if trained:
        name, message = "Trained", f"trained {', '.join(trained)}; production is {record['production']}"
    else:
        unchanged = ", ".join(stage["stage"] for stage in record["stages"])
        source = record["stages"][0].get("reused_from") if record["stages"] else None
        name, message = "Skipped", f"skipped because the inputs of {unchanged} are unchanged since run {source}"
    create_markdown_artifact(message, key="retraining")
    return Completed(name=name, message=message)
