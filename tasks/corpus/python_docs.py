"""Python's own documentation, read from the running interpreter: language reference, docstrings and source.

Group = top-level module: a docstring stands inside its source file too, so a split by document would leak.
Only modules of `sys.stdlib_module_names`, no tests, no installed packages, nothing written by this machine's build.
"""

import ast
import hashlib
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from pydoc_data.topics import topics

from tasks.corpus.documents import Document
from tasks.corpus.sources import Refusal, Source

_TEST_FOLDERS = frozenset({"test", "tests", "idle_test", "__pycache__", "site-packages", "dist-packages", "_bundled"})
# pydoc_data holds the reference once more; encodings and lib2to3 are tables; the rest are programs, not a library
_OTHER = frozenset({"pydoc_data", "encodings", "lib2to3", "idlelib", "turtledemo", "ensurepip", "distutils", "this"})
_SHARED_CHARACTERS = 100  # a shorter paragraph may stand in two texts by chance
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)

Found = Document | Refusal


def python_documents(source: Source) -> Iterator[Found]:
    """Reference topics, then docstrings, then source, each by name and within its cap."""
    files = module_files(source.modules)
    yield from _capped(_reference(), source.max_reference_bytes)
    yield from _capped(_docstrings(files), source.max_docstring_bytes)
    small = [(module, path) for module, path in files if path.stat().st_size <= source.max_source_file_bytes]
    yield from _sources(_chosen(small, source.max_source_bytes))


def python_fingerprint(source: Source) -> str:
    """sha256 over all that `python_documents` may read: names and bytes, no paths."""
    total = hashlib.sha256(repr(sorted(topics.items())).encode())
    for module, path in module_files(source.modules):
        total.update(f"\n{module}\n".encode() + path.read_bytes())
    return total.hexdigest()


def module_files(modules: Iterable[str] = ()) -> list[tuple[str, Path]]:
    """(dotted module name, file) of the standard library by name; `modules` bounds it to top-level names."""
    library = Path(sysconfig.get_path("stdlib"))
    wanted = set(modules) or set(sys.stdlib_module_names) - _OTHER
    unknown = sorted(wanted - set(sys.stdlib_module_names))
    if unknown:
        raise ValueError(
            f"sources: {', '.join(unknown)}: not in the standard library of Python {sys.version.split()[0]}"
        )
    found = []
    for top in sorted(wanted):
        # an extension module, or one this interpreter was built without, has no file here
        file, folder = library / f"{top}.py", library / top
        paths = [file] if file.is_file() else sorted(folder.rglob("*.py"))
        found += [(_dotted(path.relative_to(library)), path) for path in paths if _is_library(path, library)]
    if not found:
        raise ValueError(f"sources: no module of the standard library has its source below {library}")
    return sorted(found)


def _is_library(path: Path, library: Path) -> bool:
    return not _TEST_FOLDERS & set(path.relative_to(library).parts)


def _dotted(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def _reference() -> Iterator[Document]:
    groups = topic_groups(topics)
    for name, text in sorted(topics.items()):
        yield Document(id=f"topic/{name}", group=f"topic/{groups[name]}", kind="reference", text=text)


def topic_groups(texts: Mapping[str, str]) -> dict[str, str]:
    """Topic -> the first topic it shares a paragraph with, however indirectly; "for" stands inside "compound" too."""
    groups = {name: name for name in texts}
    first_with: dict[str, str] = {}
    for name, text in sorted(texts.items()):
        for paragraph in text.split("\n\n"):
            words = " ".join(paragraph.split())
            if len(words) >= _SHARED_CHARACTERS:
                _join(groups, first_with.setdefault(words, name), name)
    return {name: _root(groups, name) for name in groups}


def _join(groups: dict[str, str], one: str, other: str) -> None:
    first, second = sorted((_root(groups, one), _root(groups, other)))
    groups[second] = first


def _root(groups: Mapping[str, str], name: str) -> str:
    while groups[name] != name:
        name = groups[name]
    return name


def _docstrings(files: Sequence[tuple[str, Path]]) -> Iterator[Found]:
    for module, path in files:
        text = path.read_bytes().decode("utf-8", "surrogateescape")
        try:
            tree = ast.parse(text)
        except (SyntaxError, ValueError) as error:
            yield Refusal(id=f"module/{module}", text=text, reason="does not parse", detail=str(error))
            continue
        yield from _unique(_docstrings_of(module, tree))


def _docstrings_of(module: str, tree: ast.Module) -> Iterator[Document]:
    group = module.partition(".")[0]
    if text := ast.get_docstring(tree):
        yield Document(id=f"module/{module}", group=group, kind="docstring", text=f"module {module}\n\n{text}\n")
    for name, node in _definitions(module, tree):
        if text := ast.get_docstring(node):
            head = _signature(name, node)
            yield Document(id=f"docstring/{name}", group=group, kind="docstring", text=f"{head}\n\n{text}\n")


def _definitions(
    prefix: str, node: ast.AST
) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, _DEFINITIONS):
            name = f"{prefix}.{child.name}"
            yield name, child
            yield from _definitions(name, child)


def _signature(name: str, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> str:
    if isinstance(node, ast.ClassDef):
        return f"class {name}"
    word = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
    return f"{word} {name}({ast.unparse(node.args)})"


def _unique(documents: Iterable[Document]) -> Iterator[Document]:
    """A property and its setter share a name: the later one's id ends in a hash of its text."""
    seen: set[str] = set()
    for document in documents:
        if document.id in seen:
            mark = hashlib.sha256(document.text.encode("utf-8", "surrogateescape")).hexdigest()[:8]
            document = Document(
                id=f"{document.id}~{mark}", group=document.group, kind=document.kind, text=document.text
            )
        seen.add(document.id)
        yield document


def _sources(files: Iterable[tuple[str, Path]]) -> Iterator[Document]:
    for module, path in files:
        text = path.read_bytes().decode("utf-8", "surrogateescape")
        yield Document(id=f"source/{module}", group=module.partition(".")[0], kind="source", text=text)


def _chosen(files: Sequence[tuple[str, Path]], most: int | None) -> list[tuple[str, Path]]:
    """Files up to `most` bytes in the order of the hash of their names: a sample that no alphabet favours."""
    if most is None:
        return list(files)
    left, chosen = most, []
    for module, path in sorted(files, key=lambda item: hashlib.sha256(item[0].encode()).digest()):
        if path.stat().st_size <= left:
            left -= path.stat().st_size
            chosen.append((module, path))
    return sorted(chosen)


def _capped(found: Iterable[Found], most: int | None) -> Iterator[Found]:
    """The same for documents that are small: held, chosen by the hash of their ids, given in the order they came."""
    if most is None:
        yield from found
        return
    held = list(found)
    left, chosen = most, set()
    for item in sorted(held, key=lambda item: hashlib.sha256(item.id.encode()).digest()):
        size = len(item.text.encode("utf-8", "surrogateescape"))
        if size <= left:
            left -= size
            chosen.add(item.id)
    yield from (item for item in held if item.id in chosen)
