"""Every bug that trains without a complaint is planted here, and must be stopped before step 1 by its name."""

import json
import pickle
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_distributed import raised, with_ranks
from test_engine_state import DroppedNextToken, Dropping
from test_pretraining import TEXT, job
from tiny_training import CONTEXT, VOCABULARY, UnequalBatches, tiny_model, train_tiny
from torch import nn

from models.tokenizers import bpe
from models.tokenizers.chat import ChatTokenizer
from models.tokenizers.special import EARLIER_TOKENS
from tasks.artifacts import write_artifact
from tasks.corpus.documents import SPLITS, Document, to_line
from tasks.tokenization.encode import encode_corpus
from tasks.training import engine, gradients, preflight, pretraining
from tasks.training.batches import IGNORED, Batch, TokenBatches
from tasks.training.label_checks import next_token_checks
from tasks.training.objectives import Loss, NextToken
from tasks.training.optimizers import Schedule
from tasks.training.preflight import EVERYWHERE, Check, PreflightFailed, Start, Verdict

Rewrite = Callable[[dict[str, torch.Tensor]], None]


def refused(folder: Path, **planted: Any) -> PreflightFailed:
    """What the preflight says of a tiny training with a bug; no step is made and nothing is kept."""
    with pytest.raises(PreflightFailed) as caught:
        train_tiny(folder, hooks=[lambda *_: pytest.fail("a step was made")], **planted)
    assert not list(folder.glob("step-*"))
    return caught.value


class Rewritten(UnequalBatches):
    """Batches to which something was done."""

    def __init__(self, rewrite: Rewrite) -> None:
        super().__init__()
        self._rewrite = rewrite

    def batch(self, position: int) -> Batch:
        made = super().batch(position)
        self._rewrite(dict(made.tensors))
        return made


def test_a_row_without_a_label_is_shown(tmp_path: Path) -> None:
    def mask(tensors: dict[str, torch.Tensor]) -> None:
        tensors["labels"][5] = IGNORED

    found = refused(tmp_path, batches=Rewritten(mask))
    assert found.name == "nothing to learn from"
    last = ", ".join(map(str, UnequalBatches().batch(0).tensors["ids"][5, -3:].tolist()))
    assert "row 5 of the first batch has no label" in str(found)
    assert f"{last}; check the template and the lengths" in str(found)


class Mean(NextToken):
    """What a trainer does that takes the mean of each micro-batch's loss."""

    def loss(self, module: nn.Module, batch: Batch) -> Loss:
        found, weight = super().loss(module, batch), self.weight(batch)
        return Loss(total=found.total / weight, sums={"loss": found.sums["loss"] / weight})


class RightLossWrongGradient(NextToken):
    """The loss is the sum it should be, its gradient depends on who stands beside whom."""

    def loss(self, module: nn.Module, batch: Batch) -> Loss:
        found = super().loss(module, batch)
        moved = (found.total - found.total.detach()) * 0.1 * len(batch)
        return Loss(total=found.total + moved, sums=found.sums)


def test_a_mean_of_means_is_stopped_with_both_numbers(tmp_path: Path) -> None:
    found = refused(tmp_path, objective=Mean())
    assert found.name == "gradient accumulation changes the training"
    assert "as 1 x 8 and 0." in str(found)
    assert "as 8 x 1; the objective must give a sum" in str(found)


def test_gradients_are_compared_and_not_losses_alone(tmp_path: Path) -> None:
    found = refused(tmp_path, objective=RightLossWrongGradient())
    assert found.name == "gradient accumulation changes the training"
    assert "the gradient has norm" in str(found)
    assert "most of it in model.embed_tokens.weight" in str(found)


