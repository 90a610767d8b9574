"""A text is cut where a reader would cut it, and the pieces put together are the text."""

import io
import random

from tasks.corpus.sections import Piece, pieces


def cut(text: str, document_bytes: int = 200, max_line_characters: int = 1000) -> list[Piece]:
    lines = io.StringIO(text, newline="")
    return list(pieces(lines, document_bytes=document_bytes, max_line_characters=max_line_characters))


def test_pieces_put_together_are_the_text_and_know_where_they_start() -> None:
    chance = random.Random(3)
    for _ in range(200):
        parts = ["word ", "\n", "\n\n", "\r\n", "# Head\n", "한국어 ", "x" * 90, "\r", "😉"]
        text = "".join(chance.choices(parts, k=chance.randrange(400)))
        found = cut(text)
        assert "".join(piece.text for piece in found) == text
        at = 0
        for piece in found:
            assert piece.start == at
            assert not piece.endless
            at += len(piece.text.encode())


def test_a_piece_ends_at_a_blank_line_or_before_a_heading() -> None:
    paragraph = "A sentence of about forty characters here.\n" * 3 + "\n"
    assert all(piece.text.endswith("\n\n") for piece in cut(paragraph * 20))
    section = paragraph + "# A heading\n\n" + paragraph
    assert [piece.text.startswith("# A heading") for piece in cut(section * 3)][1:4] == [True, True, True]


def test_a_text_without_paragraphs_is_cut_at_line_ends() -> None:
    text = "A line of the poem without a pause.\n" * 100
    assert all(len(piece.text) <= 2 * 200 + 40 for piece in cut(text))
    assert all(piece.text.endswith("\n") for piece in cut(text))


def test_an_endless_line_is_given_in_part_and_the_text_goes_on_after_it() -> None:
    text = "before\n" + "x" * 5000 + "\nafter\n"
    assert [(piece.text[:10], len(piece.text), piece.endless) for piece in cut(text)] == [
        ("before\n", 7, False),
        ("x" * 10, 1000, True),
        ("after\n", 6, False),
    ]
