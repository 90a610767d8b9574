"""DVC's door: `python -m tasks.alignment STAGE NAME` makes the instruction set or the preference pairs, in a checkout."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

from tasks.alignment.instructions import InstructionConfig, build_instructions, write_instructions
from tasks.artifacts import read_artifact, verify
from tasks.corpus.corpora import default_home
from tasks.corpus.params import load_named
from tasks.corpus.staging import seal, temporary
from tasks.door import enter


def instructions(name: str, checkout: Path) -> None:
    """split/ -> instructions/{train,valid,held_out}.jsonl and index.json."""
    data = checkout / ".espalier" / "data" / name
    config = load_named(InstructionConfig, checkout, "instructions", name)
    split, folder = data / "split", data / "instructions"
    items = build_instructions(split, config, checkout)
    temporary_folder = temporary(folder)
    index = write_instructions(temporary_folder, items, config)
    seal(
        temporary_folder, folder,
        kind="instructions", parents=[read_artifact(split).digest], recipe=index["settings"],
    )  # fmt: skip


def preferences(name: str, checkout: Path) -> None:
    """The instruction-tuned model that instruct/artifact.json names -> preferences/{train,valid}.jsonl and index.json.

    The file is a copy of the promoted checkpoint's own, laid there when its gate was passed; the model lies in the home.
    Beside it lies labels.jsonl, a copy of what people have labelled, empty if they have not.
    """
    from tasks.alignment.human_labels import read_labels
    from tasks.alignment.preferences import PreferenceConfig, build_preferences  # torch: not for the other stage

    data = checkout / ".espalier" / "data" / name
    config = load_named(PreferenceConfig, checkout, "preferences", name)
    digest = read_artifact(data / "instruct").digest
    instruct = default_home(checkout) / "artifacts" / "instruct" / digest[:16]
    intact, reason = verify(instruct, digest=digest)
    if not intact:
        raise ValueError(f"preferences: {reason}; run `espalier stage instruct` again")
    folder = data / "preferences"
    temporary_folder = temporary(folder)
    labels = read_labels(data / "instruct" / "labels.jsonl")
    build_preferences(instruct, data / "instructions", temporary_folder, config, labels)
    parents = [digest, read_artifact(data / "instructions").digest]
    seal(temporary_folder, folder, kind="preferences", parents=parents, recipe=asdict(config))


STAGES: Mapping[str, Callable[[str, Path], None]] = {"instructions": instructions, "preferences": preferences}


if __name__ == "__main__":
    raise SystemExit(enter("tasks.alignment", STAGES, lambda stage, name, checkout: STAGES[stage](name, checkout)))
