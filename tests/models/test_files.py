"""Broken, missing and foreign files of a model's folder are one line, before anything is imported or computed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from cotexp.models.identity import find
from cotexp.settings.base import ConfigError
from cotexp.settings.models import PretrainedModel

FETCH = r"(restore it, or )?fetch the model again$"


@pytest.fixture
def folder(random_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(random_model, tmp_path / "model"))


def refusal(folder: Path, **settings: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        find(PretrainedModel(path=str(folder), **settings), path_setting="teacher.model.path")
    (line,) = caught.value.problems
    assert "\n" not in line
    assert line.startswith("teacher.model.path")
    assert str(folder) in line
    return line


def head(path: Path, num_bytes: int) -> None:
    path.write_bytes(path.read_bytes()[:num_bytes])


BROKEN_WEIGHTS: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "three bytes": lambda path: path.write_bytes(b"abc"),
    "cut in the header": lambda path: head(path, 100),
    "cut in the tensors": lambda path: head(path, path.stat().st_size - 100),
    "longer than announced": lambda path: path.write_bytes(path.read_bytes() + b"more"),
    "a pointer": lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"),
    "zeros": lambda path: path.write_bytes(b"\0" * path.stat().st_size),
    "no JSON in its header": lambda path: path.write_bytes((4).to_bytes(8, "little") + b"{]}{"),
    "a header of endless length": lambda path: path.write_bytes((2**63).to_bytes(8, "little") + b"{}"),
}


@pytest.mark.parametrize("damage", BROKEN_WEIGHTS)
def test_weights_that_cannot_be_read_are_named_with_their_size(damage: str, folder: Path) -> None:
    BROKEN_WEIGHTS[damage](folder / "model.safetensors")
    assert re.search(rf"model\.safetensors cannot be read \([\d,]+ bytes: .+\); {FETCH}", refusal(folder))


def test_weights_without_tensors_are_refused(folder: Path) -> None:
    save_file({}, folder / "model.safetensors")
    assert "hold no tensors" in refusal(folder)


def test_weights_of_another_name_are_refused(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "weights.safetensors")
    assert refusal(folder).endswith("has weights.safetensors")
    (folder / "model.safetensors").symlink_to(folder / "nowhere")
    assert "model.safetensors, which is not a file" in refusal(folder)


def sharded(folder: Path) -> dict[str, str]:
    """Put the weights of `folder` into two parts with an index, and return its map."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    weight_map = {name: f"model-0000{1 + number % 2}-of-00002.safetensors" for number, name in enumerate(sorted(tensors))}
    for part in set(weight_map.values()):
        save_file({name: tensors[name] for name in tensors if weight_map[name] == part}, folder / part, metadata={"format": "pt"})
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return weight_map


def test_weights_in_parts_are_found_and_every_part_must_be_whole(folder: Path) -> None:
    parts = sorted(set(sharded(folder).values()))
    find(PretrainedModel(path=str(folder)))
    whole = (folder / parts[1]).read_bytes()
    head(folder / parts[1], len(whole) // 2)
    assert f"{parts[1]} cannot be read" in refusal(folder)
    (folder / parts[1]).unlink()
    assert f"lists parts that are not there: {parts[1]}; fetch the model again" in refusal(folder)


def test_an_index_must_list_what_its_parts_hold(folder: Path) -> None:
    weight_map = sharded(folder)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {**weight_map, "model.layers.9.weight": next(iter(weight_map.values()))}}))
    assert "lists tensors that no part holds: model.layers.9.weight" in refusal(folder)
    index.write_text(json.dumps({"metadata": {}}))
    assert "has no weight_map" in refusal(folder)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"])
@pytest.mark.parametrize(
    ("content", "problem"), [("", "is not valid JSON"), ('{"a": 1', "is not valid JSON"), ("[1]", "it holds list"), ('"x"', "it holds str")]
)
def test_a_broken_json_file_is_named(name: str, content: str, problem: str, folder: Path) -> None:
    (folder / name).write_text(content)
    line = refusal(folder)
    assert name in line
    assert problem in line


