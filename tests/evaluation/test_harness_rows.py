"""What the harness found becomes rows and examples: intervals, unparsed answers, an identity without a path."""

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from tasks.evaluation.harness import HarnessRun
from tasks.evaluation.harness_groups import group_rows
from tasks.evaluation.harness_rows import harness_examples, harness_rows
from tasks.evaluation.intervals import share_interval
from tasks.evaluation.suites import suite_named


class Task:
    """All that the rows ask of the harness's own task."""

    @staticmethod
    def aggregation() -> dict[str, Any]:
        def mean(values: list[float]) -> float:
            return sum(values) / len(values)

        def bits(values: list[tuple[float, int]]) -> float:
            return -sum(nats for nats, _ in values) / sum(count for _, count in values) / math.log(2)

        return {"acc": mean, "exact_match": mean, "bits_per_byte": bits}


def sample(number: int, filter_name: str, metrics: dict[str, Any], **found: Any) -> dict[str, Any]:
    hashes = {"doc_hash": f"d{number}", "prompt_hash": f"p{number}", "target_hash": f"t{number}"}
    return {"doc_id": number, "filter": filter_name, "metrics": list(metrics), **metrics, **hashes, **found}


def run_of(samples: list[dict[str, Any]], output_type: str, place: str = "/here") -> HarnessRun:
    config = {
        "output_type": output_type,
        "generation_kwargs": {"until": ["\n"]},
        "dataset_kwargs": {"data_files": f"{place}/rows.jsonl"},
        "metadata": {"version": 1, "config_source": f"{place}/task.yaml"},
    }
    result = {"samples": {"t": samples}, "configs": {"t": config}, "n-shot": {"t": 2}, "versions": {"t": 1}}
    return HarnessRun(result=result, tasks={"t": Task}, version="0.4.13")


ASKED = [("Q", {"until": ["\n"]})]
SAID = [
    sample(0, "none", {"exact_match": 1.0}, target="4", arguments=ASKED, resps=[["so 4"]], filtered_resps=["so 4"]),
    sample(1, "none", {"exact_match": 0.0}, target="5", arguments=ASKED, resps=[["why"]], filtered_resps=["why"]),
    sample(0, "strict", {"exact_match": 1.0}, target="4", arguments=ASKED, resps=[["so 4"]], filtered_resps=["4"]),
    sample(
        1, "strict", {"exact_match": 0.0}, target="5", arguments=ASKED, resps=[["why"]], filtered_resps=["[invalid]"]
    ),
]
CHOSEN = [
    sample(
        number, "none", {"acc": right}, target=1, arguments=[("Q", " a"), ("Q", " b")],
        filtered_resps=[(-2.0, False), (-3.0 + 2 * right, False)],
    )
    for number, right in enumerate((1.0, 0.0, 1.0))
]  # fmt: skip


def test_a_row_for_each_filter_with_what_it_could_not_read() -> None:
    plain, strict = harness_rows(run_of(SAID, "generate_until"), "model", "code")
    assert (plain["benchmark"], plain["mode"], plain["shots"]) == ("harness:t", "direct", 2)
    assert [row["metric"] for row in (plain, strict)] == ["exact_match", "exact_match[strict]"]
    assert [(row["unparsed"], row["unparsed_share"]) for row in (plain, strict)] == [(0, 0.0), (1, 0.5)]
    assert {key: strict[key] for key in ("value", "low", "high", "n")} == share_interval(1, 2).record()
    assert strict["identity"]["decoding"] == '{"until": ["\\n"]}'
    examples = list(harness_examples(run_of(SAID, "generate_until")))
    assert [each["verdict"] for each in examples] == ["right", "wrong", "right", "unparsed"]
    assert (examples[2]["completion"], examples[2]["extracted"], examples[2]["gold"]) == ("so 4", "4", "4")
    assert examples[2]["scores"] == {"exact_match[strict]": 1.0}