def test_a_mean_of_means_in_the_engine_is_stopped_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each micro-batch divided by its own weight: the loss of transformers before 34191."""
    right = gradients._backward

    def wrong(module: Any, objective: Any, own: Batch, decided: Any, _weight: float) -> dict[str, float]:
        sums: dict[str, float] = {}
        parts = list(gradients.micro_batches(own, decided.micro_batch))
        for part in parts:
            found = right(module, objective, part, decided, objective.weight(part) * len(parts))
            sums = {name: sums.get(name, 0.0) + value for name, value in found.items()}
        return sums

    monkeypatch.setattr(gradients, "_backward", wrong)
    assert refused(tmp_path).name == "gradient accumulation changes the training"


def test_rows_that_do_not_fit_into_the_memory_together_are_compared_by_fewer(tmp_path: Path) -> None:
    """The engine finds its own way with less memory; the preflight must not be what fails."""
    most: list[int] = []

    class Large(NextToken):
        def loss(self, module: nn.Module, batch: Batch) -> Loss:
            if len(batch) > 2:
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
            most.append(len(batch))
            return super().loss(module, batch)

    class LargeMean(Mean, Large):
        pass

    assert train_tiny(tmp_path / "right", steps=1, micro_batch=2, objective=Large()).events == ()
    assert most == [2, 1, 1, 2, 2, 2, 2]
    assert "as 1 x 2 and" in str(refused(tmp_path / "wrong", micro_batch=2, objective=LargeMean()))


def test_what_is_compared_is_bounded_by_rows_and_tokens() -> None:
    def rows(count: int, width: int) -> int:
        batch = Batch(tensors={"ids": torch.zeros(count, width, dtype=torch.long)}, tokens=1)
        return preflight.affordable(batch, fewest=2)

    assert [rows(8, 24), rows(64, 24), rows(64, 256), rows(64, 4096), rows(1, 4096)] == [8, 32, 8, 2, 1]


class Ends(Schedule):
    """As if it had been made for six steps."""

    def share(self, step: int, steps: int) -> float:
        del steps
        return max(0.0, super().share(step, 6)) if step <= 6 else 0.0


def test_a_learning_rate_that_ends_before_the_data_is_stopped_at_its_step(tmp_path: Path) -> None:
    found = refused(tmp_path, schedule=Ends())
    assert found.name == "the learning rate ends before the data"
    assert "from step 7 of 10 on the learning rate is 0 " in str(found)
    assert train_tiny(tmp_path, schedule=Ends(), steps=6).state.step == 6


@pytest.fixture(scope="module")
def words() -> ChatTokenizer:
    """A tokenizer of as many tokens as the tiny model embeds."""
    made = ChatTokenizer.ours(bpe.fit([TEXT * 20], vocabulary=VOCABULARY))
    assert made.vocabulary == VOCABULARY
    return made


def smaller_head(model: Any) -> None:
    model.lm_head = nn.Linear(32, VOCABULARY - 1, bias=False)


def other_config(model: Any) -> None:
    model.config.vocab_size = VOCABULARY + 1


def far_end(model: Any) -> None:
    model.config.eos_token_id = VOCABULARY


@pytest.mark.parametrize(
    ("plant", "reason"),
    [
        (smaller_head, "the token embedding 300, the vocabulary head 299, config.vocab_size 300; they must be one"),
        (other_config, "the token embedding 300, the vocabulary head 300, config.vocab_size 301; they must be one"),
        (far_end, "the model's eos_token_id is 300, and ids end at 299"),
    ],
)
def test_sizes_that_disagree_are_stopped_with_the_numbers(
    plant: Callable[[Any], None], reason: str, tmp_path: Path
) -> None:
    model = tiny_model()
    plant(model)
    found = refused(tmp_path, module=model)
    assert found.name == "tokenizer, vocabulary and embedding sizes disagree"
    assert reason in str(found)


def test_a_tokenizer_may_be_smaller_than_the_embedding_and_never_larger(tmp_path: Path, words: ChatTokenizer) -> None:
    larger = ChatTokenizer.ours(bpe.fit([TEXT * 20], vocabulary=VOCABULARY + 5))
    assert "the tokenizer has 305 tokens and the model embeds 300" in str(refused(tmp_path, tokenizer=larger))
    smaller = ChatTokenizer.ours(bpe.fit([], vocabulary=261, special_tokens=EARLIER_TOKENS))

    def unknown(tensors: dict[str, torch.Tensor]) -> None:
        tensors["ids"][2, 0] = 261  # the model embeds it, and nobody could read it

    found = refused(tmp_path, tokenizer=smaller, batches=Rewritten(unknown))
    assert "the largest of the batch's ids is 261, and ids end at 260" in str(found)
    assert train_tiny(tmp_path, steps=1, tokenizer=smaller).state.step == 1
    assert train_tiny(tmp_path / "same", steps=1, tokenizer=words).state.step == 1


def not_shifted(tensors: dict[str, torch.Tensor]) -> None:
    tensors["labels"].copy_(tensors["ids"])


def shifted_twice(tensors: dict[str, torch.Tensor]) -> None:
    tensors["labels"][:, :-1] = tensors["labels"][:, 1:].clone()


def scrambled(tensors: dict[str, torch.Tensor]) -> None:
    tensors["labels"].copy_(tensors["labels"].flip(1))


class ShiftsAgain(NextToken):
    """Labels that are shifted already go to the library's own loss, which shifts them once more."""

    def loss(self, module: Any, batch: Batch) -> Loss:
        labels = batch.tensors["labels"]
        mean = module(input_ids=batch.tensors["ids"], labels=labels).loss
        total = mean * (labels[:, 1:] != IGNORED).sum() if (labels[:, 1:] != IGNORED).any() else mean.new_zeros(())
        return Loss(total=total, sums={"loss": float(total.detach())})


