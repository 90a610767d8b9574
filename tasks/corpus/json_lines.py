"""A file of JSON lines that somebody wrote by hand or with a script of their own, with the number of each line."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def numbered_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(1, {...}), ...; blank lines are passed over. ValueError with file and line for a broken one."""
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            try:
                found = json.loads(line.decode("utf-8-sig"))
            except (ValueError, RecursionError) as error:
                raise ValueError(f"{path}, line {number}: not JSON in UTF-8 ({error})") from error
            if not isinstance(found, dict):
                raise ValueError(f"{path}, line {number}: expected an object, found {type(found).__name__}")
            yield number, found
