"""Where documents come from: Python's own documentation, or a user's files. Each source is one small config."""

import codecs
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

DEFAULT_ENCODING = "utf-8"
SOURCES_FILE = "sources.json"  # in the inventory: a fingerprint of every source


@dataclass(frozen=True, kw_only=True)
class Source:
    """`python`: the running interpreter's documentation; `files`: a file, folder or glob at `path`.

    `name` stands in the documents' ids in place of the path, so that the same files give the same bytes anywhere.
    """

    kind: Literal["python", "files"] = "files"
    name: str = ""
    # kind: python. No modules means all of them; a cap takes whole modules, in an order that depends on names alone.
    modules: tuple[str, ...] = ()
    max_reference_bytes: int | None = None
    max_docstring_bytes: int | None = None
    max_source_bytes: int | None = None
    max_source_file_bytes: int = 60_000
    # kind: files
    path: str = ""
    text_field: str = ""
    encoding: str = DEFAULT_ENCODING

    def __post_init__(self) -> None:
        if self.kind == "files" and not (self.path and self.name):
            raise ValueError("sources: a source of kind files needs a path and a name")
        if self.kind == "files" and (self.modules or self.max_source_bytes is not None):
            raise ValueError(f"sources: {self.name}: modules and byte caps belong to a source of kind python")
        if self.kind == "python" and self.path:
            raise ValueError("sources: a source of kind python has no path; for files write kind: files")
        if self.kind == "python" and self.name not in ("", "python"):
            raise ValueError(f"sources: a source of kind python is called python, not {self.name}")
        _refuse_unknown_encoding(self.encoding)

    def identity(self) -> dict[str, Any]:
        """All that decides which bytes are read; where the files lie on this machine does not."""
        return {key: value for key, value in asdict(self).items() if key != "path"}


def _refuse_unknown_encoding(name: str) -> None:
    try:
        codecs.lookup(name)
    except LookupError as error:
        raise ValueError(f"sources: encoding: Python knows no {name}; for example utf-8, cp949 or latin-1") from error


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds on what one file, line, row or archive may hold; memory stays below a few of these."""

    document_bytes: int = 4096  # a text file is cut at paragraphs into documents of about this size
    group_bytes: int = 32_768  # and a longer one into groups of this size, which the split keeps together
    max_line_characters: int = 50_000
    max_row_bytes: int = 1_000_000
    max_json_bytes: int = 64_000_000
    max_archive_entries: int = 100_000
    max_archive_bytes: int = 4_000_000_000
    max_archive_ratio: int = 200

    def __post_init__(self) -> None:
        if min(asdict(self).values()) < 1:
            raise ValueError("limits: every limit must be at least 1")
        if self.group_bytes < self.document_bytes:
            raise ValueError("limits.group_bytes: a group holds whole documents; make it at least document_bytes")


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Something a source held that cannot become a document."""

    id: str
    text: str
    reason: str
    detail: str = ""


def refuse_doubled_names(sources: Iterable[Source]) -> None:
    names = [source.name or "python" for source in sources]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"sources: two sources are called {name}; give each its own name")


def local_path(source: Source, checkout: Path) -> Path:
    """Where a source of kind files lies: relative paths start at the checkout."""
    return checkout / Path(source.path).expanduser()
