"""Which corpora there are: params.yaml, with the user's own corpora.yaml (`espalier data add`) laid on it."""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tasks.corpus.clean import CleanConfig
from tasks.corpus.decontaminate import DecontaminateConfig
from tasks.corpus.deduplicate import DeduplicateConfig
from tasks.corpus.files import plain_name, text_columns
from tasks.corpus.params import PARAMS_FILE
from tasks.corpus.redact import RedactConfig
from tasks.corpus.sources import Limits, Source, refuse_doubled_names
from tasks.corpus.split import SplitConfig

OWN_FILE = "corpora.yaml"


@dataclass(frozen=True, kw_only=True)
class CorpusConfig:
    """One corpus: its sources, and the settings of every stage it goes through."""

    sources: tuple[Source, ...]
    limits: Limits = field(default_factory=Limits)
    clean: CleanConfig = field(default_factory=CleanConfig)
    deduplicate: DeduplicateConfig = field(default_factory=DeduplicateConfig)
    decontaminate: DecontaminateConfig = field(default_factory=DecontaminateConfig)
    redact: RedactConfig = field(default_factory=RedactConfig)
    split: SplitConfig = field(default_factory=SplitConfig)

    def __post_init__(self) -> None:
        if not self.sources:
            raise ValueError("sources: a corpus needs at least one source")
        refuse_doubled_names(self.sources)


def default_home(checkout: Path) -> Path:
    named = os.environ.get("ESPALIER_HOME")
    return Path(named).expanduser() if named else checkout / ".espalier"


def load_corpus(checkout: Path, home: Path, name: str) -> CorpusConfig:
    """The corpus `name`; ValueError names the file and the key that is wrong."""
    # pydantic, behind the loader, is needed only where settings are read: stages and GPU machines import without it
    from tasks.configuration import build

    corpora = _corpora(checkout, home)
    if name not in corpora:
        raise ValueError(f"{PARAMS_FILE}: there is no corpus {name}; there are {', '.join(sorted(corpora))}")
    where = PARAMS_FILE if name not in _own(home) else f"{PARAMS_FILE} with {home / OWN_FILE}"
    return build(CorpusConfig, corpora[name] or {}, where=f"{where}: corpora.{name}")


def list_sources(home: Path, *, checkout: Path) -> dict[str, Any]:
    """{"corpora": {NAME: {"sources": [...]}}}: what each corpus is made of, settings left at their defaults left out."""
    corpora = {name: load_corpus(checkout, home, name) for name in sorted(_corpora(checkout, home))}
    return {"corpora": {name: {"sources": [_spoken(s) for s in config.sources]} for name, config in corpora.items()}}


def add_source(
    home: Path, path: str, *, corpus: str, replace: bool, checkout: Path, column: str = ""
) -> dict[str, Any]:
    """Let `path` join the sources of `corpus`, or take their place; returns what `list_sources` returns.

    ValueError when nothing is there, the corpus is unknown, or a table's column of text is not clear; `column` names it.
    Writes home/corpora.yaml whole or not at all.
    """
    config = load_corpus(checkout, home, corpus)
    absolute = str(Path(os.path.abspath(Path(path).expanduser())))
    kept = () if replace else tuple(source for source in config.sources if source.path != absolute)
    taken = {source.name or "python" for source in kept}
    source = Source(path=absolute, name=_free_name(plain_name(Path(absolute)), taken), text_field=column)
    text_columns(source, checkout)
    own = _own(home)
    own[corpus] = {**(own.get(corpus) or {}), "sources": [_spoken(item) for item in (*kept, source)]}
    _write(home, {"corpora": own})
    return list_sources(home, checkout=checkout)


def added_columns(path: str, column: str = "") -> dict[str, str]:
    """{"reviews.csv": "review"}: where in each table at `path` the text stands, as `add_source` has seen it."""
    absolute = Path(os.path.abspath(Path(path).expanduser()))
    return text_columns(Source(path=str(absolute), name="-", text_field=column), absolute)


def _corpora(checkout: Path, home: Path) -> dict[str, Any]:
    from tasks.configuration import merge, read_yaml

    corpora = read_yaml(checkout / PARAMS_FILE).get("corpora")
    if not isinstance(corpora, Mapping):
        raise ValueError(f"{PARAMS_FILE}: corpora: expected names with their settings")
    return merge(corpora, _own(home))


def _own(home: Path) -> dict[str, Any]:
    from tasks.configuration import read_yaml

    path = home / OWN_FILE
    if not path.exists():
        return {}
    values = read_yaml(path)
    if set(values) - {"corpora"} or not isinstance(values.get("corpora", {}), dict):
        raise ValueError(f"{path}: expected one key, corpora, with names and their settings")
    return dict(values.get("corpora", {}))


def _spoken(source: Source) -> dict[str, Any]:
    """A source as one would write it: what is left at its default is left out."""
    plain = asdict(Source(kind="python")) if source.kind == "python" else asdict(Source(path="-", name="-"))
    values = {key: value for key, value in asdict(source).items() if key == "kind" or value != plain[key]}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}


def _free_name(name: str, taken: set[str]) -> str:
    number, free = 2, name
    while free in taken:
        number, free = number + 1, f"{name}-{number}"
    return free


def _write(home: Path, values: Mapping[str, Any]) -> None:
    home.mkdir(parents=True, exist_ok=True)
    temporary = home / f"{OWN_FILE}.tmp"
    text = yaml.safe_dump(dict(values), allow_unicode=True, sort_keys=False)
    temporary.write_text("# Written by `espalier data add`; laid on params.yaml.\n" + text, encoding="utf-8")
    os.replace(temporary, home / OWN_FILE)
