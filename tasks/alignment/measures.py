"""What the gates of the reward model and of RLHF look at: plain figures as JSON.

The rule annotator judges answers here; the reward that PPO climbs is the learned reward model's.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from models.catalogue import load_model
from models.heads import load_reward_model
from models.sampling import Sample, SamplingConfig, sample
from models.tokenizers.chat import ChatTokenizer
from tasks.alignment import annotator
from tasks.alignment.drawing import InstructionItem
from tasks.alignment.instructions import read_asked
from tasks.alignment.preferences import Pair, read_pairs, read_preferences_index
from tasks.alignment.reward import answered, score_rows
from tasks.alignment.rollouts import action_tensors, score_actions
from tasks.evaluation.answers import ask, exact_match
from tasks.evaluation.held_out import identity_of, measure
from tasks.evaluation.intervals import difference_interval, mean_interval, ratio_interval, scores_interval
from tasks.evaluation.measures import TEST_SPLIT, Figures
from tasks.tokenization.shards import open_split

KEY_OF_EVALUATION = 1 << 40  # beyond every key that a rollout has used: no answer is judged that was trained on
ANSWERS_PER_QUESTION = 4  # a question counts as the mean of its answers: their chance blurs the difference less
SCORED_AT_ONCE = 64


def measure_reward(reward: str, preferences: str) -> Figures:
    """Pair accuracy on held-out questions, beside what the lengths of the answers alone would say."""
    model, tokenizer = load_reward_model(Path(reward))
    pairs = read_pairs(Path(preferences) / "valid.jsonl")
    chosen, rejected = (_rewards(model, tokenizer, pairs, which) for which in ("chosen", "rejected"))
    # a tie is no win: a model that says the same of both has not told them apart
    right = [float(better > worse) for better, worse in zip(chosen, rejected, strict=True)]
    lengths = [(len(pair.chosen), len(pair.rejected)) for pair in pairs]
    longer = [_win(better, worse) for better, worse in lengths]
    shorter = [_win(worse, better) for better, worse in lengths]
    rule, best = max((("longer wins", longer), ("shorter wins", shorter)), key=lambda entry: sum(entry[1]))
    index = read_preferences_index(Path(preferences))
    return {
        "annotator": index["annotator"],
        "accuracy": scores_interval(right).record(),
        "length_rule": rule,
        "length_accuracy": scores_interval(best).record(),
        "over_length": difference_interval(right, best).record(),
        "reward_ties": sum(better == worse for better, worse in zip(chosen, rejected, strict=True)) / len(pairs),
        "tie_share": index["valid"]["tie_share"],
        "pairs": len(pairs),
    }


def _rewards(model: Any, tokenizer: ChatTokenizer, pairs: Sequence[Pair], which: str) -> list[float]:
    rows = [
        answered(tokenizer, pair.prompt, getattr(pair, which), getattr(pair, f"{which}_finished")) for pair in pairs
    ]
    return [float(value) for value in score_rows(model, rows, tokenizer.pad_id)]


def _win(better: int, worse: int) -> float:
    return 0.5 if better == worse else float(better > worse)


def measure_aligned(
    policy: str,
    reference: str,
    instructions: str,
    tokens: str,
    *,
    max_answer_tokens: int,
    temperature: float,
    seed: int,
    families: Sequence[str] = (),
) -> Figures:
    """The rule annotator's score of sampled answers to held-out questions, policy against reference under the same
    random numbers; the KL between them on the policy's answers; exact match of the greedy answers of both, which the
    score of sampled ones can hide a loss of; bits per byte of both on plain text. Intervals are over questions, those
    of `families` alone if some are named.
    """
    config = SamplingConfig(max_tokens=max_answer_tokens, temperature=temperature)
    models = {name: load_model(Path(path)) for name, path in (("policy", policy), ("reference", reference))}
    questions = _fitting(read_asked(Path(instructions) / "valid.jsonl", families), *models["reference"])
    items = [item for item in questions for _ in range(ANSWERS_PER_QUESTION)]
    answers = {name: _sampled(*models[name], items, config, seed) for name in models}
    tokenizer = models["policy"][1]
    scores = {name: by_question(_judged(tokenizer, items, found)) for name, found in answers.items()}
    exact = {name: _exact_matches(*models[name], questions, max_answer_tokens) for name in models}
    kl = kl_per_answer(models["policy"][0], models["reference"][0], tokenizer, items, answers["policy"], temperature)
    stream = open_split(Path(tokens), TEST_SPLIT)
    same_text = {"identity": identity_of(stream)}
    plain = {name: measure(model, stream) for name, (model, _) in models.items()}
    loss = ratio_interval((plain["policy"].nats - plain["reference"].nats) / math.log(2), plain["policy"].bytes)
    return {
        "annotator": annotator.NAME,
        "rule": annotator.rule_digest(),
        "temperature": temperature,
        "families": list(families),
        "items": len(questions),
        "answers_per_item": ANSWERS_PER_QUESTION,
        "score": {name: scores_interval(values).record() for name, values in scores.items()},
        "over_reference": difference_interval(scores["policy"], scores["reference"]).record(),
        "exact_match": {name: scores_interval(values).record() for name, values in exact.items()},
        "exact_match_over_reference": difference_interval(exact["policy"], exact["reference"]).record(),
        "kl": mean_interval(by_question(kl)).record(),
        "bits_per_byte": {name: found.bits_per_byte.record() | same_text for name, found in plain.items()},
        "bits_lost": loss.record(),
        "answer_tokens": {
            name: sum(len(each.tokens) for each in found) / len(found) for name, found in answers.items()
        },
        "finished": {name: sum(each.finished for each in found) / len(found) for name, found in answers.items()},
    }


def by_question(values: Sequence[float]) -> list[float]:
    """The mean of each question's answers, which stand side by side."""
    starts = range(0, len(values), ANSWERS_PER_QUESTION)
    return [sum(values[start : start + ANSWERS_PER_QUESTION]) / ANSWERS_PER_QUESTION for start in starts]


