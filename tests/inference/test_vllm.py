"""Engine vllm over vLLM's documented interface (documented_vllm/vllm.py, with a real model behind it): vLLM itself is not run here."""

from __future__ import annotations

import dataclasses
import gc
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from generated_texts import generated
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from cotexp import flow
from cotexp.config import command_line
from cotexp.inference import vllm
from cotexp.inference.engine import Request
from cotexp.inference.local import LocalEngine
from cotexp.inference.vllm import VllmEngine
from cotexp.jobs import pipeline
from cotexp.models import identity, loading
from cotexp.models.identity import ModelFiles
from cotexp.settings.base import ConfigError, RunFailed
from cotexp.settings.models import PretrainedModel, Vllm
from cotexp.settings.sampling import Sampling
from cotexp.tasks import QuestionSets, StoriesTask, prompt_for

INTERFACE = Path(__file__).parent / "documented_vllm"
MAX_NEW_TOKENS = 12


@pytest.fixture(scope="module")
def folder(random_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Large random weights, a short context, ends of texts beside EOS, and generation settings that vLLM would obey if it were let."""
    folder = tmp_path_factory.mktemp("models") / "wandering"
    tokenizer = AutoTokenizer.from_pretrained(random_model)
    torch.manual_seed(0)
    config = LlamaConfig.from_pretrained(random_model, tie_word_embeddings=False, initializer_range=0.3, max_position_embeddings=96)
    model = LlamaForCausalLM(config)
    model.generation_config.eos_token_id = [tokenizer.eos_token_id, *range(5, 666, 16)]
    model.generation_config.max_new_tokens = 3
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[dict[str, Any]]]:
    """The interface can be imported, there are four GPUs by name; returns what every copy of the model was started with."""
    log = tmp_path / "started.jsonl"
    log.touch()
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(INTERFACE), *filter(None, [os.environ.get("PYTHONPATH")])]))
    monkeypatch.syspath_prepend(str(INTERFACE))
    monkeypatch.setenv("DOCUMENTED_VLLM_LOG", str(log))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3")
    monkeypatch.setattr(identity, "gpu_names", lambda: ["A GPU"] * len(os.environ["CUDA_VISIBLE_DEVICES"].split(",")))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return lambda: [json.loads(line) for line in log.read_text().splitlines()]


@pytest.fixture(scope="module")
def requests(small_task: StoriesTask, small_questions: QuestionSets) -> list[Request]:
    texts = [prompt_for(small_task, each) for each in small_questions.train[:24]]
    return [Request(f"{number}/0", text[: 5 + 11 * number]) for number, text in enumerate(texts)]


def settings(folder: Path, **vllm: Any) -> PretrainedModel:
    return PretrainedModel(path=str(folder), engine="vllm", vllm=Vllm(**vllm))


def local_engine(folder: Path) -> LocalEngine:
    return LocalEngine(loading.load(folder, PretrainedModel(path=str(folder), device="cpu")))


def lives(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.slow
def test_greedy_texts_are_those_of_the_local_engine_and_samples_depend_on_id_and_seed_alone(
    folder: Path, requests: list[Request], started: Callable[[], list[dict[str, Any]]]
) -> None:
    greedy, engine = Sampling(max_new_tokens=MAX_NEW_TOKENS), VllmEngine(folder, settings(folder))
    local = local_engine(folder)
    expected = generated(local, requests, greedy)
    assert generated(engine, requests, greedy) == expected
    assert {"stop", "length"} <= {reason for *_, reason in expected.values()}
    assert max(length for _, length, _ in expected.values()) > 3, "the folder's own limit is not obeyed"

    sampled = Sampling(max_new_tokens=MAX_NEW_TOKENS, temperature=1.0)
    alone = generated(engine, requests[:8], sampled)
    assert generated(engine, list(reversed(requests[4:8])), sampled) == {each.id: alone[each.id] for each in requests[4:8]}
    twins = generated(engine, [Request(f"q/{number}", requests[9].prompt) for number in range(6)], sampled)
    assert len(set(twins.values())) > 3
    other = generated(engine, requests[:8], dataclasses.replace(sampled, seed=1))
    assert sum(other[name] == row for name, row in alone.items()) < 4

    early = min(length for _, length, reason in expected.values() if reason == "stop" and length)
    for most in (early, early + 1):  # an end in the last possible step, which vLLM may call "length", is a stop
        rows = generated(engine, requests, Sampling(max_new_tokens=most))
        assert rows == generated(local, requests, Sampling(max_new_tokens=most))
        assert any(reason == "stop" for *_, reason in rows.values()) or most == early

    long, roomy = Request("long", "How many? " * 60), Sampling(max_new_tokens=90)
    expected = generated(local, [long, *requests], roomy)
    assert generated(engine, [long, *requests], roomy) == expected
    assert expected["long"] == ("", 0, "overflow")
    assert any(reason == "length" and length < 90 for _, length, reason in expected.values()), "the context is full"

    pid = started()[0]["pid"]
    assert lives(pid)
    del engine
    gc.collect()
    assert not lives(pid), "its GPU memory is free"
    assert list(Path(tempfile.gettempdir()).glob("cotexp-vllm-*")) == []


@pytest.mark.slow
def test_copies_of_the_model_have_gpus_of_their_own_and_share_the_texts(
    folder: Path, requests: list[Request], started: Callable[[], list[dict[str, Any]]]
) -> None:
    own = settings(folder, tensor_parallel_size=2, data_parallel_size=2, gpu_memory_utilization=0.5)
    engine = VllmEngine(folder, own)
    assert generated(engine, requests, Sampling(max_new_tokens=MAX_NEW_TOKENS)) == generated(
        local_engine(folder), requests, Sampling(max_new_tokens=MAX_NEW_TOKENS)
    )
    assert generated(engine, requests[:1], Sampling(max_new_tokens=1)), "one text for two copies"
    assert sorted((each["gpus"], each["tensor_parallel_size"], each["gpu_memory_utilization"]) for each in started()) == [
        ("0,1", 2, 0.5),
        ("2,3", 2, 0.5),
    ]
    assert all(each["model"] == str(folder) and each["dtype"] == "float32" for each in started())


@pytest.mark.slow
def test_failures_end_with_one_clear_line(folder: Path, requests: list[Request], started: Callable[[], list[dict[str, Any]]]) -> None:
    with pytest.raises(RunFailed, match=r"vLLM failed: ValueError: User-specified max_model_len \(400\).*\(log: \S+cotexp-vllm-\S+\)") as caught:
        VllmEngine(folder, settings(folder, max_model_len=400))
    log = Path(re.search(r"log: (\S+)\)", str(caught.value))[1])  # type: ignore[index]
    wait_until(lambda: "Traceback" in log.read_text())
    engine = VllmEngine(folder, settings(folder, max_model_len=40))
    with pytest.raises(
        RunFailed, match=r"model\.vllm\.max_model_len=40 is too short: a prompt and max_new_tokens come to 9\d tokens; raise it to that"
    ):
        engine.generate(requests, Sampling(max_new_tokens=80), lambda output: None)
    os.kill(started()[-1]["pid"], signal.SIGKILL)
    with pytest.raises(RunFailed, match=r"vLLM failed: its process ended \(log: "):
        engine.generate(requests[:2], Sampling(max_new_tokens=4), lambda output: None)


PARENT = """
import sys, time
from pathlib import Path
from cotexp.inference.vllm import VllmEngine
from cotexp.settings.models import PretrainedModel
engine = VllmEngine(Path(sys.argv[1]), PretrainedModel(path=sys.argv[1], engine="vllm"))
print("ready", flush=True)
time.sleep(600)
"""


@pytest.mark.slow
def test_a_copy_ends_with_the_process_that_started_it(folder: Path, started: Callable[[], list[dict[str, Any]]]) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(folder)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    assert parent.stdout.readline() == "ready\n"
    pid = started()[0]["pid"]
    assert lives(pid)
    parent.kill()
    parent.communicate()
    wait_until(lambda: not lives(pid))


def test_what_is_missing_is_said_before_any_work(
    random_model: Path, encoder_decoders: dict[str, Path], started: Callable[[], list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, files = settings(random_model, tensor_parallel_size=2, data_parallel_size=2), ModelFiles(random_model, "")
    monkeypatch.setattr(identity, "has_cuda", lambda: True)
    vllm.check(model, "model", files)
    with pytest.raises(ConfigError, match=r"^model\.engine=vllm needs a causal model"):
        vllm.check(model, "model", ModelFiles(encoder_decoders["t5"], ""))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")
    with pytest.raises(ConfigError, match=r"^teacher\.model\.vllm: tensor_parallel_size times data_parallel_size must be at most .* \(3\); got 4"):
        vllm.check(model, "teacher.model", files)
    monkeypatch.setattr(identity, "has_cuda", lambda: False)
    with pytest.raises(ConfigError, match=r"^compressor\.model\.engine=vllm needs an NVIDIA GPU"):
        vllm.check(model, "compressor.model", files)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"^model\.engine=vllm needs the package vllm, which is not installed; pip install 'cotexp\[vllm\]'"):
        vllm.check(model, "model", files)


@pytest.mark.parametrize(("own", "problem"), [({"device": "cpu"}, "device must be auto or cuda"), ({"compile": True}, "compile must be false")])
def test_settings_that_cannot_stand_beside_engine_vllm_are_refused(own: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        PretrainedModel(path="x", engine="vllm", **own)


RUN = [
    *("tracking=none", "task.num_train=10", "task.num_validation=4", "task.num_test=4", "compressor.temperature=0", "compression.max_rounds=2"),
    *("trainer.tuning=lora", "trainer.accelerator=cpu", "trainer.precision=float32", "trainer.max_epochs=1", "trainer.batch_size=4"),
    *("teacher.max_new_tokens=128", "compressor.max_new_tokens=128", "evaluation.max_new_tokens=64"),
    *("evaluation.modes=[compress]", "evaluation.latency_questions=2", "evaluation.latency_batch_size=2"),
    "scoring.perplexity_chains=0",  # likelihoods are always the local engine's, which would need the GPU that is pretended
]


def run(outputs: Path, *overrides: str) -> tuple[pipeline.Result, dict[str, dict[str, tuple[str, int]]]]:
    """The result of a small run, and text and length of all that was generated, by stage and by id within a ledger."""
    context = pipeline.prepare(command_line.check_command_line([*RUN, f"paths.outputs={outputs}", *overrides], multirun=False)[0])
    result = pipeline.run(context)
    names = {name: spec for name, spec in flow.specs_of(context).items() if name.split("/")[0] in ("rationales", "rounds", "predictions")}
    ledgers = {name: context.store.ledger(spec).read() for name, spec in names.items()}
    return result, {
        name: {each: (row.get("text", row.get("cot")), row["num_tokens"]) for each, row in rows.items()} for name, rows in ledgers.items()
    }


@pytest.mark.slow
def test_a_whole_run_with_adapters_writes_the_texts_that_it_writes_with_the_local_engine(
    tmp_path: Path, started: Callable[[], list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    local, own = run(tmp_path, "model.device=cpu", "compressor.model.device=cpu")
    assert started() == []
    monkeypatch.setattr(identity, "has_cuda", lambda: True)
    result, texts = run(tmp_path, "model.engine=vllm", "compressor.model.engine=vllm")
    assert texts == own
    assert {name.split("/")[0] for name, rows in texts.items() if rows} == {"rationales", "rounds", "predictions"}
    assert result.folder != local.folder
    clock = ("seconds", "latency", "training/")
    assert {name for name, value in local.metrics.items() if result.metrics[name] != value and not any(each in name for each in clock)} == set()
    assert all(result.metrics[f"eval/compress/latency_seconds_{each}"] > 0 for each in ("batch1", "batchN"))
    folders = [Path(each["model"]) for each in started()]
    assert [each.parent.name for each in folders] == ["shipped", "merged"], "one engine follows the other"
    assert not (folders[-1] / "adapter_config.json").exists()
    gc.collect()
    assert not any(lives(each["pid"]) for each in started())
