"""Settings of servers that generate texts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from cotexp import credentials
from cotexp.settings.base import Section, setting
from cotexp.settings.sampling import Sampling

OWN_FIELDS = ("model", "messages", "temperature", "max_tokens", "max_completion_tokens", "seed", "n", "stream")
"""Fields of a request that other settings decide."""


@dataclass(slots=True, kw_only=True)
class ApiServer(Section):
    """A server with OpenAI's chat completions API: a service, or your own vLLM, SGLang, llama.cpp or `transformers serve`."""

    service: str = setting("???", "Short name of the service, such as openai, deepseek or local. It is part of every key instead of the address.")
    model: str = setting("???", "Name of the model at the service.")
    base_url: str = setting(
        "???",
        "Address, usually ending in /v1. Write {NAME} for a secret part that the environment variable NAME contains. Stored texts remain valid "
        "if the address of a service changes.",
        keyed=False,
    )
    api_key_env: str | None = setting(None, "Environment variable with the key, such as OPENAI_API_KEY. null for a server without keys.", keyed=False)
    input_price: float = setting(0.0, "US dollars per million prompt tokens. Cached tokens count in full.", low=0, keyed=False)
    output_price: float = setting(0.0, "US dollars per million generated tokens.", low=0, keyed=False)
    max_cost: float | None = setting(
        None,
        "Most US dollars that the texts of this role may cost in a run, including earlier starts of it. Default: no limit.",
        above=0,
        keyed=False,
    )
    timeout: float = setting(120.0, "Seconds that one request may take.", above=0, keyed=False)
    max_attempts: int = setting(8, "Most requests for one text, including the first.", low=1, keyed=False)
    token_limit_field: str = setting(
        "max_tokens", "Name of the field in which the server expects max_new_tokens.", choices=("max_tokens", "max_completion_tokens"), keyed=False
    )
    send_seed: bool = setting(True, "Whether each request contains a seed of its own. For servers that support the field.")
    extra_body: str = setting(
        "{}",
        'Additional fields of each request, as a JSON object: \'{"reasoning_effort": "low"}\'. Write "{NAME}" for the value of the environment '
        "variable NAME.",
    )
    headers_env: str = setting(
        "{}",
        'Additional headers of each request, as a JSON object from header to the environment variable with its value: \'{"X-Team": "MY_TEAM"}\'.',
        keyed=False,
    )

    @property
    def extra_fields(self) -> dict[str, Any]:
        """`extra_body` as an object."""
        fields: dict[str, Any] = json.loads(self.extra_body)
        return fields

    @property
    def variables(self) -> dict[str, str]:
        """Environment variable that requests need -> the setting that names it."""
        variables = dict.fromkeys(credentials.placeholder_names(self.base_url), "base_url")
        variables |= dict.fromkeys(credentials.placeholder_names(self.extra_fields), "extra_body")
        variables |= dict.fromkeys(json.loads(self.headers_env).values(), "headers_env")
        return variables | ({self.api_key_env: "api_key_env"} if self.api_key_env else {})

    def clashes(self, sampling: Sampling) -> Iterator[str]:
        """Yield one sentence per restriction of sampling that `extra_body` sets as well."""
        for name in sorted(sampling.restrictions.keys() & self.extra_fields.keys()):
            yield f"server.extra_body must leave {name} to the setting of that name; got both"

    def __post_init__(self) -> None:
        Section.__post_init__(self)
        self.extra_body = json.dumps(self.extra_fields, sort_keys=True)

    def contradictions(self) -> Iterator[str]:
        for name in ("service", "model"):
            if not getattr(self, name).strip():
                yield f"{name} must not be empty; got {getattr(self, name)!r}"
            elif credentials.looks_secret(getattr(self, name)):
                yield f"{name} must not contain a key, since settings are written to files; its value is not repeated here"
        if self.base_url != "???":
            yield from self._wrong_address()
        if self.api_key_env is not None and not _is_variable(self.api_key_env):
            yield "api_key_env must name an environment variable in capitals, such as OPENAI_API_KEY; its value is not repeated here"
        if self.max_cost is not None and not (self.input_price and self.output_price):
            yield f"max_cost needs input_price and output_price; got max_cost={self.max_cost} without both"
        yield from self._wrong_headers()
        yield from self._wrong_extra_body()

    def _wrong_address(self) -> Iterator[str]:
        if not re.fullmatch(r"https?://[^\s@?#]+", self.base_url) or not _has_port(self.base_url):
            yield "base_url must begin with http:// or https:// and have no user name, password or query; name the key's variable in api_key_env"
        elif credentials.is_secret_address(self.base_url):
            yield (
                "base_url must not contain a key, since settings are written to files, and a part of it may be one: put that part into an "
                "environment variable and write {NAME} in its place; its value is not repeated here"
            )

    def _wrong_headers(self) -> Iterator[str]:
        try:
            headers = json.loads(self.headers_env)
        except (json.JSONDecodeError, RecursionError):
            headers = None
        if not isinstance(headers, dict) or not all(
            re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name) and isinstance(value, str) and _is_variable(value) for name, value in headers.items()
        ):
            yield (
                "headers_env must be a JSON object from headers to the environment variables with their values, such as "
                '\'{"X-Team": "MY_TEAM"}\'; its value is not repeated here'
            )

    def _wrong_extra_body(self) -> Iterator[str]:
        try:
            fields = json.loads(self.extra_body)
        except json.JSONDecodeError as error:
            yield f"extra_body must be a JSON object ({error}); its value is not repeated here"
            return
        except RecursionError:
            yield f"extra_body must not be nested deeper than {credentials.MAX_DEPTH} levels"
            return
        if secrets := list(credentials.secret_fields(fields)):
            names = f" ({', '.join(map(repr, secrets))})" if all(secrets) else ""
            yield (
                f"extra_body must contain no key, password or header and at most {credentials.MAX_DEPTH} levels, since settings are written to "
                f'files{names}: write "{{NAME}}" for the value of an environment variable, and name headers in headers_env'
            )
        elif not isinstance(fields, dict):
            yield f"extra_body must be a JSON object; got a JSON {_KINDS[type(fields)]}, which is not repeated here"
        elif clashes := sorted(set(fields) & set(OWN_FIELDS)):
            yield f"extra_body must not contain {', '.join(clashes)}, which other settings decide; their values are not repeated here"


_KINDS = {list: "list", str: "text", int: "number", float: "number", bool: "truth value", type(None): "null"}


def _has_port(address: str) -> bool:
    """Whether an address has a numeric port or none."""
    try:
        urlsplit(credentials.PLACEHOLDER.sub("1", address)).port  # noqa: B018
    except ValueError:
        return False
    return True


def _is_variable(name: str) -> bool:
    """Whether a text can be the name of an environment variable and does not look like its value."""
    return bool(credentials.VARIABLE.fullmatch(name)) and not credentials.looks_secret(name)
