"""One MLflow run, found by the tag `cotexp.run_key`, so that a resumed run continues it and a finished run has one.

MLflow's parameters cannot change: settings that differ between attempts, which change no result, keep the values of the first one.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from cotexp.settings.tracking import MlflowTracking
from cotexp.store.stored_files import METRICS, PLANNED, SETTINGS
from cotexp.tracking import mlflow_server
from cotexp.tracking.lineage import Artifact
from cotexp.tracking.mlflow_server import answers
from cotexp.tracking.mlflow_values import (
    LONGEST_EXPERIMENT,
    LONGEST_TAG,
    MOST_METRICS,
    MOST_PARAMS,
    batches,
    name_of,
    number,
    params,
    tags,
    value_of,
)
from cotexp.tracking.tracked_run import PHASES, Status, TrackedRun

KEY = "cotexp.run_key"
LOGGED = {"train": "train/loss", "validation": "validation/loss", "rounds": "rounds/num_tokens"}
"""Phase -> a metric that each of its points has."""


@dataclass(slots=True)
class MlflowRun:
    """An MLflow run. `values` holds the metrics of the whole run that MLflow has, `points` the metrics to send."""

    tracked: TrackedRun
    title: str = "MLflow"
    record: str = "published_mlflow.json"
    client: Any = None
    run: Any = None
    is_empty: bool = False
    is_asked_for: bool = False
    values: dict[str, float] = field(default_factory=dict)
    points: list[Any] = field(default_factory=list)
    clock: int = 0

    @property
    def tracking(self) -> MlflowTracking:
        tracking: MlflowTracking = self.tracked.settings.tracking
        return tracking

    @property
    def address(self) -> str:
        return f"{mlflow_server.shown_address(self.tracking)}, experiment {self.experiment}"

    @property
    def tags(self) -> list[str]:
        return list(dict.fromkeys([*self.tracking.tags, *self.tracked.sweeps]))

    @property
    def experiment(self) -> str:
        return self.tracking.experiment or os.environ.get(mlflow_server.EXPERIMENT, "").strip() or self.tracked.settings.name

    @property
    def id(self) -> str:
        return str(self.run.info.run_id)

    def begin(self, folder: Path | None) -> dict[str, set[float]]:
        """Start or continue the run. A run that begins when it is already finished gets the time of its first attempt."""
        with answers():
            self.client = self.client or mlflow_server.client(self.tracking)
            experiment = self._experiment_id()
            found = self.client.search_runs([experiment], f"tags.`{KEY}` = '{self.tracked.run_key}'", max_results=1)
            self.is_empty = self.is_empty or not found  # also if the server was lost after this call had made the run
            self.run = found[0] if found else self._create(experiment, folder)
            if folder is None and self.run.info.status != "RUNNING":
                self.client.update_run(self.id, status="RUNNING")
            self._log_params()
            self.values = {name: value for name, value in self.run.data.metrics.items() if name.partition("/")[0] not in PHASES}
            return {phase: self._steps(metric) for phase, metric in LOGGED.items() if metric in self.run.data.metrics}

    def summarise(self, metrics: Mapping[str, float | str]) -> None:
        texts = {name_of(name): value_of(value, LONGEST_TAG) for name, value in metrics.items() if isinstance(value, str)}
        numbers = {name_of(name): number(value) for name, value in metrics.items() if not isinstance(value, str)}
        changed = {name: value for name, value in numbers.items() if name not in self.values or repr(self.values[name]) != repr(value)}
        self.points += self._points(changed, step=0)
        self.values |= changed
        self._tag(texts)

    def chart(self, metrics: Mapping[str, float]) -> None:
        """MLflow draws every metric."""

    def log(self, phase: str, step: float, metrics: Mapping[str, float]) -> None:
        self.points += self._points({name_of(name): number(value) for name, value in metrics.items()}, step=int(step))

    def tag(self, tags_to_set: Sequence[str]) -> None:
        self._tag(tags(tags_to_set))

    def log_table(self, name: str, columns: Sequence[str], rows: list[list[Any]]) -> None:
        """Log a table as MLflow's own pages show them."""
        path = f"tables/{name}.json"
        with answers():
            self.client.log_dict(self.id, {"columns": list(columns), "data": rows}, path)
            shown = json.loads(self.client.get_run(self.id).data.tags.get("mlflow.loggedArtifacts", "[]"))
            if all(each.get("path") != path for each in shown):
                self._tag({"mlflow.loggedArtifacts": json.dumps([*shown, {"path": path, "type": "table"}])})

    def log_figure(self, path: Path) -> None:
        with answers():
            self.client.log_artifact(self.id, str(path), "figures")

    def declare(self, folder: Path, artifacts: Sequence[Artifact]) -> None:
        """MLflow has inputs that are data sets, and outputs that are models; lineage.json has all artifacts with their inputs and files."""
        digests = {artifact.name: {name: _md5(path) for name, path in artifact.files.items()} for artifact in artifacts}
        with answers():
            self.client.log_dict(self.id, {"artifacts": [_entry(each, digests[each.name]) for each in artifacts]}, "lineage.json")
            for name in (SETTINGS, METRICS):
                self.client.log_artifact(self.id, str(folder / name))
            entities: Any = import_module("mlflow.entities")
            self.client.log_inputs(self.id, [_dataset(entities, each, digests[each.name]) for each in artifacts if each.is_input])
            for artifact in (each for each in artifacts if each.kind in self.tracking.upload):
                self._upload(artifact)
            for artifact in (each for each in artifacts if each.kind == "checkpoint" and not each.is_input):
                self._declare_model(entities, artifact)

    def flush(self) -> None:
        """Send the points. A request that is repeated because its answer was lost adds nothing: its points have the same times."""
        with answers():
            while self.points:
                self.client.log_batch(self.id, metrics=self.points[:MOST_METRICS])
                del self.points[:MOST_METRICS]

    def finish(self, status: Status, published: Path | None) -> None:
        self.flush()
        ended = _modified(published / METRICS) if published else _now()
        with answers():
            self.client.set_terminated(self.id, status.upper(), end_time=ended)

    def leftover(self) -> str:
        return "the same command run again publishes what MLflow lacks"

    def _experiment_id(self) -> str:
        """The id of the experiment, which is made if need be. Raises: RuntimeError if it was deleted."""
        name = value_of(self.experiment, LONGEST_EXPERIMENT)
        experiment = self.client.get_experiment_by_name(name)
        if experiment is None:
            try:
                return str(self.client.create_experiment(name))
            except import_module("mlflow.exceptions").MlflowException:  # another point of the sweep may have made it at the same time
                experiment = self.client.get_experiment_by_name(name)
                if experiment is None:
                    raise
        if experiment.lifecycle_stage != "active":
            raise RuntimeError(f"the experiment {name!r} of MLflow was deleted; restore it there, or set tracking.experiment to another name")
        return str(experiment.experiment_id)

    def _create(self, experiment: str, folder: Path | None) -> Any:
        own = {KEY: self.tracked.run_key, "job_type": self.tracked.job_type, "mlflow.source.name": "cotexp", "mlflow.user": _user()}
        if self.tracking.notes:
            own["mlflow.note.content"] = value_of(self.tracking.notes, LONGEST_TAG)
        started = _modified(folder / PLANNED) if folder and (folder / PLANNED).is_file() else _now()
        return self.client.create_run(experiment, start_time=started, tags=own | tags(self.tags), run_name=self.tracked.name)

    def _log_params(self) -> None:
        """Log the settings that MLflow lacks. It refuses a second value for a parameter."""
        entities: Any = import_module("mlflow.entities")
        known = self.run.data.params
        missing = [entities.Param(name, value) for name, value in params(self.tracked.config).items() if name not in known]
        for batch in batches(missing, MOST_PARAMS):
            self.client.log_batch(self.id, params=batch)

    def _steps(self, metric: str) -> set[float]:
        return {float(each.step) for each in self.client.get_metric_history(self.id, metric)}

    def _points(self, metrics: Mapping[str, float], step: int) -> list[Any]:
        """Values at a step. Times increase, because MLflow takes the value with the latest one for the metric's value."""
        entities: Any = import_module("mlflow.entities")
        self.clock = max(self.clock + 1, _now())
        return [entities.Metric(name, value, self.clock, step) for name, value in metrics.items()]

    def _tag(self, values: Mapping[str, str]) -> None:
        entities: Any = import_module("mlflow.entities")
        with answers():
            for batch in batches([entities.RunTag(*each) for each in values.items()], MOST_PARAMS):
                self.client.log_batch(self.id, tags=batch)

    def _upload(self, artifact: Artifact) -> None:
        for name, path in artifact.files.items():
            inside = Path(artifact.name) / Path(name).parent
            self.client.log_artifact(self.id, str(path), f"artifacts/{inside.as_posix()}")

    def _declare_model(self, entities: Any, artifact: Artifact) -> None:
        """Declare a checkpoint as an output of the run, once."""
        outputs = self.client.get_run(self.id).outputs
        ids = [each.model_id for each in outputs.model_outputs] if outputs else []
        if any(self.client.get_logged_model(each).name == artifact.name for each in ids):
            return
        about = {"uri": next(iter(artifact.files.values())).parent.as_uri(), "inputs": " ".join(artifact.inputs)}
        kept = {name: value_of(value, LONGEST_TAG) for name, value in about.items()}
        model = self.client.create_logged_model(self.run.info.experiment_id, artifact.name, self.id, tags=kept, model_type="checkpoint")
        self.client.finalize_logged_model(model.model_id, "READY")
        self.client.log_outputs(self.id, [entities.LoggedModelOutput(model.model_id, 0)])


