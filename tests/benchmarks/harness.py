"""lm-evaluation-harness on one model and the same local tasks, with its own Hugging Face model class and with our code.

    pip install 'espalier[harness]'; python -m tests.benchmarks.harness > tests/benchmarks/results/harness.txt

In turns, ours and theirs, on one thread; a time is the processor's in the model's calls alone, which is where the two
differ, so that others on the machine do not count. Theirs runs with the batch size that is its fastest here. Scores must
be equal, or it ends with 1.
"""

import importlib.util
import json
import os
import platform
import random
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

import torch

from models.catalogue import save_model
from models.llama import LlamaShape
from models.tokenizers import bpe
from models.tokenizers.chat import ChatTokenizer
from tasks.evaluation.harness import answers, harness_model
from tests.decoders import small_decoder

SHAPES = {
    "1.3M": LlamaShape(layers=4, width=128, heads=4, kv_heads=4, feed_forward=384, context=256),
    "6M": LlamaShape(layers=6, width=256, heads=8, kv_heads=8, feed_forward=704, context=256),
}
VOCABULARY = 4096
TURNS = 3
THEIR_BATCHES = (1, 16, 64)
ITEMS, SHOWN, ASKED_FOR = 40, 3, 20
LIMITS = {"until": ["\n"], "max_gen_toks": 32, "do_sample": False}
WORDS = (
    *("append", "sort", "strip", "split", "join", "index", "count", "pop", "items", "keys", "update", "read", "write"),
    *("open", "close", "copy", "clear", "insert", "remove", "reverse", "extend", "format", "replace", "find", "lower"),
)
RESULTS = {
    "choices of several words": ("words", "acc_norm"),
    "choices of one letter": ("letters", "acc"),
    "answers of 32 tokens": ("answers", "exact_match"),
}


