"""Models are looked at before a run computes anything, and stored ones whenever they are loaded."""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from cotexp.commands import run_experiment
from cotexp.commands.encode import print_encoded
from cotexp.commands.export import export_model
from cotexp.config import command_line
from cotexp.jobs import pipeline
from cotexp.settings.base import ConfigError
from cotexp.store import disk
from cotexp.store.stored_files import StoreError

SMALL = [
    *("tracking=none", "task.num_train=8", "task.num_validation=2", "task.num_test=3", "model=hf", "model.device=cpu"),
    *("trainer.accelerator=cpu", "trainer.max_epochs=1", "trainer.num_validations=1", "trainer.batch_size=16", "scoring.perplexity_chains=0"),
    *("evaluation.modes=[base,full]", "evaluation.max_new_tokens=4", "evaluation.latency=false"),
]
REFERENCE = ["teacher=reference", "compression=truncate"]


def run(folder: Path, outputs: Path, *overrides: str) -> pipeline.Result:
    typed = [*SMALL, f"model.path={folder}", f"paths.outputs={outputs}", *overrides]
    return pipeline.run(pipeline.prepare(command_line.check_command_line(typed, multirun=False)[0]))


def written(outputs: Path) -> Iterator[Path]:
    """Rows, weights and folders of runs."""
    yield from outputs.rglob("rows-*.jsonl")
    yield from outputs.rglob("*.safetensors")
    yield from outputs.glob("runs/*/*/*.json")


