"""BERT from scratch: sizes counted by hand, first losses of a guess, and a text that is read from both sides."""

import math
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from models.bert import BertShape, build_bert
from tasks.training.optimizers import hidden_matrices

SHAPE = BertShape(layers=2, width=64, heads=4, feed_forward=96, context=32)


def build(shape: BertShape = SHAPE) -> Any:
    torch.manual_seed(0)
    return build_bert(shape, vocabulary=500, pad_id=0).eval()


def test_the_number_of_parameters_is_what_the_shape_says() -> None:
    embeddings = (500 + 32 + 2) * 64 + 2 * 64
    layer = 4 * (64 * 64 + 64) + (64 * 96 + 96) + (96 * 64 + 64) + 2 * 2 * 64
    masked, follows = 64 * 64 + 64 + 2 * 64 + 500, (64 * 64 + 64) + (2 * 64 + 2)
    assert sum(tensor.numel() for tensor in build().parameters()) == embeddings + 2 * layer + masked + follows


def test_bert_base_has_the_published_number_of_parameters() -> None:
    """110M: 109,482,240 without the head of masked tokens (12 layers of 768, 30,522 pieces, 512 places)."""
    with torch.device("meta"):
        shape = BertShape(layers=12, width=768, heads=12, feed_forward=3072, context=512)
        model = build_bert(shape, vocabulary=30522, pad_id=0)
    assert sum(tensor.numel() for tensor in model.bert.parameters()) == 109_482_240


def test_matrices_are_small_and_the_head_is_the_embedding() -> None:
    model = build()
    assert model.cls.predictions.decoder.weight is model.bert.embeddings.word_embeddings.weight
    for name, tensor in model.state_dict().items():
        if tensor.dim() == 2 and "embeddings" not in name:
            assert float(tensor.std()) == pytest.approx(0.02, rel=4 / math.sqrt(2 * tensor.numel())), name


def test_a_fresh_model_knows_nothing() -> None:
    """ln 500 for a masked token within 0.1, ln 2 for what follows within 0.05."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(5, 500, (64, 32), generator=generator)
    with torch.no_grad():
        output = build()(input_ids=ids, token_type_ids=(torch.arange(32) > 15).long().expand(64, -1))
    masked = F.cross_entropy(output.prediction_logits.flatten(0, 1), ids.flatten())
    follows = F.cross_entropy(output.seq_relationship_logits, torch.arange(64) % 2)
    assert float(masked) == pytest.approx(math.log(500), abs=0.1)
    assert float(follows) == pytest.approx(math.log(2), abs=0.05)


def test_a_text_is_read_from_both_sides_and_its_padding_not_at_all() -> None:
    model = build()
    ids = torch.randint(5, 500, (1, 20), generator=torch.Generator().manual_seed(2))
    mask = (torch.arange(20) < 16).long()[None]
    with torch.no_grad():
        states = model.bert(ids, attention_mask=mask).last_hidden_state
        for place, moves in ((10, True), (18, False)):
            changed = ids.clone()
            changed[0, place] = (changed[0, place] + 1) % 500
            found = model.bert(changed, attention_mask=mask).last_hidden_state
            assert torch.allclose(found[0, 3], states[0, 3], atol=1e-7) != moves


@pytest.mark.parametrize(
    ("sizes", "reason"),
    [
        ({"layers": 0}, "every size must be at least 1"),
        ({"context": 4}, "context at least 5"),
        ({"width": 66}, "width 66 must be a multiple of heads 4"),
        ({"dropout": -0.1}, "dropout lies in"),
    ],
)
def test_impossible_shapes_are_refused(sizes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        BertShape(**sizes)


def test_muon_takes_no_table_and_no_head() -> None:
    """Four matrices of attention and two of the feed-forward a layer, the pooler, the transform before the head."""
    names = hidden_matrices(build())
    assert len(names) == 2 * 6 + 2
    assert not any("embeddings" in name or "decoder" in name or "seq_relationship" in name for name in names)
