"""Decoders that are asked and not trained: from the files that the library writes to what the library itself says."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from models.catalogue import ASKED, ASKED_ALONE, classes_of, load_model, load_weights, read_config
from models.sampling import SamplingConfig, sample
from models.tokenizers.chat import ChatTokenizer
from models.weights import INDEX_FILE, WEIGHTS_FILE
from tasks.evaluation.token_likelihood import Split, score_splits

CONTEXT = tuple((7 * place) % 200 + 5 for place in range(40))
SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 300,
}
OWN = {"gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 96, "vocab_size": 300}}


def decoder(kind: str, **changed: Any) -> Any:
    configuration, model = classes_of(kind)
    sizes = OWN.get(kind, {**SIZES, "max_position_embeddings": 96, "num_key_value_heads": 2, "head_dim": 8})
    sizes |= {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, **changed}
    config = configuration(**{name: each for name, each in sizes.items() if name in configuration.__annotations__})
    torch.manual_seed(3)
    made = model(config).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.dim() >= 2:
                parameter.mul_(6)  # no two tokens are nearly as likely
    return made


def said(model: Any, ids: tuple[int, ...]) -> torch.Tensor:
    """ln p [T, V] of one text alone."""
    with torch.inference_mode():
        return torch.log_softmax(model(torch.tensor([ids])).logits[0].double(), 1)


@pytest.fixture(params=ASKED)
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Any, Path]:
    """A model, and the folder that the library makes of it, in its own spelling of names."""
    model = decoder(request.param)
    model.save_pretrained(tmp_path / "kept")
    return model, tmp_path / "kept"


def test_the_librarys_folder_is_read_as_the_library_means_it(kept: tuple[Any, Path]) -> None:
    model, folder = kept
    loaded = load_weights(folder, ASKED).eval()
    torch.testing.assert_close(said(loaded, CONTEXT), said(model, CONTEXT), rtol=0, atol=1e-6)


def test_likelihoods_in_batches_are_those_of_each_text_alone(kept: tuple[Any, Path]) -> None:
    """A shared beginning, several continuations of one context in a row, contexts of different length."""
    model = load_weights(kept[1], ASKED)
    splits = [
        Split(context=CONTEXT[:length], continuation=after)
        for length in (36, 40)
        for after in ((9,), (8, 7, 6), (5, 4))
    ] + [Split(context=(3, 9), continuation=(11, 12))]
    for batch in (splits[:6], splits):
        for split, found in zip(batch, score_splits(model, batch), strict=True):
            scores = said(kept[0], (*split.context, *split.continuation))[len(split.context) - 1 : -1]
            expected = sum(float(scores[place, token]) for place, token in enumerate(split.continuation))
            assert found.nats == pytest.approx(expected, abs=1e-4)


def test_answers_in_batches_are_those_of_each_prompt_alone(kept: tuple[Any, Path]) -> None:
    model = load_weights(kept[1], ASKED)
    prompts = [CONTEXT[:38], CONTEXT, CONTEXT[:38], (9, 8, 7), (4,)]
    greedy = SamplingConfig(max_tokens=5, temperature=0.0)
    for some in (prompts[:3], prompts):
        found = sample(model, some, greedy, seed=0, stop_ids=frozenset(), pad_id=0)
        for prompt, answer in zip(some, found, strict=True):
            scores = said(kept[0], (*prompt, *answer.tokens))[len(prompt) - 1 : -1]
            assert list(answer.tokens) == scores.argmax(1).tolist()
            assert np.allclose(answer.log_probabilities, scores.max(1).values, rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", ASKED_ALONE)
def test_they_are_refused_where_a_model_is_trained(kind: str, tmp_path: Path) -> None:
    decoder(kind).config.save_pretrained(tmp_path)
    with pytest.raises(
        ValueError, match=f"'{kind}' is not one of llama, gpt2, qwen2; it can be evaluated, not trained"
    ):
        read_config(tmp_path)


def test_a_window_smaller_than_the_context_is_refused(tmp_path: Path) -> None:
    """Mistral's first version looks back over a window in every layer, and its configuration lists no layers."""
    decoder("mistral", sliding_window=32).config.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="sliding_window is 32 of 96 tokens"):
        read_config(tmp_path, ASKED)


def test_gpt2s_own_files_have_no_prefix_and_tables_that_are_computed(tmp_path: Path) -> None:
    model = decoder("gpt2")
    model.save_pretrained(tmp_path)
    tensors = {name.removeprefix("transformer."): each for name, each in load_file(tmp_path / WEIGHTS_FILE).items()}
    save_file({**tensors, "h.0.attn.bias": torch.ones(1, 1, 96, 96, dtype=torch.bool).tril()}, tmp_path / WEIGHTS_FILE)
    assert torch.equal(said(load_weights(tmp_path).eval(), CONTEXT), said(model, CONTEXT))


def test_pythias_share_of_rotated_dimensions_is_read_in_its_older_spelling(tmp_path: Path) -> None:
    model = decoder("gpt_neox")
    model.save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    rope = values.pop("rope_parameters")
    assert rope["partial_rotary_factor"] == 0.25
    path.write_text(json.dumps({**values, "rotary_pct": 0.5, "rotary_emb_base": 500}), encoding="utf-8")
    other = read_config(tmp_path, ASKED).rope_parameters
    assert (other["partial_rotary_factor"], other["rope_theta"]) == (0.5, 500)


@pytest.fixture
def in_parts(tokenizer: ChatTokenizer, tmp_path: Path) -> tuple[Any, Path]:
    model = decoder("llama")
    model.save_pretrained(tmp_path, max_shard_size="40KB")
    tokenizer.save(tmp_path)
    return model, tmp_path


def test_a_model_in_several_files_is_read_whole(in_parts: tuple[Any, Path]) -> None:
    model, folder = in_parts
    assert len(list(folder.glob("model-*.safetensors"))) > 1
    assert torch.equal(said(load_model(folder)[0], CONTEXT), said(model, CONTEXT))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            lambda index: index["weight_map"].update(x="../model.safetensors"),
            "is no name of a safetensors file beside it",
        ),
        (lambda index: index["weight_map"].update(x="other.safetensors"), r"other\.safetensors is missing"),
        (lambda index: index.pop("weight_map"), "no index of safetensors files"),
        (lambda index: index["weight_map"].clear(), "names 0 files"),
        (lambda index: index.update(weight_map={"x": "second.safetensors"}), r"index\.json: the tensor .* is missing"),
        (lambda index: index["weight_map"].update(x="second.safetensors"), "the tensor .* is there twice"),
    ],
)
def test_a_wrong_index_is_refused(in_parts: tuple[Any, Path], change: Any, sentence: str) -> None:
    _, folder = in_parts
    first = sorted(folder.glob("model-*.safetensors"))[0]
    (folder / "second.safetensors").write_bytes(first.read_bytes())
    index = json.loads((folder / INDEX_FILE).read_text(encoding="utf-8"))
    change(index)
    (folder / INDEX_FILE).write_text(json.dumps(index), encoding="utf-8")
    with pytest.raises(ValueError, match=sentence):
        load_weights(folder)
