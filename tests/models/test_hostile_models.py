"""A model's folder from anywhere is refused before it acts, each kind of attack with its own reason."""

import json
import pickle
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from model_folders import logits, with_config, with_header, with_tensors

from models.catalogue import (
    CONFIG_FILE,
    load_weights,
    read_config,
)
from models.weights import LARGEST_HEADER_BYTES, WEIGHTS_FILE

CHECKOUT = Path(__file__).resolve().parents[2]

CONFIGS = [
    ({"auto_map": {"AutoModelForCausalLM": "evil.Model"}}, "auto_map is refused: a model's folder never brings code"),
    ({"trust_remote_code": True}, "trust_remote_code is refused"),
    ({"_attn_implementation_internal": "x/y"}, "_attn_implementation_internal is refused"),
    ({"quantization_config": {"quant_method": "gptq"}}, "quantization_config is refused"),
    ({"model_type": "evil"}, "model_type 'evil' is not one of llama, gpt2, qwen2"),
    ({"model_type": None}, "model_type 'None' is not one of"),
    ({"hidden_size": "32"}, "no configuration of a llama"),
    ({"hidden_size": 31}, "no configuration of a llama"),
    ({"rms_norm_eps": None}, "no configuration of a llama"),
    ({"num_attention_heads": 0}, "no configuration of a llama"),
    ({"hidden_act": "evil"}, "no llama can be built from it"),
    ({"pad_token_id": 9999}, "no llama can be built from it"),
    ({"vocab_size": -1}, "no llama can be built from it"),
    ({"num_hidden_layers": 1_000_000_000}, "num_hidden_layers is 1000000000; at most 256 is loaded"),
    ({"hidden_size": 10**30}, "hidden_size is 10000000000000000000; at most 10,000,000"),
    (
        {"hidden_size": 4_000_000, "vocab_size": 9_000_000, "head_dim": 8},
        r"describes [\d,]+ parameters; at most 20,000,000,000 are loaded",
    ),
    ({"num_hidden_layers": 200}, "the tensor model.layers.10.input_layernorm.weight is missing"),
    ({"num_hidden_layers": 1}, "the tensor model.layers.1.input_layernorm.weight does not belong to a llama"),
    ({"intermediate_size": 63}, r"down_proj.weight has shape \(32, 64\), config.json says \(32, 63\)"),
]


@pytest.mark.parametrize(("changed", "reason"), CONFIGS)
def test_a_hostile_configuration_is_refused(folder: Path, changed: dict[str, Any], reason: str) -> None:
    with_config(folder, **changed)
    with pytest.raises(ValueError, match=reason):
        load_weights(folder)


def test_a_model_whose_layers_see_a_part_of_the_context_is_refused(tmp_path: Path) -> None:
    """Packed rows and continuations that share a context bring masks of their own, in which there is no window."""
    sizes = {"model_type": "qwen2", "hidden_size": 32, "num_attention_heads": 4, "num_hidden_layers": 2}
    window = {"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 1, "max_position_embeddings": 128}

    def config(**changed: object) -> Any:
        (tmp_path / CONFIG_FILE).write_text(json.dumps({**sizes, **window, **changed}))
        return read_config(tmp_path)

    with pytest.raises(ValueError, match="sliding_window is 16 of 128 tokens; attention over a part"):
        config()
    for harmless in ({"max_window_layers": 2}, {"use_sliding_window": False}, {"sliding_window": 128}):
        assert config(**harmless).num_hidden_layers == 2


def test_what_is_no_part_of_an_architecture_has_no_say(folder: Path, model: Any) -> None:
    """Labels by the billion, output switches, a kernel from elsewhere, a name of another weights file."""
    with_config(
        folder, num_labels=10**9, return_dict=False, output_attentions=True, to_dict=3, dtype="evil",
        attn_implementation="someone/kernel", transformers_weights="evil.bin",
    )  # fmt: skip
    loaded = load_weights(folder)
    assert loaded.config._attn_implementation == "sdpa"
    assert torch.equal(logits(loaded), logits(model))


@pytest.mark.parametrize("text", ["", "[1, 2]", '"llama"', "[" * 100_000, '{"model_type": "llama"', " " * 1_000_001])
def test_a_configuration_that_is_none_is_refused(folder: Path, text: str) -> None:
    (folder / CONFIG_FILE).write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match="not readable as JSON"):
        load_weights(folder)


class Payload:
    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> Any:
        return Path.touch, (self._marker,)


def test_weights_that_may_run_code_are_refused_and_do_not(folder: Path, tmp_path: Path) -> None:
    """By the file's name, and by what is in it when it is renamed: a plain pickle and torch's zip."""
    marker = tmp_path / "it-ran"
    evil = pickle.dumps({"model.norm.weight": Payload(marker)})
    (folder / WEIGHTS_FILE).unlink()
    (folder / "pytorch_model.bin").write_bytes(evil)
    with pytest.raises(ValueError, match=r"is missing, and only safetensors are loaded; pytorch_model\.bin is refused"):
        load_weights(folder)
    (folder / WEIGHTS_FILE).write_bytes(evil)
    with pytest.raises(ValueError, match=r"its header claims [\d,]+ bytes"):
        load_weights(folder)
    torch.save({"model.norm.weight": Payload(marker)}, folder / WEIGHTS_FILE)
    with pytest.raises(ValueError, match=r"its header claims [\d,]+ bytes"):
        load_weights(folder)
    assert not marker.exists()
    pickle.loads(evil)
    assert marker.exists()  # the payload would have worked


