"""How many rows an engine gets at once, and which keys know what generates."""

from __future__ import annotations

from pathlib import Path

import pytest

from cotexp import flow
from cotexp.config import command_line
from cotexp.inference import engines
from cotexp.inference.vllm import ROWS_AT_ONCE
from cotexp.jobs import pipeline
from cotexp.jobs.engines import load_encoder, rows_at_once
from cotexp.settings import models
from cotexp.settings.base import ConfigError
from cotexp.settings.models import PretrainedModel, Vllm
from cotexp.settings.sampling import Sampling
from cotexp.stages.context import Context

WORDS = {name: "ten " * number for name, number in {"a": 1, "b": 2, "c": 4, "d": 40, "e": 41}.items()}


def context_of(outputs: Path, *overrides: str) -> Context:
    typed = ["task.num_train=8", "task.num_validation=2", "task.num_test=4", f"paths.outputs={outputs}", "tracking=none", *overrides]
    return pipeline.make_context(command_line.check_command_line(typed, multirun=False)[0], plan=True)


def test_a_batch_of_the_local_engine_keeps_to_its_tokens_and_its_rows(tmp_path: Path) -> None:
    context = context_of(tmp_path)
    length = {name: load_encoder(context).count(text) for name, text in WORDS.items()}
    limits, ids = Sampling(max_new_tokens=50, batch_size=64), list(WORDS)

    def rows(tokens: int, limits: Sampling = limits, expected: dict[str, int] | None = None) -> int:
        model = PretrainedModel(path="x", max_batch_tokens=tokens)
        return rows_at_once(context, model, limits, WORDS.__getitem__, expected.__getitem__ if expected else None)(ids)  # type: ignore[operator]

    assert rows(5 * (length["e"] + 50)) == 5
    assert rows(5 * (length["e"] + 50) - 1) == 4
    assert rows(4 * (length["d"] + 50) - 1) == 3, "rows times the longest, not the sum"
    assert rows(1) == 1, "one row is always taken"
    assert rows(10**9, Sampling(max_new_tokens=50, batch_size=2)) == 2
    assert [rows(3 * (length["c"] + 7) - less, expected={"a": 9, "b": 8, "c": 7, "d": 49, "e": 49}) for less in (0, 1)] == [3, 2]
    assert rows(3 * (length["b"] + 8), expected={"a": 1, "b": 8, "c": 1, "d": 500, "e": 500}) == 3
    assert rows(5 * (length["e"] + 50), expected=dict.fromkeys(ids, 10**6)) == 5, "no text is longer than max_new_tokens"


def test_engine_vllm_gets_many_rows_for_each_copy(tmp_path: Path) -> None:
    model = PretrainedModel(path="x", engine="vllm", vllm=Vllm(data_parallel_size=3))
    assert rows_at_once(context_of(tmp_path), model, Sampling(batch_size=2), WORDS.__getitem__) == 3 * ROWS_AT_ONCE


@pytest.mark.slow
@pytest.mark.parametrize("other", ["model.engine=vllm", "model.compile=true"])
def test_texts_of_another_engine_are_other_texts_and_likelihoods_are_the_same(tmp_path: Path, other: str) -> None:
    common = ("teacher=reference", "selection=morsd", "compression=none", "selection.k=1")
    own, its = (context_of(tmp_path, *common, *extra) for extra in ((), (other,)))
    before, after = flow.specs_of(own), flow.specs_of(its)
    changed = {name.split("/")[0] for name in before if before[name].key != after[name].key}
    assert changed == {"predictions", "grades", "latency"}, "the model is not trained again"
    assert pipeline.run_key(own) != pipeline.run_key(its)


@pytest.mark.slow
def test_how_an_engine_uses_the_machine_is_in_no_key(tmp_path: Path) -> None:
    own, its = context_of(tmp_path), context_of(tmp_path, "model.max_batch_tokens=100", "model.vllm.tensor_parallel_size=2")
    assert flow.specs_of(own) == flow.specs_of(its)
    assert pipeline.run_key(own) == pipeline.run_key(its)


@pytest.mark.slow
def test_a_model_that_says_nothing_of_its_own_keeps_the_keys_that_it_had_before_it_could(tmp_path: Path) -> None:
    checkpoint = flow.specs_of(context_of(tmp_path))["checkpoint"].description["model"]
    assert not {"system_prompt", "stop_tokens", "context_length"} & checkpoint.keys()
    told = flow.specs_of(context_of(tmp_path, "model.system_prompt=Hello"))["checkpoint"].description["model"]
    assert told == {**checkpoint, "system_prompt": "Hello"}


@pytest.mark.slow
def test_the_number_format_of_frozen_weights_is_in_the_key_where_it_is_not_float32(tmp_path: Path) -> None:
    def key(*overrides: str) -> tuple[str, str]:
        context = context_of(tmp_path, *overrides)
        return flow.specs_of(context)["checkpoint"].key, pipeline.run_key(context)

    lora, bfloat16 = "trainer.tuning=lora", "trainer.precision=bfloat16"
    assert key(lora, bfloat16) == key(lora, bfloat16, "trainer.frozen_dtype=bfloat16")
    assert not set(key(lora, bfloat16)) & set(key(lora, bfloat16, "trainer.frozen_dtype=float32"))
    for overrides in ([lora, "trainer.precision=float32"], [lora, bfloat16, "trainer.frozen_dtype=float32"], ["trainer.tuning=full", bfloat16]):
        assert "frozen_dtype" not in flow.specs_of(context_of(tmp_path, *overrides))["checkpoint"].description["trainer"], "keys as they were"


@pytest.mark.slow
def test_attention_is_in_the_keys_of_all_that_the_model_computes_once_it_is_chosen(tmp_path: Path) -> None:
    before, after = (flow.specs_of(context_of(tmp_path, *overrides)) for overrides in ([], ["model.attn_implementation=eager"]))
    assert {name.split("/")[0] for name in before if before[name].key != after[name].key} >= {"checkpoint", "predictions"}
    assert "attn_implementation" not in str([each.description for each in before.values()]), "keys as they were"


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ("device=mps", "device must be auto or cpu or cuda for engine=vllm, which runs on what its build is for; got mps"),
        ("devices=2", "devices must be 1 for engine=vllm, which divides texts by vllm.data_parallel_size; got 2"),
        ("attn_implementation=eager", "attn_implementation must be null for engine=vllm, which chooses by itself; got eager"),
        ("compile=true", "compile must be false for engine=vllm, which compiles unless vllm.enforce_eager=true; got true"),
    ],
)
def test_an_engine_names_the_settings_that_it_restricts(setting: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        command_line.check_command_line(["model.engine=vllm", f"model.{setting}"], multirun=False)
    assert caught.value.problems == [f"model.{problem}"]
    command_line.check_command_line([f"model.{setting}"], multirun=False)


def test_every_engine_that_can_be_chosen_can_be_loaded() -> None:
    assert engines.ENGINES.keys() == models.ENGINES.keys()
