"""Archives are read as streams: no member is written anywhere, and a hostile one is refused alone."""

import gzip
import io
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tasks.corpus.archives import Member, members
from tasks.corpus.sources import Limits, Refusal

GOOD = b"A good member.\n"


def zipped(entries: Mapping[str, bytes], *, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in entries.items():
            archive.writestr(zipfile.ZipInfo(name), data, compress_type=compression)
    return buffer.getvalue()


def tarred(*entries: tuple[str, bytes, bytes | None], mode: str = "w") -> bytes:
    """Entries of (name, type, data); what is no regular file points to /etc/passwd."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, kind, data in entries:
            info = tarfile.TarInfo(name)
            info.type, info.size, info.linkname = kind, len(data or b""), "" if data else "/etc/passwd"
            archive.addfile(info, io.BytesIO(data or b""))
    return buffer.getvalue()


def read(name: str, data: bytes, limits: Limits | None = None) -> tuple[dict[str, bytes], dict[str, str]]:
    """(member -> its bytes, member -> why it was refused)."""
    kept: dict[str, bytes] = {}
    refused: dict[str, str] = {}
    for found in members(name, io.BufferedReader(io.BytesIO(data)), len(data), limits or Limits()):
        if isinstance(found, Refusal):
            refused[found.id] = found.reason
        else:
            kept[found.name] = found.stream.read()
    return kept, refused


OUTSIDE = ["../up.txt", "a/../../up.txt", "/etc/absolute.txt", "C:/windows.txt", "..\\up.txt", "\\\\server\\share.txt"]


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_member_that_points_outside_is_refused_alone(name: str) -> None:
    for archive, data in (
        ("a.zip", zipped({"good.txt": GOOD, name: b"bad"})),
        ("a.tar", tarred(("good.txt", tarfile.REGTYPE, GOOD), (name, tarfile.REGTYPE, b"bad"))),
    ):
        kept, refused = read(archive, data)
        assert kept == {f"{archive}/good.txt": GOOD}
        assert list(refused.values()) == ["archive member points outside"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_are_refused(kind: bytes) -> None:
    kept, refused = read("a.tar", tarred(("link", kind, None), ("good.txt", tarfile.REGTYPE, GOOD)))
    assert kept == {"a.tar/good.txt": GOOD}
    assert refused == {"a.tar/link": "archive member is a link or a device"}


def test_links_and_encrypted_members_of_a_zip_are_refused() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        link = zipfile.ZipInfo("link")
        link.create_system, link.external_attr = 3, 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("locked.txt", "secret")
        archive.writestr("good.txt", GOOD)
    data = bytearray(buffer.getvalue())
    place = data.index(b"locked.txt", data.index(b"PK\x01\x02"))
    data[place - 46 + 8] |= 1  # the flags in the central directory say: encrypted
    kept, refused = read("a.zip", bytes(data))
    assert kept == {"a.zip/good.txt": GOOD}
    assert refused == {
        "a.zip/link": "archive member is a link or a device",
        "a.zip/locked.txt": "archive member is encrypted",
    }


def test_names_that_a_folder_could_not_hold_apart_collide() -> None:
    names = ["Read.txt", "read.TXT", "caf\u00e9.txt", "cafe\u0301.txt", "other.txt"]
    kept, refused = read("a.zip", zipped({name: name.encode() for name in names}))
    assert len(kept) == 3
    assert set(refused.values()) == {"archive member's name collides"}
    twice = tarred(("a.txt", tarfile.REGTYPE, b"first"), ("a.txt", tarfile.REGTYPE, b"second"))
    assert read("a.tar", twice) == ({"a.tar/a.txt": b"first"}, {"a.tar/a.txt": "archive member's name collides"})


@pytest.mark.parametrize("name", ["bomb.zip", "bomb.tar.gz", "bomb.txt.gz"])
def test_a_bomb_is_refused_before_it_swells(name: str, checkout: Callable[..., Any], tmp_path: Path) -> None:
    zeros = b"a" * 300_000_000
    packed = {
        "bomb.zip": lambda: zipped({"zeros.txt": zeros}),
        "bomb.tar.gz": lambda: tarred(("zeros.txt", tarfile.REGTYPE, zeros), mode="w:gz"),
        "bomb.txt.gz": lambda: gzip.compress(zeros, 6),
    }[name]()
    assert len(packed) < 1_500_000
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / name).write_bytes(packed)
    (tmp_path / "files" / "good.txt").write_bytes(GOOD)
    own = checkout(tmp_path / "files").run("inventory", "ingest")
    assert own.texts() == [GOOD.decode()]
    assert own.counts("ingest")["refused"]["archive beyond limits"] >= 1


def test_bytes_and_entries_of_an_archive_are_bounded() -> None:
    data = zipped({f"{number:03}.txt": b"x" * 1000 for number in range(50)}, compression=zipfile.ZIP_STORED)
    kept, refused = read("many.zip", data, Limits(max_archive_entries=10))
    assert len(kept) == 10
    assert refused == {"many.zip": "archive beyond limits"}
    with pytest.raises(ValueError, match="more than 5000 bytes"):
        read("many.zip", data, Limits(max_archive_bytes=5000))


def test_a_sparse_tar_member_is_refused() -> None:
    header = tarfile.TarInfo("holes.txt")
    header.type, header.size = tarfile.GNUTYPE_SPARSE, 0
    block = bytearray(header.tobuf(tarfile.GNU_FORMAT))
    block[386:398], block[398:410] = b"00000000000\x00", b"00000000000\x00"  # one empty map entry
    block[483:495] = b"77777777777\x00"  # 8 GiB of holes
    block[148:156] = b"        "
    block[148:156] = b"%06o\x00 " % sum(block[:512])
    kept, refused = read("a.tar", bytes(block) + bytes(1024))
    assert kept == {}
    assert list(refused.values()) == ["archive member is sparse"]


def test_archives_in_archives_are_refused_but_gzip_is_read() -> None:
    inner = zipped({"inner.txt": GOOD})
    kept, refused = read("a.zip", zipped({"inner.zip": inner, "b.tar.gz": b"", "text.txt.gz": gzip.compress(GOOD)}))
    assert kept == {"a.zip/text.txt": GOOD}
    assert refused == {"a.zip/inner.zip": "archive in an archive", "a.zip/b.tar.gz": "archive in an archive"}


def test_a_damaged_member_spoils_no_other(checkout: Callable[..., Any], tmp_path: Path) -> None:
    data = bytearray(
        zipped({"a.txt": GOOD, "b.txt": b"B" + GOOD, "c.txt": b"C" + GOOD}, compression=zipfile.ZIP_STORED)
    )
    data[data.index(b"BA good")] ^= 1  # the checksum no longer holds
    (tmp_path / "damaged.zip").write_bytes(bytes(data))
    own = checkout(tmp_path / "damaged.zip").run("inventory", "ingest")
    assert own.texts() == [GOOD.decode(), f"C{GOOD.decode()}"]
    assert own.counts("ingest")["refused"] == {"broken archive": 1}


def test_names_that_are_no_unicode_are_spelled_out(checkout: Callable[..., Any], tmp_path: Path) -> None:
    info = tarfile.TarInfo("caf\udce9.txt")
    info.size = len(GOOD)
    with tarfile.open(tmp_path / "old.tar", "w", format=tarfile.GNU_FORMAT, errors="surrogateescape") as archive:
        archive.addfile(info, io.BytesIO(GOOD))
    [document] = checkout(tmp_path / "old.tar").run("inventory", "ingest").documents()
    assert document.group == r"own/old.tar/caf\xe9.txt"


def test_nothing_is_written_beside_the_corpus(checkout: Callable[..., Any], tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    (files / "slip.zip").write_bytes(zipped(dict.fromkeys(OUTSIDE, b"bad") | {"good.txt": GOOD}))
    own = checkout(files).run("inventory", "ingest")
    assert own.texts() == [GOOD.decode()]
    written = {path.relative_to(tmp_path).parts[0] for path in tmp_path.rglob("*") if path.is_file()}
    assert written == {"files", "checkout"}
    assert not Path("/etc/absolute.txt").exists()


def test_members_come_as_streams_not_as_bytes() -> None:
    [member] = members("a.gz", io.BufferedReader(io.BytesIO(gzip.compress(GOOD))), 40, Limits())
    assert isinstance(member, Member)
    assert member.stream.read(6) == b"A good"
