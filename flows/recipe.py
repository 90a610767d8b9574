"""A recipe: one complete run configuration in YAML; a derived one names its base with `extends`.

The command reads recipes as plain mappings, so that deciding what can be reused needs neither torch nor Ray. The
dataclasses that check every key live beside what they configure; `validate` builds them all before anything starts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.artifacts import digest_of
from tasks.configuration import build, merge, read_yaml, refuse_traps, set_dotted

FOLDER = Path(__file__).parent / "recipes"
TRAINED = ("pretrain", "instruct", "reward", "align")
SECTIONS = ("data", "seed", "runtime", *TRAINED, "gates")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """`values` holds one mapping per section; `runtime` (workers, precision, threads) is never part of an identity."""

    name: str
    values: Mapping[str, Any]

    @property
    def data(self) -> str:
        return str(self.values["data"])

    @property
    def seed(self) -> int:
        return int(self.values["seed"])

    @property
    def digest(self) -> str:
        return digest_of({key: value for key, value in self.values.items() if key != "runtime"})

    def section(self, name: str) -> dict[str, Any]:
        return dict(self.values.get(name) or {})

    def gate(self, stage: str) -> dict[str, Any]:
        return dict(self.section("gates").get(stage) or {})


def names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load(name: str, assignments: Sequence[str] = ()) -> Recipe:
    """The recipe called `name` (or at that path) with `--set` assignments laid on it; ValueError says what is wrong."""
    path = Path(name) if name.endswith((".yaml", ".yml")) else FOLDER / f"{name}.yaml"
    if not path.is_file():
        raise ValueError(f"no recipe named {name}; there are {', '.join(names())}, or give the path of a .yaml file")
    values = _with_base(path, ())
    for assignment in assignments:
        values = set_dotted(values, assignment)
    for key in values:
        if key not in SECTIONS:
            raise ValueError(f"{path.name}: {key}: unknown section; there are {', '.join(SECTIONS)}")
    missing = [section for section in SECTIONS if section not in values]
    if missing:
        raise ValueError(f"{path.name}: the section {missing[0]} is missing; extend a complete recipe such as laptop")
    _refuse_misshapen(path.name, values)
    refuse_traps(values, path.name)
    return Recipe(name=path.stem, values=values)


def _refuse_misshapen(file: str, values: Mapping[str, Any]) -> None:
    """What is read before `validate`: the data set's name, the seed, and sections as mappings."""
    if not isinstance(values["data"], str):
        raise ValueError(f"{file}: data: expected a name of params.yaml, found {values['data']!r}")
    if not isinstance(values["seed"], int) or isinstance(values["seed"], bool) or values["seed"] < 0:
        raise ValueError(f"{file}: seed: expected a whole number of at least 0, found {values['seed']!r}")
    for section in ("runtime", *TRAINED, "gates"):
        if not isinstance(values[section], Mapping):
            raise ValueError(f"{file}: {section}: expected keys and values, found {values[section]!r}")


def _with_base(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    values = read_yaml(path)
    base = values.pop("extends", None)
    if base is None:
        return values
    base_path = path.parent / f"{base}.yaml"
    if not base_path.is_file():
        base_path = FOLDER / f"{base}.yaml"
    if not base_path.is_file() or base_path in seen:
        raise ValueError(f"{path.name}: extends: there is no recipe {base} to extend, or it extends itself")
    return merge(_with_base(base_path, (*seen, path)), values)


def validate(name: str, values: Mapping[str, Any]) -> None:
    """Build every section's dataclass: an unknown key or a wrong type is one ValueError that names it.

    So is a device that this machine does not have.
    """
    from tasks.alignment.instruct import InstructConfig
    from tasks.alignment.ppo import PPOConfig
    from tasks.alignment.reward import RewardConfig
    from tasks.release.gates import GatesConfig
    from tasks.training.machine import Runtime, device_of
    from tasks.training.pretraining import PretrainConfig

    configs: dict[str, type[Any]] = {
        "runtime": Runtime,
        "pretrain": PretrainConfig,
        "instruct": InstructConfig,
        "reward": RewardConfig,
        "align": PPOConfig,
        "gates": GatesConfig,
    }
    built = {
        section: build(config, values[section], where=f"{name}.yaml: {section}") for section, config in configs.items()
    }
    device_of(built["runtime"])