def rename(header: dict[str, Any], name: str, new: str) -> None:
    header[new] = header.pop(name)


NORM = "model.norm.weight"
HEADERS: list[tuple[Callable[[dict[str, Any]], object], str]] = [
    (lambda header: rename(header, NORM, "model.norm.evil"), f"the tensor {NORM} is missing"),
    (lambda header: header.update(extra=header[NORM]), "overlap or leave gaps"),
    (lambda header: header[NORM].update(data_offsets=[0, 128]), "overlap or leave gaps"),
    (lambda header: header[NORM].update(data_offsets=[128, 0]), "overlap or leave gaps"),
    (lambda header: header.pop(NORM), "overlap or leave gaps|its tensors end at"),
    (lambda header: header[NORM].update(shape=[16, 2]), r"has shape \(16, 2\), config.json says \(32,\)"),
    (lambda header: header[NORM].update(shape=[10**12]), r"has shape \(1000000000000,\), config"),
    (lambda header: header[NORM].update(dtype="I32"), "model.norm.weight is I32, expected one of F32, F16, BF16"),
    (lambda header: header[NORM].update(dtype="F16"), "not a safetensors file"),
    (lambda header: header[NORM].pop("dtype"), "a tensor without 'dtype'"),
    (lambda header: header[NORM].update(data_offsets=[0]), "not a safetensors file"),
    (lambda header: header[NORM].update(data_offsets=["a", "b"]), "not a safetensors file"),
    (lambda header: header.update({NORM: "text"}), "not a safetensors file"),
]


@pytest.mark.parametrize(("change", "reason"), HEADERS)
def test_a_hostile_header_is_refused(folder: Path, change: Callable[[dict[str, Any]], object], reason: str) -> None:
    with_header(folder, change)
    with pytest.raises(ValueError, match=reason):
        load_weights(folder)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not a safetensors file"),
        (b"\x01\x02", "not a safetensors file"),
        (struct.pack("<Q", 1 << 40), "claims 1,099,511,627,776 bytes"),
        (struct.pack("<Q", 100) + b"{}", "claims 100 bytes"),
        (struct.pack("<Q", 2) + b"[]", "is missing"),
        (struct.pack("<Q", 2) + b"{}" + b"rest", "its tensors end at 0 bytes, the file at 4"),
        (struct.pack("<Q", 50_000) + b"[" * 50_000, "not a safetensors file"),
        (struct.pack("<Q", 2) + b"\xff\xfe", "not a safetensors file"),
    ],
)
def test_a_file_that_is_no_safetensors_is_refused(folder: Path, content: bytes, reason: str) -> None:
    (folder / WEIGHTS_FILE).write_bytes(content)
    with pytest.raises(ValueError, match=reason):
        load_weights(folder)


def test_one_tensor_too_many_is_refused(folder: Path) -> None:
    with_tensors(folder, lambda tensors: tensors.update(extra=torch.zeros(3)))
    with pytest.raises(ValueError, match="the tensor extra does not belong to a llama of this size"):
        load_weights(folder)


LOAD = """
import sys, time
from pathlib import Path
from models.catalogue import load_weights
from tests.peak import peak_bytes
before = peak_bytes()
for folder in sys.argv[1:]:
    started = time.monotonic()
    try:
        load_weights(Path(folder))
    except ValueError as error:
        print(time.monotonic() - started, peak_bytes() - before)
"""


def huge_header(folder: Path) -> None:
    """A hundred megabytes of header, all there."""
    with (folder / WEIGHTS_FILE).open("wb") as stream:
        stream.write(struct.pack("<Q", 100_000_000) + b"{")
        stream.truncate(100_000_008)


def many_tensors(folder: Path) -> None:
    """As many names as fit into a header that is still read."""
    empty = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    count = LARGEST_HEADER_BYTES // (len(json.dumps({"t00000": empty})) + 1) - 1
    spelled = json.dumps({f"t{number:05}": empty for number in range(count)}).encode()
    (folder / WEIGHTS_FILE).write_bytes(struct.pack("<Q", len(spelled)) + spelled)


def deep(folder: Path) -> None:
    """256 wide layers, and no tensors of them."""
    with_config(folder, num_hidden_layers=256, hidden_size=1_000_000, intermediate_size=10_000_000)


def test_absurd_sizes_are_refused_quickly_and_with_little_memory(folder: Path, tmp_path: Path) -> None:
    attacks = {each.__name__: each for each in (huge_header, many_tensors, deep)}
    folders = [shutil.copytree(folder, tmp_path / name) for name in attacks]
    for path in folders:
        attacks[path.name](path)
    command = [sys.executable, "-c", LOAD, *folders]
    result = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True)
    measured = [tuple(map(float, line.split())) for line in result.stdout.splitlines()]
    assert len(measured) == len(attacks), result.stderr
    assert all(seconds < 5 for seconds, _ in measured), measured  # two on an idle machine
    assert all(size < 300e6 for _, size in measured), measured
