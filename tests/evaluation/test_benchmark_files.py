"""The benchmarks as data: every file is whole, made items are reproducible, and no example is an item."""

from pathlib import Path

import pytest

from tasks.evaluation.benchmark import Benchmark, benchmarks, read_benchmark
from tasks.evaluation.made_items import made_items
from tasks.evaluation.prompting import ORDERS, orders
from tasks.evaluation.prompts import filled
from tasks.evaluation.published import FORMATS
from tasks.evaluation.questions import made_questions
from tasks.evaluation.suite import Request
from tasks.exercises.makers import MAKERS

MADE = [each for each in benchmarks().values() if each.source == "maker"]
GOOD = (
    'source: {maker: arithmetic}\nanswer_type: number\ntemplates: ["{text}", "So: {text}"]\nmax_tokens: {direct: 8}\n'
)


def named(benchmark: Benchmark) -> str:
    return benchmark.name


def test_every_maker_and_format_that_a_benchmark_names_exists_and_every_format_has_one() -> None:
    assert {each.origin for each in MADE} <= set(MAKERS)
    assert {each.origin for each in benchmarks().values() if each.source == "format"} == {each.name for each in FORMATS}


@pytest.mark.parametrize("benchmark", MADE, ids=named)
def test_made_items_are_the_same_again_and_more_of_them_begin_with_the_same(benchmark: Benchmark) -> None:
    items = made_items(benchmark, 12, seed=3)
    assert items == made_items(benchmark, 30, seed=3)[:12]
    assert items != made_items(benchmark, 12, seed=4)
    assert len({item.question for item in items}) == 12
    for template in benchmark.templates:
        assert items[0].slots["text"] in filled(template, items[0])


@pytest.mark.parametrize("benchmark", MADE, ids=named)
def test_no_example_is_among_the_items(benchmark: Benchmark) -> None:
    items = made_items(benchmark, 40, seed=0)
    # examples drawn as the items were would be the same ones: only `without` keeps them apart
    examples = made_items(benchmark, 5, seed=0, without=items)
    assert examples
    assert not {item.question for item in items} & {item.question for item in examples}
    assert not {item.slots["text"] for item in items} & {item.slots["text"] for item in examples}


def test_a_maker_that_has_said_everything_ends_and_leaves_examples() -> None:
    """There are some two hundred facts of commonsense, each with several lists of options."""
    found = made_questions(benchmarks()["commonsense"], Request(limit=10**6, shots=(0, 5)))
    texts = [item.slots["text"] for item in (*found.items, *found.examples)]
    assert len(set(texts)) == len(texts) > 100
    assert len(found.examples) == 5


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("answer_type: number\n", "answer_type is missing"),
        ("{maker: arithmetic}", "source: expected"),
        ('"So: {text}"', "each with {text}"),
    ],
)
def test_a_broken_benchmark_file_is_refused_by_name(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD, encoding="utf-8")
    assert read_benchmark(path).max_tokens == {"direct": 8}
    path.write_text(GOOD.replace(line, "" if line.endswith("\n") else '"x"'), encoding="utf-8")
    with pytest.raises(ValueError, match=r"mine\.yaml: ") as caught:
        read_benchmark(path)
    assert said in str(caught.value)


def test_orders_are_all_different_seeded_and_begin_with_the_usual_one() -> None:
    examples = made_items(benchmarks()["arithmetic"], 4, seed=0)
    found = orders(examples, seed=1)
    assert found[0] == tuple(examples)
    assert len(found) == ORDERS
    assert found == orders(examples, seed=1) != orders(examples, seed=2)
    assert {frozenset(each.id for each in order) for order in found} == {frozenset(each.id for each in examples)}
    assert len(orders(examples[:2], seed=1)) == 2
