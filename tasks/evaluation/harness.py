"""lm-evaluation-harness (0.4.13, an extra) on our own likelihoods and answers: any of its tasks, results as rows of ours.

The package is imported where it is called, so that everything else works without it.
"""

import contextlib
import importlib.util
import logging
import random
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from models.sampling import SamplingConfig, sample
from models.tokenizers.chat import ChatTokenizer
from tasks.evaluation.likelihood import score_continuations, score_texts, start_id

PACKAGE = "lm_eval"
MOST_TOKENS = 256  # of an answer, where a task does not say
_LENGTHS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")


@dataclass(frozen=True, kw_only=True)
class HarnessRun:
    """`result` as the harness's `evaluate` gives it; `tasks` and `groups` are its own objects, by name."""

    result: dict[str, Any]
    tasks: dict[str, Any]
    version: str
    groups: dict[str, Any] = field(default_factory=dict)
    seed: int = 0


def run_harness(
    model: Any,
    tokenizer: ChatTokenizer,
    names: Sequence[str],
    *,
    folder: Path | None = None,
    shots: int | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> HarnessRun:
    """The harness's tasks of these names, those of YAML files in `folder` among them.

    ValueError where the package is missing, a task is unknown or its data is not on this machine.
    """
    require_package()
    from lm_eval.evaluator import evaluate

    random.seed(seed)
    np.random.seed(seed)
    with contextlib.redirect_stdout(sys.stderr), _quiet():  # one JSON document goes to standard output
        loaded = _loaded(names, folder)
        for task in loaded["tasks"].values():
            if shots is not None and task.get_config("num_fewshot") != 0:
                task.set_config(key="num_fewshot", value=shots)
            elif task.get_config("num_fewshot") is None:
                task.set_config(key="num_fewshot", value=0)
            task.set_fewshot_seed(seed=seed)
        lm = harness_model(model, tokenizer, seed=seed)
        result = evaluate(lm=lm, task_dict=loaded, limit=limit, bootstrap_iters=0)
    return HarnessRun(
        result=result, tasks=loaded["tasks"], version=version(PACKAGE), groups=loaded["groups"], seed=seed
    )


def _loaded(names: Sequence[str], folder: Path | None) -> dict[str, Any]:
    from lm_eval.tasks import TaskManager

    if folder is not None and not folder.is_dir():
        raise ValueError(f"--data {folder}: there is no such folder; name the one that holds the harness's task files")
    places = {} if folder is None else {"include_path": str(folder)}
    manager = TaskManager(**places, include_defaults=False)
    if not all(manager.match_tasks([name]) for name in names):
        manager = TaskManager(**places)  # its own thousands of task files take some 15 s to read
    unknown = [name for name in names if not manager.match_tasks([name])]
    if unknown:
        raise ValueError(
            f"{', '.join(unknown)}: the harness knows no such task; `lm-eval ls tasks` lists its own, and --data names "
            "the folder of your task files"
        )
    try:
        found: dict[str, Any] = manager.load(list(names))
    except (ConnectionError, FileNotFoundError) as error:
        raise ValueError(
            f"{', '.join(names)}: the data is not on this machine and nothing is downloaded ({_first_line(error)}); give "
            "a task file with dataset_path: json and its data_files"
        ) from error
    return found


def harness_model(model: Any, tokenizer: ChatTokenizer, *, seed: int = 0) -> Any:
    """A model as the harness asks for one (`lm_eval.api.model.LM`)."""
    require_package()
    from lm_eval.api.model import LM

    class Checkpoint(LM):  # type: ignore[misc]  # the package is an extra
        def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
            scored = score_continuations(model, tokenizer, [request.args for request in requests])
            return [(each.nats, each.greedy) for each in scored]

        def loglikelihood_rolling(self, requests: Sequence[Any]) -> list[float]:
            return [each.nats for each in score_texts(model, tokenizer, [request.args[0] for request in requests])]

        def generate_until(self, requests: Sequence[Any]) -> list[str]:
            return answers(model, tokenizer, [request.args for request in requests], seed=seed)

    return Checkpoint()


def answers(
    model: Any, tokenizer: ChatTokenizer, requests: Sequence[tuple[str, Mapping[str, Any]]], *, seed: int = 0
) -> list[str]:
    """Of each (prompt, generation settings), up to the first of its stop texts; a long prompt loses its beginning."""
    groups: defaultdict[str, list[int]] = defaultdict(list)
    for number, (_, settings) in enumerate(requests):
        groups[repr(sorted(settings.items()))].append(number)
    found: dict[int, str] = {}
    for numbers in groups.values():
        config, stops = sampling_of(requests[numbers[0]][1])
        prompts = [_prompt_ids(model, tokenizer, requests[number][0], config.max_tokens) for number in numbers]
        samples = sample(
            model,
            prompts,
            config,
            seed=seed,
            stop_ids=frozenset({tokenizer.end_id, tokenizer.end_of_text_id}),
            pad_id=tokenizer.pad_id,
            keys=numbers,
            is_complete=_stopped(tokenizer, stops),
        )
        found |= {
            n: before_stops(tokenizer.decode(each.tokens), stops) for n, each in zip(numbers, samples, strict=True)
        }
    return [found[number] for number in range(len(requests))]


def sampling_of(settings: Mapping[str, Any]) -> tuple[SamplingConfig, list[str]]:
    """{"until": ["\\n"], "max_gen_toks": 32, "do_sample": False} -> how to sample, and the stop texts."""
    left = dict(settings)
    until = left.pop("until", None) or []
    lengths = [left.pop(name) for name in _LENGTHS if name in left]
    is_drawn = left.pop("do_sample", None)
    temperature = float(left.pop("temperature", 0.0 if not is_drawn else 1.0))
    config = SamplingConfig(
        max_tokens=int(lengths[0]) if lengths else MOST_TOKENS,
        temperature=0.0 if is_drawn is False else temperature,
        top_k=int(left.pop("top_k", 0)),
        top_p=float(left.pop("top_p", 1.0)),
    )
    unknown = [name for name, value in left.items() if (name, value) != ("num_beams", 1)]
    if unknown:
        raise ValueError(
            f"generation_kwargs: {', '.join(unknown)} is not supported; use until, {_LENGTHS[0]}, do_sample, "
            "temperature, top_k, top_p"
        )
    return config, [until] if isinstance(until, str) else list(until)


def before_stops(text: str, stops: Sequence[str]) -> str:
    for stop in stops:
        if stop:
            text = text.split(stop)[0]
    return text


def _stopped(tokenizer: ChatTokenizer, stops: Sequence[str]) -> Callable[[Sequence[int]], bool] | None:
    """Whether an answer's last tokens hold a stop text; they are read back as far as one may reach."""
    told = [stop for stop in stops if stop]
    if not told:
        return None
    reach = max(len(tokenizer.encode_text(stop)) for stop in told) + 2  # the text may be spelled in other tokens

    def is_complete(tokens: Sequence[int]) -> bool:
        end = tokenizer.decode(tokens[-reach:])
        return any(stop in end for stop in told)

    return is_complete


def _prompt_ids(model: Any, tokenizer: ChatTokenizer, prompt: str, answer_tokens: int) -> list[int]:
    room = int(model.config.max_position_embeddings) - answer_tokens
    if room < 1:
        raise ValueError(
            f"generation_kwargs: {_LENGTHS[0]} is {answer_tokens} and the model reads {room + answer_tokens} tokens in "
            "all; ask for fewer"
        )
    ids = [*tokenizer.opening_ids, *tokenizer.encode_text(prompt)]
    return ids[-room:] or [start_id(tokenizer)]


def require_package() -> None:
    if importlib.util.find_spec(PACKAGE) is None:
        raise ValueError("lm-evaluation-harness is not installed; `pip install 'espalier[harness]'` brings it")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the bars and the advice of its libraries; what goes wrong is raised."""
    import datasets

    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        logging.disable(before)


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0][:200]
