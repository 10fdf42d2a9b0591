"""Engine vllm, on vLLM itself where it is installed (`make engines`), else on the documented part of its interface with a real model behind it
(documented_vllm/vllm).
"""

from __future__ import annotations

import dataclasses
import gc
import importlib.util
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from generated_texts import generated
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from cotexp import flow
from cotexp.config import command_line
from cotexp.inference import vllm_build
from cotexp.inference.engine import Output, Request
from cotexp.inference.local import LocalEngine
from cotexp.inference.vllm import VllmEngine
from cotexp.inference.vllm_copies import Copy
from cotexp.jobs import pipeline
from cotexp.models import loading
from cotexp.settings.base import RunFailed
from cotexp.settings.models import PretrainedModel, Vllm
from cotexp.settings.sampling import Sampling
from cotexp.tasks import QuestionSets, StoriesTask, prompt_for

IS_REAL = importlib.util.find_spec("vllm") is not None
INTERFACE = Path(__file__).parent / "documented_vllm"
MAX_NEW_TOKENS = 12


@pytest.fixture(scope="module", autouse=True)
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Some vLLM for processors can be imported."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("logs")
        patch.setenv("TMPDIR", str(folder))
        patch.setattr(tempfile, "tempdir", str(folder))
        if not IS_REAL:
            patch.setenv("PYTHONPATH", os.pathsep.join([str(INTERFACE), *filter(None, [os.environ.get("PYTHONPATH")])]))
            patch.syspath_prepend(str(INTERFACE))
        vllm_build.installed.cache_clear()
        yield
        gc.collect()
    vllm_build.installed.cache_clear()


