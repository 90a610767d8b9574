"""Texts that people labelled as toxic or not, from a file that a user brings: JSON lines, CSV or TSV with a header."""

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.corpus.json_lines import numbered_lines

# As published sets name them: ours, Civil Comments, Jigsaw, NSMC.
TEXT_FIELDS = ("text", "comment_text", "comment", "sentence", "document")
LABEL_FIELDS = ("toxic", "toxicity", "label", "target")
LABELS: Mapping[str, float] = {"toxic": 1.0, "true": 1.0, "yes": 1.0, "not toxic": 0.0, "false": 0.0, "no": 0.0}


class _Tabs(csv.excel_tab):
    """Published TSVs hold bare quotation marks."""

    quoting = csv.QUOTE_NONE


DIALECTS: Mapping[str, type[csv.Dialect]] = {".csv": csv.excel, ".tsv": _Tabs}
LABELLED_FILES = (".jsonl", *DIALECTS)
LONGEST_FIELD = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """`label` is 1 for toxic, 0 for not, and between them the share of annotators who said toxic."""

    text: str
    label: float


def read_labelled(path: Path) -> list[Labelled]:
    """ValueError with file and line for a row without a text or a label, and where one of both kinds is missing."""
    found = []
    for number, row in _rows(path):
        try:
            found.append(_labelled(row))
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from None
    toxic = sum(each.label >= 0.5 for each in found)
    if not 0 < toxic < len(found):
        raise ValueError(
            f"{path}: {toxic} of {len(found)} texts are toxic; a classifier needs both kinds, labelled 1 and 0"
        )
    return found


def is_labelled(path: Path) -> bool:
    """Whether its first row has a text and a label."""
    row = next((row for _, row in _rows(path)), {})
    return _first(row, TEXT_FIELDS) is not None and _first(row, LABEL_FIELDS) is not None


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    if path.suffix in DIALECTS:
        yield from _table_rows(path)
    else:
        yield from numbered_lines(path)


def _table_rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    csv.field_size_limit(LONGEST_FIELD)
    with path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.DictReader(stream, dialect=DIALECTS[path.suffix])
        try:
            for row in reader:
                yield reader.line_num, row
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(
                f"{path}, line {reader.line_num + 1}: cannot be read ({error}); write it as UTF-8"
            ) from error


def _labelled(row: Mapping[str, Any]) -> Labelled:
    text = _first(row, TEXT_FIELDS)
    if not isinstance(text, str):
        raise ValueError(f"there is no text; name its field one of {', '.join(TEXT_FIELDS)}")
    return Labelled(text=text, label=_label(_first(row, LABEL_FIELDS)))


def _label(value: object) -> float:
    if value is None:
        raise ValueError(f"there is no label; name its field one of {', '.join(LABEL_FIELDS)}")
    text = str(value).strip().lower()
    try:
        label = LABELS[text] if text in LABELS else float(text)
    except ValueError:
        label = math.nan
    if not 0 <= label <= 1:
        raise ValueError(f"the label {text[:40]!r} is none; give 1 for toxic, 0 for not, or a number between them")
    return label


def _first(row: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((row[name] for name in names if row.get(name) is not None), None)
