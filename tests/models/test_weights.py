"""Weights that do not fit their configuration are refused by name, where transformers would fill in random numbers."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from test_adapters import write_model

from cotexp.models import loading, weights
from cotexp.models.identity import ModelFiles, find
from cotexp.settings.base import ConfigError
from cotexp.settings.models import PretrainedModel

MakeFamily = Callable[[str], Path]
NORM, HEAD, EMBEDDING = "model.norm.weight", "lm_head.weight", "model.embed_tokens.weight"


@pytest.fixture
def sources(random_model: Path, family_folder: MakeFamily, encoder_decoders: dict[str, Path]) -> dict[str, Path]:
    return {"tied": random_model, "untied": family_folder("llama_3_1"), "qwen2": family_folder("qwen2_5"), **encoder_decoders}


def settings_of(folder: Path) -> PretrainedModel:
    return PretrainedModel(path=str(folder), device="cpu")


def reconfigured(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))


def rewritten(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def check(folder: Path, setting: str = "model.path") -> None:
    """The check before a run, and then the loading itself, which must agree."""
    found = [_problem(lambda: loading.check(find(settings_of(folder)), settings_of(folder), setting))]
    found.append(_problem(lambda: loading.load(folder, settings_of(folder))))
    assert [each is None for each in found] in ([True, True], [False, False])
    if found[0] is not None:
        assert found[0].startswith(setting)
        raise ConfigError(found[0])


def _problem(call: Callable[[], object]) -> str | None:
    try:
        call()
    except ConfigError as error:
        (line,) = str(error).splitlines()
        return line
    return None


CONFIGS: dict[str, tuple[str, dict[str, Any], str]] = {
    "more layers": ("tied", {"num_hidden_layers": 3}, r"missing: model\.layers\.2\.input_layernorm\.weight, .* and 5 more"),
    "fewer layers": ("tied", {"num_hidden_layers": 1}, r"unexpected: model\.layers\.1\.input_layernorm\.weight, .* and 5 more"),
    "another width": ("tied", {"hidden_size": 64}, r"of another shape: model\.embed_tokens\.weight is \[\d+, 32\] instead of \[\d+, 64\]"),
    "other heads": ("untied", {"num_key_value_heads": 4}, r"of another shape: model\.layers\.0\.self_attn\.k_proj\.weight"),
    "an architecture with biases": ("untied", {"model_type": "qwen2"}, r"missing: model\.layers\.0\.self_attn\.k_proj\.bias"),
    "an architecture without": ("qwen2", {"model_type": "llama"}, r"unexpected: model\.layers\.0\.self_attn\.k_proj\.bias"),
    "another architecture": ("tied", {"model_type": "gpt2"}, r"missing: .*transformer\.h\.0.*; unexpected: model\.embed_tokens\.weight"),
    "a head of its own": ("tied", {"tie_word_embeddings": False}, r"missing: lm_head\.weight"),
    "T5's head of its own": ("t5", {"tie_word_embeddings": False}, r"missing: lm_head\.weight"),
    "BART's head of its own": ("bart", {"tie_word_embeddings": False}, r"missing: lm_head\.weight"),
    "more layers of an encoder": ("t5", {"num_layers": 3}, r"missing: encoder\.block\.2"),
    "a smaller vocabulary": ("untied", {"vocab_size": 500}, r"of another shape: lm_head\.weight is \[\d+, 32\] instead of \[500, 32\]"),
}


@pytest.mark.parametrize("fault", CONFIGS)
def test_a_configuration_of_another_model_is_refused_with_the_tensors(fault: str, sources: dict[str, Path], tmp_path: Path) -> None:
    source, changes, problem = CONFIGS[fault]
    folder = Path(shutil.copytree(sources[source], tmp_path / "model"))
    check(folder, "teacher.model.path")
    reconfigured(folder, **changes)
    with pytest.raises(ConfigError, match=rf"the weights in {folder} cannot be used with its config\.json: .*{problem}"):
        check(folder, "teacher.model.path")


def other(value: float) -> Callable[[dict[str, torch.Tensor]], object]:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        tensors[NORM][3] = value

    return change


def as_type(kind: torch.dtype) -> Callable[[dict[str, torch.Tensor]], object]:
    return lambda tensors: tensors.update({name: (each * 50).to(kind) for name, each in tensors.items()})


TENSORS: dict[str, tuple[str, Callable[[dict[str, torch.Tensor]], object], str]] = {
    "a missing tensor": ("untied", lambda tensors: tensors.pop(NORM), rf"missing: {re.escape(NORM)}"),
    "a missing head": ("untied", lambda tensors: tensors.pop(HEAD), rf"missing: {re.escape(HEAD)}"),
    "a missing embedding": ("tied", lambda tensors: tensors.pop(EMBEDDING), "missing: "),
    "Flan-T5 without its head": ("flan", lambda tensors: tensors.pop(HEAD), rf"missing: {re.escape(HEAD)}"),
    "another head beside": ("untied", lambda tensors: tensors.update({"v_head.weight": torch.ones(2, 32)}), r"unexpected: v_head\.weight"),
    "NaN": ("tied", other(float("nan")), rf"NaN or infinite values: {re.escape(NORM)}"),
    "infinity": ("untied", other(float("-inf")), rf"NaN or infinite values: {re.escape(NORM)}"),
    "whole numbers": ("tied", as_type(torch.int8), r"whole numbers, as of a quantised model: model\.embed_tokens\.weight"),
}


@pytest.mark.parametrize("fault", TENSORS)
def test_weights_that_a_model_cannot_be_made_of_are_refused(fault: str, sources: dict[str, Path], tmp_path: Path) -> None:
    source, change, problem = TENSORS[fault]
    folder = Path(shutil.copytree(sources[source], tmp_path / "model"))
    rewritten(folder, change)
    with pytest.raises(ConfigError, match=problem):
        check(folder)


@pytest.mark.parametrize("change", ["missing", "shorter"])
def test_an_expert_that_is_missing_or_of_another_shape_is_named(change: str, random_model: Path, tmp_path: Path) -> None:
    folder = write_model("mixtral", random_model, tmp_path / "model")
    check(folder)

    def damage(tensors: dict[str, torch.Tensor]) -> None:
        name = min(each for each in tensors if "experts" in each)
        tensor = tensors.pop(name)
        if change == "shorter":
            tensors[name] = tensor[:-1].clone()

    rewritten(folder, damage)
    with pytest.raises(ConfigError, match=r"parts are missing or of another shape, .*: model\.layers\.0\.mlp\.experts"):
        check(folder)


def moved(tensors: dict[str, torch.Tensor]) -> None:
    tensors[HEAD] = tensors.pop(EMBEDDING)


HARMLESS: dict[str, tuple[str, Callable[[dict[str, torch.Tensor]], object]]] = {
    "the embedding under the name of the head": ("tied", moved),
    "a tied head stored twice": ("tied", lambda tensors: tensors.update({HEAD: tensors[EMBEDDING].clone()})),
    "turning frequencies": ("untied", lambda tensors: tensors.update({"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)})),
    "a causal mask": ("untied", lambda tensors: tensors.update({"model.layers.0.self_attn.bias": torch.ones(1, 1, 8, 8)})),
    "a mask's constant": ("qwen2", lambda tensors: tensors.update({"model.layers.0.self_attn.masked_bias": torch.tensor(float("-inf"))})),
    "half precision": ("untied", as_type(torch.float16)),
    "eight bits": ("untied", as_type(torch.float8_e4m3fn)),
}


@pytest.mark.parametrize("kind", HARMLESS)
def test_what_every_checkpoint_may_hold_is_no_fault(kind: str, sources: dict[str, Path], tmp_path: Path) -> None:
    source, change = HARMLESS[kind]
    folder = Path(shutil.copytree(sources[source], tmp_path / "model"))
    rewritten(folder, change)
    check(folder)


@pytest.mark.parametrize("kind", ["phi", "gptj", "codegen", "gpt2", "gemma3_text", "mixtral", "bloom", "gpt_neox", "opt", "falcon", "mamba", "qwen3"])
def test_whole_models_of_many_architectures_pass(kind: str, random_model: Path, tmp_path: Path) -> None:
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    own = {"opt": {"ffn_dim": 64, "word_embed_proj_dim": 32}, "mamba": {"state_size": 4}, "qwen3": {"num_key_value_heads": 2, "head_dim": 8}}
    known = {} if kind in ("phi", "gptj", "codegen", "gpt2", "gemma3_text", "mixtral") else {**shape, **own.get(kind, {})}
    check(write_model(kind, random_model, tmp_path / "model", **known))


def test_weights_of_a_shape_that_no_text_goes_through_are_refused_in_one_line(random_model: Path, tmp_path: Path) -> None:
    """More heads of keys than of queries: config.json and weights fit each other."""
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64, "num_key_value_heads": 32}
    folder = write_model("qwen3", random_model, tmp_path / "model", **shape)
    with pytest.raises(
        ConfigError, match=r"^model\.path: Qwen3ForCausalLM in .* cannot read a text with its config\.json \(.*\); restore that file$"
    ):
        loading.load_trainable(folder, settings_of(folder))


def test_a_head_beside_a_tied_configuration_stays_the_models_own(sources: dict[str, Path], tmp_path: Path) -> None:
    ids_BT = torch.arange(8).unsqueeze(0)
    own, _ = loading.load_trainable(sources["untied"], settings_of(sources["untied"]))
    folder = Path(shutil.copytree(sources["untied"], tmp_path / "model"))
    reconfigured(folder, tie_word_embeddings=True)
    model, tokenizer = loading.load_trainable(folder, settings_of(folder))
    assert model.config.tie_word_embeddings is False
    mark = loading.add_compress_token(model, tokenizer, "<compress>")
    with torch.no_grad():
        torch.testing.assert_close(model(input_ids=ids_BT).logits[..., :mark], own(input_ids=ids_BT).logits[..., :mark])


def extended(folder: Path, *, special: bool, **changes: str) -> None:
    """Give the tokenizer a token behind the last row of the embeddings, and settings that use it."""
    rows = json.loads((folder / "config.json").read_text())["vocab_size"]
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    tokenizer["added_tokens"].append({"id": rows, "content": "<image>", "special": special, **flags})
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**config, **changes}))


@pytest.mark.parametrize(("special", "changes"), [(False, {}), (True, {"pad_token": "<image>"}), (True, {"eos_token": "<image>"})])
def test_ids_beyond_the_embeddings_that_a_text_or_padding_can_hold_are_refused(
    special: bool, changes: dict[str, str], random_model: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(random_model, tmp_path / "model"))
    extended(folder, special=special, **changes)
    with pytest.raises(ConfigError, match=r"^model\.path: the tokenizer in .* has ids up to (\d+), and the embeddings of the model \1 rows"):
        check(folder)


def test_a_special_token_that_nothing_uses_may_lie_beyond_the_embeddings(random_model: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(random_model, tmp_path / "model"))
    extended(folder, special=True)
    check(folder)


@pytest.mark.parametrize(
    "changes",
    [{"model_type": "no such model"}, {"hidden_size": -4}, {"hidden_size": "wide"}, {"num_attention_heads": 0}, {"hidden_act": "none such"}],
)
def test_a_configuration_that_transformers_refuses_is_one_line(changes: dict[str, Any], random_model: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(random_model, tmp_path / "model"))
    reconfigured(folder, **changes)
    with pytest.raises(ConfigError, match=rf"^model\.path: transformers cannot load {folder} \(.+\)$"):
        weights.read(folder, "model.path", trust_remote_code=False)


CODE = """
from transformers import LlamaConfig, LlamaForCausalLM

