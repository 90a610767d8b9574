"""The page of one run: one file that needs no script and no network, and the record it was made from beside it."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.pages import environment, file_name, finite, is_number, storable, write_text
from tasks.release import plots

TEMPLATE = "report.html.jinja"
FIRST_CURVES = ("loss", "learning_rate", "gradient_norm", "tokens_per_second")
# what the lines of a training say of themselves, and seconds that tokens per second has in it
NOT_CURVES = ("step", "steps", "time", "tokens", "process_age", "step_seconds", "checkpoint_seconds")
TITLES = {
    "loss": "loss",
    "learning_rate": "learning rate",
    "gradient_norm": "gradient norm",
    "tokens_per_second": "tokens per second",
    "kl": "KL to the reference",
    "clip_fraction": "clipped share",
    "response_tokens": "answer length (tokens)",
    "value_loss": "value loss",
}
SPECIAL_WORDS = {"ppo": "PPO", "kl": "KL"}


def write_report(record: Mapping[str, Any], folder: Path) -> Path:
    """Write index.html, record.json and the figures as PNG into `folder`; returns the page's path.

    `record` has "run" and "stages"; "curves", "answers", "lineage", "time", "gates", "data", "samples" and
    "bits_per_byte" may be missing (a run that failed early): their sections are left out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(finite(record), ensure_ascii=False, indent=1, default=str)
    write_text(folder / "record.json", text)
    page = folder / "index.html"
    write_text(page, _render(json.loads(storable(text)), folder))
    return page


def _render(record: dict[str, Any], folder: Path) -> str:
    from markupsafe import Markup

    pages = environment(Path(__file__).parent)
    pages.filters.update(title=title, change=change)
    pages.globals["part_colour"] = plots.part_colour
    figures = {name: Markup(svg) for name, svg in _single_figures(record, folder).items()}
    curves = [
        (stage, [(metric, Markup(svg), last) for metric, svg, last in drawn])
        for stage, drawn in _curves(record.get("curves") or {}, folder)
    ]
    page: str = pages.get_template(TEMPLATE).render(
        record=record,
        run=record["run"],
        stages=[_stage(stage) for stage in record["stages"]],
        figures=figures,
        curves=curves,
        lineage=_tree(record.get("lineage") or []),
        data=_counts(record.get("data") or {}),
        gates=record.get("gates") or [],
        answers=record.get("answers") or [],
        samples=[_sample(sample) for sample in record.get("samples") or []],
        time=record.get("time") or {},
    )
    return page


def _single_figures(record: Mapping[str, Any], folder: Path) -> dict[str, str]:
    figures = {}
    measured = {name: value for name, value in (record.get("bits_per_byte") or {}).items() if is_number(value)}
    if measured:
        figures["bits_per_byte"] = plots.bits_per_byte(measured, png=folder / "bits_per_byte.png")
    parts = {name: value for name, value in (record.get("time") or {}).get("parts", {}).items() if is_number(value)}
    if sum(parts.values()) > 0:
        figures["time"] = plots.time_parts(parts, png=folder / "time.png")
    return figures


def _curves(
    curves: Mapping[str, Sequence[Mapping[str, Any]]], folder: Path
) -> list[tuple[str, list[tuple[str, str, float]]]]:
    """Per stage: (metric, SVG, last value), the metrics that every training has first."""
    drawn = []
    for stage, records in curves.items():
        names = {name for record in records for name in record if name not in NOT_CURVES and is_number(record[name])}
        ordered = [name for name in FIRST_CURVES if name in names] + sorted(names - set(FIRST_CURVES))
        figures = []
        for name in ordered:
            points = [(float(each["step"]), float(each[name])) for each in records if is_number(each.get(name))]
            svg = plots.curve(points, png=folder / f"{file_name(stage)}-{file_name(name)}.png")
            figures.append((name, svg, points[-1][1]))
        if figures:
            drawn.append((stage, figures))
    return drawn


def _stage(stage: Mapping[str, Any]) -> dict[str, Any]:
    """Every key that the template asks for, and an address only if a browser may follow it."""
    optional = ("reused_from", "metric", "before", "after", "unit", "verdict", "reason", "seconds")
    filled = dict.fromkeys((*optional, "worker_pid", "digest", "mlflow_run", "floors_note"))
    address = str(stage.get("mlflow_run") or "")
    return {**filled, **stage, "mlflow_link": address if address.startswith(("http://", "https://")) else None}


def _sample(sample: object) -> dict[str, Any]:
    filled = {"stage": None, "step": None, "prompt": None, "text": ""}
    return {**filled, **sample} if isinstance(sample, Mapping) else {**filled, "text": str(sample)}


def _counts(data: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, Any]]]]:
    """{"clean": {"kept": 9, "refused": {"empty": 1}}} -> [("clean", [("kept", 9), ("refused: empty", 1)])]"""
    return [
        (stage, list(_flat(values) if isinstance(values, Mapping) else [("", values)]))
        for stage, values in data.items()
    ]


def _flat(values: Mapping[str, Any], before: str = "") -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            rows += _flat(value, f"{before}{name}: ")
        else:
            rows.append((before + name, value))
    return rows


def _tree(lineage: Any) -> list[dict[str, Any]]:
    """Nested nodes, the product first: from nested ones, or from a flat list whose `parents` are digests."""
    if isinstance(lineage, Mapping):
        return [_nested(lineage, set())]
    by_digest = {node["digest"]: node for node in lineage}
    named = {parent for node in lineage for parent in node.get("parents", ()) if isinstance(parent, str)}
    seen: set[str] = set()
    return [_nested(node, seen, by_digest) for node in lineage if node["digest"] not in named]


def _nested(node: Mapping[str, Any], seen: set[str], known: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A node with its parents as nodes; one that stands in the tree already is named again, not unfolded."""
    digest = str(node.get("digest", ""))
    again = digest in seen
    seen.add(digest)
    parents = []
    for parent in () if again else node.get("parents") or ():
        found = parent if isinstance(parent, Mapping) else (known or {}).get(parent, {"kind": "", "digest": parent})
        parents.append(_nested(found, seen, known))
    unfolded_before = again and bool(node.get("parents"))
    return {
        "kind": node.get("kind") or "",
        "name": node.get("name") or "",
        "digest": digest,
        "parents": parents,
        "again": unfolded_before,
    }


def change(before: object, after: object) -> str:
    """The signed difference; empty where there is nothing to compare."""
    if not (is_number(before) and is_number(after)):
        return ""
    whole = isinstance(before, int) and isinstance(after, int)
    signed = f"{after - before:+,}" if whole else f"{float(after) - float(before):+.3f}"  # type: ignore
    return signed.replace("-", "−")


def title(name: str) -> str:
    """loss -> loss, ppo_kl -> PPO KL"""
    return TITLES.get(name, " ".join(SPECIAL_WORDS.get(word, word) for word in re.split("[_/]", name)))