def _fitting(items: Sequence[InstructionItem], model: Any, tokenizer: ChatTokenizer) -> list[InstructionItem]:
    """Questions that leave room for an answer: a tokenizer that was brought in may need many tokens for a text."""
    context = int(model.config.max_position_embeddings)
    return [item for item, ids in zip(items, _prompts(tokenizer, items), strict=True) if len(ids) < context]


def _sampled(
    model: Any, tokenizer: ChatTokenizer, items: Sequence[InstructionItem], config: SamplingConfig, seed: int
) -> list[Sample]:
    return sample(
        model,
        _prompts(tokenizer, items),
        config,
        seed=seed,
        keys=range(KEY_OF_EVALUATION, KEY_OF_EVALUATION + len(items)),
        stop_ids=frozenset({tokenizer.end_id}),
        pad_id=tokenizer.pad_id,
    )


def _exact_matches(
    model: Any, tokenizer: ChatTokenizer, questions: Sequence[InstructionItem], max_answer_tokens: int
) -> list[float]:
    said = ask(
        model,
        tokenizer,
        [item.prompt for item in questions],
        SamplingConfig(max_tokens=max_answer_tokens, temperature=0.0),
    )
    return [exact_match(answer.text, item.answer) for answer, item in zip(said, questions, strict=True)]


def _prompts(tokenizer: ChatTokenizer, items: Sequence[InstructionItem]) -> list[list[int]]:
    return [tokenizer.encode_prompt([{"role": "user", "content": item.prompt}]) for item in items]


def _judged(tokenizer: ChatTokenizer, items: Sequence[InstructionItem], answers: Sequence[Sample]) -> list[float]:
    return [
        annotator.score(tokenizer.decode(answer.tokens).strip(), gold=item.answer, finished=answer.finished).score
        for item, answer in zip(items, answers, strict=True)
    ]


@torch.inference_mode()
def kl_per_answer(
    policy: Any,
    reference: Any,
    tokenizer: ChatTokenizer,
    items: Sequence[InstructionItem],
    answers: Sequence[Sample],
    temperature: float,
) -> list[float]:
    """log policy - log reference of each sampled answer in nats: their mean estimates KL(policy || reference)."""
    prompts = _prompts(tokenizer, items)
    found: list[float] = []
    for start in range(0, len(prompts), SCORED_AT_ONCE):
        some = slice(start, start + SCORED_AT_ONCE)
        rows = [[*prompt, *answer.tokens] for prompt, answer in zip(prompts[some], answers[some], strict=True)]
        tensors = action_tensors(prompts[some], rows, tokenizer.pad_id)
        own, other = (score_actions(model.eval(), tensors, temperature) for model in (policy, reference))
        found += (own.log_probabilities - other.log_probabilities).sum(1).tolist()
    return found