def test_of_choices_the_likeliest_is_what_was_said() -> None:
    (row,) = harness_rows(run_of(CHOSEN, "multiple_choice"), "model", "code")
    assert (row["mode"], row["value"], row["n"]) == ("likelihood", pytest.approx(2 / 3), 3)
    examples = list(harness_examples(run_of(CHOSEN, "multiple_choice")))
    assert [(each["extracted"], each["gold"], each["verdict"]) for each in examples] == [
        ("b", "b", "right"), ("a", "b", "wrong"), ("b", "b", "right")
    ]  # fmt: skip


def test_a_figure_that_is_no_mean_gets_the_interval_of_its_own_aggregation() -> None:
    nats = [(-10.0, 8), (-30.0, 12), (-20.0, 20)]
    samples = [sample(n, "none", {"bits_per_byte": each}, target="", arguments=[("text",)], filtered_resps=[each[0]])
               for n, each in enumerate(nats)]  # fmt: skip
    (row,) = harness_rows(run_of(samples, "loglikelihood_rolling"), "model", "code")
    assert row["value"] == pytest.approx(60 / 40 / math.log(2))
    assert 1.0 / math.log(2) <= row["low"] < row["value"] < row["high"] <= 2.5 / math.log(2)  # the best and worst text
    assert list(harness_examples(run_of(samples, "loglikelihood_rolling"))) == []  # nothing in it is right or wrong


def test_the_identity_is_what_was_asked_and_not_where_it_lies() -> None:
    def identity(samples: list[dict[str, Any]], place: str = "/here") -> dict[str, str]:
        found: dict[str, str] = harness_rows(run_of(samples, "multiple_choice", place), "model", "code")[0]["identity"]
        return found

    one = identity(CHOSEN)
    assert one == identity(CHOSEN, "/elsewhere")
    changed = [{**each, "prompt_hash": "another prompt"} for each in CHOSEN]
    assert {key for key in one if one[key] != identity(changed)[key]} == {"shots"}
    other = [{**each, "doc_hash": "another question"} for each in CHOSEN]
    assert {key for key in one if one[key] != identity(other)[key]} == {"data"}


def test_the_seed_is_part_of_the_identity_where_answers_are_drawn() -> None:
    def decodings(**settings: object) -> set[str]:
        run = run_of(SAID, "generate_until")
        run.result["configs"]["t"]["generation_kwargs"] |= settings
        rows = [row for seed in (0, 1) for row in harness_rows(replace(run, seed=seed), "model", "code")]
        return {row["identity"]["decoding"] for row in rows}

    assert decodings() == {'{"until": ["\\n"]}'}
    drawn = '{"do_sample": true, "until": ["\\n"]}'
    assert decodings(do_sample=True) == {f"{drawn}, seed 0", f"{drawn}, seed 1"}


def group_of(weighs_by_size: bool, **marks: list[float]) -> HarnessRun:
    """A run of the group "all" of these tasks, as the harness tells of it."""
    named = {
        name: [sample(n, "none", {"acc": mark}, target=0, arguments=[("Q", " a")], filtered_resps=[(-1.0, False)])
               for n, mark in enumerate(each)] for name, each in marks.items()
    }  # fmt: skip
    means = {name: sum(each) / len(each) for name, each in marks.items()}
    sizes = {name: len(each) for name, each in marks.items()}
    count = sum(sizes.values())
    value = sum(map(sum, marks.values())) / count if weighs_by_size else sum(means.values()) / len(means)
    group = {"acc,none": value, "acc_stderr,none": "N/A", "alias": "all", "sample_len": count}
    result = {
        "samples": named, "configs": {name: {"output_type": "multiple_choice"} for name in marks},
        "n-shot": dict.fromkeys([*marks, "all"], 2), "versions": {**dict.fromkeys(marks, 1), "all": "3"},
        "groups": {"all": group}, "group_subtasks": {"all": list(marks)},
        "results": {"all": group, **{name: {"acc,none": means[name], "sample_len": sizes[name]} for name in marks}},
    }  # fmt: skip
    figure = SimpleNamespace(metric="acc", weight_by_size=weighs_by_size, filter_list=None)
    groups = {"all": SimpleNamespace(aggregate_metric_list=[figure])}
    return HarnessRun(result=result, tasks=dict.fromkeys(marks, Task), version="0.4.13", groups=groups)


