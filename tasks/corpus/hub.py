"""A data set of the Hugging Face Hub, by name: its files of rows or text, copied to a folder.

The one place that asks the network for anything, and only where a person names a data set.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from tasks.corpus.archives import suffix_of
from tasks.corpus.rows import ROW_FILES
from tasks.corpus.tables import TABLES

PREFIX = "hf:"
CONVERTED = "refs/convert/parquet"  # where the Hub keeps Parquet of what came in another form
# the first of these of which there are any: a data set often holds the same rows in several forms
_FORMS = (
    (".parquet",),
    tuple(suffix for suffix in ROW_FILES if suffix != ".parquet"),
    TABLES,
    (".txt", ".md"),
)  # fmt: skip
_NAME = re.compile(r"hf:([\w.-]+/[\w.-]+|[\w.-]+)((?:/[\w.+-]+)*)$")
_TRAIN = re.compile(r"(?<![a-z])train", re.IGNORECASE)


def is_hub_name(path: str) -> bool:
    return path.startswith(PREFIX)


def fetch(name: str, below: Path, *, endpoint: str | None = None) -> tuple[Path, list[str]]:
    """(folder, files) of "hf:owner/name", or of one folder in it, "hf:owner/name/folder"; below / owner--name.

    Where files are named after splits, only those of training. ValueError in one sentence when it cannot be had.
    """
    repository, inside = _parsed(name)
    from huggingface_hub import HfApi

    api = HfApi(endpoint=endpoint)
    folder = below / repository.replace("/", "--")
    with _online(), _in_a_sentence(name):
        files, revision = _files(api, repository, inside)
        for file in files:
            api.hf_hub_download(repository, file, repo_type="dataset", revision=revision, local_dir=folder)
    return folder / inside, files


def wanted_files(names: Sequence[str]) -> list[str]:
    """["README.md", "data/train.parquet", "data/test.parquet", "train.csv"] -> ["data/train.parquet"]"""
    for form in _FORMS:
        found = sorted(name for name in names if _suffix(name) in form and not _is_description(name))
        if found:
            return [name for name in found if _TRAIN.search(name)] or found
    return []


def _suffix(name: str) -> str:
    return suffix_of(name.removesuffix(".gz"))


def _is_description(name: str) -> bool:
    plain = PurePosixPath(name).name.lower()
    return plain.startswith((".", "readme", "license")) or plain in ("dataset_infos.json", "dataset_dict.json")


def _parsed(name: str) -> tuple[str, str]:
    found = _NAME.match(name)
    if found is None or ".." in name:
        raise ValueError(f"{name}: expected hf:OWNER/NAME, the name of a data set on the Hugging Face Hub")
    return found.group(1), found.group(2).strip("/")


def _files(api: Any, repository: str, inside: str) -> tuple[list[str], str | None]:
    from huggingface_hub.errors import RevisionNotFoundError

    for revision in (None, CONVERTED):
        try:
            files = api.dataset_info(repository, revision=revision).siblings or ()  # asks once, where others ask again
        except RevisionNotFoundError:
            continue
        found = wanted_files(
            [each.rfilename for each in files if each.rfilename.startswith(f"{inside}/" if inside else "")]
        )
        if found:
            return found, revision
    where = f" in its folder {inside}" if inside else ""
    raise ValueError(
        f"hf:{repository}: holds no Parquet, JSON, CSV, TSV or text{where}; download it and name the files instead"
    )


@contextmanager
def _online() -> Iterator[None]:
    """The command keeps the library off the network (infra/settings.py); here a person asks for it."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = False
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


@contextmanager
def _in_a_sentence(name: str) -> Iterator[None]:
    from httpx2 import HTTPError
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    try:
        yield
    except GatedRepoError as error:
        raise ValueError(f"{name}: its owner asks for an agreement; accept it on the Hub and set HF_TOKEN") from error
    except RepositoryNotFoundError as error:
        raise ValueError(f"{name}: the Hugging Face Hub has no such data set, or it is private (HF_TOKEN)") from error
    except (HTTPError, OSError) as error:
        raise ValueError(
            f"{name}: the Hugging Face Hub cannot be reached from here ({type(error).__name__}); try again online, or "
            "name files of your own"
        ) from error
