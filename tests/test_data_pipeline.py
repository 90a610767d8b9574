"""The whole data pipeline by DVC in a copy of the workspace: exactly what depends on a change runs again."""

import ast
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import yaml

from infra.data_versions import DataFailed, changed, lock_bytes, output_digests, reproduce
from infra.settings import Settings, load_settings
from tasks.artifacts import verify
from tasks.corpus.corpora import add_source
from tasks.tokenization.shards import open_split, read_index

CHECKOUT = Path(__file__).resolve().parent.parent
TARGETS = ["tokens@default", "instructions@default"]
CORPUS = ["inventory", "ingest", "clean", "deduplicate", "decontaminate", "redact", "split"]
ALL = [*CORPUS, "tokenizer", "tokens", "instructions"]
SMALL = "{per_task: 40, unseen_per_task: 20, fewest_train_items: 3, fewest_unseen_items: 1, fewest_tasks: 3}"
WORDS = """garden keeper gates before noon closes again night whoever walks along wall slowly those branches bend downwards
nobody knows tree carries apples although frost came early during spring water river stone bridge market morning"""


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory, workspace_at: Callable[[Path], Path]) -> Settings:
    """A copy of the workspace whose default corpus is a few texts of one's own, made once."""
    folder = tmp_path_factory.mktemp("data")
    workspace = workspace_at(folder / "workspace")
    texts = folder / "texts"
    texts.mkdir()
    for number in range(60):
        (texts / f"{number:02}.txt").write_text(text_of(number))
    (texts / "refused.txt").write_text("0 1 2 3 4 5 6 7 8 9 10\n")
    params = yaml.safe_load((workspace / "params.yaml").read_text())
    params["instructions"]["default"] = yaml.safe_load(SMALL)
    params["tokenizers"]["default"] = {"vocabulary": 400}
    (workspace / "params.yaml").write_text(yaml.safe_dump(params))
    found = load_settings(workspace, workspace / ".espalier")
    add_source(found.home, str(texts), corpus="default", replace=True, checkout=workspace)
    assert ran(found) == ALL
    return found


def text_of(number: int) -> str:
    """Thirty sentences of nine words, others in every text."""
    chance = random.Random(number)
    return "".join(" ".join(chance.sample(WORDS.split(), 9)).capitalize() + ".\n" for _ in range(30))


def texts_of(settings: Settings) -> Path:
    return settings.checkout.parent / "texts"


def ran(settings: Settings) -> list[str]:
    """The stages that DVC ran, in the order of the pipeline."""
    outcomes = reproduce(settings, TARGETS)
    assert set(outcomes) == {f"{stage}@default" for stage in ALL}
    return [stage for stage in ALL if outcomes[f"{stage}@default"] == "ran"]


def test_the_second_time_only_the_inventory_looks_and_nothing_changes(settings: Settings) -> None:
    before = lock_bytes(settings)
    assert ran(settings) == ["inventory"]
    assert lock_bytes(settings) == before
    assert changed(settings, TARGETS) == {}


def test_one_character_of_one_document_runs_what_depends_on_it(settings: Settings) -> None:
    path = texts_of(settings) / "07.txt"
    text = path.read_text()
    path.write_text(text[:-3] + "x" + text[-2:])
    assert ran(settings) == ALL
    path.write_text(text)
    outcomes = reproduce(settings, TARGETS)
    assert {outcome for stage, outcome in outcomes.items() if stage != "inventory@default"} == {"restored"}


def test_a_change_in_what_is_refused_runs_the_cleaning_and_nothing_after(settings: Settings) -> None:
    before = output_digests(settings)
    (texts_of(settings) / "refused.txt").write_text("9 8 7 6 5 4 3 2 1 0 -1\n")
    assert ran(settings) == ["inventory", "ingest", "clean"]
    assert differing(before, output_digests(settings)) == {
        "inventory",
        "raw",
        "refused/ingest",
        "refused/clean",
        "clean",
    }
    (texts_of(settings) / "bad.txt").write_bytes(b"\xff\xfe\xfd")
    assert ran(settings) == ["inventory", "ingest"]
    (texts_of(settings) / "bad.txt").unlink()
    assert ran(settings) == ["inventory"]


