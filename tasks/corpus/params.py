"""params.yaml: the settings of each name, read by the stages themselves, strictly."""

from pathlib import Path
from typing import TypeVar

Config = TypeVar("Config")

PARAMS_FILE = "params.yaml"


def load_named(config: type[Config], checkout: Path, section: str, name: str) -> Config:
    """The settings `section: {name: ...}` of params.yaml; ValueError names the key that is missing or wrong.

    load_named(TokenizerConfig, checkout, "tokenizers", "tiny") -> TokenizerConfig(vocabulary=1024)
    """
    # pydantic, behind the loader, is needed only where settings are read: stages and GPU machines import without it
    from tasks.configuration import build, read_yaml

    named = read_yaml(checkout / PARAMS_FILE).get(section)
    if not isinstance(named, dict) or name not in named:
        known = ", ".join(sorted(named)) if isinstance(named, dict) else "none"
        raise ValueError(f"{PARAMS_FILE}: {section}: there is no {name}; there are {known}")
    return build(config, named[name] or {}, where=f"{PARAMS_FILE}: {section}.{name}")
