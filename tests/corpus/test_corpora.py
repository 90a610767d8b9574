"""Which text a corpus is made of: params.yaml, and what `espalier data add` laid on it."""

from pathlib import Path

import pytest
import yaml

from tasks.corpus.corpora import add_source, list_sources, load_corpus

PARAMS = """
names: [default, other]
corpora:
  default: {sources: [{kind: python, modules: [json]}], clean: {min_characters: 5}}
  other: {sources: [{path: texts, name: texts}]}
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "params.yaml").write_text(PARAMS)
    for name in ("one.txt", "two.md"):
        (tmp_path / "texts" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "texts" / name).write_text("some text")
    return tmp_path / ".espalier"


def test_without_a_file_of_ones_own_params_yaml_holds(home: Path, tmp_path: Path) -> None:
    assert list_sources(home, checkout=tmp_path) == {
        "corpora": {
            "default": {"sources": [{"kind": "python", "modules": ["json"]}]},
            "other": {"sources": [{"kind": "files", "path": "texts", "name": "texts"}]},
        }
    }
    assert not home.exists()


def test_a_source_joins_the_others_or_takes_their_place(home: Path, tmp_path: Path) -> None:
    path = str(tmp_path / "texts" / "one.txt")
    added = {"kind": "files", "path": path, "name": "one"}
    listed = add_source(home, path, corpus="default", replace=False, checkout=tmp_path)
    assert listed["corpora"]["default"]["sources"] == [{"kind": "python", "modules": ["json"]}, added]
    assert listed == list_sources(home, checkout=tmp_path)
    listed = add_source(home, path, corpus="default", replace=True, checkout=tmp_path)
    assert listed["corpora"]["default"]["sources"] == [added]
    config = load_corpus(tmp_path, home, "default")
    assert [source.path for source in config.sources] == [path]
    assert config.clean.min_characters == 5  # the corpus's rules stay as they were


def test_the_same_path_twice_is_one_source_and_a_like_name_gets_a_number(home: Path, tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "one.txt").write_text("other text")
    for folder in ("texts", "texts", "more"):
        listed = add_source(
            home, str(tmp_path / folder / "one.txt"), corpus="default", replace=False, checkout=tmp_path
        )
    assert [source.get("name") for source in listed["corpora"]["default"]["sources"]] == [None, "one", "one-2"]


@pytest.mark.parametrize(
    ("path", "place", "name"),
    [
        ("texts", ".", "texts"),
        ("texts/*.md", ".", "texts"),
        ("texts/two.md", ".", "two"),
        (".", "texts", "texts"),
        ("../texts/**/*", "texts", "texts"),
    ],
)
def test_a_path_is_kept_absolute_and_named_after_what_is_there(
    path: str, place: str, name: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path / place)
    listed = add_source(home, path, corpus="other", replace=True, checkout=tmp_path)
    [source] = listed["corpora"]["other"]["sources"]
    assert source["name"] == name
    assert Path(source["path"]).is_absolute()


def test_a_wrong_call_says_what_is_wrong_and_writes_nothing(home: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no corpus mine; there are default, other"):
        add_source(home, str(tmp_path / "texts"), corpus="mine", replace=False, checkout=tmp_path)
    with pytest.raises(ValueError, match=r"no file at .*missing\.txt; name a file, a folder or a glob"):
        add_source(home, str(tmp_path / "missing.txt"), corpus="default", replace=False, checkout=tmp_path)
    assert not home.exists()


def test_the_file_of_ones_own_is_read_as_strictly(home: Path, tmp_path: Path) -> None:
    home.mkdir()
    own = home / "corpora.yaml"
    own.write_text(yaml.safe_dump({"corpora": {"default": {"claen": {}}}}))
    with pytest.raises(
        ValueError, match=r"params.yaml with .*corpora.yaml: corpora.default.claen: .* did you mean clean"
    ):
        load_corpus(tmp_path, home, "default")
    own.write_text("default: {}\n")
    with pytest.raises(ValueError, match=r"corpora.yaml: expected one key, corpora"):
        load_corpus(tmp_path, home, "default")
    own.write_text("corpora: {default: {sources: [{path: a, name: same}, {path: b, name: same}]}}\n")
    with pytest.raises(ValueError, match="two sources are called same; give each its own name"):
        load_corpus(tmp_path, home, "default")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("{kind: files, path: texts}", "needs a path and a name"),
        ("{path: texts, name: t, modules: [json]}", "modules and byte caps belong to a source of kind python"),
        ("{kind: python, path: texts}", "a source of kind python has no path"),
        ("{kind: python, name: mine}", "a source of kind python is called python"),
        ("{kind: web, path: x, name: x}", "kind"),
    ],
)
def test_a_source_that_cannot_be_meant_is_refused(source: str, reason: str, home: Path, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(f"corpora: {{default: {{sources: [{source}]}}}}\n")
    with pytest.raises(ValueError, match=reason):
        load_corpus(tmp_path, home, "default")
