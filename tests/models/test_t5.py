"""T5 v1.1 from scratch: a head of its own, unscaled attention with shared relative positions, the first loss of a guess."""

import math
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from models.t5 import T5Shape, build_t5
from tasks.training.optimizers import hidden_matrices

SHAPE = T5Shape(layers=2, width=64, heads=4, feed_forward=96)


def build(shape: T5Shape = SHAPE, vocabulary: int = 500) -> Any:
    torch.manual_seed(0)
    return build_t5(shape, vocabulary=vocabulary, end_id=1, pad_id=0).eval()


def test_the_number_of_parameters_is_what_the_shape_says() -> None:
    """Embedding and head; encoder layers of attention and three matrices, decoder layers of two attentions; one table of
    32 distances for the encoder, one for the decoder; no bias anywhere, norms are a vector."""
    encoder, decoder = 4 * 64 * 64 + 3 * 64 * 96 + 2 * 64, 8 * 64 * 64 + 3 * 64 * 96 + 3 * 64
    expected = 2 * 500 * 64 + 2 * (encoder + decoder) + 2 * 32 * 4 + 2 * 64
    assert sum(tensor.numel() for tensor in build().parameters()) == expected


def test_t5_v1_1_small_has_the_published_number_of_parameters() -> None:
    """76,961,152 of google/t5-v1_1-small (8 layers of 512, 6 heads of 64, 1024) has 6 x 64 = 384 inner channels.

    Ours are as wide inside as outside: 24 attentions with four matrices of 512 x 128 more.
    """
    with torch.device("meta"):
        model = build(T5Shape(layers=8, width=512, heads=8, feed_forward=1024), vocabulary=32128)
    wider = 24 * 4 * 512 * 128 + 2 * 32 * 2
    assert sum(tensor.numel() for tensor in model.parameters()) == 76_961_152 + wider


def test_the_head_is_its_own_and_stays_so() -> None:
    model = build()
    assert model.lm_head.weight is not model.shared.weight
    assert model.encoder.embed_tokens.weight is model.decoder.embed_tokens.weight is model.shared.weight
    model.tie_weights()
    assert model.lm_head.weight is not model.shared.weight


def test_logits_are_the_head_of_the_last_states() -> None:
    """Version 1.0 divided them by sqrt(width)."""
    model = build()
    ids = torch.randint(5, 500, (2, 12), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        output = model(input_ids=ids, labels=ids[:, :5].contiguous(), output_hidden_states=True)
        expected = output.decoder_hidden_states[-1] @ model.lm_head.weight.T
    assert torch.allclose(output.logits, expected, atol=1e-4)


def test_weights_are_drawn_as_t5_draws_them() -> None:
    """The queries' carry the 1 / sqrt(head size) that attention leaves out; the head's are 1 / sqrt(width)."""
    scales = {"q": (64 * 16) ** -0.5, "k": 64**-0.5, "v": 64**-0.5, "o": 64**-0.5, "lm_head": 64**-0.5}
    scales |= {"wi_0": 64**-0.5, "wi_1": 64**-0.5, "wo": 96**-0.5, "shared": 1.0}
    seen = set()
    for name, tensor in build().state_dict().items():
        kind = name.split(".")[-2]
        if kind in scales:
            seen.add(kind)
            assert float(tensor.std()) == pytest.approx(scales[kind], rel=4 / math.sqrt(2 * tensor.numel())), name
    assert seen == set(scales)


def test_attention_is_not_scaled_and_all_layers_share_the_first_ones_distances() -> None:
    model = build()
    attention = model.encoder.block[0].layer[0].SelfAttention
    x_1TD = torch.randn(1, 6, 64, generator=torch.Generator().manual_seed(1))

    def heads(layer: Any) -> torch.Tensor:
        return layer(x_1TD).view(1, 6, 4, 16).transpose(1, 2)

    with torch.no_grad():
        found, bias, _ = attention(x_1TD)
        scores = heads(attention.q) @ heads(attention.k).mT + bias
        inner = (scores.softmax(-1) @ heads(attention.v)).transpose(1, 2).reshape(1, 6, 64)
        assert torch.allclose(found, attention.o(inner), atol=1e-5)
    assert not hasattr(model.encoder.block[1].layer[0].SelfAttention, "relative_attention_bias")
    assert not hasattr(model.decoder.block[1].layer[0].SelfAttention, "relative_attention_bias")


def test_the_feed_forward_is_a_gated_gelu() -> None:
    inside = build().encoder.block[0].layer[1].DenseReluDense
    x_ND = torch.randn(3, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = inside.wo(F.gelu(inside.wi_0(x_ND), approximate="tanh") * inside.wi_1(x_ND))
        assert torch.allclose(inside(x_ND), expected, atol=1e-6)


def test_a_fresh_model_knows_nothing() -> None:
    """Logits are N(0, 1) over the vocabulary, whose log-sum-exp is ln V + 1/2."""
    generator = torch.Generator().manual_seed(1)
    ids, labels = (torch.randint(5, 5000, (16, size), generator=generator) for size in (24, 32))
    with torch.no_grad():
        loss = build(vocabulary=5000)(input_ids=ids, labels=labels).loss
    assert float(loss) == pytest.approx(math.log(5000) + 0.5, abs=0.1)


def test_the_decoder_starts_with_the_pad_id() -> None:
    labels = torch.tensor([[7, 8, -100]])
    assert build().prepare_decoder_input_ids_from_labels(labels).tolist() == [[0, 7, 8]]


def test_a_label_changes_nothing_before_it_and_the_input_everything() -> None:
    model = build()
    ids, labels = (torch.randint(5, 500, (2, 12), generator=torch.Generator().manual_seed(each)) for each in (1, 2))
    changed, other = labels.clone(), ids.clone()
    changed[:, 6] = (changed[:, 6] + 1) % 500
    other[:, 11] = (other[:, 11] + 1) % 500
    with torch.no_grad():
        before = model(input_ids=ids, labels=labels).logits
        after = model(input_ids=ids, labels=changed).logits
        elsewhere = model(input_ids=other, labels=labels).logits
    assert torch.equal(before[:, :7], after[:, :7])  # label 6 is read by the place that says label 7
    assert not torch.equal(before[:, 7], after[:, 7])
    assert not torch.equal(before[:, 0], elsewhere[:, 0])


def test_muon_takes_no_table_and_no_head() -> None:
    names = hidden_matrices(build())
    assert len(names) == 2 * 4 + 2 * 8 + 4 * 3  # attention, cross-attention, gated feed-forward
    assert not any("embed" in name or "bias" in name or "head" in name or "shared" in name for name in names)


@pytest.mark.parametrize(
    ("sizes", "reason"),
    [
        ({"layers": 0}, "every size must be at least 1"),
        ({"width": 66}, "width 66 must be a multiple of heads 4"),
        ({"buckets": 6}, "buckets must be a multiple of 4"),
        ({"distance": 16}, "distance above half of them"),
        ({"dropout": 1.0}, "dropout lies in"),
    ],
)
def test_impossible_shapes_are_refused(sizes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        T5Shape(**sizes)
