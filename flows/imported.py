"""The user's own base model: checked, copied, measured, entered as a version; pretraining goes on from it or is skipped."""

from pathlib import Path
from typing import Any

from flows.session import Session
from flows.trained import AUTHOR, data_digest, model_name
from infra.workers import WorkerFailed
from tasks.artifacts import digest_of, sha256_of_files
from tasks.release import steps as release
from tasks.training import steps as training

KIND = "pretrained"
NEEDED = ("config.json", "model.safetensors", "tokenizer.json")
INDEX = "model.safetensors.index.json"  # of a model in several files


def identity_of(folder: Path) -> str:
    """What the folder holds, not where it lies; ValueError when it is no Hugging Face folder."""
    missing = [name for name in NEEDED if not (folder / name).is_file()]
    if (folder / INDEX).is_file() and NEEDED[1] in missing:
        missing.remove(NEEDED[1])
    if missing:
        raise ValueError(f"{folder}: {', '.join(missing)} missing; expected a Hugging Face folder of a base model")
    return digest_of(sha256_of_files(folder, [path.name for path in folder.iterdir() if path.is_file()]))


def bring_in(session: Session, folder: Path, *, with_baseline: bool) -> dict[str, Any]:
    """Enter the model as a promoted version; {"model", "tokens", "baseline", "bits_per_byte"}."""
    with session.clock.part("evaluation"):
        try:
            found = training.call(
                "import a model",
                "tasks.evaluation.imported:bring_in",
                {
                    "source": str(folder.resolve()),
                    "out": str(session.settings.artifacts / "imported"),
                    "split": session.artifact("corpus", "split")["path"],
                    "code": session.code,
                    "with_baseline": with_baseline,
                },
            )
        except WorkerFailed as error:
            if error.kind == "ValueError":
                raise ValueError(error.message) from None
            raise
    _enter(session, found)
    return found


def reason_for(found: dict[str, Any]) -> str:
    return f"brought in by a person; {found['bits_per_byte']['value']:.3f} bits per byte on held-out text"


def _enter(session: Session, found: dict[str, Any]) -> None:
    model, name = found["model"], model_name(session, KIND)
    verdict = {"verdict": "PASS", "checks": [], "likely": "", "reason": reason_for(found)}
    version = {
        "stage": "imported",
        "digest": model["digest"],
        "path": model["path"],
        "parents": [],
        "recipe": {},
        "run_id": session.run_id,
        "figures": {"bits per byte": found["bits_per_byte"]["value"]},
        "author": AUTHOR,
    }
    report = {
        "report": {"gate": verdict, "figures": found},
        "gates_digest": digest_of(session.recipe.section("gates")),
        "data": data_digest(session),
        "code": session.code or "",
    }
    gate_report = release.register(name, version, verdict, report)
    if not release.was_promoted(session.engine, name, model["digest"]):
        release.promote(name, model["digest"], gate_report, AUTHOR, f"{session.run_id}:{name}:{gate_report}")
