"""Text whose structure is known because it was put there: relations, topics, leanings. Ids are words, 0 ends a sentence."""

import numpy as np
import numpy.typing as npt

END = 0
Ids = npt.NDArray[np.int64]


def sentences(rows: Ids) -> Ids:
    """One stream in which each row is a sentence."""
    return np.concatenate([rows, np.full((len(rows), 1), END)], axis=1).ravel()


class Relations:
    """Words with a thing and a form (king, queen; man, woman); each thing and each form has words of its own around it."""

    things, forms, words_around = 12, 4, 3

    def __init__(self, count: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        thing, form = rng.integers(self.things, size=count), rng.integers(self.forms, size=count)
        thing_words = 1 + self.things * self.forms
        form_words = thing_words + self.things * self.words_around
        self.vocabulary = form_words + self.forms * self.words_around
        around = rng.integers(self.words_around, size=(2, count))
        self.stream = sentences(
            np.stack(
                [
                    thing_words + thing * self.words_around + around[0],
                    self.word(thing, form),
                    form_words + form * self.words_around + around[1],
                ],
                axis=1,
            )
        )

    def word(self, thing: Ids | int, form: Ids | int) -> Ids:
        return np.asarray(1 + thing * self.forms + form)

    def questions(self) -> Ids:
        """Every a : b :: c : d of two things and two forms."""
        found = [
            [self.word(one, form), self.word(one, other_form), self.word(other, form), self.word(other, other_form)]
            for one in range(self.things)
            for other in range(self.things)
            for form in range(self.forms)
            for other_form in range(self.forms)
            if one != other and form != other_form
        ]
        return np.array(found)


class Topics:
    """Documents of one topic each; a tenth of their words belong to no topic."""

    topics, words, common, length = 5, 20, 10, 20

    def __init__(self, count: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        topic = rng.integers(self.topics, size=(count, 1))
        own = 1 + topic * self.words + rng.integers(self.words, size=(count, self.length))
        shared = 1 + self.topics * self.words + rng.integers(self.common, size=own.shape)
        self.stream = sentences(np.where(rng.random(own.shape) < 0.1, shared, own))
        self.vocabulary = 1 + self.topics * self.words + self.common

    def topic_of(self, word: int) -> int:
        return (word - 1) // self.words


class Leanings:
    """Targets of two sets in sentences with words of two groups: `bias` 1 all with their own group, 0 half with either."""

    targets, group, attributes, repeats = 40, 12, 6, 20

    def __init__(self, bias: float, seed: int) -> None:
        rng = np.random.default_rng(seed)
        target = np.repeat(np.arange(2 * self.targets), self.repeats)
        with_own = np.tile(np.arange(self.repeats) < round(self.repeats * (1 + bias) / 2), 2 * self.targets)
        side = np.where(with_own, target // self.targets, 1 - target // self.targets)
        first = 1 + 2 * self.targets
        around = first + side[:, None] * self.group + rng.integers(self.group, size=(len(target), 4))
        rows = np.concatenate([around[:, :2], 1 + target[:, None], around[:, 2:]], axis=1)
        self.stream = sentences(rng.permutation(rows))
        self.vocabulary = first + 2 * self.group

    def sets(self) -> tuple[Ids, Ids, Ids, Ids]:
        """X, Y, A and B."""
        first = 1 + 2 * self.targets
        starts = ((1, self.targets), (1 + self.targets, self.targets))
        groups = ((first, self.attributes), (first + self.group, self.attributes))
        x, y, a, b = (np.arange(start, start + count) for start, count in (*starts, *groups))
        return x, y, a, b
