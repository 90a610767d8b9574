"""Train, valid and test by the hash of the group: a group is never torn, and a new document moves no other one."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

from tasks.artifacts import read_artifact
from tasks.corpus.documents import DOCUMENTS_FILE, SPLITS, read_documents
from tasks.corpus.staging import sieve

_HELD_OUT = ("valid", "test")


@dataclass(frozen=True, kw_only=True)
class SplitConfig:
    """Shares of groups kept apart; another `seed` is another split."""

    valid_share: float = 0.06
    test_share: float = 0.08
    seed: int = 1

    def __post_init__(self) -> None:
        if not (self.valid_share > 0 and self.test_share > 0 and self.valid_share + self.test_share <= 0.5):
            raise ValueError("split: valid_share and test_share must be above 0, and 0.5 together at most")


def split(redacted: Path, folder: Path, refused: Path, config: SplitConfig) -> None:
    """redacted/documents.jsonl -> split/{train,valid,test}.jsonl."""
    source = redacted / DOCUMENTS_FILE
    places = assign({document.group for document in read_documents(source)}, config)
    parents = [read_artifact(redacted).digest]
    files = [f"{name}.jsonl" for name in SPLITS]
    with sieve(folder, refused, stage="split", parents=parents, recipe=asdict(config), files=files) as body:
        for document in read_documents(source):
            body.keep(document, f"{places[document.group]}.jsonl")
            body.changes[f"{places[document.group]} documents"] += 1


def assign(groups: Iterable[str], config: SplitConfig) -> dict[str, str]:
    """group -> split. A small corpus whose hashes leave a split empty gives it the group nearest to its share.

    ValueError when there are fewer than three groups: then something could only be tested on what it was trained on.
    """
    positions = sorted((position(group, config.seed), group) for group in set(groups))
    if len(positions) < len(SPLITS):
        raise ValueError(
            f"split: the text is {len(positions)} group(s) (files, modules or sections), and train, valid and test need "
            "one each: add more text, or lower limits.group_bytes under corpora: in params.yaml"
        )
    places = {group: _place(value, config) for value, group in positions}
    ordered = [group for _, group in positions]
    # held-out splits lie at the low end of the line of hashes: valid first, then test, then train
    for number, name in enumerate(_HELD_OUT):
        if name not in places.values():
            places[ordered[number]] = name
    if "train" not in places.values():
        places[ordered[-1]] = "train"
    return places


def position(group: str, seed: int) -> float:
    """A number in [0, 1) that depends on the group's name and the seed alone."""
    return int.from_bytes(sha256(f"{seed}\n{group}".encode()).digest()[:8], "big") / 2**64


def _place(value: float, config: SplitConfig) -> str:
    if value < config.valid_share:
        return "valid"
    return "test" if value < config.valid_share + config.test_share else "train"