@pytest.mark.parametrize(
    ("rewrite", "reason"),
    [
        (not_shifted, "they are not shifted: labels[t] must be ids[t + 1]"),
        (shifted_twice, "they are shifted twice: labels[t] must be ids[t + 1]"),
        (scrambled, "; labels[t] must be ids[t + 1]"),
    ],
)
def test_labels_that_are_not_the_next_token_are_shown(
    rewrite: Rewrite, reason: str, tmp_path: Path, words: ChatTokenizer
) -> None:
    found = refused(tmp_path, batches=Rewritten(rewrite), checks=next_token_checks(), tokenizer=words)
    assert found.name == "labels are not the next token"
    assert reason in str(found)
    tensors = Rewritten(rewrite).batch(0).tensors
    ids, labels = tensors["ids"][0], tensors["labels"][0]
    place = next(n for n in range(CONTEXT - 1) if labels[n] not in (IGNORED, ids[n + 1]))
    following, label = (words.token(int(number)) for number in (ids[place + 1], labels[place]))
    assert f"(row 0, position {place}) comes {following!r}, the label is {label!r}" in str(found)


def test_an_objective_that_shifts_once_more_is_stopped(tmp_path: Path) -> None:
    class Full(UnequalBatches):
        def batch(self, position: int) -> Batch:
            made = super().batch(position)
            made.tensors["labels"][:, :-1] = made.tensors["ids"][:, 1:]
            return made

    found = refused(tmp_path, objective=ShiftsAgain(), batches=Full(), checks=next_token_checks())
    assert found.name == "the loss is not the next token's cross-entropy"
    assert "23 tokens cost" in str(found)
    assert "by the model's own logits" in str(found)


