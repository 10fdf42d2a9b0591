"""Chat templates that say by themselves all that a prompt holds: no date of today, and the system prompt that was set."""

from __future__ import annotations

import datetime
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tokenizer_kinds
from families import CHATML, FAMILIES
from tokenizers import AddedToken, Tokenizer
from transformers import AutoTokenizer
from transformers.utils import chat_template_utils

from cotexp.models.encoding import Encoder
from cotexp.models.tokenizer import frame, load_tokenizer
from cotexp.settings.base import ConfigError
from cotexp.settings.models import PretrainedModel

TURN = [{"role": "user", "content": "How many?"}]


def load(folder: Path, **settings: Any) -> Any:
    return load_tokenizer(folder, PretrainedModel(path=str(folder), **settings))


def with_template(folder: Path, template: str | None, target: Path) -> Path:
    """A copy of the model's folder with another chat template."""
    shutil.copytree(folder, target)
    described = json.loads((target / "tokenizer_config.json").read_text())
    described.pop("chat_template", None)
    (target / "chat_template.jinja").unlink(missing_ok=True)
    (target / "tokenizer_config.json").write_text(json.dumps({**described, **({"chat_template": template} if template else {})}))
    return target


def rendered(tokenizer: Any, **given: Any) -> str:
    text: str = tokenizer.apply_chat_template(TURN, tokenize=False, add_generation_prompt=True, **given)
    return text


class Tomorrow(datetime.datetime):
    """A clock of another day."""

    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> Tomorrow:
        return cls(2031, 5, 17)


