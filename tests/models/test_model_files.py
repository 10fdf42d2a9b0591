"""Every file of conf/model composes and plans without a network; a random tiny model of its kind is fine-tuned, evaluated, exported, reloaded."""

from __future__ import annotations

import copy
import json
import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from families import FAMILIES
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

from cotexp import flow
from cotexp.commands.export import export_model
from cotexp.config import command_line, search_path
from cotexp.jobs import pipeline, planning
from cotexp.models import identity, loading
from cotexp.settings.base import ConfigError
from cotexp.settings.models import GgufModel, PretrainedModel
from cotexp.settings.root import Settings
from cotexp.stages import predictions
from cotexp.stages.context import Context

MakeFamily = Callable[[str], Path]

KIND_OF: dict[str, str] = {
    "smollm2_135m": "smollm2",
    "smollm2_360m": "smollm2",
    "smollm2_1_7b": "smollm2",
    "qwen2_5_0_5b": "qwen2_5",
    "qwen2_5_1_5b": "qwen2_5",
    "qwen2_5_3b": "qwen2_5",
    "qwen2_5_7b": "qwen2_5_untied",
    "llama_3_1_8b": "llama_3_1",
    "r1_distill_qwen_1_5b": "r1_distill",
    "r1_distill_qwen_7b": "r1_distill",
    "flan_t5_small": "flan_t5",
    "flan_t5_base": "flan_t5",
    "flan_t5_large": "flan_t5",
    "flan_t5_xl": "flan_t5",
    "smollm2_135m_gguf": "gguf",
    "gguf": "gguf",
    "hf": "smollm2",
    "tiny": "tiny",
    "tiny_student": "tiny",
}
"""File of conf/model -> the kind of model that stands for it here; scratch makes its own."""


FILES = sorted(path.stem for path in (search_path.CONF / "model").glob("*.yaml"))
FEW = ["task.num_train=8", "task.num_validation=2", "task.num_test=3"]
SMALL = ["experiment=none", "teacher=reference", "compression=truncate", "tracking=none", *FEW]
ONE_STEP = ["trainer.batch_size=16", "trainer.max_epochs=1", "trainer.num_validations=1", "trainer.learning_rate=1e-2", "trainer.accelerator=cpu"]
BRIEF = ["evaluation.max_new_tokens=12", "evaluation.latency=false", "model.dtype=float32", "model.device=cpu"]


@pytest.fixture(scope="module")
def settings() -> dict[str, Settings]:
    """The default run with each file."""
    needs = {"hf": ["model.path=Owner/A-Model"], "gguf": ["model.path=model.gguf"], "scratch": ["experiment=tiny"]}
    return {name: command_line.check_command_line([f"model={name}", *FEW, *needs.get(name, [])], multirun=False)[0] for name in FILES}


def test_every_file_is_here() -> None:
    assert set(FILES) == {*KIND_OF, "scratch"}


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_a_file_is_planned_without_a_network(name: str, settings: dict[str, Settings], family_folder: MakeFamily, tmp_path: Path) -> None:
    own = copy.deepcopy(settings[name])
    own.paths.outputs = str(tmp_path)
    assert own.model.name == name
    if isinstance(own.model, GgufModel):
        own.model.path = str(family_folder("gguf"))
    context = pipeline.make_context(own, plan=True)
    stages = planning.plan(context)
    assert "checkpoint" in [each.name for each in stages]
    on_hub = not isinstance(own.model, GgufModel) and name not in ("tiny", "tiny_student", "scratch")
    assert context.base.sha256.startswith(identity.NOT_DOWNLOADED) == on_hub
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", [each for each in FILES if each in KIND_OF and KIND_OF[each] not in ("gguf", "tiny")])
def test_a_model_that_cannot_be_had_is_named_in_one_line(name: str, settings: dict[str, Settings]) -> None:
    model = settings[name].model
    with pytest.raises(ConfigError) as caught:
        identity.find(model)
    (line,) = caught.value.problems
    assert line.count("\n") == 0
    assert line.startswith(f"model.path {model.path!r} is not a folder here and cannot be downloaded from the hub (")
    assert "check the name or give a folder" in line


