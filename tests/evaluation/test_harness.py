"""lm-evaluation-harness with its own Hugging Face model, with ours, and our figures without it: the same numbers.

pip install 'espalier[harness]'; pytest tests/evaluation/test_harness.py
"""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models.catalogue import save_model
from models.llama import LlamaShape
from models.tokenizers import bpe
from models.tokenizers.chat import ChatTokenizer
from tasks.evaluation.choices import chosen, chosen_by_characters
from tasks.evaluation.harness import answers, before_stops, harness_model, run_harness, sampling_of
from tasks.evaluation.harness_groups import group_rows
from tasks.evaluation.harness_rows import harness_rows
from tasks.evaluation.intervals import share_interval
from tasks.evaluation.likelihood import score_continuations, score_texts, text_measures
from tests.decoders import small_decoder

needs_harness = pytest.mark.skipif(importlib.util.find_spec("lm_eval") is None, reason="lm_eval is not installed")

WORDS = ("append", "sort", "strip", "split", "join", "index", "count", "pop", "items", "keys", "update", "read")
QUESTIONS = [f"What does {word} do to the {number}th list?" for number, word in enumerate(WORDS)]
CHOICES = [
    [f"it {word}s" + " it" * (place + n % 3) for place, word in enumerate(WORDS[n % 8 :][:4])] for n in range(12)
]
ASKED = "Question: {}\nAnswer:"
LIMITS = {"until": ["e", "\n\n"], "max_gen_toks": 12, "do_sample": False}
TASK = """
dataset_path: json
dataset_kwargs: {{data_files: {{test: {file}}}, cache_dir: {cache}}}
test_split: test
doc_to_text: "Question: {{{{question}}}}\\nAnswer:"
"""
OF_TASK = {
    "choice": """
output_type: multiple_choice
doc_to_choice: "{{choices}}"
doc_to_target: "{{label}}"
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true},
              {metric: acc_norm, aggregation: mean, higher_is_better: true}]
""",
    "said": """
output_type: generate_until
doc_to_target: "{{answer}}"
generation_kwargs: {until: ["e", "\\n\\n"], max_gen_toks: 12, do_sample: false}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
""",
    "text": """
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{question}}"
metric_list: [{metric: word_perplexity}, {metric: byte_perplexity}, {metric: bits_per_byte}]
""",
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, ChatTokenizer]:
    tokenizer = ChatTokenizer.ours(bpe.fit([*QUESTIONS, *(" ".join(each) for each in CHOICES)], vocabulary=300))
    shape = LlamaShape(layers=2, width=32, heads=4, kv_heads=2, feed_forward=64, context=96)
    model = small_decoder(tokenizer, 3, spread=6.0, shape=shape)
    folder = tmp_path_factory.mktemp("checkpoint") / "model"
    save_model(folder, model, tokenizer)
    return folder, model, tokenizer


