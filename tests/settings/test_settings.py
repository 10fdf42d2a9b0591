"""Bounds and contradictions are refused by name, all at once; the run key holds what can change a result and nothing else."""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cotexp import compressions, compressors, selections, tasks, teachers
from cotexp.compressions import rewriting
from cotexp.compressions.c3ot import C3ot
from cotexp.compressions.macc import Macc
from cotexp.compressions.prompt_only import PromptOnly
from cotexp.compressions.single_round import SingleRound
from cotexp.compressions.tokenskip import TokenSkip
from cotexp.compressions.truncate import Truncation
from cotexp.compressors.base import Compressor
from cotexp.compressors.generating import ApiCompressor, LocalCompressor, SelfCompressor
from cotexp.config import command_line, slots
from cotexp.selections.base import Selection
from cotexp.settings import evaluation, models, root, sampling, scoring, tracking, training
from cotexp.settings import server as server_settings
from cotexp.settings.base import ConfigError, Section, keyed
from cotexp.settings.evaluation import Evaluation
from cotexp.settings.models import PretrainedModel, ScratchModel, Vllm
from cotexp.settings.root import Settings
from cotexp.settings.sampling import Sampling, sampling_key
from cotexp.settings.scoring import Scoring
from cotexp.settings.server import ApiServer
from cotexp.settings.training import Lora, Mixture, Trainer
from cotexp.store.specs import key_of
from cotexp.tasks import BenchmarkTask, CustomTask, GeneratedTask, GsmSymbolicTask, StoriesTask, Task
from cotexp.teachers.generating import ApiTeacher, LocalTeacher, SelfTeacher
from cotexp.teachers.recorded import RecordedTeacher

ROOT = Path(__file__).resolve().parent.parent.parent
SETTINGS = (evaluation, models, root, sampling, scoring, server_settings, tracking, training)
REGISTERED = [*compressions.COMPRESSIONS.values(), *teachers.TEACHERS.values(), *compressors.COMPRESSORS.values()]
NAMED = [*REGISTERED, *(each for module in (*SETTINGS, rewriting, selections, tasks) for each in vars(module).values())]
SECTIONS = [
    each for each in dict.fromkeys(each for each in NAMED if isinstance(each, type)) if issubclass(each, Section) and dataclasses.is_dataclass(each)
]


