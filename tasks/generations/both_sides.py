"""The generations that read both sides of a gap: BERT, which guesses pieces, and T5, which writes down what was cut out.

Neither gives a text a probability as the others do: their figures stand in parentheses, beside no other's.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from models.bert import BertShape, build_bert
from models.sampling import SamplingConfig
from models.t5 import T5Shape, build_t5
from tasks.generations import bert, t5
from tasks.generations.learning import Learner
from tasks.generations.masking import MaskingConfig, word_numbers
from tasks.generations.rows import PSEUDO, Row
from tasks.generations.sentence_pairs import Documents, PairConfig
from tasks.generations.spans import SpanConfig
from tasks.generations.text import Ids, Text
from tasks.generations.work import Work, beginnings, learned_row
from tasks.training.optimizers import OptimizerConfig

OPTIMIZER = OptimizerConfig(learning_rate=5e-3)
SEQUENCES, LENGTH = 32, 128
ASKED = 1000  # pieces of each text whose pseudo-likelihood is asked for: each is a reading of its own
LONG_LINE, SEGMENT_PIECES, LINES_A_DOCUMENT = 64, 32, 16
HELD_OUT_BATCHES = 8
GAP = 3


def bert_row(work: Work) -> Row:
    text, size = work.text, work.text.vocabulary
    marks = bert.Marks(classify=size, separate=size + 1, mask=size + 2, pad=size + 3)
    model = build_bert(
        BertShape(layers=4, width=128, heads=4, feed_forward=512, context=LENGTH), vocabulary=size + 4, pad_id=marks.pad
    )
    continues = np.array([text.level == "subword" and not piece.startswith("Ġ") for piece in text.pieces])

    def pairs(split: str) -> bert.PairBatches:
        documents = documents_of(text.splits[split].ids, text.end_id)
        return bert.PairBatches(
            documents, PairConfig(length=LENGTH), MaskingConfig(whole_words=text.level == "subword"), marks=marks,
            vocabulary=size + 4, batch_sequences=SEQUENCES, seed=work.seed, words=word_numbers(documents.ids, continues),
        )  # fmt: skip

    def measured() -> dict[str, float]:
        return {f"{split}_perplexity": _pseudo_perplexity(model, text, split, marks) for split in ("valid", "test")}

    def probe() -> dict[str, str]:
        held_out = bert.measure(model, pairs("test"), HELD_OUT_BATCHES)
        said = {"which text follows": f"{held_out['next_accuracy']:.0%} right of {HELD_OUT_BATCHES * SEQUENCES} pairs"}
        return {**said, **_masked(model, text, marks)}

    asked_for = MaskingConfig().count(LENGTH)
    learner = Learner(
        module=model, objective=bert.MaskedAndNext(), batches=pairs("train"), optimizer=OPTIMIZER,
        batch_sequences=SEQUENCES, sequence_tokens=LENGTH,
        flops_a_step=SEQUENCES * bert.training_flops(model, tokens=LENGTH, asked_for=asked_for),
    )  # fmt: skip
    note = f"pseudo-perplexity of {ASKED} pieces, each by all around it: not to be compared"
    return learned_row(
        "bert", work, learner, probe=probe, represent=lambda sentences: bert.represent(model, sentences, marks),
        measured=measured, measure=PSEUDO, note=note,
    )  # fmt: skip


def documents_of(ids: Ids, end_id: int) -> Documents:
    """Long lines are documents, cut into segments; short ones are segments, so many a document."""
    lines = [line for line in np.split(ids, np.flatnonzero(ids == end_id) + 1) if len(line) > 1]
    full = [line[:-1] if line[-1] == end_id else line for line in lines]
    if np.mean([len(line) for line in full]) >= LONG_LINE:
        return Documents.of([_cut(line.tolist(), SEGMENT_PIECES) for line in full])
    return Documents.of(_cut([line.tolist() for line in full], LINES_A_DOCUMENT))


def _cut(row: Sequence[Any], length: int) -> list[Any]:
    return [row[start : start + length] for start in range(0, len(row), length)]


def _pseudo_perplexity(model: Any, text: Text, split: str, marks: bert.Marks) -> float:
    ids = text.splits[split].ids
    nats = bert.pseudo_nats(model, ids[ids != text.end_id], marks, max_tokens=ASKED)
    return float(math.exp(nats.mean()))


def _masked(model: Any, text: Text, marks: bert.Marks) -> dict[str, str]:
    """The middle piece of some lines' beginnings, masked: what the model puts there."""
    found = {}
    for line in beginnings(text, 2, pieces=13):
        middle = len(line) // 2
        (guesses,) = bert.fill(model, [*line[:middle], marks.mask, *line[middle + 1 :]], marks, k=3)
        guessed = ", ".join(f"{_spelled(text, number)} {chance:.0%}" for number, chance in guesses)
        shown = f"{text.spoken(line[:middle])} [MASK] {text.spoken(line[middle + 1 :])}"
        found[shown] = f"{guessed} (was {_spelled(text, line[middle])})"
    return found


def _spelled(text: Text, number: int) -> str:
    return text.spoken([number]).strip() or text.pieces[number] if number < text.vocabulary else "a mark"


def t5_row(work: Work) -> Row:
    text, config = work.text, SpanConfig(inputs=LENGTH)
    vocabulary = text.vocabulary + config.spans
    model = build_t5(
        T5Shape(layers=2, width=128, heads=4, feed_forward=256),
        vocabulary=vocabulary,
        end_id=text.end_id,
        pad_id=text.end_id,
    )
    batches = t5.SpanBatches(
        text.splits["train"].ids, config, vocabulary=vocabulary, end_id=text.end_id, batch_sequences=SEQUENCES,
        seed=work.seed,
    )  # fmt: skip

    def measured() -> Mapping[str, float]:
        means = {
            split: t5.target_nats(
                model, text.splits[split].ids, config, end_id=text.end_id, seed=0, max_rows=200
            ).mean()
            for split in ("valid", "test")
        }
        return {f"{split}_perplexity": math.exp(mean) for split, mean in means.items()}

    learner = Learner(
        module=model, objective=t5.SpanCorruption(), batches=batches, optimizer=OPTIMIZER,
        batch_sequences=SEQUENCES, sequence_tokens=config.inputs + config.targets,
        flops_a_step=SEQUENCES * t5.training_flops(model, inputs=config.inputs, targets=config.targets),
    )  # fmt: skip
    note = "perplexity of pieces that were cut out, seen from both sides: not to be compared"
    return learned_row(
        "t5", work, learner, measured=measured, measure="span perplexity", note=note,
        probe=lambda: dict(_filled(model, text, vocabulary, config)),
    )  # fmt: skip


def _filled(model: Any, text: Text, vocabulary: int, config: SpanConfig) -> Iterator[tuple[str, str]]:
    """A few pieces cut out of the middle of some lines' beginnings: what the model writes there."""
    for line in beginnings(text, 2, pieces=15):
        begin = len(line) // 2
        asked = [*line[:begin], vocabulary - 1, *line[begin + GAP :]]
        found = t5.fill_spans(
            model, asked, SamplingConfig(max_tokens=8, temperature=0.0), end_id=text.end_id, sentinels=config.spans
        )
        said = text.spoken(number for number in found.get(vocabulary - 1, []) if number < text.vocabulary)
        shown = f"{text.spoken(line[:begin])} [ … ] {text.spoken(line[begin + GAP :])}"
        yield shown, f"{said} (was {text.spoken(line[begin : begin + GAP])})"
