"""The prompting suite on small models: what is asked, what is kept, what changes an identity, and what is refused."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from models.catalogue import save_model
from models.llama import LlamaShape
from models.tokenizers.chat import ChatTokenizer
from tasks.evaluation import documents
from tasks.evaluation.asked import answered, judged, share_on
from tasks.evaluation.benchmark import Benchmark, Item, benchmarks
from tasks.evaluation.brought import brought
from tasks.evaluation.cells import Cell, identity_of, rows_of
from tasks.evaluation.completing import Completed
from tasks.evaluation.intervals import range_interval
from tasks.evaluation.kept_cells import Cells
from tasks.evaluation.made_items import made_items
from tasks.evaluation.prompting import run
from tasks.evaluation.subject import Subject, subject_in
from tasks.evaluation.suite import Outcome, Request
from tests.decoders import small_decoder

SHAPE = LlamaShape(layers=1, width=16, heads=2, kv_heads=2, feed_forward=16, context=640)
Saved = Callable[..., Subject]
ARITHMETIC = benchmarks()["arithmetic"]
WORDS = [{"document": word, "label": len(word) % 2} for word in ("fine", "bad", "good", "so", "well", "odd", "dull")]


@pytest.fixture
def saved(tmp_path: Path, tokenizer: ChatTokenizer) -> Saved:
    """saved(seed) -> a small model in a folder of its own, as one from anywhere: it has a chat template."""

    def make(seed: int = 0, context: int = 640) -> Subject:
        folder = tmp_path / f"model-{seed}-{context}"
        save_model(folder, small_decoder(tokenizer, seed, shape=replace(SHAPE, context=context)), tokenizer)
        return subject_in(folder)

    return make


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    path = tmp_path / "reviews.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in WORDS), encoding="utf-8")
    return path


def asked(subject: Subject, cells: Path, **of: Any) -> Outcome:
    return run(subject, Request(**{"limit": 2, "samples": 2, **of}), Cells(cells), lambda *_: None)


@pytest.mark.parametrize(("text", "said"), [("{", "not JSON in UTF-8"), ("{}", "does not say how many tokens")])
def test_a_config_that_says_no_context_is_told(saved: Saved, text: str, said: str) -> None:
    folder = saved().path
    (folder / "config.json").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=rf"config\.json: {said}"):
        _ = subject_in(folder).context


def cell(**changed: Any) -> Cell:
    items = made_items(ARITHMETIC, 3, seed=0)
    examples = tuple(made_items(ARITHMETIC, 2, seed=0, part="examples", without=items))
    of = {"benchmark": ARITHMETIC, "items": tuple(items), "examples": examples, "template": "{text}?", "mode": "cot"}
    return Cell(**{**of, "max_tokens": 8, **changed})


def test_every_cell_has_rows_and_examples_and_a_second_time_nothing_is_asked(
    saved: Saved, reviews: Path, tmp_path: Path
) -> None:
    first = asked(saved(), tmp_path / "cells", data=(reviews,), shots=(0, 2))
    keys = [(row["shots"], row["mode"], row["metric"]) for row in first.rows]
    likelihoods = [(shots, "likelihood", metric) for shots in (0, 2) for metric in ("acc", "acc_norm")]
    assert set(likelihoods) < set(keys)
    assert {(0, "direct", "exact_match"), (0, "cot", "f1"), (0, "cot-sc2", "exact_match")} < set(keys)
    # reviews have no rationale to show: no chain of thought after examples
    assert not [key for key in keys if key[0] == 2 and key[1].startswith("cot")]
    assert {"order_range", "template_range"} <= {key[2] for key in keys}
    for row in first.rows:
        assert row["low"] <= row["value"] <= row["high"]
        assert row["n"] == 2
        assert row["unparsed"] <= 2
    assert len(first.examples) == 2 * len({key[:2] for key in keys})
    warmer = asked(saved(), tmp_path / "cells", data=(reviews,), shots=(0, 2), temperature=0.9)
    assert warmer.cells - warmer.reused == 1  # the samples alone
    again = asked(saved(), tmp_path / "cells", data=(reviews,), shots=(0, 2))
    assert (first.reused, again.reused) == (0, again.cells)
    assert (again.rows, again.examples) == (first.rows, json.loads(json.dumps(first.examples)))


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("mode", lambda: cell(mode="direct")),
        ("task", lambda: cell(benchmark=replace(ARITHMETIC, rule="strict"))),
        ("shots", lambda: cell(examples=cell().examples[::-1])),
        ("shots", lambda: cell(examples=cell().examples[:1])),
        ("template", lambda: cell(template="So, {text}?")),
        ("decoding", lambda: cell(max_tokens=9)),
        ("decoding", lambda: cell(samples=2)),
        ("data", lambda: cell(items=cell().items[:2])),
    ],
)
def test_each_thing_that_is_changed_changes_its_own_field_of_the_identity(
    saved: Saved, tmp_path: Path, field: str, change: Callable[[], Cell]
) -> None:
    before, after = identity_of(cell(), saved()), identity_of(change(), saved())
    assert [name for name in before if before[name] != after[name]] == [field]
    kept = Cells(tmp_path / "cells")
    kept.keep(before, [{"id": "x"}])
    assert (kept.find(before), kept.find(after)) == ([{"id": "x"}], None)


def test_another_temperature_or_seed_of_samples_and_another_model_are_other_identities(saved: Saved) -> None:
    sampled = cell(samples=2, temperature=0.7)
    before = identity_of(sampled, saved())
    assert before["decoding"] != identity_of(replace(sampled, seed=1), saved())["decoding"]
    assert before["model"] != identity_of(sampled, saved(seed=1))["model"]
    assert before["decoding"] != identity_of(replace(sampled, temperature=0.2), saved())["decoding"]


def test_a_damaged_file_of_a_cell_is_as_good_as_none(tmp_path: Path) -> None:
    kept = Cells(tmp_path)
    kept.keep({"mode": "x"}, [{"id": "1"}])
    (path,) = tmp_path.iterdir()
    path.write_text(path.read_text(encoding="utf-8").replace('"x"', '"y"'), encoding="utf-8")
    assert kept.find({"mode": "x"}) is None
    path.write_text("{", encoding="utf-8")
    assert kept.find({"mode": "x"}) is None


def test_a_folder_from_anywhere_is_asked_in_the_turns_of_its_template_and_a_base_model_in_plain_text(
    saved: Saved,
) -> None:
    talking = saved()
    base = replace(talking, talks=False)
    prompts = {each["prompt"] for each in answered(cell(), talking, lambda _: None)}
    assert talking.talks
    assert all(prompt.startswith("<|user|>") and prompt.endswith("<|assistant|>") for prompt in prompts)
    assert all(each["prompt"].endswith("?\nA:") for each in answered(cell(), base, lambda _: None))
    assert identity_of(cell(), talking)["template"] != identity_of(cell(), base)["template"]


def test_the_options_of_a_model_that_talks_are_scored_as_its_own_turn(saved: Saved, reviews: Path) -> None:
    """The sum of ln p over the option's tokens after the opened turn, computed from one pass over all of them."""
    talking = saved()
    ((found,),) = [each.test[:1] for each in brought([reviews])]
    scored = cell(
        benchmark=benchmarks()["nsmc"], items=(found,), examples=(), template="{text}?", mode="likelihood"
    )  # fmt: skip
    tokenizer = talking.tokenizer
    nats = []
    for option in found.options:
        before = tokenizer.encode_prompt([{"role": "user", "content": "fine?"}])
        ids = torch.tensor([*before, *tokenizer.encode_text(option)])
        with torch.no_grad():
            predicted = talking.model(ids[None]).logits[0].log_softmax(-1)
        nats.append(float(predicted[range(len(before) - 1, len(ids) - 1), ids[len(before) :]].sum()))
    (example,) = answered(scored, talking, lambda _: None)
    assert example["prompt"] == "<|user|>fine?<|end|><|assistant|>"
    assert example["reason"] == f"log-likelihoods {nats[0]:.2f}, {nats[1]:.2f}"
    (plain,) = answered(scored, replace(talking, talks=False), lambda _: None)
    assert plain["prompt"] == "Q: fine?\nA:"
    assert plain["reason"] != example["reason"]
    assert identity_of(scored, talking)["template"] != identity_of(scored, replace(talking, talks=False))["template"]


