"""A Llama model with weights by hand that thinks one thought after every prompt and then writes one of thirteen sentences, with known probabilities.

Its layer adds nothing, so the next token depends on the last one alone: `followers` says how. Its template ends in `<think>`, as those of reasoning
models do, and renders `reasoning_content`, by which llama.cpp knows that a model reasons. Its generation_config.json asks for top_k=1, which no
setting of ours does, so that a server that samples by it is seen.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

CONTEXT = 256
CONTROL = ("<|pad|>", "<|begin|>", "<|user|>", "<|assistant|>", "<|end|>")
MARKS = ("<think>", "</think>")
TEMPLATE = (
    "{{ '<|begin|>' }}{% for message in messages %}{{ '<|' + message['role'] + '|>' }}{% if message['reasoning_content'] %}"
    "{{ '<think>\n' + message['reasoning_content'] + '</think>' }}{% endif %}{{ message['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|><think>\n' }}{% endif %}"
)
THOUGHT = "I count words"
COMMON = {"one": 0.4, "two": 0.25, "three": 0.2}
"""Word of the sentence -> its probability; at temperature 0 it is the first."""
RARE = dict.fromkeys(("four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen"), 0.015)
"""The same for words that min_p=0.05 and a small top_k leave out."""
ANSWER_TOKENS = 8
"""Tokens of each text: three of the thought, its closing mark, three of the sentence, and its full stop."""
WIDTH = 512


def answers(words: Iterable[str] = COMMON | RARE) -> set[str]:
    return {f"It is {word}." for word in words}


def followers() -> dict[str, dict[str, float]]:
    """Token -> the tokens that may follow it, with their probabilities."""
    chain = ["\n", "I", "Ġcount", "Ġwords", "</think>", "It", "Ġis"]
    following = {one if one != "\n" else "Ċ": {other: 1.0} for one, other in itertools.pairwise(chain)}
    following["Ġis"] = {f"Ġ{word}": share for word, share in (COMMON | RARE).items()}
    following |= {f"Ġ{word}": {".": 1.0} for word in COMMON | RARE}
    following["."] = {"<|end|>": 1.0}
    return following


def write(folder: Path) -> Path:
    """The model as a transformers folder."""
    tokenizer = make_tokenizer()
    ids = {"pad_token_id": tokenizer.pad_token_id, "bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    shape = {"hidden_size": WIDTH, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 8, "num_key_value_heads": 8}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), max_position_embeddings=CONTEXT, tie_word_embeddings=False, **shape, **ids))
    with torch.no_grad():
        model.model.embed_tokens.weight.copy_(torch.eye(len(tokenizer), WIDTH))
        model.lm_head.weight.fill_(-30 / math.sqrt(WIDTH))  # the last norm multiplies by the root of the width
        for token, following in followers().items():
            for next_token, share in following.items():
                column = tokenizer.convert_tokens_to_ids(token)
                model.lm_head.weight[tokenizer.convert_tokens_to_ids(next_token), column] = math.log(share) / math.sqrt(WIDTH)
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
    model.generation_config.update(do_sample=True, top_k=1)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE in which each word of the texts is one token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=WIDTH - len(MARKS), special_tokens=list(CONTROL), initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator([THOUGHT, *sorted(answers())], trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=CONTROL[0], bos_token=CONTROL[1], eos_token=CONTROL[-1])
    fast.add_tokens(list(MARKS))  # parsers of reasoning look for their ids
    fast.chat_template = TEMPLATE
    return fast


def num_prompt_tokens(tokenizer: PreTrainedTokenizerFast, question: str) -> int:
    prompt = tokenizer.apply_chat_template([{"role": "user", "content": question}], add_generation_prompt=True, tokenize=False)
    return len(tokenizer(prompt, add_special_tokens=False)["input_ids"])
