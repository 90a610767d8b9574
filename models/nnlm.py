"""NNLM (2003): Bengio et al., "A Neural Probabilistic Language Model": words share what is learned through their vectors.

Shapes: B windows, N = order - 1 words before the predicted one, E embedding, X = N E, H hidden, V vocabulary,
F features of the head: H, then X where connections are direct, then a constant 1.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

EMBEDDING_STD = 0.1
HEAD_STD = 0.01


@dataclass(frozen=True, kw_only=True)
class NnlmShape:
    """`order` counts the predicted word, as for n-grams; `direct` connects the words' vectors with the output as well."""

    order: int = 5
    embedding: int = 60
    hidden: int = 100
    direct: bool = False

    def __post_init__(self) -> None:
        if self.order < 2 or min(self.embedding, self.hidden) < 1:
            raise ValueError(
                "nnlm: order must be at least 2 (one word before the predicted one), embedding and hidden at least 1"
            )

    @property
    def context(self) -> int:
        return self.order - 1

    @property
    def features(self) -> int:
        return self.hidden + (self.context * self.embedding if self.direct else 0) + 1

    def parameters(self, vocabulary: int) -> int:
        """The paper's |V|(1 + nm + h) + h(1 + (n-1)m) with direct connections, |V|(1 + m + h) + the same without."""
        width = self.context * self.embedding
        return vocabulary * (self.embedding + self.features) + self.hidden * (1 + width)


class Nnlm(nn.Module):
    """y = b + Wx + U tanh(d + Hx), x the vectors of the words before; fresh weights are of torch's global generator.

    `head` is the one matrix [U | W | b]: with a constant 1 among its features it needs no bias of its own. `end_id` stands
    for words before the first.
    """

    def __init__(self, shape: NnlmShape, *, vocabulary: int, end_id: int) -> None:
        super().__init__()
        if not 0 <= end_id < vocabulary:
            raise ValueError(f"nnlm: end_id {end_id} must be an id of the vocabulary, 0 to {vocabulary - 1}")
        self.shape, self.end_id = shape, end_id
        self.embedding = nn.Embedding(vocabulary, shape.embedding)
        self.hidden = nn.Linear(shape.context * shape.embedding, shape.hidden)
        self.head = nn.Linear(shape.features, vocabulary, bias=False)
        nn.init.normal_(self.embedding.weight, std=EMBEDDING_STD)
        # with words' vectors this short, the sums d + Hx of a fresh model are about as large as tanh can tell apart
        nn.init.normal_(self.hidden.weight, std=1 / (EMBEDDING_STD * math.sqrt(self.hidden.in_features)))
        nn.init.normal_(self.head.weight, std=HEAD_STD)
        self.start_from(torch.ones(vocabulary))

    @torch.no_grad()
    def start_from(self, counts_V: Tensor) -> None:
        """Let b say how often each word was counted: what many small steps would otherwise be spent on."""
        shares_V = (counts_V + 1.0) / (counts_V + 1.0).sum()
        self.head.weight[:, -1] = shares_V.log()

    def features(self, ids_BN: Tensor) -> Tensor:
        """[B, F]: what the head makes logits of."""
        x_BX = self.embedding(ids_BN).flatten(1)
        direct = [x_BX] if self.shape.direct else []
        return torch.cat([torch.tanh(self.hidden(x_BX)), *direct, torch.ones_like(x_BX[:, :1])], dim=1)

    def forward(self, ids_BN: Tensor) -> Tensor:
        logits_BV: Tensor = self.head(self.features(ids_BN))
        return logits_BV
