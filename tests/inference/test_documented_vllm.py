"""What documented_vllm/vllm promises is what vLLM has, where vLLM is installed (`make engines`)."""

from __future__ import annotations

import ast
import dataclasses
import importlib.util
import inspect
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ADAPTER = Path(__file__).parents[2] / "cotexp" / "inference" / "vllm_copies.py"
INTERFACE = Path(__file__).parent / "documented_vllm" / "vllm"

needs_vllm = pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="needs vLLM, which has an environment of its own: make engines")


def documented(name: str) -> ModuleType:
    """A module of the documented part, beside the real one of the same name."""
    spec = importlib.util.spec_from_file_location(f"documented_{name}", INTERFACE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def defaults(function: Any) -> dict[str, Any]:
    return {name: each.default for name, each in inspect.signature(function).parameters.items() if name != "self"}


@needs_vllm
@pytest.mark.slow
def test_the_arguments_of_a_model_are_those_of_vllm_with_its_defaults() -> None:
    from vllm import LLM, EngineArgs

    own, real = defaults(documented("__init__").LLM.__init__), defaults(LLM.__init__)
    passed_on = {each.name: each.default for each in dataclasses.fields(EngineArgs)}
    assert own == {name: real.get(name, passed_on.get(name)) for name in own}


@needs_vllm
@pytest.mark.slow
def test_the_settings_of_a_text_are_those_of_vllm_with_its_defaults() -> None:
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    own = documented("sampling_params")
    mine, real = defaults(own.SamplingParams), defaults(SamplingParams)
    assert {name: str(value) for name, value in mine.items()} == {name: str(real[name]) for name in mine}
    assert [each.name for each in own.RequestOutputKind] == [each.name for each in RequestOutputKind]


@needs_vllm
@pytest.mark.slow
def test_the_engine_and_its_outputs_have_the_names_that_are_documented() -> None:
    from vllm import CompletionOutput, LLMEngine, RequestOutput

    own = documented("__init__")
    for name in ("add_request", "step", "has_unfinished_requests"):
        assert defaults(getattr(own.LLMEngine, name)).items() <= defaults(getattr(LLMEngine, name)).items(), name
    assert {each.name for each in dataclasses.fields(own.CompletionOutput)} <= {each.name for each in dataclasses.fields(CompletionOutput)}
    assert {each.name for each in dataclasses.fields(own.RequestOutput)} <= set(inspect.signature(RequestOutput.__init__).parameters)


@needs_vllm
@pytest.mark.slow
def test_a_build_describes_its_device_as_documented() -> None:
    import vllm
    from vllm.platforms import cpu, interface

    own = documented("platforms")
    of_gpus = (Path(vllm.__file__).parent / "platforms" / "cuda.py").read_text()  # a build for processors cannot import it
    assert "    def device_count(cls) -> int:" in of_gpus
    for name in ("device_type", "device_control_env_var"):
        assert getattr(own.Platform, name) == getattr(cpu.CpuPlatform, name)
        assert re.search(rf'^    {name}: str = "{getattr(own.CudaPlatform, name)}"$', of_gpus, re.MULTILINE)
    assert own.UnspecifiedPlatform.device_type == interface.UnspecifiedPlatform.device_type


def test_the_adapter_uses_no_other_name_of_vllm() -> None:
    tree = ast.parse(ADAPTER.read_text())
    imported = {
        (each.module, name.name)
        for each in ast.walk(tree)
        if isinstance(each, ast.ImportFrom) and (each.module or "").split(".")[0] == "vllm"
        for name in each.names
    }
    assert imported == {("vllm", "LLM"), ("vllm", "SamplingParams"), ("vllm.sampling_params", "RequestOutputKind")}
