"""The tables of the commands: a finished run, the models, their history, the services, the doctor's findings.

All are rich renderables of plain records. Text of others is shown as text, and widths are counted in terminal cells, so
Korean stays aligned. Below WIDE cells the least needed details are left out.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.control import strip_control_codes
from rich.padding import Padding
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

WIDE = 100  # cells
MARKS = {
    "trained": ("✓", "green"),
    "done": ("✓", "green"),
    "finished": ("✓", "green"),
    "reused": ("≡", "cyan"),
    "skipped": ("–", "dim"),
    "failed": ("✗", "red"),
    "refused": ("✗", "red"),
    "interrupted": ("…", "yellow"),
}


def final_table(record: Mapping[str, Any], *, width: int = 80) -> RenderableType:
    """The end of a run: its stages, where the time went, where things are, and what to try next.

    `record` is the report's; beyond it "places" {what: path}, "disk_bytes" and "next" [commands] are shown if there.
    """
    run = record["run"]
    parts: list[RenderableType] = [_headline(run), _stage_table(record["stages"], width)]
    reasons = [stage for stage in record["stages"] if stage.get("reason") and stage.get("verdict") != "PASS"]
    parts += [_reason(stage) for stage in reasons]
    parts += [Text(), _facts(record)]
    commands = record.get("next") or _what_next(str(run["state"]))
    parts += [Text(), Text("try next", style="bold"), *(Text(f"  {plain(command)}") for command in commands)]
    return Group(*parts)


def _headline(run: Mapping[str, Any]) -> Text:
    mark, style = MARKS.get(str(run["state"]), ("•", ""))
    took = f" in {duration(run['seconds'])}" if run.get("seconds") is not None else ""
    return Text.assemble(
        "\n", (f"{mark} ", style), (f"run {plain(run['id'])}", "bold"), f" ({plain(run['recipe'])}): ",
        (plain(run["state"]), style), took, "\n",
    )  # fmt: skip


def _stage_table(stages: Sequence[Mapping[str, Any]], width: int) -> Table:
    table = plain_table("stage", "outcome", "metric")
    for heading in ("before", "after", "time"):
        table.add_column(heading, justify="right", no_wrap=True)
    for stage in stages:
        mark, style = MARKS.get(str(stage["state"]), ("•", ""))
        outcome = Text(f"{mark} {stage['state']}", style=style)
        if stage.get("reused_from") and width >= WIDE:
            outcome.append(f"\nfrom {plain(stage['reused_from'])}", style="dim")
        if stage.get("verdict") not in (None, "PASS"):
            outcome.append(f"\n{plain(stage['verdict'])}", style="red" if stage["verdict"] == "FAIL" else "yellow")
        metric = Text(plain(stage.get("metric") or ""))
        if stage.get("unit") and width >= WIDE:
            metric.append(f"\n{plain(stage['unit'])}", style="dim")
        after = Text(value(stage.get("after")), style="bold")
        before = f"{value(stage.get('before'))} →" if stage.get("before") is not None else ""
        took = duration(stage.get("seconds")) if stage.get("seconds") else ""
        table.add_row(Text(plain(stage["stage"]), style="bold"), outcome, metric, before, after, took)
    return table


def _reason(stage: Mapping[str, Any]) -> RenderableType:
    style = "red" if stage.get("verdict") == "FAIL" or stage["state"] == "failed" else "default"
    return Padding(Text.assemble((f"{plain(stage['stage'])}: ", f"bold {style}"), plain(stage["reason"])), (1, 0, 0, 1))


def _facts(record: Mapping[str, Any]) -> Table:
    """Two columns without lines: where the time went, where things are, how much disk they take."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    parts = (record.get("time") or {}).get("parts") or {}
    if parts:
        spent = [f"{name} {duration(seconds)}" for name, seconds in parts.items() if seconds]
        grid.add_row("time", ",\n".join(", ".join(spent[at : at + 3]) for at in range(0, len(spent), 3)))
    for name, path in (record.get("places") or {}).items():
        grid.add_row(plain(name), Text(plain(path), style="cyan"))
    if record.get("disk_bytes") is not None:
        grid.add_row("disk used", size(record["disk_bytes"]))
    return grid


def _what_next(state: str) -> list[str]:
    if state in ("done", "finished", "trained", "reused"):
        return [
            "espalier chat                       talk to the model",
            "espalier models explain production  why this model is in production",
            "espalier up                         Prefect and MLflow in the browser",
        ]
    return [
        "open the report above               the figures and the likely reasons",
        "espalier doctor                     what is missing on this machine",
        "espalier up                         the runs and their logs in the browser",
    ]


def models_table(versions: Sequence[Mapping[str, Any]], *, width: int = 80) -> RenderableType:
    """`espalier models list`: one line per version."""
    if not versions:
        return Text("no models yet: `espalier run` makes the first one")
    table = plain_table("model", "stage", "aliases", "digest", "created")
    for version in versions:
        aliases = Text(", ".join(plain(alias) for alias in version.get("aliases") or ()), style="green")
        created = plain(version.get("created") or "")
        table.add_row(
            Text(f"{plain(version['name'])}:{version['version']}", style="bold"),
            plain(version["stage"]),
            aliases,
            Text(str(version["digest"])[:12], style="dim"),
            created if width >= WIDE else created[:10],
        )
    return table