@pytest.fixture(scope="module")
def folder(random_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Large random weights, heads as narrow as vLLM takes, a short context, ends of texts beside EOS, and generation settings that vLLM would
    obey if it were let.
    """
    folder = tmp_path_factory.mktemp("models") / "wandering"
    tokenizer = AutoTokenizer.from_pretrained(random_model)
    torch.manual_seed(0)
    config = LlamaConfig.from_pretrained(random_model, tie_word_embeddings=False, initializer_range=0.3, max_position_embeddings=96, head_dim=32)
    model = LlamaForCausalLM(config)
    model.generation_config.eos_token_id = [tokenizer.eos_token_id, *range(5, 666, 16)]
    model.generation_config.max_new_tokens = 3
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def requests(small_task: StoriesTask, small_questions: QuestionSets) -> list[Request]:
    texts = [prompt_for(small_task, each) for each in small_questions.train[:24]]
    return [Request(f"{number}/0", text[: 5 + 11 * number]) for number, text in enumerate(texts)]


def settings(folder: Path, **own: Any) -> PretrainedModel:
    return PretrainedModel(path=str(folder), engine="vllm", vllm=Vllm(**{"enforce_eager": True, "cpu_cache_gib": 0.25, **own}))


def local_engine(folder: Path) -> LocalEngine:
    return LocalEngine(loading.load(folder, PretrainedModel(path=str(folder), device="cpu")))


def lives(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def family(pid: int) -> list[int]:
    """A process and its child processes."""
    return [pid, *(each.pid for each in psutil.Process(pid).children(recursive=True))] if lives(pid) else [pid]


def wait_until(condition: Callable[[], bool], seconds: float = 600) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture(scope="module")
def engine(folder: Path) -> Iterator[VllmEngine]:
    """One for several tests: vLLM takes a minute to load."""
    made = [VllmEngine(folder, settings(folder))]
    yield made[0]
    (copy,) = made[0].copies
    pids = family(copy.process.pid)
    made[0]._end()
    wait_until(lambda: not any(map(lives, pids)))
    assert not copy.log.exists(), "only a copy that failed leaves it"


@pytest.mark.slow
def test_greedy_texts_are_those_of_the_local_engine(folder: Path, requests: list[Request], engine: VllmEngine) -> None:
    greedy, local = Sampling(max_new_tokens=MAX_NEW_TOKENS), local_engine(folder)
    expected = generated(local, requests, greedy)
    assert generated(engine, requests, greedy) == expected
    assert {"stop", "length"} <= {reason for *_, reason in expected.values()}
    assert max(length for _, length, _ in expected.values()) > 3, "the folder's own limit is not obeyed"

    early = min(length for _, length, reason in expected.values() if reason == "stop" and length)
    for most in (early, early + 1):  # an end in the last possible step is a stop
        rows = generated(engine, requests, Sampling(max_new_tokens=most))
        assert rows == generated(local, requests, Sampling(max_new_tokens=most))
        assert any(reason == "stop" for *_, reason in rows.values()) or most == early

    long, roomy = Request("long", "How many? " * 60), Sampling(max_new_tokens=90)
    expected = generated(local, [long, *requests], roomy)
    assert generated(engine, [long, *requests], roomy) == expected
    assert expected["long"] == ("", 0, "overflow")
    assert any(reason == "length" and length < 90 for _, length, reason in expected.values()), "the context is full"
    assert generated(engine, [long], roomy) == {"long": ("", 0, "overflow")}, "nothing is left to write"


@pytest.mark.slow
def test_samples_depend_on_id_and_seed_alone(requests: list[Request], engine: VllmEngine) -> None:
    sampled = Sampling(max_new_tokens=MAX_NEW_TOKENS, temperature=1.0)
    alone = generated(engine, requests[:8], sampled)
    assert generated(engine, list(reversed(requests[4:8])), sampled) == {each.id: alone[each.id] for each in requests[4:8]}
    assert generated(engine, requests[:8], sampled, batch_size=1) == alone
    twins = generated(engine, [Request(f"q/{number}", requests[9].prompt) for number in range(6)], sampled)
    assert len(set(twins.values())) > 3, "samples of one question"
    other = generated(engine, requests[:8], dataclasses.replace(sampled, seed=1))
    assert sum(other[name] == row for name, row in alone.items()) < 4


@pytest.mark.slow
@pytest.mark.skipif(not IS_REAL, reason="needs vLLM, which restricts samples")
@pytest.mark.parametrize("restriction", [{"top_k": 1}, {"top_p": 1e-6}, {"min_p": 1.0}])
def test_a_restriction_to_the_likeliest_token_gives_the_greedy_text(requests: list[Request], engine: VllmEngine, restriction: dict[str, Any]) -> None:
    greedy = generated(engine, requests, Sampling(max_new_tokens=MAX_NEW_TOKENS))
    assert generated(engine, requests, Sampling(max_new_tokens=MAX_NEW_TOKENS, temperature=1.0, **restriction)) == greedy


@pytest.mark.slow
def test_a_text_is_reported_when_it_ends_and_an_engine_that_was_left_in_between_ends_with_its_copies(folder: Path, requests: list[Request]) -> None:
    engine, seen = VllmEngine(folder, settings(folder)), []
    pids = family(engine.copies[0].process.pid)

    def leave(output: Output) -> None:
        seen.append(output.id)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.generate(requests, Sampling(max_new_tokens=60), leave)
    assert len(seen) == 1
    wait_until(lambda: not any(map(lives, pids)))


@pytest.mark.slow
def test_copies_of_the_model_share_the_texts(folder: Path, requests: list[Request]) -> None:
    if len(vllm_build.processors()) < 2:
        pytest.skip("needs two processors")
    engine = VllmEngine(folder, settings(folder, data_parallel_size=2))
    assert generated(engine, requests, Sampling(max_new_tokens=MAX_NEW_TOKENS)) == generated(
        local_engine(folder), requests, Sampling(max_new_tokens=MAX_NEW_TOKENS)
    )
    assert generated(engine, requests[:1], Sampling(max_new_tokens=1)), "one text for two copies"
    pids = [pid for each in engine.copies for pid in family(each.process.pid)]
    assert len(pids) >= 2
    os.kill(engine.copies[1].process.pid, signal.SIGKILL)
    with pytest.raises(RunFailed, match=r"vLLM failed: its process ended \(log: \S+\); nothing already computed is lost"):
        engine.generate(requests, Sampling(max_new_tokens=4), lambda output: None)
    wait_until(lambda: not any(map(lives, pids)))
    for each in engine.copies:
        each.log.unlink(missing_ok=True)


@pytest.mark.slow
def test_failures_end_with_one_clear_line(folder: Path, requests: list[Request]) -> None:
    with pytest.raises(RunFailed, match=r"vLLM failed: \w+Error: [^\n]*User-specified max_model_len \(400\)[^\n]*\(log: \S+\)") as caught:
        VllmEngine(folder, settings(folder, max_model_len=400))
    log = Path(re.search(r"log: (\S+)\)", str(caught.value))[1])  # type: ignore[index]
    wait_until(lambda: "Traceback" in log.read_text())
    log.unlink()


@pytest.mark.slow
def test_texts_longer_than_vllm_makes_room_for_are_refused(
    folder: Path, requests: list[Request], engine: VllmEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "settings", Vllm(max_model_len=40))
    with pytest.raises(
        RunFailed, match=r"model\.vllm\.max_model_len=40 is too short: a prompt and max_new_tokens come to 9\d tokens; raise it to that"
    ):
        engine.generate(requests, Sampling(max_new_tokens=80), lambda output: None)


PARENT = """
import sys
from pathlib import Path
from cotexp import signals
from cotexp.inference.engine import Request
from cotexp.inference.vllm import VllmEngine
from cotexp.settings.models import PretrainedModel, Vllm
from cotexp.settings.sampling import Sampling

def main():
    folder = sys.argv[1]
    engine = VllmEngine(Path(folder), PretrainedModel(path=folder, engine="vllm", vllm=Vllm(enforce_eager=True, cpu_cache_gib=0.25)))
    requests = [Request(str(number), "How many? " * (number % 5)) for number in range(1000)]
    print(engine.copies[0].process.pid, flush=True)
    with signals.handled():
        engine.generate(requests, Sampling(max_new_tokens=60), lambda output: print(output.id, flush=True))

if __name__ == "__main__":
    main()
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_copies_that_write_end_with_the_process_that_started_them(folder: Path, number: signal.Signals, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCUMENTED_VLLM_SLEEP", "0.05")
    own: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(folder)], **own)  # type: ignore[call-overload]
    pids = family(int(parent.stdout.readline()))
    assert parent.stdout.readline(), "a text has ended"
    parent.send_signal(number)
    written = parent.communicate()[0].split()
    assert len(written) < 900
    wait_until(lambda: not any(map(lives, pids)))
    assert parent.returncode == (-signal.SIGKILL if number == signal.SIGKILL else 128 + signal.SIGINT)


