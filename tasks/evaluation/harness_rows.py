"""What lm-evaluation-harness found, as rows and examples of an evaluation (documents.py)."""

import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.artifacts import digest_of
from tasks.evaluation.harness import HarnessRun, sampling_of
from tasks.evaluation.intervals import SEED, Interval, scores_interval

INVALID = "[invalid]"  # what its filters write where they find no answer
PLAIN_FILTER = "none"
DRAWS = 1000
GENERATING = "generate_until"

Sample = Mapping[str, Any]
Aggregation = Callable[[Sequence[Any]], float]


def harness_rows(run: HarnessRun, model_digest: str, code_digest: str) -> list[dict[str, Any]]:
    """A row for each task, metric and filter: `exact_match`, or `exact_match[strict-match]` of a named filter."""
    rows = []
    for name in run.tasks:
        identity = _identity(run, name, model_digest, code_digest)
        for filter_name, samples in _by_filter(run, name):
            unparsed = sum(map(_is_unparsed, samples))
            for metric in samples[0]["metrics"]:
                interval = _interval([sample[metric] for sample in samples], aggregated(run, name, metric))
                rows.append(
                    {
                        **_known(run, name),
                        "metric": metric_name(metric, filter_name),
                        **interval.record(),
                        "unparsed": unparsed,
                        "unparsed_share": unparsed / len(samples),
                        "identity": identity,
                    }
                )
    return rows


def harness_examples(run: HarnessRun) -> Iterator[dict[str, Any]]:
    """Of tasks that have a right answer: a line for each item and filter."""
    for name in run.tasks:
        for filter_name, samples in _by_filter(run, name):
            scores = [metric for metric in samples[0]["metrics"] if is_score(samples[0][metric])]
            for sample in samples if scores else ():
                found = _said(sample, run.result["configs"][name]["output_type"])
                yield {
                    **_known(run, name),
                    "id": str(sample["doc_id"]),
                    "prompt": str(sample["arguments"][0][0]),
                    **found,
                    "verdict": _verdict(sample, scores[0]),
                    "reason": "" if filter_name == PLAIN_FILTER else f"filter {filter_name}",
                    "scores": {metric_name(metric, filter_name): float(sample[metric]) for metric in scores},
                }


def benchmark_of(name: str) -> str:
    return f"harness:{name}"


def _known(run: HarnessRun, name: str) -> dict[str, Any]:
    generates = run.result["configs"][name]["output_type"] == GENERATING
    return {
        "benchmark": benchmark_of(name),
        "shots": run.result["n-shot"][name],
        "mode": "direct" if generates else "likelihood",
    }


def _by_filter(run: HarnessRun, name: str) -> Iterator[tuple[str, list[Sample]]]:
    samples: list[Sample] = run.result["samples"][name]
    for filter_name in dict.fromkeys(sample["filter"] for sample in samples):
        yield filter_name, [sample for sample in samples if sample["filter"] == filter_name]


def metric_name(metric: str, filter_name: str) -> str:
    return metric if filter_name == PLAIN_FILTER else f"{metric}[{filter_name}]"


def _interval(values: Sequence[Any], aggregation: Aggregation) -> Interval:
    """By the harness's own aggregation; where that is no mean of scores, its percentiles over resampled items."""
    value = float(aggregation(values))
    if all(map(is_score, values)):
        scores = [float(each) for each in values]
        found = scores_interval(scores)
        if abs(found.value - value) < 1e-9:
            return found
    low, high = np.quantile(drawn(values, aggregation), [0.025, 0.975])
    return Interval(value=value, low=float(low), high=float(high), n=len(values))


def drawn(values: Sequence[Any], aggregation: Aggregation, *, of: str = "") -> npt.NDArray[np.float64]:
    """[DRAWS]: the figure of as many items, drawn again; those of one name are drawn apart from those of another."""
    generator = np.random.default_rng([SEED, zlib.crc32(of.encode())])
    count = len(values)
    return np.array(
        [aggregation([values[place] for place in generator.integers(0, count, count)]) for _ in range(DRAWS)],
        np.float64,
    )


def aggregated(run: HarnessRun, name: str, metric: str) -> Aggregation:
    """From what each item of a task has in a metric to the task's figure."""
    found: Aggregation = run.tasks[name].aggregation()[metric]
    return found


def is_score(value: object) -> bool:
    return isinstance(value, int | float) and 0 <= value <= 1  # numpy's float64 is a float


def _is_unparsed(sample: Sample) -> bool:
    return bool(sample["filtered_resps"]) and _first(sample["filtered_resps"][0]) == INVALID


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, list) and value else value


def _verdict(sample: Sample, metric: str) -> str:
    if _is_unparsed(sample):
        return "unparsed"
    return "right" if float(sample[metric]) == 1 else "wrong"


def _said(sample: Sample, output_type: str) -> dict[str, str]:
    """The answer, or the likeliest of the choices; and what was wanted."""
    gold, arguments = sample["target"], sample["arguments"]
    if output_type == GENERATING:
        said, extracted = str(_first(sample["resps"][0])), str(_first(sample["filtered_resps"][0]))
        return {"completion": said, "extracted": extracted, "gold": str(gold)}
    nats = [response[0] for response in sample["filtered_resps"]]
    said = str(arguments[int(np.argmax(nats))][1])
    wanted = arguments[gold][1] if isinstance(gold, int) and 0 <= gold < len(arguments) else gold
    return {"completion": said, "extracted": said.strip(), "gold": str(wanted).strip()}


def _identity(run: HarnessRun, name: str, model_digest: str, code_digest: str) -> dict[str, str]:
    """Everything that a figure depends on; where the data lie on this machine is no part of it."""
    config = {key: value for key, value in run.result["configs"][name].items() if key != "dataset_kwargs"}
    config["metadata"] = {k: v for k, v in (config.get("metadata") or {}).items() if k != "config_source"}
    samples = run.result["samples"][name]
    return {
        "task": _digest(config),
        "shots": f"{run.result['n-shot'][name]}: {_digest([sample['prompt_hash'] for sample in samples])}",
        "template": f"lm-evaluation-harness {run.version}, version {run.result['versions'].get(name)}",
        "decoding": _decoding(config, run.seed),
        "data": _digest([(sample["doc_hash"], sample["target_hash"]) for sample in samples]),
        "model": model_digest,
        "code": code_digest,
    }


def _decoding(config: Mapping[str, Any], seed: int) -> str:
    """The seed too, where answers are drawn: another one draws others."""
    if config["output_type"] != GENERATING:
        return "log-likelihood"
    settings = config["generation_kwargs"]
    said = json.dumps(settings, sort_keys=True, ensure_ascii=False, default=str)
    return f"{said}, seed {seed}" if sampling_of(settings)[0].temperature else said


def _digest(value: object) -> str:
    return digest_of(json.loads(json.dumps(value, sort_keys=True, default=str)))
