"""`cotexp export`: a fine-tuned model as a transformers folder, also on the hub."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cotexp import durable
from cotexp.commands import hub
from cotexp.commands.model_card import GENERIC, MARK, model_card, source_of
from cotexp.report.finished_runs import name_of
from cotexp.settings.base import ConfigError, broken_path
from cotexp.store.disk import check_writable
from cotexp.store.stored_files import Damaged, metrics_of, read_json, reading_run, settings_of, stages_of

if TYPE_CHECKING:
    from transformers import GenerationConfig

    from cotexp.models.loading import LoadedModel
    from cotexp.settings.models import PretrainedModel


def export_model(run: str, folder: Path | None, *, dtype: str, outputs: Path, push: str = "", private: bool = False) -> None:
    """Merge, convert and write the fine-tuned model of a finished run, with tokenizer, chat template, generation settings and model card.

    `folder` is OUTPUTS/exports/KEY by default. `push` is the repository OWNER/NAME of the hub that then holds the folder too.
    Raises: ConfigError if there is no such run, it trained nothing, its model has changed since, `folder` contains something else, or the hub
    refuses it; before anything is merged, unless it refuses only the files.
    """
    source = find_run(run, outputs, trained=True)
    folder = folder or outputs / "exports" / source.name
    temporary = checked_place(folder, MARK)
    settings: dict[str, Any] = settings_of(source)
    stages = stages_of(source)
    metrics_of(source)  # the card shows them
    with reading_run(source):
        checkpoint = _checkpoint(source, settings, stages, outputs)
    manifest = read_json(checkpoint / "manifest.json", "model", "libraries")
    base = outputs / stages["model"]["path"] if "model" in stages else _base_folder(settings, manifest, checkpoint)
    repository = hub.find(push, "model", private=private, mark=MARK) if push else None
    import torch

    from cotexp.models import loading
    from cotexp.store.disk import check_unchanged

    for source_folder in filter(None, (checkpoint, base)):
        check_unchanged(source_folder)
    loaded = loading.load(checkpoint, _model_settings(settings), base_folder=base)
    loaded.model.generation_config = _generation_config(loaded, settings["evaluation"])
    shutil.rmtree(temporary, ignore_errors=True)
    loading.save(loaded.model, loaded.tokenizer, temporary, dtype=getattr(torch, dtype))
    made_from = source_of(settings["model"], manifest, base, is_made="model" in stages)
    is_followed = _is_followed(temporary)
    text = model_card(
        source, push or folder.name, settings, loaded, dtype=dtype, made_from=made_from, libraries=manifest["libraries"], is_followed=is_followed
    )
    (temporary / "README.md").write_text(text)
    put(temporary, folder)
    if not is_followed:
        print(f"{folder}: transformers' AutoTokenizer does not follow tokenizer.json for this model; {GENERIC} does, as the card explains")
    if repository:
        hub.push(repository, folder)


def checked_place(folder: Path, mark: str) -> Path:
    """The folder in which an export is written before it is renamed to `folder`.

    Raises: ConfigError if it cannot be written, or if `folder` contains something else than an earlier export, whose card has `mark`.
    """
    card = folder / "README.md"
    if folder.exists() and not (card.is_file() and mark in card.read_text()):
        raise ConfigError(f"export: {folder} exists and is not an earlier export; choose another folder")
    temporary = folder.with_name(f".{folder.name}.new")
    if problem := broken_path(temporary.name):
        raise ConfigError(f"export: FOLDER {problem} with the 5 characters of the unfinished folder; got {folder.name!r}")
    check_writable(folder.absolute().parent, "export: the folder")
    return temporary


def put(temporary: Path, folder: Path) -> None:
    """Rename a complete export to its place, and print its size."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    durable.put(temporary, folder)
    print(f"Wrote {folder} ({sum(path.stat().st_size for path in folder.rglob('*') if path.is_file()) / 1e6:.1f} MB)")


def _is_followed(folder: Path) -> bool:
    """Whether AutoTokenizer reads the tokenizer in `folder` as the run did. For some kinds of models it uses other rules."""
    from transformers import AutoTokenizer

    from cotexp.models.tokenizer import TOKENIZER_FILE, follows

    try:
        return follows(AutoTokenizer.from_pretrained(folder), folder / TOKENIZER_FILE)
    except (TypeError, ValueError):  # a class that cannot hold this vocabulary, or the model's own code, which is not run
        return not (folder / TOKENIZER_FILE).is_file()


