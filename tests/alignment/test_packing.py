"""Packed rows: every dialogue once an epoch, none sees another, and each costs what it costs alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from models import heads
from models.catalogue import save_model
from models.heads import hidden_states, own_segment, segment_positions, vocabulary_head
from models.tokenizers.chat import ChatTokenizer
from tasks.alignment import packing
from tasks.alignment.dialogues import Dialogue, dialogue_of
from tasks.alignment.instruct import InstructConfig, run
from tasks.alignment.instructions import InstructionItem
from tasks.alignment.packing import PackedDialogues, best_fit, packed_batch
from tasks.training.batches import IGNORED, Batch
from tasks.training.engine import Preempted, TrainingConfig
from tasks.training.objectives import NextToken
from tasks.training.optimizers import OptimizerConfig
from tasks.training.preflight import PreflightFailed

SIZES = {"vocab_size": 261, "bos_token_id": None, "eos_token_id": 4, "pad_token_id": 1}
WIDE = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64,
}  # fmt: skip


def decoder(kind: str) -> Any:
    """A tiny decoder of an architecture, with opinions."""
    torch.manual_seed(5)
    if kind == "gpt2":
        config: Any = GPT2Config(**SIZES, n_embd=32, n_layer=2, n_head=4, n_positions=64, initializer_range=0.3)
        return GPT2LMHeadModel(config).eval()
    if kind == "qwen2":
        return Qwen2ForCausalLM(Qwen2Config(**SIZES, **WIDE, initializer_range=0.3)).eval()
    return LlamaForCausalLM(LlamaConfig(**SIZES, **WIDE, initializer_range=0.3)).eval()


def dialogue(length: int, first: int = 10) -> Dialogue:
    return Dialogue(ids=tuple(range(first, first + length)), said=tuple(place > 1 for place in range(length)))


def some_dialogues(count: int = 40) -> list[Dialogue]:
    """Of 4 to 30 tokens; the first token of each is its number."""
    lengths = torch.randint(4, 31, (count,), generator=torch.Generator().manual_seed(2)).tolist()
    return [
        Dialogue(ids=(number, *dialogue(length - 1).ids), said=(False, *dialogue(length - 1).said))
        for number, length in enumerate(lengths)
    ]


def test_best_fit_by_hand() -> None:
    assert best_fit([5, 3, 4, 2], 7) == [[0, 3], [1, 2]]
    assert best_fit([4, 6, 1, 3], 7) == [[0, 3], [1, 2]], "1 goes where it leaves nothing, not where it came first"
    assert best_fit([7, 7], 7) == [[0], [1]]
    assert best_fit([], 7) == []


def test_packing_leaves_little_empty_and_nothing_out() -> None:
    lengths = [len(each.ids) - 1 for each in some_dialogues(1000)]
    rows = best_fit(lengths, 64)
    assert sorted(place for row in rows for place in row) == list(range(1000))
    assert all(sum(lengths[place] for place in row) <= 64 for row in rows)
    assert sum(lengths) / (64 * len(rows)) > 0.95


def test_a_packed_batch_by_hand() -> None:
    one = Dialogue(ids=(5, 6, 7, 8), said=(False, False, True, True))
    two, three = Dialogue(ids=(5, 9), said=(False, True)), Dialogue(ids=(3, 4, 6), said=(False, True, True))
    batch = packed_batch([[one, two], [three]], 1)
    assert batch.tensors["ids"].tolist() == [[5, 6, 7, 5], [3, 4, 1, 1]]
    assert batch.tensors["labels"].tolist() == [[IGNORED, 7, 8, 9], [4, 6, IGNORED, IGNORED]]
    assert batch.tensors["segments"].tolist() == [[1, 1, 1, 2], [1, 1, 0, 0]]
    assert batch.tokens == 6
    assert segment_positions(batch.tensors["segments"]).tolist() == [[0, 1, 2, 0], [0, 1, 0, 1]]
    assert own_segment(batch.tensors["segments"])[0, 0].int().tolist() == [
        [1, 0, 0, 0],
        [1, 1, 0, 0],
        [1, 1, 1, 0],
        [0, 0, 0, 1],
    ]


@pytest.fixture
def source() -> Callable[..., PackedDialogues]:
    def make(seed: int = 3) -> PackedDialogues:
        return PackedDialogues(some_dialogues(), context=64, batch_sequences=3, seed=seed, pad_id=1)

    return make


def rows_of(source: PackedDialogues, position: int, batches: int) -> list[list[int]]:
    """The numbers of the dialogues in each row."""
    stream = source.starting_at(position)
    found = []
    for _ in range(batches):
        tensors = next(stream).tensors
        for ids, segments in zip(tensors["ids"], tensors["segments"], strict=True):
            found.append([int(ids[segments == number][0]) for number in range(1, int(segments.max()) + 1)])
    return found


def test_each_epoch_packs_every_dialogue_once_and_anew(source: Callable[..., PackedDialogues]) -> None:
    rows = rows_of(source(), 0, 20)
    epochs: list[list[list[int]]] = [[]]
    for row in rows:
        if sum(map(len, epochs[-1])) == 40:
            epochs.append([])
        epochs[-1].append(row)
    assert len(epochs) > 3
    assert all(sorted(number for row in epoch for number in row) == list(range(40)) for epoch in epochs[:-1])
    assert epochs[0] != epochs[1]
    assert rows != rows_of(source(4), 0, 20)


def test_a_batch_follows_from_its_position_alone(source: Callable[..., PackedDialogues]) -> None:
    """Epochs differ in how many rows they have: a source that begins late must count those that it never gave."""
    stream = source().starting_at(0)
    batches = [next(stream) for _ in range(24)]
    for position in (0, 5, 11, 23):
        again = next(source().starting_at(position))
        assert again.tokens == batches[position].tokens
        for name, tensor in again.tensors.items():
            assert torch.equal(tensor, batches[position].tensors[name])
    going_back = source()
    next(going_back.starting_at(20))
    assert torch.equal(next(going_back.starting_at(2)).tensors["ids"], batches[2].tensors["ids"])


@torch.no_grad()
@pytest.mark.parametrize("kind", ["gpt2", "llama", "qwen2"])
def test_packed_logits_are_those_of_each_dialogue_alone(kind: str) -> None:
    """Against the library itself, which is asked about one dialogue at a time."""
    model = decoder(kind)
    rows = [[dialogue(9), dialogue(20, 60), dialogue(4, 7)], [dialogue(12, 30), dialogue(8, 90)]]
    tensors = packed_batch(rows, 1).tensors
    states = hidden_states(model, tensors["ids"], segments_BT=tensors["segments"])
    assert torch.isfinite(states).all()
    logits = states @ vocabulary_head(model).T
    apart = hidden_states(model, tensors["ids"]) @ vocabulary_head(model).T
    for number, row in enumerate(rows):
        for place, each in enumerate(row, 1):
            own = tensors["segments"][number] == place
            alone = model(input_ids=torch.tensor([each.ids[:-1]])).logits[0]
            torch.testing.assert_close(logits[number][own], alone, rtol=1e-5, atol=1e-5)
            if place > 1:
                assert float((apart[number][own] - alone).abs().max()) > 0.1, "without segments it would show"


def test_what_counts_is_every_token_of_every_answer_and_its_end(
    tokenizer: ChatTokenizer, make_item: Callable[..., InstructionItem]
) -> None:
    """And the packed loss is the mean over them, not of the dialogues' means."""
    answers, objective, model = ["no", "a long answer", "x"], NextToken(), decoder("gpt2")
    dialogues = [dialogue_of(make_item("say so", answer), tokenizer) for answer in answers]
    packed = packed_batch([dialogues], tokenizer.pad_id)
    assert objective.weight(packed) == sum(len(tokenizer.encode_text(answer)) + 1 for answer in answers)
    alone = [packed_batch([[each]], tokenizer.pad_id) for each in dialogues]
    costs, weights = ([float(of(each)) for each in alone] for of in (_cost(model), objective.weight))
    mean = sum(costs) / sum(weights)
    assert float(_cost(model)(packed)) / objective.weight(packed) == pytest.approx(mean, abs=1e-5)
    assert abs(sum(cost / weight for cost, weight in zip(costs, weights, strict=True)) / 3 - mean) > 1e-3


