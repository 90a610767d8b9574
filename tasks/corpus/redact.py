"""Personal data and secrets are replaced by what they were: "[email]". Rules are narrow: code and numbers must survive."""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

from tasks.artifacts import read_artifact
from tasks.corpus.documents import DOCUMENTS_FILE, Document, read_documents
from tasks.corpus.staging import sieve

# RFC 2606 and 6761: names that belong to nobody, which documentation is full of.
_RESERVED = re.compile(r"(?:^|\.)(?:example(?:\.(?:com|org|net|edu))?|test|invalid|localhost|local|localdomain)$")
_CENTURIES = {
    "1": 1900,
    "2": 1900,
    "3": 2000,
    "4": 2000,
    "5": 1900,
    "6": 1900,
    "7": 2000,
    "8": 2000,
    "9": 1800,
    "0": 1800,
}

# What stands beside is asked in ASCII: Korean and Japanese write their particles without a space ("010-1234-5678로").
_EMAIL = re.compile(
    r"(?<![A-Za-z0-9_.+%/-])[A-Za-z0-9][\w.+%-]{0,63}"
    r"@((?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,24})(?![A-Za-z0-9_-])"
)
_KEY = re.compile(
    r"""-----BEGIN\ (?:[A-Z]+\ )*PRIVATE\ KEY-----(?:.|\n){0,8000}?-----END\ (?:[A-Z]+\ )*PRIVATE\ KEY-----
    | (?<![A-Za-z0-9_-]) (?:
        (?:AKIA|ASIA)[0-9A-Z]{16}                                # Amazon
      | gh[pousr]_[A-Za-z0-9]{36,251} | github_pat_\w{22,251}     # GitHub
      | glpat-[\w-]{20}                                          # GitLab
      | sk-(?:ant-|proj-|svcacct-)?[A-Za-z0-9_-]{20,200}         # OpenAI, Anthropic
      | (?:sk|rk)_(?:live|test)_[A-Za-z0-9]{16,200}              # Stripe
      | xox[abposr]-[A-Za-z0-9-]{10,200}                         # Slack
      | AIza[A-Za-z0-9_-]{35}                                    # Google
      | hf_[A-Za-z]{34}                                          # Hugging Face
      | eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}   # JSON web token
    ) (?![A-Za-z0-9_-])""",
    re.VERBOSE,
)
# every key begins with one of these, and every number below holds a run like this
_KEY_MARKS = (
    "-----BEGIN", "AKIA", "ASIA", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "sk-", "sk_", "rk_",
    "xox", "AIza", "hf_", "eyJ",
)  # fmt: skip
_FIGURES = re.compile(r"\d[\d ().–-]{6}")
_CARD = re.compile(
    r"(?<![A-Za-z0-9_.+-])(?:\d{13,19}|\d{4}([ -])\d{4}\1\d{4}\1\d{1,7}|\d{4}([ -])\d{6}\2\d{5})(?![A-Za-z0-9_]|[.-]\d)"
)
_ISSUED = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})|(?:5[1-5]|2(?:2[2-9]|[3-6]\d|7[01]))\d{14}|2720\d{12}|3[47]\d{13}|3[0689]\d{12}"
    r"|6(?:011|5\d\d|4[4-9]\d)\d{12}|35\d{14}|62\d{14,17}|9\d{15}"
)
_RESIDENT = re.compile(r"(?<![A-Za-z0-9_.-])(\d{2})(\d{2})(\d{2})(-|–)?(\d)\d{6}(?![A-Za-z0-9_]|[.-]\d)")
_PHONE = re.compile(
    r"""(?<![A-Za-z0-9_.+/-]) (?:
        \+[1-9]\d{0,2} (?:[ .-]\(?\d{1,4}\)?){2,5}               # +44 20 7946 0958
      | \(\d{3}\)[ ]?\d{3}-\d{4} | (?:1-)?[2-9]\d{2}-[2-9]\d{2}-\d{4}    # (415) 555-2671
      | 01[016789][ .-]\d{3,4}[ .-]\d{4}                         # Korean mobile
      | 0(?:2|[3-6][1-5]|70|50\d)[-)]\d{3,4}-\d{4}               # Korean landline
      | 1[568]\d\d-\d{4} (?=\s*(?:번|으로|에\s*전화))             # Korean service number, said to be one
    ) (?![A-Za-z0-9_/-]|\.\d)""",
    re.VERBOSE,
)


