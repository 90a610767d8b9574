"""A data set by its name, from a small Hub on this machine; and one sentence where there is no Hub."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import unquote, urlsplit

import pytest

from tasks.corpus.hub import fetch, wanted_files


class Hub(BaseHTTPRequestHandler):
    """Two routes of huggingface.co: the list of a data set's files, and a file."""

    FILES: ClassVar[dict[str, bytes]] = {
        "README.md": b"# about",
        "data/train.jsonl": b'{"text": "a row to train on"}\n',
        "data/test.jsonl": b'{"text": "a row to test on"}\n',
        "other/rows.jsonl": b'{"text": "another"}\n',
    }

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if path == "/api/datasets/owner/rows":
            described = {"id": "owner/rows", "sha": "1" * 40, "siblings": [{"rfilename": name} for name in self.FILES]}
            self._answer(200, json.dumps(described).encode())
        elif path.startswith("/datasets/owner/rows/resolve/main/"):
            self._answer(200, self.FILES[path.removeprefix("/datasets/owner/rows/resolve/main/")])
        elif path.startswith("/api/datasets/owner/rows/revision/"):
            self._answer(404, b"{}", ("X-Error-Code", "RevisionNotFound"))
        else:
            self._answer(404, b"{}", ("X-Error-Code", "RepoNotFound"))

    def do_HEAD(self) -> None:
        self.do_GET()

    def _answer(self, status: int, body: bytes, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in (("ETag", f'"{hash(body)}"'), ("X-Repo-Commit", "1" * 40), *headers):
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, format: str, *values: object) -> None:
        pass


@pytest.fixture(scope="module")
def hub() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_data_set_is_copied_by_its_name_and_only_its_training_rows(hub: str, tmp_path: Path) -> None:
    folder, files = fetch("hf:owner/rows", tmp_path, endpoint=hub)
    assert (folder, files) == (tmp_path / "owner--rows", ["data/train.jsonl"])
    assert (folder / "data" / "train.jsonl").read_bytes() == Hub.FILES["data/train.jsonl"]
    folder, files = fetch("hf:owner/rows/other", tmp_path, endpoint=hub)
    assert (folder, files) == (tmp_path / "owner--rows" / "other", ["other/rows.jsonl"])


def test_the_form_is_chosen_in_which_rows_are_best_read() -> None:
    assert wanted_files(["a/train.csv", "a/train.parquet", "a/test.parquet", "x.json"]) == ["a/train.parquet"]
    assert wanted_files(["rows.csv.gz", "README.md", "constraint.csv"]) == ["constraint.csv", "rows.csv.gz"]
    assert wanted_files(["dataset_infos.json", "one.txt"]) == ["one.txt"]
    assert wanted_files(["picture.png"]) == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hf:owner/nothing", "hf:owner/nothing: the Hugging Face Hub has no such data set, or it is private"),
        (
            "hf:owner/rows/empty",
            "hf:owner/rows: holds no Parquet, JSON, CSV, TSV or text in its folder empty; download",
        ),
        ("hf:owner/rows/../x", "expected hf:OWNER/NAME"),
        ("hf:", "expected hf:OWNER/NAME"),
    ],
)
def test_what_the_hub_does_not_have_is_said_in_a_sentence(name: str, message: str, hub: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        fetch(name, tmp_path, endpoint=hub)


def test_without_a_network_it_is_said_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"hf:owner/rows: the Hugging Face Hub cannot be reached .*; try again online"):
        fetch("hf:owner/rows", tmp_path, endpoint="http://127.0.0.1:9")
    assert not any(tmp_path.iterdir())
