"""A decoder that reads examples (x, y) of a function as vectors and foretells the next y (Garg et al. 2022).

"What Can Transformers Learn In-Context? A Case Study of Simple Function Classes".

Shapes: B functions, K examples, X dimensions of x, D width.
"""

import torch
from torch import Tensor, nn
from transformers import LlamaModel

from models.llama import LlamaShape, build_llama


class InContextRegressor(nn.Module):
    """x1 y1 x2 y2 ... as one sequence of vectors; at each x the foretold y."""

    def __init__(self, shape: LlamaShape, *, dimensions: int) -> None:
        super().__init__()
        self.decoder: LlamaModel = build_llama(shape, vocabulary=1, end_id=0, pad_id=0).model
        self.decoder.embed_tokens.requires_grad_(False)  # vectors come in its place
        self.read = nn.Linear(dimensions, shape.width)
        self.foretell = nn.Linear(shape.width, 1)

    def forward(self, x_BKX: Tensor, y_BK: Tensor) -> Tensor:
        """[B, K]: of each y what is foretold from the examples before it and its own x."""
        y_BKX = torch.zeros_like(x_BKX)
        y_BKX[:, :, 0] = y_BK
        read_BTD = self.read(torch.stack([x_BKX, y_BKX], 2).flatten(1, 2))
        states_BTD = self.decoder(inputs_embeds=read_BTD, use_cache=False).last_hidden_state
        foretold_BK: Tensor = self.foretell(states_BTD[:, ::2])[:, :, 0]
        return foretold_BK
