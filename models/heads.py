"""A scalar on top of any decoder: a reward for a whole answer (Ziegler et al. 2019), a value for every state of it.

Shapes: B sequences, T tokens, D width, V vocabulary.
"""

import math
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from models.catalogue import load_weights, save_model
from models.tokenizers.chat import ChatTokenizer

HEAD_FILE = "head.safetensors"


def hidden_states(model: Any, ids_BT: Tensor, mask_BT: Tensor | None = None) -> Tensor:
    """The decoder's last hidden states [B, T, D]; `mask_BT` is 1 on tokens, and positions are counted over it alone."""
    positions_BT = None
    if mask_BT is not None:
        positions_BT = (mask_BT.long().cumsum(1) - 1).clamp(min=0)
        mask_BT = mask_BT.long()
    output = model.base_model(input_ids=ids_BT, attention_mask=mask_BT, position_ids=positions_BT, use_cache=False)
    states: Tensor = output.last_hidden_state
    return states


def vocabulary_head(model: Any) -> Tensor:
    """The output embedding [V, D] of a language model."""
    weight: Tensor = model.get_output_embeddings().weight
    return weight


class RewardModel(nn.Module):
    """A language model whose last token's state is read by a linear head; the reward is in no unit, only differences mean."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.head = nn.Linear(model.config.hidden_size, 1)
        # lm-human-preferences: std 1 / sqrt(d + 1), so that first rewards are of order one
        nn.init.normal_(self.head.weight, std=1 / math.sqrt(model.config.hidden_size + 1))
        nn.init.zeros_(self.head.bias)

    def forward(self, ids_BT: Tensor, mask_BT: Tensor) -> Tensor:
        """Rewards [B], read at the last token that `mask_BT` counts; on which side the padding stands does not matter."""
        states_BTD = hidden_states(self.model, ids_BT, mask_BT)
        places_T = torch.arange(ids_BT.shape[1], device=ids_BT.device)
        last_B = (mask_BT.long() * places_T).argmax(1)
        chosen_BD = states_BTD[torch.arange(len(ids_BT), device=ids_BT.device), last_B]
        rewards: Tensor = self.head(chosen_BD)[:, 0].float()
        return rewards

    @torch.no_grad()
    def normalise(self, rewards: Tensor) -> None:
        """Shift and scale the head so that `rewards`, its own on reference answers, get mean 0 and deviation 1."""
        mean, deviation = rewards.double().mean(), rewards.double().std(correction=0)
        if not (torch.isfinite(mean) and deviation > 1e-6):
            raise ValueError(
                f"rewards of the reference answers have deviation {float(deviation):.2g}: nothing was learned"
            )
        self.head.weight.mul_(float(1 / deviation))
        self.head.bias.copy_((self.head.bias - float(mean)) / float(deviation))


class PolicyWithValue(nn.Module):
    """A policy and the value of its states, which share a trunk; the value starts at 0 everywhere."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.value = nn.Linear(model.config.hidden_size, 1)
        nn.init.zeros_(self.value.weight)
        nn.init.zeros_(self.value.bias)


def save_reward_model(folder: Path, reward: RewardModel, tokenizer: ChatTokenizer) -> None:
    save_model(folder, reward.model, tokenizer)
    head = {name: tensor.detach().cpu().contiguous() for name, tensor in reward.head.state_dict().items()}
    save_file(head, folder / HEAD_FILE, metadata={"format": "pt"})


def load_reward_model(folder: Path) -> tuple[RewardModel, ChatTokenizer]:
    """The reward model in `folder` and its tokenizer; ValueError when it is not one."""
    if not (folder / HEAD_FILE).is_file():
        raise ValueError(f"{folder}: has no {HEAD_FILE}; it is not a reward model")
    reward = RewardModel(load_weights(folder))
    reward.head.load_state_dict(load_file(folder / HEAD_FILE))
    return reward, ChatTokenizer.load(folder)
