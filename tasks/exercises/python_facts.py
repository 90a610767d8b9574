"""Questions whose answers the running Python itself gives: what it raises, what it calls its parameters, what does what.

They are the same for everyone with this version of Python; another version may word a summary otherwise.
"""

import importlib
import inspect
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from tasks.exercises.exercise import Exercise
from tasks.exercises.invented_words import invented_word
from tasks.exercises.table_files import table, words

TYPES = (str, bytes, list, dict, set, frozenset, tuple, int, float, bytearray, memoryview)
# whose functions are the same in every process: torch, for one, exchanges some of inspect
MODULES = (
    "ast", "base64", "bisect", "calendar", "cmath", "codecs", "collections", "colorsys", "contextlib", "copy", "csv",
    "dataclasses", "datetime", "difflib", "fnmatch", "fractions", "functools", "glob", "gzip", "heapq", "hmac", "html",
    "itertools", "json", "linecache", "locale", "math", "operator", "os.path", "pickle", "pprint", "quopri", "random",
    "re", "shlex", "shutil", "statistics", "string", "struct", "tempfile", "textwrap", "tokenize",
    "traceback", "unicodedata", "urllib.parse", "weakref", "zlib",
)  # fmt: skip
PLACES = ("first", "second", "third", "fourth")
SHORTEST_SUMMARY, LONGEST_SUMMARY = 12, 90


def python_error(chance: random.Random) -> Exercise:
    """int('apple') -> ValueError; a slot has its message."""
    word, other = chance.sample(words(), 2)
    small, large, huge = chance.randint(2, 9), chance.randint(100, 999), chance.randint(2000, 9999)
    fills = {"word": word, "other": other, "invented": invented_word(chance)}
    pattern = chance.choice(table("python_errors"))
    expression = pattern.format(**fills, small=small, large=large, huge=huge)
    error = raised(expression)
    return Exercise(text=expression, answer=type(error).__name__, slots={"message": _message(error)}, facts=(pattern,))


def raised(expression: str) -> Exception:
    """What evaluating `expression`, one of our table, raises; ValueError where it raises nothing."""
    try:
        eval(expression, {})
    except Exception as error:
        return error
    raise ValueError(f"python_errors.yaml: {expression} raises nothing; take it out")


def _message(error: Exception) -> str:
    return error.msg if isinstance(error, SyntaxError) else str(error.args[-1])


def python_parameter(chance: random.Random) -> Exercise:
    """str.replace, second -> new"""
    known = signatures()
    name = chance.choice(list(known))
    parameters = known[name]
    place = chance.randrange(min(len(parameters), len(PLACES)))
    return Exercise(
        text=name,
        answer=parameters[place],
        slots={"place": PLACES[place]},
        rationale=f"Its parameters are, in order: {', '.join(parameters[: place + 1])}.",
    )


def python_lookup(chance: random.Random) -> Exercise:
    """Return True if the string is an uppercase string, False otherwise. -> str.isupper"""
    summary, name = chance.choice(list(summaries().items()))
    return Exercise(text=summary, answer=name)


@cache
def signatures() -> Mapping[str, Sequence[str]]:
    """{"str.replace": ("old", "new", "count")}: of whatever says what it takes and takes something."""
    found = {name: _parameters(thing) for name, thing in _callables()}
    return {name: parameters for name, parameters in found.items() if parameters}


@cache
def summaries() -> Mapping[str, str]:
    """{first sentence of a docstring: what it describes}, where nothing else is described so."""
    found = [(_summary(thing), name) for name, thing in _callables()]
    times = Counter(summary for summary, _ in found)
    return {
        summary: name
        for summary, name in found
        if times[summary] == 1 and SHORTEST_SUMMARY <= len(summary) <= LONGEST_SUMMARY
    }


def _callables() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Public methods of the built-in types, and what some modules offer, in the order of their names."""
    for owner in TYPES:
        yield from _named(owner.__name__, vars(owner), vars(owner))
    for name in MODULES:
        module = importlib.import_module(name)
        own = [key for key, value in vars(module).items() if getattr(value, "__module__", None) in (name, f"_{name}")]
        yield from _named(name, vars(module), getattr(module, "__all__", own))


def _named(owner: str, members: Mapping[str, Any], names: Iterable[str]) -> Iterator[tuple[str, Callable[..., Any]]]:
    for name in sorted(names):
        if not name.startswith("_") and callable(members.get(name)):
            yield f"{owner}.{name}", members[name]


def _parameters(thing: Callable[..., Any]) -> Sequence[str]:
    try:
        names = list(inspect.signature(thing).parameters)
    except ValueError:  # written in C without saying what it takes
        return ()
    # "type" is what a class method in C calls its class; a class may have a parameter of that name.
    bound = ("self", "cls") if inspect.isclass(thing) else ("self", "cls", "type")
    given = names[1:] if names and names[0] in bound else names
    return tuple(name for name in given if not name.startswith("_"))


def _summary(thing: Callable[..., Any]) -> str:
    """The first paragraph of its docstring in one line; "" where that is its signature or nothing."""
    text = " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split())
    return "" if "->" in text or "(" in text.split(" ")[0] else text
