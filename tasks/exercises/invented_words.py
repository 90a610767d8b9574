"""Words that do not exist: nobody can know anything about them, and nobody has read their letters before."""

import random

STARTS = (
    "bro",
    "dru",
    "fle",
    "glo",
    "jav",
    "kre",
    "mox",
    "nuv",
    "plo",
    "quo",
    "ruz",
    "ska",
    "tri",
    "vel",
    "wix",
    "zan",
)
MIDDLES = ("bi", "da", "fo", "gu", "ka", "mo", "pu", "ri", "su", "ta", "ve", "zo")
ENDS = ("b", "d", "f", "k", "lt", "m", "nk", "p", "rv", "th", "x", "zz")


def invented_word(chance: random.Random) -> str:
    """A start, one middle and an end: "velmonk"."""
    return chance.choice(STARTS) + chance.choice(MIDDLES) + chance.choice(ENDS)