def _cost(model: Any) -> Callable[[Batch], torch.Tensor]:
    return lambda batch: NextToken().loss(model, batch).total.detach()


@pytest.mark.parametrize("kind", ["gpt2", "llama", "qwen2"])
def test_packed_gradients_are_the_sum_of_those_alone(kind: str) -> None:
    model, objective = decoder(kind), NextToken()
    rows = [[dialogue(9), dialogue(20, 60)], [dialogue(12, 30)]]
    gradients = []
    for batches in ([rows], [[[each]] for row in rows for each in row]):
        model.zero_grad()
        for batch in batches:
            objective.loss(model, packed_batch(batch, 1)).total.backward()  # type: ignore[no-untyped-call]
        gradients.append(torch.cat([each.grad.flatten() for each in model.parameters()]))
    assert float((gradients[0] - gradients[1]).norm() / gradients[1].norm()) < 1e-5


TRAINING = TrainingConfig(
    steps=12, batch_sequences=2, optimizer=OptimizerConfig(learning_rate=0.02, adam_share=0.5), checkpoint_steps=5
)
PACKED = InstructConfig(training=TRAINING, packed=True)


@pytest.fixture
def learned_positions(tmp_path: Path, tokenizer: ChatTokenizer) -> Path:
    """The folder of a GPT-2, which notices where a token stands; rotary positions would only see distances."""
    save_model(tmp_path / "gpt2", decoder("gpt2"), tokenizer)
    return tmp_path / "gpt2"


