"""A model's tokenizer, with a chat template that says by itself all that this project's prompts hold.

So prompts are the same on every day, and whoever takes an exported folder gets them from its template alone.
"""

from __future__ import annotations

import json
import re
from datetime import date
from pathlib import Path
from typing import Any

from cotexp.methods import reasoning
from cotexp.model_settings import PretrainedModel
from cotexp.sections import ConfigError

TODAY = date(2024, 7, 26)
"""What templates that ask for the day's date are told: Llama-3.1's own default. Prompts, and so results, must not depend on the day."""

PROBE = "QUESTION_STANDS_HERE"

_NOW = re.compile(r"""strftime_now\(\s*("[^"]*"|'[^']*')\s*\)""")


def load_tokenizer(folder: Path, settings: PretrainedModel) -> Any:
    """The tokenizer in `folder` with the date of TODAY and the system prompt of the settings in its chat template.

    Raises: ConfigError when the template cannot hold them, or does not show the user's text once; whatever transformers raises.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=settings.trust_remote_code)
    if tokenizer.chat_template:
        tokenizer.chat_template = _each(tokenizer.chat_template, settings.system_prompt)
        _protect(tokenizer, "".join(frame(tokenizer)))
        if settings.system_prompt and settings.system_prompt.strip() not in frame(tokenizer)[0]:
            raise ConfigError(f"model.system_prompt: the chat template in {folder} has no place for one; leave it out")
    elif settings.system_prompt is not None:
        raise ConfigError(f"model.system_prompt needs a model with a chat template, which {folder} lacks; got {settings.system_prompt!r}")
    return tokenizer


def frame(tokenizer: Any) -> tuple[str, str]:
    """What the chat template puts before and after the user's text when the model is to answer.

    Raises: ConfigError when it refuses, or does not show that text exactly once.
    """
    from jinja2 import TemplateError

    try:
        rendered = tokenizer.apply_chat_template([{"role": "user", "content": PROBE}], tokenize=False, add_generation_prompt=True)
    except TemplateError as error:
        raise ConfigError(f"model.path: the chat template of {tokenizer.name_or_path} refuses a user's turn ({error})") from None
    pieces = rendered.split(PROBE)
    if len(pieces) != 2:
        times = f"it shows it {len(pieces) - 1} times"
        raise ConfigError(f"model.path: the chat template of {tokenizer.name_or_path} must show the user's text once; {times}")
    return pieces[0], pieces[1]


def _each(template: Any, system_prompt: str | None) -> Any:
    """A tokenizer has one template, or several by name."""
    if isinstance(template, dict):
        return {name: _settled(each, system_prompt) for name, each in template.items()}
    return _settled(template, system_prompt)


def _settled(template: str, system_prompt: str | None) -> str:
    dated = _NOW.sub(lambda found: json.dumps(TODAY.strftime(found[1][1:-1])), template)
    if "strftime_now(" in dated:
        raise ConfigError("model.path: the chat template asks for today's date in a way that cannot be fixed; write a date in its place")
    if system_prompt is None:
        return dated
    turn = f"[{{'role': 'system', 'content': {json.dumps(system_prompt)}}}]"
    first = f"{{%- if messages[0]['role'] != 'system' %}}{{%- set messages = {turn} + messages %}}{{%- endif %}}"
    return dated if dated.startswith(first) else first + dated


def _protect(tokenizer: Any, text: str) -> None:
    """Make tokens of the template's frame special, as R1's `<｜User｜>` is not, so that no question can hold one.

    The marks of thinking stay what they are: models write them.
    """
    marks = (reasoning.OPEN, reasoning.CLOSE)
    added = [str(each) for each in tokenizer.added_tokens_decoder.values() if not each.special and str(each) in text and str(each) not in marks]
    if added:
        tokenizer.add_special_tokens({"extra_special_tokens": added}, replace_extra_special_tokens=False)
