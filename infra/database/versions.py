"""Versions of models: numbered from 1 for each name, addressed by the digest of their bytes, found by what people say."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, func, insert, select, update

from infra.database.events import CROWNING, append_event
from infra.database.sessions import now, one, reading, rows, writing
from infra.database.tables import VERSION_STAGES, champion, event, model_version, promotion, run
from infra.database.values import checked_digest, checked_name, checked_text, plain

PREFIX = re.compile(r"[0-9a-f]{6,64}")
ALIASES = ("production", "promoted", "previous")


def register_version(
    engine: Engine,
    *,
    name: str,
    stage: str,
    digest: str,
    path: object,
    parents: Iterable[str],
    recipe: Mapping[str, Any],
    run_id: str | None,
    figures: Mapping[str, Any],
    author: str,
) -> dict[str, Any]:
    """The version of (name, digest), made the next one of its name unless it is known; only its folder may move later."""
    if stage not in VERSION_STAGES:
        raise ValueError(f"{name}: stage {stage!r}: expected one of {', '.join(VERSION_STAGES)}")
    values = {
        "name": checked_name(name),
        "digest": checked_digest(f"{name}: digest", digest),
        "stage": stage,
        "path": checked_text("path", str(path)),
        "parents": [str(parent) for parent in parents],
        "recipe": plain(recipe),
        "figures": plain(figures),
        "run_id": run_id,
        "author": checked_text("author", author),
    }
    with writing(engine) as connection:
        found = one(connection, _of(name, digest))
        if found is None:
            _add(connection, values)
        elif found["path"] != values["path"]:
            connection.execute(
                update(model_version)
                .where(model_version.c.name == name, model_version.c.digest == digest)
                .values(path=values["path"])
            )
            payload = {"digest": digest, "from": found["path"], "to": values["path"]}
            append_event(connection, actor=author, kind="version_moved", name=name, payload=payload)
    return version_of(engine, name, digest)


def _add(connection: Connection, values: Mapping[str, Any]) -> None:
    name, run_id = values["name"], values["run_id"]
    if run_id is not None and one(connection, select(run.c.run_id).where(run.c.run_id == run_id)) is None:
        raise ValueError(f"{name}: run {run_id} is not in the ledger: call start_run first")
    highest = connection.scalar(select(func.max(model_version.c.version)).where(model_version.c.name == name))
    number = (highest or 0) + 1
    connection.execute(insert(model_version).values(**values, version=number, created=now(connection)))
    if highest is None:
        connection.execute(insert(champion).values(name=name, digest=None, epoch=0, promotion_id=None))
    payload = {"version": number, "digest": values["digest"], "stage": values["stage"], "run_id": run_id}
    append_event(connection, actor=values["author"], kind="registered", name=name, payload=payload)


def _of(name: str, digest: str) -> Any:
    return select(model_version).where(model_version.c.name == name, model_version.c.digest == digest)


def version_of(engine: Engine, name: str, digest: str) -> dict[str, Any]:
    for version in list_versions(engine, name):
        if version["digest"] == digest:
            return version
    raise ValueError(f"{name} has no version {digest[:12]}; register it first")


def list_versions(engine: Engine, name: str | None = None) -> list[dict[str, Any]]:
    """Every version, or those of one name, oldest first, each with its "aliases"."""
    statement = select(model_version).order_by(model_version.c.name, model_version.c.version)
    with reading(engine) as connection:
        found = rows(connection, statement if name is None else statement.where(model_version.c.name == name))
        holders = _alias_holders(connection)
    for version in found:
        champion_digest, previous_digest = holders.get(version["name"], (None, None))
        is_champion = version["digest"] == champion_digest
        aliases = [champion_alias(version["stage"])] if is_champion else []
        version["aliases"] = [*aliases, *(["previous"] if version["digest"] == previous_digest else [])]
    return found


def champion_alias(stage: str) -> str:
    """An aligned model is what people talk to; any other champion is the one that later stages begin from."""
    return "production" if stage == "aligned" else "promoted"


def _alias_holders(connection: Connection) -> dict[str, tuple[str | None, str | None]]:
    """name -> (digest of its champion, digest of the champion before it)"""
    before = promotion.alias("before")
    now_and_before = (
        select(champion.c.name, champion.c.digest, before.c.candidate_digest.label("previous"))
        .outerjoin(promotion, promotion.c.id == champion.c.promotion_id)
        .outerjoin(before, before.c.id == promotion.c.previous_promotion_id)
    )
    return {row["name"]: (row["digest"], row["previous"]) for row in rows(connection, now_and_before)}


def find_version(engine: Engine, reference: str) -> dict[str, Any]:
    """The version meant by "production", "name", "name:version", "name@alias" or the first digits of a digest.

    A bare name is its champion, or its newest version if it never had one. With several products in production,
    "production" is the one that was promoted last. ValueError, with what there is, when nothing or too much is meant.
    """
    versions = list_versions(engine)
    found = _resolve(engine, versions, reference)
    if not found:
        raise ValueError(f"no model {reference!r}: {_what_there_is(versions)}")
    if len({version["digest"] for version in found}) > 1:
        listed = ", ".join(f"{_label(version)} ({version['digest'][:12]})" for version in found)
        raise ValueError(f"{reference!r} means more than one model: {listed}; give more digits")
    return found[-1]


def _resolve(engine: Engine, versions: Sequence[dict[str, Any]], reference: str) -> list[dict[str, Any]]:
    """What is meant, usually one; all that are meant by the first digits of a digest."""
    if reference in ALIASES:
        return _last_promoted(engine, [version for version in versions if reference in version["aliases"]])
    name, _, alias = reference.partition("@")
    if alias:
        named = [version for version in versions if version["name"] == name]
        return named[-1:] if alias == "latest" else [each for each in named if alias in each["aliases"]]
    name, _, number = reference.partition(":")
    named = [version for version in versions if version["name"] == name]
    if number:
        return [version for version in named if str(version["version"]) == number]
    if named:
        champions = [each for each in named if {"production", "promoted"} & set(each["aliases"])]
        return champions or named[-1:]
    if PREFIX.fullmatch(reference):
        return [version for version in versions if version["digest"].startswith(reference)]
    return []


def _last_promoted(engine: Engine, holders: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The one whose name was last given a champion, by the order of the events and not by any clock."""
    if len(holders) < 2:
        return list(holders)
    crowned = select(event.c.name, func.max(event.c.seq).label("last")).where(event.c.kind.in_(CROWNING))
    with reading(engine) as connection:
        last = {row["name"]: row["last"] for row in rows(connection, crowned.group_by(event.c.name))}
    return [max(holders, key=lambda version: last.get(version["name"], 0))]


def _what_there_is(versions: Sequence[dict[str, Any]]) -> str:
    if not versions:
        return "there is none yet; `espalier run` makes the first"
    labels = [f"{_label(version)} ({', '.join((*version['aliases'], version['digest'][:12]))})" for version in versions]
    shown = labels[-12:]
    return f"there {'is' if len(labels) == 1 else 'are'} {', '.join(shown)}" + (
        f" and {len(labels) - len(shown)} older ones" if len(labels) > len(shown) else ""
    )


def _label(version: Mapping[str, Any]) -> str:
    return f"{version['name']}:{version['version']}"
