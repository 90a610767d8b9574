"""The tables of `espalier scaling`: what each approach found, what was left out, what a budget buys."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from flows.tables import WIDE, plain

TITLES = {
    "1": "approach 1: the envelope of training curves",
    "2": "approach 2: iso-FLOP parabolas",
    "3": "approach 3: L = E + A / N^alpha + B / D^beta",
    "kaplan": "Kaplan's laws",
}
OUTLYING = 3.0
Record = Mapping[str, Any]


def fit_tables(document: Record, *, width: int = 80) -> RenderableType:
    """Every approach's constants with their intervals, then what they all share: columns, conventions, rows left out."""
    single = "approach" in document
    records = [document] if single else [each for key, each in document.items() if key != "held_out"]
    done = [each for each in records if "refused" not in each]
    notes = list(dict.fromkeys(note for each in done for note in each["notes"]))
    parts: list[RenderableType] = [Text(), _rows_said(done[-1], notes)]
    for each in done:
        parts += [Text(f"\n{TITLES[each['approach']]}", style="bold"), _constants(each, width)]
        parts += [_budgets(each, width)] if isinstance(each.get("budgets"), list) else []
        parts += [_outliers(each)] if each.get("outliers") else []
    if not single:
        for each in document.values():
            if "refused" in each:
                parts.append(Text(f"\nnot fitted: {plain(each['refused'])}", style="yellow"))
    if "held_out" in document:
        parts.append(_held_out(document["held_out"]))
    return Group(*parts, Text(), _conventions(done), Text())


def plan_tables(document: Record, *, width: int = 80) -> RenderableType:
    """The optimum between half and twice its budget, then smaller models that reach the same loss."""
    optimum, (half, twice) = document["optimum"], document["beside"]
    parts: list[RenderableType] = [
        Text(f"\nthe best use of {_short(document['flops'])} FLOPs{_time(document)}", style="bold"),
        _optima((("half", half), ("this budget", optimum), ("twice", twice)), width),
        Text(
            f"\na smaller model for cheap inference, trained until its loss is {optimum['loss']:.3f} too", style="bold"
        ),
        _over_trained(document["over_trained"], width),
        Text(),
        _grid({"law": document["law"], **_said(document["conventions"])}),
    ]
    if "recipe" in document:
        parts += [Text("\nthe recipe", style="bold"), _recipe(document["recipe"])]
    return Group(*parts, Text())


def _rows_said(record: Record, notes: Sequence[str]) -> RenderableType:
    columns = {role: f"{plain(column)}" for role, column in record["columns"].items()}
    facts = {"columns": ", ".join(f"{role} = {column}" for role, column in columns.items())}
    facts["rows used"] = f"{record['rows_used']:,}"
    facts["left out"] = ", ".join(f"{count:,} {reason}" for reason, count in record["dropped"].items()) or "none"
    if record["dropped_rows"]:
        facts["which"] = ", ".join(f"row {each['row']} ({each['loss']:.3f})" for each in record["dropped_rows"])
    for number, note in enumerate(notes):
        facts["note" if not number else " " * number] = note
    return _grid(facts)


def _constants(record: Record, width: int) -> RenderableType:
    confidence = f"{record['confidence']:.0%} interval"
    table = _table("", numbers=("value", confidence))
    intervals = record["intervals"]
    for name in ("E", "A", "B", "alpha", "beta"):
        if name in record:
            table.add_row(name, _number(record[name]), _pair(intervals.get(name)))
    for name, law in record.items():
        if name.startswith("L("):
            for each, value in law.items():
                if each not in ("interval", "points"):
                    is_exponent = each.startswith("alpha")
                    pair = law.get("interval") if "interval" in law else intervals.get(each)
                    table.add_row(f"{name}  {each}", _number(value), _pair(pair if is_exponent else None))
    for name, value in record["exponents"].items():
        label = f"{name} ~ C^" if width < WIDE else f"exponent of {name} over FLOPs"
        table.add_row(Text(label, style="bold"), Text(_number(value), style="bold"), _pair(intervals.get(name)))
    if "objective" in record:
        table.add_row("sum of Huber losses", f"{record['objective']:.5g}", "")
    if "check" in record:
        check = record["check"]
        table.add_row("the same by BFGS", f"{check['objective_by_bfgs']:.5g}", "")
        table.add_row("starts that end there", f"{check['starts_at_the_optimum']:,}", f"of {check['starts']:,}")
    if "residuals" in record:
        table.add_row("median |residual| of ln L", f"{record['residuals']['median_absolute']:.2%}", "")
    if "curves" in record:
        low, high = record["flops"]
        table.add_row("curves", str(record["curves"]), f"{_short(low)} to {_short(high)} FLOPs")
    return table


def _budgets(record: Record, width: int) -> RenderableType:
    names = ("FLOPs", "rows", "best N", "best D", "loss", "R²") if width >= WIDE else ("FLOPs", "best N", "loss", "R²")
    table = _table(*(), numbers=names)
    for each in record["budgets"]:
        cells = {
            "FLOPs": _short(each["flops"]), "rows": str(each["rows"]), "best N": _short(each["parameters"]),
            "best D": _short(each["tokens"]), "loss": f"{each['loss']:.3f}", "R²": f"{each['r_squared']:.3f}",
        }  # fmt: skip
        table.add_row(*(cells[name] for name in names))
    return table


