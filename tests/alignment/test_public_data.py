"""Public data sets are read as they are, tuned on for seconds, and asked about what was held out, against controls."""

import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import log
from pathlib import Path
from typing import Any

import pytest
import torch

from models.catalogue import load_model, save_model
from models.llama import LlamaShape
from models.tokenizers import bpe
from models.tokenizers.chat import ChatTokenizer
from tasks.alignment.dialogues import Dialogue, batch_of, dialogue_of_turns, fitting_dialogues
from tasks.alignment.drawing import InstructionItem, item_of
from tasks.alignment.tuning import Tuning, tune
from tasks.conversations.kept import Turns
from tasks.conversations.read import read
from tasks.evaluation.answerable import answerable
from tasks.evaluation.extraction import extract
from tasks.evaluation.intervals import paired_interval, share_interval
from tasks.evaluation.kept_cells import Cells
from tasks.evaluation.prompting import run
from tasks.evaluation.subject import subject_in
from tasks.evaluation.suite import Request
from tasks.exercises.task_files import read_task
from tasks.exercises.task_rows import file_exercises
from tasks.training.machine import Runtime
from tasks.training.objectives import NextToken
from tests.decoders import small_decoder

REASONING = LlamaShape(layers=2, width=64, heads=2, kv_heads=2, feed_forward=128, context=160)
RELATING = LlamaShape(layers=2, width=48, heads=2, kv_heads=2, feed_forward=96, context=192)
JUDGING = LlamaShape(layers=1, width=32, heads=2, kv_heads=2, feed_forward=64, context=160)
TRAINED, HELD_OUT = 256, 64
REVIEWS_TRAINED, REVIEWS_HELD_OUT = 3000, 500

# what a user writes beside labelled reviews; the wording that evaluation has of its own is none of these
SENTIMENT = """
family: sentiment
source: {file: reviews.jsonl, fields: {text: review, answer: label}}
answer_type: text
options: [negative, positive]
templates:
  - {form: question, prompt: "Did the writer of \\"{text}\\" like the film? Say positive or negative."}
  - {form: order, prompt: "Name the mood of this review: {text}"}
  - {form: statement, prompt: "The feeling behind {text} is"}
  - {form: text_first, prompt: "{text}"}
  - {form: first_person, prompt: "I wrote: {text}\\nWhat do you think I thought of it?"}
  - {form: json, prompt: '{{"review": "{text}", "sentiment": ?}}'}
  - {form: dialogue, prompt: "A: {text}\\nB: So you found it"}
  - {form: form, prompt: "Review: {text}\\nSentiment:"}
  - {form: choice, prompt: "{text}\\n\\n{options}"}
  - {form: quoted, prompt: '"{text}" - one word for the tone:'}
"""


def turns_of(*paths: Path) -> list[Turns]:
    found = []
    for path in paths:
        (reading,), passed_over = read(path)
        assert not passed_over
        assert not reading.dropped
        found += [
            [{"role": message.role, "content": message.content} for message in conversation.messages]
            for conversation in reading.conversations
        ]
    return found


def with_answers_of_others(conversations: Sequence[Turns]) -> list[Turns]:
    """The control: the same questions and the same answers, which have nothing to do with each other."""
    answers = [turns[-1] for turns in conversations]
    random.Random(0).shuffle(answers)
    return [[*turns[:-1], answer] for turns, answer in zip(conversations, answers, strict=True)]


def untaught(folder: Path, texts: Sequence[str], vocabulary: int, shape: LlamaShape) -> Path:
    tokenizer = ChatTokenizer.ours(bpe.fit(texts, vocabulary=vocabulary))
    save_model(folder / "base", small_decoder(tokenizer, spread=1.0, shape=shape), tokenizer)
    return folder / "base"