def problems_of(build: Callable[[], object]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        build()
    return caught.value.problems


def check(*overrides: str) -> Settings:
    return command_line.check_command_line(list(overrides), multirun=False)[0]


def key(*overrides: str) -> str:
    return key_of(keyed(check(*overrides)))


# --- fields ------------------------------------------------------------------------------------------------------------


def fields() -> Iterator[tuple[str, dataclasses.Field[Any]]]:
    for section in [*SECTIONS, Settings]:
        for each in dataclasses.fields(section):
            if section is not Settings or each.name not in slots.SECTIONS:
                yield f"{section.__name__}.{each.name}", each


def test_every_setting_has_one_sentence() -> None:
    sentences = {name: each.metadata.get("sentence", "") for name, each in fields()}
    assert len(sentences) > 100
    assert [name for name, sentence in sentences.items() if not re.fullmatch(r"\S.*\S\.", sentence)] == []


def test_every_settings_class_can_be_chosen() -> None:
    parts_of_others = {Compressor, Lora, Sampling, rewriting.Rewriting, Task, GeneratedTask, Vllm, ApiServer}
    chosen = {section for schemas in slots.SECTIONS.values() for section in schemas.values()}
    assert set(SECTIONS) - parts_of_others == chosen


def test_the_settings_that_cannot_change_a_result_are_these() -> None:
    unkeyed = {name for name, each in fields() if not each.metadata.get("keyed", True)}
    model = {"name", "path", "revision", "device", "devices", "license", "engine", "compile", "max_batch_tokens", "vllm"}
    trainer = {"name", "checkpoint_every_seconds", "micro_batch_size", "strategy", "devices", "accelerator", "gradient_checkpointing"}
    trainer |= {"max_batch_tokens", "padding_free", "frozen_dtype"}  # the last is in keys by what it means
    trainer |= {"num_nodes", "node_rank", "main_address", "main_port"}
    samplers = {"Sampling", "Evaluation", *(f"{kind}{role}" for kind in ("Self", "Local", "Api") for role in ("Teacher", "Compressor"))}
    server = {"base_url", "api_key_env", "input_price", "output_price", "max_cost", "timeout", "max_attempts", "token_limit_field", "headers_env"}
    assert unkeyed == {
        "Settings.baseline",
        "Settings.compress_only",
        "Settings.name",
        "Settings.plan",
        "NoTracking.name",
        "Paths.outputs",
        "Paths.data",
        "BenchmarkTask.revision",
        *(f"CustomTask.{name}" for name in ("file", "validation_file", "test_file")),
        *(f"{section}.few_shot_file" for section in ("Task", "GeneratedTask", "StoriesTask", "GsmSymbolicTask", "BenchmarkTask", "CustomTask")),
        *(f"{section}.rounds" for section in ("SelfCompressor", "LocalCompressor", "ApiCompressor")),
        *(f"ApiServer.{name}" for name in server),
        *(f"{section}.{name}" for section in ("PretrainedModel", "GgufModel", "ScratchModel") for name in model),
        *(f"Vllm.{name}" for name in ("tensor_parallel_size", "data_parallel_size", "gpu_memory_utilization", "max_model_len")),
        *("Vllm.cpu_cache_gib", "Vllm.enforce_eager"),
        *(f"RecordedTeacher.{name}" for name in ("files", "questions_file", "num_samples")),
        *(f"RecordedTeacher.{name}_field" for name in ("id", "question", "text", "finish_reason", "source")),
        *(f"RecordedCompressor.{name}" for name in ("files", "questions_file", "rounds", "batch_size")),
        *(f"RecordedCompressor.{name}_field" for name in ("id", "question", "text", "finish_reason", "round", "sample")),
        "Scoring.max_batch_tokens",
        *("Scoring.perplexity_chains", "Scoring.answer_perplexity"),
        "TokenSkip.classifier",
        "Selection.name",
        *(f"Trainer.{name}" for name in trainer),
        *(f"{section}.batch_size" for section in samplers),
        *(f"WandbTracking.{name}" for name in ("name", "project", "entity", "mode", "tags", "notes", "job_type", "upload", "finish_seconds")),
        *("WandbTracking.system_metrics", "WandbTracking.console"),
        *(f"MlflowTracking.{name}" for name in ("name", "experiment", "uri", "tags", "notes", "upload", "finish_seconds")),
    }


# --- bounds ------------------------------------------------------------------------------------------------------------

OUTSIDE: list[tuple[type, str, Any, str]] = [
    (StoriesTask, "num_train", 0, "at least 1"),
    (StoriesTask, "num_test", -3, "at least 1"),
    (StoriesTask, "max_operations", 9, "[1, 8]"),
    (StoriesTask, "max_value", 9, "[10, 99]"),
    (StoriesTask, "max_operand", 51, "[2, 50]"),
    (StoriesTask, "seed", -1, "at least 0"),
    (BenchmarkTask, "few_shot", 65, "[0, 64]"),
    (BenchmarkTask, "num_test", 0, "at least 1"),
    (CustomTask, "num_validation", 0, "at least 1"),
    (CustomTask, "answer_type", "number", "one of integer, decimal, latex, choice, boolean"),
    (PretrainedModel, "dtype", "float16", "one of float32, bfloat16"),
    (PretrainedModel, "device", "gpu", "one of auto, cpu, cuda, mps"),
    (ScratchModel, "vocab_size", 299, "at least 300"),
    (ScratchModel, "max_length", 63, "at least 64"),
    (ScratchModel, "path", "elsewhere", "one of scratch"),
    (SelfTeacher, "temperature", -0.1, "[0, 5]"),
    (SelfCompressor, "temperature", 5.1, "[0, 5]"),
    (LocalCompressor, "max_new_tokens", 0, "at least 1"),
    (Truncation, "ratio", 0.0, "greater than 0"),
    (Truncation, "ratio", 1.01, "at most 1"),
    (TokenSkip, "ratios", [0.5, 1.5], "at most 1"),
    (TokenSkip, "ratios", [0.5, 0.0], "greater than 0"),
    (TokenSkip, "importance", "perplexity", "one of surprisal, llmlingua2"),
    (Macc, "max_rounds", 0, "at least 1"),
    (Macc, "stop", "rebounds", "did you mean 'rebound'?"),
    (SingleRound, "prompt_answer", "teacher", "one of model, gold"),
    (LocalTeacher, "num_samples", 0, "at least 1"),
    (RecordedTeacher, "num_samples", 0, "at least 1"),
    (Scoring, "dtype", "float16", "one of float32, bfloat16"),
    (Scoring, "max_batch_tokens", 63, "at least 64"),
    (PretrainedModel, "engine", "vlm", "did you mean 'vllm'?"),
    (PretrainedModel, "max_batch_tokens", 0, "at least 1"),
    (Vllm, "tensor_parallel_size", 0, "at least 1"),
    (Vllm, "data_parallel_size", 0, "at least 1"),
    (Vllm, "gpu_memory_utilization", 1.01, "at most 1"),
    (Vllm, "max_model_len", 15, "at least 16"),
    (Selection, "diversity", 0.0, "greater than 0"),
    (Selection, "diversity", 1.01, "at most 1"),
    (Selection, "order", "lowest_rdd", "did you mean 'lowest_rd'?"),
    (Selection, "k", 0, "at least 1"),
    (Selection, "rd", "hiden", "did you mean 'hidden'?"),
    (Selection, "max_rationales", 0, "at least 1"),
    (Selection, "max_tokens", 0, "at least 1"),
    (Selection, "validation", "none", "one of all, correct"),
    (Mixture, "full_ratio", 1.5, "[0, 1]"),
    (Mixture, "rewrite_ratio", 8.5, "[0, 8]"),
    (Lora, "rank", 0, "at least 1"),
    (Lora, "dropout", 0.95, "[0, 0.9]"),
    (Trainer, "learning_rate", 0.0, "greater than 0"),
    (Trainer, "learning_rate", 5.0, "at most 1"),
    (Trainer, "max_epochs", 0.0, "greater than 0"),
    (Trainer, "warmup_ratio", 1.2, "[0, 1]"),
    (Trainer, "weight_decay", -0.01, "at least 0"),
    (Trainer, "micro_batch_size", 0, "at least 1"),
    (Trainer, "precision", "bf16", "one of float32, bfloat16"),
    (Evaluation, "modes", ["base", "ful"], "did you mean 'full'?"),
    (Evaluation, "latency_batch_size", 0, "at least 1"),
    (Evaluation, "truncate_ratio", 0.0, "greater than 0"),
    (Evaluation, "truncate_ratio", 1.1, "at most 1"),
    (Evaluation, "ratio", 0.0, "greater than 0"),
    (Evaluation, "num_samples", 0, "at least 1"),
    (Evaluation, "temperature", 5.5, "[0, 5]"),
]


@pytest.mark.parametrize(("section", "name", "value", "rule"), OUTSIDE, ids=lambda each: getattr(each, "__name__", str(each)))
def test_a_value_outside_its_bounds_is_refused_with_rule_and_value(section: type, name: str, value: Any, rule: str) -> None:
    problem = next(each for each in problems_of(lambda: section(**{name: value})) if each.startswith(f"{name} "))
    assert rule in problem
    assert problem.endswith(f"got {value[-1] if isinstance(value, list) else value!r}")


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [
        (StoriesTask, "max_value", 10),
        (StoriesTask, "max_value", 99),
        (SelfTeacher, "temperature", 0.0),
        (SelfTeacher, "temperature", 5.0),
        (Truncation, "ratio", 1.0),
        (Mixture, "full_ratio", 0.0),
        (Lora, "dropout", 0.9),
        (Trainer, "learning_rate", 1.0),
        (Trainer, "warmup_ratio", 0.0),
        (Macc, "max_rounds", 1),
        (Evaluation, "modes", ["compress"]),
    ],
    ids=lambda each: getattr(each, "__name__", str(each)),
)
def test_a_value_on_its_bound_is_taken(section: type, name: str, value: Any) -> None:
    assert getattr(section(**{name: value}), name) == value


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("name", ["learning_rate", "max_epochs", "warmup_ratio", "weight_decay", "gradient_clip", "checkpoint_every_seconds"])
def test_a_number_that_is_not_finite_is_refused(name: str, value: float) -> None:
    assert problems_of(lambda: Trainer(**{name: value}))[0].startswith(f"{name} must ")


