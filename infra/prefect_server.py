"""The Prefect command with a scheduler that works: `python -m infra.prefect_server server start ...`

Prefect 3.8 inserts scheduled runs in bulk with the key "state", which is no column but a hybrid property. SQLAlchemy 2.0
passed over such keys; 2.1 raises "Can't evaluate bulk DML statement", and no deployment's schedule ever makes a run. Here
the property says that it has nothing to insert; Prefect itself inserts the states in a second statement.
"""

from collections.abc import MutableMapping
from typing import Any


def mend_scheduler() -> None:
    """Must run before the server's first insert; again, it changes nothing."""
    from prefect.server.database.orm_models import FlowRun
    from sqlalchemy import inspect

    hybrid: Any = inspect(FlowRun).all_orm_descriptors["state"]
    if hybrid.bulk_dml_setter is None:
        hybrid.inplace.bulk_dml(_inserts_nothing)


def _inserts_nothing(_: Any, mapping: MutableMapping[str, Any], value: object) -> None:
    del mapping, value


def main() -> None:
    from prefect.cli import app

    mend_scheduler()
    app()


if __name__ == "__main__":
    main()
