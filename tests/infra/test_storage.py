"""Files are replaced whole, and disk use counts a hard link once."""

import os
from pathlib import Path

import pytest

from infra.storage import bytes_free, bytes_used, read_json, write_json


def test_json_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "value.json"
    assert read_json(path) is None
    write_json(path, {"name": "나무", "steps": 3})
    assert read_json(path) == {"name": "나무", "steps": 3}
    with pytest.raises(TypeError):
        write_json(path, {"name": {1, 2}})
    assert read_json(path) == {"name": "나무", "steps": 3}
    path.write_text('{"name"')
    assert read_json(path) is None


def test_disk_use(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "one").write_bytes(b"x" * 1000)
    (tmp_path / "inner" / "two").write_bytes(b"x" * 500)
    os.link(tmp_path / "one", tmp_path / "inner" / "same")
    assert bytes_used(tmp_path) == 1500
    assert bytes_free(tmp_path / "not" / "yet") > 0
