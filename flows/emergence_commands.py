"""`espalier scaling emergence`: trains a ladder of small decoders and says which of their abilities are emergent."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flows.cli import print_json
from infra.settings import apply_environment, load_settings, prepare

SHARES = {"arithmetic": 2 / 3, "letters": 1 / 3}  # of the time; what is learned from letters is learned sooner


def emergence(
    *, family: str, minutes: float, steps: int, sizes: str, seeds: int, plots_folder: str | None, as_json: bool
) -> int:
    """The study, then its tables or its document, and its figures."""
    if not minutes > 0 or steps < 0:
        raise ValueError("--minutes must be above 0, and --steps at least 0 (0: as many as the minutes allow)")
    settings = load_settings()
    prepare(settings)
    apply_environment(settings)  # before transformers and matplotlib are imported: they read their variables once
    from flows import ladder
    from flows.display import Display
    from flows.emergence import study
    from tasks.emergence.study import DEFAULT_SIZES, StudyConfig

    names = tuple(sorted({name.strip() for name in sizes.split(",")})) if sizes else DEFAULT_SIZES
    shares = SHARES if family == "all" else {family: 1.0}
    configs = {each: StudyConfig(family=each, sizes=names, seeds=seeds) for each in shares}
    root, display = settings.home / "emergence", Display()

    def work() -> list[dict[str, Any]]:
        return [
            record
            for each, config in configs.items()
            for record in study(
                config, minutes=minutes * shares[each], steps=steps, root=root, settings=settings, display=display
            )
        ]

    records, status = ladder.carry_out(settings, display, work)
    if records is None:
        return status
    return _shown(records, Path(plots_folder) if plots_folder else root, as_json=as_json)


def _shown(records: Sequence[Mapping[str, Any]], folder: Path, *, as_json: bool) -> int:
    from tasks.emergence import plots, report

    verdicts = report.verdicts(records)
    rows, effects = report.rows(records), report.scratchpad_effects(records)
    figures = plots.draw(records, verdicts, folder)
    if as_json:
        print_json({"rows": rows, "verdicts": verdicts, "scratchpad": effects, "plots": list(map(str, figures))})
        return 0
    from rich.console import Console
    from rich.text import Text

    from flows.emergence_tables import effects_table, verdicts_table

    console = Console(file=sys.stdout, highlight=False)
    console.print(verdicts_table(rows, verdicts))
    console.print(effects_table(effects))
    for path in figures:
        console.print(Text(f"figure: {path}"), soft_wrap=True)
    return 0
