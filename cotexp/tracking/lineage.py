"""Inputs and outputs of a run as artifacts that name their inputs: dataset, rationales, rounds, selection, checkpoint, predictions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cotexp.flow import ARTIFACTS, STAGES
from cotexp.settings.evaluation import FINE_TUNED_MODES
from cotexp.store.stored_files import PLANNED, questions_of, stages_of

INPUTS = {name: set(stage.READS) for name, stage in STAGES.items()} | {"selection": {"rationales", "scores", "ranks", "rounds", "importances"}}
"""Kind of artifact -> kinds of its inputs, if the run has them."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """One artifact of a run. `scope` is its task, or mode/task, or empty. `files` maps names in the artifact to paths.

    `is_input`: it existed in the data or in the store before the run. `inputs` are names of other artifacts of the run.
    """

    kind: str
    scope: str
    name: str
    files: dict[str, Path]
    is_input: bool
    inputs: list[str]


def lineage(folder: Path) -> list[Artifact]:
    """The artifacts of the finished run in `folder`, each after its inputs."""
    planned = folder / PLANNED
    started = planned.stat().st_mtime if planned.is_file() else 0.0  # by the first attempt
    artifacts: list[Artifact] = []
    for kind, scope, name, files in _stored(folder):
        made = min(path.stat().st_mtime for path in files.values() if path.suffix == ".json") if kind != "selection" else started
        inputs = [artifact.name for artifact in artifacts if _reads(kind, scope, artifact, artifacts)]
        artifacts.append(Artifact(kind, scope, name, files, kind == "dataset" or made < started, inputs))
    return artifacts


def _stored(folder: Path) -> Iterator[tuple[str, str, str, dict[str, Path]]]:
    """(kind, scope, name, files) of every artifact, in the order of the pipeline. Grades of a ledger belong to its texts."""
    outputs = next(parent for parent in folder.absolute().parents if (parent / "store").is_dir())
    stages: Mapping[str, Mapping[str, str]] = stages_of(folder)
    tasks = questions_of(folder)[0]
    yield "dataset", "", f"dataset-{'-'.join(tasks)}", {"questions.json": folder.absolute() / "questions.json"}
    for stage, entry in stages.items():
        kind, _, scope = stage.partition("/")
        if kind not in ARTIFACTS:
            continue
        if kind == "checkpoint":
            run_files = (folder.absolute() / name for name in ("selection.jsonl", "compressed.jsonl"))
            yield "selection", "", f"selection-{folder.name}", {file.name: file for file in run_files if file.is_file()}
        files = _files(outputs / entry["path"])
        if grades := stages.get(f"grades/{scope}" if kind == "predictions" else f"grades/{stage}"):
            files |= {f"grades/{name}": path for name, path in _files(outputs / grades["path"]).items()}
        yield kind, scope, "-".join(filter(None, [kind, *scope.split("/"), entry["key"]])), files


def _files(place: Path) -> dict[str, Path]:
    """The files of a ledger or an artifact by name, without its claims."""
    return {str(path.relative_to(place)): path for path in sorted(place.rglob("*")) if path.is_file() and "claims" not in path.parts}


def _reads(kind: str, scope: str, other: Artifact, artifacts: Sequence[Artifact]) -> bool:
    """Whether `other` is an input of the artifact of this kind and scope."""
    if kind == "predictions":
        mode, _, task = scope.partition("/")
        if mode == "truncate":
            return other.scope == f"base/{task}"
        is_trained = mode in FINE_TUNED_MODES and any(artifact.kind == "checkpoint" for artifact in artifacts)
        return other.kind in ("dataset", "checkpoint" if is_trained else "model")
    ours, its = (set(filter(None, each.split("/"))) for each in (scope, other.scope))
    return other.kind in INPUTS.get(kind, ()) and (ours <= its or its <= ours)