# --- contradictions within a section -----------------------------------------------------------------------------------


def server(**changes: Any) -> ApiServer:
    return ApiServer(**{"service": "s", "model": "m", "base_url": "https://a/v1", **changes})


CONTRADICTIONS: list[tuple[Callable[[], object], str]] = [
    (lambda: server(service=" "), "service must not be empty; got ' '"),
    (lambda: server(base_url="localhost:8000"), "base_url must begin with http:// or https:// and have no user name"),
    (lambda: server(base_url="https://me:secret@a/v1"), "base_url must begin with http:// or https:// and have no user name, password"),
    (lambda: server(base_url="https://a/v1?key=secret"), "base_url must begin with http:// or https:// and have no user name, password"),
    (lambda: server(api_key_env="sk-secret"), "api_key_env must name an environment variable in capitals, such as OPENAI_API_KEY"),
    (lambda: server(max_cost=1.0, input_price=1.0), "max_cost needs input_price and output_price; got max_cost=1.0 without both"),
    (lambda: server(extra_body='{"headers": {"api_key": "secret"}, "n": 2}'), "extra_body must contain no key, password or header"),
    (lambda: server(extra_body="{"), "extra_body must be a JSON object (Expecting property name"),
    (lambda: server(extra_body="[1]"), "extra_body must be a JSON object; got a JSON "),
    (lambda: server(extra_body='{"n": 2, "top_p": 1}'), "extra_body must not contain n, which other settings decide"),
    (lambda: ApiTeacher(temperature=0.0), "num_samples must be 1 at temperature 0, where all samples are equal; got 8"),
    (lambda: ApiTeacher(server=server(extra_body='{"top_p": 0.9}'), top_p=0.8), "server.extra_body must leave top_p to the setting of that name"),
    (lambda: ApiCompressor(server=server(extra_body='{"min_p": 0.9}'), min_p=0.8), "server.extra_body must leave min_p to the setting of that name"),
    (lambda: SelfTeacher(top_p=0.9), "top_p needs a temperature above 0; got top_p=0.9 with temperature=0"),
    (lambda: LocalCompressor(min_p=0.1, temperature=0.0), "min_p needs a temperature above 0; got min_p=0.1 with temperature=0"),
    (lambda: Evaluation(top_k=5), "top_k needs a temperature above 0; got top_k=5 with temperature=0"),
    (lambda: PretrainedModel(path="a", chat_template_kwargs="{"), "chat_template_kwargs must be a JSON object of values by name"),
    (lambda: PretrainedModel(path="a", chat_template_kwargs='["x"]'), "chat_template_kwargs must be a JSON object of values by name"),
    (lambda: PretrainedModel(path="a", chat_template_kwargs='{"a b": 1}'), "chat_template_kwargs must be a JSON object of values by name"),
    (lambda: PretrainedModel(path="a", chat_template_kwargs='{"messages": []}'), "chat_template_kwargs must be a JSON object of values by name"),
    (lambda: StoriesTask(min_operations=4, max_operations=3), "min_operations must not exceed max_operations (3); got 4"),
    (lambda: StoriesTask(prompt="Solve this."), "prompt must contain {question}"),
    (lambda: StoriesTask(num_test=None), "num_test must be a number, because stories generates its questions; got None"),
    (lambda: GsmSymbolicTask(num_train=None), "num_train must be a number, because gsm_symbolic generates its questions; got None"),
    (lambda: BenchmarkTask(name="gsm8k", train=[]), "train must name at least one task; got []"),
    (lambda: BenchmarkTask(name="gsm8k", train=["svamp", "svamp"]), "train must not repeat; got ['svamp', 'svamp']"),
    (lambda: BenchmarkTask(name="gsm8k", few_shot_file="a.jsonl"), "few_shot_file is read only with few_shot above 0; got 'a.jsonl'"),
    (lambda: CustomTask(file="a", name="my/questions"), "name must be one word"),
    (lambda: CustomTask(file="a", answer_type="choice"), "options_field must be given with answer_type=choice; got None"),
    (lambda: CustomTask(file="a", answer_type="choice", options_field="options"), "prompt must contain {options} with answer_type=choice"),
    (
        lambda: CustomTask(file="a", options_field="options"),
        "options_field is read only with answer_type=choice; got 'options' with answer_type=decimal",
    ),
    (lambda: CustomTask(file="a", prompt="{question} {answer}"), "prompt allows only options, question in braces"),
    (lambda: StoriesTask(prompt="{question} \\boxed{}"), "prompt allows only options, question in braces"),
    (lambda: StoriesTask(prompt="{question"), "prompt must double every brace"),
    (lambda: StoriesTask(prompt="{question:d}"), "prompt "),
    (lambda: StoriesTask(prompt="{question!x}"), "prompt "),
    (lambda: ScratchModel(hidden_size=30, num_heads=4), "hidden_size must be a multiple of num_heads (4); got 30"),
    (lambda: SelfTeacher(num_samples=2), "num_samples must be 1 at temperature 0"),
    (lambda: LocalTeacher(temperature=0.0), "num_samples must be 1 at temperature 0, where all samples are equal; got 8"),
    (lambda: RecordedTeacher(files=[]), "files must name at least one file; got []"),
    (lambda: RecordedTeacher(files=["a.jsonl", " "]), "files must name a file or folder; got ' '"),
    (lambda: RecordedTeacher(files=["a.jsonl"], questions_file=""), "questions_file must name a file or folder; got ''"),
    (lambda: Scoring(connector=" "), "connector must not be blank; got ' '"),
    (lambda: Selection(equal_questions=True, k=2, diversity=0.4), "diversity must be at least common_diversity (0.5) with equal_questions; got 0.4"),
    (
        lambda: Selection(equal_questions=True, k=2, diversity=0.5, common_diversity=0.95),
        "diversity must be at least common_diversity (0.95) with equal_questions; got 0.5",
    ),
    (lambda: Selection(common_diversity=0.9), "common_diversity is read only with equal_questions=true; got 0.9"),
    (lambda: Selection(common_diversity=0), "common_diversity must be greater than 0"),
    (lambda: Selection(order="random"), "order is read only with k, max_rationales or max_tokens; got order=random without any"),
    (lambda: Selection(rd="masked"), "rd is read only with order=lowest_rd or highest_rd; got rd=masked with order=sample"),
    (lambda: Selection(equal_questions=True), "equal_questions needs k, the rationales that every question must have; got k=None"),
    (lambda: Macc(stop="fixed_k"), "fixed_k must be set when stop=fixed_k"),
    (lambda: Macc(stop="patience"), "patience must be set when stop=patience"),
    (lambda: Macc(stop="min_tokens"), "min_tokens must be set when stop=min_tokens"),
    (lambda: Macc(stop="rebound", fixed_k=3), "fixed_k is read only when stop=fixed_k"),
    (lambda: Macc(fixed_k=3, patience=2), "patience is read only when stop=patience; got patience=2 with stop=fixed_k"),
    (lambda: Macc(stop="fixed_k", fixed_k=11, max_rounds=10), "fixed_k must not exceed max_rounds (10); got 11"),
    (lambda: Macc(prompt="Shorten it."), "prompt must contain {rationale}"),
    (lambda: SingleRound(prompt="{rationale} {solution}"), "prompt allows only answer, budget, question, rationale"),
    (lambda: PromptOnly(instruction=" "), "instruction must not be blank; got ' '"),
    (lambda: C3ot(long_instruction=""), "long_instruction must not be blank; got ''"),
    (lambda: C3ot(instruction="Go.", long_instruction=" Go."), "long_instruction must differ from instruction, or nothing tells the two forms apart"),
    (lambda: C3ot(prompt="Shorten it."), "prompt must contain {rationale}"),
    (lambda: TokenSkip(ratios=[]), "ratios must name at least one ratio, and none twice; got []"),
    (lambda: TokenSkip(ratios=[0.5, 0.5]), "ratios must name at least one ratio, and none twice; got [0.5, 0.5]"),
    (lambda: TokenSkip(ratios=[1.0, 0.5]), "ratios must be below 1: chains in full form are mixture.full_ratio's share; got [1.0, 0.5]"),
    (lambda: Trainer(devices=0), "devices must be at least 1; got 0"),
    (lambda: Trainer(devices=2), "devices and num_nodes must be 1 unless trainer is ddp, fsdp or deepspeed; got devices=2, num_nodes=1"),
    (lambda: Trainer(strategy="ddp", devices=3), "batch_size must be a multiple of devices * num_nodes (3); got 32"),
    (
        lambda: Trainer(frozen_dtype="bfloat16", precision="bfloat16", tuning="full"),
        "frozen_dtype=bfloat16 needs tuning=lora and precision=bfloat16; got tuning=full and precision=bfloat16",
    ),
    (lambda: Evaluation(modes=[]), "modes must name at least one of base, truncate, full, compress; got []"),
    (lambda: Evaluation(modes=["full", "full"]), "modes must not repeat"),
    (lambda: Evaluation(tasks=[]), "tasks must name at least one task and must not repeat; got []"),
    (lambda: Evaluation(tasks=["gsm8k", "gsm8k"]), "tasks must name at least one task and must not repeat; got ['gsm8k', 'gsm8k']"),
    (lambda: Evaluation(truncate_ratio=0.5, temperature=0.7), "truncate_ratio needs temperature 0, at which a smaller budget only cuts the answer"),
    (lambda: Evaluation(num_samples=4), "num_samples must be 1 at temperature 0, at which all answers are equal; got 4"),
]