def _dataset(entities: Any, artifact: Artifact, digests: Mapping[str, str]) -> Any:
    """An input of MLflow: the artifact by reference."""
    whole = hashlib.md5(json.dumps(digests, sort_keys=True).encode(), usedforsecurity=False).hexdigest()
    source = json.dumps({"uri": _place(artifact)})
    tag = entities.InputTag("mlflow.data.context", artifact.kind)
    return entities.DatasetInput(entities.Dataset(artifact.name[:LONGEST_EXPERIMENT], whole, "local", source), [tag])


def _place(artifact: Artifact) -> str:
    """The file of an artifact that has one, else its folder."""
    paths = list(artifact.files.values())
    return (paths[0] if len(paths) == 1 else Path(os.path.commonpath(paths))).as_uri()


def _entry(artifact: Artifact, digests: Mapping[str, str]) -> dict[str, Any]:
    files = [{"name": name, "uri": path.as_uri(), "size": path.stat().st_size, "md5": digests[name]} for name, path in artifact.files.items()]
    own = {"name": artifact.name, "kind": artifact.kind, "scope": artifact.scope, "is_input": artifact.is_input, "inputs": artifact.inputs}
    return {**own, "files": files}


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container whose user has no name
        return "unknown"


def _now() -> int:
    """Milliseconds, as MLflow's times are."""
    return time.time_ns() // 1_000_000


def _modified(path: Path) -> int:
    return path.stat().st_mtime_ns // 1_000_000
