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
    "a head without its end tag": ("<html><head><title>T</title><meta name=x><body><p>x", "# T\n\nx\n"),
    "neither end of head nor body": ("<head><title>T</title><script>s</script><p>x", "# T\n\nx\n"),
    "a thousand end tags left out": (
        "<p>x" * 1000 + "<ul>" + "<li>y" * 1000 + "<li>a<ul><li>b</ul></ul><table>" + "<tr><td>1<td>2" * 1000,
        "x\n\n" * 1000 + "- y\n" * 1000 + "- a\n\n- b\n\n" + "1\t2\n" * 1000,
    ),
    "hidden until it ends": ("<p hidden>a<p>b<dl><dt hidden>c<dd>d</dl>", "b\n\nd\n"),
    "no markup at all": ("plain text", "plain text\n"),
    "nothing to read": ("<nav>menu</nav><script>x</script>", ""),
}  # fmt: skip


@pytest.mark.parametrize(("markup", "text"), PAGES.values(), ids=PAGES)
def test_the_text_of_a_page(markup: str, text: str) -> None:
    assert page_text(markup) == text


FILES = {
    "declared encoding": ("k.html", '<meta charset="euc-kr"><p>한국어 문서'.encode("euc-kr"), ["한국어 문서\n"], {}),
    "older one": ("k.htm", b'<meta http-equiv="x" content="text/html; charset=latin-1"><p>caf\xe9', ["café\n"], {}),
    "more than its name says": ("k.html", '<meta charset="euc-kr"><p>똠방각하'.encode("cp949"), ["똠방각하\n"], {}),
    "a codec that is no encoding": ("k.html", '<meta charset="hex"><p>세계'.encode(), ["세계\n"], {}),
    "UTF-16 in name only": ("k.html", '<meta charset="utf-16"><p>세계'.encode(), ["세계\n"], {}),
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
