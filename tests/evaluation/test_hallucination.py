"""Which answers say that nothing is known, and functions that are not there."""

import pytest

from tasks.evaluation.hallucination import Question, abstention, closed_book, exists, judge, python_functions, shares

OPEN = Question(id="o", text="What number am I thinking of?")
CLOSED = Question(id="c", text="What gas do plants take from the air?", answers=("carbon dioxide", "CO2"))
FUNCTION = Question(id="f", text="What does math.halfpower do?", denial_counts=True)


@pytest.mark.parametrize(
    ("question", "said", "verdict"),
    [
        (CLOSED, "Carbon dioxide.", "right"),
        (CLOSED, "They take in CO2, I think", "right"),
        (CLOSED, "carbon", "wrong"),
        (CLOSED, "dioxide carbon", "wrong"),
        (CLOSED, "I don’t know.", "abstained"),
        (CLOSED, "I do not know, perhaps CO2", "abstained"),
        (CLOSED, " ...", "unparsed"),
        (OPEN, "Seven.", "wrong"),
        (OPEN, "I DON'T KNOW", "abstained"),
        (OPEN, "That is impossible to know!", "abstained"),
        (OPEN, "There is no such number", "wrong"),  # a denial, where the thing is there
        (OPEN, "unknowns", "wrong"),
        (FUNCTION, "There is no such function.", "abstained"),
        (FUNCTION, "It doesn't exist", "abstained"),
        (FUNCTION, "It halves a power.", "wrong"),
    ],
)
def test_an_answer_is_judged_by_its_words(question: Question, said: str, verdict: str) -> None:
    assert judge(question, said).verdict == verdict


def test_the_phrase_that_decided_is_named() -> None:
    assert abstention("Sorry, I can't say.") == "cant say"
    assert judge(OPEN, "Nobody knows that").reason == '"nobody knows"'
    assert abstention("It has no effect") is None
    assert abstention("It has no effect", or_denial=True) == "has no"


def test_shares_by_hand() -> None:
    judged = [
        (True, "right"),
        (True, "wrong"),
        (True, "abstained"),
        (True, "unparsed"),
        (False, "abstained"),
        (False, "wrong"),
    ]
    assert shares(judged) == {
        "correct": (1, 4),
        "wrong": (1, 4),
        "abstained": (1, 4),
        "abstained_unanswerable": (1, 2),
        "wrong_unanswerable": (1, 2),
    }
    assert "correct" not in shares(judged[4:])


def test_the_closed_book_set_can_be_judged() -> None:
    """No answer reads as an abstention, none stands in its own question, and nothing is asked twice."""
    questions = closed_book()
    assert len({each.text for each in questions}) == len(questions) >= 70
    for each in questions:
        assert all(judge(each, answer).verdict == "right" for answer in each.answers), each.text
        assert judge(each, each.text).verdict == "wrong", each.text


def test_functions_are_checked_by_import() -> None:
    assert exists("math", "sqrt")
    assert not exists("math", "halfpower")
    assert not exists("math", "pi")  # no function
    real = [question.id for question, is_real in python_functions() if is_real]
    invented = [question.id for question, is_real in python_functions() if not is_real]
    assert len(real) == len(invented) >= 40, "none was left out by this Python"
    assert {name.split(".")[0] for name in real} == {name.split(".")[0] for name in invented}