@pytest.mark.slow
def test_large_models_generate_in_bfloat16_and_every_file_of_a_real_model_names_its_licence(settings: dict[str, Settings]) -> None:
    large = {name for name in FILES if settings[name].model.dtype == "bfloat16"}
    assert large - {"smollm2_135m_gguf"} == {name for name in FILES if name.endswith(("_1_5b", "_1_7b", "_3b", "_7b", "_8b", "_xl"))}
    assert {name for name in FILES if settings[name].model.license is None} == {"hf", "gguf", "scratch"}


@pytest.mark.slow
def test_what_a_model_is_told_besides_its_own_is_part_of_the_keys_of_its_texts(
    settings: dict[str, Settings], family_folder: MakeFamily, tmp_path: Path
) -> None:
    own = copy.deepcopy(settings["hf"])
    own.paths.outputs, own.model.path = str(tmp_path), str(family_folder("qwen2_5"))

    def keys(**told: Any) -> tuple[str, ...]:
        changed = copy.deepcopy(own)
        for name, value in told.items():
            setattr(changed.model, name, value)
        found = flow.specs_of(pipeline.make_context(changed, plan=True))
        return tuple(found[name].key for name in ("rationales/stories", "predictions/base/stories", "checkpoint"))

    told: list[dict[str, Any]] = [
        {},
        {"system_prompt": ""},
        {"system_prompt": "Be brief."},
        {"stop_tokens": ["<|im_start|>"]},
        {"context_length": 99},
    ]
    found = [keys(**each) for each in told]
    assert keys(license="mit") == found[0]
    assert all(len({each[stage] for each in found}) == len(found) for stage in range(3))


# --- fine-tuned, evaluated, exported, reloaded ----------------------------------------------------------------------------


class Run(NamedTuple):
    """A finished run and its export."""

    context: Context
    result: pipeline.Result
    export: Path


def run(kind: str, folder: Path, family_folder: MakeFamily, *more: str) -> Run:
    """A whole run of a kind of model at its smallest, through one of its files."""
    name = next(each for each, kinds in KIND_OF.items() if kinds == kind)
    path = [] if kind == "tiny" else [f"model.path={family_folder(kind)}"]
    overrides = [f"model={name}", *SMALL, *ONE_STEP, *BRIEF, *path, f"paths.outputs={folder}", *more]
    context = pipeline.prepare(command_line.check_command_line(overrides, multirun=False)[0])
    result = pipeline.run(context)
    export_model(str(result.folder), folder / "export", dtype="float32", outputs=folder)
    return Run(context, result, folder / "export")


@pytest.fixture(scope="module", params=[f"{kind}-{tuning}" for kind in dict.fromkeys(KIND_OF.values()) for tuning in ("lora", "full")])
def finished(request: pytest.FixtureRequest, family_folder: MakeFamily, tmp_path_factory: pytest.TempPathFactory) -> Run:
    kind, tuning = request.param.split("-")
    return run(kind, tmp_path_factory.mktemp("runs"), family_folder, f"trainer.tuning={tuning}")


def stored_answers(context: Context, mode: str) -> dict[str, dict[str, Any]]:
    """The run's stored answers to its test questions, by the question's id."""
    rows = context.store.ledger(predictions.spec(context, mode, "stories")).read()
    return {name.removesuffix("/0"): row for name, row in rows.items()}


def answers_of(export: Path, prompts: dict[str, str]) -> Iterator[tuple[str, list[int], list[int]]]:
    """(name, ids of the prompt, ids of the answer) by transformers alone, with the folder's own template and generation settings."""
    tokenizer = AutoTokenizer.from_pretrained(export)
    is_encoder_decoder = json.loads((export / "config.json").read_text()).get("is_encoder_decoder", False)
    model = (AutoModelForSeq2SeqLM if is_encoder_decoder else AutoModelForCausalLM).from_pretrained(export)
    for name, prompt in prompts.items():
        turn = [{"role": "user", "content": prompt}]
        if tokenizer.chat_template:
            inputs = tokenizer.apply_chat_template(turn, add_generation_prompt=True, return_dict=True, return_tensors="pt")
        else:
            inputs = tokenizer(prompt, return_tensors="pt")
        output = model.generate(**inputs)[0].tolist()
        ids = inputs["input_ids"][0].tolist()
        yield name, ids, output if is_encoder_decoder else output[len(ids) :]


