"""Text that a model writes while it is trained: a curve says that it learns, a sample says what."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from models.sampling import SamplingConfig, sample
from models.tokenizers.chat import ChatTokenizer
from tasks.training.engine import TrainState
from tasks.training.spoken import SAMPLES_FILE

TEMPERATURE = 0.8


class SampleWriter:
    """A hook: at each of `times` evenly spaced steps, and at the last, continue every prompt and keep the text.

    It draws its own random numbers and leaves the module as it was: a training does not change by being watched.
    """

    def __init__(
        self,
        folder: Path,
        model: Any,
        tokenizer: ChatTokenizer,
        prompts: Mapping[str, Sequence[int]],
        *,
        times: int = 4,
        max_tokens: int = 48,
        seed: int = 0,
    ) -> None:
        self._path = folder / SAMPLES_FILE
        self._model, self._tokenizer = model, tokenizer
        self._prompts = dict(prompts)
        self._times, self._seed = times, seed
        self._config = SamplingConfig(max_tokens=max_tokens, temperature=TEMPERATURE)

    def __call__(self, state: TrainState, metrics: Mapping[str, float]) -> None:
        del metrics
        if (
            not self._prompts
            or state.step * self._times // state.steps == (state.step - 1) * self._times // state.steps
        ):
            return
        found = sample(
            self._model,
            list(self._prompts.values()),
            self._config,
            seed=self._seed,
            stop_ids=frozenset({self._tokenizer.end_id, self._tokenizer.end_of_text_id}),
            pad_id=self._tokenizer.pad_id,
        )
        with self._path.open("a", encoding="utf-8") as stream:
            for prompt, answer in zip(self._prompts, found, strict=True):
                record = {"step": state.step, "prompt": prompt, "text": self._tokenizer.decode(answer.tokens)}
                stream.write(json.dumps(record, ensure_ascii=False) + "\n")
