"""`espalier models ...` and `espalier chat`: questions to the ledger, and the one change that a person makes by hand."""

import getpass
import json
import sys
from pathlib import Path
from typing import Any

from infra.database import audit, champions, events, gate_reports, lineage, sessions, versions
from infra.settings import apply_environment, load_settings, prepare
from tasks.artifacts import verify

# what happens on the way to every promotion; shown by --all
ROUTINE = ("registered", "gate_report", "proposed", "approved", "applied")


def list_models(*, as_json: bool) -> int:
    """One entry per version."""
    with sessions.ledger(load_settings()) as engine:
        found = versions.list_versions(engine)
    if as_json:
        return _print_json([_public(version) for version in found])
    from flows.tables import models_table

    return _print_table(lambda width: models_table(found, width=width))


def show(model: str, *, as_json: bool) -> int:
    """One version with its gate report."""
    with sessions.ledger(load_settings()) as engine:
        found = versions.find_version(engine, model)
        report = gate_reports.gate_report_of(engine, found["digest"])
    document = {**_public(found), "path": found["path"], "figures": found["figures"], "gate": report}
    if as_json:
        return _print_json(document)
    from rich.console import Console

    from flows.tables import version_table

    Console(highlight=False).print(version_table(document))
    return 0


def explain(model: str, *, as_json: bool) -> int:
    """The whole chain in plain words: text, tokenizer, trainings, gates, figures."""
    with sessions.ledger(load_settings()) as engine:
        found = versions.find_version(engine, model)
        chain = lineage.chain(engine, found["digest"])
    if as_json:
        return _print_json(chain)
    from rich.console import Console

    from flows.explain import in_words
    from flows.tables import explanation

    Console(highlight=False).print(explanation(in_words(chain)))
    return 0


def history(*, everything: bool, as_json: bool) -> int:
    """Promotions, rollbacks and what stopped one; with `everything` every event of the ledger."""
    with sessions.ledger(load_settings()) as engine:
        found = [event for event in events.history(engine) if everything or event["kind"] not in ROUTINE]
    if as_json:
        return _print_json(found)
    from flows.tables import history_table

    return _print_table(lambda width: history_table(found, width=width))


def rollback(model: str, reason: str, *, as_json: bool) -> int:
    """The previous champion again, after its files were checked; MLflow's alias follows when it can."""
    settings = load_settings()
    with sessions.ledger(settings) as engine:
        name = versions.find_version(engine, model)["name"]
        done = champions.rollback(
            engine, name, reason, actor=getpass.getuser(), verify=lambda path, digest: verify(path, digest=digest)
        )
        if not done["passed"]:
            raise ValueError(f"{name}: not rolled back: {done.get('outcome') or done['state']}")
        _project(settings, engine)
    if as_json:
        return _print_json({"name": name, "digest": done["digest"], "epoch": done["epoch"]})
    sys.stdout.write(f"{name}: {done['digest'][:12]} is in production again (epoch {done['epoch']})\n")
    return 0


def _project(settings: Any, engine: Any) -> None:
    """MLflow is for people's eyes: that it is down must not keep a rollback from standing."""
    apply_environment(settings)
    from infra import model_registry

    try:
        model_registry.project(settings, engine)
    except Exception as error:  # whatever the server does: the ledger is the truth, the alias follows later
        sys.stderr.write(f"MLflow's alias follows later ({error})\n")


def verify_all(*, as_json: bool) -> int:
    """Every model's files against their digests, and the history against its hashes; 1 when something is wrong."""
    with sessions.ledger(load_settings()) as engine:
        found = [_checked(version) for version in versions.list_versions(engine)]
        whole, reason = audit.verify_audit(engine)
    found.append({"name": "history", "ok": whole, "detail": reason or "every event follows from the one before it"})
    if as_json:
        _print_json(found)
    else:
        for each in found:
            sys.stdout.write(f"{'✓' if each['ok'] else '✗'} {each['name']}: {each['detail']}\n")
    return 0 if all(each["ok"] for each in found) else 1


def _checked(version: dict[str, Any]) -> dict[str, Any]:
    intact, reason = verify(Path(version["path"]), digest=version["digest"])
    name = f"{version['name']}:{version['version']}"
    return {"name": name, "ok": intact, "detail": reason or f"{version['digest'][:12]}, every file as it was made"}


def chat(model: str, once: str | None) -> int:
    """Talk to a model; its files are checked first."""
    if once is not None and not once.strip():
        raise ValueError("--once: there is no message in it; write one")
    settings = load_settings()
    prepare(settings)
    with sessions.ledger(settings) as engine:
        found = versions.find_version(engine, model)
    apply_environment(settings)
    from flows.chat import run_chat

    return run_chat(Path(found["path"]), once, digest=found["digest"])


def _public(version: dict[str, Any]) -> dict[str, Any]:
    return {name: version[name] for name in ("name", "version", "stage", "digest", "aliases", "created", "parents")}


def _print_json(document: object) -> int:
    sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=1, default=str) + "\n")
    return 0


def _print_table(build: Any) -> int:
    from rich.console import Console

    console = Console(highlight=False)
    console.print(build(console.width))
    return 0