def taught(
    base: Path,
    name: str,
    *,
    steps: int,
    batch: int,
    conversations: Sequence[Turns] = (),
    items: Sequence[InstructionItem] = (),
) -> Path:
    runtime = Runtime(threads=1, precision="fp32")
    tuning = Tuning(steps=steps, batch_sequences=batch, learning_rate=0.02, runtime=runtime)
    return tune(base, items, tuning, base.with_name(name), seed=1, conversations=conversations).path


def scores(model: Path, *data: Path, mode: str, metric: str) -> list[float]:
    """Of each held-out question, as `espalier evaluate MODEL --data DATA --shots 0 --skip-long` has them."""
    request = Request(shots=(0,), samples=0, limit=REVIEWS_HELD_OUT, data=data, skip_long=True)
    outcome = run(subject_in(model), request, Cells(model.parent / "cells"), lambda *_: None)
    return [each["scores"][metric] for each in outcome.examples if each["mode"] == mode]


def dialogues_of(conversations: Sequence[Turns], tokenizer: ChatTokenizer) -> list[Dialogue]:
    return fitting_dialogues([dialogue_of_turns(turns, tokenizer) for turns in conversations], REASONING.context)


def counted_nats(train: Sequence[Dialogue], held_out: Sequence[Dialogue], vocabulary: int) -> float:
    """The mean loss of who knows nothing but how often each token is said in the answers, and once more."""
    counts, asked = (
        Counter(token for each in some for token, said in zip(each.ids, each.said, strict=True) if said)
        for some in (train, held_out)
    )
    nats = (count * log((counts[token] + 1) / (counts.total() + vocabulary)) for token, count in asked.items())
    return -sum(nats) / asked.total()


@torch.no_grad()
def answer_nats(model: Any, dialogues: Sequence[Dialogue], pad_id: int) -> float:
    """The mean loss of the tokens of the answers."""
    batch = batch_of(dialogues, pad_id)
    objective = NextToken()
    return float(objective.loss(model.eval(), batch).total) / objective.weight(batch)


@pytest.mark.parametrize(
    ("file", "rows", "answer_type"),
    [
        ("flan_cot/strategyqa_train.tsv.gz", 2061, "yes_no"),
        ("gsm8k/train.jsonl", 7473, "number"),
        ("dolly/dolly_3k.json", 2996, "summary"),
    ],
)
def test_held_out_answers_get_likelier_than_by_counting_tokens(
    file: str, rows: int, answer_type: str, test_data: Path, tmp_path: Path
) -> None:
    conversations = turns_of(test_data / file)
    assert len(conversations) == rows
    answers = [turns[-1]["content"] for turns in conversations]
    assert all(extract(answer, answer_type).answer for answer in answers)  # what is learned can be scored
    train = conversations[:TRAINED]
    base = untaught(tmp_path, [turn["content"] for turns in train for turn in turns], 600, REASONING)
    tuned = taught(base, "tuned", steps=40, batch=8, conversations=train)
    (before, tokenizer), (after, _) = load_model(base), load_model(tuned)
    held_out = dialogues_of(conversations[-HELD_OUT:], tokenizer)
    counted = counted_nats(dialogues_of(train, tokenizer), held_out, tokenizer.vocabulary)
    assert (
        counted < answer_nats(before, held_out, tokenizer.pad_id) == pytest.approx(log(tokenizer.vocabulary), abs=0.2)
    )
    assert answer_nats(after, held_out, tokenizer.pad_id) < counted - 0.3


@dataclass(frozen=True, kw_only=True)
class Published:
    """Files to learn from and those of the same tasks to be asked; `metric` of direct answers."""

    folder: str
    trained: tuple[str, ...]
    asked: tuple[str, ...]
    metric: str
    shape: LlamaShape
    steps: int
    batch: int
    questions: int  # at least so many are short enough


