"""Adapters on models of many architectures: fresh ones change nothing, trained ones are what is merged, saved and exported."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from cotexp.models import adapters, loading, weights
from cotexp.settings.base import ConfigError
from cotexp.settings.models import PretrainedModel
from cotexp.settings.training import Lora

MARK = "<compress>"
SHAPE: dict[str, Any] = {"num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 32, "intermediate_size": 64}
KINDS: dict[str, dict[str, Any]] = {
    "phi": {**SHAPE, "num_key_value_heads": 4},
    "gptj": {"n_embd": 32, "n_layer": 2, "n_head": 4, "rotary_dim": 4},
    "codegen": {"n_embd": 32, "n_layer": 2, "n_head": 4, "rotary_dim": 4},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4},
    "gemma3_text": {**SHAPE, "num_key_value_heads": 2, "head_dim": 8},
    "mixtral": {**SHAPE, "num_key_value_heads": 2, "num_local_experts": 4},
}
WITH_BIAS = ("phi", "gptj", "codegen")


def write_model(kind: str, tokenizer_folder: Path, folder: Path, **changes: Any) -> Path:
    """A folder with a random model of one kind, no parameter of which is zero, and the small tokenizer."""
    from transformers import AutoConfig

    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    ends = {"eos_token_id": tokenizer.eos_token_id, "bos_token_id": None, "pad_token_id": tokenizer.pad_token_id}
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **{"vocab_size": len(tokenizer), **KINDS.get(kind, {}), **ends, **changes}))
    with torch.no_grad():
        for each in model.parameters():
            each += 0.05 * torch.randn_like(each)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def with_mark(folder: Path) -> tuple[PreTrainedModel, Any, int]:
    model, tokenizer = loading.load_trainable(folder, PretrainedModel(path=str(folder)))
    return model, tokenizer, loading.add_compress_token(model, tokenizer, MARK)


@torch.no_grad()
def logits(model: Any, mark: int) -> torch.Tensor:
    """(B, T, V) of texts that hold the mark."""
    found: torch.Tensor = model.eval()(input_ids=texts(mark)).logits
    return found


def texts(mark: int) -> torch.Tensor:
    ids_BT = torch.randint(300, (4, 12), generator=torch.Generator().manual_seed(0))
    ids_BT[:, 5] = mark
    return ids_BT


def train(model: Any, mark: int) -> None:
    optimizer = torch.optim.AdamW([each for each in model.parameters() if each.requires_grad], lr=0.02)
    for _ in range(5):
        model.train()(input_ids=texts(mark), labels=texts(mark)).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


@pytest.mark.parametrize("kind", KINDS)
def test_fresh_adapters_change_no_logit_and_trained_ones_are_what_is_merged_and_reloaded(kind: str, random_model: Path, tmp_path: Path) -> None:
    base = write_model(kind, random_model, tmp_path / "base")
    model, tokenizer, mark = with_mark(base)
    assert (model.get_output_embeddings().bias is not None) == (kind in WITH_BIAS)
    before = logits(model, mark)
    adapted = adapters.add_lora(model, Lora(rank=4, alpha=8), mark)
    torch.testing.assert_close(logits(adapted, mark), before, rtol=1e-5, atol=1e-5)
    train(adapted, mark)
    trained = logits(adapted, mark)
    assert (trained - before).abs().max() > 0.1
    torch.testing.assert_close(logits(copy.deepcopy(adapted).merge_and_unload(), mark), trained, rtol=1e-4, atol=1e-4)
    loading.save(adapted, tokenizer, tmp_path / "adapter")
    loaded = loading.load(tmp_path / "adapter", PretrainedModel(path=str(base), device="cpu"), base_folder=base)
    torch.testing.assert_close(logits(loaded.model, mark), trained, rtol=1e-4, atol=1e-4)
    loading.save(loaded.model, loaded.tokenizer, tmp_path / "export")
    alone = AutoModelForCausalLM.from_pretrained(tmp_path / "export", dtype=torch.float32)
    torch.testing.assert_close(logits(alone, mark), trained, rtol=1e-4, atol=1e-4)


def test_a_biased_heads_new_row_begins_as_the_mean_in_weight_and_bias(random_model: Path, tmp_path: Path) -> None:
    model, _, mark = with_mark(write_model("phi", random_model, tmp_path / "phi"))
    head = model.get_output_embeddings()
    torch.testing.assert_close(head.bias[mark], head.bias[:mark].mean())
    torch.testing.assert_close(head.weight[mark], head.weight[:mark].mean(dim=0))


@pytest.mark.parametrize(
    ("kind", "targets", "problem"),
    [
        ("phi", "q_proj,v_proy", r"phi: dense, fc1, .*; 'v_proy' is none of them$"),
        ("gpt2", "q_proj", r"gpt2: c_attn, c_fc, c_proj, wpe.*; 'q_proj' is none of them$"),
        ("gpt2", "c_attn,", r"'' is none of them$"),
        ("gpt2", "attn", r"'attn' is not a layer with weights that could have one$"),
        ("phi", "final_layernorm", r"'final_layernorm' is not a layer with weights"),
        ("phi", "lm_head", r"'lm_head' cannot have an adapter"),
        ("phi", "embed_tokens", r"'embed_tokens' cannot have an adapter"),
        (
            "mamba",
            "all-linear",
            r"peft cannot give adapters to all-linear of a mamba \(.*out_proj.*\); name other modules, or take trainer.tuning=full$",
        ),
    ],
)
def test_targets_that_a_model_cannot_have_are_one_line_known_from_its_shapes(
    kind: str, targets: str, problem: str, random_model: Path, tmp_path: Path
) -> None:
    shape = {} if kind in KINDS else {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 4}
    folder = write_model(kind, random_model, tmp_path / "model", **shape)
    model = weights.check(folder, "", "model.path", trust_remote_code=False)
    before = [name for name, _ in model.named_modules()]
    with pytest.raises(ConfigError, match=rf"(?s)^trainer\.lora\.target_modules.*{problem}") as caught:
        adapters.check_targets(model, Lora(target_modules=targets))
    assert "\n" not in str(caught.value)
    assert [name for name, _ in model.named_modules()] == before
    adapters.check_targets(model, Lora(target_modules={"phi": "q_proj, dense", "gpt2": "all-linear", "mamba": "in_proj"}[kind]))


class Drifting(torch.nn.Linear):
    """A head that answers otherwise every time."""

    calls = 0

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - the name that torch gives it
        self.calls += 1
        return super().forward(input) + self.calls * torch.arange(self.out_features)


def test_adapters_that_would_change_an_untrained_model_are_refused(random_model: Path, tmp_path: Path) -> None:
    model, _, mark = with_mark(write_model("phi", random_model, tmp_path / "phi"))
    model.get_output_embeddings().__class__ = Drifting
    with pytest.raises(
        ConfigError, match=r"^trainer\.tuning=lora: untrained adapters change the logits of a phi by up to .*; take trainer\.tuning=full$"
    ):
        adapters.add_lora(model, Lora(rank=2), mark)


@pytest.mark.parametrize("damage", ["missing", "unexpected", "other shape", "NaN", "truncated"])
def test_an_adapter_that_does_not_fit_is_one_line(damage: str, random_model: Path, tmp_path: Path) -> None:
    model, tokenizer, mark = with_mark(random_model)
    loading.save(adapters.add_lora(model, Lora(rank=2), mark), tokenizer, tmp_path)
    path = tmp_path / "adapter_model.safetensors"
    tensors = load_file(path)
    first = min(name for name in tensors if "lora_A" in name)
    if damage == "missing":
        del tensors[first]
    elif damage == "unexpected":
        tensors["base_model.model.other.lora_A.weight"] = tensors[first].clone()
    else:
        tensors[first] = torch.full_like(tensors[first], float("nan")) if damage == "NaN" else tensors[first][:, :-1].clone()
    save_file(tensors, path, metadata={"format": "pt"})
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(ConfigError, match=rf"^the adapter in {tmp_path} .*; remove that folder, and let the run make it again$") as caught:
        loading.load(tmp_path, PretrainedModel(path=str(random_model), device="cpu"), base_folder=random_model)
    assert "\n" not in str(caught.value)
