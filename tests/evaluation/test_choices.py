"""Choices by log-likelihood, and the figures of a text that follow from one another."""

import math

import pytest

from tasks.evaluation.choices import (
    bits_per_byte,
    byte_perplexity,
    chosen,
    chosen_by_bytes,
    chosen_by_characters,
    word_perplexity,
)


def test_the_short_choice_by_likelihood_and_the_long_one_per_character() -> None:
    nats, choices = (-2.0, -6.0), (" a", " bbbbbbbbbb")
    assert chosen(nats) == 0
    assert chosen_by_characters(nats, choices) == 1  # -6 / 10 > -2 / 1: the space before a choice is none of it
    assert chosen_by_characters(nats, ("a", "bbbbbbbbbb")) == 1
    # with the delimiter: -1.1 / 2 against -6 / 11 is the second, without it -1.1 / 1 against -6 / 10 too; -0.58 tells
    assert chosen_by_characters((-0.58, -6.0), choices) == 0
    assert chosen_by_characters((-1.15, -6.0), ("a", " bbbbbbbbb")) == 1


def test_bytes_and_characters_differ_where_a_character_has_more_than_one_byte() -> None:
    nats, choices = (-3.0, -5.0), ("가나", "cccc")  # per character -1.5 and -1.25, per byte -0.5 and -1.25
    assert chosen_by_characters(nats, choices) == 1
    assert chosen_by_bytes(nats, choices) == 0


def test_equal_choices_are_decided_for_the_first_and_an_empty_one_is_refused() -> None:
    assert chosen([-1.0, -1.0]) == 0
    with pytest.raises(ValueError, match="choice 1: it is empty"):
        chosen_by_characters((-1.0, -1.0), (" a", " "))


def test_bits_per_byte_and_both_perplexities_are_one_figure() -> None:
    assert byte_perplexity(1.3394) == pytest.approx(2.5304, abs=1e-3)  # of the harness's own tests
    nats, count, words = 12_345.6, 9_876, 1_750
    bits = bits_per_byte(nats, count)
    assert bits == pytest.approx(nats / math.log(2) / count)
    assert byte_perplexity(bits) == pytest.approx(math.exp(nats / count))
    assert word_perplexity(bits, count, words) == pytest.approx(math.exp(nats / words))
    assert word_perplexity(bits, count, words) == pytest.approx(byte_perplexity(bits) ** (count / words))