def row_of_group(run: HarnessRun) -> dict[str, Any]:
    (found,) = group_rows(run, harness_rows(run, "model", "code"))
    return found


def test_a_group_that_weighs_items_alike_is_the_share_of_them_all() -> None:
    found = row_of_group(group_of(True, one=[1.0, 0.0, 0.0, 0.0], two=[1.0] * 5 + [0.0] * 3))
    assert (found["benchmark"], found["mode"], found["shots"]) == ("harness:all", "likelihood", 2)
    assert (found["metric"], found["unparsed"]) == ("acc", 0)
    assert {key: found[key] for key in ("value", "low", "high", "n")} == share_interval(6, 12).record()


def test_a_group_that_weighs_tasks_alike_has_the_interval_of_their_mean() -> None:
    """One task of 2000 items that is known well, and one of 20 that decides: a standard error of .5 sqrt(.25 / 20) = .056."""
    found = row_of_group(group_of(False, large=[1.0, 0.0] * 1000, small=[1.0, 0.0] * 10))
    assert found["value"] == 0.5
    assert found["high"] - found["low"] == pytest.approx(2 * 1.96 * 0.056, rel=0.15)
    together = row_of_group(group_of(True, large=[1.0, 0.0] * 1000, small=[1.0, 0.0] * 10))
    assert together["high"] - together["low"] < 0.05
    # tasks of one size are drawn apart: the error of the mean of two is 1 / sqrt(2) of one's, .5 / sqrt(200)
    same = row_of_group(group_of(False, one=[1.0, 0.0] * 100, two=[0.0, 1.0] * 99 + [0.25, 0.75]))
    assert same["high"] - same["low"] == pytest.approx(2 * 1.96 * 0.5 / 20, rel=0.15)


def test_a_group_that_is_right_nowhere_is_not_certain_of_others() -> None:
    found = row_of_group(group_of(False, one=[0.0] * 8, two=[0.0] * 4))
    assert (found["value"], found["low"]) == (0.0, 0.0)
    assert found["high"] == pytest.approx(1.959964**2 / (12 + 1.959964**2))


def test_a_figure_of_a_group_that_is_taken_for_each_filter_in_its_own_way_has_one_row() -> None:
    run = group_of(True, one=[1.0, 0.0], two=[0.0, 0.0])
    by_size = SimpleNamespace(metric="acc", weight_by_size=True, filter_list=["none"])
    by_task = SimpleNamespace(metric="acc", weight_by_size=False, filter_list=["strict"])
    run.groups["all"].aggregate_metric_list = [by_size, by_task]
    assert row_of_group(run)["metric"] == "acc"


def test_a_group_is_known_by_its_tasks_and_what_these_were_asked() -> None:
    one = row_of_group(group_of(True, one=[1.0, 0.0], two=[0.0, 0.0]))["identity"]
    assert one == row_of_group(group_of(True, one=[0.0, 0.0], two=[1.0, 1.0]))["identity"], "answers are no part of it"
    fewer = row_of_group(group_of(True, one=[1.0, 0.0]))["identity"]
    assert {key for key in one if one[key] != fewer[key]} == {"task"}
    longer = row_of_group(group_of(True, one=[1.0, 0.0, 1.0], two=[0.0, 0.0]))["identity"]
    assert {key for key in one if one[key] != longer[key]} == {"shots", "data"}


def test_a_suite_without_a_task_is_refused() -> None:
    with pytest.raises(ValueError, match="--suite harness:a,: name the tasks after the colon"):
        suite_named("harness:a,")