@dataclass
class Timed:
    """A model of the harness, and the processor seconds of its calls."""

    model: Any
    seconds: float = 0.0

    def run(self, task: Any) -> Mapping[str, Any]:
        from lm_eval.evaluator import evaluate

        self.seconds = 0.0
        for name in ("loglikelihood", "generate_until"):
            setattr(self.model, name, self._timed(getattr(type(self.model), name)))
        found: Mapping[str, Any] = evaluate(lm=self.model, task_dict=task, bootstrap_iters=0)["results"]
        return found

    def _timed(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(requests: Any, **options: Any) -> Any:
            started = time.process_time()
            found = call(self.model, requests, **options)
            self.seconds += time.process_time() - started
            return found

        return timed


def main() -> int:
    if importlib.util.find_spec("lm_eval") is None:
        print("lm_eval is not installed; pip install 'espalier[harness]'", file=sys.stderr)
        return 2
    torch.set_num_threads(1)
    print(f"{date.today()}  python -m tests.benchmarks.harness")
    print(f"{os.cpu_count()} cores {platform.machine()}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    differs = False
    for size, shape in SHAPES.items():
        with tempfile.TemporaryDirectory() as temporary:
            differs |= compare(size, shape, Path(temporary))
    return int(differs)


def compare(size: str, shape: LlamaShape, folder: Path) -> bool:
    """A line for each task; True where a score differs."""
    tokenizer = ChatTokenizer.ours(
        bpe.fit([" ".join(WORDS) + question(n) for n in range(ITEMS)], vocabulary=VOCABULARY)
    )
    model = small_decoder(tokenizer, spread=4.0, shape=shape)
    save_model(folder / "model", model, tokenizer)
    write_tasks(folder, model, tokenizer)
    print(f"\n{size} parameters, context {shape.context}, processor seconds in turns (median of {TURNS})")
    differs = False
    for title, (task, metric) in RESULTS.items():
        batch = min(THEIR_BATCHES, key=lambda each: turn(theirs(folder, tokenizer, each), folder, task)[1])
        both = {"ours": Timed(harness_model(model, tokenizer)), "theirs": theirs(folder, tokenizer, batch)}
        seconds: dict[str, list[float]] = {name: [] for name in both}
        scores = {}
        for _ in range(TURNS):
            for name, each in both.items():
                found, took = turn(each, folder, task)
                scores[name] = found[task][f"{metric},none"]
                seconds[name].append(took)
        ours, own = median(seconds["ours"]), median(seconds["theirs"])
        same = "equal" if scores["ours"] == scores["theirs"] else f"DIFFERS, theirs {scores['theirs']:.4f}"
        print(
            f"{title:26} {metric} {scores['ours']:.4f} {same:8} ours {ours:7.2f} s, theirs {own:7.2f} s (batches of "
            f"{batch}), ours/theirs {ours / own:.2f}"
        )
        differs |= scores["ours"] != scores["theirs"]
    return differs


def theirs(folder: Path, tokenizer: ChatTokenizer, batch: int) -> Timed:
    from lm_eval.models.huggingface import HFLM

    return Timed(
        HFLM(pretrained=str(folder / "model"), device="cpu", batch_size=batch, prefix_token_id=tokenizer.end_of_text_id)
    )


def turn(timed: Timed, folder: Path, task: str) -> tuple[Mapping[str, Any], float]:
    from lm_eval.tasks import TaskManager

    loaded = TaskManager(include_path=str(folder), include_defaults=False).load([task])
    return timed.run(loaded), timed.seconds


def question(number: int) -> str:
    chance = random.Random(number)
    return f"Which of these does what {' '.join(chance.choices(WORDS, k=12))} and {number} ask of a list?"


def write_tasks(folder: Path, model: Any, tokenizer: ChatTokenizer) -> None:
    """Three tasks on the same questions; every other gold answer is what the model will say."""
    chance = random.Random(0)
    rows = []
    for number in range(ITEMS):
        choices = [" ".join(chance.sample(WORDS, chance.randint(2, 6))) for _ in range(4)]
        rows.append({"question": question(number), "choices": choices, "label": chance.randrange(4)})
    prompts = [f"{''.join(shot(row) for row in rows[:SHOWN])}Question: {row['question']}\nAnswer:" for row in rows]
    said = answers(model, tokenizer, [(prompt, LIMITS) for prompt in prompts[:ASKED_FOR]])
    for row, prompt, answer in zip(rows, prompts, [*said, *[""] * ITEMS], strict=False):
        row |= {"prompt": prompt, "answer": answer if row["label"] % 2 else "nothing of it"}
    for name, chosen in (("all", rows), ("few", rows[:ASKED_FOR])):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in chosen), encoding="utf-8")
    choice = 'doc_to_choice: "{{choices}}"\ndoc_to_target: "{{label}}"'
    letter = 'doc_to_choice: ["A", "B", "C", "D"]\ndoc_to_target: "{{label}}"'
    write_task(folder, "words", "all", f"multiple_choice\n{choice}", ("acc", "acc_norm"))
    write_task(folder, "letters", "all", f"multiple_choice\n{letter}", ("acc",))
    said_as = f'generate_until\ndoc_to_target: "{{{{answer}}}}"\ngeneration_kwargs: {json.dumps(LIMITS)}'
    write_task(folder, "answers", "few", said_as, ("exact_match",))


def shot(row: Mapping[str, Any]) -> str:
    return f"Question: {row['question']}\nAnswer: {row['choices'][row['label']]}\n\n"


def write_task(folder: Path, name: str, rows: str, output: str, metrics: tuple[str, ...]) -> None:
    listed = "".join(f"\n  - {{metric: {each}, aggregation: mean, higher_is_better: true}}" for each in metrics)
    (folder / f"{name}.yaml").write_text(
        f"task: {name}\ndataset_path: json\ntest_split: test\n"
        f"dataset_kwargs: {{data_files: {{test: {folder / rows}.jsonl}}, cache_dir: {folder / 'cache'}}}\n"
        f'doc_to_text: "{{{{prompt}}}}"\noutput_type: {output}\nmetric_list:{listed}\n',
        encoding="utf-8",
    )


if __name__ == "__main__":
    sys.exit(main())