def test_a_packed_instruction_tuning_learns_from_all_and_resumes_in_the_same_bytes(
    learned_positions: Path, instructions: Path, job_in: Callable[..., dict[str, Any]], watching: Any
) -> None:
    inputs = {"base": learned_positions, "instructions": instructions}
    hook = watching()
    unbroken = run(job_in("packed-whole", PACKED, **inputs), [hook])
    assert hook.column("loss")[-1] < hook.column("loss")[0]
    # 8 dialogues of 9 read tokens in rows of 64: 7 and 1, which are 2 rows and one batch
    assert unbroken["tokens"] == 12 * 8 * 9
    job = job_in("packed-stopped", PACKED, **inputs)
    with pytest.raises(Preempted, match="stopped at step 7 of 12"):
        run(job, [watching(7)])
    resumed = run(job, [])
    assert resumed["resumed_at"] == 7
    assert resumed["artifact"]["digest"] == unbroken["artifact"]["digest"]


def forget_the_mask(segments_BT: torch.Tensor) -> torch.Tensor:
    return torch.ones_like(own_segment(segments_BT)).tril()


def forget_the_positions(segments_BT: torch.Tensor) -> torch.Tensor:
    return torch.arange(segments_BT.shape[1], device=segments_BT.device).expand_as(segments_BT)


@pytest.mark.parametrize(
    ("name", "bug"), [("own_segment", forget_the_mask), ("segment_positions", forget_the_positions)]
)
def test_the_preflight_stops_a_packing_that_is_not_clean(
    name: str,
    bug: Any,
    learned_positions: Path,
    instructions: Path,
    job_in: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    watching: Any,
) -> None:
    monkeypatch.setattr(heads, name, bug)
    hook = watching()
    with pytest.raises(PreflightFailed) as caught:
        run(job_in("packed", PACKED, base=learned_positions, instructions=instructions), [hook])
    assert caught.value.name == "packed loss differs from unpacked loss"
    assert "document 2 of row 0 costs" in str(caught.value)
    assert "'<|user|>say " in str(caught.value)
    assert hook.seen == []


def test_the_preflight_stops_a_packed_dialogue_of_which_nothing_is_learned(
    base: Path, instructions: Path, job_in: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its row has labels all the same, of the others."""
    right = packing.packed_batch

    def wrong(rows: Any, pad_id: int) -> Batch:
        made = right(rows, pad_id)
        made.tensors["labels"][0][made.tensors["segments"][0] == 2] = IGNORED
        return made

    monkeypatch.setattr(packing, "packed_batch", wrong)
    with pytest.raises(PreflightFailed) as caught:
        run(job_in("packed", PACKED, base=base, instructions=instructions), [])
    assert caught.value.name == "stop token outside the loss mask"
    assert "nothing of '<|user|>say " in str(caught.value)
    assert "is learned, not even <|end|>" in str(caught.value)


def test_a_packed_dialogue_is_the_dialogue(make_item: Any, tokenizer: ChatTokenizer) -> None:
    made = dialogue_of(make_item("say it", "it"), tokenizer)
    batch = packed_batch([[made, made]], tokenizer.pad_id)
    labels = batch.tensors["labels"][0]
    assert labels[labels != IGNORED].tolist() == [*tokenizer.encode_text("it"), tokenizer.end_id] * 2
