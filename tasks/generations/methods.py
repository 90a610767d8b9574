"""What each generation is here: its size, its optimizer, how it is scored and what it can be asked.

The networks are small, so that all of them learn something in minutes; their widths are alike, so that it is the ideas
that differ.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from models.elmo import ElmoModel, ElmoShape
from models.gpt2 import Gpt2Shape, build_gpt2
from models.heads import hidden_states
from models.llama import LlamaShape, build_llama
from models.nnlm import Nnlm, NnlmShape
from models.recurrent import RecurrentModel, RecurrentShape
from models.word2vec import Word2vec, Word2vecShape
from tasks.generations import counting, decoders, elmo, nnlm, recurrent, word2vec
from tasks.generations.both_sides import bert_row, t5_row
from tasks.generations.columns import ColumnBatches
from tasks.generations.learning import Learner
from tasks.generations.rows import Row
from tasks.generations.sentences import Sentences, causal_means, word_means
from tasks.generations.text import Text
from tasks.generations.word_vectors import nearest
from tasks.generations.work import Work, learned_row
from tasks.training.mfu import counted_parameters, flops_per_token
from tasks.training.objectives import NextToken
from tasks.training.optimizers import OptimizerConfig

ADAM = OptimizerConfig(kind="adamw", learning_rate=2e-3)
MUON = OptimizerConfig(learning_rate=1e-2)
CONTEXT, SEQUENCES = 256, 16
COLUMNS, SEGMENT = 64, 20  # in a minute many columns pay more than many steps
ASKED_WORDS, NEIGHBOURS = 4, 5


def nnlm_row(work: Work) -> Row:
    text, shape = work.text, NnlmShape(order=5, embedding=64, hidden=128)
    model = Nnlm(shape, vocabulary=text.vocabulary, end_id=text.end_id)
    ids = text.splits["train"].ids
    model.start_from(torch.from_numpy(np.bincount(ids, minlength=text.vocabulary)))
    size = 2048
    multiplied = shape.hidden * (1 + shape.context * shape.embedding) + text.vocabulary * shape.features
    learner = Learner(
        module=model,
        objective=nnlm.NnlmObjective(),
        batches=nnlm.NnlmBatches(ids, order=shape.order, end_id=text.end_id, batch_sequences=size, seed=work.seed),
        optimizer=ADAM,
        batch_sequences=size,
        sequence_tokens=1,
        flops_a_step=6.0 * multiplied * size,
    )
    return learned_row(
        "nnlm", work, learner, score=lambda ids: nnlm.token_nats(model, ids), sample=_after(nnlm.sample, model, work)
    )


def recurrent_row(kind: str, work: Work) -> Row:
    text = work.text
    shape = RecurrentShape(kind=kind, layers=2, width=192, embedding=192, tied=True, initial_range=0.05)  # type: ignore[arg-type]
    model = RecurrentModel(shape, vocabulary=text.vocabulary)
    _start_from_shares(model.head, text)
    learner = Learner(
        module=model,
        objective=recurrent.CarriedNextToken(),
        batches=ColumnBatches(text.splits["train"].ids, columns=COLUMNS, segment_tokens=SEGMENT),
        optimizer=MUON,
        batch_sequences=COLUMNS,
        sequence_tokens=SEGMENT,
        flops_a_step=6.0 * _size(model) * COLUMNS * SEGMENT,
        precision="fp32",
    )
    return learned_row(
        kind,
        work,
        learner,
        score=lambda ids: recurrent.token_nats(model, ids),
        sample=_after(recurrent.sample, model, work),
        represent=lambda sentences: causal_means(model, lambda ids_BT: model(ids_BT)[0], sentences),
    )


@torch.no_grad()
def _start_from_shares(head: nn.Linear, text: Text) -> None:
    """Let the bias say how often each piece occurs: what many small steps would otherwise be spent on."""
    counts_V = torch.from_numpy(np.bincount(text.splits["train"].ids, minlength=text.vocabulary)) + 1.0
    head.bias.copy_((counts_V / counts_V.sum()).log())


def elmo_row(work: Work) -> Row:
    text = work.text
    model = ElmoModel(ElmoShape(projection=96, cells=256), words=text.pieces)
    _start_from_shares(model.head, text)
    learner = Learner(
        module=model,
        objective=elmo.BothDirections(),
        batches=elmo.BothWays(text.splits["train"].ids, columns=COLUMNS, segment_tokens=SEGMENT),
        optimizer=MUON,
        batch_sequences=COLUMNS,
        sequence_tokens=SEGMENT,
        flops_a_step=6.0 * 2 * _size(model) * COLUMNS * SEGMENT,
        precision="fp32",
    )
    return learned_row(
        "elmo",
        work,
        learner,
        score=lambda ids: elmo.token_nats(model, ids),
        sample=_after(elmo.sample, model, work),
        represent=lambda sentences: elmo.represent(
            model, [[text.pieces[each] for each in one] for one in sentences], edge=text.pieces[text.end_id]
        ),
        note="perplexity of its forward direction; FLOPs count its letters' layer as one more matrix",
    )


def gpt2_row(work: Work) -> Row:
    shape = Gpt2Shape(layers=4, width=128, heads=4, context=CONTEXT)
    model = build_gpt2(shape, vocabulary=work.text.vocabulary, end_id=work.text.end_id, pad_id=work.text.end_id)
    return _decoder_row("gpt2", model, shape, work)


def llama_row(work: Work) -> Row:
    shape = LlamaShape(layers=4, width=128, heads=4, kv_heads=4, feed_forward=384, context=CONTEXT)
    model = build_llama(shape, vocabulary=work.text.vocabulary, end_id=work.text.end_id, pad_id=work.text.end_id)
    return _decoder_row("llama", model, shape, work)


def _decoder_row(name: str, model: Any, shape: Gpt2Shape | LlamaShape, work: Work) -> Row:
    token = flops_per_token(
        parameters=counted_parameters(model), layers=shape.layers, width=shape.width, tokens=shape.context
    )
    learner = Learner(
        module=model,
        objective=NextToken(),
        batches=decoders.WindowBatches(
            work.text.splits["train"].ids, context=shape.context, batch_sequences=SEQUENCES, seed=work.seed
        ),
        optimizer=MUON,
        batch_sequences=SEQUENCES,
        sequence_tokens=shape.context,
        flops_a_step=token * SEQUENCES * shape.context,
    )
    return learned_row(
        name,
        work,
        learner,
        score=lambda ids: decoders.token_nats(model, ids),
        sample=lambda prompt, count: decoders.sample(model, prompt, tokens=count, seed=work.seed),
        represent=lambda sentences: causal_means(model, lambda ids_BT: hidden_states(model, ids_BT), sentences),
    )


def word2vec_row(work: Work) -> Row:
    text, shape = work.text, Word2vecShape(dimension=100)
    ids, config, tokens = text.splits["train"].ids, word2vec.Word2vecConfig(), 8192
    words = word2vec.FrequentWords.of(ids, vocabulary_size=text.vocabulary, min_count=5, end_id=text.end_id)
    model = Word2vec(shape, vocabulary=len(words))
    learner = Learner(
        module=model,
        objective=word2vec.NegativeSampling(shape.kind),
        batches=word2vec.Word2vecBatches(ids, words, config, batch_tokens=tokens, seed=work.seed),
        optimizer=word2vec.OPTIMIZER,
        schedule=word2vec.SCHEDULE,
        batch_sequences=tokens,
        sequence_tokens=1,
        flops_a_step=6.0 * shape.dimension * tokens * config.window * (1 + config.negatives),
        precision="fp32",
    )

    def probe() -> Mapping[str, str]:
        vectors = model.input.weight.detach().cpu().numpy()
        asked = np.linspace(0, min(len(words), 2000) - 1, ASKED_WORDS + 1).astype(int)[1:]
        return {
            f"nearest to {_word(text, words.ids[rank])}": ", ".join(
                _word(text, words.ids[other]) for other, _ in nearest(vectors, int(rank), NEIGHBOURS)
            )
            for rank in asked
        }

    def represent(sentences: Sentences) -> Any:
        return word_means(model.input.weight.detach().cpu().double().numpy(), words.ranks, sentences)

    return learned_row(
        "word2vec", work, learner, probe=probe, represent=represent,
        note="vectors, no probabilities; see what is nearest",
    )  # fmt: skip


def _word(text: Text, number: int) -> str:
    return text.spoken([int(number)]).strip() or text.pieces[number]


def _size(model: nn.Module) -> int:
    return sum(tensor.numel() for tensor in model.parameters())


def _after(sample: Callable[..., list[int]], model: Any, work: Work) -> Callable[[Sequence[int], int], list[int]]:
    return lambda prompt, count: sample(model, prompt, count, work.seed)


Method = Callable[[Work], Row]

METHODS: Mapping[str, Method] = {
    "ngram": lambda work: counting.ngram(work.text, work.seed),
    "ngram+cache": lambda work: counting.with_cache(work.text, work.seed),
    "nnlm": nnlm_row,
    "word2vec": word2vec_row,
    "rnn": lambda work: recurrent_row("rnn", work),
    "lstm": lambda work: recurrent_row("lstm", work),
    "elmo": elmo_row,
    "gpt2": gpt2_row,
    "bert": bert_row,
    "t5": t5_row,
    "llama": llama_row,
}
