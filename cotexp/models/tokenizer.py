"""Loads a model's tokenizer by the rules of its folder, with a chat template that contains the date and the system prompt.

So prompts are the same every day, and the template of an exported folder gives the same prompts without settings.
"""

from __future__ import annotations

import json
import logging
import re
from datetime import date
from pathlib import Path
from typing import Any

import orjson
from tokenizers import Tokenizer

from cotexp.methods import reasoning
from cotexp.settings.base import ConfigError
from cotexp.settings.models import PretrainedModel

log = logging.getLogger(__name__)

TODAY = date(2024, 7, 26)
"""The date for templates that use today's; it is Llama-3.1's default. Prompts and therefore results must not depend on the day."""

PROBE = "QUESTION_STANDS_HERE"
ANSWER_PROBE = "ANSWER_STANDS_HERE"

TOKENIZER_FILE = "tokenizer.json"

_NOW = re.compile(r"""strftime_now\(\s*("[^"]*"|'[^']*')\s*\)""")


def load_tokenizer(folder: Path, settings: PretrainedModel) -> Any:
    """The tokenizer in `folder` with the date of TODAY and the system prompt of the settings in its chat template.

    Raises: ConfigError if the template cannot hold them, or does not show the user's text once; whatever transformers raises.
    """
    tokenizer = _own(folder, settings)
    _make_special(tokenizer, [each for each in (settings.compress_token,) if each in tokenizer.get_vocab()])
    if tokenizer.chat_template:
        if unread := [name for name in settings.template_variables if not re.search(rf"\b{name}\b", str(tokenizer.chat_template))]:
            raise ConfigError(f"model.chat_template_kwargs: the chat template in {folder} reads no variable {', '.join(unread)}; leave it out")
        tokenizer.chat_template = _each(tokenizer.chat_template, settings)
        _protect(tokenizer, "".join(frame(tokenizer)))
        if settings.system_prompt and settings.system_prompt.strip() not in frame(tokenizer)[0]:
            raise ConfigError(f"model.system_prompt: the chat template in {folder} has no place for one; leave it out")
    elif settings.system_prompt is not None:
        raise ConfigError(f"model.system_prompt needs a model with a chat template, which {folder} lacks; got {settings.system_prompt!r}")
    elif settings.template_variables:
        raise ConfigError(f"model.chat_template_kwargs needs a model with a chat template, which {folder} lacks; got {settings.chat_template_kwargs}")
    return tokenizer