@dataclass(frozen=True, kw_only=True)
class RedactConfig:
    """Which rules are on."""

    emails: bool = True
    phones: bool = True
    keys: bool = True
    cards: bool = True
    resident_numbers: bool = True


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What is found by `pattern` and passes `is_one` becomes "[name]"; `may_hold` is a quick way to say no."""

    name: str
    may_hold: Callable[[str], bool]
    pattern: re.Pattern[str]
    is_one: Callable[[re.Match[str]], bool]


def redact(decontaminated: Path, folder: Path, refused: Path, config: RedactConfig) -> None:
    """decontaminated/documents.jsonl -> redacted/documents.jsonl; refuses nothing, counts every replacement."""
    parents = [read_artifact(decontaminated).digest]
    with sieve(folder, refused, stage="redact", parents=parents, recipe=asdict(config)) as body:
        for document in read_documents(decontaminated / DOCUMENTS_FILE):
            text, found = redact_text(document.text, config)
            body.changes.update(found)
            body.keep(Document(id=document.id, group=document.group, kind=document.kind, text=text))


def redact_text(text: str, config: RedactConfig) -> tuple[str, Counter[str]]:
    """redact_text("write to kim@corp.kr", ...) -> ("write to [email]", {"email": 1})."""
    counts: Counter[str] = Counter()
    for setting, rule in RULES.items():
        if getattr(config, setting) and rule.may_hold(text):
            text = _replace(text, rule, counts)
    return text, counts


def _replace(text: str, rule: Rule, counts: Counter[str]) -> str:
    def replacement(found: re.Match[str]) -> str:
        if not rule.is_one(found):
            return found[0]
        counts[rule.name] += 1
        return f"[{rule.name}]"

    return rule.pattern.sub(replacement, text)


def luhn(digits: str) -> bool:
    """The check digit of payment cards (ISO/IEC 7812-1): luhn("4111111111111111") -> True."""
    doubled = [int(digit) * (2 if place % 2 else 1) for place, digit in enumerate(reversed(digits))]
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0


def _is_personal_email(found: re.Match[str]) -> bool:
    return _RESERVED.search(found[1].lower()) is None


def _is_card(found: re.Match[str]) -> bool:
    digits = re.sub(r"\D", "", found[0])
    return _ISSUED.fullmatch(digits) is not None and luhn(digits)


def _is_resident_number(found: re.Match[str]) -> bool:
    """Birth date, century digit; without its hyphen it must carry the check digit too (those given out before 2020)."""
    year, month, day, hyphen, century = found.groups()
    try:
        date(_CENTURIES[century] + int(year), int(month), int(day))
    except ValueError:
        return False
    return hyphen is not None or _resident_check(re.sub(r"\D", "", found[0]))


def _resident_check(digits: str) -> bool:
    weights = (2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5)
    total = sum(int(digit) * weight for digit, weight in zip(digits, weights, strict=False))
    return (11 - total % 11) % 10 == int(digits[-1])


def _is_phone(found: re.Match[str]) -> bool:
    return 8 <= sum(character.isdigit() for character in found[0]) <= 15


def _may_hold_key(text: str) -> bool:
    return any(mark in text for mark in _KEY_MARKS)


def _may_hold_number(text: str) -> bool:
    return _FIGURES.search(text) is not None


# Keys before numbers, the longer numbers before the shorter. Names are the settings of RedactConfig.
RULES: Mapping[str, Rule] = {
    "keys": Rule(name="key", may_hold=_may_hold_key, pattern=_KEY, is_one=lambda _: True),
    "emails": Rule(name="email", may_hold=lambda text: "@" in text, pattern=_EMAIL, is_one=_is_personal_email),
    "resident_numbers": Rule(
        name="resident number", may_hold=_may_hold_number, pattern=_RESIDENT, is_one=_is_resident_number
    ),
    "cards": Rule(name="card", may_hold=_may_hold_number, pattern=_CARD, is_one=_is_card),
    "phones": Rule(name="phone", may_hold=_may_hold_number, pattern=_PHONE, is_one=_is_phone),
}
