"""A scalar on top of any decoder: a reward for a whole answer (Ziegler et al. 2019), a value for every state of it.

Shapes: B sequences, T tokens, D width, V vocabulary.
"""

import math
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from models.catalogue import load_weights, save_model
from models.tokenizers.chat import ChatTokenizer
from models.weights import read_tensors, tensor_shapes

HEAD_FILE = "head.safetensors"


def hidden_states(
    model: Any, ids_BT: Tensor, mask_BT: Tensor | None = None, segments_BT: Tensor | None = None
) -> Tensor:
    """The decoder's last hidden states [B, T, D]; `mask_BT` is 1 on tokens, and positions are counted over it alone.

    `segments_BT` numbers the documents of a packed row from 1 on, 0 is padding: each is read as if it stood alone.
    """
    positions_BT = None
    if segments_BT is not None:
        mask_BT, positions_BT = own_segment(segments_BT), segment_positions(segments_BT)
    elif mask_BT is not None:
        positions_BT = (mask_BT.long().cumsum(1) - 1).clamp(min=0)
        mask_BT = mask_BT.long()
    output = model.base_model(input_ids=ids_BT, attention_mask=mask_BT, position_ids=positions_BT, use_cache=False)
    states: Tensor = output.last_hidden_state
    return states


def own_segment(segments_BT: Tensor) -> Tensor:
    """A mask [B, 1, T, T], which the library takes as it is: a token looks at its own segment, up to itself."""
    same_B1TT = segments_BT[:, None, :, None] == segments_BT[:, None, None, :]
    return same_B1TT.tril()


def segment_positions(segments_BT: Tensor) -> Tensor:
    """Positions that start again with each segment: 1 1 1 2 2 0 -> 0 1 2 0 1 0."""
    places_T = torch.arange(segments_BT.shape[1], device=segments_BT.device)
    begins_BT = segments_BT != segments_BT.roll(1, 1)
    starts_BT = torch.where(begins_BT, places_T, 0).cummax(1).values
    return places_T - starts_BT


def vocabulary_head(model: Any) -> Tensor:
    """The output embedding [V, D] of a language model."""
    weight: Tensor = model.get_output_embeddings().weight
    return weight


class RewardModel(nn.Module):
    """The reward of an answer: a linear head on its last token's state, plus a multiple of its mean log-likelihood.

    Only differences of rewards mean something. The likelihood is there because a small trunk forms its own answer in its
    last layer, where no later token can look it up: on the preference pairs of a 1.4M model a head alone told 0.58 to
    0.61 of the held-out ones right, the likelihood alone 0.73. Both parts and the trunk are trained on the pairs.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.head = nn.Linear(model.config.hidden_size, 1)
        self.likelihood = nn.Parameter(torch.ones(()))
        # lm-human-preferences: std 1 / sqrt(d + 1), so that first rewards are of order one
        nn.init.normal_(self.head.weight, std=1 / math.sqrt(model.config.hidden_size + 1))
        nn.init.zeros_(self.head.bias)

    def forward(self, ids_BT: Tensor, mask_BT: Tensor, answer_BT: Tensor) -> Tensor:
        """Rewards [B]; `answer_BT` is 1 on the answer's tokens, its end token included. Padding may stand on any side."""
        states_BTD = hidden_states(self.model, ids_BT, mask_BT)
        last_B = last_places(mask_BT)
        chosen_BD = states_BTD[torch.arange(len(ids_BT), device=ids_BT.device), last_B]
        rewards: Tensor = self.head(chosen_BD)[:, 0].float()
        return rewards + self.likelihood * self._mean_log_likelihood(states_BTD, ids_BT, answer_BT)

    def _mean_log_likelihood(self, states_BTD: Tensor, ids_BT: Tensor, answer_BT: Tensor) -> Tensor:
        answered_BT = answer_BT[:, 1:].bool()
        scores_NV = torch.log_softmax((states_BTD[:, :-1][answered_BT] @ vocabulary_head(self.model).T).float(), 1)
        chosen_N = scores_NV.gather(1, ids_BT[:, 1:][answered_BT][:, None])[:, 0]
        total_B = torch.zeros_like(answered_BT, dtype=chosen_N.dtype).masked_scatter(answered_BT, chosen_N).sum(1)
        return total_B / answered_BT.sum(1).clamp(min=1)

    @torch.no_grad()
    def normalise(self, rewards: Tensor) -> None:
        """Shift and scale so that `rewards`, its own on reference answers, get mean 0 and deviation 1."""
        mean, deviation = float(rewards.double().mean()), float(rewards.double().std(correction=0))
        if not (math.isfinite(mean) and deviation > 1e-6):
            raise ValueError(f"the rewards of the reference answers deviate by {deviation:.2g}: nothing was learned")
        self.head.weight.div_(deviation)
        self.likelihood.div_(deviation)
        self.head.bias.copy_((self.head.bias - mean) / deviation)

    def own_head(self) -> dict[str, Tensor]:
        """What a reward model has beside its language model."""
        return {name: tensor for name, tensor in self.state_dict().items() if not name.startswith("model.")}


def last_places(mask_BT: Tensor) -> Tensor:
    """The position of each row's last token."""
    return (mask_BT.long() * torch.arange(mask_BT.shape[1], device=mask_BT.device)).argmax(1)


class PolicyWithValue(nn.Module):
    """A policy and the value of its states; the value starts at 0 everywhere and only reads the trunk.

    The states are detached before the value (tasks/alignment/rollouts.py): through a shared trunk of 1.4M parameters the
    value's gradient raised the policy's entropy and undid its gains (measured).
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.value = nn.Linear(model.config.hidden_size, 1)
        nn.init.zeros_(self.value.weight)
        nn.init.zeros_(self.value.bias)


def save_reward_model(folder: Path, reward: RewardModel, tokenizer: ChatTokenizer) -> None:
    save_model(folder, reward.model, tokenizer)
    head = {name: tensor.detach().cpu().contiguous() for name, tensor in reward.own_head().items()}
    save_file(head, folder / HEAD_FILE, metadata={"format": "pt"})


def load_reward_model(folder: Path) -> tuple[RewardModel, ChatTokenizer]:
    """The reward model in `folder` and its tokenizer; ValueError when it is not one."""
    if not (folder / HEAD_FILE).is_file():
        raise ValueError(f"{folder}: has no {HEAD_FILE}; it is not a reward model")
    shapes = tensor_shapes([folder / HEAD_FILE])
    reward = RewardModel(load_weights(folder))
    if shapes != {name: tuple(tensor.shape) for name, tensor in reward.own_head().items()}:
        raise ValueError(f"{folder / HEAD_FILE}: is not the head of a reward model of this size")
    reward.load_state_dict(read_tensors([folder / HEAD_FILE]), strict=False)
    reward.to(reward.model.device)
    return reward, ChatTokenizer.load(folder)
