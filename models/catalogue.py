"""Config -> model, and a model's folder: config.json, model.safetensors and the tokenizer's files, nothing executable.

A folder may come from anywhere: its architecture must stand in the table, its weights must be safetensors of exactly the
names, shapes and types that the architecture has, and nothing in it is ever run.
"""

import json
import re
import shutil
from collections.abc import Collection, Container, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import (
    CONFIG_MAPPING,
    MODEL_FOR_CAUSAL_LM_MAPPING,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from models.tokenizers.chat import ChatTokenizer
from models.weights import INDEX_FILE, WEIGHTS_FILE, Named, read_tensors, tensor_shapes, weight_files

CONFIG_FILE = "config.json"
LARGEST_CONFIG_BYTES = 1_000_000
LARGEST_PARAMETERS = 20_000_000_000
LARGEST_SIZE, MOST_LAYERS = 10_000_000, 256  # any whole number of a configuration, and its layers

# model_type of a config.json -> its classes: what is trained and asked.
ARCHITECTURES: Mapping[str, tuple[type[Any], type[Any]]] = {
    "llama": (LlamaConfig, LlamaForCausalLM),
    "gpt2": (GPT2Config, GPT2LMHeadModel),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM),
}
# What is asked and not trained: decoders whose logits are the last state times the head and nothing more. What stands in
# neither table is not loaded.
ASKED_ALONE = ("gemma", "gpt_neox", "mistral", "olmo", "olmo2", "phi3", "qwen3", "smollm3", "stablelm", "starcoder2")
ASKED = (*ARCHITECTURES, *ASKED_ALONE)
# What a config.json may say beside its architecture's own fields: older spellings of rotary embeddings.
LEGACY_KEYS = ("rope_theta", "rope_scaling", "rotary_emb_base", "rotary_pct", "partial_rotary_factor")
# How older files name a tensor, and what of theirs the architecture computes anew (beside what its class names).
OLDER_NAMES = {"embed_out.": "lm_head."}
COMPUTED = r"rotary_emb\.inv_freq$"
# Keys of a config.json that would make the library run or fetch code.
REFUSED_KEYS = (
    "auto_map",
    "trust_remote_code",
    "_attn_implementation_internal",
    "custom_pipelines",
    "quantization_config",
)


def classes_of(kind: str) -> tuple[type[Any], type[Any]]:
    """Configuration and language model of the library for a model_type of `ASKED`."""
    if kind in ARCHITECTURES:
        return ARCHITECTURES[kind]
    configuration = CONFIG_MAPPING[kind]
    return configuration, MODEL_FOR_CAUSAL_LM_MAPPING[configuration]


def read_config(folder: Path, kinds: Collection[str] = tuple(ARCHITECTURES)) -> Any:
    """The checked configuration of a model's folder; ValueError says what is not allowed in it.

    Only the fields of the architecture itself are handed on: what else the library would read there (labels, attention
    kernels, output switches) has no say over a language model.
    """
    path = folder / CONFIG_FILE
    values = _config_values(path)
    kind = str(values.get("model_type"))
    if kind not in kinds:
        hint = "; it can be evaluated, not trained" if kind in ASKED_ALONE else ""
        raise ValueError(f"{path}: model_type {kind!r} is not one of {', '.join(kinds)}{hint}")
    for key in REFUSED_KEYS:
        if key in values:
            raise ValueError(f"{path}: {key} is refused: a model's folder never brings code; remove the key")
    configuration = classes_of(kind)[0]
    kept = {*configuration.__annotations__, *LEGACY_KEYS}
    own = {key: value for key, value in values.items() if key in kept}
    for key, value in own.items():
        most = MOST_LAYERS if key in ("num_hidden_layers", "n_layer") else LARGEST_SIZE
        if isinstance(value, int) and value > most:
            raise ValueError(f"{path}: {key} is {str(value)[:20]}; at most {most:,} is loaded")
    try:
        config = configuration.from_dict(own)
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
    slides = "sliding_attention" in (getattr(config, "layer_types", None) or ("sliding_attention",))
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
            model: PreTrainedModel = classes_of(str(config.model_type))[1](config)
    except Exception as error:  # negative sizes, unknown activations: each fails in a way of its own
        raise ValueError(f"{CONFIG_FILE}: no {config.model_type} can be built from it ({_one_line(error)})") from error
    return model


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]


def load_weights(folder: Path, kinds: Collection[str] = tuple(ARCHITECTURES)) -> PreTrainedModel:
    """The language model in `folder` in fp32, on a GPU where torch sees one; of one of `kinds`.

    ValueError when a tensor is missing, unknown, or of another shape.
    """
    config = read_config(folder, kinds)
    empty = empty_model(config)
    expected = {name: tuple(tensor.shape) for name, tensor in empty.state_dict().items()}
    size = sum(torch.Size(shape).numel() for shape in expected.values())
    if size > LARGEST_PARAMETERS:
        raise ValueError(
            f"{folder / CONFIG_FILE}: describes {size:,} parameters; at most {LARGEST_PARAMETERS:,} are loaded"
        )
    files = weight_files(folder)
    path = files[0] if files[0].name == WEIGHTS_FILE else folder / INDEX_FILE
    named = _naming(empty)
    shapes = tensor_shapes(files, named)
    tied = {"lm_head.weight"} if getattr(config, "tie_word_embeddings", False) else set()
    for name in sorted(set(expected) - set(shapes) - tied):
        raise ValueError(f"{path}: the tensor {name} is missing")
    for name, shape in sorted(shapes.items()):
        if name not in expected:
            raise ValueError(f"{path}: the tensor {name} does not belong to a {config.model_type} of this size")
        if shape != expected[name]:
            raise ValueError(f"{path}: {name} has shape {shape}, config.json says {expected[name]}")
    model: PreTrainedModel = classes_of(str(config.model_type))[1](config)
    tensors = {name: tensor.float() for name, tensor in read_tensors(files, named).items()}
    doubles = {name: tensors.pop(name) for name in tied & set(tensors)}
    model.load_state_dict(tensors, strict=False)
    model.tie_weights()
    for name, tensor in doubles.items():
        if not torch.equal(tensor, model.get_input_embeddings().weight):
            raise ValueError(f"{path}: {name} is not the input embedding, which config.json ties it to")
    return model.to(found_device())


def _naming(model: PreTrainedModel) -> Named:
    """How `model` has what a file names: GPT-2's own files lack "transformer.". None for what is computed anew."""
    known = set(model.state_dict())
    computed = (COMPUTED, *(getattr(model, "_keys_to_ignore_on_load_unexpected", None) or ()))

    def named(name: str) -> str | None:
        older = next((each for each in OLDER_NAMES if name.startswith(each)), "")
        own = OLDER_NAMES.get(older, "") + name.removeprefix(older)
        for spelled in (own, f"{model.base_model_prefix}.{own}"):
            if spelled in known:
                return spelled
        return None if any(re.search(pattern, name) for pattern in computed) else name

    return named


def found_device() -> str:
    """Where a model computes of which nobody says where: on a GPU where torch sees one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


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


def load_model(folder: Path, kinds: Collection[str] = tuple(ARCHITECTURES)) -> tuple[PreTrainedModel, ChatTokenizer]:
    """The language model in `folder` and its tokenizer; ValueError when they do not belong together."""
    tokenizer = ChatTokenizer.load(folder)
    model = load_weights(folder, kinds)
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
