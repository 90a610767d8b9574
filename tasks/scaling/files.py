"""A table out of a file, as columns of cells: CSV, CSV in gzip, Parquet, JSON lines. Nothing is interpreted here."""

import csv
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

Columns = dict[str, list[Any]]
_PICKLES = (".pickle", ".pkl", ".pickle.xz", ".pickle.gz")


def read_columns(path: Path) -> Columns:
    """{"N": ["1e6", ...], ...}; None for an empty cell. ValueError when the file is no table that can be read."""
    if path.name.lower().endswith(_PICKLES):
        raise ValueError(
            f"{path.name}: opening a pickle runs whatever is in it; write it out with pandas' to_csv first"
        )
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file")
    name = path.name.lower().removesuffix(".gz")
    reader = next((read for suffixes, read in _READERS if name.endswith(suffixes)), None)
    if reader is None:
        raise ValueError(f"{path.name}: not a table that is read here; give .csv, .csv.gz, .parquet or .jsonl")
    try:
        content = gzip.decompress(path.read_bytes()) if path.name.lower().endswith(".gz") else path.read_bytes()
        columns = reader(content)
    except (OSError, EOFError, UnicodeDecodeError, csv.Error, pa.ArrowException, json.JSONDecodeError) as error:
        raise ValueError(f"{path.name}: cannot be read as a table ({' '.join(str(error).split())})") from error
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from error
    if not columns or not next(iter(columns.values())):
        raise ValueError(f"{path.name}: the table has no rows")
    return columns


def _csv(content: bytes) -> Columns:
    text = content.decode("utf-8-sig")
    header = text.split("\n", 1)[0]
    rows = [row for row in csv.reader(io.StringIO(text), delimiter=max(",;\t", key=header.count)) if row]
    if not rows:
        return {}
    names = [name.strip() for name in rows[0]]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"the column {twice[0]!r} stands twice in the first line; give each a name of its own")
    for number, row in enumerate(rows[1:], 1):
        if len(row) != len(names):
            raise ValueError(f"row {number} has {len(row)} cells and the first line names {len(names)} columns")
    return {name: [row[place].strip() or None for row in rows[1:]] for place, name in enumerate(names)}


def _parquet(content: bytes) -> Columns:
    table = pq.read_table(io.BytesIO(content))
    return {name: table.column(name).to_pylist() for name in table.column_names}


def _json_lines(content: bytes) -> Columns:
    return _records([json.loads(line) for line in content.decode("utf-8-sig").splitlines() if line.strip()])


def _json(content: bytes) -> Columns:
    return _records(json.loads(content.decode("utf-8-sig")))


def _records(records: Any) -> Columns:
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise ValueError("expected one JSON object a row")
    names = list(dict.fromkeys(name for record in records for name in record))
    return {name: [record.get(name) for record in records] for name in names}


_READERS: tuple[tuple[tuple[str, ...], Callable[[bytes], Columns]], ...] = (
    ((".csv", ".tsv"), _csv),
    ((".parquet",), _parquet),
    ((".jsonl", ".ndjson"), _json_lines),
    ((".json",), _json),
)
