"""`espalier data add | list`: whose text is trained on."""

import sys
from typing import Any

from flows.cli import print_json
from infra.settings import load_settings, prepare
from tasks.corpus.corpora import add_source, list_sources


def add(path: str, *, corpus: str, replace: bool, as_json: bool) -> int:
    settings = load_settings()
    prepare(settings)
    return _shown(
        add_source(settings.home, path, corpus=corpus, replace=replace, checkout=settings.checkout), as_json=as_json
    )


def list_corpora(*, as_json: bool) -> int:
    settings = load_settings()
    return _shown(list_sources(settings.home, checkout=settings.checkout), as_json=as_json)


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
