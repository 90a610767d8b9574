"""Versions are numbered, found by what people say, and explain what they were made from."""

import pytest
from ledger_models import digest, judge, promote, register
from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError

from infra.database import events, gate_reports, lineage, tables, versions
from infra.database.sessions import writing


def test_versions_count_from_one_for_each_name_and_a_digest_is_registered_once(ledger: Engine) -> None:
    first = register(ledger, "a", figures={"bits_per_byte": 1.72})
    assert (first["name"], first["version"], first["stage"], first["aliases"]) == ("assistant", 1, "aligned", [])
    assert first["figures"] == {"bits_per_byte": 1.72}
    assert register(ledger, "b")["version"] == 2
    assert register(ledger, "c", name="base", stage="pretrained")["version"] == 1
    again = register(ledger, "a", figures={"bits_per_byte": 9.0})
    assert again == first
    assert [(each["name"], each["version"]) for each in versions.list_versions(ledger)] == [
        ("assistant", 1), ("assistant", 2), ("base", 1),
    ]  # fmt: skip
    assert [each["kind"] for each in events.history(ledger, "assistant")] == ["registered", "registered"]


def test_a_version_that_is_registered_in_another_folder_has_moved(ledger: Engine) -> None:
    register(ledger, "a")
    assert register(ledger, "a", path="/elsewhere/a")["path"] == "/elsewhere/a"
    assert events.history(ledger)[-1]["kind"] == "version_moved"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"stage": "finetuned"}, "expected one of pretrained, instruct, reward, aligned, imported"),
        ({"name": "a/b"}, "expected up to 100 letters"),
        ({"name": "production"}, "this is an alias"),
        ({"author": ""}, "author: expected some text"),
        ({"author": "a\0b"}, "NUL and unpaired surrogates are no text"),
        ({"path": "/models/\ud800"}, "NUL and unpaired surrogates are no text"),
        ({"run_id": "unknown"}, "run unknown is not in the ledger"),
        ({"figures": {"loss": object()}}, "the ledger keeps JSON alone, and this is a object"),
    ],
)
def test_what_cannot_be_registered_is_said_in_a_sentence(ledger: Engine, wrong: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        register(ledger, "a", **wrong)  # type: ignore[arg-type]
    assert versions.list_versions(ledger) == []
    assert events.history(ledger) == []


def test_the_database_itself_refuses_an_unknown_stage(ledger: Engine) -> None:
    register(ledger, "a")
    row = {column.name: "x" for column in tables.model_version.c} | {"version": 2, "run_id": None, "name": "assistant"}
    with pytest.raises(IntegrityError), writing(ledger) as connection:
        connection.execute(tables.model_version.insert().values(row))


def test_champions_have_aliases_by_their_stage(ledger: Engine) -> None:
    for word in "abc":
        promote(ledger, word)
    promote(ledger, "base", name="base", stage="pretrained")
    found = {f"{each['name']}:{each['version']}": each["aliases"] for each in versions.list_versions(ledger)}
    assert found == {
        "assistant:1": [], "assistant:2": ["previous"], "assistant:3": ["production"], "base:1": ["promoted"],
    }  # fmt: skip


def test_a_version_is_found_by_what_people_say(ledger: Engine) -> None:
    for word in ("a", "b"):
        promote(ledger, word)
    register(ledger, "c")
    register(ledger, "reward", name="judge", stage="reward")
    said = {
        "production": "b",
        "previous": "a",
        "assistant": "b",
        "assistant:1": "a",
        "assistant:3": "c",
        "assistant@production": "b",
        "assistant@previous": "a",
        "assistant@latest": "c",
        "judge": "reward",
        digest("c")[:6]: "c",
        digest("c"): "c",
    }
    assert {reference: versions.find_version(ledger, reference)["digest"] for reference in said} == {
        reference: digest(word) for reference, word in said.items()
    }


@pytest.mark.parametrize(
    "reference", ["promoted", "other", "assistant:9", "assistant@promoted", "12345", "", "'; DROP TABLE run; --", "%"]
)
def test_what_is_not_there_is_answered_with_what_is(ledger: Engine, reference: str) -> None:
    with pytest.raises(ValueError, match="there is none yet"):
        versions.find_version(ledger, reference)
    promote(ledger, "a")
    register(ledger, "b")
    with pytest.raises(ValueError) as refused:
        versions.find_version(ledger, reference)
    listed = f"there are assistant:1 (production, {digest('a')[:12]}), assistant:2 ({digest('b')[:12]})"
    assert str(refused.value) == f"no model {reference!r}: {listed}"


def test_first_digits_that_mean_two_models_are_refused(ledger: Engine) -> None:
    for last in "12":
        versions.register_version(
            ledger, name="twins", stage="aligned", digest="abcdef" + last * 58, path="/m", parents=[], recipe={},
            run_id=None, figures={}, author="ada",
        )  # fmt: skip
    with pytest.raises(ValueError, match=r"'abcdef' means more than one model: twins:1 \(abcdef1.*give more digits"):
        versions.find_version(ledger, "abcdef")
    assert versions.find_version(ledger, "abcdef1")["version"] == 1


def test_of_several_products_the_one_promoted_last_is_production(ledger: Engine) -> None:
    promote(ledger, "a", name="assistant")
    promote(ledger, "b", name="translator")
    assert versions.find_version(ledger, "production")["name"] == "translator"
    promote(ledger, "c", name="assistant")
    assert versions.find_version(ledger, "production")["digest"] == digest("c")


def test_a_gate_report_is_its_content(ledger: Engine) -> None:
    register(ledger, "a")
    first = judge(ledger, "a", bits_per_byte=1.5)
    assert judge(ledger, "a", bits_per_byte=1.5) == first
    second = judge(ledger, "a", verdict="FAIL", bits_per_byte=float("inf"))
    assert second != first
    found = gate_reports.gate_report_of(ledger, digest("a"))
    assert found is not None
    assert found["report"] in ({"bits_per_byte": 1.5}, {"bits_per_byte": "Infinity"})
    with pytest.raises(ValueError, match="expected one of PASS, FAIL, INSUFFICIENT"):
        judge(ledger, "a", verdict="MAYBE")
    with pytest.raises(ValueError, match="assistant has no version"):
        judge(ledger, "b")
    assert [each["kind"] for each in events.history(ledger)] == ["registered", "gate_report", "gate_report"]


def test_a_chain_explains_a_model_down_to_its_text(ledger: Engine) -> None:
    corpus, tokenizer, shard = digest("corpus"), digest("tokenizer"), digest("shard")
    lineage.record_artifact(
        ledger, digest=corpus, kind="corpus", path="/data/corpus", parents=[], summary={"documents": 1}
    )
    lineage.record_artifact(
        ledger, digest=corpus, kind="corpus", path="/data/corpus", parents=[], summary={"documents": 12}
    )
    lineage.record_artifact(
        ledger, digest=shard, kind="tokens", path="/data/t", parents=[corpus, tokenizer], summary={}
    )
    register(ledger, "base", name="base", stage="pretrained", parents=[shard])
    promote(ledger, "assistant", parents=[digest("base"), shard])
    chain = lineage.chain(ledger, digest("assistant"))
    assert (chain["kind"], chain["name"], chain["verdict"]) == ("aligned", "assistant:1", "PASS")
    assert chain["figures"] == {"bits_per_byte": 1.5}
    assert set(chain) >= {"digest", "created", "run_id", "recipe", "parents"}
    base, tokens = chain["parents"]
    assert (base["kind"], base["name"], base["verdict"]) == ("pretrained", "base:1", None)
    assert (tokens["kind"], tokens["digest"]) == ("tokens", shard)
    text, unknown = base["parents"][0]["parents"]
    assert (text["kind"], text["figures"]) == ("corpus", {"documents": 12})
    assert unknown == {"kind": "artifact", "digest": tokenizer, "parents": []}
    made = lineage.descendants(ledger, corpus)
    assert [each["digest"] for each in made if "name" in each] == [digest("base"), digest("assistant")]


def test_parents_in_a_circle_end_the_walk(ledger: Engine) -> None:
    lineage.record_artifact(ledger, digest="one", kind="tokens", path="/1", parents=["two"], summary={})
    lineage.record_artifact(ledger, digest="two", kind="tokens", path="/2", parents=["one"], summary={})
    assert lineage.chain(ledger, "one")["parents"][0]["parents"] == []
    assert {each["digest"] for each in lineage.descendants(ledger, "one")} == {"one", "two"}
