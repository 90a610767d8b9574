"""From text to batches: encoding beside the bare library, what a step waits for its data, a token set of 20 GB.

    ESPALIER_TEST_DATA=... make prove data      kept in tests/benchmarks/results/data.txt

The aims: at least 0.8 of the library's own speed, less than 2 % of a step, seconds until the first batch and memory that
does not grow. tests/benchmarks/test_data.py holds small forms of the same against three times as much.
"""

import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import date
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

import numpy as np
import tokenizers
import torch

from flows.recipe import load
from models.llama import LlamaShape, build_llama
from models.tokenizers.chat import ChatTokenizer
from tasks.artifacts import write_artifact
from tasks.corpus.documents import SPLITS, Document, to_line
from tasks.corpus.staging import write_json
from tasks.tokenization.fit import TokenizerConfig, fit_tokenizer
from tasks.tokenization.shards import DOCUMENT, INDEX_FILE, MOST_SHARD_BYTES, open_split, write_documents
from tasks.training.batches import Batch, Stateless, TokenBatches
from tasks.training.checkpoints import Checkpoints
from tasks.training.engine import TrainingConfig, TrainState, train
from tasks.training.job import of_record
from tasks.training.machine import Runtime
from tasks.training.objectives import NextToken
from tasks.training.optimizers import OptimizerConfig
from tasks.training.pretraining import PretrainConfig
from tests.peak import STATUS

Result = TypeVar("Result")
CHECKOUT = Path(__file__).resolve().parents[2]
ROUNDS, STEPS = 5, 5
VOCABULARY = 4096
BIG_TOKENS = 10_000_000_000
SIX_MILLION: Mapping[str, int] = {"layers": 6, "width": 256, "heads": 8, "kv_heads": 8, "feed_forward": 688}
# in new processes: each tokenizer that the library loads makes all encoding in that process a little slower
OURS = """
import sys, time
from pathlib import Path
from tasks.tokenization.encode import encode_corpus
split, tokenizer, tokens = map(Path, sys.argv[1:])
started = time.perf_counter()
encode_corpus(split, tokenizer, tokens)
print(time.perf_counter() - started)
"""
LIBRARYS = """
import json, sys, time
from pathlib import Path
from tokenizers import Tokenizer
split, tokenizer, name = sys.argv[1:]
lines = [line for path in sorted(Path(split).glob("*.jsonl")) for line in path.open("rb")]
texts = [json.loads(line)["text"] for line in lines]
fitted = Tokenizer.from_file(f"{tokenizer}/tokenizer.json")
fitted.encode_special_tokens = True
started = time.perf_counter()
getattr(fitted, name)(texts, add_special_tokens=False)
print(time.perf_counter() - started)
"""


