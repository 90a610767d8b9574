"""What every page of ours has in common: one file without a network, its look, and text shown as text.

Everything a model or a corpus said is escaped, and the characters that would reorder or hide it are made visible.
"""

import math
import os
import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

BASE = "page.html.jinja"  # beside this file: the head, the colours, the badge; a page extends it
LONGEST_TEXT = 4000  # characters of one answer or sample


def environment(folder: Path) -> Any:
    """Jinja for the templates in `folder`: everything is escaped, and a name that is missing is an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

    made = Environment(
        loader=FileSystemLoader([folder, Path(__file__).parent]),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(number=number, seconds=seconds, visible=visible)
    return made


def number(value: object) -> str:
    """1.8634 -> 1.863, 12345 -> 12,345, None -> an en dash."""
    if isinstance(value, bool) or value is None:
        return "–" if value is None else ("yes" if value else "no")
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        if value and abs(value) < 0.001:
            return f"{value:.1e}"
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3f}"
    if isinstance(value, list | tuple):
        return " to ".join(number(each) for each in value) if len(value) == 2 else ", ".join(map(number, value))
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {number(each)}" for name, each in value.items())
    return visible(str(value))


def seconds(value: object) -> str:
    """75 -> 1 min 15 s"""
    if not is_number(value):
        return "–"
    amount = float(value)  # type: ignore[arg-type]
    if amount < 60:
        return f"{amount:.1f} s" if amount < 10 else f"{amount:.0f} s"
    minutes, rest = divmod(round(amount), 60)
    return f"{minutes} min {rest:02d} s"


def visible(text: object) -> str:
    """Text as a reader must see it: controls, bidirectional marks and lone surrogates by name, and not without end."""
    shown = str(text)
    cut = len(shown) - LONGEST_TEXT
    if cut > 0:
        shown = shown[:LONGEST_TEXT]
    shown = "".join(_visible(character) for character in shown)
    return f"{shown} … ({cut:,} more characters)" if cut > 0 else shown


def _visible(character: str) -> str:
    if character in "\n\t" or character.isprintable():
        return character
    if unicodedata.category(character) == "Zs" or character in "\u200c\u200d":  # joiners belong to words and emoji
        return character
    return f"⟨U+{ord(character):04X}⟩"


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def finite(value: Any) -> Any:
    """JSON has no NaN: what is not finite becomes null."""
    if isinstance(value, Mapping):
        return {str(key): finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [finite(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def storable(text: str) -> str:
    """Lone surrogates cannot be written as UTF-8: in JSON they become their escape."""
    return re.sub("[\ud800-\udfff]", lambda found: f"\\u{ord(found.group()):04x}", text)


def write_text(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(storable(text), encoding="utf-8")
    os.replace(temporary, path)


def file_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)
