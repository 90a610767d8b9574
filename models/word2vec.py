"""word2vec (2013): Mikolov et al., "Distributed Representations of Words and Phrases": a word is known by its neighbours.

Shapes: B centre words, C words of their windows, O output words, D dimension, V vocabulary,
I inputs of a centre word: C (skip-gram: each for itself) or 1 (CBOW: their mean).
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

Kind = Literal["skip-gram", "cbow"]


@dataclass(frozen=True, kw_only=True)
class Word2vecShape:
    dimension: int = 100
    kind: Kind = "skip-gram"

    def __post_init__(self) -> None:
        if self.dimension < 1 or self.kind not in ("skip-gram", "cbow"):
            raise ValueError(
                f"word2vec: dimension must be at least 1 and kind skip-gram or cbow, found {self.dimension}, {self.kind}"
            )


class Word2vec(nn.Module):
    """Two tables; the vectors that people use are the inputs'.

    As in word2vec.c inputs start in U(-1/2, 1/2) / D (of torch's global generator) and outputs at 0, and it is the word of
    the window that is the input and the centre word that is the output, though the paper has it the other way round.
    """

    def __init__(self, shape: Word2vecShape, *, vocabulary: int) -> None:
        super().__init__()
        self.shape = shape
        self.input = nn.Embedding(vocabulary, shape.dimension)
        self.output = nn.Embedding(vocabulary, shape.dimension)
        nn.init.uniform_(self.input.weight, -0.5 / shape.dimension, 0.5 / shape.dimension)
        nn.init.zeros_(self.output.weight)

    def forward(self, contexts_BC: Tensor, mask_BC: Tensor, outputs_BO: Tensor) -> Tensor:
        """Scores [B, I, O]: how well each output word goes with each input; `mask` is False where a window is not full."""
        inputs_BID = self.input(contexts_BC)
        if self.shape.kind == "cbow":
            shares_BC = mask_BC / mask_BC.sum(1, keepdim=True)
            inputs_BID = shares_BC[:, None].to(inputs_BID.dtype) @ inputs_BID
        scores_BIO: Tensor = torch.bmm(inputs_BID, self.output(outputs_BO).mT)
        return scores_BIO
