"""The bugs of items 1 to 10 that users of such systems report, planted in the stages: each stops the run by its name."""

import dataclasses
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from models.catalogue import load_model
from models.heads import RewardModel, save_reward_model
from models.tokenizers import bpe
from models.tokenizers.chat import ChatTokenizer
from models.tokenizers.own_templates import EARLIER_TEMPLATE
from models.tokenizers.special import EARLIER_TOKENS
from tasks.alignment import dialogues, instruct, ppo, reward, rollouts
from tasks.alignment import preflight as alignment
from tasks.alignment.dialogues import Dialogue
from tasks.alignment.preferences import Pair
from tasks.alignment.rollouts import RolloutConfig
from tasks.training import preflight
from tasks.training.batches import IGNORED, Batch
from tasks.training.engine import TrainingConfig
from tasks.training.objectives import Loss, NextToken
from tasks.training.optimizers import OptimizerConfig, Schedule
from tasks.training.preflight import EVERYWHERE, PreflightFailed, Start, Verdict

TRAINING = TrainingConfig(steps=2, batch_sequences=8, optimizer=OptimizerConfig(learning_rate=0.01))
INSTRUCT = instruct.InstructConfig(training=TRAINING)
PPO = ppo.PPOConfig(
    iterations=1,
    optimizer=OptimizerConfig(learning_rate=0.003),
    rollouts=RolloutConfig(prompts=16, epochs=1, minibatch_sequences=8, max_answer_tokens=6),
)
# a space before each answer, which training would never see
SPACED = EARLIER_TEMPLATE.replace("<|assistant|>", "<|assistant|> ")
Stage = Callable[[], Any]


@pytest.fixture(autouse=True)
def verdicts(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Verdict]]:
    """What every check of the last preflight found, the later ones too."""
    found: list[tuple[str, Verdict]] = []
    right = preflight.first_wrong

    def watch(start: Start, checks: Sequence[preflight.Check]) -> Any:
        first = right(start, checks)
        if first is None:
            with preflight.undisturbed(start):
                found.extend((check.name, check.find(start)) for check in (*EVERYWHERE, *checks))
        return first

    monkeypatch.setattr(preflight, "first_wrong", watch)
    return found


def refused(stage: Any, record: dict[str, Any]) -> PreflightFailed:
    with pytest.raises(PreflightFailed) as caught:
        stage.run(record, [lambda *_: pytest.fail("a step was made")])
    return caught.value


