"""Every loss of the tiny recipe's pretraining in fp32, on the LICENSE file with its bytes as tokens.

    python -m tests.training.golden_curve        writes tests/golden/tiny_loss_curve.json anew

That is for a change that is meant to alter what a training computes; its commit says why.
"""

import json
import tempfile
from datetime import date
from pathlib import Path

import numpy as np
import torch

from flows.recipe import load
from models.llama import build_llama
from models.tokenizers import bpe
from models.tokenizers.chat import ChatTokenizer
from models.tokenizers.special import EARLIER_TOKENS
from tasks.tokenization.shards import ShardWriter, TokenStream, write_documents
from tasks.training.batches import TokenBatches
from tasks.training.checkpoints import Checkpoints
from tasks.training.engine import step_seed, train
from tasks.training.job import of_record
from tasks.training.machine import Runtime
from tasks.training.objectives import NextToken
from tasks.training.pretraining import PretrainConfig

CHECKOUT = Path(__file__).resolve().parents[2]
GOLDEN = CHECKOUT / "tests" / "golden" / "tiny_loss_curve.json"
TEXT = CHECKOUT / "LICENSE"
SEED = 1


def losses(folder: Path) -> list[float]:
    """The loss of each step of a training in `folder`, on one thread."""
    config = of_record(PretrainConfig, load("tiny").section("pretrain"))
    tokenizer = ChatTokenizer.ours(bpe.fit([], vocabulary=261, special_tokens=EARLIER_TOKENS))
    context = config.architecture.context
    torch.manual_seed(step_seed(SEED, -1))
    model = build_llama(
        config.architecture,
        vocabulary=tokenizer.vocabulary,
        end_id=tokenizer.end_of_text_id,
        pad_id=tokenizer.pad_id,
    )
    folder.mkdir(exist_ok=True)
    stream = stream_of(TEXT.read_text(encoding="utf-8"), tokenizer, folder)
    found: list[float] = []
    train(
        model,
        NextToken(),
        TokenBatches(stream, context=context, batch_sequences=config.training.batch_sequences, seed=SEED),
        config.training,
        checkpoints=Checkpoints(folder / "checkpoints", identity="golden"),
        runtime=Runtime(precision="fp32", threads=1),
        seed=SEED,
        sequence_tokens=context,
        hooks=[lambda _, metrics: found.append(metrics["loss"])],
    )
    return found


def stream_of(text: str, tokenizer: ChatTokenizer, folder: Path) -> TokenStream:
    ids = [*tokenizer.encode_text(text), tokenizer.end_of_text_id]
    writer = ShardWriter(folder, "train", np.dtype("<u2"))
    writer.write(np.array(ids))
    write_documents(folder, "train", [])
    described = {"tokens": len(ids), "bytes": len(text.encode()), "documents": 1, "shards": writer.shards}
    return TokenStream(folder, {"dtype": "uint16", "splits": {"train": described}}, "train")


def write() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        found = losses(Path(temporary))
    record = {
        "command": "python -m tests.training.golden_curve",
        "date": date.today().isoformat(),
        "torch": torch.__version__,
        "losses": found,
    }
    GOLDEN.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write()