COMMONSENSE = benchmarks()["commonsense_choice"]
SAID_18 = Item(id="1", place="1", slots={"text": "9 + 9"}, shown="18", golds=("18",))
SAID_B = Item(
    id="2", place="2", slots={"text": "?"}, shown="(B)", golds=("B",), options=("an owl", "an Ape"), right=(1,)
)


@pytest.mark.parametrize(
    ("benchmark", "item", "shots", "said", "extracted", "verdict"),
    [
        (ARITHMETIC, SAID_18, 0, [" 18."], "18", "right"),
        (ARITHMETIC, SAID_18, 0, [" 18, since 9 + 9 = 18"], "18", "right"),
        (ARITHMETIC, SAID_18, 2, [" 9 + 9 = 18. The answer is 18."], "18", "right"),
        (ARITHMETIC, SAID_18, 2, [" 9 + 9 = 18. The answer is 19."], "19", "wrong"),
        (ARITHMETIC, SAID_18, 2, [" I cannot say."], None, "unparsed"),
        # two of the four that have an answer are right, and three samples in all say nothing
        (ARITHMETIC, SAID_18, 2, ["7", "The answer is 18.", "", "x", "18.0", "y", "18", "9"], "18", "right"),
        (ARITHMETIC, SAID_18, 2, ["", "x"], None, "unparsed"),
        # an article is no choice
        (COMMONSENSE, SAID_B, 2, [" The answer is (B)."], "B", "right"),
        (COMMONSENSE, SAID_B, 0, [" An Ape, I think: B"], "B", "right"),
        (COMMONSENSE, SAID_B, 0, [" An Ape."], None, "unparsed"),
    ],
)  # fmt: skip
def test_an_answer_is_judged_as_by_hand(
    benchmark: Benchmark, item: Item, shots: int, said: list[str], extracted: str | None, verdict: str
) -> None:
    samples = len(said) if len(said) > 1 else 0
    of = cell(benchmark=benchmark, items=(item,), examples=cell().examples[:shots], samples=samples)
    found = judged(of, item, [Completed(text=each, answer=each) for each in said])
    assert (found["extracted"], found["verdict"]) == (extracted, verdict)
    assert found["scores"]["exact_match"] == float(verdict == "right")