def test_settings_that_came_later_enter_a_key_only_if_they_are_set() -> None:
    later = {"top_k", "top_p", "min_p"}
    for section in (SelfTeacher(), LocalTeacher(), SelfCompressor(), Evaluation()):
        assert not later & keyed(section).keys()
    assert keyed(LocalTeacher(top_p=0.9)).items() >= {"top_p": 0.9, "temperature": 0.7}.items()
    assert sampling_key(Evaluation(temperature=0.6, top_k=3)) == {"temperature": 0.6, "top_k": 3, "max_new_tokens": 512, "seed": 0}
    assert "chat_template_kwargs" not in keyed(PretrainedModel(path="a", chat_template_kwargs="{ }"))
    assert keyed(PretrainedModel(path="a", chat_template_kwargs='{"b":1, "a" :2}'))["chat_template_kwargs"] == '{"a": 2, "b": 1}'
    assert key("model.chat_template_kwargs='{\"enable_thinking\": false}'") != key() == key("evaluation.top_p=1.0")


@pytest.mark.parametrize(("build", "beginning"), CONTRADICTIONS, ids=[beginning for _, beginning in CONTRADICTIONS])
def test_two_fields_that_contradict_each_other_are_refused(build: Callable[[], object], beginning: str) -> None:
    assert [each for each in problems_of(build) if each.startswith(beginning)]


