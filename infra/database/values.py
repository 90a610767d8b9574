"""How values are spelled in the ledger: one JSON for columns and hashes, times of the database, text that both keep."""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import PurePath
from typing import Any

from sqlalchemy import Text
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

DIGEST = re.compile(r"[0-9a-f]{64}")
NAME = re.compile(r"\w[\w.-]{0,99}")  # what MLflow takes as a model's name, and what needs no quotes in its filters


def canonical_json(value: object) -> str:
    """The spelling that hashes are taken of, and that columns hold: {"b": 1, "a": nan} -> {"a":"NaN","b":1}

    Sorted keys and ASCII alone: NUL and lone surrogates are escaped, which no database would take as they are.
    """
    return json.dumps(plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def plain(value: Any) -> Any:
    """The JSON value that is kept of `value`; ValueError for what has none."""
    if isinstance(value, str | bool | int) or value is None:
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"nan": "NaN", "inf": "Infinity"}.get(str(value), "-Infinity")
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, PurePath):
        return str(value)
    if callable(getattr(value, "item", None)):  # a number of numpy or torch
        return plain(value.item())
    raise ValueError(f"the ledger keeps JSON alone, and this is a {type(value).__name__}: {value!r:.80}")


def digest_of(value: object) -> str:
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


class Json(TypeDecorator[Any]):
    """A column of canonical JSON; text on both databases, so that what is hashed is what is kept."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:  # noqa: ARG002
        return None if value is None else canonical_json(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:  # noqa: ARG002
        return None if value is None else json.loads(value)


def checked_text(what: str, value: str) -> str:
    """`value` as it is, if both databases can keep it; ValueError for an empty one, NUL and half characters."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{what}: expected some text, got {value!r:.40}")
    if any(character == "\0" or "\ud800" <= character <= "\udfff" for character in value):
        raise ValueError(f"{what} {value!r:.60}: NUL and unpaired surrogates are no text; leave them out")
    return value


def checked_name(name: str) -> str:
    if not NAME.fullmatch(name):
        raise ValueError(f"model name {name!r:.60}: expected up to 100 letters, digits and . _ - only")
    if name in ("production", "promoted", "previous", "latest"):
        raise ValueError(f"model name {name!r}: this is an alias; choose another name")
    return name


def checked_digest(what: str, digest: str) -> str:
    if not DIGEST.fullmatch(digest):
        raise ValueError(f"{what} {digest!r:.80}: expected a sha256, 64 hexadecimal digits")
    return digest


def storable(text: str) -> str:
    """An error's text of somewhere else, at most 2000 characters, with what no database takes written out."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")[:2000]


def later(moment: str, seconds: float) -> str:
    """ "2026-11-03T12:00:00.000+00:00", 1.5 -> "2026-11-03T12:00:01.500+00:00"; texts of this form sort by time."""
    return (datetime.fromisoformat(moment) + timedelta(seconds=seconds)).isoformat(timespec="milliseconds")
