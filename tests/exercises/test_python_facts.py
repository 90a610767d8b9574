"""What is said of Python holds in the Python that runs: calls by the parameter's name, names that exist, errors caught."""

import builtins
import importlib
import inspect
import random
import subprocess
import sys

import pytest

from tasks.exercises import python_facts
from tasks.exercises.python_facts import PLACES, python_error, python_parameter, raised, signatures, summaries
from tasks.exercises.table_files import table


def thing(name: str) -> object:
    """ "os.path.join" -> the function; "str.lower" -> the method."""
    owner, _, member = name.rpartition(".")
    return getattr(getattr(builtins, owner, None) or importlib.import_module(owner), member)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("tokenize.TokenInfo", ("type", "string", "start", "end", "line")),
        ("str.replace", ("old", "new", "count")),
        ("str.split", ("sep", "maxsplit")),
        ("dict.fromkeys", ("iterable", "value")),
        ("random.randint", ("a", "b")),
        ("textwrap.indent", ("text", "prefix", "predicate")),
        ("bisect.insort", ("a", "x", "lo", "hi", "key")),
    ],
)
def test_parameters_are_those_of_the_documentation(name: str, parameters: tuple[str, ...]) -> None:
    assert tuple(signatures()[name]) == parameters


@pytest.mark.parametrize(
    ("expression", "error"),
    [
        ("int('apple')", ValueError), ("[][3]", IndexError), ("{}['apple']", KeyError), ("4 / 0", ZeroDivisionError),
        ("'apple' + 3", TypeError), ("velmonk", NameError), ("'apple'.velmonk", AttributeError), ("(4", SyntaxError),
        ("2.0 ** 2000", OverflowError), ("__import__('velmonk')", ModuleNotFoundError),
    ],
)  # fmt: skip
def test_an_expression_raises_what_python_says(expression: str, error: type[Exception]) -> None:
    assert type(raised(expression)) is error


def test_an_expression_that_raises_nothing_is_named() -> None:
    with pytest.raises(ValueError, match=r"python_errors.yaml: 1 \+ 1 raises nothing; take it out"):
        raised("1 + 1")


def test_every_expression_of_the_table_raises_whatever_fills_it() -> None:
    chance, count = random.Random(1), 4000
    items = [python_error(chance) for _ in range(count)]
    assert len({item.answer for item in items}) >= 10
    assert all(
        item.slots["message"].strip() and issubclass(getattr(builtins, item.answer), Exception) for item in items
    )
    assert count > 60 * len(table("python_errors"))  # each occurs about that often


def test_a_name_answers_to_one_summary_and_has_it() -> None:
    assert len(set(summaries().values())) == len(summaries()) >= 400
    for summary, name in summaries().items():
        assert " ".join(str(inspect.getdoc(thing(name))).split()).startswith(summary)


def test_a_place_is_that_of_the_signature() -> None:
    chance = random.Random(2)
    for _ in range(500):
        item = python_parameter(chance)
        names = list(inspect.signature(thing(item.text)).parameters)
        assert names[PLACES.index(item.slots["place"]) + (names[0] in ("self", "cls"))] == item.answer


def test_another_process_makes_the_same_items() -> None:
    """No order of a set or a dictionary of the process gets in."""
    code = (
        "import random; from tasks.exercises.makers import MAKERS; c = random.Random(3); "
        "print([make(c) for make in MAKERS.values() for _ in range(20)])"
    )
    made = [
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
        ).stdout
        for seed in ("1", "2")
    ]  # fmt: skip
    assert made[0] == made[1] != ""
    assert tuple(sorted(python_facts.MODULES)) == python_facts.MODULES