def test_what_may_hold_a_secret_is_not_repeated() -> None:
    for build in (lambda: server(base_url="https://me:secret@a/v1"), lambda: server(api_key_env="sk-secret")):
        assert "secret" not in problems_of(build)[0]


def test_more_fields_of_a_request_have_one_spelling() -> None:
    assert server(extra_body='{"b":1, "a" :2}').extra_body == server(extra_body='{"a": 2, "b": 1}').extra_body == '{"a": 2, "b": 1}'


def test_answers_alone_and_answers_beside_rationales_have_shares_and_modes_of_their_own() -> None:
    found = {name: check(f"compression={name}") for name in ("answer_only", "step_by_step", "none", "macc")}
    shares = {name: (each.mixture.full_ratio, each.mixture.full_loss_ratio) for name, each in found.items()}
    assert shares == {"answer_only": (0.0, None), "step_by_step": (0.5, 0.5), "none": (1.0, None), "macc": (0.5, None)}
    assert found["answer_only"].evaluation.modes == ["base", "compress"], "it answers directly, and was never shown a rationale"
    assert found["step_by_step"].evaluation.modes == ["base", "full", "compress"]
    assert check("compression=step_by_step", "mixture.full_loss_ratio=0.2").mixture.full_loss_ratio == 0.2
    assert "full_loss_ratio" not in keyed(found["macc"].mixture), "earlier entries of the store remain valid"


def test_settings_beside_a_contradiction_are_taken() -> None:
    assert SelfTeacher(num_samples=2, temperature=0.5).num_samples == 2
    assert Evaluation(num_samples=2, temperature=0.5).num_samples == 2
    assert CustomTask(file="a", answer_type="choice", options_field="o", prompt="{question} {options}").options_field == "o"
    assert BenchmarkTask(name="gsm8k", few_shot=2, few_shot_file="a.jsonl").few_shot == 2
    assert Selection(order="random", max_tokens=1000).k is None
    assert Selection(order="highest_rd", rd="hidden", k=1, equal_questions=True).needs_scores
    assert LocalTeacher(num_samples=1, temperature=0.0).temperature == 0
    assert Macc(stop="fixed_k", fixed_k=10).fixed_k == 10
    assert [Macc(**number).stop for number in ({}, {"fixed_k": 2}, {"patience": 1}, {"min_tokens": 9})] == [
        "rebound",
        "fixed_k",
        "patience",
        "min_tokens",
    ]
    assert Trainer(strategy="ddp", devices=2, micro_batch_size=4).devices == 2
    assert StoriesTask(prompt="{question} in \\boxed{{}}").prompt.format(question="Q") == "Q in \\boxed{}"


