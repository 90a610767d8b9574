"""What is asked of each benchmark, and which examples may be shown before it: made here, or from the user's files."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from tasks.evaluation.benchmark import Benchmark, Item, benchmarks, fixed_examples
from tasks.evaluation.brought import Brought, brought
from tasks.evaluation.cells import DIRECT
from tasks.evaluation.fitting import tokens_needed
from tasks.evaluation.made_items import made_items
from tasks.evaluation.prompts import prompt_of
from tasks.evaluation.subject import Subject
from tasks.evaluation.suite import Request

MOST_MADE = 1_000_000  # some makers never run out


@dataclass(frozen=True, kw_only=True)
class Questions:
    """`examples` are never among `items`; as many of the first as `shots` says are shown before each item."""

    benchmark: Benchmark
    items: tuple[Item, ...]
    examples: tuple[Item, ...]
    shots: tuple[int, ...]


def questions_of(request: Request, subject: Subject) -> tuple[list[Questions], list[str]]:
    """The user's own files, or else all that is made here; and what is worth telling of them."""
    if not request.data:
        return [made_questions(each, request) for each in benchmarks().values() if each.source == "maker"], []
    files = brought(request.data)
    found = [_brought(each, request, subject) for each in files]
    asked = [each for each in found if each.items]
    if not asked:
        raise ValueError(
            f"{request.data[0]}: no question is short enough for the {subject.context:,} tokens that "
            f"{subject.name} reads; give a model that reads more"
        )
    return asked, [_told(file, each) for file, each in zip(files, found, strict=True)]


def most_tokens(benchmark: Benchmark, mode: str, context: int) -> int:
    """A model of a short context gets half of it for an answer; the identity of a figure says how many tokens it was."""
    return min(benchmark.max_tokens[mode], context // 2)


def made_questions(benchmark: Benchmark, request: Request) -> Questions:
    """At least as many examples as the benchmark usually shows, so that fewer shots ask the same items."""
    shots = request.shots or benchmark.shots
    for option, number in (("--limit", request.limit), ("--shots", max(shots))):
        if number > MOST_MADE:
            raise ValueError(f"{option} {number}: at most {MOST_MADE:,} questions of a kind are made here; give fewer")
    items = made_items(benchmark, request.limit, request.seed)
    most = max(*shots, *benchmark.shots)
    examples = made_items(benchmark, most, request.seed, part="examples", without=items)
    if lacking := most - len(examples):  # the items are nearly all that the maker knows: the last of them are shown
        items, examples = items[:-lacking], examples + items[-lacking:]
    return _checked(benchmark, items, examples, shots)


def _brought(found: Brought, request: Request, subject: Subject) -> Questions:
    """Examples are the published ones, or come out of a file for training; else they are taken out of what is asked."""
    benchmark = found.benchmark
    shots = request.shots or benchmark.shots
    chance = random.Random(f"{benchmark.name}/{request.seed}")
    rest = chance.sample(found.test or found.train, len(found.test or found.train))
    if benchmark.examples:
        examples = list(fixed_examples(benchmark))
    elif found.test and found.train:
        examples = chance.sample(found.train, len(found.train))[: max(shots)]
    else:
        # as many as the benchmark usually shows, so that another number of examples asks the same questions
        kept = max(*shots, min(max(benchmark.shots), len(rest) // 2))
        examples, rest = rest[:kept], rest[kept:]
    shown = {each.question for each in examples}
    items = [each for each in rest if each.question not in shown]
    _checked(benchmark, items, examples, shots)
    asked = islice(_readable(items, benchmark, subject) if request.skip_long else items, request.limit)
    return Questions(benchmark=benchmark, items=tuple(asked), examples=tuple(examples), shots=shots)


def _checked(
    benchmark: Benchmark, items: Sequence[Item], examples: Sequence[Item], shots: tuple[int, ...]
) -> Questions:
    if len(examples) < max(shots) or not items:
        raise ValueError(
            f"{benchmark.name}: {len(examples)} examples and {len(items)} questions are there for --shots {max(shots)}; "
            "give fewer shots or more data"
        )
    return Questions(benchmark=benchmark, items=tuple(items), examples=tuple(examples), shots=shots)


def _readable(items: Sequence[Item], benchmark: Benchmark, subject: Subject) -> Iterator[Item]:
    """Those that leave the model room for an answer in any wording, where nothing else is shown."""
    most = most_tokens(benchmark, DIRECT, subject.context)
    for item in items:
        prompts = (prompt_of(item, (), each, benchmark.answer_type, cot=False) for each in benchmark.templates)
        if all(tokens_needed(subject, prompt, most) <= subject.context for prompt in prompts):
            yield item


def _told(file: Brought, asked: Questions) -> str:
    count = len(file.train) + len(file.test)
    empty = f", {file.empty} without a question or an answer passed over" if file.empty else ""
    said = f"{file.benchmark.name}: {count:,} questions read as {file.benchmark.origin}{empty}"
    return said if asked.items else f"{said}; left out: none is short enough for this model"
