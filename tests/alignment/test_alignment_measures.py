"""The figures of the reward model's gate and of RLHF's gate, on models and sets where they can be worked out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.catalogue import load_model, save_model
from models.heads import RewardModel, save_reward_model
from models.sampling import Sample, SamplingConfig
from models.tokenizers.chat import ChatTokenizer
from tasks.alignment import annotator
from tasks.alignment.drawing import InstructionItem
from tasks.alignment.instructions import read_items
from tasks.alignment.measures import ANSWERS_PER_QUESTION, by_question, kl_per_answer, measure_aligned, measure_reward
from tasks.alignment.preferences import Pair
from tasks.corpus.staging import write_json
from tasks.evaluation.answers import ask, exact_match
from tasks.release.gates import AlignGate, GatesConfig, judge
from tasks.tokenization.shards import DOCUMENT, ShardWriter, dtype_for, write_documents


def pair(chosen: str, rejected: str, number: int) -> Pair:
    return Pair(
        id=str(number), task="planted", prompt=f"{number}", chosen=chosen, rejected=rejected,
        chosen_finished=True, rejected_finished=True, chosen_score=1.0, rejected_score=0.0,
    )  # fmt: skip


class Planted(RewardModel):
    """A reward model whose head alone speaks: with `sign` it likes what it likes, or the opposite."""

    def __init__(self, model: Any, sign: float, *, likelihood: float = 0.0) -> None:
        super().__init__(model)
        with torch.no_grad():
            torch.nn.init.constant_(self.head.weight, 0.0)
            self.likelihood.fill_(likelihood * sign)


@pytest.fixture
def preferences(tmp_path: Path, write_rows: Callable[..., None]) -> Callable[..., Path]:
    def make(pairs: list[Pair]) -> Path:
        folder = tmp_path / "preferences"
        write_rows(folder / "valid.jsonl", pairs)
        write_json(folder / "index.json", {"annotator": annotator.NAME, "valid": {"tie_share": 0.25}})
        return folder

    return make


@pytest.fixture
def reward_folder(tmp_path: Path, tokenizer: ChatTokenizer, small_model: Callable[..., Any]) -> Callable[..., Path]:
    def make(sign: float, *, likelihood: float = 1.0) -> Path:
        folder = tmp_path / f"reward{sign}{likelihood}"
        save_reward_model(folder, Planted(small_model(3, spread=3.0), sign, likelihood=likelihood), tokenizer)
        return folder

    return make


def test_accuracy_stands_beside_what_lengths_alone_say(
    preferences: Callable[..., Path], reward_folder: Callable[..., Path]
) -> None:
    # the shorter answer is the better one in 6 of 8, both are of one length in 2
    lengths = [(1, 3)] * 6 + [(2, 2)] * 2
    pairs = [pair("a" * good, "b" * bad, number) for number, (good, bad) in enumerate(lengths)]
    folder = preferences(pairs)
    found = measure_reward(str(reward_folder(1)), str(folder))
    opposite = measure_reward(str(reward_folder(-1)), str(folder))
    assert found["length_rule"] == "shorter wins"
    assert found["length_accuracy"]["value"] == (6 + 2 * 0.5) / 8
    assert found["accuracy"]["value"] + opposite["accuracy"]["value"] == 1, (
        "the opposite model is right where this is wrong"
    )
    assert found["over_length"]["value"] == pytest.approx(found["accuracy"]["value"] - 7 / 8)
    assert (found["annotator"], found["tie_share"], found["pairs"]) == ("rule annotator", 0.25, 8)
    assert found["reward_ties"] == 0


def test_a_model_that_says_the_same_of_everything_has_told_nothing(
    preferences: Callable[..., Path], reward_folder: Callable[..., Path]
) -> None:
    folder = preferences([pair("a", "bb", number) for number in range(5)])
    found = measure_reward(str(reward_folder(1, likelihood=0.0)), str(folder))
    assert (found["accuracy"]["value"], found["reward_ties"]) == (0.0, 1.0)
    assert found["length_accuracy"]["value"] == 1.0
    assert found["over_length"]["high"] < 0


def test_the_kl_of_answers_is_the_log_ratio_of_their_tokens(
    tokenizer: ChatTokenizer, small_model: Callable[..., Any], make_item: Callable[..., InstructionItem]
) -> None:
    policy, reference = small_model(1), small_model(2)
    items = [make_item(f"say {'x' * (number % 20)}", "a") for number in range(100)]
    answers = [
        Sample(tokens=tuple(range(30, 31 + number % 5)), log_probabilities=(), finished=False) for number in range(100)
    ]
    found = kl_per_answer(policy, reference, tokenizer, items, answers, 0.7)
    assert len(found) == 100
    for number in (0, 3, 63, 64, 99):
        prompt = tokenizer.encode_prompt([{"role": "user", "content": items[number].prompt}])
        ids = torch.tensor([[*prompt, *answers[number].tokens]])
        with torch.inference_mode():
            scores = [torch.log_softmax(model(input_ids=ids).logits[0] / 0.7, 1) for model in (policy, reference)]
        expected = sum(
            float(scores[0][len(prompt) - 1 + place, token] - scores[1][len(prompt) - 1 + place, token])
            for place, token in enumerate(answers[number].tokens)
        )
        assert found[number] == pytest.approx(expected, abs=1e-4)
    assert kl_per_answer(policy, policy, tokenizer, items, answers, 0.7) == [0.0] * 100


@pytest.fixture(scope="module")
def tokens(tokenizer: ChatTokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A test split of six documents."""
    folder = tmp_path_factory.mktemp("tokens")
    texts = [f"plain text number {number}. " * 4 for number in range(6)]
    ids = [[*tokenizer.encode_text(text), tokenizer.end_of_text_id] for text in texts]
    writer = ShardWriter(folder, "test", dtype_for(261))
    starts = np.cumsum([0, *map(len, ids)])
    writer.write(np.concatenate([np.array(each) for each in ids]))
    rows = np.array([(start, len(text), 0) for start, text in zip(starts, texts, strict=False)], dtype=DOCUMENT)
    write_documents(folder, "test", [rows])
    split = {"tokens": int(starts[-1]), "documents": 6, "bytes": int(rows["bytes"].sum()), "shards": writer.shards}
    write_json(
        folder / "index.json",
        {"dtype": "uint16", "vocabulary": 261, "end_id": 0, "kinds": ["text"], "splits": {"test": split}},
    )
    return folder


