"""GSM8K's answers (Cobbe et al. 2021): steps with calculator annotations, then the gold answer on a line of its own.

Natalia sold 48/2 = <<48/2=24>>24 clips in May.
#### 72
"""

import ast
import operator
import re
from collections.abc import Callable, Iterator
from fractions import Fraction

MARK = "####"
_ANNOTATION = re.compile(r"<<([^<>]*)>>")
_GOLD = re.compile(r"####\s*\$?(-?[\d,]*\.?\d+)\s*$")
_LONGEST = 200  # characters of an annotation
_SHOWN_DIGITS = 2  # results are rounded by hand: within half of a hundredth
_OPERATIONS: dict[type, Callable[[Fraction, Fraction], Fraction | int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
}


def gold_answer(answer: str) -> Fraction | None:
    """ "… #### 1,250" -> 1250; None where the answer ends with no number."""
    found = _GOLD.search(answer)
    return Fraction(found[1].replace(",", "")) if found else None


def annotations(answer: str) -> Iterator[bool | None]:
    """Of each annotation, whether its sum comes out: <<48/2=24>> -> True; None where it is no arithmetic."""
    for content in _ANNOTATION.findall(answer):
        left, _, right = content.rpartition("=")
        worked, said = _value(left), _value(right)
        yield None if worked is None or said is None else _agree(worked, said)


def without_annotations(answer: str) -> str:
    """Without what a calculator was asked: "48/2 = <<48/2=24>>24" -> "48/2 = 24"."""
    return _ANNOTATION.sub("", answer)


def _agree(worked: Fraction, said: Fraction) -> bool:
    return abs(worked - said) <= Fraction(1, 2 * 10**_SHOWN_DIGITS)


def _value(expression: str) -> Fraction | None:
    """The value of a sum of numbers; None for anything else."""
    plain = re.sub(r"(?<![\d.])0+(?=\d)", "", re.sub(r"[$,\s]", "", expression).replace("%", "*0.01").replace("x", "*"))
    if not plain or len(plain) > _LONGEST or not re.fullmatch(r"[-+*/().\d]+", plain) or "**" in plain:
        return None
    try:
        return _worked(ast.parse(plain, mode="eval").body)
    except (SyntaxError, ZeroDivisionError, ValueError, KeyError, RecursionError):
        return None


def _worked(node: ast.expr) -> Fraction:
    if isinstance(node, ast.Constant):
        return Fraction(str(node.value))
    if isinstance(node, ast.UnaryOp):
        inner = _worked(node.operand)
        return -inner if isinstance(node.op, ast.USub) else inner
    if isinstance(node, ast.BinOp):
        return Fraction(_OPERATIONS[type(node.op)](_worked(node.left), _worked(node.right)))
    raise ValueError(ast.dump(node))
