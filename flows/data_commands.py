"""`espalier data add | label | instruct | list | look`: whose text, preferences and conversations are learned from."""

import sys
import time
from pathlib import Path
from typing import Any

from flows.cli import print_json
from infra.settings import Settings, load_settings, prepare
from tasks.alignment.human_labels import add_labels
from tasks.corpus.corpora import add_source, added_columns, list_sources
from tasks.corpus.hub import fetch, is_hub_name

QUIET_SECONDS = 2.0


def add(path: str, *, column: str, corpus: str, replace: bool, as_json: bool) -> int:
    """Also says from which column of a table the text is taken, and which files of the Hub were copied."""
    settings = load_settings()
    prepare(settings)
    if is_hub_name(path):
        path = _fetched(path, settings)
    found = add_source(settings.home, path, corpus=corpus, replace=replace, checkout=settings.checkout, column=column)
    columns = added_columns(path, column)
    if as_json:
        print_json({**found, "columns": columns})
        return 0
    for name, taken in columns.items():
        sys.stdout.write(f"{name}: the text is in its column {taken}\n")
    return _shown(found, as_json=False)


def _fetched(name: str, settings: Settings) -> str:
    folder, files = fetch(name, settings.home / "hub")
    sys.stderr.write(f"{name}: {', '.join(files[:3])}{f' and {len(files) - 3} more' if len(files) > 3 else ''}\n")
    return str(folder)


def label(path: str, *, corpus: str, replace: bool, as_json: bool) -> int:
    settings = load_settings()
    prepare(settings)
    _refuse_unknown(settings, corpus)
    file, pairs = add_labels(settings.home, Path(path), corpus, replace=replace)
    if as_json:
        print_json({"labels": str(file), "pairs": pairs})
        return 0
    sys.stdout.write(f"{corpus}: {pairs} in all, in {file}\nThe next `espalier run` trains the reward model on them.\n")
    return 0


def instruct(path: str, *, format: str, corpus: str, replace: bool, as_json: bool) -> int:
    from tasks.conversations.kept import keep

    settings = load_settings()
    prepare(settings)
    _refuse_unknown(settings, corpus)
    readings, _ = _read(path, format)
    found = [each for reading in readings for each in reading.conversations]
    file, count, left_out = keep(settings.home, corpus, found, replace=replace)
    dropped = sum(reading.rows for reading in readings) - len(found)
    if as_json:
        print_json({"conversations": str(file), "in_all": count, "dropped": dropped, "left_out": left_out})
        return 0
    from flows.conversation_tables import counted

    sys.stdout.write(f"{corpus}: {counted(count, 'conversation')} in all, in {file}\n")
    if dropped:
        sys.stdout.write(f"{counted(dropped, 'row')} dropped: `espalier data look {path}` says why\n")
    for reason, number in left_out.items():
        sys.stdout.write(f"{number:,} left out: {reason}\n")
    sys.stdout.write("The next `espalier run` learns them beside its own items; without that file it does not.\n")
    return 0


def _read(path: str, format: str) -> Any:
    """What `tasks.conversations.read` finds; on standard error how far it is, where it takes longer than a moment."""
    from flows.display import Display
    from tasks.conversations.read import read

    display, began = Display(), time.monotonic()

    def progress(share: float) -> None:
        if time.monotonic() - began > QUIET_SECONDS:
            display.progress("reading", min(99, int(100 * share)), 100)

    try:
        return read(Path(path), format, progress)
    finally:
        display.close()


def _refuse_unknown(settings: Settings, corpus: str) -> None:
    known = list_sources(settings.home, checkout=settings.checkout)["corpora"]
    if corpus not in known:
        raise ValueError(f"{corpus}: params.yaml names no such data set; it names {', '.join(known)}")


def list_corpora(*, as_json: bool) -> int:
    settings = load_settings()
    return _shown(list_sources(settings.home, checkout=settings.checkout), as_json=as_json)


def look(path: str, *, format: str, as_json: bool) -> int:
    """What conversations are in a file, a folder or an archive; nothing is kept."""
    from tasks.conversations.summary import summary

    readings, passed_over = _read(path, format)
    document = summary(readings, passed_over)
    if as_json:
        print_json(document)
        return 0
    from rich.console import Console

    from flows.conversation_tables import look_tables

    console = Console(file=sys.stdout, highlight=False)
    console.print(look_tables(document, width=console.width))
    return 0


def _shown(found: dict[str, Any], *, as_json: bool) -> int:
    if as_json:
        print_json(found)
        return 0
    for name, corpus in found["corpora"].items():
        sys.stdout.write(f"{name}\n")
        for source in corpus["sources"]:
            sys.stdout.write(f"  {_spoken(source)}\n")
    return 0


def _spoken(source: dict[str, Any]) -> str:
    """{"kind": "files", "name": "mine", "path": "/x"} -> mine: /x"""
    if source["kind"] == "python":
        modules = ", ".join(source.get("modules", ())) or "all modules"
        return f"python: the documentation of this interpreter's standard library ({modules})"
    return f"{source['name']}: {source['path']}"