def aligned(policy: Path, reference: Path, instructions: Path, tokens: Path, **changed: Any) -> dict[str, Any]:
    options = {"max_answer_tokens": 6, "temperature": 1.0, "seed": 5, **changed}
    return measure_aligned(str(policy), str(reference), str(instructions), str(tokens), **options)


def test_a_policy_that_is_its_reference_differs_in_nothing(half_taught: Path, instructions: Path, tokens: Path) -> None:
    found = aligned(half_taught, half_taught, instructions, tokens)
    assert found["score"]["policy"] == found["score"]["reference"]
    nothing = {"value": 0.0, "low": 0.0, "high": 0.0}
    assert {key: found["kl"][key] for key in nothing} == nothing
    other = 1.959964**2 / (4 + 1.959964**2)  # what four questions cannot tell of others
    for gain in (found["over_reference"], found["exact_match_over_reference"]):
        assert (gain["value"], gain["low"], gain["high"]) == (0.0, pytest.approx(-other), pytest.approx(other))
    assert found["bits_lost"]["value"] == 0
    assert (found["annotator"], found["rule"]) == (annotator.NAME, annotator.rule_digest())
    assert (found["items"], found["over_reference"]["n"], found["bits_lost"]["n"]) == (4, 4, 6)


def test_the_difference_is_the_policys_and_its_sign_is_right(
    base: Path, half_taught: Path, instructions: Path, tokens: Path
) -> None:
    found = aligned(half_taught, base, instructions, tokens)
    difference = found["score"]["policy"]["value"] - found["score"]["reference"]["value"]
    assert found["over_reference"]["value"] == pytest.approx(difference)
    assert difference > 0, "a model that was taught to echo beats one that knows nothing"
    assert found["kl"]["value"] > 0
    assert found["exact_match_over_reference"]["n"] == found["items"] == 4, "one greedy answer a question"
    bits = found["bits_per_byte"]
    assert found["bits_lost"]["value"] == pytest.approx(bits["policy"]["value"] - bits["reference"]["value"])
    assert found["finished"]["policy"] > found["finished"]["reference"]
    assert found["answer_tokens"]["policy"] < found["answer_tokens"]["reference"] <= 6


