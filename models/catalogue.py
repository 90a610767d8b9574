"""Config -> model, and a model's folder: config.json, model.safetensors and the tokenizer's files, nothing executable.

A folder may come from anywhere: its architecture must stand in the table, its weights must be safetensors of exactly the
names, shapes and types that the architecture has, and nothing in it is ever run.
"""

import json
import shutil
import struct
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
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
LARGEST_HEADER_BYTES, LARGEST_CONFIG_BYTES = 5_000_000, 1_000_000
LARGEST_PARAMETERS = 20_000_000_000
LARGEST_SIZE, MOST_LAYERS = 10_000_000, 256  # any whole number of a configuration, and its layers
WEIGHT_TYPES = ("F32", "F16", "BF16")

# model_type of a config.json -> its classes. What is not here is not loaded.
ARCHITECTURES: Mapping[str, tuple[type[Any], type[Any]]] = {
    "llama": (LlamaConfig, LlamaForCausalLM),
    "gpt2": (GPT2Config, GPT2LMHeadModel),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM),
}
# What a config.json may say beside its architecture's own fields: the older spelling of rotary embeddings.
LEGACY_KEYS = ("rope_theta", "rope_scaling")
# Keys of a config.json that would make the library run or fetch code.
REFUSED_KEYS = (
    "auto_map",
    "trust_remote_code",
    "_attn_implementation_internal",
    "custom_pipelines",
    "quantization_config",
)


def read_config(folder: Path) -> Any:
    """The checked configuration of a model's folder; ValueError says what is not allowed in it.

    Only the fields of the architecture itself are handed on: what else the library would read there (labels, attention
    kernels, output switches) has no say over a language model.
    """
    path = folder / CONFIG_FILE
    values = _config_values(path)
    kind = str(values.get("model_type"))
    if kind not in ARCHITECTURES:
        raise ValueError(f"{path}: model_type {kind!r} is not one of {', '.join(ARCHITECTURES)}")
    for key in REFUSED_KEYS:
        if key in values:
            raise ValueError(f"{path}: {key} is refused: a model's folder never brings code; remove the key")
    kept = {*ARCHITECTURES[kind][0].__annotations__, *LEGACY_KEYS}
    own = {key: value for key, value in values.items() if key in kept}
    for key, value in own.items():
        most = MOST_LAYERS if key in ("num_hidden_layers", "n_layer") else LARGEST_SIZE
        if isinstance(value, int) and value > most:
            raise ValueError(f"{path}: {key} is {str(value)[:20]}; at most {most:,} is loaded")
    try:
        config = ARCHITECTURES[kind][0].from_dict(own)
    except Exception as error:  # the library raises whatever its own lines stumble over
        raise ValueError(f"{path}: is no configuration of a {kind} ({_one_line(error)})") from error
    if _looks_back_over_a_window(config):
        raise ValueError(
            f"{path}: sliding_window is {config.sliding_window} of {config.max_position_embeddings} tokens; attention over "
            "a part of what is read is not computed here, give a model without it"
        )
    config._attn_implementation = "sdpa"
    return config


def _looks_back_over_a_window(config: Any) -> bool:
    """Masks of packed rows and of shared contexts (models/heads.py, tasks/evaluation/token_likelihood.py) have none."""
    window = getattr(config, "sliding_window", None)
    slides = "sliding_attention" in (getattr(config, "layer_types", None) or ())
    return slides and window is not None and window < config.max_position_embeddings


def _config_values(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > LARGEST_CONFIG_BYTES:
            raise ValueError(f"more than {LARGEST_CONFIG_BYTES:,} bytes")
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"{path}: not readable as JSON ({error}); a model's folder has one") from error


def empty_model(config: Any) -> PreTrainedModel:
    """A model of `config` with unset weights on the meta device: only its table of names and shapes."""
    try:
        with torch.device("meta"):
            model: PreTrainedModel = ARCHITECTURES[str(config.model_type)][1](config)
    except Exception as error:  # negative sizes, unknown activations: each fails in a way of its own
        raise ValueError(f"{CONFIG_FILE}: no {config.model_type} can be built from it ({_one_line(error)})") from error
    return model


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]


def load_weights(folder: Path) -> PreTrainedModel:
    """The language model in `folder` in fp32, on a GPU where torch sees one.

    ValueError when a tensor is missing, unknown, or of another shape.
    """
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
    tensors = {name: tensor.float() for name, tensor in read_tensors(path).items()}
    doubles = {name: tensors.pop(name) for name in tied & set(tensors)}
    model.load_state_dict(tensors, strict=False)
    model.tie_weights()
    for name, tensor in doubles.items():
        if not torch.equal(tensor, model.get_input_embeddings().weight):
            raise ValueError(f"{path}: {name} is not the input embedding, which config.json ties it to")
    return model.to(found_device())


def found_device() -> str:
    """Where a model computes of which nobody says where: on a GPU where torch sees one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """All tensors of a safetensors file; ValueError when the library finds it broken."""
    try:
        return dict(load_file(path))
    except SafetensorError as error:
        raise ValueError(f"{path}: not a safetensors file ({error})") from error


def tensor_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes from a safetensors header, read with bounds before anything is allocated."""
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
        return {name: _shape(name, entry) for name, entry in header.items()}
    except KeyError as error:
        raise ValueError(f"{path}: not a safetensors file (a tensor without {error})") from error
    except (OSError, struct.error, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not a safetensors file ({error})") from error


def _check_offsets(header: Mapping[str, Any], size: int) -> None:
    place = 0
    for start, end in sorted(tuple(entry["data_offsets"]) for entry in header.values()):
        if start != place or end < start:
            raise ValueError("its tensors overlap or leave gaps")
        place = end
    if place != size:
        raise ValueError(f"its tensors end at {place:,} bytes, the file at {size:,}")


def _shape(name: str, entry: Mapping[str, Any]) -> tuple[int, ...]:
    if entry["dtype"] not in WEIGHT_TYPES:
        raise ValueError(f"{name} is {str(entry['dtype'])[:20]}, expected one of {', '.join(WEIGHT_TYPES)}")
    return tuple(int(each) for each in entry["shape"])


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


def own_tensors(model: Any, without: Container[str] = ()) -> dict[str, torch.Tensor]:
    """The state of a module without doubles, and without some: a tied tensor under its first name."""
    seen: set[int] = set()
    tensors = {}
    for name, tensor in model.state_dict().items():
        if name not in without and tensor.data_ptr() not in seen:
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
