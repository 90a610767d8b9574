"""What a model was made from, and what was made from a thing: walks over the parents of versions and artifacts."""

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Engine, insert, select, update

from infra.database.sessions import now, one, reading, rows, writing
from infra.database.tables import artifact, gate_report, model_version
from infra.database.values import checked_text, plain


def record_artifact(
    engine: Engine, *, digest: str, kind: str, path: object, parents: Iterable[str], summary: Mapping[str, Any]
) -> None:
    """Remember a corpus, tokenizer or token set, so that a chain can name it; again: its folder and summary are renewed."""
    values = {
        "kind": checked_text("kind", kind),
        "path": checked_text("path", str(path)),
        "parents": [str(parent) for parent in parents],
        "summary": plain(summary),
    }
    checked_text("digest", digest)
    with writing(engine) as connection:
        if one(connection, select(artifact.c.digest).where(artifact.c.digest == digest)) is None:
            connection.execute(insert(artifact).values(digest=digest, created=now(connection), **values))
        else:
            connection.execute(update(artifact).where(artifact.c.digest == digest).values(values))


def chain(engine: Engine, digest: str) -> dict[str, Any]:
    """The nested story of a digest: {"kind", "name", "digest", "figures", "verdict", ..., "parents": [the same, ...]}

    Kind is the stage of a version, or the kind of an artifact; a parent that nobody recorded is {"kind": "artifact",
    "digest"}. A thing with two paths to it appears on both.
    """
    nodes = _nodes(engine)

    def grow(each: str, above: tuple[str, ...]) -> dict[str, Any]:
        node = nodes.get(each, {"kind": "artifact", "digest": each, "parents": []})
        parents = [grow(parent, (*above, each)) for parent in node["parents"] if parent not in (*above, each)]
        return {**node, "parents": parents}

    return grow(digest, ())


def descendants(engine: Engine, digest: str) -> list[dict[str, Any]]:
    """Every recorded thing that was made from `digest`, directly or not: from a shard, the models trained on it."""
    nodes = _nodes(engine)
    made_from = {digest}
    found: dict[str, dict[str, Any]] = {}
    while True:
        fresh = [each for each in nodes if each not in found and made_from & set(nodes[each]["parents"])]
        if not fresh:
            return list(found.values())
        found |= {each: nodes[each] for each in fresh}
        made_from |= set(fresh)


def _nodes(engine: Engine) -> dict[str, dict[str, Any]]:
    with reading(engine) as connection:
        artifacts = rows(connection, select(artifact).order_by(artifact.c.created))
        versions = rows(connection, select(model_version).order_by(model_version.c.created, model_version.c.version))
        reports = rows(connection, select(gate_report).order_by(gate_report.c.created))
    verdicts = {row["model_digest"]: row["verdict"] for row in reports}
    nodes = {row["digest"]: _artifact_node(row) for row in artifacts}
    return nodes | {row["digest"]: _version_node(row, verdicts.get(row["digest"])) for row in versions}


def _artifact_node(row: Mapping[str, Any]) -> dict[str, Any]:
    said = {key: row[key] for key in ("kind", "digest", "path", "created", "parents")}
    return {**said, "figures": row["summary"]}


def _version_node(row: Mapping[str, Any], verdict: str | None) -> dict[str, Any]:
    said = {key: row[key] for key in ("digest", "figures", "created", "run_id", "recipe", "path", "parents")}
    return {"kind": row["stage"], "name": f"{row['name']}:{row['version']}", "verdict": verdict, **said}