def test_what_greedy_answers_lose_is_seen_beside_the_score_of_sampled_ones(
    base: Path, half_taught: Path, instructions: Path, tokens: Path
) -> None:
    """A policy that forgot all that its reference knew, against what both say when they are asked one by one."""
    items = read_items(instructions / "valid.jsonl")
    right = {}
    for name, folder in (("policy", base), ("reference", half_taught)):
        model, tokenizer = load_model(folder)
        config = SamplingConfig(max_tokens=6, temperature=0.0)
        said = [ask(model, tokenizer, [item.prompt], config)[0].text for item in items]
        right[name] = [exact_match(text, item.answer) for text, item in zip(said, items, strict=True)]
    found = aligned(base, half_taught, instructions, tokens)
    shares = {name: sum(values) / 4 for name, values in right.items()}
    assert {name: found["exact_match"][name]["value"] for name in shares} == shares
    assert shares["reference"] > shares["policy"] == 0
    assert found["exact_match_over_reference"]["value"] == -shares["reference"]
    gates = GatesConfig(align=AlignGate(min_items=4, min_gain_score=-1.0, max_kl=99.0, max_bits_lost=99.0))
    assert judge("align", found, gates).reason.startswith("exact match, greedy, over the reference: -")


def test_only_the_named_families_are_judged(
    base: Path, half_taught: Path, instructions: Path, tokens: Path, tmp_path: Path, make_item: Any, write_rows: Any
) -> None:
    echo = read_items(instructions / "valid.jsonl")
    write_rows(tmp_path / "valid.jsonl", [*echo, *(make_item(f"shout {each}", each, task="shout") for each in "ab")])
    alone = aligned(half_taught, base, instructions, tokens)
    assert aligned(half_taught, base, tmp_path, tokens, families=["echo"]) == {**alone, "families": ["echo"]}
    assert aligned(half_taught, base, tmp_path, tokens)["items"] == 6


def test_the_same_seed_gives_the_same_figures_and_another_seed_others(
    half_taught: Path, base: Path, instructions: Path, tokens: Path
) -> None:
    first = aligned(half_taught, base, instructions, tokens)
    assert aligned(half_taught, base, instructions, tokens) == first
    assert aligned(half_taught, base, instructions, tokens, seed=6)["kl"] != first["kl"]


def test_both_models_meet_the_same_random_numbers(
    half_taught: Path, tmp_path: Path, instructions: Path, tokens: Path
) -> None:
    """A policy that moved by next to nothing says the same answers: the pairs cancel what is chance."""
    model, tokenizer = load_model(half_taught)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 1e-7)
    save_model(tmp_path / "near", model, tokenizer)
    found = aligned(tmp_path / "near", half_taught, instructions, tokens)
    assert found["over_reference"]["value"] == 0
    assert abs(found["kl"]["value"]) < 1e-3


def test_a_question_counts_as_the_mean_of_its_answers(
    base: Path, half_taught: Path, instructions: Path, tokens: Path
) -> None:
    assert by_question([1.0, 2.0, 3.0, 4.0, 5.0, 5.0, 5.0, 5.0]) == [2.5, 5.0]
    found = aligned(half_taught, base, instructions, tokens)
    assert found["answers_per_item"] == ANSWERS_PER_QUESTION
    assert found["score"]["policy"]["n"] == found["kl"]["n"] == found["items"] == 4, "intervals are over questions"