@pytest.fixture
def tuning(base: Path, instructions: Path, job_in: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    return job_in("tuning", INSTRUCT, base=base, instructions=instructions)


def pair(chosen: str, rejected: str, *, prompt: str = "say h", finished: bool = True) -> Pair:
    return Pair(
        id=f"{prompt}{chosen}{rejected}", task="echo", prompt=prompt, chosen=chosen, rejected=rejected,
        chosen_finished=True, rejected_finished=finished, chosen_score=1.0, rejected_score=0.0,
    )  # fmt: skip


@pytest.fixture
def judging(
    half_taught: Path, tmp_path: Path, write_rows: Any, job_in: Callable[..., dict[str, Any]]
) -> Callable[..., dict[str, Any]]:
    """judging(pairs) -> the job of a reward model that is trained on them and ten more."""

    def make(*pairs: Pair) -> dict[str, Any]:
        more = [pair(letter * 2, letter, finished=letter != "c") for letter in "abcdefghij"]
        write_rows(tmp_path / "preferences" / "train.jsonl", [*more, *pairs])
        config = reward.RewardConfig(training=TRAINING)
        return job_in("reward", config, base=half_taught, preferences=tmp_path / "preferences")

    return make


@pytest.fixture
def judge(half_taught: Path, tmp_path: Path) -> Path:
    """The folder of a reward model that was never trained."""
    model, tokenizer = load_model(half_taught)
    torch.manual_seed(1)
    save_reward_model(tmp_path / "judge", RewardModel(model), tokenizer)
    return tmp_path / "judge"


@pytest.fixture
def aligning(
    half_taught: Path, judge: Path, instructions: Path, job_in: Callable[..., dict[str, Any]]
) -> dict[str, Any]:
    return job_in("aligning", PPO, base=half_taught, reward=judge, instructions=instructions)


def test_right_stages_pass_every_check(
    tuning: dict[str, Any], judging: Any, aligning: dict[str, Any], verdicts: list[tuple[str, Verdict]]
) -> None:
    jobs = {instruct: tuning, reward: judging(), ppo: aligning}
    for stage, record in jobs.items():
        assert stage.run(record, [])["steps"] == 2
    everywhere = [check.name for check in EVERYWHERE]
    assert [name for name, _ in verdicts] == [
        *everywhere,
        alignment.NOTHING_LEARNED,
        "labels are not the next token",
        "the loss is not the next token's cross-entropy",
        "packed loss differs from unpacked loss",
        alignment.NO_END,
        alignment.END_OUTSIDE,
        alignment.OTHER_TEMPLATE,
        alignment.OTHER_TEMPLATE,
        *everywhere,
        alignment.NOTHING_LEARNED,
        alignment.END_OUTSIDE,
        alignment.OTHER_TEMPLATE,
        *everywhere,
        alignment.OTHER_TEMPLATE,
        alignment.OTHER_TEMPLATE,
        alignment.END_OUTSIDE,
        alignment.OTHER_CHANCES,
    ]
    assert all(verdict == (True, "") for _, verdict in verdicts)


# Instruction tuning.


def cut(chosen: str) -> Callable[..., Dialogue]:
    """Dialogues without their end where the answer is one of `chosen`: cut at some length, for example."""
    right = dialogues.dialogue_of

    def wrong(item: Any, tokenizer: ChatTokenizer) -> Dialogue:
        made = right(item, tokenizer)
        return dataclasses.replace(made, ids=made.ids[:-1], said=made.said[:-1]) if item.answer in chosen else made

    return wrong


def unlearned_end(item: Any, tokenizer: ChatTokenizer) -> Dialogue:
    """The end token stands there and is not learned (trl 7230)."""
    ids, said = tokenizer.encode_dialogue(
        [{"role": "user", "content": item.prompt}, {"role": "assistant", "content": item.answer}]
    )
    return Dialogue(ids=tuple(ids), said=(*said[:-1], item.answer != "e"), prompt=item.prompt)


@pytest.mark.parametrize("bug", [cut("e"), unlearned_end])
def test_an_answer_whose_end_is_not_learned_is_shown(
    bug: Any, tuning: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialogues, "dialogue_of", bug)
    found = refused(instruct, tuning)
    assert found.name == "stop token outside the loss mask"
    assert "what is learned of an answer ends with 'e' and not with <|end|> ('<|user|>say e<|end|>" in str(found)


def test_a_broken_dialogue_that_the_first_batch_lacks_is_found_too(
    tuning: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialogues, "dialogue_of", cut("e"))
    tuning["config"]["training"]["batch_sequences"] = 2
    tuning["seed"] = 4  # whose first two dialogues are others
    assert "ends with 'e'" in str(refused(instruct, tuning))


def test_an_end_that_no_answer_has_is_named_so(tuning: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialogues, "dialogue_of", cut("abcdefgh"))
    found = refused(instruct, tuning)
    assert found.name == "end-of-turn learned nowhere"
    assert "none of the 8 answers of the first batch has <|end|> among its labels" in str(found)


def collated(change: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> Callable[..., Batch]:
    """Right dialogues whose labels are changed as they become a batch: change(ids, labels) -> labels."""
    right = dialogues.batch_of

    def wrong(chosen: Sequence[Dialogue], pad_id: int) -> Batch:
        made = right(chosen, pad_id)
        labels = change(made.tensors["ids"], made.tensors["labels"].clone())
        return Batch(tensors={**made.tensors, "labels": labels}, tokens=made.tokens)

    return wrong


def test_ends_that_are_masked_as_padding_are_learned_nowhere(
    tuning: dict[str, Any], tokenizer: ChatTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """trl 3091, 1623, 2059: the token that pads is the one that ends."""
    mask = collated(lambda _, labels: labels.masked_fill(labels == tokenizer.end_id, IGNORED))
    monkeypatch.setattr(dialogues, "batch_of", mask)
    found = refused(instruct, tuning)
    assert found.name == "end-of-turn learned nowhere"
    assert "<|assistant|>" in str(found)


def test_a_row_whose_labels_are_all_masked_is_shown(tuning: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """nanochat 590: alone in a micro-batch its mean is 0 / 0."""

    def mask(_: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        labels[2] = IGNORED
        return labels

    monkeypatch.setattr(dialogues, "batch_of", collated(mask))
    found = refused(instruct, tuning)
    assert found.name == "nothing to learn from"
    assert "row 2 of the first batch has no label, every one is masked: '<|user|>say " in str(found)


def test_an_empty_answer_is_shown(
    tuning: dict[str, Any], tmp_path: Path, make_item: Any, write_rows: Any, instructions: Path
) -> None:
    folder = shutil.copytree(instructions, tmp_path / "with-empty")
    write_rows(folder / "train.jsonl", [make_item("say a", "a"), make_item("say b", "")])
    tuning["inputs"]["instructions"] = str(folder)
    found = refused(instruct, tuning)
    assert str(found).startswith(
        "nothing to learn from: '<|user|>say b<|end|><|assistant|><|end|>' has an empty answer"
    )


@pytest.mark.parametrize(
    ("change", "explained"),
    [
        (lambda ids, labels: torch.where(labels == IGNORED, IGNORED, ids), "they are not shifted"),
        (lambda _, labels: torch.cat([labels[:, 1:], labels[:, :1]], 1), "they are shifted twice"),
    ],
)
def test_labels_of_another_shift_are_shown(
    change: Any, explained: str, tuning: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialogues, "batch_of", collated(change))
    found = refused(instruct, tuning)
    assert found.name == "labels are not the next token"
    assert explained in str(found)
    assert "after '<|user|>say " in str(found)


def test_a_completion_mask_that_was_dropped_is_stopped(tuning: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Megatron-Bridge 3359, nanochat 582: the mask becomes all ones, the question is learned like the answer."""
    right = dialogues.dialogue_of

    def wrong(item: Any, tokenizer: ChatTokenizer) -> Dialogue:
        made = right(item, tokenizer)
        return dataclasses.replace(made, said=(True,) * len(made.said))

    monkeypatch.setattr(dialogues, "dialogue_of", wrong)
    found = refused(instruct, tuning)
    assert found.name == "template of training is not the template of inference"
    assert (
        "token 0 of '<|user|>say a<|end|><|assistant|>' is not read before the answer in training and '<|user|>' where"
        in str(found)
    )


def with_template(folder: Path, target: Path, template: str) -> Path:
    """The model of a folder with another chat template."""
    shutil.copytree(folder, target)
    settings = json.loads((target / "tokenizer_config.json").read_text(encoding="utf-8"))
    (target / "tokenizer_config.json").write_text(json.dumps({**settings, "chat_template": template}), encoding="utf-8")
    return target


@pytest.mark.parametrize(
    ("template", "next_token"),
    [
        (EARLIER_TEMPLATE.replace("{{ message.content }}<|end|>", "{{ message.content }}"), "'<|user|>'"),
        (
            "{% for m in messages %}[{{ m.role }}]{{ m.content }}"
            "{% if m.role == 'user' %}<|end|>{% endif %}{% endfor %}",
            "'['",
        ),
    ],
)  # fmt: skip
def test_a_template_that_drops_the_end_of_an_answer_is_stopped(
    template: str, next_token: str, tuning: dict[str, Any], base: Path, tmp_path: Path
) -> None:
    """trl 5988: in a longer dialogue the stop token is not where it was learned."""
    tuning["inputs"]["base"] = str(with_template(base, tmp_path / "broken", template))
    found = refused(instruct, tuning)
    assert found.name == "template of training is not the template of inference"
    assert f"drops <|end|>: after an answer it goes on with {next_token}" in str(found)


def test_a_template_that_only_parts_answer_and_end_is_taken(tokenizer: ChatTokenizer) -> None:
    spaced = EARLIER_TEMPLATE.replace("{{ message.content }}<|end|>", " {{ message.content }} <|end|>\n")
    made = ChatTokenizer(
        bpe.fit([], vocabulary=261, special_tokens=EARLIER_TOKENS),
        template=spaced,
        end="<|end|>",
        end_of_text="<|endoftext|>",
        pad="<|pad|>",
    )
    assert made.vocabulary == tokenizer.vocabulary
    assert alignment.template_keeps_ends(made) == (True, "")


def test_a_template_that_is_not_carried_to_inference_is_stopped(
    tuning: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """LlamaFactory 6020: the saved model is asked with another template than it was taught with."""
    right = ChatTokenizer.save

    def wrong(self: ChatTokenizer, folder: Path) -> None:
        right(self, folder)
        path = folder / "tokenizer_config.json"
        settings = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps({**settings, "chat_template": SPACED}), encoding="utf-8")

    monkeypatch.setattr(ChatTokenizer, "save", wrong)
    found = refused(instruct, tuning)
    assert found.name == "template of training is not the template of inference"
    # <|user|> s a y space a <|end|> <|assistant|>, and there training has nothing more to ask
    assert (
        "token 8 of '<|user|>say a<|end|><|assistant|> ' is not read before the answer in training and 'Ġ' where"
        in str(found)
    )


class Mean(NextToken):
    def loss(self, module: Any, batch: Batch) -> Loss:
        found, weight = super().loss(module, batch), self.weight(batch)
        return Loss(total=found.total / weight, sums={"loss": found.sums["loss"] / weight})


class OncePer(reward.PairwisePreference):
    """The mean over the pairs of a micro-batch."""

    def loss(self, module: Any, batch: Batch) -> Loss:
        found = super().loss(module, batch)
        return Loss(total=found.total / len(batch), sums={"loss": found.sums["loss"] / len(batch)})


class OncePerAnswer(ppo.ClippedPolicy):
    """The mean over the chosen tokens of a micro-batch."""

    def loss(self, module: Any, batch: Batch) -> Loss:
        found, weight = super().loss(module, batch), self.weight(batch)
        return Loss(total=found.total / weight, sums={name: value / weight for name, value in found.sums.items()})


def test_means_of_means_are_stopped_in_every_stage(
    tuning: dict[str, Any], judging: Any, aligning: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    planted = {"NextToken": (instruct, Mean, tuning), "PairwisePreference": (reward, OncePer, judging())}
    planted["ClippedPolicy"] = (ppo, OncePerAnswer, aligning)
    for name, (stage, wrong, record) in planted.items():
        monkeypatch.setattr(stage, name, wrong)
        found = refused(stage, record)
        assert found.name == "gradient accumulation changes the training"
        assert "as 8 x 1" in str(found)


def test_schedules_that_end_early_are_stopped_in_every_stage(
    tuning: dict[str, Any], judging: Any, aligning: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    right = Schedule.share
    monkeypatch.setattr(Schedule, "share", lambda self, step, steps: right(self, step, steps) * (step < 2))
    for stage, record in ((instruct, tuning), (reward, judging()), (ppo, aligning)):
        found = refused(stage, record)
        assert found.name == "the learning rate ends before the data"
        assert "from step 2 of 2 on" in str(found)


# Reward modelling.


def test_a_pair_of_equal_answers_is_shown(judging: Any) -> None:
    found = refused(reward, judging(pair("kk", "kk")))
    assert found.name == "nothing to learn from"
    assert "both answers of a pair are '<|user|>say h<|end|><|assistant|>kk<|end|>'" in str(found)


def test_an_answer_that_ended_and_is_read_without_its_end_is_shown(
    judging: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = reward.answered
    monkeypatch.setattr(reward, "answered", lambda *given: right(*given[:3], False))
    found = refused(reward, judging())
    assert found.name == "stop token outside the loss mask"
    assert "an answer that ended by itself is read with 'a' as its last token" in str(found)


def test_pairs_that_are_read_by_another_template_are_shown(judging: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    right = reward.answered

    def wrong(tokenizer: ChatTokenizer, prompt: str, answer: str, finished: bool) -> reward.Answered:
        made = right(tokenizer, prompt, answer, finished)
        return reward.Answered(ids=made.ids[1:], start=made.start - 1)

    monkeypatch.setattr(reward, "answered", wrong)
    found = refused(reward, judging())
    assert found.name == "template of training is not the template of inference"
    assert "token 0 of '<|user|>say h<|end|><|assistant|>' is 's' in training and '<|user|>' where the model is" in str(
        found
    )


# PPO.


def test_a_reward_model_of_another_template_is_not_asked(aligning: dict[str, Any], judge: Path, tmp_path: Path) -> None:
    aligning["inputs"]["reward"] = str(with_template(judge, tmp_path / "other", SPACED))
    found = refused(ppo, aligning)
    assert found.name == "template of training is not the template of inference"
    assert "token 8 of '<|user|>say a<|end|><|assistant|> ' is not read" in str(found)
    assert "where the model is asked or judged" in str(found)


def test_a_sampler_of_another_temperature_is_stopped(aligning: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """trl 4159: the log-probabilities that were sampled are not those that are trained on."""
    right = rollouts.SamplingConfig
    monkeypatch.setattr(rollouts, "SamplingConfig", lambda **given: right(**{**given, "temperature": 0.5}))
    found = refused(ppo, aligning)
    assert found.name == "sampler and trainer disagree about log-probabilities"
    assert "was sampled at log-probability -" in str(found)
    assert "give both one temperature" in str(found)


def test_an_objective_of_another_temperature_is_stopped(
    aligning: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Warmer(ppo.ClippedPolicy):
        def __init__(self, config: ppo.PPOConfig) -> None:
            super().__init__(config)
            self._temperature = 1.5

    monkeypatch.setattr(ppo, "ClippedPolicy", Warmer)
    found = refused(ppo, aligning)
    assert found.name == "sampler and trainer disagree about log-probabilities"
    assert "before the first step the policy is 0." in str(found)


def test_a_policy_with_dropout_is_stopped(
    aligning: dict[str, Any], half_taught: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With it even the first ratio is not 1; the preflight must not look at the policy without it."""
    base = shutil.copytree(half_taught, tmp_path / "dropping")
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    (base / "config.json").write_text(json.dumps({**config, "attention_dropout": 0.5}), encoding="utf-8")
    aligning["inputs"]["base"] = str(base)
    monkeypatch.setattr(ppo, "without_dropout", lambda model: model)
    assert refused(ppo, aligning).name == "sampler and trainer disagree about log-probabilities"


def test_actions_without_the_end_are_shown(aligning: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The policy would never be paid for ending; one row alone is enough to stop it."""
    right = rollouts.action_tensors

    def wrong(*given: Any) -> dict[str, torch.Tensor]:
        tensors = right(*given)
        last = tensors["mask"].sum(1) - 2
        several = tensors["actions"].sum(1) > 1
        tensors["actions"][several, last[several]] = 0
        return tensors

    monkeypatch.setattr(rollouts, "action_tensors", wrong)
    monkeypatch.setattr(rollouts, "_at_actions", lambda actions, _: actions)
    found = refused(ppo, aligning)
    assert found.name == "stop token outside the loss mask"
    assert ", is not among the actions ('<|user|>say " in str(found)