RUN = [
    *("tracking=none", "task.num_train=10", "task.num_validation=4", "task.num_test=4", "compressor.temperature=0", "compression.max_rounds=2"),
    *("trainer.tuning=lora", "trainer.accelerator=cpu", "trainer.precision=float32", "trainer.max_epochs=1", "trainer.batch_size=4"),
    *("teacher.max_new_tokens=128", "compressor.max_new_tokens=128", "evaluation.max_new_tokens=64"),
    *("evaluation.modes=[compress]", "evaluation.latency_questions=2", "evaluation.latency_batch_size=2", "scoring.perplexity_chains=0"),
]
OWN = [f"{role}.vllm.{setting}" for role in ("model", "compressor.model") for setting in ("enforce_eager=true", "cpu_cache_gib=0.25")]


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
def test_a_whole_run_with_adapters_writes_the_texts_that_it_writes_with_the_local_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Copy] = []
    begin = Copy.__init__

    def noted(self: Copy, arguments: dict[str, Any], environment: dict[str, str]) -> None:
        self.arguments = arguments  # type: ignore[attr-defined]
        started.append(self)
        begin(self, arguments, environment)

    monkeypatch.setattr(Copy, "__init__", noted)
    local, own = run(tmp_path, "model.device=cpu", "compressor.model.device=cpu")
    assert started == []
    result, texts = run(tmp_path, "model.engine=vllm", "compressor.model.engine=vllm", *OWN)
    assert texts == own
    assert {name.split("/")[0] for name, rows in texts.items() if rows} == {"rationales", "rounds", "predictions"}
    assert result.folder != local.folder
    clock = ("seconds", "latency", "training/")
    assert {name for name, value in local.metrics.items() if result.metrics[name] != value and not any(each in name for each in clock)} == set()
    assert all(result.metrics[f"eval/compress/latency_seconds_{each}"] > 0 for each in ("batch1", "batchN"))
    folders = [Path(each.arguments["model"]) for each in started]  # type: ignore[attr-defined]
    assert [each.parent.name for each in folders] == ["shipped", "shipped", "merged"], "one engine follows the other"
    assert not (folders[-1] / "adapter_config.json").exists()
    gc.collect()
    assert not any(lives(each.process.pid) for each in started)
