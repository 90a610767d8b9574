"""Every maker of exercises by its name, as task files and suites call it."""

from collections.abc import Mapping

from tasks.exercises.arithmetic import arithmetic
from tasks.exercises.exercise import Maker
from tasks.exercises.symbolic import coin_flip, last_letters

MAKERS: Mapping[str, Maker] = {
    "arithmetic": arithmetic,
    "last_letters": last_letters,
    "coin_flip": coin_flip,
}