@pytest.fixture
def broken(random_model: Path, tmp_path: Path) -> Path:
    """A model whose configuration asks for a layer that its weights lack."""
    folder = Path(shutil.copytree(random_model, tmp_path / "broken"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
    return folder


@pytest.mark.parametrize("role", ["model", "teacher.model", "compressor.model"])
def test_a_model_of_any_role_that_does_not_fit_its_configuration_ends_the_run_before_anything_is_written(
    role: str, random_model: Path, broken: Path, tmp_path: Path
) -> None:
    given = {
        "model": REFERENCE,
        "teacher.model": ["teacher=local", "compression=none", f"teacher.model.path={broken}", "teacher.model.device=cpu"],
        "compressor.model": [
            "teacher=reference",
            "compression=macc",
            "compressor=local",
            f"compressor.model.path={broken}",
            "compressor.model.device=cpu",
        ],
    }[role]
    own = broken if role == "model" else random_model
    with pytest.raises(ConfigError, match=rf"^{role}\.path: the weights in {broken} cannot be used with its config.json: missing: model\.layers\.2"):
        run(own, tmp_path / "outputs", *given)
    assert list(written(tmp_path / "outputs")) == []


def only_compress(typed: list[str]) -> None:
    run_experiment(command_line.check_command_line([*typed, "compress_only=true"], multirun=False)[0])


@pytest.mark.parametrize("command", [only_compress, functools.partial(print_encoded, num_questions=2)])
def test_a_model_that_does_not_fit_ends_every_command_that_writes_texts(command: Callable[[list[str]], None], broken: Path, tmp_path: Path) -> None:
    typed = [*SMALL, *REFERENCE, f"model.path={broken}", f"paths.outputs={tmp_path / 'outputs'}"]
    with pytest.raises(ConfigError, match=r"^model\.path: the weights in .* cannot be used with its config.json: missing: model\.layers\.2"):
        command(typed)
    assert list(written(tmp_path / "outputs")) == []


@pytest.mark.slow
def test_a_template_is_named_by_the_role_of_its_model(random_model: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(random_model, tmp_path / "model"))
    (folder / "chat_template.jinja").write_text("hello")
    given = ["teacher=local", "compression=none", f"teacher.model.path={folder}", "teacher.model.device=cpu"]
    with pytest.raises(ConfigError, match=r"^teacher\.model\.path: the chat template of .* must show the user's text once"):
        run(random_model, tmp_path / "outputs", *given)


@pytest.mark.parametrize("role", ["teacher", "compressor"])
def test_a_template_is_named_by_the_role_also_if_the_student_has_the_same_files(role: str, random_model: Path, tmp_path: Path) -> None:
    given = [f"{role}=local", f"{role}.model.path={random_model}", f"{role}.model.device=cpu", f'{role}.model.chat_template_kwargs={{"x": 1}}']
    with pytest.raises(ConfigError, match=rf"^{role}\.model\.chat_template_kwargs: the chat template in .* reads no variable x; leave it out$"):
        run(random_model, tmp_path / "outputs", *given)


def test_a_model_that_computes_no_numbers_is_named_before_it_is_trained(random_model: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(random_model, tmp_path / "model"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "rms_norm_eps": float("nan")}))
    with pytest.raises(ConfigError, match=r"^model\.path: LlamaForCausalLM in .* computes NaN or infinite values from its config\.json"):
        run(folder, tmp_path / "outputs", *REFERENCE)


def test_targets_that_the_model_cannot_have_end_the_run_before_anything_is_written(random_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^trainer\.lora\.target_modules must name layers of the model .*; 'c_attn' is none of them$"):
        run(random_model, tmp_path, *REFERENCE, "trainer.tuning=lora", "trainer.lora.target_modules='q_proj,c_attn'")
    assert list(written(tmp_path)) == []


def test_nan_in_the_weights_ends_the_run_before_anything_is_written(random_model: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(random_model, tmp_path / "model"))
    tensors = load_file(folder / "model.safetensors")
    tensors["model.layers.1.mlp.up_proj.weight"][2, 3] = torch.nan
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ConfigError, match=r"NaN or infinite values: model\.layers\.1\.mlp\.up_proj\.weight"):
        run(folder, tmp_path / "outputs", *REFERENCE)
    assert list(written(tmp_path / "outputs")) == []


def flip(path: Path, place: int) -> None:
    """Change one bit of a file."""
    content = bytearray(path.read_bytes())
    content[place] ^= 4
    path.write_bytes(content)


@pytest.mark.parametrize("tuning", ["lora", pytest.param("full", marks=pytest.mark.slow)])
def test_flipped_bits_in_a_stored_model_are_noticed_when_it_is_loaded_and_it_is_made_anew(tuning: str, random_model: Path, tmp_path: Path) -> None:
    overrides = [*REFERENCE, f"trainer.tuning={tuning}"]
    done = run(random_model, tmp_path, *overrides)
    (checkpoint,) = (tmp_path / "store" / "checkpoint").glob("*/manifest.json")
    (weights,) = checkpoint.parent.glob("*.safetensors")
    whole = weights.read_bytes()
    flip(weights, len(whole) - 5)
    longer = [*overrides, "evaluation.max_new_tokens=5"]
    line = (
        rf"^paths\.outputs: {weights.name} in {checkpoint.parent} changed after it was stored, .*; remove that folder, and run the same command again"
    )
    with pytest.raises(StoreError, match=line):
        run(random_model, tmp_path, *longer)
    with pytest.raises(StoreError, match=line):
        export_model(str(done.folder), tmp_path / "export", dtype="float32", outputs=tmp_path)
    assert not (tmp_path / "export").exists()
    shutil.rmtree(checkpoint.parent)
    assert run(random_model, tmp_path, *longer).metrics["eval/full/accuracy"] is not None
    assert weights.read_bytes() == whole
    export_model(str(done.folder), tmp_path / "export", dtype="float32", outputs=tmp_path)


def test_flipped_bits_in_a_model_made_from_scratch_are_noticed_before_anything_else(tmp_path: Path) -> None:
    typed = ["experiment=tiny", *SMALL[:4], "model=scratch", "model.hidden_size=32", "model.num_layers=1", "trainer.max_epochs=1"]
    settings = command_line.check_command_line([*typed, f"paths.outputs={tmp_path}"], multirun=False)[0]
    context = pipeline.prepare(settings)
    flip(context.base.folder / "model.safetensors", -5)
    with pytest.raises(StoreError, match=r"model\.safetensors in .* changed after it was stored"):
        pipeline.run(context)


def test_a_lost_file_of_a_stored_model_is_noticed_and_other_folders_pass(random_model: Path, tmp_path: Path) -> None:
    disk.check_unchanged(random_model)
    disk.sealed(lambda folder: shutil.copytree(random_model, folder, dirs_exist_ok=True) and None)(tmp_path)
    disk.check_unchanged(tmp_path)
    (tmp_path / "notes.md").write_text("beside the model")
    disk.check_unchanged(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(StoreError, match=r"paths\.outputs: tokenizer\.json in .* changed"):
        disk.check_unchanged(tmp_path)
    (tmp_path / disk.HASHES).write_text("[")
    with pytest.raises(StoreError, match=r"paths\.outputs: hashes\.json in .* changed"):
        disk.check_unchanged(tmp_path)
