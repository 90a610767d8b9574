"""Personal data and secrets are replaced by what they were; code, numbers and example addresses are left alone."""

from collections import Counter

import pytest

from tasks.corpus.python_docs import python_documents
from tasks.corpus.redact import RedactConfig, luhn, redact_text
from tasks.corpus.sources import Source

A = "A" * 40  # secrets are put together here: none stands in this file as a whole

FOUND = {
    "an email": ("write to kim.minsu+news@mail.corp.kr today", "write to [email] today"),
    "an email in brackets": ("Kim <kim@corp.kr>", "Kim <[email]>"),
    "an email at the end": ("mail me: kim@corp.kr.", "mail me: [email]."),
    "an email with a particle": ("문의는kim@corp.kr로", "문의는[email]로"),
    "two emails": ("a@corp.kr, b@corp.kr", "[email], [email]"),
    "international phone": ("call +44 20 7946 0958 now", "call [phone] now"),
    "American phone": ("call (415) 555-2671 or 415-555-2671", "call [phone] or [phone]"),
    "Korean mobile": ("전화 010-1234-5678 로", "전화 [phone] 로"),
    "Korean mobile with a particle": ("번호010-1234-5678로, (010-9876-5432)", "번호[phone]로, ([phone])"),
    "Korean landline": ("대표전화 02-123-4567, 031-123-4567", "대표전화 [phone], [phone]"),
    "Korean service number": ("1588-1234번으로", "[phone]번으로"),
    "card": ("pay with 4111 1111 1111 1111 please", "pay with [card] please"),
    "card without spaces": ("5500005555555559.", "[card]."),
    "American Express": ("3782 822463 10005", "[card]"),
    # 900101-1...: 9*2+0*3+0*4+1*5+0*6+1*7+1*8+0*9+0*2+0*3+0*4+0*5 = 38; (11 - 38 % 11) % 10 = 6
    "Korean resident number": ("번호는 900101-1000006 이다", "번호는 [resident number] 이다"),
    "resident number without hyphen": ("9001011000006.", "[resident number]."),
    "resident number of after 2020": ("210131-3123456", "[resident number]"),
    "Amazon key": ("key AKIA" + "IOSFODNN7" + "ABCDEFG;", "key [key];"),
    "GitHub token": ("token=ghp_" + A[:36], "token=[key]"),
    "OpenAI key": ("'sk-proj-" + A[:30] + "'", "'[key]'"),
    "Google key": ("AIza" + A[:35], "[key]"),
    "web token": (f"Bearer eyJ{A[:20]}.eyJ{A[:20]}.{A[:20]}", "Bearer [key]"),
    "private key": (f"-----BEGIN RSA PRIVATE KEY-----\n{A}\n-----END RSA PRIVATE KEY-----\n", "[key]\n"),
}


@pytest.mark.parametrize(("text", "expected"), FOUND.values(), ids=FOUND)
def test_personal_data_is_replaced_by_what_it_was(text: str, expected: str) -> None:
    redacted, counts = redact_text(text, RedactConfig())
    assert redacted == expected
    assert sum(counts.values()) == expected.count("[email]") + expected.count("[phone]") + expected.count(
        "[card]"
    ) + expected.count("[resident number]") + expected.count("[key]")


LEFT = {
    "reserved domains": "user@example.com, root@localhost, me@sub.example.org, a@host.invalid, b@c.test",
    "decorator": "@functools.lru_cache(maxsize=None)\n@app.route",
    "matrix product": "c = a@b.T  # matrix product",
    "version": "Python 3.11.7, RFC 2822, section 10.4.1.2-1234",
    "address": "0x7f3a2b1c4d5e and 192.168.100.200 and fe80::1ff:fe23:4567:890a",
    "date": "2024-01-15 12:30:45.123456, 20240115T123045, 1999-12-31",
    "year range": "Copyright 1991-1995, 2001-2024",
    "no card: check digit": "4111 1111 1111 1112",
    "no card: nobody issues it": "1234567812345670",
    "no card: part of a number": "0.4111111111111111 and x4111111111111111",
    "digits of pi": "3.14159265358979323846264338327950288419716939937510",
    "time stamp": "1700000000000 ms since 1970",
    "no resident number: no such month": "901301-1000006",
    "no resident number: check digit": "9001011000005",
    "hash": "d41d8cd98f00b204e9800998ecf8427e",
    "short key": "sk-learn and sk_test and hf_hub and ghp_short",
    "phone-like expression": "x = 100 - 555 - 1234; y = (200)[3]",
    "law": "법률 제1588-1234호",
    "ISBN": "ISBN 978-89-01-12345-6",
}


@pytest.mark.parametrize("text", LEFT.values(), ids=LEFT)
def test_code_numbers_and_example_addresses_are_left_alone(text: str) -> None:
    assert redact_text(text, RedactConfig()) == (text, Counter())


def test_each_rule_can_be_turned_off() -> None:
    text = "kim@corp.kr 010-1234-5678"
    assert redact_text(text, RedactConfig(emails=False))[0] == "kim@corp.kr [phone]"
    assert redact_text(text, RedactConfig(phones=False))[0] == "[email] 010-1234-5678"


def test_redacting_twice_changes_nothing_more() -> None:
    for text, _ in FOUND.values():
        once, _counts = redact_text(text, RedactConfig())
        assert redact_text(once, RedactConfig()) == (once, Counter())


@pytest.mark.parametrize(
    ("digits", "holds"), [("4111111111111111", True), ("79927398713", True), ("79927398710", False)]
)
def test_luhn(digits: str, holds: bool) -> None:
    """79927398713: the worked example of ISO/IEC 7812-1, appendix B."""
    assert luhn(digits) is holds


def test_pythons_documentation_has_authors_addresses_and_no_false_alarm() -> None:
    """Ten megabytes of code and prose full of numbers: what is found is addresses of people, and nothing else."""
    counts: Counter[str] = Counter()
    for found in python_documents(Source(kind="python", max_source_file_bytes=250_000)):
        counts.update(redact_text(found.text, RedactConfig())[1])
    assert set(counts) == {"email"}
    assert 20 < counts["email"] < 500
