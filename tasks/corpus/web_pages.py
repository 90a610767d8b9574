"""HTML -> the text a reader of the page came for: title, headings, paragraphs, lists, tables and code.

Navigation, scripts, styles, forms and what is hidden are left out; so is all outside of <main> or <article>, where the
page has one. Headings are written as Markdown does, so that they stay headings.
"""

import re
from codecs import lookup
from html.parser import HTMLParser

PAGES = (".html", ".htm", ".xhtml")
DEEPEST = 500  # elements in elements; of a page that is meant to be read

_LEFT_OUT = frozenset(
    ("script", "style", "noscript", "template", "svg", "math", "nav", "aside", "form", "button", "select", "iframe",
     "object", "canvas", "audio", "video", "dialog", "menu", "head")
)  # fmt: skip
_OUTSIDE = frozenset(("header", "footer"))  # of the page; a header inside an article holds its heading
_MAIN = frozenset(("main", "article"))
_LEFT_OUT_ROLES = frozenset(("navigation", "banner", "contentinfo", "search", "complementary", "menu", "dialog"))
_VOID = frozenset(
    ("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr")
)
_HEADINGS = {f"h{level}": "#" * level + " " for level in range(1, 7)}
_BLOCKS = frozenset(
    ("p", "div", "section", "article", "main", "header", "footer", "ul", "ol", "dl", "dt", "dd", "table", "caption",
     "blockquote", "figure", "figcaption", "pre", "hr", "address", "details", "summary", "fieldset", "body", "html")
)  # fmt: skip
_LINES = frozenset(("li", "tr", "br", "option"))
_IN_HEAD = frozenset(("title", "meta", "link", "script", "style", "base", "noscript", "template"))
# end tags that a page may leave out: what a start tag ends, as far as the nearest of the elements that hold both
_ENDS = {
    "li": (("li",), ("ul", "ol")),
    "dt": (("dt", "dd"), ("dl",)),
    "dd": (("dt", "dd"), ("dl",)),
    "tr": (("tr",), ("table",)),
    "td": (("td", "th"), ("tr", "table")),
    "th": (("td", "th"), ("tr", "table")),
    "option": (("option",), ()),
    **dict.fromkeys((_BLOCKS | set(_HEADINGS)) - {"dt", "dd"}, (("p",), ("td", "th", "li", "dd", "table", "button"))),
}
# what browsers read under names that pages use loosely, as the WHATWG's table of encodings has it
_READ_AS = {
    "iso8859-1": "cp1252", "ascii": "cp1252", "euc_kr": "cp949", "gb2312": "gb18030", "gbk": "gb18030",
    "shift_jis": "cp932", "utf-16": "utf-8", "utf-16-le": "utf-8", "utf-16-be": "utf-8", "utf-32": "utf-8",
}  # fmt: skip
_CHARSET = re.compile(rb"""<meta[^>]{0,200}charset\s*=\s*["']?\s*([A-Za-z0-9_.:-]{1,40})""", re.IGNORECASE)
_SNIFFED_BYTES = 4096
_SPACES = re.compile(r"[ \t]+")


def page_text(markup: str) -> str:
    """'<title>T</title><nav>menu</nav><h1>H</h1><p>one<p>two' -> '# T\\n\\n# H\\n\\none\\n\\ntwo\\n'.

    ValueError when it cannot be read.
    """
    reader = _Reader()
    try:
        reader.feed(markup)
        reader.close()
    except AssertionError as error:  # html.parser's word for a declaration that it cannot read
        raise ValueError(str(error)) from error
    return reader.text()


def declared_encoding(head: bytes) -> str | None:
    """What a page's <meta charset> means, where Python reads it; that UTF-16 says so in ASCII cannot be true."""
    found = _CHARSET.search(head[:_SNIFFED_BYTES])
    if found is None:
        return None
    try:
        name = lookup(found.group(1).decode("ascii")).name
        name = _READ_AS.get(name, name)
        b"-".decode(name, "surrogateescape")  # Python's codecs include some that make no text of a page: hex, idna
    except (LookupError, UnicodeError):
        return None
    return name


