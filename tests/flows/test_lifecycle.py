"""The main job end to end on the tiny recipe: what it leaves in the checkout, in Prefect, in MLflow and in the ledger."""

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tasks.artifacts import verify
from tests.benchmarks.lifecycle import said
from tests.flows.runs import Finished, isolation, python

STAGES = ["corpus", "pretrain", "instruct", "reward", "align", "evaluate", "release"]
TRAINED = {"pretrain": 120, "instruct": 80, "reward": 30, "align": 24}
MOST_SECONDS, MOST_START_UP_SECONDS, MOST_SECONDS_REUSED = 150.0, 75.0, 20.0
ASK_PREFECT = Path(__file__).with_name("ask_prefect.py")
SLACK = 3.0  # a machine that is busy with other things must not fail a test; only a real slip does

pytestmark = pytest.mark.end_to_end


def asked(unbroken: Finished, *arguments: str) -> Any:
    result = unbroken.command(*arguments)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_every_stage_ran_and_the_parts_of_the_time_add_up(unbroken: Finished) -> None:
    document = unbroken.document
    assert document["state"] == "done"
    assert [stage["stage"] for stage in document["stages"]] == STAGES
    assert [stage["verdict"] for stage in document["stages"] if stage["stage"] in TRAINED] == ["PASS"] * 4
    parts, wall = document["time"]["parts"], document["time"]["wall"]
    assert sum(parts.values()) == pytest.approx(wall, rel=0.02)
    assert wall < SLACK * MOST_SECONDS
    assert parts["start-up"] + parts["glue"] < SLACK * MOST_START_UP_SECONDS
    assert all(parts[name] > 0 for name in ("data", "training", "sampling", "evaluation", "start-up"))


def test_memory_stays_within_bounds_and_the_benchmark_says_what_the_gates_measured(unbroken: Finished) -> None:
    assert 0.5e9 < unbroken.most_bytes < 6e9
    record = json.loads(Path(unbroken.document["report"]).with_name("record.json").read_text())
    lines = said(unbroken.document, record)
    assert [line for line in lines if line.startswith("gate of")] == [
        f"gate of {stage}: PASS" for stage in (*TRAINED, "release")
    ]
    assert any("must lie below" in line for line in lines)


def test_each_training_ran_in_a_worker_process_of_its_own(unbroken: Finished) -> None:
    pids = [stage["worker_pid"] for stage in unbroken.document["stages"] if stage["stage"] in TRAINED]
    assert len(set(pids)) == 4
    assert os.getpid() not in pids


def test_the_network_was_closed_and_nothing_was_left_outside(unbroken: Finished) -> None:
    assert list(unbroken.user.iterdir()) == []
    assert unbroken.left_behind == []
    changed = subprocess.run(["git", "status", "--porcelain"], cwd=unbroken.workspace, capture_output=True, text=True)
    assert changed.stdout == ""
    if not isolation():
        pytest.skip("network namespaces are not allowed here")


def test_the_models_stand_in_the_ledger_with_one_in_production(unbroken: Finished) -> None:
    versions = asked(unbroken, "models", "list", "--json")
    assert {version["stage"] for version in versions} == {"pretrained", "instruct", "reward", "aligned"}
    production = [version for version in versions if "production" in version["aliases"]]
    assert [version["stage"] for version in production] == ["aligned"]
    assert production[0]["digest"] == unbroken.document["production"]["digest"]
    by_digest = {version["digest"]: version["stage"] for version in versions}
    assert {by_digest.get(parent) for parent in production[0]["parents"]} >= {"instruct", "reward"}


def test_explain_walks_from_production_to_the_text(unbroken: Finished) -> None:
    chain = asked(unbroken, "models", "explain", "production", "--json")
    kinds: list[str] = []

    def walk(node: dict[str, Any]) -> None:
        kinds.append(node["kind"])
        for parent in node["parents"]:
            walk(parent)

    walk(chain)
    assert {
        "aligned",
        "reward",
        "instruct",
        "pretrained",
        "preferences",
        "tokens",
        "tokenizer",
        "corpus",
        "raw",
    } <= set(kinds)
    said = unbroken.command("models", "explain", "production").stdout
    assert "rule annotator" in said
    assert "bits per byte" in said
    shown = asked(unbroken, "models", "show", "production", "--json")
    assert shown["gate"]["verdict"] == "PASS"
    assert unbroken.command("models", "verify").returncode == 0


