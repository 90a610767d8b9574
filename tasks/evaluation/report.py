"""The page of one evaluation: figures with intervals, what was asked and answered, and what all of it depends on.

One file without a network. Its only script chooses which examples are shown; the page allows that very script by its
digest, so nothing that a model said can ever run.
"""

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from tasks.evaluation import plots
from tasks.evaluation.comparable import MODEL, Row
from tasks.evaluation.stored import Evaluation, read_evaluation
from tasks.figures import on_page
from tasks.pages import environment, number, visible, write_text

PAGE_FILE, TEMPLATE, SCRIPT = "report.html", "report.html.jinja", "report.js"
MOST_EXAMPLES = 1200  # on a page
FEWEST_OF_A_CELL = 10
_DIGEST = re.compile(r"[0-9a-f]{32,}")
SHOWN_OF_DIGEST, SHOWN_OF_TEXT = 10, 160


def write_report(folder: Path) -> Path:
    """Write report.html beside the evaluation's document; returns its path."""
    page = folder / PAGE_FILE
    write_text(page, _render(read_evaluation(folder)))
    return page


def _render(evaluation: Evaluation) -> str:
    from markupsafe import Markup

    document = evaluation.document
    rows = [row for row in document["rows"] if "subset" not in row]
    script = Path(__file__).with_name(SCRIPT).read_text(encoding="utf-8")
    colours = plots.mode_colours(rows)
    alone, matrices = plots.singles(rows), plots.matrices(rows)
    drawn = {row["mode"] for some in (alone, *matrices.values()) for row in some}
    pages = environment(Path(__file__).parent)
    pages.filters.update(words=words, short=short, size=size)
    return str(
        pages.get_template(TEMPLATE).render(
            **{name: document[name] for name in ("identity", "model", "suite", "made")},
            rows=rows,
            subsets=_subsets(document["rows"]),
            contamination=document.get("contamination"),
            colours={mode: on_page(colour) for mode, colour in colours.items() if mode in drawn},
            matrices=[_figure(name, found, colours) for name, found in matrices.items()],
            singles=Markup(plots.single(alone, colours)) if alone else "",
            **_browsable(evaluation),
            provenance=_provenance(document, rows),
            **_identities(rows),
            script=Markup(script),
            script_digest=base64.b64encode(sha256(script.encode()).digest()).decode(),
        )
    )


def _figure(benchmark: str, rows: Sequence[Row], colours: Mapping[str, str]) -> tuple[str, str, str]:
    """(benchmark, what its figures measure, SVG)"""
    from markupsafe import Markup

    return benchmark, ", ".join(_once(words(row["metric"]) for row in rows)), Markup(plots.matrix(rows, colours))


def _subsets(rows: Sequence[Row]) -> list[tuple[Row, dict[str, Row]]]:
    """Each figure that was taken of clean and dirty items, and its parts by their names."""
    apart: dict[tuple[Any, ...], dict[str, Row]] = {}
    for row in rows:
        if "subset" in row:
            about = tuple(row[name] for name in ("benchmark", "shots", "mode", "metric"))
            apart.setdefault(about, {})[row["subset"]] = row
    return [(next(iter(parts.values())), parts) for parts in apart.values()]


def _browsable(evaluation: Evaluation) -> dict[str, Any]:
    """The examples of the page, and what they can be chosen by; a choice is named by its number."""
    chosen = _chosen(evaluation)
    benchmarks, verdicts = (_once(each[name] for each in chosen) for name in ("benchmark", "verdict"))
    asked = _once(_asked(each) for each in chosen)
    examples = [
        {
            **each,
            **_parts(each),
            "asked": _asked(each),
            "gold": each["gold"] if isinstance(each["gold"], str) else " | ".join(map(str, each["gold"])),
            "leak": evaluation.evidence.get(each["benchmark"], {}).get("dirty", {}).get(str(each["id"])),
            "benchmark_index": benchmarks.index(each["benchmark"]),
            "asked_index": asked.index(_asked(each)),
            "verdict_index": verdicts.index(each["verdict"]),
        }
        for each in chosen
    ]
    return {
        "examples": examples,
        "of_examples": len(evaluation.examples),
        "benchmarks": benchmarks or _once(row["benchmark"] for row in evaluation.document["rows"]),
        "asked": asked,
        "verdicts": verdicts,
    }


def _chosen(evaluation: Evaluation) -> list[Mapping[str, Any]]:
    """The first of each cell by the hash of their id: the same items in every mode."""
    cells = evaluation.cells.values()
    most = max(FEWEST_OF_A_CELL, MOST_EXAMPLES // max(1, len(cells)))
    return [each for found in cells for each in sorted(found.values(), key=_place)[:most]]


def _place(example: Mapping[str, Any]) -> str:
    return sha256(str(example["id"]).encode("utf-8", "surrogatepass")).hexdigest()


def _asked(example: Mapping[str, Any]) -> str:
    return f"{number(example['shots'])}-shot {example['mode']}"


def _parts(example: Mapping[str, Any]) -> dict[str, str]:
    """A prompt with examples before its question, and the question: only this one is in sight."""
    before, _, question = str(example["prompt"]).rstrip().rpartition("\n\n")
    return {"before": before, "question": question}


def _once(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _provenance(document: Mapping[str, Any], rows: Sequence[Row]) -> list[tuple[str, Any]]:
    """How it was made, and the fields of identity that all figures share."""
    made = {name: short(value) for name, value in document["made"].items() if name not in ("date", "seconds") and value}
    shared = {name: short(values.pop()) for name, values in _fields(rows).items() if len(values) == 1}
    path = {"model's folder": document["model"].get("path") or "–"}
    return [*path.items(), *made.items(), *shared.items()]


def _identities(rows: Sequence[Row]) -> dict[str, Any]:
    """Each way of asking once, with the fields in which they differ."""
    fields = [name for name, values in _fields(rows).items() if len(values) > 1 and name != "mode"]
    ways: dict[str, Mapping[str, Any]] = {}
    for row in rows:
        ways.setdefault(str((row["benchmark"], row["shots"], row["mode"], row["identity"])), row)
    return {"fields": fields, "identities": list(ways.values())}


def _fields(rows: Sequence[Row]) -> dict[str, set[str]]:
    """field -> its values over all rows, as texts."""
    names = _once(name for row in rows for name in row["identity"] if name != MODEL)
    return {name: {str(number(row["identity"].get(name))) for row in rows} for name in names}


def words(metric: str) -> str:
    """exact_match -> exact match"""
    return visible(metric.replace("_", " "))


def short(value: object) -> str:
    """Digests by their first characters, texts by their beginning; the whole is the cell's title."""
    text = _DIGEST.sub(lambda found: found.group()[:SHOWN_OF_DIGEST], str(number(value)))
    return text if len(text) <= SHOWN_OF_TEXT else text[: SHOWN_OF_TEXT - 1] + "…"


def size(amount: int) -> str:
    """1_250_000 -> 1.2 MB"""
    return f"{amount / 1e6:,.1f} MB" if amount >= 1e6 else f"{amount / 1e3:.1f} kB"