@pytest.mark.slow
def test_one_step_is_trained_and_every_mode_answers(finished: Run) -> None:
    metrics, context = finished.result.metrics, finished.context
    assert metrics["training/num_steps"] == 1
    assert metrics["training/num_too_long"] == 0
    assert math.isfinite(metrics["training/best_validation_loss"])
    assert metrics["training/num_supervised_tokens"] > 100
    for mode in ("base", "full", "compress"):
        rows = stored_answers(context, mode)
        assert set(rows) == {each.id for each in context.questions.test}
        assert all(row["text"] or row["finish_reason"] == "stop" for row in rows.values())


@pytest.mark.slow
def test_transformers_alone_writes_the_runs_own_answers_from_an_export(finished: Run) -> None:
    context = finished.context
    encoder = loading.load(finished.export, PretrainedModel(path=str(finished.export), device="cpu")).encoder
    mark = "".join(encoder.tokenizer.convert_ids_to_tokens(encoder.mark_ids))
    different = set()
    for mode in ("full", "compress"):
        stored = stored_answers(context, mode)
        prompts = {each.id: encoder.readable(context.prompt_for(each)) for each in context.questions.test}
        asked = {name: prompt + mark * (mode == "compress") for name, prompt in prompts.items()}
        for name, ids, written in answers_of(finished.export, asked):
            assert ids == encoder.prompt(prompts[name], compressed=mode == "compress")
            assert encoder.decode(written) == stored[name]["text"]
            different.add((tuple(ids), tuple(written)))
    assert len(different) == 6


@pytest.mark.slow
def test_an_export_is_another_model_than_the_one_before(finished: Run) -> None:
    own = finished.context.settings.model
    base, _ = loading.load_trainable(finished.context.base.folder, own)
    exported, tokenizer = loading.load_trainable(finished.export, own)
    weights = {name: each for name, each in base.named_parameters() if "embed" not in name and "shared" not in name and "lm_head" not in name}
    changed = [name for name, each in exported.named_parameters() if name in weights and not torch.equal(each, weights[name])]
    assert len(changed) > len(weights) / 2
    assert exported.config.tie_word_embeddings == base.config.tie_word_embeddings
    assert own.compress_token in tokenizer.get_vocab()


@pytest.mark.slow
def test_generation_settings_of_an_export_are_the_evaluations(finished: Run) -> None:
    written = json.loads((finished.export / "generation_config.json").read_text())
    assert written["max_new_tokens"] == 12
    assert written["do_sample"] is False
    assert not {"temperature", "top_p", "top_k", "repetition_penalty"} & written.keys()
    tokenizer = AutoTokenizer.from_pretrained(finished.export)
    assert tokenizer.eos_token_id in written["eos_token_id"]
    assert written["pad_token_id"] in (tokenizer.pad_token_id, tokenizer.eos_token_id)


# --- the form of each kind ------------------------------------------------------------------------------------------------


@pytest.fixture(params=FAMILIES)
def loaded(request: pytest.FixtureRequest, family_folder: MakeFamily) -> tuple[str, Any, Any]:
    """(name of the kind, model, tokenizer) as training begins with them."""
    folder = family_folder(request.param)
    model, tokenizer = loading.load_trainable(folder, PretrainedModel(path=str(folder)))
    loading.add_compress_token(model, tokenizer, "<compress>")
    return request.param, model, tokenizer


def test_a_prompt_has_the_familys_form(loaded: tuple[str, Any, Any]) -> None:
    name, model, tokenizer = loaded
    encoder = loading.make_encoder(model, tokenizer, PretrainedModel(path=name))
    assert tokenizer.decode(encoder.prompt("Q", compressed=True), skip_special_tokens=False) == FAMILIES[name].prompt
    turn = [{"role": "user", "content": "How many apples?"}]
    assert encoder.prompt("How many apples?") == tokenizer.apply_chat_template(turn, add_generation_prompt=True, return_dict=False)


