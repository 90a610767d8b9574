"""Tables whose law is known: losses of a planted law with lognormal noise on an iso-FLOP grid."""

import numpy as np

from tasks.scaling.laws import BESIROGLU, FLOPS_PER_PARAMETER_TOKEN
from tasks.scaling.parametric import grid
from tasks.scaling.runs import Runs, of_arrays

TRUE_EXPONENT = BESIROGLU.exponents[0]
FEW_STARTS = grid()[::45]  # 100 of the 4,500: what the full grid finds, in a fraction of its time


def planted(noise: float, seed: int, *, budgets: int = 9, sizes: int = 9) -> Runs:
    """9 budgets from 1e18 to 1e21 x 9 sizes from a quarter of the best one to four times it (references, 4.2)."""
    parameters, tokens = [], []
    for flops in np.geomspace(1e18, 1e21, budgets):
        best, _ = BESIROGLU.optimum(float(flops))
        for share in np.geomspace(0.25, 4, sizes):
            parameters.append(best * share)
            tokens.append(flops / FLOPS_PER_PARAMETER_TOKEN / (best * share))
    losses = [BESIROGLU.loss(n, d) for n, d in zip(parameters, tokens, strict=True)]
    drawn = np.random.default_rng(seed).standard_normal(len(losses))
    return of_arrays(parameters, tokens, np.array(losses) * np.exp(noise * drawn))


def curves(sizes: int = 12, points: int = 40) -> Runs:
    """Curves without noise: every size at many lengths, as if each had a schedule of its own."""
    parameters = np.repeat(np.geomspace(3e7, 3e9, sizes), points)
    flops = np.tile(np.geomspace(1e18, 1e21, points), sizes)
    tokens = flops / FLOPS_PER_PARAMETER_TOKEN / parameters
    losses = [BESIROGLU.loss(n, d) for n, d in zip(parameters, tokens, strict=True)]
    return of_arrays(parameters, tokens, losses, run=np.repeat(np.arange(sizes), points))


def small_ladder(noise: float, seed: int) -> Runs:
    """4 budgets x 5 sizes, as `espalier scaling study` trains them on a laptop."""
    cells = [
        (np.sqrt(flops / (FLOPS_PER_PARAMETER_TOKEN * 8)) * share, flops)
        for flops in 1e13 / 2.5 ** np.arange(4)
        for share in 1.7 ** np.arange(-2.0, 3.0)
    ]
    parameters = np.array([n for n, _ in cells])
    tokens = np.array([flops / (FLOPS_PER_PARAMETER_TOKEN * n) for n, flops in cells])
    drawn = np.random.default_rng(seed).standard_normal(len(cells))
    return of_arrays(parameters, tokens, (2 + 60 / parameters**0.33 + 400 / tokens**0.4) * np.exp(noise * drawn))