def _own(folder: Path, settings: PretrainedModel) -> Any:
    """The tokenizer that the files in `folder` describe.

    For many kinds of models transformers uses a class with other rules than those in tokenizer.json. Then only the special tokens of the class
    are used.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    file = folder / TOKENIZER_FILE
    named: dict[str, Any] = {}
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=settings.trust_remote_code)
    except TypeError:  # the class cannot hold the folder's kind of vocabulary
        if not file.is_file():
            raise
    else:
        if not type(tokenizer).__module__.startswith("transformers.") or follows(tokenizer, file):
            return tokenizer
        log.info("%s: the rules of tokenizer.json are used, not those of %s, which transformers would use", folder, type(tokenizer).__name__)
        known = Tokenizer.from_file(str(file)).get_vocab()
        named = {name: each for name, each in tokenizer.special_tokens_map.items() if isinstance(each, str) and each in known}
    return PreTrainedTokenizerFast.from_pretrained(folder, **named)


def follows(tokenizer: Any, file: Path) -> bool:
    """Whether a tokenizer has the rules and the vocabulary of the tokenizer.json `file`; true without that file."""
    from transformers import PreTrainedTokenizerFast

    if type(tokenizer) is PreTrainedTokenizerFast or not tokenizer.is_fast or not file.is_file():
        return True
    own = Tokenizer.from_file(str(file))
    return len(tokenizer) == own.get_vocab_size() and _rules(own) == _rules(tokenizer.backend_tokenizer)


def _rules(backend: Tokenizer) -> Any:
    """All rules for ids and texts, without special tokens and templates around a text."""
    rules = orjson.loads(backend.to_str())
    merges = ["".join(each) if isinstance(each, list) else each.replace(" ", "") for each in rules["model"].get("merges", [])]
    special = {each["content"] for each in rules["added_tokens"]}
    pieces = rules["model"]["vocab"]
    numbers = pieces.items() if isinstance(pieces, dict) else ((piece, round(score, 6)) for piece, score in pieces)  # files round scores
    vocabulary = sorted(each for each in numbers if each[0] not in special)
    model = rules["model"] | {"merges": merges, "vocab": vocabulary}
    return _said({"model": model, **{part: rules[part] for part in ("normalizer", "pre_tokenizer", "decoder")}})


def _said(rules: Any) -> Any:
    """Rules without entries that change no ids: None, empty texts, and offsets of tokens."""
    if isinstance(rules, dict):
        return {name: _said(each) for name, each in rules.items() if each not in (None, "") and name != "trim_offsets"}
    return rules if not isinstance(rules, list) or not rules or not isinstance(rules[0], dict) else [_said(each) for each in rules]


def frame(tokenizer: Any) -> tuple[str, str]:
    """The text that the chat template puts before and after the user's text in a prompt.

    Raises: ConfigError if the template refuses the text, or does not contain it exactly once.
    """
    from jinja2 import TemplateError

    try:
        rendered = prompt_text(tokenizer, PROBE)
    except TemplateError as error:
        raise ConfigError(f"model.path: the chat template of {tokenizer.name_or_path} refuses a user's turn ({error})") from None
    pieces = rendered.split(PROBE)
    if len(pieces) != 2:
        times = f"it shows it {len(pieces) - 1} times"
        raise ConfigError(f"model.path: the chat template of {tokenizer.name_or_path} must show the user's text once; {times}")
    return pieces[0], pieces[1]


def prompt_text(tokenizer: Any, message: str) -> str:
    """The chat template's text for a user's message, up to the first token that the model writes."""
    text: str = tokenizer.apply_chat_template([{"role": "user", "content": message}], tokenize=False, add_generation_prompt=True)
    return text


def opening_of_answers(tokenizer: Any) -> str:
    """White space between prompt and answer in the chat template, as after Llama-2's "[/INST]"; empty if there is none."""
    from jinja2 import TemplateError

    turns = [{"role": "user", "content": PROBE}, {"role": "assistant", "content": ANSWER_PROBE}]
    try:
        before, found, _ = tokenizer.apply_chat_template(turns, tokenize=False).partition(ANSWER_PROBE)
    except TemplateError:
        return ""
    prompt = PROBE.join(frame(tokenizer))
    lead = before.removeprefix(prompt)
    return lead if found and before.startswith(prompt) and not lead.strip() else ""


def _each(template: Any, settings: PretrainedModel) -> Any:
    """The settled template, or several by name."""
    if isinstance(template, dict):
        return {name: _settled(each, settings) for name, each in template.items()}
    return _settled(template, settings)


def _settled(template: str, settings: PretrainedModel) -> str:
    """The template with the date of TODAY, the system prompt and the variables of the settings written into it."""
    dated = _NOW.sub(lambda found: json.dumps(TODAY.strftime(found[1][1:-1])), template)
    if "strftime_now(" in dated:
        raise ConfigError("model.path: the chat template asks for today's date in an unsupported way; write a date in its place")
    first = "".join(f"{{%- set {name} = {_literal(value)} %}}" for name, value in sorted(settings.template_variables.items()))
    if settings.system_prompt is not None:
        turn = f"[{{'role': 'system', 'content': {_literal(settings.system_prompt)}}}]"
        first += f"{{%- if messages[0]['role'] != 'system' %}}{{%- set messages = {turn} + messages %}}{{%- endif %}}"
    return dated if dated.startswith(first) else first + dated


def _literal(value: Any) -> str:
    """A JSON value as a Jinja literal."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_literal(name)}: {_literal(each)}' for name, each in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_literal, value))}]"
    return "none" if value is None else json.dumps(value, ensure_ascii=False)


def _protect(tokenizer: Any, text: str) -> None:
    """Make the tokens around a user's text special, so that no question can contain one. R1's `<｜User｜>`, for example, is not special.

    Marks of reasoning and Gemma's tokens of white space are not changed, because models write them.
    """
    marks = (reasoning.OPEN, reasoning.CLOSE)
    names = [str(each) for each in tokenizer.added_tokens_decoder.values() if not each.special]
    added = [each for each in names if each in text and each.strip() and each not in marks]
    _make_special(tokenizer, added)


def _make_special(tokenizer: Any, names: list[str]) -> None:
    if new := [each for each in names if each not in tokenizer.all_special_tokens]:
        tokenizer.add_special_tokens({"extra_special_tokens": new}, replace_extra_special_tokens=False)
