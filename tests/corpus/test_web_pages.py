"""HTML: what is read of a page, and what is left out."""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.corpus.web_pages import page_text

PAGES = {
    "title, headings, paragraphs": (
        "<title>T &amp; t</title><h1>One</h1><p>a\n b<h2>Two</h2>c", "# T & t\n\n# One\n\na b\n\n## Two\n\nc\n"
    ),
    "a title that is the first heading": ("<head><title>One</title></head><h1>One</h1>x", "# One\n\nx\n"),
    "navigation, script, style": (
        "<style>p {}</style><nav><p>Home</nav><p>x<script>if (a < b) '<p>y'</script><footer>me</footer>", "x\n"
    ),
    "roles and what is hidden": (
        "<div role=navigation>a</div><div hidden>b</div><p style='display: none'>c</p><p aria-hidden=true>d</p>e", "e\n"
    ),
    "main alone": ("<p>advert<main><header><h1>H</h1></header><p>x</main><p>advert", "# H\n\nx\n"),
    "lists, tables, breaks": (
        "<ul><li>a<li> b </ul><table><tr><th>k<td>v<tr><td>1<td>2</table>l<br>m", "- a\n- b\n\nk\tv\n1\t2\n\nl\nm\n"
    ),
    "code as it stands": ("<pre>\ndef f():\n    return 1 &lt; 2\n</pre>", "def f():\n    return 1 < 2\n"),
    "words stay words": ("<p>a<b>b</b> <i>c</i>,\xa0d", "ab c, d\n"),
    "an end tag too many and one too few": ("<div><nav>menu</div></p>text</span>", "text\n"),
    "no markup at all": ("plain text", "plain text\n"),
    "nothing to read": ("<nav>menu</nav><script>x</script>", ""),
}  # fmt: skip


@pytest.mark.parametrize(("markup", "text"), PAGES.values(), ids=PAGES)
def test_the_text_of_a_page(markup: str, text: str) -> None:
    assert page_text(markup) == text


FILES = {
    "declared encoding": ("k.html", '<meta charset="euc-kr"><p>한국어 문서'.encode("euc-kr"), ["한국어 문서\n"], {}),
    "older one": ("k.htm", b'<meta http-equiv="x" content="text/html; charset=latin-1"><p>caf\xe9', ["café\n"], {}),
    "packed": ("page.html.gz", gzip.compress(b"<h1>Packed</h1>"), ["# Packed\n"], {}),
    "wrong encoding": ("page.html", b"<p>caf\xe9", [], {"invalid encoding": 1}),
    "nothing to read": ("page.html", b"<nav>menu</nav>", [], {"no text on the page": 1}),
    "too deep": ("page.html", b"<b>" * 100_000, [], {"broken HTML": 1}),
}  # fmt: skip


@pytest.mark.parametrize(("name", "data", "texts", "refused"), FILES.values(), ids=FILES)
def test_pages_are_files_of_a_corpus(
    name: str, data: bytes, texts: list[str], refused: dict[str, int], checkout: Callable[..., Any], tmp_path: Path
) -> None:
    files = tmp_path / "files"
    files.mkdir()
    (files / name).write_bytes(data)
    (files / "z.txt").write_text("z\n")
    own = checkout(files).run("inventory", "ingest")
    assert own.texts() == [*texts, "z\n"]
    assert own.counts("ingest")["refused"] == refused
