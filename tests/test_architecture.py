"""The house's walls: which module may import what, checked by importing it where the rest does not exist."""

import json
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
PLATFORM = ("prefect", "ray", "mlflow", "sqlalchemy", "alembic", "dvc")
WEB = ("fastapi", "starlette", "uvicorn")
# models/, tasks/training and tasks/alignment run on a bare GPU machine: torch, transformers, safetensors and theirs.
BARE = (*PLATFORM, *WEB, "pydantic", "pyarrow", "datasketch", "sentencepiece", "matplotlib", "rich", "pandas", "psutil")

IMPORT_BLOCKED = """
import importlib, json, sys
blocked, modules = json.loads(sys.argv[1])
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in blocked:
            raise ImportError(f"{name} cannot be imported here")
sys.meta_path.insert(0, Blocked())
for module in modules:
    importlib.import_module(module)
"""


def modules_below(*folders: str) -> list[str]:
    files = [path for folder in folders for path in sorted((CHECKOUT / folder).rglob("*.py"))]
    plain = [path for path in files if path.name not in ("steps.py", "app.py", "__main__.py")]
    names = [".".join(path.relative_to(CHECKOUT).with_suffix("").parts) for path in plain]
    return [name.removesuffix(".__init__") for name in names]


def import_all(modules: list[str], blocked: tuple[str, ...]) -> None:
    assert modules
    subprocess.run(
        [sys.executable, "-c", IMPORT_BLOCKED, json.dumps([blocked, modules])],
        check=True, cwd=CHECKOUT, timeout=120,
    )  # fmt: skip


def test_the_engine_imports_on_a_machine_that_has_torch_and_transformers_alone() -> None:
    import_all(modules_below("models", "tasks/training", "tasks/alignment"), BARE)


def test_plain_files_of_every_stage_import_without_the_platform() -> None:
    modules = [name for name in modules_below("tasks") if name != "tasks.configuration"]
    import_all(modules, (*PLATFORM, *WEB, "pydantic"))


def test_the_import_contracts_hold() -> None:
    result = subprocess.run([Path(sys.executable).parent / "lint-imports"], cwd=CHECKOUT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


def test_help_and_model_list_are_quick_because_they_import_nothing_heavy() -> None:
    code = "import sys; from flows import cli; cli.parser(); print([m for m in %r if m in sys.modules])"
    heavy = ("torch", "transformers", "ray", "mlflow", "prefect", "sqlalchemy", "rich", "yaml")
    result = subprocess.run([sys.executable, "-c", code % (heavy,)], cwd=CHECKOUT, capture_output=True, text=True)
    assert result.stdout.strip() == "[]", result.stdout + result.stderr