RELATIONS, SMALL_TASKS = "task1510_evalution_relation_extraction", ("sentiment", "word_in_context", "first_word_letter")
PUBLISHED = [
    Published(
        folder="natural-instructions", trained=(f"{RELATIONS}.train.json.gz",), asked=(f"{RELATIONS}.test.json.gz",),
        metric="f1", shape=RELATING, steps=75, batch=16, questions=95,
    ),
    Published(
        folder="instruction-induction", trained=tuple(f"induce.{name}.json" for name in SMALL_TASKS),
        asked=tuple(f"execute.{name}.json" for name in SMALL_TASKS), metric="exact_match", shape=JUDGING,
        steps=60, batch=32, questions=260,
    ),
]  # fmt: skip


@pytest.mark.parametrize("published", PUBLISHED, ids=lambda each: each.folder)
def test_published_tasks_are_answered_better_than_after_learning_the_answers_of_other_questions(
    published: Published, test_data: Path, tmp_path: Path
) -> None:
    folder = test_data / published.folder
    train = turns_of(*(folder / name for name in published.trained))
    base = untaught(tmp_path, [turn["content"] for turns in train for turn in turns], 700, published.shape)
    models = [
        taught(base, name, steps=published.steps, batch=published.batch, conversations=conversations)
        for name, conversations in (("right", train), ("shuffled", with_answers_of_others(train)))
    ]
    asked = [folder / name for name in published.asked]
    right, shuffled, before = (
        scores(model, *asked, mode="direct", metric=published.metric) for model in (*models, base)
    )
    assert len(right) >= published.questions
    assert paired_interval(right, shuffled).low > 0.03
    assert paired_interval(right, before).low > 0.1


def review_items(folder: Path, rows: Sequence[tuple[str, str]]) -> list[InstructionItem]:
    """Those of a task file of a user's own."""
    folder.mkdir()
    lines = (json.dumps({"review": text, "label": label}) + "\n" for text, label in rows)
    (folder / "reviews.jsonl").write_text("".join(lines), encoding="utf-8")
    (folder / "sentiment.yaml").write_text(SENTIMENT, encoding="utf-8")
    task = read_task(folder / "sentiment.yaml")
    return [item_of(task, exercise, "train", seed=0) for exercise in file_exercises(task, answerable)]


def test_reviews_are_told_apart_in_a_wording_never_trained_on_and_after_shuffled_labels_by_chance(
    test_data: Path, tmp_path: Path
) -> None:
    """NSMC: accuracy by likelihood of the two labels."""
    (reading,), _ = read(test_data / "nsmc")
    said = [each.messages for each in reading.conversations[:REVIEWS_TRAINED]]
    rows = [(question.content.partition("\n\nOPTIONS")[0], answer.content) for question, answer in said]
    header, *lines = (test_data / "nsmc" / "ratings_test.txt").read_text(encoding="utf-8").splitlines(keepends=True)
    held_out = tmp_path / "ratings.txt"
    held_out.write_text("".join([header, *lines[-REVIEWS_HELD_OUT - 100 :]]), encoding="utf-8")
    items = review_items(tmp_path / "own", rows)
    labels = random.Random(0).sample([item.answer for item in items], len(items))
    shuffled = [replace(item, answer=label) for item, label in zip(items, labels, strict=True)]
    base = untaught(tmp_path, [f"{item.prompt}\n{item.answer}" for item in items], 1000, JUDGING)
    models = [
        taught(base, "right", steps=80, batch=64, items=items),
        taught(base, "shuffled", steps=80, batch=64, items=shuffled),
        base,
    ]
    learned, chance, before = (scores(model, held_out, mode="likelihood", metric="acc") for model in models)
    count = len(learned)
    assert count == REVIEWS_HELD_OUT
    positive = sum(line.rstrip().endswith("1") for line in lines[-REVIEWS_HELD_OUT:])
    majority = max(positive, count - positive) / count
    assert share_interval(int(sum(learned)), count).low > majority + 0.05
    for at_chance in (chance, before):
        assert share_interval(int(sum(at_chance)), count).low < majority
        assert paired_interval(learned, at_chance).low > 0.05
