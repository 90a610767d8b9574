"""The house's walls: which module may import what, checked by importing it where the rest does not exist."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent
PLATFORM = ("prefect", "ray", "mlflow", "sqlalchemy", "alembic", "dvc")
WEB = ("fastapi", "starlette", "uvicorn")
OTHERS = ("pydantic", "pyarrow", "datasketch", "sentencepiece", "matplotlib", "rich", "pandas")
# models/, tasks/training and tasks/alignment run on a bare GPU machine: torch, transformers, safetensors and theirs.
BARE = (*PLATFORM, *WEB, *OTHERS, "psutil", "peft")
ADAPTERS = "models.adapters"  # what LoRA needs beside that: peft, and psutil for it

IMPORT_BLOCKED = """
import importlib, json, sys
blocked, modules = json.loads(sys.argv[1])
class Absent:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, path=None, target=None):
        return None if name.split(".")[0] in blocked else self.finder.find_spec(name, path, target)
    def __getattr__(self, name):
        return getattr(self.finder, name)
sys.meta_path[:] = [Absent(finder) for finder in sys.meta_path]
for module in modules:
    importlib.import_module(module)
"""


def modules_below(*folders: str) -> list[str]:
    files = [path for folder in folders for path in sorted((CHECKOUT / folder).rglob("*.py"))]
    plain = [path for path in files if path.name not in ("steps.py", "app.py", "__main__.py")]
    names = [".".join(path.relative_to(CHECKOUT).with_suffix("").parts) for path in plain]
    return [name.removesuffix(".__init__") for name in names]


def import_all(modules: list[str], blocked: tuple[str, ...], beside: Path = CHECKOUT) -> str:
    """What went wrong when they were imported where `blocked` are not installed; "" when nothing did."""
    assert modules
    result = subprocess.run(
        [sys.executable, "-c", IMPORT_BLOCKED, json.dumps([blocked, modules])],
        cwd=CHECKOUT, env={**os.environ, "PYTHONPATH": str(beside)}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    return "" if result.returncode == 0 else result.stderr


def test_a_package_that_is_not_there_cannot_be_imported_and_can_be_asked_for(tmp_path: Path) -> None:
    """The check itself: a planted import fails, inside a package too, and a library's question gets an honest no."""
    (tmp_path / "planted.py").write_text("def later():\n    pass\nimport sqlalchemy.orm\n", encoding="utf-8")
    (tmp_path / "asking.py").write_text(
        "import importlib.util\nassert importlib.util.find_spec('pandas') is None\nimport transformers\n"
        "assert not transformers.utils.is_sentencepiece_available()\n",
        encoding="utf-8",
    )
    assert "ModuleNotFoundError: No module named 'sqlalchemy'" in import_all(["planted"], BARE, tmp_path)
    assert import_all(["planted"], ("prefect",), tmp_path) == ""
    assert import_all(["asking"], BARE, tmp_path) == ""


@pytest.mark.parametrize("package", PLATFORM)
def test_every_package_of_the_platform_is_hidden(package: str, tmp_path: Path) -> None:
    (tmp_path / "planted.py").write_text(f"import {package}\n", encoding="utf-8")
    assert f"No module named '{package}'" in import_all(["planted"], BARE, tmp_path)


def test_the_engine_imports_on_a_machine_that_has_torch_and_transformers_alone() -> None:
    modules = modules_below("models", "tasks/training", "tasks/alignment")
    assert import_all([name for name in modules if name != ADAPTERS], BARE) == ""


def test_adapters_need_peft_and_nothing_of_the_platform() -> None:
    assert "No module named 'peft'" in import_all([ADAPTERS], BARE)
    assert import_all([ADAPTERS], (*PLATFORM, *WEB, *OTHERS)) == ""


def test_plain_files_of_every_stage_import_without_the_platform() -> None:
    modules = [name for name in modules_below("tasks") if name != "tasks.configuration"]
    assert import_all(modules, (*PLATFORM, *WEB, "pydantic")) == ""


def test_the_import_contracts_hold() -> None:
    result = subprocess.run(
        [Path(sys.executable).parent / "lint-imports"], cwd=CHECKOUT, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout


def test_help_and_model_list_are_quick_because_they_import_nothing_heavy() -> None:
    code = "import sys; from flows import cli; cli.parser(); print([m for m in %r if m in sys.modules])"
    heavy = ("torch", "transformers", "ray", "mlflow", "prefect", "sqlalchemy", "rich", "yaml")
    result = subprocess.run([sys.executable, "-c", code % (heavy,)], cwd=CHECKOUT, capture_output=True, text=True)
    assert result.stdout.strip() == "[]", result.stdout + result.stderr
