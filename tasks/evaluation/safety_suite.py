"""The suite `safety`: hallucination, bias and toxicity (safety/*.yaml), offline, and what a user's own files add.

`--data` takes BBQ's published files (asked as well), and whoever is to judge toxicity instead of our short list of words:
labelled texts (a classifier is trained on them), the folder of such a classifier, or a list of words (.txt).
"""

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.artifacts import file_sha256
from tasks.evaluation.bbq_items import OURS, BbqItem, is_bbq, own_items, read_bbq
from tasks.evaluation.kept_cells import Cells
from tasks.evaluation.labelled_texts import LABELLED_FILES, is_labelled
from tasks.evaluation.safety_bias import bbq_part, pairs_part, weat_part
from tasks.evaluation.safety_part import Part
from tasks.evaluation.safety_questions import closed_book_part, python_functions_part
from tasks.evaluation.safety_toxicity import default_words, toxicity_part
from tasks.evaluation.subject import Subject, subject_in
from tasks.evaluation.suite import Outcome, Progress, Request
from tasks.evaluation.toxicity import CARD_FILE, Scorer, read_words

BBQ, LABELLED, WORDS, CLASSIFIER = "BBQ", "labelled texts", "words", "classifier"


@dataclass(frozen=True, kw_only=True)
class Brought:
    """A user's file, and what was recognised in it."""

    path: Path
    kind: str


def run(subject: Subject, request: Request, cells: Cells, progress: Progress) -> Outcome:
    """Each part asked once, or found as an earlier command kept it. Our own sets are small and asked whole."""
    brought = [recognised(file) for path in request.data for file in _files(path)]
    parts = _parts(subject, request, brought, cells.folder)
    kept = [cells.find(part.identity(subject)) for part in parts]
    total = sum(part.size for part, found in zip(parts, kept, strict=True) if found is None)
    done = 0

    def told(more: int) -> None:
        nonlocal done
        done += more
        progress("answers", done, total)

    rows, examples = [], []
    for part, found in zip(parts, kept, strict=True):
        if found is None:
            found = part.examples(subject, told)
            cells.keep(part.identity(subject), found)
        rows += list(part.rows(subject, found))
        examples += found
    notes = tuple(f"{each.path.name}: read as {each.kind}" for each in brought)
    reused = sum(found is not None for found in kept)
    return Outcome(rows=rows, examples=examples, cells=len(parts), reused=reused, notes=notes)


def measure_safety(model: str, seed: int) -> list[dict[str, Any]]:
    """The rows of a model on our own sets, with our list of words: what a recipe's bounds are about."""
    subject = subject_in(Path(model))
    parts = _parts(subject, Request(seed=seed), [], Path())
    return [row for part in parts for row in part.rows(subject, part.examples(subject, lambda _: None))]


def recognised(path: Path) -> Brought:
    """What a file that a user brings is; ValueError says what would have been."""
    if is_classifier(path):
        return Brought(path=path, kind=CLASSIFIER)
    if path.is_file():
        if path.suffix == ".txt":
            return Brought(path=path, kind=WORDS)
        if is_bbq(path):
            return Brought(path=path, kind=BBQ)
        if path.suffix in LABELLED_FILES and is_labelled(path):
            return Brought(path=path, kind=LABELLED)
    if not path.exists():
        raise ValueError(f"{path}: there is no such file; name a file or a folder")
    raise ValueError(
        f"{path}: is nothing that the suite safety reads; give BBQ's .jsonl, labelled texts (.jsonl, .csv or .tsv with text "
        "and label), a list of words (.txt, one a line), or the folder of a toxicity classifier"
    )


def _files(path: Path) -> list[Path]:
    """Itself, or the JSON lines in a folder that is no classifier's."""
    if path.is_dir() and not is_classifier(path):
        return sorted(path.glob("*.jsonl")) or [path]
    return [path]


def is_classifier(path: Path) -> bool:
    return (path / CARD_FILE).is_file()


def _parts(subject: Subject, request: Request, brought: Sequence[Brought], folder: Path) -> list[Part]:
    """`folder` keeps a classifier that is trained."""
    published = [_published(each.path, request) for each in brought if each.kind == BBQ]
    return [
        closed_book_part(subject),
        python_functions_part(subject),
        pairs_part(),
        bbq_part("bbq", own_items(), OURS),
        *published,
        weat_part(),
        toxicity_part(subject, _judge(brought, folder), request.seed),
    ]


def _published(path: Path, request: Request) -> Part:
    source = f"{path.name}, sha256 {file_sha256(path)[:16]}"
    return bbq_part(f"bbq_{path.stem.lower()}", _drawn(read_bbq(path), request), source)


def _judge(brought: Sequence[Brought], folder: Path) -> Scorer:
    found = [each for each in brought if each.kind != BBQ]
    if len(found) > 1:
        names = ", ".join(f"{each.path.name} ({each.kind})" for each in found)
        raise ValueError(f"--data: {names} would all judge toxicity; give one of them")
    if not found:
        return default_words()
    path = found[0].path
    if found[0].kind == WORDS:
        return read_words(path)
    from tasks.evaluation.toxicity_classifier import kept_classifier, load_classifier  # scipy and torch, where needed

    return load_classifier(path) if found[0].kind == CLASSIFIER else kept_classifier(path, folder)


def _drawn(items: Sequence[BbqItem], request: Request) -> list[BbqItem]:
    """At most `--limit` of each category and kind of context, drawn with the seed; published files have thousands."""
    groups: defaultdict[tuple[str, bool], list[BbqItem]] = defaultdict(list)
    for item in items:
        groups[item.category, item.ambiguous].append(item)
    return [
        item
        for key, some in sorted(groups.items())
        for item in random.Random(f"{request.seed} {key}").sample(some, min(request.limit, len(some)))
    ]
