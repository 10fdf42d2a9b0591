"""An export is a folder that transformers alone can use, as its card says, for every kind of model."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import tokenizer_kinds
import torch
from huggingface_hub import ModelCard
from transformers import AutoTokenizer

from cotexp.commands.export import export_model, find_run
from cotexp.inference.engine import Request
from cotexp.inference.local import LocalEngine
from cotexp.models import adapters, identity, loading
from cotexp.settings.base import ConfigError
from cotexp.settings.evaluation import Evaluation
from cotexp.settings.models import PretrainedModel
from cotexp.settings.sampling import Sampling
from cotexp.settings.training import Lora

KINDS = ["t5", "flan", "bart", "chat", "plain"]
TOKENIZERS = {
    "llama 2": ("llama", "prepended as Llama-2", "llama 2"),
    "inst": ("llama", "metaspace always, words apart", "inst"),
    "zephyr": ("llama", "metaspace first", "zephyr"),
    "phi 3": ("llama", "prepended as Llama-2", "phi 3"),
    "gemma": ("gemma", "replaced as Gemma", "chatml"),
    "bytes": ("llama", "bytes as GPT-2", "llama 2"),
    "space first": ("llama", "bytes with a space first", "turns touch"),
    "overruled": ("qwen2", "bytes, digits apart", "chatml"),
    "no template": ("llama", "metaspace always", "none"),
}
"""Name -> architecture, kind of tokenizer and template."""


@pytest.fixture
def base(request: pytest.FixtureRequest, encoder_decoders: dict[str, Path], random_model: Path, story_texts: list[str], tmp_path: Path) -> Path:
    if request.param in encoder_decoders:
        return encoder_decoders[request.param]
    if request.param in TOKENIZERS:
        return small_model(*TOKENIZERS[request.param], story_texts, tmp_path / "base")
    if request.param == "chat":
        return random_model
    model, tokenizer = loading.load_trainable(random_model, PretrainedModel(path=str(random_model)))
    tokenizer.chat_template = None
    loading.save(model, tokenizer, tmp_path / "plain")
    return tmp_path / "plain"


def small_model(architecture: str, kind: str, template: str, texts: list[str], folder: Path) -> Path:
    """A random model of that architecture whose tokenizer is of that kind."""
    from transformers import AutoConfig, AutoModelForCausalLM

    tokenizer = tokenizer_kinds.make(kind, texts, tokenizer_kinds.TEMPLATES[template])
    if template == "phi 3":
        tokenizer_kinds.swallow(tokenizer)
    shape: dict[str, Any] = {"vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "head_dim": 8}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 4, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": None}
    torch.manual_seed(0)
    tokenizer_kinds.save(tokenizer, folder, model_type=architecture, tokenizer_class=None)
    AutoModelForCausalLM.from_config(AutoConfig.for_model(architecture, **shape, **heads)).save_pretrained(folder)
    return folder


def finished_run(base: Path, outputs: Path, *, lora: bool, compression: dict[str, Any] | None = None) -> tuple[Path, loading.LoadedModel]:
    """The folder of a run whose model was fine-tuned (here: changed), and that model."""
    settings = PretrainedModel(path=str(base), device="cpu", license="mit")
    torch.manual_seed(0)
    model, tokenizer = loading.load_trainable(base, settings)
    mark = loading.add_compress_token(model, tokenizer, settings.compress_token)
    if lora:
        model = adapters.add_lora(model, Lora(rank=2, alpha=4), mark)
    with torch.no_grad():
        for each in model.parameters():
            if each.requires_grad:
                each += 0.1 * torch.randn_like(each)
    checkpoint = outputs / "checkpoints" / "some"
    loading.save(model, tokenizer, checkpoint)
    manifest = {"model": {"sha256": identity.find(settings).sha256}, "libraries": {"torch": "2"}}
    (checkpoint / "manifest.json").write_text(json.dumps(manifest))
    fine_tuned = loading.load(outputs / "checkpoints" / "some", settings, base_folder=base)
    run = outputs / "runs" / "toy" / "key"
    run.mkdir(parents=True)
    ratio = 0.5 if compression and compression["name"] == "tokenskip" else None
    stored: dict[str, Any] = dict.fromkeys(("selection", "trainer", "seed"), "as it was")
    stored |= {"name": "toy", "model": dataclasses.asdict(settings), "evaluation": dataclasses.asdict(Evaluation(max_new_tokens=8, ratio=ratio))}
    stored |= {
        "task": {"name": "stories", "prompt": "{question} \\boxed{{}}"},
        "teacher": {"name": "self"},
        "mixture": {"full_ratio": 0.5},
        "compression": compression or {"name": "macc"},
    }
    (run / "settings.json").write_text(json.dumps(stored))
    (run / "stages.json").write_text(json.dumps({"checkpoint": {"path": "checkpoints/some"}}))
    counted = ("num_steps", "num_examples", "num_supervised_tokens", "best_step")
    (run / "metrics.json").write_text(json.dumps({f"training/{each}": 3 for each in counted}))
    return run, fine_tuned


@pytest.mark.slow
@pytest.mark.parametrize("base", KINDS, indirect=True)
@pytest.mark.parametrize("lora", [False, True])
def test_an_export_answers_as_its_card_says(base: Path, lora: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, fine_tuned = finished_run(base, tmp_path / "outputs", lora=lora)
    monkeypatch.chdir(tmp_path)
    export_model(str(run), Path("toy"), dtype="float32", outputs=tmp_path / "outputs")
    export_model(str(run), Path("toy"), dtype="float32", outputs=tmp_path / "outputs")
    card = Path("toy/README.md").read_text()
    snippet = re.search(r"```python\n(.*?)```", card, re.DOTALL)
    assert snippet is not None
    used: dict[str, Any] = {}
    exec(snippet[1].replace('"..."', '"Ann has 5 apples."'), used)
    assert used["inputs"]["input_ids"][0].tolist() == fine_tuned.encoder.prompt("Ann has 5 apples.", compressed=True)
    prompt = used["inputs"]["input_ids"]
    expected = fine_tuned.model.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=8, do_sample=False)[0]
    assert used["output"].tolist() == expected.tolist()
    assert f"Parameters: {sum(each.numel() for each in fine_tuned.model.parameters()):,}." in card
    assert ("An encoder-decoder language model" in card) == fine_tuned.model.config.is_encoder_decoder
    for name, each in fine_tuned.model.state_dict().items():
        torch.testing.assert_close(used["model"].state_dict()[name], each, rtol=0, atol=1e-6)
    assert AutoTokenizer.from_pretrained("toy").chat_template == fine_tuned.tokenizer.chat_template


@pytest.mark.slow
@pytest.mark.parametrize("base", TOKENIZERS, indirect=True)
def test_transformers_alone_writes_what_the_run_wrote_for_every_kind_of_tokenizer(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run, fine_tuned = finished_run(base, tmp_path / "outputs", lora=False)
    monkeypatch.chdir(tmp_path)
    export_model(str(run), Path("toy"), dtype="float32", outputs=tmp_path / "outputs")
    assert ("AutoTokenizer does not follow tokenizer.json" in capsys.readouterr().out) == (fine_tuned.model.config.model_type == "qwen2")
    snippet = re.search(r"```python\n(.*?)```", Path("toy/README.md").read_text(), re.DOTALL)
    assert snippet is not None
    questions = ["Ann has 15 apples.", " two  spaces \n", "How many?", "3 + 4 = 7.\nSo", "é日本", "Lea has 12 pens. Lea wins 3."]
    written: dict[str, str] = {}
    requests = [Request(each, each, compressed=True) for each in questions]
    LocalEngine(fine_tuned).generate(requests, Sampling(max_new_tokens=8), lambda output: written.update({output.id: output.text}))
    for each in questions:
        used: dict[str, Any] = {}
        exec(snippet[1].replace('"..."', repr(each)), used)
        assert used["inputs"]["input_ids"][0].tolist() == fine_tuned.encoder.prompt(each, compressed=True)
        assert capsys.readouterr().out == written[each] + "\n"


@pytest.mark.parametrize("base", ["flan"], indirect=True)
def test_an_export_holds_the_number_format_that_was_asked_for(base: Path, tmp_path: Path) -> None:
    run, fine_tuned = finished_run(base, tmp_path / "outputs", lora=True)
    export_model(str(run), tmp_path / "small", dtype="bfloat16", outputs=tmp_path / "outputs")
    loaded = loading.load(tmp_path / "small", PretrainedModel(path="small", device="cpu"))
    head = fine_tuned.model.get_output_embeddings().weight
    assert torch.equal(loaded.model.get_output_embeddings().weight, head.bfloat16().float())
    assert json.loads((tmp_path / "small" / "config.json").read_text())["dtype"] == "bfloat16"


@pytest.mark.slow
def test_a_card_says_what_the_model_was_made_from_and_how(random_model: Path, tmp_path: Path) -> None:
    run, _ = finished_run(random_model, tmp_path / "outputs", lora=True)
    export_model(str(run), tmp_path / "new", dtype="float32", outputs=tmp_path / "outputs")
    card = (tmp_path / "new" / "README.md").read_text()
    front = ModelCard(card).data
    assert (front.library_name, front.pipeline_tag, front.license, front.base_model) == ("transformers", "text-generation", "mit", None)
    assert "# new\n" in card
    assert f"Made from `{random_model}` (sha256 of its files: `{identity.find(PretrainedModel(path=str(random_model))).sha256}`)." in card
    assert "Licence of those weights: mit." in card
    assert "Made by run `key` of experiment `toy`, with " in card, "it knows no command"
    assert "Generates as in its evaluation: greedy, at most 8 new tokens" in card
    assert "{question} \\boxed{}\n" in card
    assert '"max_new_tokens": 8' in card, "the settings"


@pytest.mark.parametrize(("path", "listed"), [("Qwen/Qwen2.5-0.5B-Instruct", True), ("a/folder/of/mine", False), ("shipped:tiny", False)])
def test_a_card_names_its_base_model_to_the_hub_where_it_has_one(path: str, listed: bool, random_model: Path, tmp_path: Path) -> None:
    run, _ = finished_run(random_model, tmp_path / "outputs", lora=False)
    rename_model(run, path)
    export_model(str(run), tmp_path / "new", dtype="float32", outputs=tmp_path / "outputs")
    card = (tmp_path / "new" / "README.md").read_text()
    assert (f"\nbase_model: {path}\n" in card) == listed
    assert f"Made from `{path}`" in card


@pytest.mark.slow
def test_the_hub_reads_results_data_and_an_unknown_licence_from_a_card(random_model: Path, tmp_path: Path) -> None:
    run, _ = finished_run(random_model, tmp_path / "outputs", lora=False)
    stored = json.loads((run / "settings.json").read_text())
    stored["model"] |= {"path": "Qwen/Qwen2.5-0.5B", "license": None}
    stored["task"] |= {"train": ["gsm8k"]}
    (run / "settings.json").write_text(json.dumps(stored | {"tasks": {"gsm8k": stored["task"]}}))
    metrics = {"eval/base/gsm8k/accuracy": 0.9, "eval/full/gsm8k/accuracy": 0.75, "eval/compress/gsm8k/accuracy": 0.5}
    metrics |= {"eval/compress/gsm8k/num_tokens": 38.0}
    (run / "metrics.json").write_text(json.dumps(json.loads((run / "metrics.json").read_text()) | metrics))
    export_model(str(run), tmp_path / "new", dtype="float32", outputs=tmp_path / "outputs")
    front = ModelCard((tmp_path / "new" / "README.md").read_text()).data
    assert (front.license, front.base_model, front.datasets, front.metrics) == ("unknown", "Qwen/Qwen2.5-0.5B", ["openai/gsm8k"], ["accuracy"])
    assert [(each.dataset_type, each.metric_name, each.metric_value) for each in front.eval_results] == [
        ("openai/gsm8k", "accuracy, full chains", 0.75),
        ("openai/gsm8k", "accuracy, short chains", 0.5),
        ("openai/gsm8k", "tokens per answer, short chains", 38.0),
    ]


def rename_model(run: Path, path: str) -> None:
    stored = json.loads((run / "settings.json").read_text())
    stored["model"]["path"] = path
    (run / "settings.json").write_text(json.dumps(stored))


@pytest.mark.parametrize(
    ("compression", "asked"),
    [
        ({"name": "c3ot", "instruction": "Be brief.", "long_instruction": "Be long."}, "prompt = \"...\" + '\\nBe brief.'  # this line"),
        ({"name": "truncate"}, "prompt = \"...\" + '<compress>'  # the mark"),
        ({"name": "none"}, 'prompt = "..."\n'),
        ({"name": "tokenskip", "ratios": [1.0, 0.5]}, "prompt = \"...\" + '<|end|>0.5'  # the requested share of the tokens"),
    ],
)
def test_a_card_tells_how_to_ask_for_the_short_form(compression: dict[str, Any], asked: str, random_model: Path, tmp_path: Path) -> None:
    run, fine_tuned = finished_run(random_model, tmp_path / "outputs", lora=True, compression=compression)
    export_model(str(run), tmp_path / "new", dtype="float32", outputs=tmp_path / "outputs")
    card = (tmp_path / "new" / "README.md").read_text()
    assert asked in card
    assert ("'Be long.' for a full one" in card) == (compression["name"] == "c3ot")
    if compression["name"] == "tokenskip":
        turn = [{"role": "user", "content": "Q<|end|>0.5"}]
        ids = AutoTokenizer.from_pretrained(tmp_path / "new").apply_chat_template(turn, add_generation_prompt=True, return_dict=False)
        assert ids == fine_tuned.encoder.prompt("Q", ratio=0.5)


def test_a_card_tells_what_a_compressor_was_taught_and_how_it_is_asked(random_model: Path, tmp_path: Path) -> None:
    run, _ = finished_run(random_model, tmp_path / "outputs", lora=True, compression={"name": "reference", "prompt": "Shorten: {rationale}"})
    export_model(str(run), tmp_path / "plain", dtype="float32", outputs=tmp_path / "outputs")
    stored = json.loads((run / "settings.json").read_text())
    (run / "settings.json").write_text(json.dumps(stored | {"mixture": {"rewrite_ratio": 7.0}, "task": stored["task"] | {"rewrites": "elastic"}}))
    export_model(str(run), tmp_path / "taught", dtype="float32", outputs=tmp_path / "outputs")
    card = (tmp_path / "taught" / "README.md").read_text()
    assert "7 rewrites for each full solution were among its examples: a solution loses one or two redundancies; the shortest one" in card
    assert "```\nShorten: {rationale}\n```" in card
    assert "As a compressor" not in (tmp_path / "plain" / "README.md").read_text()


@pytest.mark.parametrize(
    ("compression", "words"),
    [
        ({"name": "answer_only", "instruction": "Just answer."}, "this line asks for the answer alone; the model was taught nothing else"),
        (
            {"name": "step_by_step", "instruction": "Just answer.", "long_instruction": "Explain."},
            "this line asks for the answer alone; with 'Explain.' for a chain of thought",
        ),
    ],
)
def test_a_card_tells_how_a_model_is_asked_for_the_answer_alone(compression: dict[str, str], words: str, random_model: Path, tmp_path: Path) -> None:
    run, _ = finished_run(random_model, tmp_path / "outputs", lora=True, compression=compression)
    export_model(str(run), tmp_path / "export", dtype="float32", outputs=tmp_path / "outputs")
    assert f" + '\\nJust answer.'  # {words}" in (tmp_path / "export" / "README.md").read_text()


def test_generation_settings_are_those_of_the_evaluation_and_not_of_the_source(random_model: Path, tmp_path: Path) -> None:
    source = Path(shutil.copytree(random_model, tmp_path / "source"))
    own = {"do_sample": True, "temperature": 0.7, "top_p": 0.8, "top_k": 20, "repetition_penalty": 1.05, "eos_token_id": [3, 7], "bos_token_id": 5}
    (source / "generation_config.json").write_text(json.dumps(own))
    run, fine_tuned = finished_run(source, tmp_path / "outputs", lora=True)
    export_model(str(run), tmp_path / "greedy", dtype="float32", outputs=tmp_path / "outputs")
    written = json.loads((tmp_path / "greedy" / "generation_config.json").read_text())
    written.pop("transformers_version")
    pad = fine_tuned.tokenizer.pad_token_id
    assert written == {"bos_token_id": 5, "eos_token_id": [3, 7], "pad_token_id": pad, "max_new_tokens": 8, "do_sample": False}
    stored = json.loads((run / "settings.json").read_text())
    stored["evaluation"]["temperature"] = 0.6
    (run / "settings.json").write_text(json.dumps(stored))
    export_model(str(run), tmp_path / "sampled", dtype="float32", outputs=tmp_path / "outputs")
    written = json.loads((tmp_path / "sampled" / "generation_config.json").read_text())
    assert {name: written.get(name) for name in ("do_sample", "temperature", "top_k", "top_p", "repetition_penalty")} == {
        "do_sample": True,
        "temperature": 0.6,
        "top_k": 0,
        "top_p": 1.0,
        "repetition_penalty": None,
    }
    assert "sampled at temperature 0.6" in (tmp_path / "sampled" / "README.md").read_text()


def test_a_run_that_trained_nothing_has_nothing_to_export(random_model: Path, tmp_path: Path) -> None:
    run, _ = finished_run(random_model, tmp_path / "outputs", lora=True, compression={"name": "prompt_only", "instruction": "Be brief."})
    (run / "stages.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"trained nothing \(compression=prompt_only, evaluation\.modes=.*\); its model is the unchanged .*"):
        export_model(str(run), tmp_path / "new", dtype="float32", outputs=tmp_path / "outputs")
    assert not (tmp_path / "new").exists()


def test_a_run_whose_model_is_elsewhere_is_refused(random_model: Path, tmp_path: Path) -> None:
    run, _ = finished_run(random_model, tmp_path / "outputs", lora=True)
    with pytest.raises(ConfigError, match=r"the fine-tuned model of .* is not in .*elsewhere.*; give --outputs"):
        export_model(str(run), tmp_path / "new", dtype="float32", outputs=tmp_path / "elsewhere")


@pytest.mark.parametrize("lora", [False, True])
def test_an_adapter_whose_base_has_changed_is_refused_and_a_whole_model_needs_none(lora: bool, random_model: Path, tmp_path: Path) -> None:
    source = Path(shutil.copytree(random_model, tmp_path / "source"))
    run, _ = finished_run(source, tmp_path / "outputs", lora=lora)
    (source / "tokenizer_config.json").write_text((source / "tokenizer_config.json").read_text() + " ")
    if lora:
        with pytest.raises(ConfigError, match=r"is not the one on which this run's adapter was trained"):
            export_model(str(run), tmp_path / "new", dtype="float32", outputs=tmp_path / "outputs")
        shutil.rmtree(source)
        with pytest.raises(ConfigError, match=r"model\.path must be a folder, a hub id or shipped:NAME"):
            export_model(str(run), tmp_path / "new", dtype="float32", outputs=tmp_path / "outputs")
    else:
        export_model(str(run), tmp_path / "new", dtype="float32", outputs=tmp_path / "outputs")
        assert (tmp_path / "new" / "model.safetensors").stat().st_mode & 0o044 == (tmp_path / "new" / "config.json").stat().st_mode & 0o044


def test_another_folder_is_never_replaced(random_model: Path, tmp_path: Path) -> None:
    run, _ = finished_run(random_model, tmp_path / "outputs", lora=False)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "README.md").write_text("notes of mine")
    with pytest.raises(ConfigError, match="exists and is not an earlier export; choose another folder"):
        export_model(str(run), tmp_path / "mine", dtype="float32", outputs=tmp_path / "outputs")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["README.md"]


def test_an_experiment_stands_for_its_newest_run_that_trained_a_model(tmp_path: Path) -> None:
    for age, (name, stages) in enumerate({"newest": {}, "trained": {"checkpoint": {}}, "older": {"checkpoint": {}}}.items()):
        folder = tmp_path / "runs" / "macc" / name
        folder.mkdir(parents=True)
        (folder / "stages.json").write_text(json.dumps(stages))
        os.utime(folder / "stages.json", (1000 - age, 1000 - age))
    assert find_run("macc", tmp_path).name == "newest"
    assert find_run("macc", tmp_path, trained=True).name == "trained"
    assert find_run(str(tmp_path / "runs" / "macc" / "older"), tmp_path, trained=True).name == "older"


def test_a_run_is_found_by_the_first_digits_of_its_key(tmp_path: Path) -> None:
    for name in ("macc/quickstart/3f0a55d2c1e4", "macc/custom/3f91bc000000"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "stages.json").write_text("{}")
    assert find_run("3f0a", tmp_path) == tmp_path / "runs" / "macc" / "quickstart" / "3f0a55d2c1e4"
    with pytest.raises(ConfigError, match=r"got '3f' \(2 runs begin with it\); `cotexp runs` lists them"):
        find_run("3f", tmp_path)
    with pytest.raises(ConfigError, match=r"got 'macc/quickstrt' \(there is none\)"):
        find_run("macc/quickstrt", tmp_path)