# --- contradictions between sections -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "beginning"),
    [
        (["compression=none", "evaluation.modes=[compress]"], "evaluation.modes must not contain 'compress' with compression=none"),
        (["compression=none", "mixture.full_ratio=0.5"], "mixture.full_ratio must be 1 with compression=none"),
        (["mixture.full_ratio=1"], "mixture.full_ratio must be below 1 with compression=macc"),
        (["compression=answer_only", "mixture.full_ratio=0.5"], "mixture.full_ratio must be 0 with compression=answer_only"),
        (["compression=answer_only", "evaluation.modes=[base,full]"], "evaluation.modes must not contain 'full' with compression=answer_only"),
        (["compression=step_by_step", "mixture.full_ratio=1"], "mixture.full_ratio must be below 1 with compression=step_by_step"),
        (["compression=answer_only", "mixture.full_loss_ratio=0.5"], "mixture.full_loss_ratio needs training examples of both forms"),
        (["compression=none", "mixture.full_loss_ratio=0.5"], "mixture.full_loss_ratio needs training examples of both forms"),
        (["compression=step_by_step", "mixture.full_ratio=0"], "mixture.full_ratio must be above 0 with compression=step_by_step"),
        (["mixture.full_ratio=0", "mixture.full_loss_ratio=0.5"], "mixture.full_loss_ratio needs training examples of both forms"),
        (["compression=answer_only", "scoring.connector=So ", "scoring.answer=plain"], "scoring.connector and scoring.answer must make answers"),
        (["compression=step_by_step", "task=aqua", "scoring.connector=Not "], "scoring.connector and scoring.answer must make answers"),
        (["mixture.full_loss_ratio=0"], "mixture.full_loss_ratio must be greater than 0; got 0"),
        (["mixture.full_loss_ratio=1"], "mixture.full_loss_ratio must be below 1, which would leave nothing of the loss"),
        (["mixture.rewrite_ratio=1"], "mixture.rewrite_ratio must be 0 unless compression=reference"),
        (["compression=reference"], "teacher must be 'reference' with compression=reference"),
        (["compression=reference", "teacher=reference", "task=gsm8k"], "compression=reference needs solutions of several lengths"),
        (["experiment=tiny", "task=stories", "teacher=self"], "teacher must not be 'self' with a model made from scratch"),
        (["experiment=tiny", "compression=macc", "compressor=self"], "compressor must not be 'self' with a model made from scratch"),
        (["experiment=tiny", "evaluation.modes=[base,full]"], "evaluation.modes must not contain 'base' with a model made from scratch"),
        (["experiment=tiny", "trainer.tuning=lora"], "trainer.tuning must be 'full' with a model made from scratch"),
        (["evaluation.ratio=0.5"], "evaluation.ratio is used only with compression=tokenskip; got 0.5 with compression=macc"),
        (["compression=tokenskip", "evaluation.ratio=0.4"], "evaluation.ratio must be one that compression.ratios trains (0.9, 0.8, 0.7, 0.6, 0.5)"),
        (["experiment=tiny", "compression=tokenskip"], "compression.importance must not be 'surprisal' with a model made from scratch"),
        (["compression=be_concise", "evaluation.modes=[base,full]"], "evaluation.modes must not contain 'full' with compression=prompt_only"),
        (["compression=be_concise", "experiment=tiny"], "compression must not be 'prompt_only' with a model made from scratch"),
        (["evaluation.modes=[base,truncate]"], "evaluation.truncate_ratio must be set if evaluation.modes contains 'truncate'; got None"),
        (
            ["evaluation.truncate_ratio=0.5", "evaluation.modes=[truncate]"],
            "evaluation.modes must contain 'base' and 'truncate' with evaluation.trunc",
        ),
        (["evaluation.truncate_ratio=0.5", "experiment=tiny"], "evaluation.modes must contain 'base' and 'truncate' with evaluation.truncate_ratio"),
        (["seed=-1"], "seed must be at least 0; got -1"),
    ],
)
def test_two_sections_that_contradict_each_other_are_refused(overrides: list[str], beginning: str) -> None:
    assert [each for each in problems_of(lambda: check(*overrides)) if each.startswith(beginning)]


@pytest.mark.slow
def test_what_is_left_open_follows_from_the_other_settings() -> None:
    both, plain, scratch = check(), check("compression=none"), check("experiment=tiny")
    assert (both.mixture.full_ratio, both.evaluation.modes) == (0.5, ["base", "full", "compress"])
    assert (plain.mixture.full_ratio, plain.evaluation.modes) == (1.0, ["base", "full"])
    assert (scratch.mixture.full_ratio, scratch.evaluation.modes) == (1.0, ["full"])
    told, cut = check("compression=be_concise"), check("evaluation.truncate_ratio=0.5")
    assert (told.mixture.full_ratio, told.evaluation.modes, told.trains) == (1.0, ["base", "compress"], False)
    assert (cut.evaluation.modes, cut.trains) == (["base", "truncate", "full", "compress"], True)
    pruned, few = check("compression=tokenskip"), check("compression=tokenskip", "compression.ratios=[0.8]", "mixture.full_ratio=0.25")
    assert (pruned.mixture.full_ratio, pruned.evaluation.ratio) == (pytest.approx(1 / 6), 0.5), "each of six forms as often as the others"
    assert (few.mixture.full_ratio, few.evaluation.ratio, both.evaluation.ratio) == (0.25, 0.8, None)


# --- tasks that others name --------------------------------------------------------------------------------------------


def test_training_and_evaluation_tasks_follow_from_the_task_alone() -> None:
    alone, only_evaluated, both = check("task=gsm8k"), check("task=aime24"), check("task=gsm8k", "task.train=[svamp,gsm8k]")
    assert (alone.task.train, alone.evaluation.tasks) == (["gsm8k"], ["gsm8k"])
    assert (only_evaluated.task.train, only_evaluated.evaluation.tasks) == (["math500"], ["aime24"])
    assert (both.task.train, both.evaluation.tasks) == (["svamp", "gsm8k"], ["svamp", "gsm8k"])