def main() -> None:
    print(f"{date.today()}  python -m tests.benchmarks.data")
    print(
        f"{os.cpu_count()} cores {platform.machine()}, Python {platform.python_version()}, "
        f"tokenizers {tokenizers.__version__}, torch {torch.__version__}\n"
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        texts = texts_of(Path(os.environ["ESPALIER_TEST_DATA"]) / "wikitext-2")
        prepare(folder, texts)
        encoding(folder, [text for name in SPLITS for text in texts[name]])
        loading(folder)
        big(folder / "big")


def texts_of(folder: Path) -> dict[str, list[str]]:
    """The articles of WikiText-2; a title stands between single equals signs."""
    found: dict[str, list[str]] = {}
    for split in SPLITS:
        lines = (folder / f"{split}.txt").read_text(encoding="utf-8").splitlines(keepends=True)
        titles = [n for n, line in enumerate(lines) if line.startswith(" = ") and not line.startswith(" = =")]
        found[split] = ["".join(lines[start:end]) for start, end in pairwise([0, *titles[1:], len(lines)])]
    return found


def prepare(folder: Path, texts: Mapping[str, list[str]], vocabulary: int = VOCABULARY) -> None:
    """folder/split and folder/tokenizer, as the data stages make them."""
    split = folder / "split"
    split.mkdir()
    for name in SPLITS:
        documents = [
            Document(id=f"{name}/{number}", group=f"{name}/{number}", kind="text", text=text)
            for number, text in enumerate(texts[name])
        ]
        (split / f"{name}.jsonl").write_text("".join(map(to_line, documents)), encoding="utf-8", newline="\n")
    write_artifact(split, kind="split")
    fit_tokenizer(split, folder / "tokenizer", TokenizerConfig(vocabulary=vocabulary))


def encoding(folder: Path, texts: list[str]) -> None:
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    seconds = encoding_seconds(folder, ROUNDS)
    print(f"encoding WikiText-2, {megabytes:.1f} MB in {len(texts)} documents, medians of {ROUNDS} rounds in turns")
    raw = seconds["encode_batch"][0]
    for name, (steady, whole) in seconds.items():
        print(
            f"{name}: {megabytes / steady:.2f} MB/s, {raw / steady:.2f} of encode_batch; "
            f"{megabytes / whole:.2f} MB/s with the start of its process"
        )


def encoding_seconds(folder: Path, rounds: int) -> dict[str, tuple[float, float]]:
    """By name the median seconds of encoding alone, and of the whole process.

    The library's are without reading files and without writing any; the order is A B C A B C, so that a busy moment of
    the machine meets all of them.
    """
    split, tokenizer, tokens = (str(folder / name) for name in ("split", "tokenizer", "tokens"))
    commands = {
        "encode_batch": [LIBRARYS, split, tokenizer, "encode_batch"],
        "encode_batch_fast": [LIBRARYS, split, tokenizer, "encode_batch_fast"],
        "encode_corpus, from files to files": [OURS, split, tokenizer, tokens],
    }
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, arguments in commands.items():
            started = time.perf_counter()
            result = subprocess.run(
                [sys.executable, "-c", *arguments], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True, check=True
            )
            found[name].append((float(result.stdout), time.perf_counter() - started))
    return {name: (median(a for a, _ in each), median(b for _, b in each)) for name, each in found.items()}


def loading(folder: Path) -> None:
    print(f"\nthe loader's part of a step, medians of {STEPS} steps, twice in turns")
    cases = {
        "laptop recipe": laptop(),
        "6M, 16 x 256": (LlamaShape(**SIX_MILLION, context=256), 16),
        "6M, 8 x 1024": (LlamaShape(**SIX_MILLION, context=1024), 8),
    }
    for turn in range(2):
        for name, (shape, sequences) in cases.items():
            waited, whole = waiting(folder, f"{name} {turn}", shape, sequences, STEPS)
            print(f"{name}: {waited * 1e3:.2f} ms of {whole * 1e3:.0f} ms, {waited / whole:.3%}")


def laptop() -> tuple[LlamaShape, int]:
    config = of_record(PretrainConfig, load("laptop").section("pretrain"))
    return config.architecture, config.training.batch_sequences


def waiting(
    folder: Path, name: str, shape: LlamaShape, sequences: int, steps: int, threads: int = 0
) -> tuple[float, float]:
    """Median seconds of a batch, and of a whole step of the real loop; its first step is not counted."""
    tokenizer = ChatTokenizer.load(folder / "tokenizer")
    torch.manual_seed(0)
    model = build_llama(
        shape, vocabulary=tokenizer.vocabulary, end_id=tokenizer.end_of_text_id, pad_id=tokenizer.pad_id
    )
    stream = open_split(folder / "tokens", "train")
    batches = Timed(TokenBatches(stream, context=shape.context, batch_sequences=sequences, seed=1))
    whole: list[float] = []

    def note(_: TrainState, metrics: Mapping[str, float]) -> None:
        whole.append(sequences * shape.context / metrics["tokens_per_second"])

    train(
        model,
        NextToken(),
        batches,
        TrainingConfig(steps=steps + 1, batch_sequences=sequences, optimizer=OptimizerConfig(learning_rate=0.01)),
        checkpoints=Checkpoints(folder / name.replace(" ", "-").replace(",", ""), identity=name),
        runtime=Runtime(threads=threads),
        seed=1,
        sequence_tokens=shape.context,
        hooks=[note],
    )
    return median(batches.seconds[1:]), median(whole[1:])


class Timed(Stateless):
    """Batches that say how long each was waited for."""

    def __init__(self, batches: TokenBatches) -> None:
        self._batches = batches
        self.seconds: list[float] = []

    def batch(self, position: int) -> Batch:
        batch, seconds = timed(lambda: self._batches.batch(position))
        self.seconds.append(seconds)
        return batch


def big(folder: Path) -> None:
    sparse_tokens(folder, BIG_TOKENS)
    shards = len(list(folder.glob("*.bin")))
    print(
        f"\na token set of {2 * BIG_TOKENS / 1e9:.0f} GB in {shards} shards (sparse files), 16 windows of 256 a batch"
    )
    print(f"before: {said()}")
    started = time.perf_counter()
    batches = TokenBatches(open_split(folder, "train"), context=256, batch_sequences=16, seed=1)
    next(batches.starting_at(0))
    print(f"opened, and the first batch: {time.perf_counter() - started:.3f} s; {said()}")
    draw = random.Random(1)
    for number in range(1, 5):
        streams = [batches.starting_at(draw.randrange(BIG_TOKENS // 256 // 16)) for _ in range(1000)]
        seconds = median(timed(partial(next, stream))[1] for stream in streams)
        print(f"{number},000 batches anywhere, {seconds * 1e3:.2f} ms each: {said()}")


def sparse_tokens(folder: Path, tokens: int) -> None:
    """A token set whose files have their size and nothing in them; a document every 10 million tokens."""
    folder.mkdir()
    described: list[dict[str, Any]] = []
    most = MOST_SHARD_BYTES // 2
    for number, start in enumerate(range(0, tokens, most)):
        described.append({"file": f"train-{number:05}.bin", "tokens": min(most, tokens - start)})
        with (folder / described[-1]["file"]).open("wb") as stream:
            stream.truncate(2 * described[-1]["tokens"])
    starts = np.arange(0, tokens, 10_000_000)
    rows = np.zeros(len(starts), DOCUMENT)
    rows["start"], rows["bytes"] = starts, 30_000_000
    write_documents(folder, "train", [rows])
    split = {"tokens": tokens, "documents": len(starts), "bytes": 3 * tokens, "shards": described}
    index = {"vocabulary": VOCABULARY, "dtype": "uint16", "end_id": 0, "tokenizer": "", "kinds": ["text"]}
    write_json(folder / INDEX_FILE, {**index, "splits": {"train": split}})


def timed(work: Callable[[], Result]) -> tuple[Result, float]:
    started = time.perf_counter()
    result = work()
    return result, time.perf_counter() - started


def said() -> str:
    return ", ".join(f"{name} {value / 1e6:.0f} MB" for name, value in resident().items())


def resident() -> dict[str, int]:
    """Bytes of this process: its own (RssAnon) and those of files that the system may drop; {} where it is not told."""
    lines = STATUS.read_text().splitlines() if STATUS.exists() else []
    return {
        line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.startswith(("RssAnon", "RssFile"))
    }


if __name__ == "__main__":
    main()
