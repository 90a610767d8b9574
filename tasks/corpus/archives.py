"""Members of zip, tar and gzip files as streams: nothing is unpacked to disk, and nothing is trusted.

A member that points outside, is a link or a device, is encrypted, or collides with another name is refused alone;
an archive that holds too much, or swells too much, is refused from that point on.
"""

import gzip
import io
import lzma
import stat
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Protocol

from tasks.corpus.sources import Limits, Refusal

ZIP, TAR, GZIP = (".zip",), (".tar",), (".gz",)
_SMALLEST_BOMB_BYTES = 10_000_000
_BROKEN = (
    zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, lzma.LZMAError,
    EOFError, NotImplementedError, UnicodeDecodeError,
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Member:
    """A file to read: `name` is its place inside the source, with "/"."""

    name: str
    stream: io.BufferedReader


class Readable(Protocol):
    """All that is asked of a library's stream."""

    def read(self, size: int, /) -> bytes: ...


class ArchiveLimit(ValueError):
    """An archive holds or swells to more than the limits allow."""


class BrokenArchive(ValueError):
    """A member ends too early, or its bytes are not what was packed."""


class BoundedStream(io.RawIOBase):
    """A stream that stops with ArchiveLimit when more comes out than the limits allow for what went in.

    Whatever a damaged archive makes its library raise, comes out as BrokenArchive.
    """

    def __init__(self, stream: Readable, packed_bytes: int, budget: "Budget") -> None:
        self._stream = stream
        self._packed = packed_bytes
        self._budget = budget
        self._read = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview | bytearray") -> int:  # type: ignore[override]
        try:
            data = self._stream.read(len(buffer))
        except (*_BROKEN, OSError) as error:
            raise BrokenArchive(str(error) or type(error).__name__) from error
        self._read += len(data)
        self._budget.take(len(data), self._read, self._packed)
        buffer[: len(data)] = data
        return len(data)


class Budget:
    """What may still come out of one outermost archive."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._bytes = 0
        self._entries = 0

    def enter(self) -> None:
        self._entries += 1
        if self._entries > self._limits.max_archive_entries:
            raise ArchiveLimit(f"more than {self._limits.max_archive_entries} entries")

    def take(self, count: int, read: int, packed: int) -> None:
        self._bytes += count
        if self._bytes > self._limits.max_archive_bytes:
            raise ArchiveLimit(f"more than {self._limits.max_archive_bytes} bytes")
        if read > _SMALLEST_BOMB_BYTES and read > self._limits.max_archive_ratio * max(packed, 1):
            raise ArchiveLimit(f"swells more than {self._limits.max_archive_ratio} times")


def is_archive(name: str) -> bool:
    return suffix_of(name) in (*ZIP, *TAR, *GZIP, ".tgz")


def suffix_of(name: str) -> str:
    return PurePosixPath(name.lower()).suffix


def printable(name: str) -> str:
    """A file name as text: bytes that are no UTF-8 are spelled out, as "\\xff"."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def members(name: str, stream: io.BufferedReader, packed_bytes: int, limits: Limits) -> Iterator[Member | Refusal]:
    """The members of an archive, gzip inside of zip or tar included; an archive in an archive is refused."""
    budget = Budget(limits)
    try:
        for found in _opened(name, stream, packed_bytes, budget):
            if isinstance(found, Refusal) or not is_archive(found.name):
                yield found
            elif suffix_of(found.name) in GZIP and not found.name.lower().endswith(".tar.gz"):
                yield from _gzip(found.name, found.stream, packed_bytes, budget)
            else:
                yield Refusal(id=found.name, text="", reason="archive in an archive")
    except ArchiveLimit as error:
        yield Refusal(id=name, text="", reason="archive beyond limits", detail=str(error))
    except (*_BROKEN, BrokenArchive) as error:
        yield Refusal(id=name, text="", reason="broken archive", detail=str(error))


def _opened(name: str, stream: io.BufferedReader, packed_bytes: int, budget: Budget) -> Iterator[Member | Refusal]:
    lower = name.lower()
    if lower.endswith((".tar.gz", ".tgz")):
        yield from _tar(name, _bounded(gzip.GzipFile(fileobj=stream), packed_bytes, budget), budget)
    elif lower.endswith(TAR):
        yield from _tar(name, stream, budget)
    elif lower.endswith(ZIP):
        yield from _zip(name, stream, budget)
    else:
        yield from _gzip(name, stream, packed_bytes, budget)


def _bounded(stream: Readable, packed_bytes: int, budget: Budget) -> io.BufferedReader:
    return io.BufferedReader(BoundedStream(stream, packed_bytes, budget), buffer_size=1 << 16)


def _gzip(name: str, stream: io.BufferedReader, packed_bytes: int, budget: Budget) -> Iterator[Member]:
    budget.enter()
    yield Member(name=name[: -len(".gz")], stream=_bounded(gzip.GzipFile(fileobj=stream), packed_bytes, budget))


def _zip(name: str, stream: io.BufferedReader, budget: Budget) -> Iterator[Member | Refusal]:
    with zipfile.ZipFile(stream) as archive:
        names = _Names()
        for entry in sorted(archive.infolist(), key=lambda entry: entry.filename):
            budget.enter()
            if entry.is_dir():
                continue
            inner = printable(f"{name}/{entry.filename}")
            reason = names.refuse(entry.filename) or _zip_trouble(entry)
            if reason:
                yield Refusal(id=inner, text="", reason=reason)
                continue
            with archive.open(entry) as content:
                yield Member(name=inner, stream=_bounded(content, entry.compress_size, budget))


def _zip_trouble(entry: zipfile.ZipInfo) -> str:
    mode = entry.external_attr >> 16
    if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        return "archive member is a link or a device"
    return "archive member is encrypted" if entry.flag_bits & 1 else ""


def _tar(name: str, stream: io.BufferedReader, budget: Budget) -> Iterator[Member | Refusal]:
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        names = _Names()
        for entry in archive:
            budget.enter()
            if entry.isdir():
                continue
            inner = printable(f"{name}/{entry.name}")
            reason = names.refuse(entry.name) or _tar_trouble(entry)
            content = None if reason else archive.extractfile(entry)
            if content is None:
                yield Refusal(id=inner, text="", reason=reason)
            else:
                yield Member(name=inner, stream=_bounded(content, entry.size, budget))


def _tar_trouble(entry: tarfile.TarInfo) -> str:
    if not entry.isreg():
        return "archive member is a link or a device"
    # its holes are no bytes of the archive, so no limit on swelling would see them
    return "archive member is sparse" if entry.issparse() else ""


class _Names:
    """The names seen in one archive; two that a Mac or Windows folder could not hold apart collide."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def refuse(self, name: str) -> str:
        """The reason to refuse a member of this name, or ""."""
        parts = name.replace("\\", "/").split("/")
        if name.startswith(("/", "\\")) or ".." in parts or "\x00" in name or ":" in parts[0]:
            return "archive member points outside"
        key = unicodedata.normalize("NFC", name).casefold()
        if key in self._seen:
            return "archive member's name collides"
        self._seen.add(key)
        return ""
