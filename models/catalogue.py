"""Config -> model, and a model's folder: config.json, model.safetensors and the tokenizer's files, nothing executable.

A folder may come from anywhere: its architecture must stand in the table, its weights must be safetensors of exactly the
names, shapes and types that the architecture has, and nothing in it is ever run.
"""

import json
import shutil
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from models.tokenizers.chat import ChatTokenizer

CONFIG_FILE, WEIGHTS_FILE = "config.json", "model.safetensors"
LARGEST_HEADER_BYTES = 5_000_000
LARGEST_PARAMETERS = 20_000_000_000

# model_type of a config.json -> its classes. What is not here is not loaded.
ARCHITECTURES: Mapping[str, tuple[type[Any], type[Any]]] = {
    "llama": (LlamaConfig, LlamaForCausalLM),
    "gpt2": (GPT2Config, GPT2LMHeadModel),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM),
}
# Keys of a config.json that would make the library run or fetch code.
REFUSED_KEYS = (
    "auto_map",
    "trust_remote_code",
    "_attn_implementation_internal",
    "custom_pipelines",
    "quantization_config",
)


def read_config(folder: Path) -> Any:
    """The checked configuration of a model's folder; ValueError says what is not allowed in it."""
    path = folder / CONFIG_FILE
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: not readable as JSON ({error}); a model's folder has one") from error
    kind = str(values.get("model_type")) if isinstance(values, dict) else ""
    if kind not in ARCHITECTURES:
        raise ValueError(f"{path}: model_type {kind!r} is not one of {', '.join(ARCHITECTURES)}")
    for key in REFUSED_KEYS:
        if key in values:
            raise ValueError(f"{path}: {key} is refused: a model's folder never brings code; remove the key")
    config = ARCHITECTURES[kind][0].from_dict(values)
    config._attn_implementation = "sdpa"
    return config


def empty_model(config: Any) -> PreTrainedModel:
    """A model of `config` with unset weights on the meta device: only its table of names and shapes."""
    with torch.device("meta"):
        model: PreTrainedModel = ARCHITECTURES[str(config.model_type)][1](config)
    return model


def load_weights(folder: Path) -> PreTrainedModel:
    """The language model in `folder` in fp32; ValueError when a tensor is missing, unknown, or of another shape."""
    config = read_config(folder)
    path = folder / WEIGHTS_FILE
    shapes = tensor_shapes(path)
    expected = {name: tuple(tensor.shape) for name, tensor in empty_model(config).state_dict().items()}
    size = sum(torch.Size(shape).numel() for shape in expected.values())
    if size > LARGEST_PARAMETERS:
        raise ValueError(
            f"{folder / CONFIG_FILE}: describes {size:,} parameters; at most {LARGEST_PARAMETERS:,} are loaded"
        )
    tied = {"lm_head.weight"} if getattr(config, "tie_word_embeddings", False) else set()
    for name in sorted(set(expected) - set(shapes) - tied):
        raise ValueError(f"{path}: the tensor {name} is missing")
    for name, shape in sorted(shapes.items()):
        if name not in expected:
            raise ValueError(f"{path}: the tensor {name} does not belong to a {config.model_type} of this size")
        if shape != expected[name]:
            raise ValueError(f"{path}: {name} has shape {shape}, config.json says {expected[name]}")
    model: PreTrainedModel = ARCHITECTURES[str(config.model_type)][1](config)
    tensors = {name: tensor.float() for name, tensor in load_file(path).items()}
    model.load_state_dict(tensors, strict=False)
    model.tie_weights()
    return model


def tensor_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes from a safetensors header, read with bounds before anything is allocated."""
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > min(LARGEST_HEADER_BYTES, size - 8):
                raise ValueError(
                    f"{path}: its header claims {length:,} bytes; at most {LARGEST_HEADER_BYTES:,} are read"
                )
            header = json.loads(stream.read(length))
        entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
        ends = sorted(tuple(entry["data_offsets"]) for entry in entries.values())
        place = 0
        for start, end in ends:
            if start != place or end < start:
                raise ValueError(f"{path}: its tensors overlap or leave gaps")
            place = end
        if place != size - 8 - length:
            raise ValueError(f"{path}: its tensors end at {place:,} bytes, the file at {size - 8 - length:,}")
        return {name: tuple(int(each) for each in entry["shape"]) for name, entry in entries.items()}
    except (OSError, struct.error, KeyError, TypeError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a safetensors file ({error})") from error


def save_model(folder: Path, model: Any, tokenizer: ChatTokenizer) -> None:
    """Write a language model with its tokenizer; every tensor once, contiguous, fp32."""
    folder.mkdir(parents=True, exist_ok=True)
    config = model.config.to_dict()
    config["architectures"] = [type(model).__name__]
    for key in ("_name_or_path", "transformers_version", "dtype", "torch_dtype"):
        config.pop(key, None)
    text = json.dumps(config, indent=1, sort_keys=True, ensure_ascii=False)
    (folder / CONFIG_FILE).write_text(text + "\n", encoding="utf-8")
    save_file(own_tensors(model), folder / WEIGHTS_FILE, metadata={"format": "pt"})
    tokenizer.save(folder)


def own_tensors(model: Any) -> dict[str, torch.Tensor]:
    """The state of a module without doubles: a tied tensor under its first name."""
    seen: set[int] = set()
    tensors = {}
    for name, tensor in model.state_dict().items():
        if tensor.data_ptr() not in seen:
            seen.add(tensor.data_ptr())
            tensors[name] = tensor.detach().cpu().contiguous()
    return tensors


def load_model(folder: Path) -> tuple[PreTrainedModel, ChatTokenizer]:
    """The language model in `folder` and its tokenizer; ValueError when they do not belong together."""
    tokenizer = ChatTokenizer.load(folder)
    model = load_weights(folder)
    if tokenizer.vocabulary > model.config.vocab_size:
        raise ValueError(
            f"{folder}: the tokenizer has {tokenizer.vocabulary} tokens and the model embeds {model.config.vocab_size}"
        )
    return model, tokenizer


def copy_tokenizer(source: Path, target: Path) -> None:
    """The tokenizer files of one folder into another, byte for byte."""
    target.mkdir(parents=True, exist_ok=True)
    for name in ChatTokenizer.FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)
