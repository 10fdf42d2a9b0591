"""Settings of trackers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from cotexp import credentials
from cotexp.settings.base import Section, setting

UPLOAD = "Artifacts whose files are uploaded: dataset, selection, or stages by name. {tracker} gets only paths and checksums of the others."


@dataclass(slots=True, kw_only=True)
class NoTracking(Section):
    """No tracker; results are only in outputs/."""

    name: str = setting("none", "Name of the tracker.", choices=("none",), keyed=False)


@dataclass(slots=True, kw_only=True)
class WandbTracking(Section):
    """One Weights & Biases run per experiment run; offline without an API key. WANDB_* variables apply to settings that are at their default.
    With WANDB_MODE=disabled or WANDB_DISABLED=true nothing is written."""

    name: str = setting("wandb", "Name of the tracker.", choices=("wandb",), keyed=False)
    project: str = setting("cotexp", "W&B project.", keyed=False)
    entity: str | None = setting(None, "W&B user or team.", keyed=False)
    mode: str = setting(
        "auto",
        "auto: the value of WANDB_MODE; without it online if there is an API key, else offline.",
        choices=("auto", "online", "offline"),
        keyed=False,
    )
    tags: list[str] = setting([], "W&B tags, in addition to the name of the run's sweep.", keyed=False)
    notes: str = setting("", "W&B notes.", keyed=False)
    system_metrics: bool | None = setting(
        None, "Whether W&B records the use of processors, memory and GPUs. Default: WANDB_X_DISABLE_STATS; without it where a GPU is.", keyed=False
    )
    console: bool | None = setting(None, "Whether W&B records what the run prints. Default: WANDB_CONSOLE; without it where a GPU is.", keyed=False)
    job_type: str | None = setting(None, "W&B job type. Default: train, or evaluate if nothing is trained.", keyed=False)
    upload: list[str] = setting([], UPLOAD.format(tracker="W&B"), keyed=False)
    finish_seconds: float = setting(
        60.0, "Most seconds that a finished run waits for an upload. The rest remains in OUTPUTS/wandb for `wandb sync`.", low=1, keyed=False
    )


@dataclass(slots=True, kw_only=True)
class MlflowTracking(Section):
    """One MLflow run per experiment run. User name, password or token come from MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD or
    MLFLOW_TRACKING_TOKEN, and are written nowhere."""

    name: str = setting("mlflow", "Name of the tracker.", choices=("mlflow",), keyed=False)
    uri: str | None = setting(None, "Address of the MLflow server, or of a database: sqlite:////FILE. Default: MLFLOW_TRACKING_URI.", keyed=False)
    experiment: str | None = setting(None, "MLflow experiment. Default: MLFLOW_EXPERIMENT_NAME; without it the run's `name`.", keyed=False)
    tags: list[str] = setting([], "MLflow tags, as WORD or KEY=VALUE, in addition to the name of the run's sweep.", keyed=False)
    notes: str = setting("", "Description of the MLflow run, in Markdown.", keyed=False)
    upload: list[str] = setting([], UPLOAD.format(tracker="MLflow"), keyed=False)
    finish_seconds: float = setting(
        60.0, "Most seconds that a finished run waits for an upload. The same command run again sends the rest.", low=1, keyed=False
    )

    def contradictions(self) -> Iterator[str]:
        if self.uri is None:
            return
        if credentials.without_user(self.uri) != self.uri:
            yield (
                "uri must have no user name or password, since settings are written to files; put them into the environment variables "
                "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or the whole address into MLFLOW_TRACKING_URI"
            )
        elif re.match(r"https?://", self.uri) and (re.search(r"[?#]", self.uri) or credentials.is_secret_address(self.uri)):
            yield (
                "uri must have no query and no key, since settings are written to files; put a token into the environment variable "
                "MLFLOW_TRACKING_TOKEN, or the whole address into MLFLOW_TRACKING_URI"
            )
