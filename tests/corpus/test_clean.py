"""One spelling for every text; text of any language survives, and what is refused says why."""

import random
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.corpus.clean import RULES, CleanConfig, clean, judge, normalise
from tasks.corpus.documents import Document, read_documents

SPELLED = {
    "line ends": ("one\r\ntwo\rthree\u2028four\u0085five\x0bsix", "one\ntwo\nthree\nfour\nfive\nsix\n"),
    "paragraph separator": ("one\u2029two", "one\n\ntwo\n"),
    "form feed": ("one\x0c\ntwo", "one\ntwo\n"),
    "byte order mark": ("\ufeffone", "one\n"),
    "marks and blank lines": ("\n\ufeff\n\ufeffone\n\n\n", "one\n"),
    "decomposed": ("cafe\u0301 \u1112\u1161\u11ab", "caf\u00e9 \ud55c\n"),
    "indentation": ("    def f():\n        pass  \n\n", "    def f():\n        pass\n"),
    "nothing": (" \n\t\n", ""),
}


@pytest.mark.parametrize(("text", "expected"), SPELLED.values(), ids=SPELLED)
def test_a_text_gets_its_one_spelling(text: str, expected: str) -> None:
    assert normalise(text) == expected


def test_a_normalised_text_stays_as_it_is() -> None:
    chance = random.Random(7)
    alphabet = "a \n\r\t\ufeff\u2028\u2029\x0b\x0c\u0085é\u0301\u1112\u1161한\u0e33😉\u200d\u200f"
    for _ in range(5000):
        once = normalise("".join(chance.choices(alphabet, k=chance.randrange(12))))
        assert normalise(once) == once
        assert unicodedata.is_normalized("NFC", once)


KEPT = {
    "Korean": "모든 국민은 인간으로서의 존엄과 가치를 가지며, 행복을 추구할 권리를 가진다.",
    "Thai": "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ",
    "Hindi": "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है।",
    "Burmese": "လူတိုင်းသည် တူညီ လွတ်လပ်သော ဂုဏ်သိက္ခာဖြင့် လည်းကောင်း",
    "Chinese": "人人生而自由,在尊严和权利上一律平等。他们赋有理性和良心,并应以兄弟关系的精神相对待。",
    "Arabic with marks": "\u200f" + "يولد جميع الناس أحرارًا متساوين في الكرامة والحقوق" + "\u200e",
    "Hebrew with embedding": "\u202b" + "כל בני האדם נולדו בני חורין" + "\u202c",
    "emoji": "Families \U0001f469\u200d\U0001f469\u200d\U0001f467 and flags are text too.",
    "code": "def f(x):\n    return [y ** 2 for y in x if y % 2]\n",
    "tabs": "name\tvalue\nalpha\tone\nbeta\ttwo\n",
}


@pytest.mark.parametrize("text", KEPT.values(), ids=KEPT)
def test_text_of_any_language_survives_unchanged(text: str) -> None:
    assert judge(normalise(text), CleanConfig()) == (True, "")
    assert normalise(text) == unicodedata.normalize("NFC", text).rstrip("\n") + "\n"


REFUSED = {
    "empty": " \n \n",
    "lone surrogate": "half \ud83d of a face, and some more",
    "NUL": "a text with \x00 in the middle of it",
    "control character": "a terminal \x1b[31mwrites\x1b[0m in red",
    "direction override": "access_level = '\u202euser' # check, harmless to read",
    "too short": "a few words",
    "too long": "many words " * 100_000,
    "line too long": "word " * 5000,
    "few letters": "3.14 2.71 1.41 1.73 | 0.57 0.69 ---- 299792458 +",
    "repeats itself": "buy now and save\n" * 200,
}


@pytest.mark.parametrize(("reason", "text"), REFUSED.items(), ids=REFUSED)
def test_each_rule_refuses_what_it_is_for(reason: str, text: str) -> None:
    assert judge(normalise(text), CleanConfig()) == (False, reason)


def test_every_rule_has_its_example() -> None:
    assert set(REFUSED) == set(RULES)


def test_the_stage_keeps_refused_texts_with_reasons_and_the_counts_add_up(
    sealed: Callable[..., Path], refused: Callable[[Path], list[dict[str, Any]]], tmp_path: Path
) -> None:
    texts = [*KEPT.values(), *(text for reason, text in REFUSED.items() if reason != "lone surrogate")]
    raw = sealed(*(Document(id=str(number), group="g", kind="text", text=text) for number, text in enumerate(texts)))
    clean(raw, tmp_path / "clean", tmp_path / "refused", CleanConfig())
    assert [document.text for document in read_documents(tmp_path / "clean" / "documents.jsonl")] == [
        normalise(text) for text in KEPT.values()
    ]
    found = {record["reason"]: record for record in refused(tmp_path / "refused")}
    assert set(found) == set(REFUSED) - {"lone surrogate"}
    assert found["too long"]["characters"] == len(REFUSED["too long"])
    assert found["NUL"]["text"] == REFUSED["NUL"]


def test_pythons_own_documentation_is_kept(checkout: Callable[..., Any]) -> None:
    own = checkout(sources=[{"kind": "python", "modules": ["json", "textwrap", "decimal"]}])
    own.run("inventory", "ingest", "clean")
    assert own.counts("clean")["refused"] == {}


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="a share lies between 0 and 1"):
        CleanConfig(min_letter_share=1.5)
    with pytest.raises(ValueError, match="every count must be at least 1"):
        CleanConfig(min_characters=0)


def test_the_declaration_of_human_rights_survives_in_three_hundred_languages(
    checkout: Callable[..., Any], test_data: Path
) -> None:
    own = checkout(test_data / "public_domain_text" / "udhr2.zip").run("inventory", "ingest", "clean")
    counts = own.counts("clean")
    assert counts["kept"] > 1000
    # seven hold bytes of Windows-1252 as control characters, one a direction override: none is refused for its script
    assert set(counts["refused"]) <= {"control character", "direction override"}
    assert sum(counts["refused"].values()) <= 8