def test_a_named_task_has_its_own_prompt_and_the_counts_of_the_main_one() -> None:
    chosen = check("task=gsm8k", "task.train=[gsm8k,aqua]", "evaluation.tasks=[strategyqa]", "task.num_train=20", "task.num_test=7")
    assert sorted(chosen.tasks) == ["aqua", "gsm8k", "strategyqa"]
    assert chosen.tasks["gsm8k"] is chosen.task
    for name in ("aqua", "strategyqa"):
        assert (chosen.tasks[name].num_train, chosen.tasks[name].num_test) == (20, 7)
        assert chosen.tasks[name].prompt != chosen.task.prompt
    assert "{options}" in chosen.tasks["aqua"].prompt


def test_a_procedural_task_that_others_name_keeps_its_own_counts_only_where_none_are_given() -> None:
    few = check("experiment=none", "task=gsm8k", "evaluation.tasks=[stories]", "task.num_test=7").tasks["stories"]
    assert (few.num_train, few.num_test) == (StoriesTask().num_train, 7)


def test_counts_of_a_procedural_main_task_do_not_cut_a_benchmark() -> None:
    assert check("task=stories", "evaluation.tasks=[gsm8k]").tasks["gsm8k"].num_test is None


def test_a_task_that_needs_settings_of_its_own_must_be_the_main_one() -> None:
    assert problems_of(lambda: check("task=gsm8k", "evaluation.tasks=[custom]")) == [
        "evaluation.tasks: task custom needs a file, which only the main task can be given; choose it by task=custom"
    ]


def test_unknown_tasks_are_reported_by_the_setting_that_names_them_all_at_once() -> None:
    problems = problems_of(lambda: check("task=gsm8k", "task.train=[gsm9k]", "evaluation.tasks=[gsm8k,swamp]"))
    assert [each.split(" must name tasks: ")[0] for each in sorted(problems)] == ["evaluation.tasks", "task.train"]
    assert [each.split("; got ")[1] for each in sorted(problems)] == ["'swamp' (did you mean 'svamp'?)", "'gsm9k' (did you mean 'gsm8k'?)"]


# --- everything at once ------------------------------------------------------------------------------------------------


def test_one_section_reports_bounds_and_contradictions_together() -> None:
    problems = problems_of(lambda: Trainer(learning_rate=0.0, warmup_ratio=2.0, devices=2, batch_size=33))
    assert [each.split()[0] for each in problems] == ["learning_rate", "warmup_ratio", "devices", "batch_size"]


def test_mistakes_of_all_kinds_and_sections_are_reported_together() -> None:
    wrong = {
        "seeed=1": "seeed is not a setting (did you mean 'seed'?)",
        "trainer.batch_sise=8": "trainer.batch_sise is not a setting (did you mean 'batch_size'?)",
        "trainer.learning_rate=0": "trainer.learning_rate must be greater than 0; got 0.0",
        "compression.max_rounds=0": "compression.max_rounds must be at least 1; got 0",
        "task.num_test=many": "task.num_test must be an integer or null; got 'many'",
        "+mixture.share=1": "mixture.share is not a setting",
        "~evaluation.latency": "~evaluation.latency: settings cannot be deleted",
        "seed=-1": "seed must be at least 0; got -1",
    }
    problems = problems_of(lambda: check(*wrong))
    assert [text for text in wrong.values() if not any(each.startswith(text) for each in problems)] == []
    assert len(problems) == len(wrong)


def test_the_mistakes_of_every_point_of_a_grid_are_reported_once() -> None:
    problems = problems_of(lambda: command_line.check_command_line(["seed=0,-1", "trainer.batch_size=0,8", "task.num_test=0"], multirun=True))
    assert sorted(problems) == sorted(set(problems))
    assert {each.split()[0] for each in problems} == {"seed", "trainer.batch_size", "task.num_test"}


# --- the run key -------------------------------------------------------------------------------------------------------


def test_the_order_of_the_command_line_does_not_change_the_key() -> None:
    overrides = ["compression=single_round", "seed=3", "trainer.batch_size=16", "task.num_train=50"]
    assert len({key(*order) for order in itertools.islice(itertools.permutations(overrides), 0, 24, 5)}) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["trainer.learning_rate=1e-3"], ["trainer.learning_rate=0.001"]),
        (["trainer.max_epochs=2"], ["trainer.max_epochs=2.0"]),
        (["seed=0"], []),
        (["seed=5", "seed=2"], ["seed=2"]),
        (["experiment=macc/quickstart"], []),
        (["mixture.full_ratio=0.5"], ["mixture.full_ratio=null"]),
        (["evaluation.modes=[base,full,compress]"], []),
        (["evaluation.modes=[full,base]"], ["evaluation.modes=[base,full]"]),
        (["task.prompt='{question}'"], ['task.prompt="{question}"']),
        (["++seed=2"], ["seed=2"]),
    ],
)
def test_the_same_settings_have_one_key_however_they_are_typed(one: list[str], other: list[str]) -> None:
    assert key(*one) == key(*other)


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        ["paths.outputs=/elsewhere"],
        ["paths.data=/elsewhere"],
        ["trainer=ddp"],
        ["trainer=ddp", "trainer.devices=4"],
        ["trainer.micro_batch_size=4"],
        ["trainer.accelerator=cpu"],
        ["trainer.checkpoint_every_seconds=1"],
        ["tracking=none"],
        ["tracking=mlflow", "tracking.uri=http://127.0.0.1:5000"],
        ["tracking.project=other", "tracking.tags=[a,b]"],
        ["name=another"],
        ["plan=true"],
        ["teacher.batch_size=1"],
        ["compressor.batch_size=1"],
        ["evaluation.batch_size=1"],
        ["model.name=another"],
        ["model.device=cpu"],
        ["model.license=other"],
        ["task.train=[stories]"],
        ["evaluation.tasks=[stories]"],
    ],
    ids=" ".join,
)
def test_what_cannot_change_a_result_does_not_change_the_key(overrides: list[str]) -> None:
    assert key(*overrides) == key()


