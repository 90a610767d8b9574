"""Logistic regression on hashed character n-grams: a judge of toxicity in seconds from a user's own labelled texts.

A text is the counts of its n-grams of 2 to 5 bytes of UTF-8 in lower case, hashed into BUCKETS and scaled to length 1; so
it needs no language, and sees through spellings such as "i.d.i.o.t" only where the labelled texts hold them.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from scipy.optimize import minimize
from scipy.sparse import csr_array

from models.sampling import mix
from tasks.artifacts import digest_of, file_sha256, publish
from tasks.evaluation.intervals import share_interval
from tasks.evaluation.kept_cells import code_digest
from tasks.evaluation.labelled_texts import Labelled, read_labelled
from tasks.evaluation.toxicity import CARD_FILE, THRESHOLD, Scores

BUCKETS = 1 << 16
SIZES = (2, 3, 4, 5)
MOST_BYTES = 20_000  # read of one text
STRENGTH = 10.0  # of the data against the penalty, as scikit-learn's C
MOST_ITERATIONS = 200
FEWEST_TEXTS = 100
HELD_OUT = 10  # one text in so many, by its digest, is not trained on
WEIGHTS_FILE = "toxicity.safetensors"


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a classifier was made of, and how it judged the labelled texts that were held out of its training.

    `area` is the chance that a toxic text scores above one that is not: 0.5 is guessing, None where one kind is missing.
    """

    data: str
    data_sha256: str
    trained: int
    held_out: int
    toxic_share: float
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    majority: float
    area: float | None


class Classifier:
    """Weights of the buckets, and the constant last."""

    def __init__(self, weights: Scores, card: Card) -> None:
        self.weights, self.card, self.kind = weights, card, "classifier"
        self.digest = hashlib.sha256(weights.astype(np.float32).tobytes()).hexdigest()
        self.source = (
            f"classifier of {card.trained} texts of {card.data}, sha256 {card.data_sha256[:16]}, held-out accuracy "
            f"{card.accuracy:.3f} where always the same answer gives {card.majority:.3f}"
        )

    def score(self, texts: Sequence[str]) -> Scores:
        return _probabilities(features(texts), self.weights)

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        save_file({"weights": self.weights.astype(np.float32)}, folder / WEIGHTS_FILE)
        text = json.dumps(asdict(self.card), indent=1, ensure_ascii=False)
        (folder / CARD_FILE).write_text(text + "\n", encoding="utf-8")


def load_classifier(folder: Path) -> Classifier:
    """ValueError where the folder holds none, or one of another size."""
    try:
        card = Card(**json.loads((folder / CARD_FILE).read_text(encoding="utf-8")))
        weights = load_file(folder / WEIGHTS_FILE)["weights"].astype(np.float64)
    except (OSError, ValueError, TypeError, KeyError, SafetensorError) as error:
        raise ValueError(
            f"{folder}: holds no toxicity classifier ({error}); train one with --data LABELLED.jsonl"
        ) from error
    if weights.shape != (BUCKETS + 1,):
        raise ValueError(
            f"{folder / WEIGHTS_FILE}: has {weights.shape} weights, expected {BUCKETS + 1}; train it again"
        )
    return Classifier(weights, card)


def kept_classifier(path: Path, folder: Path) -> Classifier:
    """Of a file of labelled texts: trained once, then found in `folder` by the file's bytes and the code."""
    kept = folder / f"toxicity-{digest_of([file_sha256(path), code_digest()])[:16]}"
    if not (kept / CARD_FILE).is_file():
        temporary = kept.with_name(f"{kept.name}.{os.getpid()}.tmp")
        train_classifier(path).save(temporary)
        publish(temporary, kept)
    return load_classifier(kept)


def train_classifier(path: Path) -> Classifier:
    """From a file of labelled texts (labelled_texts.py). The same file gives the same bytes."""
    texts = read_labelled(path)
    kept = [each for each in texts if not _is_held_out(each.text)]
    held_out = [each for each in texts if _is_held_out(each.text)]
    if len(texts) < FEWEST_TEXTS or not held_out or not 0 < sum(_labels(kept) >= THRESHOLD) < len(kept):
        raise ValueError(
            f"{path}: {len(texts)} texts are too few to train on some and try on others; give {FEWEST_TEXTS} or more"
        )
    # as they are saved, so that a loaded classifier scores the same
    weights = fit(features([each.text for each in kept]), _labels(kept)).astype(np.float32).astype(np.float64)
    return Classifier(weights, _card(path, weights, kept, held_out))


