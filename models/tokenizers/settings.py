"""What a model's folder says of its tokenizer beside tokenizer.json: names of tokens, and the chat template."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SETTINGS_FILE = "tokenizer_config.json"
TEMPLATE_FILE = "chat_template.jinja"  # where newer models keep what older ones keep in tokenizer_config.json


def read_settings(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"{path}: not readable as JSON ({error})") from error


def read_template(folder: Path, settings: Mapping[str, Any]) -> str | None:
    """The folder's chat template, from either of the two places where models keep it."""
    path = folder / TEMPLATE_FILE
    found = path.read_text(encoding="utf-8") if path.is_file() else settings.get("chat_template")
    if found is not None and not isinstance(found, str):
        raise ValueError(f"{folder}: has several chat templates; keep the one that is meant, as {TEMPLATE_FILE}")
    return found


def template_place(folder: Path) -> Path:
    """The file that `read_template` read."""
    path = folder / TEMPLATE_FILE
    return path if path.is_file() else folder / SETTINGS_FILE


def content_of(token: object) -> str | None:
    """A token in a tokenizer_config.json is a string or a record with its content."""
    if isinstance(token, Mapping):
        token = token.get("content")
    return token if isinstance(token, str) else None
