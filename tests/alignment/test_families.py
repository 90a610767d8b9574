"""Leave one family out: what is kept apart, what the control sees, and the small form of tests/benchmarks/families.py."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from models.catalogue import load_model
from tasks.alignment.drawing import InstructionItem
from tasks.alignment.families import Pool, bare, check_apart, trained_families
from tasks.alignment.family_study import Marks, Result, Study, asked_in_turns, gain
from tasks.alignment.tuning import Tuning, tune
from tasks.emergence.family_report import Study as Found
from tasks.emergence.family_report import draw, table
from tasks.exercises.phrases import Material
from tasks.exercises.task_files import TaskFile, all_tasks
from tasks.training.machine import Runtime
from tests.benchmarks.families import run
from tests.benchmarks.rationale import fresh

USED = ("arithmetic", "compare_numbers", "coin_flip", "commonsense_yes_no", "plural", "reverse")
NOTHING = Material(phrases=(), definitions=(), words=())


@pytest.fixture(scope="module")
def tasks() -> list[TaskFile]:
    return [task for task in all_tasks() if task.name in USED]


@pytest.fixture
def pool(tasks: list[TaskFile]) -> Pool:
    return Pool(tasks=tasks, seen=NOTHING, unseen=NOTHING, per_task=30, asked_per_task=6)


def test_related_families_are_removed_with_the_held_out_one(pool: Pool) -> None:
    assert pool.families == ("arithmetic", "commonsense", "editing", "symbolic")
    for seed in (1, 2, 3):
        assert sorted(trained_families(pool, "symbolic", None, seed)) == ["arithmetic", "commonsense"]
        every = trained_families(pool, "arithmetic", None, seed)
        assert sorted(every) == ["commonsense", "editing", "symbolic"]
        assert trained_families(pool, "arithmetic", 2, seed) == every[:2]
    assert len({trained_families(pool, "arithmetic", None, seed) for seed in range(20)}) > 1


def test_more_families_than_there_are_is_a_sentence(pool: Pool) -> None:
    with pytest.raises(ValueError, match="symbolic: 3 families to train on, and there are 2 others; ask for fewer"):
        trained_families(pool, "symbolic", 3, 1)


def test_the_control_has_names_and_fields_and_no_instruction(pool: Pool, tasks: list[TaskFile]) -> None:
    (task,) = (task for task in tasks if task.name == "compare_numbers")
    assert [template.prompt for template in bare(task).templates] == ["compare_numbers: {text}; wanted: {wanted}"]
    worded, named = (pool.trained(["arithmetic"], wording, ()) for wording in ("templates", "names"))
    assert len(worded) == len(named) == 60
    assert all(item.prompt.startswith(f"{item.task}: ") for item in named)
    assert not any(item.prompt.startswith(f"{item.task}: ") for item in worded)


def test_no_text_wording_or_item_of_a_held_out_family_is_trained_on(pool: Pool) -> None:
    asked = pool.asked("symbolic")
    trained = pool.trained(["arithmetic", "commonsense"], "templates", {item.input for item in asked})
    check_apart(trained, asked, {"symbolic", "editing"})
    with pytest.raises(ValueError, match="an item of the held-out family symbolic"):
        check_apart([*trained, asked[0]], asked, {"symbolic", "editing"})
    with pytest.raises(ValueError, match="is asked about and trained on"):
        check_apart([replace(trained[0], input=asked[0].input)], asked, {"symbolic"})


def test_a_gain_is_the_mean_over_seeds_of_paired_differences() -> None:
    """(1 - 0, 1 - 1) and (0 - 0, 1 - 1): a quarter."""
    mean, low, high = gain([[1, 1], [0, 1]], [0, 1])
    assert mean == 0.25
    assert low <= 0.25 <= high


def result(seed: int, number: int | None, wording: str, *exact: float) -> Result:
    return Result(
        held_out="symbolic", number=number, wording="names" if wording == "names" else "templates", seed=seed,
        families=("a",) * (number or 3), marks=Marks(exact=exact, likelihood=(-1.0,) * len(exact), ranked=()),
    )  # fmt: skip


def test_the_table_by_hand(tmp_path: Path) -> None:
    results = [
        *(result(seed, 1, "templates", 0.0, 1.0) for seed in (1, 2)),
        *(result(seed, None, "templates", 1.0, 1.0) for seed in (1, 2)),
        *(result(seed, None, "names", 0.0, 1.0) for seed in (1, 2)),
    ]
    found = Found({"symbolic": Marks(exact=(0.0, 0.0), likelihood=(-3.0, -3.0), ranked=())}, results)
    lines = list(table(found))
    assert lines[0].startswith("log2 probability of the right answer, per byte")
    assert lines[2].split()[:4] == ["symbolic", "2", "-3.000", "+2.000"]
    lines = lines[6:]  # four of likelihoods and an empty one are before the rows of exact match
    assert lines[2].split()[:4] == ["symbolic", "2", "0.000", "+0.500"]
    assert "+1.000 (-0.315 to +1.000)" in lines[2], "of two items that gain alike: 1 - 2 z^2 / (2 + z^2)"
    assert lines[4].startswith("templates over none, all held-out families: +0.500")
    assert not any("ranked" in line for line in lines)
    assert [found.trained_on(number) for number in found.numbers] == [1, 3]
    assert draw(found, tmp_path / "f.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_an_option_that_another_one_begins_with_is_not_always_likelier(tmp_path: Path) -> None:
    """Taught "343" a model ranks 343 above 34, which is likelier only as long as it need not end there."""
    torch.set_num_threads(1)
    item = InstructionItem(
        id="1", task="t", family="f", template="t/0", input="?", prompt="?", answer="343", options=("34", "343")
    )
    tuning = Tuning(
        steps=25, batch_sequences=2, learning_rate=0.02, runtime=Runtime(threads=1, precision="fp32")
    )  # fmt: skip
    base = fresh(tmp_path, 1)
    tuned = tune(base, [item], tuning, tmp_path / "tuned", seed=1)
    model, tokenizer = load_model(tuned.path)
    assert asked_in_turns(model, tokenizer, [item], 4).ranked == (1.0,)
    assert asked_in_turns(model, tokenizer, [replace(item, answer="34")], 4).ranked == (0.0,)
    with pytest.raises(ValueError, match="belongs to another training"):
        tune(base, [replace(item, answer="34")], tuning, tmp_path / "tuned", seed=1)  # of the same name


def test_the_small_form_of_the_study(pool: Pool, tmp_path: Path) -> None:
    """Everything really runs: tunings, answers, likelihoods of options, table and plot; a mixture is tuned once a seed."""
    torch.set_num_threads(1)
    tuning = Tuning(steps=2, batch_sequences=4, runtime=Runtime(threads=1, precision="fp32"))
    study = Study(
        pool=pool, base=fresh(tmp_path, 1), folder=tmp_path / "tuned", tuning=tuning, seeds=(1, 2), numbers=(1, None),
        max_answer_tokens=4,
    )  # fmt: skip
    found = run(study, ("arithmetic", "symbolic"))
    assert [len(found.base[family].exact) for family in found.held_out] == [12, 12]
    assert [len(found.base[family].ranked) for family in found.held_out] == [6, 6]
    for family in found.held_out:
        for number, wording in ((1, "templates"), (None, "templates"), (None, "names")):
            (one, two) = found.of(family, number, "names" if wording == "names" else "templates")
            assert (one.seed, two.seed) == (1, 2)
            assert family not in one.families
            assert set(one.marks.ranked) <= {0.0, 1.0}
    mixtures = {(each.seed, each.wording, frozenset(each.families)) for each in found.results}
    assert len(list((tmp_path / "tuned").iterdir())) == len(mixtures)
    assert any(line.startswith("all of them") for line in table(found))
    assert draw(found, tmp_path / "families.png").stat().st_size > 10_000