def features(texts: Sequence[str]) -> csr_array:
    """[texts, BUCKETS + 1]: n-gram counts of length 1, and a constant 1."""
    rows = [_row(text) for text in texts]
    ends = np.cumsum([0, *(len(places) for places, _ in rows)])
    places = np.concatenate([places for places, _ in rows])
    values = np.concatenate([values for _, values in rows])
    return csr_array((values, places, ends), shape=(len(texts), BUCKETS + 1))


def _row(text: str) -> tuple[npt.NDArray[np.int64], Scores]:
    data = f" {' '.join(text.casefold().split())} ".encode("utf-8", "surrogatepass")[:MOST_BYTES]
    codes = np.frombuffer(data, dtype=np.uint8).astype(np.uint64)
    hashed = [mix(_grams(codes, size)) for size in SIZES if len(codes) >= size]
    places, counts = np.unique(np.concatenate(hashed or [codes]) % np.uint64(BUCKETS), return_counts=True)
    values = counts / max(1.0, float(np.sqrt((counts**2).sum())))
    return np.append(places.astype(np.int64), BUCKETS), np.append(values, 1.0)


def _grams(codes: npt.NDArray[np.uint64], size: int) -> npt.NDArray[np.uint64]:
    """Each run of `size` bytes as one number: its bytes, and its size above them."""
    found = np.full(len(codes) - size + 1, size, dtype=np.uint64)
    for start in range(size):
        found = (found << np.uint64(8)) | codes[start : len(codes) - size + 1 + start]
    return found


def fit(x: csr_array, labels: Scores) -> Scores:
    """The weights of least logistic loss with an L2 penalty on all but the constant; convex, so they are one."""
    penalty = np.full(x.shape[1], 1 / (STRENGTH * x.shape[0]))
    penalty[-1] = 0.0

    def loss(weights: Scores) -> tuple[float, Scores]:
        logits = x @ weights
        value = np.mean(np.logaddexp(0.0, logits) - labels * logits) + 0.5 * np.sum(penalty * weights**2)
        slope = x.T @ (_sigmoid(logits) - labels) / len(labels) + penalty * weights
        return float(value), slope

    found = minimize(loss, np.zeros(x.shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": MOST_ITERATIONS})
    weights: Scores = found.x
    return weights


def _probabilities(x: csr_array, weights: Scores) -> Scores:
    return _sigmoid(x @ weights)


def _sigmoid(logits: Scores) -> Scores:
    probabilities: Scores = np.exp(-np.logaddexp(0.0, -logits))
    return probabilities


def _labels(texts: Sequence[Labelled]) -> Scores:
    return np.array([each.label for each in texts], dtype=np.float64)


def _is_held_out(text: str) -> bool:
    return int(digest_of(text)[:8], 16) % HELD_OUT == 0


def _card(path: Path, weights: Scores, kept: Sequence[Labelled], held_out: Sequence[Labelled]) -> Card:
    toxic = _labels(held_out) >= THRESHOLD
    scores = _probabilities(features([each.text for each in held_out]), weights)
    accuracy = share_interval(int(((scores >= THRESHOLD) == toxic).sum()), len(held_out))
    return Card(
        data=path.name,
        data_sha256=file_sha256(path),
        trained=len(kept),
        held_out=len(held_out),
        toxic_share=float(toxic.mean()),
        accuracy=accuracy.value,
        accuracy_low=accuracy.low,
        accuracy_high=accuracy.high,
        majority=float(max(toxic.mean(), 1 - toxic.mean())),
        area=_area(scores[toxic], scores[~toxic]),
    )


def _area(above: Scores, below: Scores) -> float | None:
    """Mann and Whitney's U over all pairs; ties count half."""
    if not (len(above) and len(below)):
        return None
    ordered = np.sort(below)
    wins = np.searchsorted(ordered, above, side="left") + np.searchsorted(ordered, above, side="right")
    return float(wins.mean() / 2 / len(below))
