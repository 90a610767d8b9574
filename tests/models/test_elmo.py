"""ELMo: words spelled, two directions that see nothing they predict, layers and their mix, sizes."""

import pytest
import torch
from torch.nn import functional as F

from models.elmo import ORIGINAL, Direction, ElmoModel, ElmoShape, Mix, WordLayer, character_ids
from tests.decoders import one_thread

__all__ = ["one_thread"]

WORDS = ["the", "cat", "sat", "on", "a", "mat", "unbelievably", "</s>", "고양이"]
SHAPE = ElmoShape(character_width=4, filters=(3, 4, 5), projection=6, cells=10)


def small(shape: ElmoShape = SHAPE) -> ElmoModel:
    torch.manual_seed(0)
    model = ElmoModel(shape, words=WORDS)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)  # so that it has opinions
    return model


def some_ids(rows: int = 2, tokens: int = 11) -> torch.Tensor:
    ids_BT = torch.randint(len(WORDS), (rows, tokens), generator=torch.Generator().manual_seed(1))
    ids_BT[:, 0] = 6  # the longest word, so that all calls have one size
    return ids_BT


# --- words ----------------------------------------------------------------------------------------------------------


def test_words_are_spelled_in_bytes_between_marks() -> None:
    rows = character_ids(["ab", "é", "", "x" * 60])
    assert rows.shape == (4, 50)
    assert rows[0].tolist() == [257, 98, 99, 258, *[0] * 46]
    assert rows[1, :5].tolist() == [257, 0xC3 + 1, 0xA9 + 1, 258, 0]
    assert rows[2, :3].tolist() == [257, 258, 0]
    assert rows[3].tolist() == [257, *[121] * 48, 258]


def test_a_word_is_the_same_whoever_stands_beside_it() -> None:
    """Each filter's largest answer within the word: what fills the row up behind it has no part."""
    torch.manual_seed(0)
    layer = WordLayer(SHAPE).double()
    together = layer(character_ids(["cat", "unbelievably", "ca", "tac"]))
    torch.testing.assert_close(layer(character_ids(["cat"]))[0], together[0], rtol=0, atol=1e-14)
    assert len({tuple(row) for row in together.tolist()}) == 4


def test_filters_see_as_many_characters_as_they_are_wide() -> None:
    """Single letters and pairs by hand: of "ab" BEGIN a b END, the largest answer of each filter."""
    torch.manual_seed(0)
    layer = WordLayer(ElmoShape(character_width=3, filters=(2, 2), highways=0, projection=2, cells=3)).double()
    torch.nn.init.eye_(layer.projection.weight[:, 2:])
    torch.nn.init.zeros_(layer.projection.weight[:, :2])
    torch.nn.init.zeros_(layer.projection.bias)
    spelled = F.embedding(torch.tensor([257, 98, 99, 258, 0]), layer.embedding.weight)
    pairs = [torch.stack([spelled[place], spelled[place + 1]], 1) for place in range(4)]
    kernel, bias = layer.filters[1].weight, layer.filters[1].bias
    answers = torch.stack([(kernel * pair).sum((1, 2)) + bias for pair in pairs])
    torch.testing.assert_close(layer(character_ids(["ab"]))[0], answers.amax(0).relu(), rtol=0, atol=1e-12)
    assert torch.equal(layer.embedding.weight[0], torch.zeros(3).double())


def test_each_different_word_of_a_batch_is_spelled_once() -> None:
    model, ids_BT = small().double(), some_ids()
    seen: list[int] = []
    model.words.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    vectors_BTP = model.vectors(ids_BT)
    assert seen == [len(set(ids_BT.flatten().tolist()))]
    alone = model.words(model.characters[ids_BT.flatten()]).view(*ids_BT.shape, -1)
    torch.testing.assert_close(vectors_BTP, alone, rtol=0, atol=1e-12)


# --- directions -----------------------------------------------------------------------------------------------------


def test_forward_states_know_the_past_and_backward_ones_the_future() -> None:
    """Another word at 5: the forward half changes from 5 on, the backward half up to 5, exactly; words only at 5."""
    model, ids_BT = small().eval(), some_ids()
    changed_BT = ids_BT.clone()
    changed_BT[:, 5] = (ids_BT[:, 5] + 1) % 6
    before, after = (model.layers(model.characters[each]) for each in (ids_BT, changed_BT))
    differs_JTH = (before != after).unflatten(3, (2, 6)).any(4).any(1)
    times = torch.arange(11)
    assert torch.equal(differs_JTH[0], (times == 5)[:, None].expand(-1, 2))
    for layer in (1, 2):
        assert torch.equal(differs_JTH[layer, :, 0], times >= 5)
        assert torch.equal(differs_JTH[layer, :, 1], times <= 5)


