"""`espalier scaling emergence`: trains a ladder of small decoders and says which of their abilities are emergent."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flows.cli import print_json
from infra.settings import apply_environment, load_settings


def emergence(
    *, family: str, minutes: float, steps: int, sizes: str, seeds: int, plots_folder: str | None, as_json: bool
) -> int:
    """The study, then its tables or its document, and its figures."""
    if not minutes > 0 or steps < 0:
        raise ValueError("--minutes must be above 0, and --steps at least 0 (0: as many as the minutes allow)")
    settings = load_settings()
    apply_environment(settings)  # before transformers and matplotlib are imported: they read their variables once
    from flows.display import Display
    from flows.emergence import study
    from tasks.emergence.study import DEFAULT_SIZES, StudyConfig

    names = tuple(sorted({name.strip() for name in sizes.split(",")})) if sizes else DEFAULT_SIZES
    config = StudyConfig(family=family, sizes=names, seeds=seeds)
    root = settings.home / "emergence"
    records = study(config, minutes=minutes, steps=steps, root=root, display=Display())
    return _shown(records, Path(plots_folder) if plots_folder else root, as_json=as_json)


def _shown(records: Sequence[Mapping[str, Any]], folder: Path, *, as_json: bool) -> int:
    from tasks.emergence import plots, report

    verdicts = report.verdicts(records)
    document = {
        "rows": report.rows(records),
        "verdicts": verdicts,
        "scratchpad": report.scratchpad_effects(records),
        "plots": [str(path) for path in plots.draw(records, verdicts, folder)],
    }
    if as_json:
        print_json(document)
        return 0
    from rich.console import Console
    from rich.text import Text

    from flows.emergence_tables import effects_table, verdicts_table

    console = Console(file=sys.stdout, highlight=False)
    console.print(verdicts_table(document["rows"], verdicts))
    console.print(effects_table(document["scratchpad"]))
    for path in document["plots"]:
        console.print(Text(f"figure: {path}"), soft_wrap=True)
    return 0