def test_a_text_that_names_the_familys_control_tokens_holds_none(loaded: tuple[str, Any, Any]) -> None:
    name, model, tokenizer = loaded
    encoder, family = loading.make_encoder(model, tokenizer, PretrainedModel(path=name)), FAMILIES[name]
    control = set(tokenizer.convert_tokens_to_ids([*family.control, "<compress>"]))
    text = "a " + " ".join([*family.control, "<compress>"]) + "\nb"
    assert not control & set(encoder.text_ids(text))
    assert encoder.decode(encoder.text_ids(text)) == text


def test_a_reasoning_model_writes_and_learns_the_end_of_its_thinking_as_one_token(family_folder: MakeFamily) -> None:
    folder = family_folder("r1_distill")
    model, tokenizer = loading.load_trainable(folder, PretrainedModel(path=str(folder)))
    encoder = loading.make_encoder(model, tokenizer, PretrainedModel(path=str(folder)))
    text = "5 + 3 = 8.\n</think>\n\nThe answer is \\boxed{8}."
    assert tokenizer.convert_tokens_to_ids("</think>") in encoder.text_ids(text)
    assert encoder.decode(encoder.text_ids(text)) == text


def test_generation_ends_at_every_end_token_of_the_family(loaded: tuple[str, Any, Any], family_folder: MakeFamily) -> None:
    name, _, tokenizer = loaded
    folder = family_folder(name)
    ends = loading.generation_stop_ids(loading.load(folder, PretrainedModel(path=str(folder), device="cpu")))
    assert ends == set(tokenizer.convert_tokens_to_ids(FAMILIES[name].ends))


def test_heads_are_tied_where_the_familys_are_and_spare_rows_take_the_mark(loaded: tuple[str, Any, Any], family_folder: MakeFamily) -> None:
    name, model, tokenizer = loaded
    family, rows = FAMILIES[name], model.get_input_embeddings().weight
    assert (model.get_output_embeddings().weight is rows) == model.config.tie_word_embeddings == family.tied
    known = json.loads((family_folder(name) / "config.json").read_text())["vocab_size"]
    assert len(rows) == known + (0 if family.spare_rows else 1)
    assert len(tokenizer) <= len(rows)


# --- a process of its own -------------------------------------------------------------------------------------------------

ALONE = """
import json, sys
from transformers import AutoModelForCausalLM, AutoTokenizer

folder, prompts = sys.argv[1], json.loads(sys.argv[2])
tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
answers = {}
for name, prompt in prompts.items():
    turn = [{"role": "user", "content": prompt}]
    inputs = tokenizer.apply_chat_template(turn, add_generation_prompt=True, return_dict=True, return_tensors="pt")
    output = model.generate(**inputs)[0, inputs["input_ids"].shape[1] :]
    answers[name] = tokenizer.decode(output, skip_special_tokens=True)
assert not [name for name in sys.modules if name.partition(".")[0] == "cotexp"]
print("ANSWERS" + json.dumps(answers))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("tuning", "rate"), [("lora", 0.05), ("full", 0.01)])
def test_a_fresh_process_without_this_package_answers_as_the_run_did(tuning: str, rate: float, family_folder: MakeFamily, tmp_path: Path) -> None:
    longer = ["task.num_train=64", "task.num_test=4", "trainer.max_epochs=2", "evaluation.max_new_tokens=160"]
    done = run("tiny", tmp_path, family_folder, f"trainer.tuning={tuning}", f"trainer.learning_rate={rate}", *longer)
    wanted = {f"{mode}/{name}": row["text"] for mode in ("full", "compress") for name, row in stored_answers(done.context, mode).items()}
    prompts = {each.id: done.context.prompt_for(each) for each in done.context.questions.test}
    asked = {name: prompts[name.split("/", 1)[1]] + "<compress>" * name.startswith("compress/") for name in wanted}
    command = [sys.executable, "-I", "-c", ALONE, str(done.export), json.dumps(asked)]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert outcome.returncode == 0, outcome.stderr
    answers = json.loads(outcome.stdout.rpartition("ANSWERS")[2])
    assert answers == wanted
    assert len(wanted) == 8
    assert any(text.strip() for text in answers.values())
    assert {name for name in answers if answers[name] != answers[name.replace("full/", "compress/")]}, "the mark changes what is written"
