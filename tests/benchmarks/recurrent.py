"""A part of WikiText-2 by the small LSTM of Zaremba et al. (2014), beside counting on the very same tokens.

    ESPALIER_TEST_DATA=... python -m tests.benchmarks.recurrent > tests/benchmarks/results/recurrent.txt

Lines are joined into one stream with `</s>` at their ends; words that are not among the most frequent are `<unk>`. Every
token of the held-out text counts, for all models.
"""

import os
import platform
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from datetime import date
from pathlib import Path

import numpy as np
import torch

from models.ngram import NgramModel
from models.ngram_smoothing import NgramConfig
from models.ngram_vocabulary import Vocabulary
from models.recurrent import RecurrentModel
from tasks.generations.columns import ColumnBatches
from tasks.generations.recurrent import CarriedNextToken, RecurrentConfig, sample, token_nats
from tasks.training.checkpoints import Checkpoints
from tasks.training.engine import TrainingConfig, TrainState, train
from tasks.training.machine import Runtime
from tasks.training.optimizers import OptimizerConfig, Schedule

WORDS, TRAIN_TOKENS, HELD_OUT_TOKENS = 5_000, 400_000, 50_000
EPOCHS = 3
OPTIMIZER = OptimizerConfig(kind="muon", learning_rate=0.01, adam_share=0.4)
SHOWN_STEPS = 250


def main() -> None:
    folder = Path(os.environ["ESPALIER_TEST_DATA"]) / "wikitext-2"
    print(f"{date.today()}  python -m tests.benchmarks.recurrent")
    print(
        f"{os.cpu_count()} cores {platform.machine()}, Python {platform.python_version()}, torch {torch.__version__}\n"
    )
    vocabulary, train_ids = training_text(folder / "train.txt")
    held_out = encoded(vocabulary, folder / "valid.txt")[:HELD_OUT_TOKENS]
    print(f"{len(train_ids):,} tokens of {len(vocabulary):,} words to train on, {len(held_out):,} held out")
    for order in (1, 2, 3, 5):
        config = NgramConfig(order=order, start_mark=False, fallback_discounts=(0.5, 1.0, 1.5))
        counted = NgramModel.fit(train_ids, vocabulary_size=len(vocabulary), config=config)
        print(
            f"modified Kneser-Ney, order {order}: perplexity {np.exp(-counted.log_probabilities(held_out).mean()):.2f}"
        )
    model = trained(train_ids, len(vocabulary))
    print(f"LSTM: perplexity {np.exp(token_nats(model, held_out).mean()):.2f}")
    said = sample(model, vocabulary.encode([["</s>"]])[0].tolist(), 40, seed=1)
    print("it says:", " ".join(vocabulary.tokens[id] for id in said))


def training_text(path: Path) -> tuple[Vocabulary[str], np.ndarray]:
    """The vocabulary is counted on the part that is trained on."""
    words = stream(path)[:TRAIN_TOKENS]
    frequent = [word for word, _ in Counter(words).most_common(WORDS - 1) if word != "<unk>"]
    vocabulary = Vocabulary(["<unk>", *frequent], unknown="<unk>")
    return vocabulary, vocabulary.encode([words])[0]


def encoded(vocabulary: Vocabulary[str], path: Path) -> np.ndarray:
    return vocabulary.encode([stream(path)])[0]


def stream(path: Path) -> list[str]:
    with path.open(encoding="utf-8") as file:
        return [word for line in file for word in (*line.split(), "</s>")]


def trained(ids: np.ndarray, words: int) -> RecurrentModel:
    config = RecurrentConfig(epochs=EPOCHS)
    torch.manual_seed(0)
    model = RecurrentModel(config.shape, vocabulary=words)
    batches = ColumnBatches(ids, columns=config.columns, segment_tokens=config.segment_tokens)
    training = TrainingConfig(
        steps=config.epochs * batches.batches_per_epoch,
        batch_sequences=config.columns,
        optimizer=OPTIMIZER,
        schedule=Schedule(warmup_steps=50, decay_share=0.7),
        max_gradient_norm=config.max_gradient_norm,
        checkpoint_steps=10_000,
    )
    print(f"{config.shape}: {sum(each.numel() for each in model.parameters()):,} parameters, {training.optimizer}")
    started, computed = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        outcome = train(
            model,
            CarriedNextToken(),
            batches,
            training,
            checkpoints=Checkpoints(Path(folder), identity="recurrent"),
            runtime=Runtime(),
            seed=1,
            sequence_tokens=config.segment_tokens,
            hooks=[show],
        )
    seconds = time.perf_counter() - started
    print(
        f"{outcome.state.steps:,} steps, {outcome.state.tokens:,} tokens in {seconds:.0f} s "
        f"({time.process_time() - computed:.0f} s of processors), {outcome.decided.precision}"
    )
    for event in outcome.events:
        print(event)
    return model


def show(state: TrainState, metrics: Mapping[str, float]) -> None:
    if state.step % SHOWN_STEPS == 0:
        print(f"  step {state.step:,}: {metrics['loss']:.3f} nats", flush=True)


if __name__ == "__main__":
    main()