def test_unparsed_answers_are_counted_apart_and_count_as_not_right() -> None:
    examples = [
        {"verdict": verdict, "scores": {"exact_match": float(verdict == "right")}}
        for verdict in ("right", "wrong", "unparsed", "unparsed")
    ]
    (row,) = rows_of(cell(), {}, examples)
    assert (row["value"], row["n"], row["unparsed"], row["unparsed_share"]) == (0.25, 4, 2, 0.5)


def test_a_question_longer_than_the_context_is_refused_by_its_place_or_passed_over(
    saved: Saved, tmp_path: Path, reviews: Path
) -> None:
    small = saved(context=200)
    long = tmp_path / "long.jsonl"
    rows = [json.dumps({"document": letter * 200, "label": 1}) + "\n" for letter in "abcdefgh"]
    long.write_text("".join(rows) + reviews.read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.raises(ValueError, match=r"long\.jsonl, line \d: .* reads 200; add --skip-long"):
        asked(small, tmp_path / "cells", data=(long,), limit=8, samples=0, shots=(0,))
    found = asked(small, tmp_path / "cells", data=(long,), limit=8, samples=0, shots=(0,), skip_long=True)
    assert found.examples
    assert all(len(each["prompt"]) < 200 for each in found.examples)


def test_too_many_examples_are_refused_if_asked_for_and_left_out_and_told_of_if_not(
    saved: Saved, tmp_path: Path, reviews: Path
) -> None:
    small = saved(context=200)
    with pytest.raises(ValueError, match="give fewer --shots, or add --skip-long"):
        asked(small, tmp_path / "cells", data=(reviews,), samples=0, shots=(0, 4))
    found = asked(small, tmp_path / "cells", data=(reviews,), samples=0)
    assert {row["shots"] for row in found.rows} < {0, 1, 4}
    assert "left out, too long for this model: nsmc, " in found.notes[1]


def test_the_range_is_that_of_the_means_and_its_interval_is_of_items() -> None:
    """Means 3/4, 1/4 and 2/4: best minus worst is 1/2."""
    found = range_interval([[1, 1, 1, 0], [0, 0, 1, 0], [1, 0, 1, 0]])
    assert (found.value, found.n) == (0.5, 4)
    assert 0 <= found.low < 0.5 < found.high <= 1
    never = range_interval([[1, 0], [1, 0]])  # of two items that did not differ others may: z^2 / (2 + z^2)
    assert (never.value, never.low, never.high) == pytest.approx((0.0, 0.0, 3.841459 / 5.841459), abs=1e-7)


def test_the_share_of_probability_on_right_options() -> None:
    """MC2: e^-1 and e^-2 are right, e^-3 is not: (1 + e^-1) / (1 + e^-1 + e^-2) = 0.9100."""
    assert share_on([-1.0, -2.0, -3.0], (0, 1)) == pytest.approx(0.90997, abs=1e-5)


def test_a_document_is_found_by_its_identity_alone(tmp_path: Path) -> None:
    (row,) = rows_of(cell(), {"model": "m"}, [{"verdict": "right", "scores": {"exact_match": 1.0}}])
    document = {"identity": documents.identity_of("prompting", [row]), "suite": "prompting", "rows": [row]}
    folder = documents.write_document(tmp_path, document, [{"id": "1", "completion": "\ud800"}])
    assert folder == tmp_path / document["identity"][:16]
    assert documents.find_document(tmp_path, document["identity"]) == document
    assert list(documents.read_examples(folder)) == [{"id": "1", "completion": "\ud800"}]
    assert documents.find_document(tmp_path, document["identity"][:16] + "0" * 48) is None
    path = folder / "document.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"m"', '"other"'), encoding="utf-8")
    with pytest.raises(ValueError, match="its identity is not that of its rows"):
        documents.read_document(folder)