def test_a_model_whose_states_belong_to_another_place_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other half of the same mistake: ids shifted within the objective's reading."""
    from tasks.training import objectives

    right = objectives.hidden_states
    monkeypatch.setattr(objectives, "hidden_states", lambda *given: right(*given).roll(1, 1))
    assert refused(tmp_path, checks=next_token_checks()).name == "the loss is not the next token's cross-entropy"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A tokenizer and a token set of five documents."""
    root = tmp_path_factory.mktemp("inputs")
    for name in ("split", "tokenizer"):
        (root / name).mkdir()
    for name in SPLITS:
        documents = [Document(id=f"{name}/{n}", group=f"{name}/{n}", kind="text", text=TEXT) for n in range(5)]
        (root / "split" / f"{name}.jsonl").write_text("".join(map(to_line, documents)), encoding="utf-8")
    bpe.save(bpe.fit([TEXT * 20], vocabulary=300), root / "tokenizer")
    for name in ("split", "tokenizer"):
        write_artifact(root / name, kind=name)
    encode_corpus(root / "split", root / "tokenizer", root / "tokens")
    return {"tokens": str(root / "tokens"), "tokenizer": str(root / "tokenizer")}


def pretraining_refused(folder: Path, inputs: Mapping[str, str]) -> PreflightFailed:
    with pytest.raises(PreflightFailed) as caught:
        pretraining.run(job(folder, inputs), [lambda *_: pytest.fail("a step was made")])
    return caught.value


def test_a_right_pretraining_passes_every_check(
    inputs: Mapping[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[str, Verdict]] = []
    right = preflight.first_wrong

    def watch(start: Start, checks: Any) -> Any:
        with preflight.undisturbed(start):
            made.extend((check.name, check.find(start)) for check in (*EVERYWHERE, *checks))
        return right(start, checks)

    monkeypatch.setattr(preflight, "first_wrong", watch)
    assert pretraining.run(job(tmp_path, inputs), [])["steps"] == 6
    assert [verdict for _, verdict in made] == [(True, "")] * 9
    assert [name for name, _ in made] == [
        "the learning rate ends before the data",
        "tokenizer, vocabulary and embedding sizes disagree",
        "nothing to learn from",
        "gradient accumulation changes the training",
        "labels are not the next token",
        "the loss is not the next token's cross-entropy",
        "packed loss differs from unpacked loss",
        "end-of-turn learned nowhere",
        "stop token outside the loss mask",
    ]


def test_text_whose_ends_are_not_there_is_stopped(inputs: Mapping[str, str], tmp_path: Path) -> None:
    """The end-of-text ids of all documents were taken for something else."""
    tokens = shutil.copytree(inputs["tokens"], tmp_path / "tokens")
    tokenizer = ChatTokenizer.load(Path(inputs["tokenizer"]))
    (full_stop,) = tokenizer.encode_text(".")
    for path in tokens.glob("train-*.bin"):
        ids = np.fromfile(path, dtype="<u2")
        assert (ids == tokenizer.end_of_text_id).sum() == 5
        np.where(ids == tokenizer.end_of_text_id, full_stop, ids).astype("<u2").tofile(path)
    found = pretraining_refused(tmp_path, {**inputs, "tokens": str(tokens)})
    assert found.name == "end-of-turn learned nowhere"
    assert "none of 5 documents has <|endoftext|> at its end; the first ends with '.'" in str(found)


def test_ends_that_are_masked_as_padding_are_stopped(
    inputs: Mapping[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """trl 3091: where padding and end are one token, a collator masks them all."""
    tokenizer = ChatTokenizer.load(Path(inputs["tokenizer"]))

    class Collated(TokenBatches):
        def batch(self, position: int) -> Batch:
            made = super().batch(position)
            labels = made.tensors["labels"].masked_fill(made.tensors["labels"] == tokenizer.end_of_text_id, IGNORED)
            return Batch(tensors={**made.tensors, "labels": labels}, tokens=made.tokens)

    monkeypatch.setattr(pretraining, "TokenBatches", Collated)
    found = pretraining_refused(tmp_path, inputs)
    assert found.name == "stop token outside the loss mask"
    assert "<|endoftext|> after '" in str(found)
    assert "is masked (row " in str(found)


@pytest.mark.parametrize(("shift", "explained"), [(0, "they are not shifted"), (2, "they are shifted twice")])
def test_pretraining_on_labels_of_another_shift_is_stopped(
    shift: int, explained: str, inputs: Mapping[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Moved(TokenBatches):
        def batch(self, position: int) -> Batch:
            made = super().batch(position)
            moved = made.tensors["ids"] if shift == 0 else made.tensors["labels"].roll(-1, 1)
            return Batch(tensors={**made.tensors, "labels": moved}, tokens=made.tokens)

    monkeypatch.setattr(pretraining, "TokenBatches", Moved)
    found = pretraining_refused(tmp_path, inputs)
    assert (found.name, explained in str(found)) == ("labels are not the next token", True)


def test_pretraining_with_a_mean_for_a_sum_is_stopped(
    inputs: Mapping[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretraining, "NextToken", Mean)
    assert pretraining_refused(tmp_path, inputs).name == "gradient accumulation changes the training"


class Counting(DroppedNextToken):
    """An objective with a state of its own, which every reading changes."""

    def __init__(self) -> None:
        self.read = 0

    def loss(self, module: Any, batch: Batch) -> Loss:
        self.read += 1
        return super().loss(module, batch)

    def state_dict(self) -> dict[str, Any]:
        return {"read": self.read}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.read = state["read"]


def test_a_training_with_a_preflight_ends_in_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a module that draws torch's numbers, with an objective whose state would tell."""
    looked: list[Start] = []

    def go(name: str) -> Path:
        train_tiny(tmp_path / name, steps=4, module=Dropping(), objective=Counting())
        return tmp_path / name / "step-00000004"

    def draw(start: Start) -> Verdict:
        looked.append(start)
        torch.rand(17)
        start.objective.loss(start.module, start.batch).total.backward()  # type: ignore[no-untyped-call]
        assert not start.module.training
        return True, ""

    monkeypatch.setattr(preflight, "EVERYWHERE", (*EVERYWHERE, Check(name="draws", find=draw)))
    with_preflight = go("with")
    assert len(looked) == 1
    assert looked[0].module.training
    monkeypatch.setattr(engine, "preflight", lambda *_: 0.0)
    without = go("without")
    assert len(looked) == 1
    for name in ("model.safetensors", "optimizer.safetensors"):
        assert (with_preflight / name).read_bytes() == (without / name).read_bytes()
    states = [json.loads((each / "state.json").read_text(encoding="utf-8")) for each in (with_preflight, without)]
    assert states[0]["objective"] == states[1]["objective"] == {"read": 12}


