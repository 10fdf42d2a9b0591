"""Small tokenizers of every kind that models come with, and chat templates with the seams of real ones, both trained or written here.

All know the same special tokens, so each tokenizer can be asked with each template.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

BOS, EOS, UNK = "<s>", "</s>", "<unk>"
TURNS = ("<|user|>", "<|assistant|>", "<|end|>", "<|im_start|>", "<|im_end|>")
SPECIAL = (UNK, BOS, EOS, *TURNS)
GPT4 = r"""(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""

Plan = tuple[Any, Any, Any, Any]
"""Model, normalizer, pre-tokenizer and decoder."""


def _bytes(pre: Any = None, *, add_prefix_space: bool = False, normalizer: Any = None) -> Plan:
    own = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space, use_regex=pre is None)
    return models.BPE(), normalizer, own if pre is None else pre_tokenizers.Sequence([pre, own]), decoders.ByteLevel()


def _spaces(*, strip: bool) -> Any:
    parts = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    return decoders.Sequence([*parts, decoders.Strip(" ", 1, 0)] if strip else parts)


def _metaspace(scheme: str, *, split: bool, model: Any = None) -> Plan:
    own = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=split)
    return model or models.BPE(unk_token=UNK, byte_fallback=True, fuse_unk=True), None, own, _spaces(strip=scheme != "never")


def _prepended() -> Plan:
    normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    return models.BPE(unk_token=UNK, byte_fallback=True, fuse_unk=True), normalizer, None, _spaces(strip=True)


def _replaced() -> Plan:
    split = pre_tokenizers.Split(" ", "merged_with_previous")
    return models.BPE(unk_token=UNK, byte_fallback=True, fuse_unk=True), normalizers.Replace(" ", "▁"), split, _spaces(strip=False)


def _words() -> Plan:
    model = models.WordPiece(unk_token=UNK)
    return model, normalizers.BertNormalizer(lowercase=False), pre_tokenizers.BertPreTokenizer(), decoders.WordPiece(cleanup=False)


def _t5() -> Plan:
    spaces = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    return models.Unigram(), None, spaces, decoders.Metaspace()


KINDS: dict[str, Callable[[], Plan]] = {
    "bytes as GPT-2": _bytes,
    "bytes as GPT-4": lambda: _bytes(pre_tokenizers.Split(Regex(GPT4), "isolated"), normalizer=normalizers.NFC()),
    "bytes, digits apart": lambda: _bytes(pre_tokenizers.Digits(individual_digits=True)),
    "bytes with a space first": lambda: _bytes(add_prefix_space=True),
    "metaspace always": lambda: _metaspace("always", split=False),
    "metaspace always, words apart": lambda: _metaspace("always", split=True),
    "metaspace first": lambda: _metaspace("first", split=False),
    "metaspace first, words apart": lambda: _metaspace("first", split=True),
    "metaspace never": lambda: _metaspace("never", split=False),
    "prepended as Llama-2": _prepended,
    "replaced as Gemma": _replaced,
    "unigram always": lambda: _metaspace("always", split=True, model=models.Unigram()),
    "unigram first": lambda: _metaspace("first", split=True, model=models.Unigram()),
    "word pieces": _words,
    "T5": _t5,
}
LOSSY = ("word pieces", "T5", "unigram always", "unigram first", "bytes with a space first")
"""Kinds whose rules change a text, so that not every text comes back."""