@pytest.mark.parametrize("saved", [False, True])
def test_a_template_that_states_the_date_states_the_same_on_every_day(
    saved: bool, family_folder: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = family_folder("llama_3_1")
    tokenizer = load(folder)
    if saved:
        tokenizer.save_pretrained(tmp_path)
        tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    before = rendered(tokenizer)
    assert "Today Date: 26 Jul 2024\n" in before
    monkeypatch.setattr(chat_template_utils, "datetime", Tomorrow)
    chat_template_utils._compile_jinja_template.cache_clear()
    assert "Today Date: 17 May 2031\n" in rendered(AutoTokenizer.from_pretrained(folder)), "as its own template has it"
    assert rendered(tokenizer) == before
    assert "Today Date: 01 Feb 2003\n" in rendered(tokenizer, date_string="01 Feb 2003"), "whoever gives a date still can"


def test_a_date_that_cannot_be_fixed_is_refused(random_model: Path, tmp_path: Path) -> None:
    folder = with_template(random_model, "{% set form = '%Y' %}{{ strftime_now(form) }}{{ messages[0]['content'] }}", tmp_path / "model")
    with pytest.raises(ConfigError, match=r"model\.path: the chat template asks for today's date in an unsupported way"):
        load(folder)


THINKS = CHATML + "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{{ note if note is string }}"


@pytest.mark.parametrize(
    "variables",
    [
        {"enable_thinking": False},
        {"enable_thinking": True},
        {"note": 'Say "it" {{ x }}\n\\ ünd \U0001d4ae.'},
        {"note": None, "enable_thinking": False},
    ],
    ids=str,
)
def test_variables_of_the_template_are_those_that_were_given(random_model: Path, tmp_path: Path, variables: dict[str, Any]) -> None:
    folder = with_template(random_model, THINKS, tmp_path / "model")
    given = AutoTokenizer.from_pretrained(folder).apply_chat_template(TURN, tokenize=False, add_generation_prompt=True, **variables)
    tokenizer = load(folder, chat_template_kwargs=json.dumps(variables))
    assert rendered(tokenizer) == given
    tokenizer.save_pretrained(tmp_path / "saved")
    assert rendered(AutoTokenizer.from_pretrained(tmp_path / "saved")) == given, "an exported folder needs no setting"
    assert load(tmp_path / "saved", chat_template_kwargs=json.dumps(variables)).chat_template == tokenizer.chat_template, "they are put in once"


def test_lists_and_objects_reach_the_template(random_model: Path, tmp_path: Path) -> None:
    folder = with_template(random_model, CHATML + "{{ levels[1].name if levels }}{{ levels[0] if levels }}", tmp_path / "model")
    assert rendered(load(folder, chat_template_kwargs='{"levels": [null, {"name": "high"}]}')).endswith("highNone")


@pytest.mark.parametrize("kind", ["smollm2", "qwen2_5", "llama_3_1", "r1_distill"])
def test_a_system_prompt_becomes_part_of_the_template(kind: str, family_folder: Callable[[str], Path], tmp_path: Path) -> None:
    words = 'Say "it" {{ briefly }}.\nIn \\boxed{} \U0001d4ae.'
    tokenizer = load(family_folder(kind), system_prompt=words)
    own = AutoTokenizer.from_pretrained(family_folder(kind))
    by_turn = own.apply_chat_template(
        [{"role": "system", "content": words}, *TURN], tokenize=False, add_generation_prompt=True, date_string="26 Jul 2024"
    )
    assert rendered(tokenizer) == by_turn
    assert words in by_turn
    assert "You are SYSTEM." not in by_turn
    tokenizer.save_pretrained(tmp_path)
    assert rendered(AutoTokenizer.from_pretrained(tmp_path)) == by_turn, "an exported folder needs no setting"
    assert load(tmp_path, system_prompt=words).chat_template == tokenizer.chat_template, "it is put in once"
    other = tokenizer.apply_chat_template([{"role": "system", "content": "Other."}, *TURN], tokenize=False)
    assert "Other." in other
    assert words not in other


def test_an_empty_system_prompt_leaves_out_the_templates_own(family_folder: Callable[[str], Path]) -> None:
    folder = family_folder("qwen2_5")
    assert "You are SYSTEM." in rendered(load(folder))
    assert rendered(load(folder, system_prompt="")).startswith("<|im_start|>system\n<|im_end|>\n<|im_start|>user\n")


def test_templates_by_name_are_all_settled(random_model: Path, tmp_path: Path) -> None:
    folder = with_template(random_model, None, tmp_path / "model")
    described = json.loads((folder / "tokenizer_config.json").read_text())
    named = [{"name": "default", "template": "{{ strftime_now('%Y') }}" + CHATML}, {"name": "tool_use", "template": "{{ strftime_now('%d') }}"}]
    (folder / "tokenizer_config.json").write_text(json.dumps({**described, "chat_template": named}))
    tokenizer = load(folder)
    assert tokenizer.chat_template == {"default": '{{ "2024" }}' + CHATML, "tool_use": '{{ "26" }}'}
    assert rendered(tokenizer).startswith("2024<|im_start|>system")


REFUSED: dict[str, tuple[str | None, dict[str, Any], str]] = {
    "a system prompt without a template": (
        None,
        {"system_prompt": "Be brief."},
        r"model\.system_prompt needs a model with a chat template.*'Be brief\.'",
    ),
    "a template that has no place for it": (
        "{% for each in messages %}{% if each['role'] == 'user' %}{{ each['content'] }}{% endif %}{% endfor %}",
        {"system_prompt": "Be brief."},
        r"model\.system_prompt: the chat template in .* has no place for one; leave it out",
    ),
    "a template that does not read a variable": (
        CHATML,
        {"chat_template_kwargs": '{"enable_thinking": false, "x": 1}'},
        r"model\.chat_template_kwargs: the chat template in .* reads no variable enable_thinking, x; leave it out",
    ),
    "a variable without a template": (
        None,
        {"chat_template_kwargs": '{"enable_thinking": false}'},
        r"model\.chat_template_kwargs needs a model with a chat template.*enable_thinking",
    ),
    "a template that refuses it": (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}{{ messages[0]['content'] }}",
        {"system_prompt": "Be brief."},
        r"the chat template of .* refuses .*no system role",
    ),
    "a template that hides the question": ("{{ 'Hello.' }}", {}, r"must show the user's text once; it shows it 0 times"),
    "a template that repeats the question": ("{{ messages[0]['content'] * 2 }}", {}, r"must show the user's text once; it shows it 2 times"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_template_that_cannot_be_used_is_refused_in_one_line(what: str, random_model: Path, tmp_path: Path) -> None:
    template, settings, message = REFUSED[what]
    folder = with_template(random_model, template, tmp_path / "model")
    with pytest.raises(ConfigError, match=message) as caught:
        load(folder, **settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_template_without_date_is_left_as_it_is(kind: str, family_folder: Callable[[str], Path]) -> None:
    own, loaded = AutoTokenizer.from_pretrained(family_folder(kind)), load(family_folder(kind))
    assert (loaded.chat_template == own.chat_template) == (kind != "llama_3_1")
    assert "".join(frame(loaded)).count("How") == 0


def test_a_saved_tokenizer_keeps_the_tokens_of_its_template_special(family_folder: Callable[[str], Path], tmp_path: Path) -> None:
    tokenizer = load(family_folder("r1_distill"))
    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    special = {str(each) for each in again.added_tokens_decoder.values() if each.special}
    assert {"<｜User｜>", "<｜Assistant｜>"} <= special
    assert not {"<think>", "</think>"} & special


@pytest.mark.parametrize("kind", tokenizer_kinds.KINDS)
def test_a_folder_is_read_by_its_own_tokenizer_json_and_not_by_the_rules_of_its_kind_of_model(
    kind: str, story_texts: list[str], tmp_path: Path
) -> None:
    made = tokenizer_kinds.make(kind, story_texts, CHATML)
    overruled = 0
    for model_type in ("qwen2", "llama", "gemma2", "phi3", "gpt_neox", "t5"):
        for name in (None, "PreTrainedTokenizerFast", "LlamaTokenizer"):
            folder = tokenizer_kinds.save(made, tmp_path / f"{model_type}-{name}", model_type=model_type, tokenizer_class=name)
            own = Tokenizer.from_file(str(folder / "tokenizer.json"))
            tokenizer = load(folder)
            texts = ["Ann has 15 apples,  and 3.5\nHow many 日本?", " a", "\n\n", "it's 1,234!\n\n"]
            for text in texts:
                assert tokenizer(text, add_special_tokens=False)["input_ids"] == own.encode(text, add_special_tokens=False).ids
                assert tokenizer.decode(own.encode(text).ids) == own.decode(own.encode(text).ids, skip_special_tokens=False)
            assert tokenizer.get_vocab() == own.get_vocab()
            assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.unk_token) == ("<s>", "</s>", "<unk>")
            assert tokenizer.chat_template == CHATML
            overruled += not follows_own(folder, texts, own)
    assert overruled >= 4, "transformers alone reads many of them otherwise"


def follows_own(folder: Path, texts: list[str], own: Tokenizer) -> bool:
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except TypeError:
        return False
    return all(tokenizer(text, add_special_tokens=False)["input_ids"] == own.encode(text, add_special_tokens=False).ids for text in texts)


def test_a_class_that_keeps_to_the_folder_is_left_as_it_is(family_folder: Callable[[str], Path]) -> None:
    assert type(load(family_folder("flan_t5"))).__name__ == "T5Tokenizer"


def test_line_breaks_of_a_template_stay_text(story_texts: list[str], tmp_path: Path) -> None:
    made = tokenizer_kinds.make("replaced as Gemma", story_texts, tokenizer_kinds.TEMPLATES["trimmed"])
    made.add_tokens([AddedToken("\n", normalized=False)])
    tokenizer = load(tokenizer_kinds.save(made, tmp_path, model_type="gemma2", tokenizer_class="GemmaTokenizer"))
    assert "\n\n" in frame(tokenizer)[0]
    encoder = Encoder.of(tokenizer, compress_token=None)
    text = "One.\n\nTwo.\nThree."
    assert tokenizer.convert_tokens_to_ids("\n\n") in encoder.text_ids(text)
    assert encoder.decode(encoder.text_ids(text)) == text


def test_a_mark_that_is_an_ordinary_token_of_the_folder_becomes_special(story_texts: list[str], tmp_path: Path) -> None:
    made = tokenizer_kinds.make("bytes as GPT-2", story_texts, CHATML)
    made.add_tokens([AddedToken("<compress>", special=False, normalized=False)])
    tokenizer = load(tokenizer_kinds.save(made, tmp_path, model_type="llama", tokenizer_class=None))
    mark = made.convert_tokens_to_ids("<compress>")
    assert mark in tokenizer.all_special_ids
    assert tokenizer.convert_tokens_to_ids("<compress>") == mark
