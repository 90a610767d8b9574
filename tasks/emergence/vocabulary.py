"""The characters that the abilities are written in; a token is a character, so that nothing depends on a tokenizer."""

import string
from collections.abc import Sequence

CHARACTERS = string.digits + string.ascii_lowercase + "ABCD" + "+=?: "
PAD_ID, END_ID = 0, 1
_FIRST = 2
VOCABULARY = _FIRST + len(CHARACTERS)
_IDS = {character: _FIRST + place for place, character in enumerate(CHARACTERS)}


def encode(text: str) -> list[int]:
    """encode("12") -> [3, 4]; ValueError for a character that is none of ours."""
    try:
        return [_IDS[character] for character in text]
    except KeyError as error:
        raise ValueError(f"vocabulary: {error} is not one of {CHARACTERS!r}") from error


def decode(ids: Sequence[int]) -> str:
    """The text up to the end token; padding is left out."""
    ids = list(ids)
    ids = ids[: ids.index(END_ID)] if END_ID in ids else ids
    return "".join(CHARACTERS[number - _FIRST] for number in ids if number != PAD_ID)
