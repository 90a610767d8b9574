"""Answers compared as words, in any language; and what can be answered without reading the question."""

from collections.abc import Callable
from typing import Any

import pytest

from models.sampling import SamplingConfig
from models.tokenizers.chat import ChatTokenizer
from tasks.evaluation.answers import (
    COPY_RULES,
    ask,
    by_task,
    exact_match,
    normalised_words,
    shallow_rules,
    token_f1,
)
from tasks.evaluation.overlap import word_f1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("  The  Answer,\n(is) three. ", ("the", "answer", "is", "three")),
        ("don't re-use", ("don't", "re-use")),  # signs inside of a word stay
        ("Straße", ("strasse",)),  # case is folded, not only lowered
        ("ﬁve ＴＨＲＥＥ ²", ("five", "three", "2")),  # NFKC
        ("그리고, 모든 국민은!", ("그리고", "모든", "국민은")),
        ("\u1100\u1161", ("\uac00",)),  # a syllable from its letters
        ("「はい」。", ("はい",)),
        ("¿Qué?", ("qué",)),
        ("a+b = c", ("a+b", "=", "c")),  # signs of mathematics are no punctuation
        ("\u200bhidden\u200b", ("hidden",)),
        ("...", ("...",)),  # all signs: the text itself
        ("== !", ("==",)),
        ("", ()),
        (" \n", ()),
    ],
)
def test_words_without_case_and_outer_signs(text: str, words: tuple[str, ...]) -> None:
    assert normalised_words(text) == words


@pytest.mark.parametrize(
    ("said", "wanted", "same"),
    [
        ("Three.", "three", True),
        ("three words", "three  Words!", True),
        ("three", "four", False),
        ("three four", "four three", False),
        ("", "three", False),
        ("...", "!!!", False),
        ("그리고.", "그리고", True),
        ("그리고", "그러나", False),
    ],
)
def test_exact_match(said: str, wanted: str, same: bool) -> None:
    assert exact_match(said, wanted) == exact_match(wanted, said) == float(same)


@pytest.mark.parametrize(
    ("said", "wanted", "f1"),
    [
        ("the red cat", "the cat", 2 * (2 / 3) * 1 / (2 / 3 + 1)),
        ("the the the", "the", 0.5),  # a multiset: one match of three
        ("a b", "a b", 1.0),
        ("a b", "b a", 1.0),
        ("a", "b", 0.0),
        ("", "a", 0.0),
        ("", "", 0.0),
    ],
)
def test_f1_over_words(said: str, wanted: str, f1: float) -> None:
    assert token_f1(said, wanted) == pytest.approx(f1)
    assert word_f1(tuple(wanted.split()), tuple(said.split())) == pytest.approx(f1)


def test_each_copy_rule_by_hand() -> None:
    text = "One longest of a five"
    assert {name: rule(text) for name, rule in COPY_RULES.items()} == {
        "the whole text": text,
        "the first word": "One",
        "the last word": "five",
        "the longest word": "longest",
        "the shortest word": "a",
        "the middle word": "of",
    }


def item(task: str, text: str, answer: str, prompt: str = "") -> dict[str, Any]:
    return {"id": text, "task": task, "family": task, "prompt": prompt or f"? {text}", "input": text, "answer": answer}


TRAIN = [
    item("last", "a b c", "c"), item("last", "d e", "e"), item("last", "f", "f"),
    item("colour", "sky", "blue"), item("colour", "sea", "Blue"), item("colour", "deep sea", "blue"),
    item("colour", "red", "red"),
]  # fmt: skip
UNSEEN = [
    item("last", "g h", "h"), item("last", "i j", "i"), item("last", "c k", "c"), item("last", "l", "l"),
    item("colour", "night", "blue"), item("colour", "green", "green"),
    item("new", "x y", "x"), item("new", "z w", "z"), item("new", "v", "q"), item("new", "u", "q"), item("new", "t", "q"),
]  # fmt: skip


def test_nothing_is_copied_from_a_blank_text() -> None:
    assert {rule(" ").strip() for rule in COPY_RULES.values()} == {""}


def test_shallow_rules_are_chosen_on_the_training_items_and_scored_on_unseen_ones() -> None:
    found = shallow_rules(TRAIN, UNSEEN)
    assert list(found) == ["colour", "last", "new"]
    # three times the last word in training; on the unseen "g h" and "l" of four
    assert found["last"]["copy"] == {"rule": "the last word", "exact_match": 0.5, "token_f1": 0.5}
    # c, e, f each once: the first of them; right for "c k"
    assert found["last"]["constant"] == {"answer": "c", "exact_match": 0.25, "token_f1": 0.25}
    assert found["colour"]["constant"] == {"answer": "blue", "exact_match": 0.5, "token_f1": 0.5}
    # "the whole text" is right for red in training, and for green here
    assert found["colour"]["copy"]["exact_match"] == 0.5


def test_a_task_that_is_not_trained_gets_its_rules_from_the_unseen_items_in_their_favour() -> None:
    found = shallow_rules(TRAIN, UNSEEN)["new"]
    assert found["constant"] == {"answer": "q", "exact_match": 0.6, "token_f1": 0.6}
    assert found["copy"]["rule"] == "the first word"
    assert found["copy"]["exact_match"] == 0.4


def test_rules_see_the_text_and_never_the_question() -> None:
    """The answer stands in every prompt and in no text: a rule that peeked would be right."""
    train = [item("t", f"word{number}", f"secret{number}", prompt=f"secret{number}") for number in range(10)]
    unseen = [item("t", f"other{number}", f"hidden{number}", prompt=f"hidden{number}") for number in range(10)]
    found = shallow_rules(train, unseen)["t"]
    assert found["copy"]["exact_match"] == found["constant"]["exact_match"] == 0


def test_partial_credit_of_a_copied_text() -> None:
    train = [item("t", "a b c d", "a b c d")] * 2
    found = shallow_rules(train, [item("t", "a b c d", "a b")])["t"]["copy"]
    assert (found["rule"], found["exact_match"]) == ("the whole text", 0)
    assert found["token_f1"] == pytest.approx(2 * 2 / 6)


def test_items_are_grouped_by_task_in_their_order() -> None:
    groups = by_task(UNSEEN)
    assert {name: len(items) for name, items in groups.items()} == {"colour": 2, "last": 4, "new": 5}
    assert [each["input"] for each in groups["last"]] == ["g h", "i j", "c k", "l"]


def test_answers_come_in_the_order_of_the_questions_whatever_the_batches(
    tokenizer: ChatTokenizer, small_model: Callable[..., Any]
) -> None:
    model = small_model(2)
    prompts = ["short", "a longer question", "x", "the longest of them all"]
    config = SamplingConfig(max_tokens=6, temperature=0.0)
    together = ask(model, tokenizer, prompts, config)
    assert together == ask(model, tokenizer, prompts, config, batch_sequences=1)
    assert together == [ask(model, tokenizer, [prompt], config)[0] for prompt in prompts]
    for answer in together:
        assert len(answer.tokens) <= 6
        assert answer.finished == (answer.tokens[-1] == tokenizer.end_id)
        assert answer.text == tokenizer.decode(answer.tokens).strip()
        assert not any(token in answer.text for token in ("<|end|>", "<|user|>"))
