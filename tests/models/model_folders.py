"""A saved model's folder, and how to tamper with it."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from models.catalogue import CONFIG_FILE
from models.weights import WEIGHTS_FILE

IDS = torch.tensor([[2, 100, 200, 4, 3, 50, 270, 4]])


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(input_ids=IDS).logits


def with_config(folder: Path, **changed: Any) -> None:
    values = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    (folder / CONFIG_FILE).write_text(json.dumps({**values, **changed}), encoding="utf-8")


def with_tensors(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(folder / WEIGHTS_FILE)
    change(tensors)
    save_file(tensors, folder / WEIGHTS_FILE)


def with_header(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = (folder / WEIGHTS_FILE).read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    change(header)
    spelled = json.dumps(header).encode()
    (folder / WEIGHTS_FILE).write_bytes(struct.pack("<Q", len(spelled)) + spelled + content[8 + length :])
