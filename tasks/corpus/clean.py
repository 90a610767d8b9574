"""One spelling for every text, and a reason for each text that is not worth training on."""

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from tasks.artifacts import read_artifact
from tasks.corpus.documents import DOCUMENTS_FILE, Document, read_documents
from tasks.corpus.staging import sieve

# Left-to-right and right-to-left *override*: text that reads otherwise than it is stored (Trojan Source,
# Boucher and Anderson 2021). Marks and embeddings, which Arabic and Hebrew text needs, stay.
_OVERRIDE = re.compile("[\u202d\u202e]")
_CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f]")
_LINE_ENDS = {"\r\n": "\n", "\r": "\n", "\u0085": "\n", "\u2028": "\n", "\u2029": "\n\n", "\x0b": "\n", "\x0c": ""}
_LINE_END = re.compile("\r\n|[\r\u0085\u2028\u2029\x0b\x0c]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_NO_LETTERS = re.compile(r"[\W\d_]+")


@dataclass(frozen=True, kw_only=True)
class CleanConfig:
    """Bounds for any language: letters are Unicode's, and nothing asks which script they are of."""

    min_characters: int = 20
    max_characters: int = 1_000_000
    max_line_characters: int = 20_000
    min_letter_share: float = 0.3
    min_distinct_trigrams: float = 0.2  # of a text's word triples; below it the text repeats itself
    fewest_trigrams: int = 100  # shorter texts repeat themselves honestly

    def __post_init__(self) -> None:
        if not (0 <= self.min_letter_share <= 1 and 0 <= self.min_distinct_trigrams <= 1):
            raise ValueError("clean: a share lies between 0 and 1")
        if min(self.min_characters, self.max_characters, self.max_line_characters, self.fewest_trigrams) < 1:
            raise ValueError("clean: every count must be at least 1")


def clean(raw: Path, folder: Path, refused: Path, config: CleanConfig) -> None:
    """raw/documents.jsonl -> clean/documents.jsonl and refused/clean/."""
    parents = [read_artifact(raw).digest]
    with sieve(folder, refused, stage="clean", parents=parents, recipe=asdict(config)) as body:
        for document in read_documents(raw / DOCUMENTS_FILE):
            text = normalise(document.text)
            passed, reason = judge(text, config)
            if passed:
                body.keep(Document(id=document.id, group=document.group, kind=document.kind, text=text))
            else:
                body.refuse(document.id, document.text, reason)


def normalise(text: str) -> str:
    """Line ends to line feeds, NFC, no byte order mark, no blank lines at either end, one line feed at the last.

    normalise("\\ufeffa\\r\\nb\\u2028c ") -> "a\\nb\\nc\\n". The same text again gives itself.
    """
    text = _LINE_END.sub(lambda found: _LINE_ENDS[found[0]], text)
    text = unicodedata.normalize("NFC", text).lstrip("\ufeff\n").rstrip()
    return text + "\n" if text else ""


def judge(text: str, config: CleanConfig) -> tuple[bool, str]:
    """(True, "") or (False, the first rule the text breaks)."""
    for reason, breaks in RULES.items():
        if breaks(text, config):
            return False, reason
    return True, ""


def _too_long_a_line(text: str, config: CleanConfig) -> bool:
    if len(text) <= config.max_line_characters:
        return False
    return max(map(len, text.split("\n"))) > config.max_line_characters


def _few_letters(text: str, config: CleanConfig) -> bool:
    """Combining marks count as letters: the vowels of Hindi or Thai are marks."""
    needed = config.min_letter_share * len("".join(text.split()))
    letters = len(_NO_LETTERS.sub("", text))
    if letters < needed:  # only then is it worth looking at each character
        letters += sum(unicodedata.category(character)[0] == "M" for character in text)
    return letters < needed


def _repeats_itself(text: str, config: CleanConfig) -> bool:
    words = text.split()
    trigrams = len(words) - 2
    if trigrams < config.fewest_trigrams:
        return False
    distinct = len(set(zip(words, words[1:], words[2:], strict=False)))
    return distinct < config.min_distinct_trigrams * trigrams


RULES: Mapping[str, Callable[[str, CleanConfig], bool]] = {
    "empty": lambda text, _: not text.strip(),
    "lone surrogate": lambda text, _: _SURROGATE.search(text) is not None,
    "NUL": lambda text, _: "\x00" in text,
    "control character": lambda text, _: _CONTROL.search(text) is not None,
    "direction override": lambda text, _: _OVERRIDE.search(text) is not None,
    "too short": lambda text, config: len(text) < config.min_characters,
    "too long": lambda text, config: len(text) > config.max_characters,
    "line too long": _too_long_a_line,
    "few letters": _few_letters,
    "repeats itself": _repeats_itself,
}
