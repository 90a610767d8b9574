"""The data stages as a Prefect task: DVC decides which of them run."""

from collections.abc import Sequence

from prefect import task
from prefect.logging import get_run_logger

from infra import data_versions
from infra.settings import load_settings


@task(name="dvc repro", task_run_name="dvc repro {targets}")
def reproduce(targets: Sequence[str], single: bool = False, force: bool = False) -> dict[str, str]:
    """Stage -> "ran", "unchanged" or "restored"."""
    logger = get_run_logger()
    return data_versions.reproduce(load_settings(), targets, on_line=logger.info, single=single, force=force)
