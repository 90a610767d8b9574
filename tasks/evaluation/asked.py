"""The answers of a model to a cell of the matrix, each judged: prompt, completion, what was found in it, verdict."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from models.sampling import SamplingConfig
from tasks.evaluation.benchmark import Item
from tasks.evaluation.cell_prompts import choices_in, prompts_of
from tasks.evaluation.cells import LIKELIHOOD, Cell
from tasks.evaluation.choices import chosen, chosen_by_characters
from tasks.evaluation.completing import Completed, complete
from tasks.evaluation.completions import Completion
from tasks.evaluation.fitting import DELIMITER, prompt_as_asked, prompt_ids
from tasks.evaluation.golds import comparable, is_right
from tasks.evaluation.likelihood import score_continuations
from tasks.evaluation.prompts import Prompt
from tasks.evaluation.repeats import majority
from tasks.evaluation.replay import RIGHT, UNPARSED, WRONG, Decision, decide
from tasks.evaluation.replay_rows import SCORES
from tasks.evaluation.subject import Subject
from tasks.evaluation.token_likelihood import Split, score_splits

Told = Callable[[int], None]
Example = dict[str, Any]


def answered(cell: Cell, subject: Subject, told: Told) -> list[Example]:
    """One example for each item; `told` is given the number of items that were answered meanwhile."""
    if cell.mode == LIKELIHOOD:
        return _chosen(cell, subject, told)
    samples = cell.samples or 1
    prompts = [prompt for prompt in prompts_of(cell) for _ in range(samples)]
    config = SamplingConfig(max_tokens=cell.max_tokens, temperature=cell.temperature)
    done = complete(subject, prompts, config, seed=cell.seed, keys=range(len(prompts)), told=told)
    groups = (done[start : start + samples] for start in range(0, len(done), samples))
    said = (prompt_as_asked(subject, prompt) for prompt in prompts[::samples])
    return [
        judged(cell, item, some) | {"prompt": text} for item, some, text in zip(cell.items, groups, said, strict=True)
    ]


def _chosen(cell: Cell, subject: Subject, told: Told) -> list[Example]:
    """The option of the highest likelihood; nothing is written, so nothing can be unparsed."""
    asked = [choices_in(cell, item) for item in cell.items]
    found = iter(option_nats(subject, [(prompt, option) for prompt, options in asked for option in options]))
    told(len(cell.items))
    return [
        _by_likelihood(cell, item, [next(found) for _ in item.options]) | {"prompt": prompt_as_asked(subject, prompt)}
        for item, (prompt, _) in zip(cell.items, asked, strict=True)
    ]


def option_nats(subject: Subject, asked: Sequence[tuple[Prompt, str]]) -> list[float]:
    """ln p of each option after its prompt: in plain text as lm-evaluation-harness has it, or as the assistant's turn."""
    tokenizer = subject.tokenizer
    if not subject.talks:
        pairs = [(prompt.text, DELIMITER + option) for prompt, option in asked]
        return [each.nats for each in score_continuations(subject.model, tokenizer, pairs)]
    ids = {prompt: tuple(prompt_ids(subject, prompt)) for prompt in {prompt for prompt, _ in asked}}
    splits = [Split(context=ids[prompt], continuation=tuple(tokenizer.encode_text(option))) for prompt, option in asked]
    return [each.nats for each in score_splits(subject.model, splits)]


def _by_likelihood(cell: Cell, item: Item, nats: Sequence[float]) -> Example:
    """acc and acc_norm of lm-evaluation-harness; where several options may be right, the share of probability on them."""
    best = chosen(nats)
    scores = {"acc": float(best in item.right)}
    if cell.benchmark.likelihood == "texts":
        scores["acc_norm"] = float(chosen_by_characters(nats, item.options) in item.right)
    if cell.benchmark.origin == "truthfulqa_mc2":
        scores = {"mc2": share_on(nats, item.right)}
    return {
        **_about(cell, item), "completion": item.options[best], "extracted": item.options[best],
        "gold": item.options[item.right[0]], "verdict": RIGHT if best in item.right else WRONG,
        "reason": "log-likelihoods " + ", ".join(f"{each:.2f}" for each in nats), "scores": scores,
    }  # fmt: skip


def share_on(nats: Sequence[float], right: Sequence[int]) -> float:
    """How much of the options' probability lies on the right ones: MC2 of TruthfulQA (Lin et al. 2022)."""
    highest = max(nats)
    weights = [math.exp(each - highest) for each in nats]
    return sum(weights[place] for place in right) / sum(weights)


def judged(cell: Cell, item: Item, completed: Sequence[Completed]) -> Example:
    """What was found in one answer, or in several samples of it, and whether it is right."""
    return _voted(cell, item, completed) if cell.samples else _single(cell, item, completed)


def _single(cell: Cell, item: Item, completed: Sequence[Completed]) -> Example:
    (each,) = completed
    decision = _decision(cell, item, each)
    return _example(cell, item, each.text, decision.extracted, decision.verdict, decision.rule)


def _voted(cell: Cell, item: Item, completed: Sequence[Completed]) -> Example:
    """Self-consistency: the answer of most samples (Wang et al. 2022); samples without one have no vote."""
    kind = cell.benchmark.answer_type
    found = [_decision(cell, item, each).extracted for each in completed]
    said = majority(comparable(each, kind) for each in found if each)
    verdict = UNPARSED if said is None else RIGHT if is_right(said, item.golds, kind) else WRONG
    votes = sum(each is not None and comparable(each, kind) == said for each in found)
    text = "\n---\n".join(each.text for each in completed)
    return _example(cell, item, text, said, verdict, f"{votes} of {len(found)} samples")


def _decision(cell: Cell, item: Item, completed: Completed) -> Decision:
    """As a recorded completion is judged, so that a replay comes to the same."""
    benchmark = cell.benchmark
    return decide(
        Completion(
            line=0, benchmark=benchmark.name, answer_type=benchmark.answer_type, letters=item.letters,
            choices=item.options, mode=benchmark.rule, question=None, continues=False, completion=completed.answer,
            # Kojima's rules take any capital for a choice; without a number of shots only what is meant as one counts
            shots=None if benchmark.answer_type == "choice" else cell.shots, golds=item.golds,
        )
    )  # fmt: skip


def _example(cell: Cell, item: Item, completion: str, extracted: str | None, verdict: str, reason: str) -> Example:
    kind = cell.benchmark.answer_type
    scores = {"exact_match": float(verdict == RIGHT)}
    scores |= {metric: score(extracted or "", item.golds) for metric, score in SCORES.get(kind, {}).items()}
    return {
        **_about(cell, item), "completion": completion, "extracted": extracted,
        "gold": item.golds[0] if len(item.golds) == 1 else item.golds, "verdict": verdict, "reason": reason,
        "scores": scores,
    }  # fmt: skip


def _about(cell: Cell, item: Item) -> Example:
    question = item.slots.get("text") or " ".join(item.slots.values())
    said = {"benchmark": cell.benchmark.name, "shots": cell.shots, "mode": cell.mode, "id": item.id}
    return {**said, "question": question}