def test_a_file_that_is_no_text_is_named(folder: Path) -> None:
    (folder / "tokenizer.json").write_bytes(b"\xff\xfe\0\x01")
    assert "tokenizer.json" in refusal(folder)
    (folder / "config.json").write_bytes(b"\xff\xfe\0\x01")
    assert "config.json" in refusal(folder)


def test_a_configuration_without_a_kind_of_model_is_refused(folder: Path) -> None:
    (folder / "config.json").write_text('{"hidden_size": 32}')
    assert f"config.json in {folder} does not name a model_type" in refusal(folder)


def test_more_layers_than_there_are_tensors_are_refused_without_making_them(folder: Path) -> None:
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**content, "num_hidden_layers": 100_000}))
    assert "asks for 100000 layers, and its weights are 20 tensors" in refusal(folder)


def test_numbers_that_python_alone_writes_are_read_in_a_configuration(folder: Path) -> None:
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**content, "time_step_limit": [0.0, float("inf")]}))
    assert find(PretrainedModel(path=str(folder))).folder == folder


def test_a_tokenizer_of_a_larger_model_is_refused_before_anything_is_loaded(folder: Path) -> None:
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    rows = json.loads((folder / "config.json").read_text())["vocab_size"]
    tokenizer["model"]["vocab"]["ofanothermodel"] = rows
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    assert f"has ids up to {rows}, and the embeddings of the model {rows} rows: it belongs to another model" in refusal(folder)
    tokenizer["model"] = {"type": "BPE"}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    assert "holds no model with a vocab" in refusal(folder)
    tokenizer["model"] = {"type": "BPE", "vocab": {}, "merges": []}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    assert "holds an empty vocab" in refusal(folder)


def test_a_folder_with_an_adapter_is_no_whole_model(folder: Path) -> None:
    (folder / "adapter_config.json").write_text("{}")
    assert "must be a whole model" in refusal(folder)


def with_code(folder: Path, auto_map: Any) -> Path:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "auto_map": auto_map}))
    return folder


def test_code_that_may_run_must_lie_in_the_folder(folder: Path) -> None:
    with_code(folder, {"AutoModelForCausalLM": "modeling_x.X", "AutoConfig": "configuration_x.XConfig"})
    (folder / "configuration_x.py").write_text("")
    find(PretrainedModel(path=str(folder)))
    assert "names code that is not there: modeling_x.py" in refusal(folder, trust_remote_code=True)
    (folder / "modeling_x.py").write_text("")
    find(PretrainedModel(path=str(folder), trust_remote_code=True))


def test_code_of_another_repository_is_refused_since_no_hash_covers_it(folder: Path) -> None:
    with_code(folder, {"AutoModelForCausalLM": "owner/other--modeling_x.X"})
    line = refusal(folder, trust_remote_code=True)
    assert "owner/other--modeling_x.X, which no hash covers" in line
    assert "write modeling_x.X in its auto_map" in line
    find(PretrainedModel(path=str(folder)))


def test_broken_files_are_found_without_importing_torch(folder: Path) -> None:
    head(folder / "model.safetensors", 1000)
    code = (
        "import sys; from cotexp.models.identity import find; from cotexp.settings.models import PretrainedModel\n"
        f"try: find(PretrainedModel(path={str(folder)!r}))\n"
        "except ValueError as error: print(error)\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    outcome = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "cannot be read (1,000 bytes" in outcome.stdout


def test_tensors_that_hold_no_weights_are_known_by_kind_and_shape(folder: Path) -> None:
    from cotexp.models import files

    tensors = {"mask": torch.ones(1, 1, 4, 4), "constant": torch.tensor(-1e4), "flags": torch.ones(3, dtype=torch.bool), "weight": torch.ones(3, 3)}
    save_file(tensors, folder / "model.safetensors")
    found = files.stored(folder, "model.path")
    assert {name: each.is_mask for name, each in found.items()} == {"mask": True, "constant": True, "flags": True, "weight": False}
    assert found["weight"].shape == (3, 3)