def test_models_list_and_help_answer_at_once(unbroken: Finished) -> None:
    for arguments in (("models", "list"), ("--help",)):
        began = time.monotonic()
        assert unbroken.command(*arguments).returncode == 0
        assert time.monotonic() - began < SLACK * 2.0


def test_prefect_has_every_stage_as_a_subflow_with_its_state_and_artifacts(unbroken: Finished) -> None:
    runs = python(unbroken.command, unbroken.workspace, ASK_PREFECT)
    assert {run["state"] for run in runs} == {"COMPLETED"}
    lifecycles = {run["id"] for run in runs if run["flow"] == "lifecycle"}  # a retraining that skipped has no children
    children = {run["flow"]: run for run in runs if run["parent"] in lifecycles}
    assert sorted(children) == sorted(STAGES)
    for stage in TRAINED:
        assert {f"gate-{stage}", f"progress-{stage}"} <= set(children[stage]["artifacts"])
        assert all(isinstance(value, str) for value in children[stage]["parameters"].values())
    assert "corpus" in children["corpus"]["artifacts"]


def test_mlflow_has_one_run_per_stage_with_every_step_and_its_parent(unbroken: Finished) -> None:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{unbroken.home / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("espalier")
    runs = client.search_runs([experiment.experiment_id])
    by_stage = {run.data.tags["espalier.stage"]: run for run in runs}
    assert len(runs) == len(by_stage) == 5
    assert {run.info.status for run in runs} == {"FINISHED"}
    parent = by_stage["lifecycle"].info.run_id
    for stage, steps in TRAINED.items():
        run = by_stage[stage]
        assert run.data.tags["mlflow.parentRunId"] == parent
        for metric in ("loss", "learning_rate", "gradient_norm", "tokens_per_second"):
            history = client.get_metric_history(run.info.run_id, metric)
            assert sorted(point.step for point in history) == list(range(1, steps + 1)), (stage, metric)
        assert {file.path for file in client.list_artifacts(run.info.run_id)} >= {"dvc.lock"}
    inputs = by_stage["pretrain"].inputs.dataset_inputs
    assert {entry.dataset.name for entry in inputs} == {"tiny/tokens", "tiny/tokenizer"}
    registered = client.get_model_version_by_alias("tiny-aligned", "production")
    assert registered.tags["espalier.digest"] == unbroken.document["production"]["digest"]


def test_the_report_is_one_page_with_every_section(unbroken: Finished) -> None:
    page = Path(unbroken.document["report"])
    text = page.read_text(encoding="utf-8")
    for words in ("Where the time went", "Bits per byte", "Answers side by side", "Curves", "Gates", "Lineage"):
        assert words in text
    assert "<script" not in text
    record = json.loads((page.parent / "record.json").read_text(encoding="utf-8"))
    assert len(record["answers"]) == 10
    assert {"prompt", "gold", "base", "instruct", "aligned"} <= set(record["answers"][0])
    counts = record["data"]
    for sieve in counts.values():
        assert sieve["input"] == sieve["kept"] + sum(sieve["refused"].values())


def test_chat_answers_with_the_model_in_production(unbroken: Finished) -> None:
    result = unbroken.command("chat", "--once", "Count the words: the value of a key")
    assert result.returncode == 0, result.stderr
    assert "<|" not in result.stdout


def test_again_with_nothing_changed_trains_nothing_and_says_what_it_reused(unbroken: Finished) -> None:
    began = time.monotonic()
    result = unbroken.command("run", "--recipe", "tiny", "--json")
    assert time.monotonic() - began < SLACK * MOST_SECONDS_REUSED
    document = json.loads(result.stdout)
    assert [stage["state"] for stage in document["stages"]] == ["reused"] * len(STAGES)
    assert {stage["reused_from"] for stage in document["stages"][:-1]} == {unbroken.document["run"]}
    assert document["time"]["parts"]["training"] == 0


def test_one_flipped_byte_runs_exactly_that_stage_again(unbroken: Finished) -> None:
    digest = next(stage["digest"] for stage in unbroken.document["stages"] if stage["stage"] == "reward")
    weights = unbroken.home / "artifacts" / "reward" / digest[:16] / "model.safetensors"
    status, content = weights.stat(), bytearray(weights.read_bytes())
    content[-5] ^= 1
    weights.write_bytes(content)
    os.utime(weights, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert not verify(weights.parent)[0]
    document = asked(unbroken, "run", "--recipe", "tiny", "--json")
    states = {stage["stage"]: stage["state"] for stage in document["stages"]}
    assert states.pop("reward") == "trained"
    assert set(states.values()) == {"reused"}
    assert verify(weights.parent, digest=digest) == (True, "")


def test_a_flipped_byte_in_the_data_is_made_good_and_nothing_is_trained(unbroken: Finished) -> None:
    shard = unbroken.home / "data" / "tiny" / "tokens" / "train-00000.bin"
    status, content = shard.stat(), bytearray(shard.read_bytes())
    whole = bytes(content)
    content[1000] ^= 1
    shard.chmod(0o644)
    shard.write_bytes(content)
    os.utime(shard, ns=(status.st_atime_ns, status.st_mtime_ns))
    document = asked(unbroken, "run", "--recipe", "tiny", "--json")
    states = {stage["stage"]: stage["state"] for stage in document["stages"]}
    assert states.pop("corpus") == "done"
    assert set(states.values()) == {"reused"}
    assert shard.read_bytes() == whole


def test_a_gate_that_says_no_ends_the_run_with_its_figures(unbroken: Finished, tmp_path: Path) -> None:
    command = type(unbroken.command)(unbroken.workspace, unbroken.user, {"ESPALIER_HOME": str(tmp_path / "other")})
    result = command("run", "--recipe", "tiny", "--set", "gates.pretrain.min_gain_bits=9.0", "--json")
    assert result.returncode == 3, result.stderr
    document = json.loads(result.stdout)
    assert document["state"] == "refused"
    assert [stage["stage"] for stage in document["stages"]] == ["corpus", "pretrain"]
    assert "must lie below -9" in result.stderr
    assert "likely:" in result.stderr
    listed = json.loads(command("models", "list", "--json").stdout)
    assert [(version["stage"], version["aliases"]) for version in listed] == [("pretrained", [])]
    alone = command("stage", "instruct", "--recipe", "tiny")
    assert alone.returncode == 2
    assert "pretrain must run first" in alone.stderr


def test_what_people_labelled_takes_the_rule_annotators_place(unbroken: Finished, tmp_path: Path) -> None:
    """The rule's own pairs stand for people's here, so that the reward model has something to learn."""
    lines = [
        json.loads(line)
        for name in ("train", "valid")
        for line in (unbroken.home / "data" / "tiny" / "preferences" / f"{name}.jsonl").read_text().splitlines()
    ]
    labels = tmp_path / "labels.jsonl"
    labels.write_text("".join(json.dumps(line) + "\n" for line in lines))
    added = asked(unbroken, "data", "label", str(labels), "--corpus", "tiny", "--json")
    assert added["pairs"] == len(lines)
    result = unbroken.command("stage", "reward", "--recipe", "tiny", "--json")
    assert result.returncode in (0, 3), result.stderr
    reward = next(stage for stage in json.loads(result.stdout)["stages"] if stage["stage"] == "reward")
    assert "pairs labelled by the human annotators" in reward["unit"]
    index = json.loads((unbroken.home / "data" / "tiny" / "preferences" / "index.json").read_text())
    assert index["train"]["pairs"] + index["valid"]["pairs"] == len(lines)
