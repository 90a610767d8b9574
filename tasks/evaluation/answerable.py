"""Whether an answer of a data set could be given at all: its own extractor must find it in itself."""

import string
from collections.abc import Mapping, Sequence

from tasks.evaluation.extraction import CODE, LETTERS, extract
from tasks.evaluation.golds import golds_of, is_right

MENDS: Mapping[str, str] = {
    "number": "one number in digits (a whole one without .0)",
    "choice": "the letter of an option",
    "yes_no": "yes or no",
    "letters": "the letters alone",
    "text": "one line",
    "summary": "a text",
}


def answerable(answer: str, answer_type: str, options: Sequence[str] = ()) -> tuple[bool, str]:
    """(False, why and how to mend it) for a right answer that would be judged wrong if a model said it word for word.

    answerable("seven", "number") -> (False, "no model could be right, since as number nothing is found in 'seven'; …")
    """
    if answer_type == CODE:  # it is the test of a program, and never said
        return True, ""
    letters = string.ascii_uppercase[: len(options)] or LETTERS
    found = extract(answer, answer_type, letters=letters).answer
    try:
        golds = golds_of(answer, answer_type, letters, options)
        right = found is not None and is_right(found, golds, answer_type)
    except ValueError:
        right = False
    if right:
        return True, ""
    return False, (
        f"no model could be right, since as {answer_type} {'nothing' if found is None else f'{found!r}'} is found in "
        f"{answer!r}; write {MENDS[answer_type]} there"
    )
