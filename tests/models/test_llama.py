"""The Llama from scratch: sizes counted by hand, weights drawn as GPT-2 draws them, and no look into the future."""

import math

import pytest
import torch
from torch.nn import functional as F

from models.llama import LlamaShape, build_llama

SHAPE = LlamaShape(layers=3, width=64, heads=4, kv_heads=2, feed_forward=160, context=32)


def build(shape: LlamaShape = SHAPE, vocabulary: int = 500) -> torch.nn.Module:
    torch.manual_seed(0)
    return build_llama(shape, vocabulary=vocabulary, end_id=0, pad_id=1).eval()


def test_the_number_of_parameters_is_what_the_shape_says() -> None:
    """Embedding 500 x 64, used twice. A layer: q and o 64 x 64, k and v 64 x 32, three times 64 x 160, two norms."""
    layer = 2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 160 + 2 * 64
    assert sum(tensor.numel() for tensor in build().parameters()) == 500 * 64 + 3 * layer + 64


def test_matrices_are_small_and_those_into_the_residual_stream_smaller() -> None:
    """0.02, and 0.02 / sqrt(2 * 3 layers) for o_proj and down_proj; the estimate of n numbers errs by std / sqrt(2 n)."""
    for name, tensor in build().state_dict().items():
        if tensor.dim() == 1:
            assert torch.equal(tensor, torch.ones_like(tensor)), name
            continue
        expected = 0.02 / math.sqrt(6) if name.endswith(("o_proj.weight", "down_proj.weight")) else 0.02
        assert float(tensor.std()) == pytest.approx(expected, rel=4 / math.sqrt(2 * tensor.numel())), name
        assert abs(float(tensor.mean())) < 4 * expected / math.sqrt(tensor.numel()), name


def test_a_fresh_model_knows_nothing() -> None:
    """Its loss is that of a uniform guess, ln V."""
    ids = torch.randint(500, (8, 33), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        logits = build()(input_ids=ids[:, :-1]).logits
    assert float(F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())) == pytest.approx(math.log(500), abs=0.05)


def test_a_token_changes_nothing_before_it() -> None:
    """Bit for bit; and it does change its own place, else the test would pass for a model that reads nothing."""
    model = build()
    ids = torch.randint(500, (2, 32), generator=torch.Generator().manual_seed(2))
    changed = ids.clone()
    changed[:, 20] = (changed[:, 20] + 1) % 500
    with torch.no_grad():
        before, after = model(input_ids=ids).logits, model(input_ids=changed).logits
    assert torch.equal(before[:, :20], after[:, :20])
    assert not torch.equal(before[:, 20], after[:, 20])
    assert not torch.equal(before[:, 31], after[:, 31])


def test_the_same_seed_gives_the_same_weights() -> None:
    for (name, one), (_, other) in zip(build().state_dict().items(), build().state_dict().items(), strict=True):
        assert torch.equal(one, other), name


@pytest.mark.parametrize(
    ("sizes", "reason"),
    [
        ({"layers": 0}, "every size must be at least 1"),
        ({"context": 1}, "context at least 2"),
        ({"width": 66}, "width 66 must be an even multiple of heads 4"),
        ({"width": 12}, "width 12 must be an even multiple of heads 4"),
        ({"heads": 4, "kv_heads": 3}, "heads 4 must be a multiple of kv_heads 3"),
    ],
)
def test_impossible_shapes_are_refused(sizes: dict[str, int], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        LlamaShape(**sizes)