@pytest.mark.slow
def test_each_setting_that_can_change_a_result_makes_another_key() -> None:
    points: list[list[str]] = [
        [],
        ["seed=1"],
        ["task.seed=1"],
        ["task.num_train=1100"],
        ["task.prompt='{question}'"],
        ["model.dtype=bfloat16"],
        ["model.compress_token='<short>'"],
        ["model.system_prompt='Be brief.'"],
        ["model.system_prompt=''"],
        ["model.stop_tokens=['<|user|>']"],
        ["model.context_length=500"],
        ["teacher.max_new_tokens=100"],
        ["teacher.seed=1"],
        ["compressor=self"],
        ["compressor.temperature=0"],
        ["compressor.model.dtype=bfloat16"],
        ["compression=none"],
        ["compression=truncate"],
        ["compression=truncate", "compression.ratio=0.3"],
        ["compression=single_round"],
        ["compression=c3ot"],
        ["compression=c3ot", "compression.instruction=Hurry."],
        ["compression=answer_only"],
        ["compression=step_by_step"],
        ["compression=step_by_step", "mixture.full_loss_ratio=0.25"],
        ["mixture.full_loss_ratio=0.5"],
        ["compression=be_concise"],
        ["compression=abbreviate"],
        ["evaluation.truncate_ratio=0.5"],
        ["compression=tokenskip"],
        ["compression=tokenskip", "compression.ratios=[0.9,0.5]"],
        ["compression=tokenskip", "compression.importance=llmlingua2"],
        ["compression=tokenskip", "compression.protect=false"],
        ["compression=tokenskip", "evaluation.ratio=0.9"],
        ["compression.max_rounds=3"],
        ["compression.stop=fixed_k", "compression.fixed_k=2"],
        ["compression.stop=fixed_k", "compression.fixed_k=3"],
        ["mixture.full_ratio=0.25"],
        ["mixture.originals=correct"],
        ["trainer.learning_rate=2e-3"],
        ["trainer.batch_size=16"],
        ["trainer.tuning=lora"],
        ["trainer.tuning=lora", "trainer.lora.rank=4"],
        ["evaluation.max_new_tokens=100"],
        ["evaluation.modes=[compress]"],
        ["evaluation.latency=false"],
        ["evaluation.temperature=0.5"],
        ["evaluation.temperature=0.5", "evaluation.seed=1"],
        ["evaluation.temperature=0.5", "evaluation.num_samples=2"],
        ["evaluation.tasks=[gsm8k]"],
        ["evaluation.tasks=[stories,gsm8k]"],
        ["task.train=[stories,gsm8k]"],
        ["task.few_shot=2"],
    ]
    keys = {" ".join(each): key(*each) for each in points}
    same = [(one, other) for one, other in itertools.combinations(keys, 2) if keys[one] == keys[other]]
    assert same == []


@pytest.mark.slow
def test_another_model_makes_another_run_and_the_same_model_elsewhere_the_same(random_model: Path, tmp_path: Path) -> None:
    """A key holds the weights, not where they lie; otherwise two models would share, and overwrite, one run folder."""
    moved, changed = tmp_path / "moved", tmp_path / "changed"
    shutil.copytree(random_model, moved)
    shutil.copytree(random_model, changed)
    weights = next(changed.glob("*.safetensors"))
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    planned = {folder: planned_run_key(folder, tmp_path / "outputs") for folder in (random_model, moved, changed)}
    assert planned[moved] == planned[random_model]
    assert planned[changed] != planned[random_model]


def planned_run_key(model: Path, outputs: Path) -> str:
    """The run key that a plan prints in its first line."""
    arguments = ["plan=true", f"model.path={model}", "compressor=self", "task.num_train=8", f"paths.outputs={outputs}", "tracking=none"]
    done = subprocess.run([sys.executable, "run.py", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    found = re.search(r"run ([0-9a-f]{12})", done.stdout)
    assert found, done.stdout
    return found.group(1)


def test_artifacts_to_upload_are_stages_of_the_flow_dataset_and_selection() -> None:
    assert check("tracking=wandb", "tracking.upload=[scores,selection,checkpoint]").tracking.upload == ["scores", "selection", "checkpoint"]
    (problem,) = problems_of(lambda: check("tracking=wandb", "tracking.upload=[grades]"))
    assert problem.startswith("tracking.upload must be one of dataset, texts, rationales, scores, ranks, rewrites, rounds, importances, perplexity, ")
    assert problem.endswith("got 'grades'")