def make(kind: str, texts: Sequence[str], template: str | None = None) -> Any:
    """A tokenizer of that kind; as Gemma's, one has tokens of line breaks."""
    from transformers import PreTrainedTokenizerFast

    model, normalizer, splitting, decoder = KINDS[kind]()
    tokenizer = Tokenizer(model)
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    if splitting is not None:
        tokenizer.pre_tokenizer = splitting
    tokenizer.decoder = decoder
    bytes_too = [f"<0x{number:02X}>" for number in range(256)] if isinstance(model, models.BPE) and model.byte_fallback else []
    shared: dict[str, Any] = {"vocab_size": 700, "show_progress": False}
    if isinstance(model, models.Unigram):
        trainer: Any = trainers.UnigramTrainer(special_tokens=list(SPECIAL), unk_token=UNK, initial_alphabet=[], **shared)
    elif isinstance(model, models.WordPiece):
        trainer = trainers.WordPieceTrainer(special_tokens=list(SPECIAL), **shared)
    else:
        alphabet = [] if bytes_too else pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(special_tokens=[*SPECIAL, *bytes_too], initial_alphabet=alphabet, **shared)
    tokenizer.train_from_iterator(texts, trainer)
    if bytes_too:
        tokenizer = _without(tokenizer, bytes_too)
    tokenizer.add_tokens([AddedToken(breaks, normalized=False) for breaks in ("\n\n", "\n\n\n")] if kind == "replaced as Gemma" else [])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=BOS, eos_token=EOS, unk_token=UNK, chat_template=template)


def swallow(tokenizer: Any) -> None:
    """Let the tokens of its turns take the white space behind them away, as Phi-3's do."""
    tokens = [AddedToken(each, rstrip=True, normalized=False, special=True) for each in TURNS]
    tokenizer.add_special_tokens({"extra_special_tokens": tokens})


def _without(tokenizer: Tokenizer, added: Sequence[str]) -> Tokenizer:
    """The same, in which these are pieces of the vocabulary and no added tokens."""
    rules = json.loads(tokenizer.to_str())
    rules["added_tokens"] = [each for each in rules["added_tokens"] if each["content"] not in added]
    return Tokenizer.from_str(json.dumps(rules))


def _template(user: str, begin: str, answer: str, first: str = "") -> str:
    return (
        f"{{{{ {first!r} }}}}{{% for each in messages %}}{{% if each['role'] == 'user' %}}{user}{{% else %}}{answer}{{% endif %}}{{% endfor %}}"
        f"{{% if add_generation_prompt %}}{{{{ {begin!r} }}}}{{% endif %}}"
    )


def _turn(before: str, after: str, *, trim: bool = False) -> str:
    return f"{{{{ {before!r} + each['content']{' | trim' if trim else ''} + {after!r} }}}}"


TEMPLATES: dict[str, str | None] = {
    "none": None,
    "inst": _template(_turn("[INST] ", " [/INST]"), "", _turn("", EOS)),
    "llama 2": _template(_turn(f"{BOS}[INST] ", " [/INST]", trim=True), "", _turn(" ", EOS, trim=True)),
    "zephyr": _template(_turn("<|user|>\n", f"{EOS}\n"), "<|assistant|>\n", _turn("<|assistant|>\n", f"{EOS}\n")),
    "vicuna": _template(_turn("USER: ", " "), "ASSISTANT:", _turn("ASSISTANT: ", EOS), first=f"{BOS}A chat. "),
    "colon and space": _template(_turn("Q: ", "\n"), "A: ", _turn("A: ", EOS)),
    "phi 3": _template(_turn("<|user|>\n", "<|end|>\n"), "<|assistant|>\n", _turn("<|assistant|>\n", "<|end|>\n")),
    "chatml": _template(_turn("<|im_start|>user\n", "<|im_end|>\n"), "<|im_start|>assistant\n", _turn("<|im_start|>assistant\n", "<|im_end|>\n")),
    "turns touch": _template(_turn("<|user|>", EOS), "<|assistant|>", _turn("<|assistant|>", EOS)),
    "trimmed": _template(_turn("<|im_start|>user<|im_end|>\n\n", EOS, trim=True), "<|im_start|>assistant<|im_end|>\n\n", _turn("", EOS)),
    "message last": _template(_turn(BOS, ""), "", _turn("", EOS)),
    "message alone": _template(_turn("", ""), "", _turn("", EOS)),
}


def save(tokenizer: Any, folder: Path, *, model_type: str, tokenizer_class: str | None) -> Path:
    """A folder as a hub has it, of a model of that type."""
    tokenizer.save_pretrained(folder)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    own = {name: value for name, value in config.items() if name not in ("tokenizer_class", "backend")}
    (folder / "tokenizer_config.json").write_text(json.dumps(own | ({"tokenizer_class": tokenizer_class} if tokenizer_class else {})))
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
    return folder