class OwnConfig(LlamaConfig):
    model_type = "own"

class OwnModel(LlamaForCausalLM):
    config_class = OwnConfig
"""


def test_a_model_with_code_of_its_own_is_loaded_where_that_may_run(random_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("sys.path", [*sys.path])
    folder = Path(shutil.copytree(random_model, tmp_path / "own_model"))
    reconfigured(folder, model_type="own", auto_map={"AutoConfig": "code_own.OwnConfig", "AutoModelForCausalLM": "code_own.OwnModel"})
    (folder / "code_own.py").write_text(CODE)
    settings = PretrainedModel(path=str(folder), device="cpu", trust_remote_code=True)
    loading.check(find(settings), settings, "model.path")
    assert type(loading.load(folder, settings).model).__name__ == "OwnModel"
    with pytest.raises(ConfigError, match=r"it brings its own code, which may run with teacher\.model\.trust_remote_code=true: read it first$"):
        loading.check(find(settings_of(folder)), settings_of(folder), "teacher.model.path")
    reconfigured(folder, num_hidden_layers=3)
    with pytest.raises(ConfigError, match=r"missing: model\.layers\.2"):
        loading.check(find(settings), settings, "model.path")


def test_a_model_that_only_reads_is_no_language_model(random_model: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer, BertConfig, BertModel

    tokenizer = AutoTokenizer.from_pretrained(random_model)
    shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 64}
    BertModel(BertConfig(vocab_size=len(tokenizer), **shape)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=r"missing: cls\.predictions"):
        loading.check(ModelFiles(tmp_path, "bert"), settings_of(tmp_path), "model.path")


def test_a_classifier_without_its_head_is_refused(random_model: Path, tmp_path: Path) -> None:
    from transformers import BertConfig, BertForTokenClassification, BertModel

    shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 64, "vocab_size": 50}
    BertForTokenClassification(BertConfig(**shape)).save_pretrained(tmp_path / "whole")
    BertModel(BertConfig(**shape)).save_pretrained(tmp_path / "headless")
    weights.check(tmp_path / "whole", "", "compression.classifier", trust_remote_code=False, kind=weights.LABELS)
    with pytest.raises(ConfigError, match=r"^compression\.classifier: .*missing: classifier\.bias, classifier\.weight"):
        weights.check(tmp_path / "headless", "", "compression.classifier", trust_remote_code=False, kind=weights.LABELS)


def test_a_gguf_file_that_is_cut_short_or_lacks_a_tensor_is_one_line(family_folder: MakeFamily, tmp_path: Path) -> None:
    from cotexp.models import gguf

    whole = family_folder("gguf").read_bytes()
    gguf.unpack(family_folder("gguf"), tmp_path / "whole")
    norm = np.float32(np.nan).tobytes() * 16
    damaged = {
        "empty": b"",
        "cut": whole[:-2000],
        "cut in its header": whole[:2000],
        "no gguf": b"hello",
        "lacks: model\\.norm\\.weight": whole.replace(b"output_norm.weight", b"outpux_norm.weight"),
        "NaN or infinite values": whole[: -len(norm)] + norm,
    }
    for name, content in damaged.items():
        path = tmp_path / "model.gguf"
        path.write_bytes(content)
        with pytest.raises(
            ConfigError, match=rf"^model\.path: .*{path}.*{name.replace('lacks', 'missing') if ':' in name or 'NaN' in name else ''}"
        ) as caught:
            gguf.unpack(path, tmp_path / "out")
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "out").exists()
