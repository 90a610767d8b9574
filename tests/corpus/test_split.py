"""Groups are never torn apart, and a new document moves no other one."""

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.corpus.documents import SPLITS, Document, read_documents
from tasks.corpus.split import SplitConfig, assign, position, split


def documents(groups: int, each: int = 4) -> list[Document]:
    return [
        Document(id=f"{group}/{number}", group=f"group-{group}", kind="text", text=f"text {group} {number}\n")
        for number in range(each)
        for group in range(groups)
    ]


def test_every_group_lies_in_one_split_and_every_document_in_one_file(
    sealed: Callable[..., Path], tmp_path: Path
) -> None:
    given = documents(200)
    split(sealed(*given), tmp_path / "split", tmp_path / "refused", SplitConfig())
    found = {name: list(read_documents(tmp_path / "split" / f"{name}.jsonl")) for name in SPLITS}
    assert sorted(item.id for items in found.values() for item in items) == sorted(item.id for item in given)
    groups = [{item.group for item in items} for items in found.values()]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 200
    order = {item.id: number for number, item in enumerate(given)}
    assert all(
        [order[item.id] for item in items] == sorted(order[item.id] for item in items) for items in found.values()
    )


def test_shares_hold_on_many_groups() -> None:
    """Of 20,000 groups 6 % and 8 %: three deviations of a binomial are 0.5 and 0.6 points."""
    places = Counter(assign((f"group-{number}" for number in range(20_000)), SplitConfig()).values())
    assert places["valid"] / 20_000 == pytest.approx(0.06, abs=0.005)
    assert places["test"] / 20_000 == pytest.approx(0.08, abs=0.006)


def test_a_new_group_moves_no_other_one_and_another_seed_moves_many() -> None:
    groups = [f"group-{number}" for number in range(500)]
    before = assign(groups, SplitConfig())
    after = assign([*groups, "one more", "and another"], SplitConfig())
    assert {group: after[group] for group in groups} == before
    other = assign(groups, SplitConfig(seed=2))
    assert sum(before[group] != other[group] for group in groups) > 50


def test_the_order_of_groups_does_not_matter() -> None:
    groups = [f"group-{number}" for number in range(50)]
    shuffled = random.Random(1).sample(groups, len(groups))
    assert assign(groups, SplitConfig()) == assign(shuffled, SplitConfig())


@pytest.mark.parametrize("count", [3, 4, 5, 10])
def test_a_small_corpus_still_has_all_three_splits(count: int) -> None:
    for trial in range(200):
        places = assign((f"{trial}-{number}" for number in range(count)), SplitConfig())
        assert set(places.values()) == set(SPLITS)


def test_fewer_than_three_groups_end_in_one_sentence(sealed: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"^split: the text is 2 group\(s\) .* add more text, or lower limits.group_bytes"
    ):
        split(sealed(*documents(2)), tmp_path / "split", tmp_path / "refused", SplitConfig())
    assert not (tmp_path / "split").exists()


def test_positions_are_the_published_hash() -> None:
    """sha256("1\\na") begins 87 a4 ad d6: a change of the rule would silently mix old and new splits."""
    assert position("a", 1) == pytest.approx(int("87a4add6", 16) / 2**32, abs=1e-9)


def test_settings_out_of_range_are_refused() -> None:
    for shares in ({"valid_share": 0.0}, {"test_share": 0.0}, {"valid_share": 0.3, "test_share": 0.3}):
        with pytest.raises(ValueError, match=r"must be above 0, and 0\.5 together at most"):
            SplitConfig(**shares)
