"""GPT-2 from scratch: the published sizes, the published weights' spread, no look ahead, and a cache that changes nothing."""

import math
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from models.gpt2 import Gpt2Shape, build_gpt2
from models.sampling import SamplingConfig, sample

SHAPE = Gpt2Shape(layers=3, width=64, heads=4, context=32)


def build(shape: Gpt2Shape = SHAPE, vocabulary: int = 500) -> Any:
    torch.manual_seed(0)
    return build_gpt2(shape, vocabulary=vocabulary, end_id=0, pad_id=1).eval()


def test_gpt2_small_has_the_published_number_of_parameters() -> None:
    """nanoGPT without biases: 124,337,664. The library's has them: 12 x 8,448 in the layers and 768 in the last norm."""
    with torch.device("meta"):
        model = build(Gpt2Shape(layers=12, width=768, heads=12, context=1024), vocabulary=50257)
    sizes = {name: tensor.numel() for name, tensor in model.named_parameters()}
    assert sum(size for name, size in sizes.items() if not name.endswith("bias")) == 124_337_664
    layer = 3 * 768 + 768 + 4 * 768 + 768 + 2 * 768
    assert sum(sizes.values()) == 124_337_664 + 12 * layer + 768 == 124_439_808


def test_matrices_are_small_and_those_into_the_residual_stream_smaller() -> None:
    """0.02, and 0.02 / sqrt(2 * 3 layers) for both c_proj; norms are one, biases none."""
    for name, tensor in build().state_dict().items():
        if tensor.dim() == 1:
            assert torch.equal(tensor, torch.zeros_like(tensor) if name.endswith("bias") else torch.ones_like(tensor))
            continue
        expected = 0.02 / math.sqrt(6) if name.endswith("c_proj.weight") else 0.02
        assert float(tensor.std()) == pytest.approx(expected, rel=4 / math.sqrt(2 * tensor.numel())), name


def test_it_is_put_together_as_gpt2_is() -> None:
    """Norms before the layers with an epsilon of 1e-5, the tanh GELU, the head tied, matrices as [inputs, outputs]."""
    model = build()
    assert model.lm_head.weight is model.transformer.wte.weight
    assert model.transformer.h[0].mlp.c_fc.weight.shape == (64, 256)
    values = torch.linspace(-3, 3, 7)
    assert torch.allclose(model.transformer.h[0].mlp.act(values), F.gelu(values, approximate="tanh"))
    x_1TD = torch.randn(1, 5, 64, generator=torch.Generator().manual_seed(1))
    block = model.transformer.h[0]
    normed = F.layer_norm(x_1TD, (64,), eps=1e-5)
    between = x_1TD + block.attn(normed)[0]
    expected = between + block.mlp(F.layer_norm(between, (64,), eps=1e-5))
    found = block(x_1TD)
    assert torch.allclose(found[0] if isinstance(found, tuple) else found, expected, atol=1e-6)


def test_a_fresh_model_of_the_published_vocabulary_knows_nothing() -> None:
    """ln 50,257 = 10.8249, + 0.2 / - 0.05."""
    model = build(vocabulary=50257)
    ids = torch.randint(50257, (8, 33), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        logits = model(input_ids=ids[:, :-1]).logits
    loss = float(F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten()))
    assert 10.8249 - 0.05 < loss < 10.8249 + 0.2


def test_a_token_changes_nothing_before_it() -> None:
    """Bit for bit; and it does change its own place."""
    model = build()
    ids = torch.randint(500, (2, 32), generator=torch.Generator().manual_seed(2))
    changed = ids.clone()
    changed[:, 20] = (changed[:, 20] + 1) % 500
    with torch.no_grad():
        before, after = model(input_ids=ids).logits, model(input_ids=changed).logits
    assert torch.equal(before[:, :20], after[:, :20])
    assert not torch.equal(before[:, 20], after[:, 20])
    assert not torch.equal(before[:, 31], after[:, 31])


def test_a_cache_changes_nothing() -> None:
    """Logits within 1e-4 of those of the whole text, and the same greedy tokens, of a model that has opinions."""
    model = build()
    with torch.no_grad():
        for tensor in model.parameters():
            tensor.mul_(6) if tensor.dim() == 2 else None
        ids, cache, greedy = [7, 9, 11], None, [7, 9, 11]
        read = torch.tensor([ids])
        for _ in range(20):
            output = model(input_ids=read, past_key_values=cache, use_cache=True)
            whole = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1]
            cache = output.past_key_values
            assert torch.allclose(output.logits[0, -1], whole, atol=1e-4)
            assert int(output.logits[0, -1].argmax()) == int(whole.argmax())
            ids.append(int(whole.argmax()))
            read = torch.tensor([ids[-1:]])
    config = SamplingConfig(max_tokens=20, temperature=0)
    (found,) = sample(model, [greedy], config, seed=0, stop_ids=frozenset(), pad_id=1)
    assert list(found.tokens) == ids[3:]


@pytest.mark.parametrize(
    ("sizes", "reason"),
    [
        ({"layers": 0}, "every size must be at least 1"),
        ({"context": 1}, "context at least 2"),
        ({"width": 66}, "width 66 must be a multiple of heads 4"),
        ({"dropout": 1.0}, "dropout lies in"),
    ],
)
def test_impossible_shapes_are_refused(sizes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Gpt2Shape(**sizes)