def version_table(version: Mapping[str, Any]) -> RenderableType:
    """`espalier models show`: one version, and why its gate let it pass or not."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row("model", f"{plain(version['name'])}:{version['version']} ({plain(version['stage'])})")
    grid.add_row("aliases", Text(", ".join(plain(each) for each in version["aliases"]) or "none", style="green"))
    for name in ("digest", "created", "path"):
        grid.add_row(name, plain(version[name]))
    if version.get("figures"):
        grid.add_row("figures", named_values(version["figures"]))
    gate = version.get("gate")
    if gate:
        grid.add_row("gate", Text(plain(gate["verdict"]), style="green" if gate["verdict"] == "PASS" else "red"))
        for check in ((gate.get("report") or {}).get("gate") or {}).get("checks", ()):
            grid.add_row("", f"{'✓' if check['passed'] else '✗'} {plain(check['reason'])}")
    return grid


def explanation(chain: Mapping[str, Any]) -> RenderableType:
    """`espalier models explain`: the nested chain, product first, each with what it says of itself and its parents.

    A node has "kind", and may have "name", "digest", "text" (a sentence), "figures", "verdict" and "parents" [nodes].
    """

    def grow(node: Mapping[str, Any], tree: Tree | None) -> Tree:
        label = Text(plain(node.get("kind") or "artifact"), style="bold")
        label.append(f" {plain(node.get('name') or '')}".rstrip(), style="default")
        if node.get("digest"):
            label.append(f" {str(node['digest'])[:12]}", style="dim")
        if node.get("verdict"):
            label.append(f"  {plain(node['verdict'])}", style="green" if node["verdict"] == "PASS" else "red")
        said = [plain(node["text"])] if node.get("text") else []
        said += [named_values(node["figures"])] if node.get("figures") else []
        for line in said:
            label.append(f"\n{line}", style="not bold")
        branch = Tree(label, guide_style="dim") if tree is None else tree.add(label)
        for parent in node.get("parents") or ():
            grow(parent, branch)
        return branch

    return grow(chain, None)


def history_table(events: Sequence[Mapping[str, Any]], *, width: int = 80) -> RenderableType:
    """`espalier models history`: the ledger's events, newest last."""
    if not events:
        return Text("nothing has happened yet: `espalier run` makes and promotes the first model")
    table = plain_table("#", "when", "who", "what")
    for event in events:
        what = Text(plain(event["kind"]).replace("_", " "), style="bold")
        what.append(f" {plain(event.get('name') or '')}".rstrip(), style="default")
        payload = event.get("payload") or {}
        rest = _shortened(payload) if isinstance(payload, Mapping) else {"said": payload}
        for line in (rest.pop("digest", None), rest.pop("reason", None), named_values(rest)):
            what.append(f"\n{plain(line)}" if line else "", style="not bold")
        when = plain(event["at"])[:19].replace("T", " ")
        table.add_row(str(event["seq"]), when if width >= WIDE else when[:16], plain(event["actor"]), what)
    return table


def _shortened(payload: Mapping[str, Any]) -> dict[str, Any]:
    """What was said, and digests by their first characters, as everywhere else on the screen."""
    return {
        name: each[:12] if isinstance(each, str) and re.fullmatch("[0-9a-f]{64}", each) else each
        for name, each in payload.items()
        if each is not None
    }


def services_table(status: Mapping[str, Any]) -> RenderableType:
    """`espalier up | status`: what runs and where (infra.services.ServicesStatus.as_dict)."""
    table = plain_table("service", "state", "address", "process")
    for service in status["services"]:
        state = Text("running", style="green") if service["pid"] else Text("stopped", style="dim")
        address = Text(plain(service["address"] or ""), style="cyan")
        table.add_row(Text(plain(service["name"]), style="bold"), state, address, str(service["pid"] or ""))
    return table


def doctor_table(checks: Sequence[tuple[str, bool, str, str]]) -> RenderableType:
    """`espalier doctor`: every check, and below those that failed how to mend them."""
    table = plain_table("", "check", "found")
    for name, ok, detail, mend in checks:
        found = Text(plain(detail))
        if not ok and mend:
            found.append(f"\n→ {plain(mend)}", style="yellow")
        table.add_row(Text("✓", style="green") if ok else Text("✗", style="red"), Text(name, style="bold"), found)
    return table


def error_line(text: str, log: object = None) -> RenderableType:
    said = Text.assemble(("error: ", "bold red"), plain(text))
    return said if log is None else Group(said, Text(f"  log: {plain(log)}", style="dim"))


def named_values(values: Mapping[str, Any]) -> str:
    """{"bits_per_byte": 1.72, "n": 3} -> "bits per byte 1.720, n 3"; nested values are left to the report."""
    shown = {name: each for name, each in values.items() if not isinstance(each, Mapping | list | tuple)}
    return ", ".join(f"{plain(name).replace('_', ' ')} {value(each)}" for name, each in shown.items())


def value(number: object) -> str:
    if number is None:
        return "–"
    if isinstance(number, bool):
        return "yes" if number else "no"
    if isinstance(number, int):
        return f"{number:,}"
    if isinstance(number, float):
        return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.3f}"
    return plain(number)


def duration(seconds: float | None) -> str:
    """75 -> 1 min 15 s"""
    if seconds is None:
        return "–"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if round(seconds) < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def size(amount: float) -> str:
    """123456789 -> 123 MB"""
    for unit in ("B", "kB", "MB"):
        if amount < 1000:
            return f"{amount:.3g} {unit}"
        amount /= 1000
    return f"{amount:.3g} GB"


def plain(text: object) -> str:
    """Text of others on one terminal: no escape sequences, no line breaks, no characters that reorder the line."""
    shown = strip_control_codes(str(text).replace("\n", " ").replace("\t", " "))
    return "".join(character if character.isprintable() else "·" for character in shown)


def plain_table(*headings: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim", highlight=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table