def differing(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {path.removeprefix(".espalier/data/default/") for path in after if before.get(path) != after[path]}


@pytest.mark.parametrize(
    ("section", "value", "stages"),
    [
        ("corpora", {"deduplicate": {"min_similarity": 0.81}}, ["inventory", "deduplicate"]),
        ("tokenizers", {"vocabulary": 390}, ["inventory", "tokenizer", "tokens"]),
        ("instructions", {"seed": 2}, ["inventory", "instructions"]),
    ],
    ids=["deduplicate", "tokenizers", "instructions"],
)
def test_a_setting_runs_its_own_stage_and_what_its_result_changes(
    section: str, value: dict[str, object], stages: list[str], settings: Settings
) -> None:
    path = settings.checkout / "params.yaml"
    text = path.read_text()
    params = yaml.safe_load(text)
    params[section]["default"] |= value
    path.write_text(yaml.safe_dump(params))
    assert ran(settings) == stages
    path.write_text(text)
    assert ran(settings) == ["inventory"]


def test_code_of_one_stage_runs_that_stage(settings: Settings) -> None:
    path = settings.checkout / "tasks" / "corpus" / "redact.py"
    text = path.read_text()
    path.write_text(text + "\n# a remark\n")
    assert ran(settings) == ["inventory", "redact"]
    path.write_text(text)
    assert ran(settings) == ["inventory"]


def test_an_output_changed_by_hand_is_made_again_and_the_cache_is_not_spoiled(settings: Settings) -> None:
    path = settings.data / "default" / "tokens" / "train-00000.bin"
    good = path.read_bytes()
    assert path.stat().st_nlink == 1
    with path.open("r+b") as stream:
        stream.write(b"\xff\xff")
    assert verify(path.parent)[0] is False
    reproduce(settings, TARGETS)
    assert path.read_bytes() == good
    assert verify(path.parent) == (True, "")


def test_a_kill_in_the_middle_of_a_stage_is_no_obstacle(settings: Settings) -> None:
    (texts_of(settings) / "extra.txt").write_text(text_of(70))

    def kill(line: str) -> None:
        if line.startswith("> python -m tasks.corpus deduplicate"):
            for process in psutil.Process().children(recursive=True):
                if process.status() == psutil.STATUS_ZOMBIE:  # of another test, and not waited for yet: it has no words
                    continue
                if "dvc" in process.cmdline() and "infra.processes" not in process.cmdline():
                    for each in (process, *process.children()):
                        each.kill()

    with pytest.raises(DataFailed):
        reproduce(settings, TARGETS, on_line=kill)
    assert ran(settings) == ["inventory", *ALL[3:]]
    assert all(
        verify(settings.data / "default" / folder) == (True, "") for folder in ("split", "tokens", "instructions")
    )
    (texts_of(settings) / "extra.txt").unlink()
    reproduce(settings, TARGETS)


def test_a_corpus_without_text_left_fails_in_the_stages_own_sentence(settings: Settings, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    for number in range(4):
        (empty / f"{number}.txt").write_text("1 2 3 4 5 6 7 8 9 10 11 12 13 14\n")
    own = settings.home / "corpora.yaml"
    text = own.read_text()
    add_source(settings.home, str(empty), corpus="default", replace=True, checkout=settings.checkout)
    with pytest.raises(DataFailed, match=r"^clean@default: clean: no training data left: 4 documents in, 0 kept"):
        reproduce(settings, TARGETS)
    own.write_text(text)
    assert ran(settings) == ["inventory"]


def test_the_same_text_in_another_workspace_has_the_same_digests(
    settings: Settings, workspace_at: Callable[[Path], Path], tmp_path: Path
) -> None:
    reproduce(settings, TARGETS)
    workspace = workspace_at(tmp_path / "somewhere" / "else")
    (workspace / "params.yaml").write_bytes((settings.checkout / "params.yaml").read_bytes())
    other = load_settings(workspace, workspace / ".espalier")
    for path in texts_of(settings).iterdir():
        (tmp_path / "texts").mkdir(exist_ok=True)
        (tmp_path / "texts" / path.name).write_bytes(path.read_bytes())
    add_source(other.home, str(tmp_path / "texts"), corpus="default", replace=True, checkout=workspace)
    assert ran(other) == ALL
    assert output_digests(other) == output_digests(settings)


def test_the_tiny_corpus_is_made_from_nothing_and_leaves_the_workspace_clean(workspace: Path) -> None:
    """A copy without git, as a user's own checkout; then the same again."""
    before = tree(workspace)
    settings = load_settings(workspace, workspace / ".espalier")
    targets = ["tokens@tiny", "instructions@tiny"]
    assert set(reproduce(settings, targets).values()) == {"ran"}
    data = settings.data / "tiny"
    index = read_index(data / "tokens")
    assert index["vocabulary"] == 512
    assert open_split(data / "tokens", "train").tokens > 100_000
    tasks = yaml.safe_load((data / "instructions" / "index.json").read_text())["tasks"]
    assert len(tasks) >= 6
    assert len({task["family"] for task in tasks.values()}) >= 3
    again = reproduce(settings, targets)
    assert {stage for stage, outcome in again.items() if outcome == "ran"} == {"inventory@tiny"}
    assert {path: data for path, data in tree(workspace).items() if not ignored(path)} == before


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def ignored(path: str) -> bool:
    """What .gitignore and .dvc/.gitignore keep out of a commit."""
    return path == "dvc.lock" or path.startswith((".espalier/", ".dvc/tmp/", ".dvc/cache/")) or "__pycache__/" in path


def test_two_at_once_wait_for_one_another(settings: Settings) -> None:
    (texts_of(settings) / "extra.txt").write_text(text_of(77))
    code = (
        "from pathlib import Path; from infra.data_versions import reproduce; from infra.settings import load_settings; "
        f"print(reproduce(load_settings(Path({str(settings.checkout)!r}), Path({str(settings.home)!r})), {TARGETS!r}))"
    )
    environment = {**os.environ, "PYTHONPATH": str(settings.checkout)}
    processes = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True, cwd=CHECKOUT)
        for _ in range(2)
    ]
    outcomes = [ast.literal_eval(process.communicate(timeout=300)[0]) for process in processes]
    assert sorted(sum(outcome == "ran" for outcome in each.values()) for each in outcomes) == [1, len(ALL)]
    (texts_of(settings) / "extra.txt").unlink()
    reproduce(settings, TARGETS)


