"""Documents that hold a text the model will be evaluated on are refused (13-gram overlap: Brown et al. 2020, appendix C).

Evaluation texts are the string leaves of YAML files and the lines of text files: a text of 13 words or more is found
by any run of 13 of them, a shorter one as a whole if it has at least `shortest_words`; a question and its answer are
looked for together too. What is shorter is too common to mean anything.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import yaml

from tasks.artifacts import digest_of, read_artifact
from tasks.corpus.documents import DOCUMENTS_FILE, read_documents
from tasks.corpus.staging import sieve
from tasks.corpus.words import gram_hashes, words_of

BENCHMARKS = Path("tasks/evaluation/benchmarks")
_YAML = (".yaml", ".yml")


@dataclass(frozen=True, kw_only=True)
class DecontaminateConfig:
    """`evaluation_texts`: more files to keep out of training, beside tasks/evaluation/benchmarks/*.yaml."""

    gram_words: int = 13
    shortest_words: int = 8
    evaluation_texts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.shortest_words <= self.gram_words:
            raise ValueError("decontaminate.shortest_words: expected 1 to gram_words")


def decontaminate(
    deduplicated: Path, folder: Path, refused: Path, config: DecontaminateConfig, texts: Sequence[str]
) -> None:
    """deduplicated/documents.jsonl -> decontaminated/documents.jsonl and refused/decontaminate/."""
    index = OverlapIndex(texts, config)
    recipe = {**asdict(config), "evaluation_texts": digest_of(sorted(texts))}
    parents = [read_artifact(deduplicated).digest]
    with sieve(folder, refused, stage="decontaminate", parents=parents, recipe=recipe) as body:
        for document in read_documents(deduplicated / DOCUMENTS_FILE):
            overlap = index.overlap(document.text)
            if overlap:
                body.refuse(document.id, document.text, "evaluation text", detail=f"holds: {overlap}")
            else:
                body.keep(document)


class OverlapIndex:
    """The word runs of the evaluation texts, by length: 64-bit hashes, so a false alarm has odds of 1 in 10^12."""

    def __init__(self, texts: Iterable[str], config: DecontaminateConfig) -> None:
        grams: defaultdict[int, list[npt.NDArray[np.uint64]]] = defaultdict(list)
        for text in texts:
            words = words_of(text)
            if len(words) >= config.shortest_words:
                order = min(len(words), config.gram_words)
                grams[order].append(gram_hashes(words, order))
        self._grams = {order: np.unique(np.concatenate(found)) for order, found in sorted(grams.items())}

    def overlap(self, text: str) -> str:
        """The first run of words that an evaluation text holds too, or ""."""
        words = words_of(text)
        for order, grams in self._grams.items():
            hits = np.flatnonzero(np.isin(gram_hashes(words, order), grams))
            if len(hits):
                return " ".join(words[hits[0] : hits[0] + order])
        return ""


def evaluation_texts(checkout: Path, config: DecontaminateConfig) -> list[str]:
    """Every text to keep out of training; ValueError names a file that cannot be read."""
    return [text for path in evaluation_files(checkout, config) for text in _texts_of(path)]


def evaluation_files(checkout: Path, config: DecontaminateConfig) -> list[Path]:
    files = [path for path in sorted((checkout / BENCHMARKS).rglob("*")) if path.suffix in _YAML]
    for name in config.evaluation_texts:
        path = checkout / Path(name).expanduser()
        if not path.is_file():
            raise ValueError(f"decontaminate.evaluation_texts: {name}: no such file")
        files.append(path)
    return files


def _texts_of(path: Path) -> Iterator[str]:
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix in _YAML:
            yield from _leaves(yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
        else:
            yield from text.split("\n")
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"{path.name}: not readable as evaluation texts ({' '.join(str(error).split())})") from error


def _leaves(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield " ".join(item for item in value.values() if isinstance(item, str))
        for item in value.values():
            yield from _leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item)