def _checkpoint(source: Path, settings: dict[str, Any], stages: dict[str, Any], outputs: Path) -> Path:
    """The folder of the run's fine-tuned model or adapter. Raises: ConfigError if there is none."""
    if "checkpoint" not in stages:
        why = f"compression={settings['compression']['name']}, evaluation.modes={settings['evaluation']['modes']}"
        raise ConfigError(f"export: run {source} trained nothing ({why}); its model is the unchanged {settings['model']['path']}")
    checkpoint: Path = outputs / stages["checkpoint"]["path"]
    if not (checkpoint / "manifest.json").is_file():
        raise ConfigError(f"export: the fine-tuned model of {source} is not in {checkpoint}; give --outputs, or run its command again")
    return checkpoint


def _model_settings(settings: dict[str, Any]) -> PretrainedModel:
    """The settings of the run's model that decide its form, for a merge in float32 on the CPU."""
    from cotexp.settings.models import PretrainedModel

    names = (
        "path",
        "revision",
        "compress_token",
        "trust_remote_code",
        "literal_encoding",
        "system_prompt",
        "chat_template_kwargs",
        "stop_tokens",
        "context_length",
        "license",
    )
    stored = {name: settings["model"][name] for name in names if name in settings["model"]}
    return PretrainedModel(**stored, device="cpu")


def find_run(run: str, outputs: Path, *, trained: bool = False) -> Path:
    """The folder of a finished run, by path, by its key or the first digits of the key, or by the name of its experiment.

    A name means the newest run of the experiment; with `trained`, the newest one with a model, if any.
    Raises: ConfigError if there is no such run, or several keys begin with the digits.
    """
    if (Path(run) / "stages.json").is_file():
        return Path(run)
    finished = sorted((outputs / "runs").rglob("stages.json"), key=lambda path: path.stat().st_mtime)
    matching = [path for path in finished if name_of(path.parent, outputs) == run]
    if not matching:
        matching = [path for path in finished if path.parent.name.startswith(run)]
        if len(matching) != 1:
            fitting = f"{len(matching)} runs begin with it" if matching else "there is none"
            raise ConfigError(
                f"RUN must be the folder, key or experiment of a finished run under {outputs / 'runs'}; got {run!r} ({fitting}); "
                "`cotexp runs` lists them"
            )
    with_model = [path for path in matching if _has_model(path.parent)] if trained else []
    return (with_model or matching)[-1].parent


def _has_model(folder: Path) -> bool:
    try:
        return "checkpoint" in stages_of(folder)
    except Damaged:
        return False


def _base_folder(settings: dict[str, Any], manifest: dict[str, Any], checkpoint: Path) -> Path | None:
    """The folder of the model that was fine-tuned. A full checkpoint does not need it: None if it is missing or changed."""
    from cotexp.models import identity

    is_adapter = (checkpoint / "adapter_config.json").is_file()
    try:
        files = identity.find(_model_settings(settings), download=is_adapter)
    except ConfigError:
        if is_adapter:
            raise
        return None
    if files.sha256 == manifest["model"]["sha256"]:
        return files.folder
    if is_adapter:
        raise ConfigError(f"export: the model in {files.folder} is not the one on which this run's adapter was trained; restore it, or run again")
    return None


def _generation_config(loaded: LoadedModel, evaluation: dict[str, Any]) -> GenerationConfig:
    """Generation settings as in the evaluation: greedy or sampled, without the penalties and restrictions of the original settings."""
    from transformers import GenerationConfig

    from cotexp.models.loading import generation_stop_ids

    original, temperature = loaded.model.generation_config, evaluation.get("temperature")
    pad_id = loaded.tokenizer.pad_token_id
    restrictions = {"top_k": evaluation.get("top_k") or 0, "top_p": evaluation.get("top_p", 1.0), "min_p": evaluation.get("min_p") or None}
    return GenerationConfig(
        bos_token_id=original.bos_token_id,
        decoder_start_token_id=original.decoder_start_token_id,
        eos_token_id=sorted(generation_stop_ids(loaded)),
        pad_token_id=loaded.encoder.eos_id if pad_id is None else pad_id,
        max_new_tokens=evaluation["max_new_tokens"],
        **({"do_sample": True, "temperature": temperature, **restrictions} if temperature else {"do_sample": False}),
    )
