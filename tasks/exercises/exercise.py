"""One question with a known answer, and what makes such questions."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Exercise:
    """`text` is what the question is about (and what copy rules see); `slots` fill the rest of a template.

    `rationale` is the way to the answer in words, without the answer's own sentence; "" where there is none.
    `options` are the answers to choose from, () where the answer is open. `facts` are what must be known for it, named alike
    in every exercise that needs one of them; () where its text alone says it.
    """

    text: str
    answer: str
    slots: Mapping[str, str] = field(default_factory=dict)
    rationale: str = ""
    options: tuple[str, ...] = ()
    facts: tuple[str, ...] = ()


Maker = Callable[[random.Random], Exercise]
