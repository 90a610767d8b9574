"""Measures of models whose answers are known: a lookup that is always right, always wrong, or has no opinion."""

import math
import re
from collections.abc import Iterator, Sequence

import pytest
import torch

from tasks.emergence.abilities import Ability, Item, distinct_items, is_held_out
from tasks.emergence.item_batches import ItemBatches, packed
from tasks.emergence.measures import edit_distance, greedy_answers, likelihoods, measure
from tasks.emergence.study import CONTEXT, build
from tasks.emergence.vocabulary import END_ID, VOCABULARY, decode, encode
from tasks.training.batches import IGNORED, Batch


@pytest.mark.parametrize(
    ("found", "wanted", "distance"),
    [
        ("", "", 0),
        ("125", "125", 0),
        ("", "125", 3),
        ("25", "125", 1),
        ("1255", "125", 1),
        ("215", "125", 2),
        ("9", "1", 1),
    ],
)
def test_edit_distance_by_hand(found: str, wanted: str, distance: int) -> None:
    assert edit_distance(found, wanted) == edit_distance(wanted, found) == distance


def uncertain_model() -> torch.nn.Module:
    """A decoder whose embedding, which is its head too, is zero: every token is equally likely."""
    model: torch.nn.Module = build("4k", 0)
    with torch.no_grad():
        model.get_input_embeddings().weight.zero_()  # type: ignore[operator, union-attr]
    return model


def test_a_model_without_an_opinion_has_the_nats_and_the_brier_score_of_chance() -> None:
    items = distinct_items(Ability(name="label mapping", digits=2), 5, seed=0, held_out=True)
    nats, brier = likelihoods(uncertain_model(), items)
    assert nats == pytest.approx([math.log(VOCABULARY)] * 5, rel=1e-5)
    assert brier == pytest.approx([1 - 1 / 4] * 5, rel=1e-5)


def test_the_brier_score_is_that_of_the_chances_among_the_choices() -> None:
    """The same figure from the model's logits, one item at a time and without padding."""
    model = build("4k", 1).eval()
    items = distinct_items(Ability(name="label mapping", digits=3), 4, seed=0, held_out=True)
    _, brier = likelihoods(model, items)
    for each, found in zip(items, brier, strict=True):
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([encode(each.prompt)])).logits[0, -1]
        chances = logits[encode("ABCD")].softmax(0).tolist()
        expected = sum((chance - (choice == each.answer)) ** 2 for choice, chance in zip("ABCD", chances, strict=True))
        assert found == pytest.approx(expected, rel=1e-4)


def test_nats_do_not_depend_on_what_stands_beside_an_item_in_its_batch() -> None:
    model = build("4k", 1)
    ability = Ability(name="addition", digits=2, mode="scratchpad")
    items = [*distinct_items(ability, 3, seed=0, held_out=True), Item(prompt="1+2=", target="3")]
    together, _ = likelihoods(model, items)
    assert together == pytest.approx([likelihoods(model, [each])[0][0] for each in items], rel=1e-4)


def overfitted(items: Sequence[Item]) -> torch.nn.Module:
    """A decoder that knows these items by heart."""
    torch.manual_seed(0)
    model = build("28k", 0)
    batch = packed([[each] for each in items])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(150):
        logits = model(input_ids=batch.tensors["ids"]).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch.tensors["labels"].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model  # type: ignore[no-any-return]


def test_what_a_model_knows_by_heart_is_right_by_every_measure_and_other_answers_are_not() -> None:
    ability = Ability(name="addition", digits=2, mode="scratchpad")
    items = distinct_items(ability, 6, seed=0, held_out=True)
    model = overfitted(items)
    right = measure(model, items)
    assert right.exact == [1.0] * 6
    assert right.distance == [0.0] * 6
    assert max(right.nats) < 0.1
    assert greedy_answers(model, items) == [each.answer for each in items]
    wrong = measure(model, [Item(prompt=each.prompt, target=f"{each.target}0") for each in items])
    assert wrong.exact == [0.0] * 6
    assert wrong.distance == [1.0] * 6
    assert min(wrong.nats) > 10 * max(right.nats)


def test_a_packed_row_labels_what_is_to_be_written_and_nothing_else() -> None:
    batch = packed([[Item(prompt="1+2=", target="3"), Item(prompt="4+9=", target="13")]])
    labels = [*[IGNORED] * 3, *encode("3"), END_ID, *[IGNORED] * 3, *encode("13"), END_ID]
    assert batch.tensors["ids"][0].tolist() == encode("1+2=34+9=13")
    assert batch.tensors["labels"][0].tolist() == labels
    assert batch.tensors["segments"][0].tolist() == [1] * 5 + [2] * 6


def test_batches_follow_from_their_position_and_hold_no_item_that_is_tested() -> None:
    abilities = [Ability(name="addition", digits=1), Ability(name="addition", digits=5, mode="scratchpad")]
    batches = ItemBatches(abilities, rows=4, row_tokens=CONTEXT, seed=7)
    stream = batches.starting_at(0)
    next(stream)
    second, again = next(stream), next(batches.starting_at(1))
    assert all(torch.equal(second.tensors[name], again.tensors[name]) for name in second.tensors)
    assert second.tensors["ids"].shape[1] <= CONTEXT
    prompts = list(prompts_of(second))
    assert len(prompts) > 8
    for a, b in prompts:
        assert not is_held_out(f"{min(a, b)}+{max(a, b)}")


def prompts_of(batch: Batch) -> Iterator[tuple[int, int]]:
    """The operands of every item of a batch."""
    for ids, segments in zip(batch.tensors["ids"], batch.tensors["segments"], strict=True):
        for number in range(1, int(segments.max()) + 1):
            text = decode(ids[segments == number].tolist())
            a, b = re.split(r"[=?]", text)[0].split("+")
            yield int(a), int(b)


def test_both_modes_come_equally_often() -> None:
    abilities = [Ability(name="addition", digits=1), Ability(name="addition", digits=1, mode="scratchpad")]
    batch = next(ItemBatches(abilities, rows=64, row_tokens=CONTEXT, seed=0).starting_at(0))
    written = int((batch.tensors["ids"] == encode("?")[0]).sum())
    assert 0.4 < written / sum(1 for _ in prompts_of(batch)) < 0.6
