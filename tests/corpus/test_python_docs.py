"""Python's own documentation as documents: what is read, how it is named, and that caps take whole modules."""

import pytest

from tasks.corpus.documents import Document
from tasks.corpus.python_docs import module_files, python_documents, python_fingerprint, topic_groups
from tasks.corpus.sources import Source


def documents(**settings: object) -> list[Document]:
    return [found for found in python_documents(Source(kind="python", **settings)) if isinstance(found, Document)]  # type: ignore[arg-type]


def test_reference_docstrings_and_source_of_the_named_modules_are_read() -> None:
    found = documents(modules=("textwrap", "json"))
    by_id = {document.id: document for document in found}
    assert len(by_id) == len(found)
    assert {document.kind for document in found} == {"reference", "docstring", "source"}
    wrap = by_id["docstring/textwrap.TextWrapper.wrap"]
    assert wrap.text.startswith("def textwrap.TextWrapper.wrap(self, text)\n\nwrap(text : string) -> [string]")
    assert by_id["source/json.decoder"].group == by_id["module/json"].group == "json"
    assert {document.group for document in found if document.kind == "source"} == {"textwrap", "json"}
    assert by_id["topic/while"].kind == "reference"


def test_a_cap_takes_whole_modules_and_more_room_only_adds() -> None:
    modules = ("asyncio", "concurrent", "json", "logging", "xml")
    whole = {document.id: document for document in documents(modules=modules)}
    small = [document for document in documents(modules=modules, max_source_bytes=200_000) if document.kind == "source"]
    large = [document for document in documents(modules=modules, max_source_bytes=600_000) if document.kind == "source"]
    assert 150_000 < sum(len(document.text.encode()) for document in small) <= 200_000
    assert all(whole[document.id] == document for document in small)
    assert len(set(small) & set(large)) > 0.8 * len(small)
    none = documents(modules=("json",), max_source_bytes=0, max_docstring_bytes=0)
    assert {document.kind for document in none} == {"reference"}


def test_no_tests_no_tables_and_no_installed_packages_are_read() -> None:
    names = [module for module, _ in module_files()]
    assert not [name for name in names if set(name.split(".")) & {"test", "tests", "encodings", "site-packages"}]
    assert "asyncio.queues" in names
    with pytest.raises(ValueError, match="numpy: not in the standard library of Python 3"):
        module_files(["numpy"])


def test_the_fingerprint_is_of_what_may_be_read() -> None:
    assert python_fingerprint(Source(kind="python", modules=("json",))) == python_fingerprint(
        Source(kind="python", modules=("json",), max_source_bytes=10)
    )
    assert python_fingerprint(Source(kind="python", modules=("json",))) != python_fingerprint(
        Source(kind="python", modules=("csv",))
    )


def test_topics_that_share_a_paragraph_are_one_group() -> None:
    long = (
        "the suite is executed, repeatedly, as long as there is something left for the iterator to provide, then ends"
    )
    texts = {"compound": f"intro\n\n{long}\n\nwith", "for": f"{long}", "with": "with\n\nother", "if": "short"}
    assert topic_groups(texts) == {"compound": "compound", "for": "compound", "with": "with", "if": "if"}
    from pydoc_data.topics import topics

    found = topic_groups(topics)
    assert found["for"] == found["while"] == found["compound"]
    assert len(set(found.values())) > 40
