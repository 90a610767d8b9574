"""`espalier generations` from the command line: wrong input is one sentence, and what was made is not made again."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder, named = tmp_path_factory.mktemp("text"), list[str]()
    for name, count in (("train", 300), ("valid", 30), ("test", 30)):
        path = folder / f"{name}.txt"
        path.write_text("".join(f"the cat sees dog number {n % 9} again\n" for n in range(count)), encoding="utf-8")
        named += [f"--{name}", str(path)]
    return named


@pytest.fixture(scope="module")
def espalier(
    tmp_path_factory: pytest.TempPathFactory,
    workspace_at: Callable[[Path], Path],
    command_in: Callable[..., Any],
) -> Any:
    folder = tmp_path_factory.mktemp("generations")
    user = folder / "user"
    user.mkdir()
    return command_in(workspace_at(folder / "workspace"), user)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--models", "lstms"], "there is no lstms (did you mean lstm?)"),
        (["--budget-minutes", "0"], "budget-minutes: must be above 0"),
        (["--train", "somewhere.txt"], "--valid: is missing; name all three"),
        (["--corpus", "nowhere"], "there is no corpus nowhere; there are default, tiny"),
    ],
)
def test_wrong_input_is_one_sentence(espalier: Any, arguments: list[str], said: str) -> None:
    found = espalier("generations", *arguments)
    assert (found.returncode, found.stdout) == (2, "")
    assert said in found.stderr
    assert len(found.stderr.strip().splitlines()) == 1


def test_two_models_in_a_table_and_the_same_again(espalier: Any, files: list[str]) -> None:
    asked = [*files, "--level", "word", "--models", "ngram,rnn", "--budget-minutes", "0.01", "--json"]
    first = espalier("generations", *asked)
    assert first.returncode == 0, first.stderr
    document = json.loads(first.stdout)
    assert [row["model"] for row in document["rows"]] == ["ngram", "rnn"]
    assert document["rows"][0]["test_perplexity"] > 1
    assert len(document["rows"][0]["discounts"]) == len(document["rows"][0]["ngram_counts"]) == 5
    assert Path(document["plot"]).read_bytes().startswith(b"\x89PNG")
    again = espalier("generations", *asked)
    assert json.loads(again.stdout) == document
    assert again.stderr.count("reused") == 2
    longer = espalier("generations", *files, "--level", "word", "--models", "rnn", "--budget-minutes", "0.05", "--json")
    assert "trained" in longer.stderr  # what another number of seconds made is another model's
