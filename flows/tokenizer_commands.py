"""`espalier tokenizers measure | export`: which tokenizer to choose for a text, and one for transformers."""

import re
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from flows.cli import print_json
from infra.settings import Settings, apply_environment, load_settings


def measure(
    paths: Sequence[str], *, named: Sequence[str], fits: Sequence[str], each: bool, only: str, plot: str, as_json: bool
) -> int:
    """Every tokenizer on every text: a table or a document, and a figure if one is wanted."""
    settings = load_settings()
    apply_environment(settings)  # before matplotlib is imported: it reads its variables once
    from flows.display import Display
    from tasks.tokenization import plots
    from tasks.tokenization.compare import compare, read_texts, to_fit

    wanted = {fit: to_fit(fit) for fit in fits}
    tokenizers = _opened(settings, named or ([] if fits else ["default"]))
    texts = read_texts(paths, each=each, only=[name.strip() for name in only.split(",") if name.strip()])
    if plot:
        plots.check(len(texts), len(tokenizers) + len(wanted))
        if not Path(plot).absolute().parent.is_dir():
            raise ValueError(f"--plot {plot}: there is no such folder")
    display = Display()
    try:
        rows = compare(
            texts, tokenizers, wanted, progress=lambda step, steps: display.progress("tokenizers", step, steps)
        )
    finally:
        display.close()
    if plot:
        plots.draw(rows, Path(plot))
    document = {"rows": [asdict(row) for row in rows], "measured": _measured(bool(fits)), "plot": plot or None}
    return _shown(document, as_json=as_json)


def export(source: str, folder: str, *, as_json: bool) -> int:
    """tokenizer.json and tokenizer_config.json, as transformers' AutoTokenizer reads them."""
    from models.tokenizers.chat import ChatTokenizer

    settings = load_settings()
    ((_, tokenizer),) = _opened(settings, [source]).items()
    target = Path(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ValueError(f"{folder}: is there already and not empty; name a new folder")
    ChatTokenizer.ours(tokenizer).save(target)
    if as_json:
        print_json({"folder": str(target), "vocabulary": tokenizer.get_vocab_size()})
        return 0
    sys.stdout.write(f'{target}: transformers.AutoTokenizer.from_pretrained("{target}") reads it\n')
    return 0


def _opened(settings: Settings, named: Sequence[str]) -> dict[str, Any]:
    """{label: tokenizer}: a path, or the name of a data set whose tokenizer is made."""
    from tasks.tokenization.compare import open_tokenizer

    found: dict[str, Any] = {}
    for name in named:
        path, label = Path(name).expanduser(), name
        if not path.exists():
            path = settings.data / name / "tokenizer"
        if not path.exists():
            raise ValueError(
                f"{name}: no tokenizer there, and params.yaml's {name} has none yet; "
                "name a folder with tokenizer.json, or fit one: --fit unigram:8000"
            )
        if path == Path(name).expanduser():
            label = _label(path.absolute())
        found[label if label not in found else str(path)] = open_tokenizer(path)
    return found


def _label(path: Path) -> str:
    """x/default/tokenizer/tokenizer.json -> default, x/GPT2.vocab.bpe -> GPT2"""
    while path.stem in ("tokenizer", "vocab", "merges", "encoder") and path.parent.name:
        path = path.parent
    return re.sub(r"[._-]?(vocab|merges|encoder|tokenizer)$", "", path.name if path.is_dir() else path.stem)


def _measured(fitted: bool) -> str:
    if fitted:
        return "on every tenth line of each text; --fit read the other lines of all of them"
    return "on the whole of each text"


def _shown(document: dict[str, Any], *, as_json: bool) -> int:
    if as_json:
        print_json(document)
        return 0
    from rich.console import Console
    from rich.text import Text

    from flows.tokenizer_tables import tokenizers_table

    console = Console(file=sys.stdout, highlight=False)
    console.print(tokenizers_table(document["rows"], width=console.width))
    console.print(Text(f"measured {document['measured']}", style="dim"))
    if document["plot"]:
        console.print(Text(f"figure: {document['plot']}"), soft_wrap=True)
    return 0
