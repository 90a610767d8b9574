"""The first generation: counting, with modified Kneser-Ney, and with a cache of the words just used."""

import time

import numpy as np

from models.ngram import NgramModel, document_starts
from models.ngram_cache import CacheConfig, cached
from models.ngram_smoothing import NgramConfig
from tasks.generations.rows import Nats, Row, figures
from tasks.generations.text import Ids, Text

ORDERS = {"word": 5, "subword": 5, "char": 8}
SCORED = ("valid", "test")
FALLBACK = (0.5, 1.0, 1.5)  # of an order whose counts of counts give no discount: few letters occur just once


def fit(text: Text) -> NgramModel:
    """Of lines, none of which looks over its beginning."""
    ids = text.splits["train"].ids
    config = NgramConfig(order=ORDERS[text.level], fallback_discounts=FALLBACK)
    return NgramModel.fit(ids, vocabulary_size=text.vocabulary, config=config, starts=document_starts(ids, text.end_id))


def ngram(text: Text, seed: int) -> Row:
    began = time.perf_counter()
    model = fit(text)
    seconds = time.perf_counter() - began
    nats = {name: token_nats(model, text.splits[name].ids, text.end_id) for name in SCORED}
    rng = np.random.default_rng(seed)
    samples = [text.spoken(model.sample(rng, max_tokens=40, end=text.end_id)).strip() for _ in range(3)]
    return Row(
        model="ngram",
        parameters=sum(model.ngram_counts),
        train_flops=0.0,
        seconds=seconds,
        samples=samples,
        note=f"order {model.order}; parameters are n-grams",
        further={"ngram_counts": list(model.ngram_counts), "discounts": [list(each) for each in model.discounts]},
        **figures(text, nats),
    )


def with_cache(text: Text, seed: int) -> Row:
    """The same, 10 % of the probability of each piece from those just before it."""
    del seed
    began = time.perf_counter()
    model = fit(text)
    seconds = time.perf_counter() - began
    nats = {
        name: -cached(-token_nats(model, ids, text.end_id), ids, CacheConfig())
        for name, ids in ((name, text.splits[name].ids) for name in SCORED)
    }
    return Row(
        model="ngram+cache",
        parameters=sum(model.ngram_counts),
        train_flops=0.0,
        seconds=seconds,
        note="reads across lines",
        **figures(text, nats),
    )


def token_nats(model: NgramModel, ids: Ids, end_id: int) -> Nats:
    return -model.log_probabilities(ids, document_starts(ids, end_id))
