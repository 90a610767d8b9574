"""From sources to raw documents, one stream: what cannot become a document is refused with its reason."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path

from tasks.artifacts import read_artifact
from tasks.corpus.documents import Document
from tasks.corpus.files import file_documents
from tasks.corpus.python_docs import python_documents
from tasks.corpus.sources import SOURCES_FILE, Limits, Refusal, Source
from tasks.corpus.staging import sieve


def ingest(
    inventory: Path, folder: Path, refused: Path, *, sources: Sequence[Source], limits: Limits, checkout: Path
) -> None:
    """raw/documents.jsonl and refused/ingest/, in the order of the sources."""
    recipe = {"sources": [source.identity() for source in sources], "limits": asdict(limits)}
    # of the inventory only this file: the settings of later stages must not enter what was read
    parents = [read_artifact(inventory).files[SOURCES_FILE]]
    with sieve(folder, refused, stage="ingest", parents=parents, recipe=recipe) as body:
        for found in chain.from_iterable(documents_of(source, limits, checkout) for source in sources):
            if isinstance(found, Refusal):
                body.refuse(found.id, found.text, found.reason, found.detail)
            else:
                body.keep(found)


def documents_of(source: Source, limits: Limits, checkout: Path) -> Iterator[Document | Refusal]:
    if source.kind == "files":
        return file_documents(source, limits, checkout)
    return (_writable(found) for found in python_documents(source))


def _writable(found: Document | Refusal) -> Document | Refusal:
    try:
        found.text.encode("utf-8")
    except UnicodeEncodeError as error:
        return Refusal(id=found.id, text=found.text, reason="invalid encoding", detail=f"at character {error.start}")
    return found