def imported_by(module: str, seen: set[str]) -> set[str]:
    """The project's own source files that a module needs, found without running it."""
    path = CHECKOUT / Path(*module.split(".")).with_suffix(".py")
    name = path.relative_to(CHECKOUT).as_posix()
    if not path.is_file() or name in seen | APART or module.split(".")[0] not in ("tasks", "models"):
        return seen
    seen.add(name)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            for found in (node.module, *(f"{node.module}.{alias.name}" for alias in node.names)):
                imported_by(found, seen)
    return seen


STAGE_MODULES = {
    **{f"{stage}": [f"tasks.corpus.{stage}"] for stage in CORPUS[1:]},
    "tokenizer": ["tasks.tokenization.fit"],
    "tokens": ["tasks.tokenization.encode"],
    "instructions": ["tasks.alignment.instructions"],
    "baseline": ["tasks.evaluation.baseline"],
}
# imported, but without a part in the result: the loader of params.yaml, and trained models where only counts are scored
APART = {"tasks/configuration.py", "models/catalogue.py", "models/heads.py", "models/tokenizers/chat.py"}


@pytest.mark.parametrize("stage", STAGE_MODULES)
def test_a_stage_depends_on_every_source_file_it_imports(stage: str) -> None:
    stages = yaml.safe_load((CHECKOUT / "dvc.yaml").read_text())["stages"]
    listed = {name for name in stages[stage]["deps"] if name.endswith((".py", ".yaml"))}
    needed: set[str] = set()
    for module in STAGE_MODULES[stage]:
        imported_by(module, needed)
    assert {name for name in listed if name.endswith(".py")} == needed
    tables = {path.parent.relative_to(CHECKOUT).as_posix() for path in (CHECKOUT / "tasks/exercises").rglob("*.yaml")}
    assert tables <= set(stages["instructions"]["deps"])
    assert all((CHECKOUT / name).is_file() for name in listed)
