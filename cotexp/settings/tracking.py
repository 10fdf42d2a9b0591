"""Settings of trackers."""

from __future__ import annotations

from dataclasses import dataclass

from cotexp.settings.base import Section, setting


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
    job_type: str | None = setting(None, "W&B job type. Default: train, or evaluate if nothing is trained.", keyed=False)
    upload: list[str] = setting(
        [], "Artifacts whose files are uploaded: dataset, selection, or stages by name. W&B gets only paths and checksums of the others.", keyed=False
    )
    finish_seconds: float = setting(
        60.0, "Most seconds that a finished run waits for an upload. The rest remains in OUTPUTS/wandb for `wandb sync`.", low=1, keyed=False
    )