def _outliers(record: Record) -> RenderableType:
    beyond = [each for each in record["outliers"] if abs(each["standardized_residual"]) > OUTLYING]
    if not beyond:
        return Text(f"no row is further than {OUTLYING:g} deviations from the law", style="dim")
    count = record["residuals"]["beyond_three_deviations"]
    table = _table(f"{count} rows beyond {OUTLYING:g} deviations; furthest:", numbers=("N", "D", "loss", "law", "dev."))
    for each in beyond:
        table.add_row(
            f"row {each['row']}", _short(each["parameters"]), _short(each["tokens"]), f"{each['loss']:.3f}",
            f"{each['predicted']:.3f}", f"{each['standardized_residual']:+.1f}",
        )  # fmt: skip
    return table


def _held_out(record: Record) -> RenderableType:
    best = record["best"]
    low, high = best["interval"]
    verdict = "inside" if best["inside"] else "outside"
    said = (
        f"the largest budget ({_short(record['flops'])} FLOPs, {record['times_the_largest_fitted']:.1f} times what was "
        f"fitted) foretold: best loss {best['loss']:.3f}, predicted {best['predicted']:.3f}, {verdict} {low:.3f} to "
        f"{high:.3f} (half-width {best['half_width']:.1%}); {record['inside']} of {record['rows_held_out']} rows inside"
    )
    return Padding(Text(said), (1, 0, 0, 0))


def _conventions(records: Sequence[Record]) -> RenderableType:
    shared = {name: records[-1]["conventions"][name] for name in ("parameters", "flops", "loss") if name in
              records[-1]["conventions"]}  # fmt: skip
    own = {
        f"{name} ({each['approach']})": text
        for each in records
        for name, text in each["conventions"].items()
        if name in ("budgets", "curves")
    }
    return _grid(
        {**shared, **own, "intervals": "; ".join(dict.fromkeys(e["conventions"]["intervals"] for e in records))}
    )


def _optima(named: Sequence[tuple[str, Record]], width: int) -> RenderableType:
    headings = ("FLOPs", "N", "D", "D / N", "loss")
    table = _table("", numbers=headings)
    for name, each in named:
        style = "bold" if name == "this budget" else ""
        cells = [_short(each[key]) for key in ("flops", "parameters", "tokens")]
        cells += [f"{each['tokens_per_parameter']:.1f}", f"{each['loss']:.3f}"]
        table.add_row(Text(name, style=style), *(Text(cell, style=style) for cell in cells))
        intervals = each["intervals"]
        if intervals["parameters"] and (name == "this budget" or width >= WIDE):
            pairs = [_pair(intervals[key], short=True) for key in ("parameters", "tokens")]
            table.add_row("", "", *pairs, "", _pair(intervals["loss"]), style="dim")
    return table


def _over_trained(rows: Sequence[Record], width: int) -> RenderableType:
    headings = ["N", "tokens", "training", "inference"] + (["pays after", "loss on the same FLOPs"] if width >= WIDE else
                                                           ["pays after"])  # fmt: skip
    table = _table("smaller", numbers=headings)
    for each in rows:
        cells = [_short(each["parameters"])]
        if each["tokens"] is None:
            cells += ["never", "–", f"-{each['inference_saved']:.0%}", "–"]
        else:
            cells += [_short(each["tokens"]), f"x {each['times_the_training']:.2f}", f"-{each['inference_saved']:.0%}"]
            cells += [f"{_short(each['pays_after_tokens'])} tokens"]
        if width >= WIDE:
            cells.append(f"{each['loss_on_the_same_flops']:.3f}")
        table.add_row(f"{each['smaller']:g} times", *cells)
    return table


def _recipe(record: Record) -> RenderableType:
    shape = ", ".join(f"{name.replace('_', ' ')} {value:,}" for name, value in record["architecture"].items())
    return _grid(
        {
            "file": record["path"],
            "shape": shape,
            "parameters": f"{record['parameters']:,}, {record['parameters_without_embeddings']:,} without embeddings "
            f"({record['times_the_planned_size']:.2f} times the planned size)",
            "training": f"{record['steps']:,} steps, {record['tokens']:,} tokens",
            "FLOPs": f"{_short(record['flops_6nd'])} by 6 N D, {_short(record['flops_with_attention'])} with attention",
            "run it": f"espalier run --recipe {record['path']}",
        }
    )


def _said(conventions: Record) -> dict[str, str]:
    return {
        name.replace("_", " "): f"{value:g}" if isinstance(value, float) else str(value)
        for name, value in conventions.items()
        if value is not None
    }


def _time(document: Record) -> str:
    budget = document.get("budget")
    if not budget:
        return ""
    return f" ({budget['hours']:g} h of one {budget['hardware'].upper()} at {budget['mfu']:.0%} of its peak)"


def _grid(facts: Mapping[str, str]) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, text in facts.items():
        grid.add_row(name, Text(plain(text)))
    return grid


def _table(*headings: str, numbers: Sequence[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim", highlight=False)
    for heading in headings:
        table.add_column(heading)
    for heading in numbers:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _pair(pair: Sequence[float] | None, *, short: bool = False) -> str:
    if not pair:
        return ""
    spell = _short if short else _number
    return f"{spell(pair[0])} – {spell(pair[1])}"


def _number(value: float) -> str:
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{value:.2f}" if abs(value) >= 100 else f"{value:.4f}"
    return f"{value:.3g}"


def _short(number: float) -> str:
    """2.78e9 -> 2.78B; FLOPs and what is larger keep their exponent"""
    for unit, scale in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if scale <= number < 1000 * scale:
            return f"{number / scale:.3g}{unit}"
    return f"{number:.3g}"