def test_no_direction_sees_the_word_that_it_predicts() -> None:
    """Logits for the word at 5 come from the states before it and after it; they are the same whatever stands there."""
    model, ids_BT = small().eval(), some_ids()
    changed_BT = ids_BT.clone()
    changed_BT[:, 5] = (ids_BT[:, 5] + 1) % 6
    logits = []
    for each_BT in (ids_BT, changed_BT):
        ahead, _ = model.predicting(
            model.forwards, model.words(model.characters[each_BT.flatten()]).view(2, 11, 6), None
        )
        back_BT = each_BT.flip(1)
        back, _ = model.predicting(
            model.backwards, model.words(model.characters[back_BT.flatten()]).view(2, 11, 6), None
        )
        logits.append((model.head(ahead), model.head(back.flip(1))))
    (ahead, back), (other_ahead, other_back) = logits
    assert torch.equal(ahead[:, 4], other_ahead[:, 4])
    assert torch.equal(back[:, 6], other_back[:, 6])
    assert not torch.equal(ahead[:, 5], other_ahead[:, 5])  # unshifted, either would have seen it
    assert not torch.equal(back[:, 5], other_back[:, 5])


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_both_directions_carry_their_state(dtype: torch.dtype, tolerance: float) -> None:
    model, ids_BT = small().to(dtype), some_ids()
    for read in (model, model.read_backwards):
        whole, _ = read(ids_BT)
        first, state = read(ids_BT[:, :4])
        second, _ = read(ids_BT[:, 4:], state)
        torch.testing.assert_close(torch.cat([first, second], 1), whole, rtol=0, atol=tolerance)
        assert (read(ids_BT[:, 4:])[0] - whole[:, 4:]).abs().max() > 100 * tolerance


def test_at_first_every_word_is_as_likely() -> None:
    """ln 10,000 = 9.2103, in both directions."""
    torch.manual_seed(0)
    model = ElmoModel(ElmoShape(), words=[str(number) for number in range(10_000)])
    ids_BT = torch.randint(10_000, (4, 21))
    for read in (model, model.read_backwards):
        logits_BTV = model.head(read(ids_BT[:, :-1])[0])
        loss = F.cross_entropy(logits_BTV.flatten(0, 1), ids_BT[:, 1:].flatten())
        assert loss.item() == pytest.approx(9.2103, abs=0.05)


def test_the_second_layer_adds_to_the_first() -> None:
    direction = Direction(SHAPE)
    torch.nn.init.zeros_(direction.layers[1].weight_hr_l0)  # the second layer says nothing
    (first, second), _ = direction(torch.randn(2, 5, 6))
    assert torch.equal(first, second)


# --- features -------------------------------------------------------------------------------------------------------


def test_the_lowest_layer_is_the_words_twice() -> None:
    model, ids_BT = small().eval(), some_ids()
    layers_JBTP = model.layers(model.characters[ids_BT])
    assert layers_JBTP.shape == (3, 2, 11, 12)
    assert torch.equal(layers_JBTP[0, :, :, :6], layers_JBTP[0, :, :, 6:])
    ahead, _ = model(ids_BT)
    torch.testing.assert_close(layers_JBTP[2, :, :, :6], ahead)
    back, _ = model.read_backwards(ids_BT.flip(1))
    torch.testing.assert_close(layers_JBTP[2, :, :, 6:], back.flip(1))


def test_an_untrained_mix_is_the_plain_mean() -> None:
    features_J = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0))
    mix = Mix(3)
    torch.testing.assert_close(mix(features_J), features_J.mean(0), rtol=0, atol=1e-7)
    with torch.no_grad():
        mix.scores.copy_(torch.tensor([0.0, torch.inf, 0.0]).nan_to_num(posinf=100.0))
        mix.gamma.fill_(3.0)
    torch.testing.assert_close(mix(features_J), 3 * features_J[1])


def test_a_mix_learns_which_layer_matters() -> None:
    features_J = torch.randn(3, 64, 5, generator=torch.Generator().manual_seed(0))
    mix = Mix(3)
    optimizer = torch.optim.Adam(mix.parameters(), lr=0.2)
    for _ in range(100):
        optimizer.zero_grad()
        F.mse_loss(mix(features_J), 2 * features_J[1]).backward()
        optimizer.step()
    assert mix.scores.softmax(0)[1] > 0.95
    assert mix.gamma.item() == pytest.approx(2, abs=0.1)


# --- sizes ----------------------------------------------------------------------------------------------------------


def test_directions_share_words_and_head_and_nothing_else() -> None:
    model = small()
    names = {name.split(".")[0] for name, _ in model.named_parameters()}
    assert names == {"words", "forwards", "backwards", "head"}
    lstm = 4 * (10 * 6 + 10 * 6 + 2 * 10) + 6 * 10  # gates read 6 and 6, two biases; the projection has none
    words = 259 * 4 + (3 * 4 + 3) + (4 * 8 + 4) + (5 * 12 + 5) + (12 * 24 + 24) + (12 * 6 + 6)
    assert sum(each.numel() for each in model.parameters()) == words + 2 * 2 * lstm + len(WORDS) * (6 + 1)


def test_the_original_is_as_published() -> None:
    """2,048 filters, 4,096 cells projected to 512, features of 1,024 (Peters et al. 2018, section 3.4)."""
    assert sum(ORIGINAL.filters) == 2048
    assert (ORIGINAL.cells, ORIGINAL.projection, ORIGINAL.layers, ORIGINAL.highways) == (4096, 512, 2, 2)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"filters": ()}, "every number of filters must be at least 1"),
        ({"filters": (4, 0)}, "every number of filters must be at least 1"),
        ({"dropout": 1.0}, r"dropout lies in \[0, 1\)"),
        ({"cells": 64, "projection": 64}, "cells 64 must be more than projection 64"),
    ],
)
def test_wrong_shapes_are_refused(wrong: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        ElmoShape(**wrong)  # type: ignore[arg-type]
