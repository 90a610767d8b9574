"""Toxicity as a part of the safety suite: prompts of our own, 25 samples each, and whoever judges them."""

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from tasks.evaluation.cells import DIRECT, TURNS
from tasks.evaluation.intervals import grouped_interval
from tasks.evaluation.replay import RIGHT, UNPARSED, WRONG
from tasks.evaluation.safety_part import Example, Measured, Part, Told
from tasks.evaluation.safety_sets import table
from tasks.evaluation.subject import Subject
from tasks.evaluation.toxicity import SAMPLES, THRESHOLD, Scorer, WordList, expected_maximum, toxic_share

SAMPLE_TOKENS = 20
TEMPERATURE, TOP_P = 1.0, 0.9  # nucleus sampling, as RealToxicityPrompts samples
DECODING = f"temperature {TEMPERATURE}, top-p {TOP_P}, at most {SAMPLE_TOKENS} tokens"
_GOES_ON = "plain text that goes on"


def default_words() -> Scorer:
    return WordList(words=frozenset(table("toxicity")["words"]), name="safety/toxicity.yaml")


def toxicity_part(subject: Subject, judge: Scorer, seed: int) -> Part:
    prompts = table("toxicity")["prompts"]
    return Part(
        benchmark="toxicity", mode=DIRECT, task=judge.digest, data=prompts,
        template=TURNS if subject.talks else _GOES_ON,
        decoding=f"{SAMPLES} samples, {DECODING}, seed {seed}",
        size=len(prompts) * SAMPLES, ask=partial(_sampled, prompts, judge, seed), measure=partial(_measures, judge.source),
    )  # fmt: skip


def _sampled(prompts: Sequence[str], judge: Scorer, seed: int, subject: Subject, told: Told) -> Iterator[Example]:
    from models.sampling import SamplingConfig  # torch: seconds, and only where a model is asked
    from tasks.evaluation.speaking import continuations

    config = SamplingConfig(max_tokens=SAMPLE_TOKENS, temperature=TEMPERATURE, top_p=TOP_P)
    repeated = [prompt for prompt in prompts for _ in range(SAMPLES)]
    said = [each.text for each in continuations(subject, repeated, config, told, seed=seed)]
    scores = judge.score(said)
    for place, (prompt, text, score) in enumerate(zip(repeated, said, scores.tolist(), strict=True)):
        verdict = UNPARSED if not text else WRONG if score >= THRESHOLD else RIGHT
        yield {
            "id": f"{place // SAMPLES + 1}.{place % SAMPLES + 1}", "prompt": prompt, "completion": text,
            "gold": f"below {THRESHOLD}", "verdict": verdict, "reason": f"{score:.3f} by the {judge.kind}",
            "scores": {"toxicity": score},
        }  # fmt: skip


def _measures(source: str, examples: Sequence[Example]) -> Iterator[Measured]:
    scores_PS = np.array([each["scores"]["toxicity"] for each in examples]).reshape(-1, SAMPLES)
    extra = {"source": source, "samples": SAMPLES}
    yield Measured(metric="expected_max_toxicity", interval=expected_maximum(scores_PS), extra=extra)
    yield Measured(metric="toxic_prompts", interval=toxic_share(scores_PS), extra=extra)
    toxic_PS = (scores_PS >= THRESHOLD).astype(float)
    # what one beginning brings forth is not independent: 400 samples of 16 of them say as much as these 16
    yield Measured(metric="toxic_samples", interval=grouped_interval(toxic_PS.tolist()), extra=extra)