def test_what_it_looks_at_is_put_back_before_step_1(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[tuple[bool, bool]] = []
    right = gradients._backward

    def watch(module: nn.Module, *rest: Any) -> Any:
        seen.append((module.training, all(each.grad is None for each in module.parameters())))
        return right(module, *rest)

    monkeypatch.setattr(gradients, "_backward", watch)
    train_tiny(tmp_path, steps=1)
    assert seen == [(False, True), (False, True), (True, True)]


def test_a_resumed_training_has_no_preflight_and_its_time_is_no_part_of_step_1(tmp_path: Path) -> None:
    calls: list[int] = []
    seconds: list[float] = []

    def slow(_: Start) -> Verdict:
        calls.append(1)
        time.sleep(1)
        return True, ""

    hooks = [lambda _, metrics: seconds.append(metrics["step_seconds"])]
    for steps in (4, 6):
        train_tiny(tmp_path, steps=steps, checks=[Check(name="slow", find=slow)], hooks=hooks)
    assert len(calls) == 1
    assert seconds[0] < 0.9


def with_a_mean(rank: int, folder: Path) -> None:
    del rank
    train_tiny(folder / "checkpoints", objective=Mean())


def test_all_workers_refuse_what_the_first_one_finds(tmp_path: Path) -> None:
    with_ranks(2, tmp_path, with_a_mean)
    assert raised(tmp_path, 0) == raised(tmp_path, 1)
    assert raised(tmp_path, 0).startswith("PreflightFailed: gradient accumulation changes the training: ")


def test_a_refusal_crosses_processes_with_its_name() -> None:
    found = pickle.loads(pickle.dumps(PreflightFailed("nothing to learn from", "row 3")))
    assert (type(found), found.name, str(found)) == (
        PreflightFailed,
        "nothing to learn from",
        "nothing to learn from: row 3",
    )


def test_a_long_sample_is_shown_by_its_end(words: ChatTokenizer) -> None:
    assert preflight.shown(words.encode_text("ab"), words) == "'ab'"
    long = preflight.shown(words.encode_text("x" * 500 + "the end"), words)
    assert long.startswith("'…x")
    assert long.endswith("xthe end'")
    assert len(long) < 170
    assert preflight.shown([1, 2, 3], None) == "ids 1, 2, 3"
