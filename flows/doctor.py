"""`espalier doctor`: what this machine lacks, and how to mend it."""

import os
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from flows.cli import print_json
from infra import processes, services
from infra.settings import Settings, load_settings
from infra.storage import bytes_free

Finding = tuple[str, bool, str, str]

NEEDED = ("prefect", "mlflow", "ray", "torch", "transformers", "dvc", "sqlalchemy")
NEEDED_DISK_BYTES = 2 * 10**9
NEEDED_MEMORY_BYTES = 6 * 10**9


def doctor(*, as_json: bool) -> int:
    """Print every finding; 1 when something needs mending."""
    found = list(findings(load_settings()))
    if as_json:
        print_json([{"name": name, "ok": ok, "detail": detail, "mend": mend} for name, ok, detail, mend in found])
    else:
        from rich.console import Console

        from flows.tables import doctor_table

        Console(highlight=False).print(doctor_table(found))
    return 0 if all(ok for _, ok, _, _ in found) else 1


def findings(settings: Settings) -> Iterator[Finding]:
    yield _python()
    yield _packages(settings)
    yield _checkout(settings)
    yield _home(settings)
    yield _disk(settings)
    yield _memory()
    yield _temporary()
    yield _run(settings)
    yield _services(settings)


def _python() -> Finding:
    found = sys.version_info[:2]
    return (
        "python",
        (3, 11) <= found < (3, 13),
        sys.version.split()[0],
        "use Python 3.11 or 3.12 (`make run` makes .venv)",
    )


def _packages(settings: Settings) -> Finding:
    pinned = _pins(settings.checkout / "constraints.txt")
    wrong = []
    for name in NEEDED:
        try:
            found = version(name).split("+")[0]
        except PackageNotFoundError:
            wrong.append(f"{name} is missing")
            continue
        if pinned.get(name, found) != found:
            wrong.append(f"{name} is {found}, pinned is {pinned[name]}")
    detail = "; ".join(wrong) or ", ".join(f"{name} {version(name)}" for name in NEEDED)
    return "packages", not wrong, detail, "remove .venv and run `make run` again: it installs from constraints.txt"


def _pins(path: Path) -> dict[str, str]:
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return {name: pin for name, separator, pin in (line.partition("==") for line in lines) if separator}


def _checkout(settings: Settings) -> Finding:
    missing = [name for name in ("dvc.yaml", "params.yaml", ".dvc/config") if not (settings.checkout / name).is_file()]
    detail = f"{settings.checkout}: {', '.join(missing)} missing" if missing else str(settings.checkout)
    return "checkout", not missing, detail, "run from a clone of Espalier, or set ESPALIER_CHECKOUT to one"


def _home(settings: Settings) -> Finding:
    folder = settings.home
    while not folder.exists():
        folder = folder.parent
    writable = os.access(folder, os.W_OK)
    return (
        "state folder",
        writable,
        str(settings.home),
        f"make {folder} writable, or set ESPALIER_HOME to another folder",
    )


def _disk(settings: Settings) -> Finding:
    free = bytes_free(settings.home)
    detail = f"{free / 1e9:.1f} GB free"
    return "disk", free >= NEEDED_DISK_BYTES, detail, f"a run needs {NEEDED_DISK_BYTES / 1e9:.0f} GB; free some space"


def _memory() -> Finding:
    import psutil

    total = psutil.virtual_memory().total
    mend = "use a smaller recipe: espalier run --recipe tiny"
    return "memory", total >= NEEDED_MEMORY_BYTES, f"{total / 1e9:.1f} GB", mend


def _temporary() -> Finding:
    base = processes.temporary_base()
    short = len(base) + len("/esp-12345678") <= processes.LONGEST_FOLDER
    free = shutil.disk_usage(base).free
    mend = f"set TMPDIR to a folder of at most {processes.LONGEST_FOLDER - 13} characters"
    return "temporary folder", short, f"{base}, {free / 1e9:.1f} GB free", mend


def _run(settings: Settings) -> Finding:
    holder = processes.RunLock(settings.lock).holder()
    detail = "no run holds this checkout" if holder is None else f"process {holder.pid} runs since {holder.since}"
    return "run", True, detail, ""


def _services(settings: Settings) -> Finding:
    found = services.status(settings)
    running = [each.name for each in found.services if each.running]
    detail = f"{', '.join(running)} running" if running else "not running (`espalier up` starts them)"
    whole = not running or found.running
    return "services", whole, detail, "`espalier down`, then `espalier up`"
