"""Settings of trackers."""

from __future__ import annotations

from dataclasses import dataclass

from cotexp.settings.base import Section, setting


@dataclass(slots=True, kw_only=True)
class NoTracking(Section):
    """Results stay in outputs/."""

    name: str = setting("none", "Name of the tracker.", choices=("none",), keyed=False)


@dataclass(slots=True, kw_only=True)
class WandbTracking(Section):
    """One Weights & Biases run per experiment run; offline without an API key. What WANDB_* variables ask for holds where a setting is at its
    default; WANDB_MODE=disabled and WANDB_DISABLED=true write nothing in any case."""

    name: str = setting("wandb", "Name of the tracker.", choices=("wandb",), keyed=False)
    project: str = setting("cotexp", "W&B project.", keyed=False)
    entity: str | None = setting(None, "W&B user or team.", keyed=False)
    mode: str = setting(
        "auto", "auto: what WANDB_MODE says, else online when an API key is found, else offline.", choices=("auto", "online", "offline"), keyed=False
    )
    tags: list[str] = setting([], "W&B tags, beside the name of the sweep that a run belongs to.", keyed=False)
    notes: str = setting("", "W&B notes.", keyed=False)
    job_type: str | None = setting(None, "W&B job type; by default train, or evaluate where nothing is trained.", keyed=False)
    upload: list[str] = setting(
        [], "Artifacts whose files are uploaded: dataset, selection, or stages by name; of all others W&B gets paths and checksums.", keyed=False
    )
    finish_seconds: float = setting(
        60.0, "Most seconds that a finished run waits for an upload; what is left lies in OUTPUTS/wandb for `wandb sync`.", low=1, keyed=False
    )
