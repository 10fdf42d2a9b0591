"""What may hold a key is kept out of settings, and so out of files, and out of errors."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cotexp import credentials
from cotexp.config import command_line, overrides
from cotexp.settings.base import ConfigError
from cotexp.settings.server import ApiServer

SECRET = "planted4f7a9c2e8b1d6035"


def problems(**changes: Any) -> str:
    try:
        ApiServer(**{"service": "s", "model": "m", "base_url": "https://a/v1", **changes})
    except ConfigError as error:
        return str(error)
    return ""


SECRET_FIELDS: list[dict[str, Any]] = [
    {"token": "abc"},
    {"Token": "abc"},
    {"key": "abc"},
    {"api_key": "abc"},
    {"apiKey": "abc"},
    {"APIKEY": "abc"},
    {"api-keys": ["abc"]},
    {"access_token": "abc"},
    {"hf_token": "abc"},
    {"token": 123456},
    {"password": 123456},
    {"client_secret": "abc"},
    {"auth": {"user": "me"}},
    {"authorization": "abc"},
    {"credentials": {"a": "abc"}},
    {"cookie": "a=b"},
    {"headers": {"X-Key": "abc"}},
    {"headers": {"Accept": "x"}},
    {"headers": {}},
    {"extra_headers": {"Team": "abc"}},
    {"defaultHeaders": {"Team": "abc"}},
    {"X-Team": "abc"},
    {"metadata": {"deep": [{"deeper": {"token": "abc"}}]}},
    {"metadata": [[{"secret": "abc"}]]},
    {"user": f"Bearer {SECRET}"},
    {"user": "sk-abc"},
    {"user": SECRET},
    {"user": ["hf_abcdefgh"]},
    {"proxy": "http://me:word@host"},
    {"callback": "https://host/x?api_key=abc"},
    {SECRET: 1},
    *({name: "abc"} for name in ("pass", "userPass", "passcode", "pw", "pin", "otp", "oauth2", "authz", "creds", "login", "hmac", "license", "tok")),
    {"metadata": '{"token": "abc"}'},
    {"metadata": [' [{"headers": {"Team": "abc"}}]']},
    {"body": "token=abc"},
    {"key": {"type": "x", "value": "abc"}},
    {"schema": {"token": {"type": "string", "default": "abc"}}},
    {"session": "0f8fad5b-d9cb-469f-a165-70867728950e"},
]


@pytest.mark.parametrize("fields", SECRET_FIELDS, ids=json.dumps)
def test_fields_of_a_request_hold_no_key_and_no_header_at_any_depth(fields: dict[str, Any]) -> None:
    said = problems(extra_body=json.dumps(fields))
    assert said.startswith("extra_body must contain no key, password or header")
    assert "abc" not in said
    assert SECRET not in said
    assert "\n" not in said


def test_a_port_is_a_number_and_fields_that_are_not_taken_are_not_repeated() -> None:
    assert problems(base_url="http://host:hush/v1").startswith("base_url must begin with http")
    assert problems(base_url="http://host:{PORT}/v1") == ""
    for body in ('{"model": "hush"}', '["hush"]', '"hush"', "12345"):
        said = problems(extra_body=body)
        assert said.startswith("extra_body must ")
        assert "hush" not in said
        assert "12345" not in said


HARMLESS_FIELDS: list[dict[str, Any]] = [
    {"top_p": 0.9, "top_k": 20, "min_tokens": 5, "stop_token_ids": [1, 2], "skip_special_tokens": False, "logit_bias": {"50256": -100}},
    {"chat_template_kwargs": {"enable_thinking": False}, "thinking": {"type": "enabled", "budget_tokens": 1024}},
    {"reasoning": {"effort": "low", "max_tokens": 100}, "stop": ["</s>"], "truncate_prompt_tokens": 100, "eos_token": "</s>"},
    {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"properties": {"key": {"type": "string"}}}}}},
    {"json_schema": {"properties": {"token": {"type": "string", "description": "A word.", "enum": ["A", "B"]}, "pass": {"type": "boolean"}}}},
    {"stop": ["{", "[1", "[INST]"], "guided_regex": "[0-9]+", "guided_json": '{"type": "object"}', "compass": "x", "bypass": True},
    {"draft_model": "Qwen/Qwen2.5-0.5B-Instruct-GPTQ-Int4", "lora_path": "/models/lora-2024-07-18/adapter", "prompt_cache_key": "cotexp"},
    {"provider": {"order": ["together", "deepinfra"], "allow_fallbacks": False}, "user": "me", "keep_alive": "5m", "author": "me"},
    {"token": None, "return_tokens_as_token_ids": True, "monkey": "x", "authority": "x"},
    {"token": "{MY_TOKEN}", "metadata": {"key": "{MY_KEY}"}},
]


@pytest.mark.parametrize("fields", HARMLESS_FIELDS, ids=json.dumps)
def test_fields_that_servers_know_and_names_of_variables_are_taken(fields: dict[str, Any]) -> None:
    assert problems(extra_body=json.dumps(fields)) == ""


@pytest.mark.parametrize(
    "body", [f'{{"a": "{SECRET}"', f"{{token: {SECRET}}}", "[" * 100_000, json.dumps([SECRET])], ids=["cut", "no json", "deep", "list"]
)
def test_fields_that_cannot_be_read_are_not_repeated(body: str) -> None:
    said = problems(extra_body=body)
    assert said.startswith("extra_body must ")
    assert SECRET not in said
    assert len(said) < 400


def test_fields_nested_without_end_are_refused() -> None:
    assert problems(extra_body='{"a": ' * 40 + "1" + "}" * 40).startswith("extra_body must contain no key, password or header and at most 32 levels")


@pytest.mark.parametrize(
    "address",
    [
        f"https://gateway/{SECRET}/v1",
        "https://gateway/sk-abc/v1",
        "https://gateway/v1/key-abc",
        "https://gateway/key/abc/v1",
        "https://gateway/tok_abc/v1",
        "https://gateway/token=abc/v1",
        "https://gateway/v1;key=abc",
        "https://gateway/api_key_abc/v1",
        "https://gateway/0123456789abcdef/v1",
        "https://gateway/0f8fad5b-d9cb-469f-a165-70867728950e/v1",
        "https://gateway/bearer%20abcd/v1",
        "https://gateway/%73k-abc/v1",
        "https://sk-abc.host/v1",
        f"https://{SECRET}.host/v1",
    ],
)
def test_an_address_holds_no_key(address: str) -> None:
    said = problems(base_url=address)
    assert said.startswith("base_url must not contain a key")
    assert "abc" not in said
    assert SECRET not in said


@pytest.mark.parametrize(
    "address",
    [
        "https://api.openai.com/v1",
        "http://localhost:8000/v1",
        "http://[::1]:8000/v1",
        "http://192.168.100.200:11434/v1",
        "https://api.groq.com/openai/v1",
        "https://api.fireworks.ai/inference/v1",
        "https://generativelanguage.googleapis.com/v1beta/openai",
        "https://my-resource.openai.azure.com/openai/deployments/gpt-4o-mini-2024-07-18",
        "https://us-central1-aiplatform.googleapis.com/v1/projects/my-project/locations/us-central1/endpoints/openapi",
        "https://abcd1234-8000.proxy.runpod.net/v1",
        "https://gateway.example/{ACCOUNT}/{MY_KEY}/openai",
    ],
)
def test_addresses_of_services_and_names_of_variables_are_taken(address: str) -> None:
    assert problems(base_url=address) == ""


@pytest.mark.parametrize(
    "headers", ['{"X-Key": "abc def"}', '{"X-Key": "sk-abc"}', '{"X Key": "MY_KEY"}', "[]", "{", '{"X-Key": 1}', '{"X-Key": "AKIAABCDEFGHIJKLMNOP"}']
)
def test_headers_are_named_by_variables(headers: str) -> None:
    said = problems(headers_env=headers)
    assert said.startswith("headers_env must be a JSON object from headers to the environment variables with their values")
    assert not [each for each in ("abc", "AKIA", "X Key") if each in said]
    assert problems(headers_env='{"X-Key": "MY_KEY", "Accept-Language": "LANG_WANTED"}') == ""


@pytest.mark.parametrize("changes", [{"api_key_env": "AKIAABCDEFGHIJKLMNOP"}, {"model": f"m/{SECRET}"}, {"service": "sk-abc"}])
def test_no_other_setting_of_a_server_is_given_a_key(changes: dict[str, str]) -> None:
    said = problems(**changes)
    assert "its value is not repeated here" in said
    assert not [each for each in changes.values() if each in said]


@pytest.mark.parametrize(
    "word",
    [
        f'teacher.server.extra_body={{"token": "{SECRET}"',
        f"teacher.server.base_url=https://a/{SECRET}/[",
        f"teacher.server.api_key={SECRET} [",
        f"task.prompt=[{SECRET}",
        f"{SECRET} [",
        f"Authorization: Bearer {SECRET}",
        "teacher.server.headers={X-Key: hush",
    ],
)
def test_a_word_that_cannot_be_read_is_not_repeated_where_it_may_hold_a_key(word: str) -> None:
    with pytest.raises(ConfigError) as caught:
        overrides.parse([word])
    assert str(caught.value).startswith("cannot read ")
    assert not [each for each in (SECRET, "hush") if each in str(caught.value)]


@pytest.mark.slow
def test_a_word_that_can_be_read_but_does_not_fit_is_not_repeated_either() -> None:
    for word in (f"teacher.server.extra_body={{token:{SECRET}}}", f"teacher.server.timeout={SECRET}", f"+teacher.server.model={SECRET}"):
        with pytest.raises(ConfigError) as caught:
            command_line.check_command_line(
                ["teacher=api", "teacher.server.service=s", "teacher.server.model=m", "teacher.server.base_url=http://a", word], multirun=False
            )
        assert SECRET not in str(caught.value), word
    with pytest.raises(ConfigError) as caught:
        command_line.check_command_line(["teacher=api", f"teacher.server.model={SECRET},b"], multirun=False)
    assert SECRET not in str(caught.value)
    for word in (
        *("~teacher.server.api_key=hush", "teacher={server:{api_key:hush}}", "hydra.job.env_set.API_KEY=hush", "hydra.job.env_set={API_KEY:hush}"),
        *("hydra.launcher.api_key=hush", "+teacher=auth-hush", "teacher@x.key=hush"),
    ):
        with pytest.raises(ConfigError) as caught:
            command_line.check_command_line(["experiment=none", word], multirun=False)
        assert "hush" not in str(caught.value), word


def test_an_option_that_there_is_not_is_one_line_without_its_value() -> None:
    for words in (["--api-key=hush", "seed=1"], ["--api-key", "hush"]):
        with pytest.raises(ConfigError, match=r"^cotexp run has no option --api-key; settings are given as KEY=VALUE, and --help lists them$"):
            command_line.read_command(words)


def test_what_variables_hold_is_put_in_where_they_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", " hush \n")
    monkeypatch.delenv("NOT_SET", raising=False)
    assert credentials.fill_placeholders({"a": "{MY_KEY}", "b": ["{MY_KEY}", "x {MY_KEY}", 1], "c": {"d": None}}) == {
        "a": "hush",
        "b": ["hush", "x {MY_KEY}", 1],
        "c": {"d": None},
    }
    assert credentials.fill_address("https://a/{MY_KEY}/v1") == "https://a/hush/v1"
    server = ApiServer(
        service="s", model="m", base_url="https://a/{MY_KEY}", extra_body='{"a": ["{NOT_SET}"]}', headers_env='{"X": "TEAM"}', api_key_env="K"
    )
    assert server.variables == {"MY_KEY": "base_url", "NOT_SET": "extra_body", "TEAM": "headers_env", "K": "api_key_env"}


@pytest.mark.parametrize("password", ["plain", "p@ss", "p/ss", "p@s/s@", "p:a?ss", ""])
@pytest.mark.parametrize("scheme", ["http", "postgresql+psycopg2"])
def test_no_part_of_a_password_is_shown_with_an_address(scheme: str, password: str) -> None:
    said = credentials.without_user(f"no answer from {scheme}://me:{password}@host:5000/path, tried 3 times")
    assert said == f"no answer from {scheme}://host:5000/path, tried 3 times"


@pytest.mark.parametrize("address", ["http://host:5000/a", "sqlite:////home/me@work/m.db", "mailto me@host, then http://host"])
def test_an_address_without_a_user_stays_as_it_is(address: str) -> None:
    assert credentials.without_user(address) == address
