"""The whole weights of a fine-tuned model that was saved as an adapter, for engine vllm."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from cotexp.models.identity import ModelFiles
from cotexp.settings.models import PretrainedModel
from cotexp.stages.context import Context
from cotexp.store.disk import check_unchanged, sealed
from cotexp.store.specs import Spec

NAME = "merged"
VERSION = 2
READS = ("checkpoint",)
FOLDER = True
IS_ARTIFACT = False


def spec(checkpoint: str, model: PretrainedModel) -> Spec:
    """`checkpoint` is the key of the fine-tuned model."""
    return Spec(NAME, {"version": VERSION, "checkpoint": checkpoint, "dtype": model.dtype})


def make(context: Context, files: ModelFiles, model: PretrainedModel, adapter: Path) -> Path:
    """The folder of a fine-tuned model with its whole weights: `adapter` itself, or that of the merged model, written once."""
    if not (adapter / "adapter_config.json").is_file():
        return adapter

    def build(folder: Path) -> None:
        from cotexp.models import loading

        check_unchanged(adapter)
        merged = loading.load(adapter, replace(model, device="cpu", engine="local"), base_folder=files.folder)
        loading.save(merged.model, merged.tokenizer, folder)

    return context.store.artifact(spec(adapter.name, model), sealed(build))
