"""NNLM beside counting, and word2vec, on WikiText-2: time, perplexity, agreement with people on word similarity.

    ESPALIER_TEST_DATA=... python -m tests.benchmarks.word_models > tests/benchmarks/results/word_models.txt

NNLM learns the validation text (217,646 tokens) and predicts the test text, whose other words are one; word2vec learns the
training text (2,088,628 tokens). Every line, empty ones too, ends with a predicted `</s>`.
"""

import os
import platform
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import torch
from torch import nn

from models.ngram import NgramModel
from models.ngram_smoothing import NgramConfig
from models.ngram_vocabulary import Vocabulary
from models.nnlm import Nnlm, NnlmShape
from models.word2vec import Kind, Word2vec, Word2vecShape
from tasks.generations.nnlm import NnlmBatches, NnlmObjective, interpolated_nats, token_nats
from tasks.generations.word2vec import (
    OPTIMIZER,
    SCHEDULE,
    FrequentWords,
    NegativeSampling,
    Word2vecBatches,
    Word2vecConfig,
)
from tasks.generations.word_vectors import nearest, read_similarities, score_similarities
from tasks.training.batches import Batches
from tasks.training.checkpoints import Checkpoints
from tasks.training.engine import TrainingConfig, train
from tasks.training.machine import Runtime
from tasks.training.objectives import Objective
from tasks.training.optimizers import OptimizerConfig, Schedule

Result = TypeVar("Result")
NNLM_EPOCHS, NNLM_BATCH = 4, 1024
WORD2VEC_EPOCHS, WORD2VEC_BATCH_TOKENS = 5, 16_000
SHOWN_WORDS = ("king", "river", "music", "two", "north")


def main() -> None:
    data = Path(os.environ["ESPALIER_TEST_DATA"])
    print(f"{date.today()}  python -m tests.benchmarks.word_models")
    print(
        f"{os.cpu_count()} cores {platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}\n"
    )
    beside_counting(data / "wikitext-2")
    for kind in ("skip-gram", "cbow"):
        word_vectors(data, kind)


def beside_counting(folder: Path) -> None:
    train_lines, test_lines = lines(folder / "valid.txt"), lines(folder / "test.txt")
    vocabulary = Vocabulary.of(train_lines, unknown="<UNK>", end="</s>")
    ids, starts = vocabulary.encode(train_lines, end="</s>")
    test, test_starts = vocabulary.encode(test_lines, end="</s>")
    counted = NgramModel.fit(ids, vocabulary_size=len(vocabulary), config=NgramConfig(order=5), starts=starts)
    alone = -counted.log_probabilities(test, test_starts)
    end_id = vocabulary["</s>"]
    torch.manual_seed(0)
    model = Nnlm(NnlmShape(), vocabulary=len(vocabulary), end_id=end_id)
    model.start_from(torch.from_numpy(np.bincount(ids, minlength=len(vocabulary))))
    batches = NnlmBatches(ids, order=5, end_id=end_id, batch_sequences=NNLM_BATCH, seed=1)
    steps = NNLM_EPOCHS * batches.steps_per_epoch
    optimizer = OptimizerConfig(kind="adamw", learning_rate=0.003)
    _, seconds = timed(lambda: fit(model, NnlmObjective(), batches, steps, NNLM_BATCH, optimizer, Schedule()))
    neural, scoring = timed(lambda: token_nats(model, test))
    print(
        f"NNLM, {model.shape.parameters(len(vocabulary)):,} parameters, {NNLM_EPOCHS} epochs in {seconds}; "
        f"{len(test):,} tokens scored in {scoring}"
    )
    for name, nats in (("KN5", alone), ("NNLM", neural), ("half each", interpolated_nats(neural, alone))):
        print(f"  {name:<10} test perplexity {np.exp(nats.mean()):8.2f}")
    print()


def word_vectors(data: Path, kind: Kind) -> None:
    text = lines(data / "wikitext-2" / "train.txt")
    vocabulary = Vocabulary.of(text, end="</s>")
    ids, _ = vocabulary.encode(text, end="</s>")
    words = FrequentWords.of(ids, vocabulary_size=len(vocabulary), end_id=vocabulary["</s>"])
    config = Word2vecConfig()
    batches = Word2vecBatches(ids, words, config, batch_tokens=WORD2VEC_BATCH_TOKENS, seed=1)
    torch.manual_seed(0)
    model = Word2vec(Word2vecShape(kind=kind), vocabulary=len(words))
    steps = WORD2VEC_EPOCHS * batches.steps_per_epoch
    objective = NegativeSampling(kind)
    _, seconds = timed(
        lambda: fit(model, objective, batches, steps, WORD2VEC_BATCH_TOKENS, OPTIMIZER, SCHEDULE, "fp32")
    )
    print(f"word2vec {kind}, {len(words):,} words, {WORD2VEC_EPOCHS} epochs in {steps} steps, {seconds}")
    vectors = model.input.weight.detach().numpy()
    names = [vocabulary.tokens[int(number)] for number in words.ids]
    ranks = {name.lower(): rank for rank, name in reversed(list(enumerate(names)))}
    for name in ("WS-353-ALL", "SIMLEX-999", "MEN-TR-3k"):
        score = score_similarities(vectors, read_similarities(data / "word_tests" / f"word-sim.EN-{name}.txt"), ranks)
        print(f"  {name:<11} Spearman {score.correlation:.3f} of {score.scored} pairs, {score.skipped} skipped")
    for word in SHOWN_WORDS:
        print(f"  {word}: {', '.join(names[other] for other, _ in nearest(vectors, ranks[word], 6))}")
    print()


def fit(
    module: nn.Module,
    objective: Objective,
    batches: Batches,
    steps: int,
    batch_sequences: int,
    optimizer: OptimizerConfig,
    schedule: Schedule,
    precision: Literal["auto", "fp32"] = "auto",
) -> None:
    config = TrainingConfig(
        steps=steps,
        batch_sequences=batch_sequences,
        optimizer=optimizer,
        schedule=schedule,
        checkpoint_steps=max(1, steps // 2),
    )
    with tempfile.TemporaryDirectory() as folder:
        train(
            module,
            objective,
            batches,
            config,
            checkpoints=Checkpoints(Path(folder), identity="benchmark"),
            runtime=Runtime(precision=precision, device="cpu"),
            seed=1,
            sequence_tokens=1,
        )


def lines(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8") as file:
        return [line.split() for line in file]


def timed(function: Callable[[], Result]) -> tuple[Result, str]:
    """Its result, and a sentence on its time: CPU time says more of a busy machine."""
    started, used = time.perf_counter(), time.process_time()
    result = function()
    return result, f"{time.perf_counter() - started:.0f} s ({time.process_time() - used:.0f} s of CPU time)"


if __name__ == "__main__":
    main()
