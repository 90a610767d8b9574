"""The one strict loader: YAML -> frozen dataclass, or one sentence that names the key, the rule and the nearest key."""

import dataclasses
import difflib
import math
import re
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError

Config = TypeVar("Config")
_PLAINLY = {
    "tuple_type": "expected a list",
    "dataclass_type": "expected keys and values",
}  # instead of pydantic's words


class _StrictLoader(yaml.SafeLoader):
    """YAML that refuses doubled keys: plain YAML silently keeps the last one."""


def _mapping_without_doubles(loader: _StrictLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    mapping: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if key in mapping:
            raise ValueError(f"line {key_node.start_mark.line + 1}: the key {key!r} is given twice; keep one")
        mapping[key] = loader.construct_object(value_node, deep=True)
    return mapping


_StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping_without_doubles)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; ValueError with the file's name when it is missing, broken or no mapping."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: cannot be read ({error})") from error
    try:
        value = yaml.load(text, Loader=_StrictLoader)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from error
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ValueError(f"{path}: expected keys and values, found a {type(value).__name__}")
    return value


def build(config: type[Config], values: Mapping[str, Any], *, where: str) -> Config:
    """`values` as an instance of the frozen dataclass `config`; `where` names the input in errors.

    build(Optimizer, {"lerning_rate": 1}, where="tiny.yaml: pretrain")
    -> ValueError: tiny.yaml: pretrain.lerning_rate: unknown key; did you mean learning_rate?
    """
    refuse_traps(values, where)
    _refuse_unknown_keys(config, values, where)
    try:
        return TypeAdapter(config).validate_python(_tuples(values), extra="forbid")
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        if first["type"] == "value_error":  # a config's own sentence, which says what was found
            raise ValueError(_said_of(_join(where, name), str(first["ctx"]["error"]))) from error
        said = _PLAINLY.get(first["type"], first["msg"])
        raise ValueError(f"{_join(where, name)}: {said} (found {first['input']!r})") from error


def _join(where: str, name: str) -> str:
    separator = ": " if where.endswith((".yaml", ".yml", ".json")) else "."
    return f"{where}{separator}{name}" if name else where


def _said_of(place: str, sentence: str) -> str:
    """A config's sentence may begin with its own section: of tiny.yaml: instruct.lora, "lora: rank …" is "rank …"."""
    section = re.match(r"\w+(?=[:.])", sentence)
    if section and section[0] in re.split(r"[.:] ?", place):
        return place + sentence[section.end() :]
    return f"{place}: {sentence}"


def _refuse_unknown_keys(config: Any, values: object, where: str) -> None:
    if not (isinstance(config, type) and dataclasses.is_dataclass(config)):
        for option in typing.get_args(config):
            if isinstance(values, Mapping) and typing.get_origin(config) in (dict, Mapping) and option is not str:
                for key, value in values.items():
                    _refuse_unknown_keys(option, value, _join(where, str(key)))
            elif typing.get_origin(config) in (typing.Union, types.UnionType):
                _refuse_unknown_keys(option, values, where)
            elif isinstance(values, list | tuple):
                for index, value in enumerate(values):
                    _refuse_unknown_keys(option, value, f"{where}[{index}]")
        return
    if not isinstance(values, Mapping):
        return
    known = typing.get_type_hints(config)
    for key, value in values.items():
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.5)
            mend = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(sorted(known))}"
            raise ValueError(f"{_join(where, str(key))}: unknown key; {mend}")
        if isinstance(value, bool | str) and _is_number(known[key]):
            found = f"the text {value!r}" if isinstance(value, str) else str(value).lower()
            raise ValueError(f"{_join(where, str(key))}: expected a number, found {found}")
        _refuse_unknown_keys(known[key], value, _join(where, str(key)))


def _is_number(kind: Any) -> bool:
    """int, float, or one of them or nothing."""
    options = typing.get_args(kind) if typing.get_origin(kind) in (typing.Union, types.UnionType) else (kind,)
    return set(options) <= {int, float, type(None)}


def refuse_traps(values: object, where: str) -> None:
    """NaN and infinity are never settings; `1e-3` without a dot is text in YAML 1.1."""
    if isinstance(values, Mapping):
        for key, value in values.items():
            refuse_traps(value, _join(where, str(key)))
    elif isinstance(values, list | tuple):
        for index, value in enumerate(values):
            refuse_traps(value, f"{where}[{index}]")
    elif isinstance(values, float) and not math.isfinite(values):
        raise ValueError(f"{where}: {values} is no finite number; give one")
    elif isinstance(values, str):
        mantissa, _, exponent = values.lower().partition("e")
        if mantissa.isdigit() and exponent.lstrip("+-").isdigit():
            raise ValueError(f"{where}: YAML reads {values} as text; write {mantissa}.0e{exponent}")


def _tuples(values: object) -> Any:
    """Booleans are no numbers and lists become tuples, so that a frozen config is frozen all the way down."""
    if isinstance(values, Mapping):
        return {key: _tuples(value) for key, value in values.items()}
    if isinstance(values, list):
        return tuple(_tuples(value) for value in values)
    return values


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` laid on `base`, key by key and level by level; lists are replaced whole."""
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def set_dotted(values: dict[str, Any], assignment: str) -> dict[str, Any]:
    """Lay `instruct.steps=200` (the value in YAML) on nested values."""
    name, separator, text = assignment.partition("=")
    if not separator or not name:
        raise ValueError(f"--set {assignment}: expected KEY=VALUE, for example instruct.steps=200")
    value: Any = yaml.safe_load(text)
    for part in reversed(name.split(".")):
        value = {part: value}
    return merge(values, value)
