"""LoRA by peft, in a decoder of ours: attach adapters, train them alone, save them as peft does, merge them.

The one file that imports peft, which a machine that tunes whole models need not have: import it where a recipe asks for
LoRA, nowhere else.

Shapes: B sequences, T tokens.
"""

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModelForCausalLM, get_peft_model_state_dict
from safetensors.torch import save_file
from torch import Tensor
from transformers.pytorch_utils import Conv1D

from models.lora import LoraShape, chosen_layers

CONFIG_FILE, WEIGHTS_FILE = "adapter_config.json", "adapter_model.safetensors"
SAME_LOGITS = 1e-5  # of the largest logit: fp32 rounds W x + s B A x and (W + s B A) x differently


class Adapters:
    """Adapters in the linear layers of `model`, whose own weights are frozen; at first they add nothing.

    `token_ids` are tokens whose embeddings are trained as they are, and their rows of the head too.
    """

    def __init__(self, model: Any, shape: LoraShape, *, seed: int, token_ids: Sequence[int] = ()) -> None:
        layers = chosen_layers(model, shape.targets)
        config = LoraConfig(
            r=shape.rank,
            lora_alpha=shape.rank if shape.alpha is None else shape.alpha,
            lora_dropout=shape.dropout,
            target_modules=layers,
            fan_in_fan_out=any(isinstance(each, Conv1D) for each in model.modules()),  # GPT-2 stores W^T
            trainable_token_indices={table: list(token_ids) for table in _tables(model)} if token_ids else None,
            task_type="CAUSAL_LM",
        )
        torch.manual_seed(seed)
        with warnings.catch_warnings():
            # peft 0.21 asks transformers 5 by a name that is to go in its release 6
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
            self._peft = PeftModelForCausalLM(model, config)

    def save(self, folder: Path) -> None:
        """adapter_config.json and adapter_model.safetensors, the same bytes for the same adapters.

        peft's own writer puts the base model's path and a set in the order of the day into them.
        """
        folder.mkdir(parents=True, exist_ok=True)
        record = self._peft.peft_config["default"].to_dict()
        record |= {"base_model_name_or_path": None, "target_modules": sorted(record["target_modules"])}
        record["inference_mode"] = True
        text = json.dumps(record, indent=1, sort_keys=True)
        (folder / CONFIG_FILE).write_text(text + "\n", encoding="utf-8")
        tensors = get_peft_model_state_dict(self._peft, save_embedding_layers=False)
        kept = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        save_file(kept, folder / WEIGHTS_FILE, metadata={"format": "pt"})

    @torch.no_grad()
    def merge(self, ids_BT: Tensor) -> None:
        """Add the adapters to the weights of their layers and take them away; ValueError when `ids_BT` shows a difference."""
        model = self._peft.get_base_model().eval()
        ids_BT = ids_BT.to(model.device)
        before = model(input_ids=ids_BT, use_cache=False).logits
        self._peft.merge_and_unload(safe_merge=True)
        difference = float((model(input_ids=ids_BT, use_cache=False).logits - before).abs().max())
        if not difference <= SAME_LOGITS * max(1.0, float(before.abs().max())):
            raise ValueError(
                f"merged, the model's logits are {difference:.2g} away from those with its adapters; the merged model "
                "would not be the one that was trained: train with a smaller learning rate, or the whole model"
            )


def _tables(model: Any) -> list[str]:
    """What the embedding is called, and the head where it is not the embedding once more."""
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    tables = [embedding] if head.weight is embedding.weight else [embedding, head]
    return [name.rpartition(".")[2] for name, module in model.named_modules() if any(module is each for each in tables)]
