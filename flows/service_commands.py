"""`espalier up | down | status | deploy`: the servers of this checkout, and what they are to run."""

import sys

from flows.cli import print_json
from infra import services
from infra.services import ServicesStatus
from infra.settings import apply_environment, load_settings


def up(*, as_json: bool) -> int:
    return _shown(services.up(load_settings()), as_json=as_json, signing_in=True)


def down(*, as_json: bool) -> int:
    return _shown(services.down(load_settings()), as_json=as_json)


def status(*, as_json: bool) -> int:
    return _shown(services.status(load_settings()), as_json=as_json, signing_in=True)


def _shown(found: ServicesStatus, *, as_json: bool, signing_in: bool = False) -> int:
    if as_json:
        print_json(found.as_dict())
        return 0
    from rich.console import Console

    from flows.tables import services_table

    console = Console(highlight=False)
    console.print(services_table(found.as_dict()))
    if signing_in and found.sign_in is not None:
        # to the terminal of the person who asked, and to no log
        sys.stdout.write(
            f"Sign in to Prefect's page with: {found.sign_in}\nThen `espalier deploy` sets the schedules.\n"
        )
    return 0


def deploy(*, as_json: bool) -> int:
    """Make the server's deployments those of the code; needs `espalier up`."""
    settings = load_settings()
    if not services.status(settings).running:
        raise ValueError("no Prefect server runs for this checkout: `espalier up` first")
    apply_environment(settings)
    from flows.deployments import deploy as make_them_so

    done = make_them_so(settings)
    if as_json:
        print_json(done)
        return 0
    for what, names in done.items():
        for name in names:
            sys.stdout.write(f"{what}: {name}\n")
    return 0
