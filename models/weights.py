"""Safetensors files: the names and shapes that they claim, read with bounds before anything is allocated, and the tensors.

A large model lies in several files, which an index names.
"""

import json
import re
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

WEIGHTS_FILE, INDEX_FILE = "model.safetensors", "model.safetensors.index.json"
LARGEST_HEADER_BYTES, LARGEST_INDEX_BYTES, MOST_FILES = 5_000_000, 20_000_000, 200
WEIGHT_TYPES = ("F32", "F16", "BF16")

Named = Callable[[str], str | None]  # a file's name of a tensor -> the model's own; None: it is left out


def _as_it_is(name: str) -> str | None:
    return name


def weight_files(folder: Path) -> list[Path]:
    """model.safetensors, or the files beside it that its index names; ValueError when one is missing or elsewhere."""
    whole, index = folder / WEIGHTS_FILE, folder / INDEX_FILE
    if whole.is_file() or not index.is_file():
        return [whole]
    try:
        if index.stat().st_size > LARGEST_INDEX_BYTES:
            raise ValueError(f"more than {LARGEST_INDEX_BYTES:,} bytes")
        names = sorted(
            {str(name) for name in dict(json.loads(index.read_text(encoding="utf-8")))["weight_map"].values()}
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f"{index}: no index of safetensors files ({error}); copy the model's folder again") from error
    if not 0 < len(names) <= MOST_FILES:
        raise ValueError(f"{index}: names {len(names)} files; from 1 to {MOST_FILES} are read")
    for name in names:
        if not re.fullmatch(r"[\w.-]+\.safetensors", name):
            raise ValueError(f"{index}: {name[:60]!r} is no name of a safetensors file beside it")
        if not (folder / name).is_file():
            raise ValueError(f"{index}: {name} is missing; copy the model's folder again")
    return [folder / name for name in names]


def tensor_shapes(files: Sequence[Path], named: Named = _as_it_is) -> dict[str, tuple[int, ...]]:
    """Names and shapes from the headers; ValueError when two files or two names mean one tensor."""
    shapes: dict[str, tuple[int, ...]] = {}
    for path in files:
        for name, entry in _header(path).items():
            own = named(name)
            if own is None:
                continue
            if own in shapes:
                raise ValueError(f"{path}: the tensor {own} is there twice")
            shapes[own] = _shape(path, name, entry)
    return shapes


def read_tensors(files: Sequence[Path], named: Named = _as_it_is) -> dict[str, torch.Tensor]:
    """All tensors of the files by their own names; ValueError when the library finds a file broken."""
    tensors = {}
    for path in files:
        try:
            found = load_file(path)
        except SafetensorError as error:
            raise ValueError(f"{path}: not a safetensors file ({error})") from error
        tensors.update({own: tensor for name, tensor in found.items() if (own := named(name)) is not None})
    return tensors


def _header(path: Path) -> dict[str, Any]:
    if not path.is_file():
        others = sorted(each.name for each in path.parent.glob("*") if each.suffix in (".bin", ".pt", ".pth", ".ckpt"))
        found = f"; {', '.join(others)} is refused: such a file may run code" if others else ""
        raise ValueError(f"{path}: is missing, and only safetensors are loaded{found}")
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > min(LARGEST_HEADER_BYTES, size - 8):
                raise ValueError(f"its header claims {length:,} bytes; at most {LARGEST_HEADER_BYTES:,} are read")
            header = dict(json.loads(stream.read(length)))
        header.pop("__metadata__", None)
        _check_offsets(header, size - 8 - length)
    except KeyError as error:
        raise ValueError(f"{path}: not a safetensors file (a tensor without {error})") from error
    except (OSError, struct.error, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not a safetensors file ({error})") from error
    return header


def _check_offsets(header: Mapping[str, Any], size: int) -> None:
    place = 0
    for start, end in sorted(tuple(entry["data_offsets"]) for entry in header.values()):
        if start != place or end < start:
            raise ValueError("its tensors overlap or leave gaps")
        place = end
    if place != size:
        raise ValueError(f"its tensors end at {place:,} bytes, the file at {size:,}")


def _shape(path: Path, name: str, entry: Any) -> tuple[int, ...]:
    try:
        if entry["dtype"] not in WEIGHT_TYPES:
            raise ValueError(f"{name} is {str(entry['dtype'])[:20]}, expected one of {', '.join(WEIGHT_TYPES)}")
        return tuple(int(each) for each in entry["shape"])
    except KeyError as error:
        raise ValueError(f"{path}: not a safetensors file (a tensor without {error})") from error
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: not a safetensors file ({error})") from error
