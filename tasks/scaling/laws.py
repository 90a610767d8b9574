"""Published scaling laws as functions: Kaplan et al. 2020 and Hoffmann et al. 2022 (Chinchilla), losses in nats a token.

Their constants belong to their tokenizers, texts and ways of counting; two sets of Kaplan's are never mixed.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
FLOPS_PER_PARAMETER_TOKEN = 6.0
PETAFLOP_DAY = 8.64e19


@dataclass(frozen=True, kw_only=True)
class Chinchilla:
    """L(N, D) = E + A / N^alpha + B / D^beta (Hoffmann et al. 2022, equation 2)."""

    E: float
    A: float
    B: float
    alpha: float
    beta: float

    def loss(self, parameters: float, tokens: float) -> float:
        return float(self.E + self.A / parameters**self.alpha + self.B / tokens**self.beta)

    @property
    def exponents(self) -> tuple[float, float]:
        """p and q of N_opt ~ C^p and D_opt ~ C^q (equation 4)."""
        return self.beta / (self.alpha + self.beta), self.alpha / (self.alpha + self.beta)

    def optimum(self, flops: float, *, most_tokens_per_parameter: float | None = None) -> tuple[float, float]:
        """N and D of the lowest loss with 6 N D = `flops`, D / N at most as given (text may be scarce)."""
        p, q = self.exponents
        ratio = (self.alpha * self.A / (self.beta * self.B)) ** (1 / (self.alpha + self.beta))
        product = flops / FLOPS_PER_PARAMETER_TOKEN
        parameters, tokens = ratio * product**p, product**q / ratio
        if most_tokens_per_parameter is not None and tokens > most_tokens_per_parameter * parameters:
            parameters = (product / most_tokens_per_parameter) ** 0.5
            tokens = product / parameters
        return parameters, tokens

    def tokens_for(self, loss: float, parameters: float) -> float | None:
        """Tokens with which `parameters` reach `loss`; None when no amount of text does."""
        rest = loss - self.E - self.A / parameters**self.alpha
        return (self.B / rest) ** (1 / self.beta) if rest > 0 else None


PRINTED = Chinchilla(E=1.69, A=406.4, B=410.7, alpha=0.34, beta=0.28)
# what stands in the TeX source of the paper, before rounding
TEX = Chinchilla(
    E=float(np.exp(0.5267228)),
    A=float(np.exp(6.0073404)),
    B=float(np.exp(6.0179186)),
    alpha=0.33917084,
    beta=0.2849083,
)
BESIROGLU = Chinchilla(E=1.8172, A=482.01, B=2085.43, alpha=0.3478, beta=0.3658)


@dataclass(frozen=True, kw_only=True)
class PowerLaw:
    """L(x) = (scale / x)^exponent; or, of an optimum, x(C) = (C / scale)^exponent."""

    scale: float
    exponent: float

    def loss(self, x: float) -> float:
        return float((self.scale / x) ** self.exponent)


# Kaplan et al. 2020, equations 1.1 to 1.3, one variable at a time; N without embeddings, compute in PF-days
KAPLAN_N = PowerLaw(scale=8.8e13, exponent=0.076)
KAPLAN_D = PowerLaw(scale=5.4e13, exponent=0.095)
KAPLAN_C = PowerLaw(scale=1.6e7, exponent=0.057)
KAPLAN_C_MIN = PowerLaw(scale=3.1e8, exponent=0.050)


@dataclass(frozen=True, kw_only=True)
class KaplanJoint:
    """L(N, D) = [(Nc / N)^(aN / aD) + Dc / D]^aD (Kaplan et al. 2020, equation 1.5)."""

    n_c: float
    d_c: float
    alpha_n: float
    alpha_d: float

    def loss(self, parameters: float, tokens: float) -> float:
        inner = (self.n_c / parameters) ** (self.alpha_n / self.alpha_d) + self.d_c / tokens
        return float(inner**self.alpha_d)


KAPLAN_JOINT = KaplanJoint(n_c=6.4e13, d_c=1.8e13, alpha_n=0.076, alpha_d=0.103)  # the joint set, table 2


def kaplan_tokens_needed(parameters: float) -> float:
    """D that keeps the cost of too little text small: 5e3 N^0.74 (section 4.2)."""
    return float(5e3 * parameters**0.74)


def kaplan_compute_exponent(alpha_n: float, alpha_s: float, alpha_b: float) -> float:
    """The exponent of L(C_min) that the others give: 1 / (1/aS + 1/aB + 1/aN) (equation 6.4)."""
    return 1 / (1 / alpha_s + 1 / alpha_b + 1 / alpha_n)


def fit_power(x_R: FloatArray, y_R: FloatArray, weights_BR: FloatArray | None = None) -> tuple[FloatArray, FloatArray]:
    """Least squares of ln y on ln x: (intercepts, slopes), one of each for each row of `weights_BR`."""
    u_R, v_R = np.log(x_R), np.log(y_R)
    weights = np.ones((1, len(u_R))) if weights_BR is None else weights_BR
    total_B = weights.sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_u_B, mean_v_B = weights @ u_R / total_B, weights @ v_R / total_B
        spread_B = weights @ (u_R * u_R) / total_B - mean_u_B**2
        joint_B = weights @ (u_R * v_R) / total_B - mean_u_B * mean_v_B
        slope_B = np.where(spread_B > 1e-12, joint_B / spread_B, np.nan)
    return mean_v_B - slope_B * mean_u_B, slope_B