@pytest.fixture(scope="module")
def task_folder(checkpoint: tuple[Path, Any, ChatTokenizer], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Task files and their rows; every other gold answer is what the model will say."""
    _, model, tokenizer = checkpoint
    said = answers(model, tokenizer, [(ASKED.format(question), LIMITS) for question in QUESTIONS])
    folder = tmp_path_factory.mktemp("tasks")
    rows = [
        {"question": question, "choices": choices, "label": n % 4, "answer": said[n] if n % 2 else "nothing of it"}
        for n, (question, choices) in enumerate(zip(QUESTIONS, CHOICES, strict=True))
    ]
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    for name, text in OF_TASK.items():
        (folder / f"{name}.yaml").write_text(
            f"task: {name}" + TASK.format(file=file, cache=folder / "cache") + text, encoding="utf-8"
        )
    return folder


@pytest.fixture
def runs(
    checkpoint: tuple[Path, Any, ChatTokenizer], task_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], tuple[dict[str, Any], dict[str, Any]]]:
    """runs("choice") -> what the harness finds with its own model class on our folder, and with ours."""
    folder, model, tokenizer = checkpoint

    def both(task: str) -> tuple[dict[str, Any], dict[str, Any]]:
        from lm_eval.models.huggingface import HFLM

        ours = run_harness(model, tokenizer, [task], folder=task_folder).result
        # its own choice of a first token is the end of an answer; our texts begin after the end of a document
        own = HFLM(pretrained=str(folder), device="cpu", batch_size=1, prefix_token_id=tokenizer.end_of_text_id)
        monkeypatch.setattr("tasks.evaluation.harness.harness_model", lambda *_, **__: own)
        return run_harness(model, tokenizer, [task], folder=task_folder).result, ours

    return both


@needs_harness
def test_choices_have_the_same_likelihoods_acc_and_acc_norm(
    runs: Callable[..., Any], checkpoint: tuple[Path, Any, ChatTokenizer]
) -> None:
    theirs, ours = runs("choice")
    for their_item, our_item in zip(theirs["samples"]["choice"], ours["samples"]["choice"], strict=True):
        for (their_nats, their_greedy), (our_nats, our_greedy) in zip(
            their_item["filtered_resps"], our_item["filtered_resps"], strict=True
        ):
            assert our_nats == pytest.approx(their_nats, abs=1e-4)
            assert our_greedy == their_greedy
    found = {metric: ours["results"]["choice"][f"{metric},none"] for metric in ("acc", "acc_norm")}
    assert found == {metric: theirs["results"]["choice"][f"{metric},none"] for metric in found}
    assert found == without_the_harness(*checkpoint[1:])
    assert len({*found.values(), 0.0, 1.0}) == 4  # they tell something, and not the same


def without_the_harness(model: Any, tokenizer: ChatTokenizer) -> dict[str, float]:
    right = {"acc": 0, "acc_norm": 0}
    for number, (question, choices) in enumerate(zip(QUESTIONS, CHOICES, strict=True)):
        scored = score_continuations(model, tokenizer, [(ASKED.format(question), f" {choice}") for choice in choices])
        nats = [each.nats for each in scored]
        right["acc"] += chosen(nats) == number % 4
        right["acc_norm"] += chosen_by_characters(nats, choices) == number % 4
    return {metric: count / len(QUESTIONS) for metric, count in right.items()}


@needs_harness
def test_answers_are_the_same_to_the_letter(runs: Callable[..., Any]) -> None:
    theirs, ours = runs("said")
    assert [each["resps"] for each in ours["samples"]["said"]] == [each["resps"] for each in theirs["samples"]["said"]]
    assert ours["results"]["said"]["exact_match,none"] == theirs["results"]["said"]["exact_match,none"] == 0.5


@needs_harness
def test_perplexities_of_texts_are_the_same(
    runs: Callable[..., Any], checkpoint: tuple[Path, Any, ChatTokenizer]
) -> None:
    theirs, ours = runs("text")
    measures = text_measures(QUESTIONS, score_texts(*checkpoint[1:], QUESTIONS))
    for metric, value in measures.items():
        assert ours["results"]["text"][f"{metric},none"] == pytest.approx(value, rel=1e-6)
        assert theirs["results"]["text"][f"{metric},none"] == pytest.approx(value, rel=1e-5)


@needs_harness
def test_a_group_has_a_row_beside_those_of_its_tasks(
    checkpoint: tuple[Path, Any, ChatTokenizer], task_folder: Path
) -> None:
    metrics = "[{metric: acc, aggregation: mean, weight_by_size: true}]"
    for name, members in (("pair", "[choice, again]"), ("nest", "[pair]")):
        file = f"group: {name}\ntask: {members}\naggregate_metric_list: {metrics}\nmetadata: {{version: 2}}\n"
        (task_folder / f"{name}.yaml").write_text(file, encoding="utf-8")
    again = (task_folder / "choice.yaml").read_text(encoding="utf-8").replace("task: choice", "task: again")
    (task_folder / "again.yaml").write_text(again, encoding="utf-8")
    run = run_harness(*checkpoint[1:], ["nest"], folder=task_folder)
    rows = harness_rows(run, "model", "code")
    groups = group_rows(run, rows)
    assert {(row["benchmark"], row["metric"]) for row in groups} == {("harness:nest", "acc"), ("harness:pair", "acc")}
    (choice,) = (row for row in rows if (row["benchmark"], row["metric"]) == ("harness:choice", "acc"))
    right = round(choice["value"] * 12)
    for row in groups:
        assert row["value"] == run.result["results"][row["benchmark"].split(":")[1]]["acc,none"]
        assert {key: row[key] for key in ("value", "low", "high", "n")} == share_interval(2 * right, 24).record()


@needs_harness
@pytest.mark.parametrize(
    ("task", "message"),
    [("nothing_such", "the harness knows no such task"), ("away", "the data is not on this machine")],
)
def test_what_cannot_be_run_is_said_in_a_sentence(
    task: str, message: str, checkpoint: tuple[Path, Any, ChatTokenizer], task_folder: Path
) -> None:
    away = "task: away" + TASK.format(file="/nowhere/rows.jsonl", cache=task_folder / "cache") + OF_TASK["said"]
    (task_folder / "away.yaml").write_text(away, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        run_harness(*checkpoint[1:], [task], folder=task_folder)


def test_without_the_package_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.evaluation.harness.PACKAGE", "a_package_that_is_not_there")
    with pytest.raises(ValueError, match=r"pip install 'espalier\[harness\]'"):
        harness_model(None, None)  # type: ignore[arg-type]


def test_generation_settings_of_a_task() -> None:
    config, stops = sampling_of({"until": "\n", "max_new_tokens": 5, "do_sample": False, "temperature": 0.7})
    assert (config.max_tokens, config.temperature, stops) == (5, 0.0, ["\n"])
    config, stops = sampling_of({"do_sample": True, "temperature": 0.2, "top_p": 0.9, "num_beams": 1})
    assert (config.max_tokens, config.temperature, config.top_p, stops) == (256, 0.2, 0.9, [])
    with pytest.raises(ValueError, match="generation_kwargs: num_beams, penalty is not supported; use until"):
        sampling_of({"num_beams": 4, "penalty": 1.2})
    assert before_stops("a. b\nc", ["\n", ". "]) == "a"


def test_an_answer_ends_before_its_stop_text_and_a_long_prompt_loses_its_beginning(
    checkpoint: tuple[Path, Any, ChatTokenizer],
) -> None:
    _, model, tokenizer = checkpoint
    free = {"max_gen_toks": 12}
    (whole,) = answers(model, tokenizer, [("What does", free)])
    stop = whole[len(whole) // 2 :][:2]
    assert answers(model, tokenizer, [("What does", {**free, "until": [stop]})]) == [whole.split(stop)[0]]
    long = " ".join(WORDS) * 20
    ids = tokenizer.encode_text(long)[-(96 - 12) :]
    assert answers(model, tokenizer, [(long, free)]) == answers(model, tokenizer, [(tokenizer.decode(ids), free)])
    with pytest.raises(ValueError, match="max_gen_toks is 96 and the model reads 96 tokens in all"):
        answers(model, tokenizer, [("What", {"max_gen_toks": 96})])