class _Reader(HTMLParser):
    """Elements are closed with the one around them, so that a forgotten end tag spoils no more than that."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._open: list[tuple[str, bool]] = []  # (name, left out)
        self._title: list[str] = []
        self._all = _Flow()
        self._main = _Flow()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _VOID:
            self._each("break", tag)
            return
        self._end_what_ends_here(tag)
        if len(self._open) >= DEEPEST:
            raise ValueError(f"more than {DEEPEST} elements in one another")
        self._open.append((tag, self._is_left_out or self._leaves_out(tag, dict(attrs))))
        self._each("break", tag)

    def _end_what_ends_here(self, tag: str) -> None:
        names = [name for name, _ in self._open]
        if "head" in names and names[-1] not in _IN_HEAD and tag not in _IN_HEAD:
            self.handle_endtag("head")
        ended, around = _ENDS.get(tag, ((), ()))
        for name in reversed(names):
            if name in around:
                break
            if name in ended:
                self.handle_endtag(name)
                break

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _VOID:
            self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        names = [name for name, _ in self._open]
        if tag in names:
            self._each("end", tag)
            del self._open[len(names) - 1 - names[::-1].index(tag) :]

    def handle_data(self, data: str) -> None:
        names = {name for name, _ in self._open}
        if "title" in names and "svg" not in names:
            self._title.append(data)
        elif not self._is_left_out:
            self._all.write(data, as_it_is="pre" in names)
            if names & _MAIN:
                self._main.write(data, as_it_is="pre" in names)

    def text(self) -> str:
        title = " ".join("".join(self._title).split())
        body = self._main.text() or self._all.text()
        first = body.partition("\n")[0].lstrip("# ")
        opening = f"# {title}\n\n" if title and title != first else ""
        return f"{opening}{body}\n" if opening or body else ""

    @property
    def _is_left_out(self) -> bool:
        return bool(self._open) and self._open[-1][1]

    def _leaves_out(self, tag: str, attributes: dict[str, str | None]) -> bool:
        if tag in _LEFT_OUT or "hidden" in attributes or attributes.get("aria-hidden") == "true":
            return True
        if tag in _OUTSIDE and not any(name in _MAIN for name, _ in self._open):
            return True
        style = (attributes.get("style") or "").replace(" ", "").lower()
        return (attributes.get("role") or "").lower() in _LEFT_OUT_ROLES or "display:none" in style

    def _each(self, what: str, tag: str) -> None:
        for flow in (self._all, self._main):
            flow.ended(tag) if what == "end" else flow.begun(tag)


class _Flow:
    """Text as it comes, with a blank line between blocks; only <pre> keeps its own white space."""

    def __init__(self) -> None:
        self._blocks: list[str] = []
        self._parts: list[str] = []

    def begun(self, tag: str) -> None:
        if tag in _BLOCKS or tag in _HEADINGS:
            self._close()
            self._parts = [_HEADINGS[tag]] if tag in _HEADINGS else []
        elif tag in _LINES:
            self._parts.append("\n- " if tag == "li" else "\n")
        elif tag in ("td", "th"):
            self._parts.append("\t")

    def ended(self, tag: str) -> None:
        if tag in _BLOCKS or tag in _HEADINGS:
            self._close(as_it_is=tag == "pre")

    def write(self, data: str, *, as_it_is: bool) -> None:
        self._parts.append(data if as_it_is else re.sub(r"\s+", " ", data))

    def text(self) -> str:
        self._close()
        return "\n\n".join(self._blocks)

    def _close(self, *, as_it_is: bool = False) -> None:
        block = "".join(self._parts)
        if as_it_is:
            block = block.strip("\n").rstrip()
        else:
            lines = [
                _SPACES.sub(lambda found: "\t" if "\t" in found[0] else " ", line).strip() for line in block.split("\n")
            ]
            block = "\n".join(line for line in lines if line not in ("", "-"))
        if block.strip("# \n"):
            self._blocks.append(block)
        self._parts = []
