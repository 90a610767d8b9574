"""YAML whose values know the file and the line they stand in, so that a wrong one can be named."""

import difflib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import yaml

_KINDS = {yaml.MappingNode: "keys and values", yaml.SequenceNode: "a list", yaml.ScalarNode: "one value"}
_NULL, _TRUTHS = "tag:yaml.org,2002:null", {"true": True, "false": False}


@dataclass(frozen=True)
class Marked:
    """One value of a YAML file. Every method raises ValueError with file and line where the value is of another kind."""

    path: Path
    node: yaml.Node

    def wrong(self, sentence: str) -> ValueError:
        return ValueError(f"{self.path}, line {self.node.start_mark.line + 1}: {sentence}")

    def mapping(self, required: Collection[str], optional: Collection[str] = ()) -> dict[str, "Marked"]:
        """Its values by name: all of `required`, and no others than these and `optional`."""
        known = (*required, *optional)
        found: dict[str, Marked] = {}
        for key, value in self._of(yaml.MappingNode).value:
            name = Marked(self.path, key).text()
            if known and name not in known:
                raise Marked(self.path, key).wrong(f"unknown key {name}; {nearest(name, known)}")
            if name in found:
                raise Marked(self.path, key).wrong(f"the key {name} is given twice; keep one")
            found[name] = Marked(self.path, value)
        missing = [name for name in required if name not in found]
        if missing:
            raise self.wrong(f"{missing[0]} is missing; write {missing[0]}: … here")
        return found

    def any_mapping(self) -> dict[str, "Marked"]:
        return self.mapping(())

    def items(self) -> list["Marked"]:
        return [Marked(self.path, node) for node in self._of(yaml.SequenceNode).value]

    def texts(self) -> tuple[str, ...]:
        """A list of texts, each once; an empty text stands for an empty list."""
        if isinstance(self.node, yaml.ScalarNode) and not self.node.value:
            return ()
        found: list[str] = []
        for each in self.items():
            if each.text() in found:
                raise each.wrong(f"{each.text()} is given twice; keep one")
            found.append(each.text())
        return tuple(found)

    def text(self) -> str:
        """As it is written: yes stays "yes", 007 stays "007"."""
        value = str(self._of(yaml.ScalarNode).value)
        if not value.strip() or self.node.tag == _NULL:
            raise self.wrong("there is nothing here; write a text")
        return value

    def one_of(self, what: str, known: Collection[str]) -> str:
        name = self.text()
        if name not in known:
            raise self.wrong(f"there is no {what} {name}; {nearest(name, known)}")
        return name

    def truth(self) -> bool:
        word = self.text().lower()
        if word not in _TRUTHS:
            raise self.wrong(f"expected true or false, found {word}")
        return _TRUTHS[word]

    def _of(self, kind: type[yaml.Node]) -> yaml.Node:
        if not isinstance(self.node, kind):
            raise self.wrong(f"expected {_KINDS[kind]}, found {_KINDS[type(self.node)]}")
        return self.node


def nearest(name: str, known: Collection[str]) -> str:
    """nearest("tex", ("text", "answer")) -> "did you mean text?", or all that there are."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else f"there are {', '.join(known) or 'none'}"


def read_marked(path: Path) -> Marked:
    try:
        node = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: cannot be read ({error}); name a YAML file in UTF-8") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ValueError(f"{path}, line {line}: not valid YAML ({error.problem}); quote what holds signs") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"{path}: not valid YAML ({' '.join(str(error).split())[:200]}); write it anew") from error
    if node is None:
        raise ValueError(f"{path}, line 1: the file is empty; write family, source, answer_type and templates")
    return Marked(path, node)
