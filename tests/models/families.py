"""Tiny models with random weights that resemble real families: architecture, special tokens, chat template, end tokens, spare rows.

Each is written as a hub folder is, not as this project saves one. Templates are our own, with the structure of the real ones.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CHATML = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are SYSTEM.<|im_end|>\n' }}"
    "{% endif %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
DATED = """{{- bos_token }}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}{%- set date_string = strftime_now("%d %b %Y") %}{%- else %}{%- set date_string = "01 Jan 2020" %}{%- endif %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}{%- set system = messages[0]['content']|trim %}{%- set messages = messages[1:] %}
{%- else %}{%- set system = "" %}{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\nToday Date: " + date_string + "\\n\\n" + system + "<|eot_id|>" }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}"""
THINKING = (
    "{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}{% set ns = namespace(system='') %}"
    "{% for message in messages %}{% if message['role'] == 'system' %}{% set ns.system = message['content'] %}{% endif %}{% endfor %}"
    "{{ bos_token }}{{ ns.system }}{% for message in messages %}{% if message['role'] == 'user' %}{{ '<｜User｜>' + message['content'] }}{% endif %}"
    "{% if message['role'] == 'assistant' %}{{ '<｜Assistant｜>' + message['content'].split('</think>')[-1] + eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<｜Assistant｜><think>\\n' }}{% endif %}"
)
QWEN_DEFAULTS = {"do_sample": True, "temperature": 0.7, "top_p": 0.8, "top_k": 20, "repetition_penalty": 1.5}


@dataclass(frozen=True, slots=True)
class Family:
    """A kind of model. `prompt` is the whole prompt for the question Q with the mark, by hand; `control` are tokens no text may hold."""

    architecture: str
    tokenizer_class: str
    special: Sequence[str]
    template: str
    prompt: str
    ends: Sequence[str]
    tied: bool
    eos: str
    bos: str | None = None
    pad: str | None = None
    spare_rows: int = 0
    plain: Sequence[str] = ()
    control: Sequence[str] = ()
    begins_texts: bool = False
    generation: dict[str, Any] = field(default_factory=dict)


CHATML_PROMPT = "<|im_start|>system\nYou are SYSTEM.<|im_end|>\n<|im_start|>user\nQ<compress><|im_end|>\n<|im_start|>assistant\n"
CHATML_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
QWEN: dict[str, Any] = {
    "architecture": "qwen2",
    "tokenizer_class": "Qwen2Tokenizer",
    "special": CHATML_TOKENS,
    "template": CHATML,
    "prompt": CHATML_PROMPT,
    "ends": ("<|im_end|>", "<|endoftext|>"),
    "eos": "<|im_end|>",
    "pad": "<|endoftext|>",
    "spare_rows": 40,
    "control": CHATML_TOKENS,
    "generation": QWEN_DEFAULTS,
}
LLAMA_TOKENS = ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eom_id|>", "<|eot_id|>")
HEADER = "<|start_header_id|>{}<|end_header_id|>\n\n"

FAMILIES: dict[str, Family] = {
    "smollm2": Family(
        architecture="llama",
        tokenizer_class="GPT2Tokenizer",
        special=CHATML_TOKENS,
        template=CHATML,
        prompt=CHATML_PROMPT,
        ends=("<|im_end|>",),
        tied=True,
        bos="<|im_start|>",
        eos="<|im_end|>",
        pad="<|im_end|>",
        control=CHATML_TOKENS,
    ),
    "qwen2_5": Family(**QWEN, tied=True),
    "qwen2_5_untied": Family(**QWEN, tied=False),
    "llama_3_1": Family(
        architecture="llama",
        tokenizer_class="PreTrainedTokenizerFast",
        special=LLAMA_TOKENS,
        template=DATED,
        prompt=(
            f"<|begin_of_text|>{HEADER.format('system')}Today Date: 26 Jul 2024\n\n<|eot_id|>"
            f"{HEADER.format('user')}Q<compress><|eot_id|>{HEADER.format('assistant')}"
        ),
        ends=("<|end_of_text|>", "<|eom_id|>", "<|eot_id|>"),
        tied=False,
        bos="<|begin_of_text|>",
        eos="<|eot_id|>",
        control=LLAMA_TOKENS,
        begins_texts=True,
        generation={"do_sample": True, "temperature": 0.6, "top_p": 0.9},
    ),
    "r1_distill": Family(
        architecture="qwen2",
        tokenizer_class="LlamaTokenizerFast",
        special=("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"),
        plain=("<｜User｜>", "<｜Assistant｜>", "<think>", "</think>"),
        template=THINKING,
        prompt="<｜begin▁of▁sentence｜><｜User｜>Q<compress><｜Assistant｜><think>\n",
        ends=("<｜end▁of▁sentence｜>",),
        tied=False,
        bos="<｜begin▁of▁sentence｜>",
        eos="<｜end▁of▁sentence｜>",
        pad="<｜end▁of▁sentence｜>",
        spare_rows=24,
        control=("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>"),
        begins_texts=True,
        generation={"do_sample": True, "temperature": 0.6, "top_p": 0.95},
    ),
}


def write_family(family: Family, texts: Sequence[str], folder: Path) -> None:
    """A hub folder with a random model of that kind (2 layers of width 32)."""
    import torch
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

    vocabulary = write_tokenizer(family, texts, folder)
    ends = [vocabulary[each] for each in family.ends]
    shape: dict[str, Any] = {
        "vocab_size": len(vocabulary) + family.spare_rows,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "tie_word_embeddings": family.tied,
        "bos_token_id": vocabulary[family.bos or family.ends[-1]],
        "eos_token_id": ends if len(ends) > 1 else ends[0],
        "pad_token_id": None,
    }
    torch.manual_seed(0)
    model = Qwen2ForCausalLM(Qwen2Config(**shape)) if family.architecture == "qwen2" else LlamaForCausalLM(LlamaConfig(**shape))
    model.generation_config = GenerationConfig(bos_token_id=shape["bos_token_id"], eos_token_id=shape["eos_token_id"], **family.generation)
    model.save_pretrained(folder)


def write_tokenizer(family: Family, texts: Sequence[str], folder: Path) -> dict[str, int]:
    """tokenizer.json and tokenizer_config.json of a byte-level BPE as the family has it; returns the vocabulary."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from tokenizers.processors import TemplateProcessing

    folder.mkdir()
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=list(family.special), initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens([AddedToken(each, special=False, normalized=False) for each in family.plain])
    vocabulary: dict[str, int] = tokenizer.get_vocab()
    if family.begins_texts and family.bos:
        tokenizer.post_processor = TemplateProcessing(single=f"{family.bos} $A", special_tokens=[(family.bos, vocabulary[family.bos])])
    tokenizer.save(str(folder / "tokenizer.json"))
    own = {"bos_token": family.bos, "eos_token": family.eos, "pad_token": family.pad, "add_bos_token": family.begins_texts}
    described = {"tokenizer_class": family.tokenizer_class, "chat_template": family.template, "clean_up_tokenization_spaces": False, **own}
    (folder / "tokenizer_config.json").write_text(json.dumps({name: value for name, value in described.items() if value is not None}))
    return vocabulary


def write_gguf(folder: Path, path: Path) -> Path:
    """The Llama-shaped model in `folder`, as a GGUF file in float32."""
    import gguf
    import numpy as np
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder, dtype="float32")
    config, writer = model.config, gguf.GGUFWriter(str(path), "llama")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    tokens = tokenizer.convert_ids_to_tokens(range(config.vocab_size))
    kinds = {
        each.content: gguf.TokenType.CONTROL if each.special else gguf.TokenType.USER_DEFINED for each in tokenizer.added_tokens_decoder.values()
    }
    merges = json.loads((folder / "tokenizer.json").read_text())["model"]["merges"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([kinds.get(each, gguf.TokenType.NORMAL) for each in tokens])
    writer.add_token_merges([" ".join(each) for each in merges])
    writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    writer.add_chat_template(tokenizer.chat_template)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    for name, each in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        weight, turned = each.numpy(), next((heads[part] for part in heads if part in name), None)
        if turned:  # GGUF interleaves the halves that rotary embeddings turn
            weight = weight.reshape(turned, 2, len(weight) // turned // 2, -1).swapaxes(1, 2).reshape(weight.shape)
        writer.add_tensor(names.get_name(name, try_suffixes=(".weight",)), np.ascontiguousarray(weight))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
