"""Settings of servers that write texts."""

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
    """A server that speaks OpenAI's chat completions: a service, or vLLM, SGLang, llama.cpp or `transformers serve` on a machine of yours."""

    service: str = setting("???", "Short name of the service, part of every key in place of its address: openai, deepseek, local, ...")
    model: str = setting("???", "Name of the model at the service.")
    base_url: str = setting(
        "???",
        "Address, mostly ending in /v1; {NAME} stands for the environment variable NAME, for a part that is secret. Another address of the same "
        "service keeps all texts.",
        keyed=False,
    )
    api_key_env: str | None = setting(
        None, "Name of the environment variable that holds the key, such as OPENAI_API_KEY; null for a server without keys.", keyed=False
    )
    input_price: float = setting(0.0, "US dollars per million prompt tokens; cached ones are counted in full.", low=0, keyed=False)
    output_price: float = setting(0.0, "US dollars per million written tokens.", low=0, keyed=False)
    max_cost: float | None = setting(
        None, "Most US dollars that this role's texts of the run may cost, earlier starts included; no limit by default.", above=0, keyed=False
    )
    timeout: float = setting(120.0, "Seconds that one request may take.", above=0, keyed=False)
    max_attempts: int = setting(8, "Most requests for one text, the first included.", low=1, keyed=False)
    token_limit_field: str = setting(
        "max_tokens", "Name under which the server takes max_new_tokens.", choices=("max_tokens", "max_completion_tokens"), keyed=False
    )
    send_seed: bool = setting(True, "Whether each request carries a seed of its own, for servers that know the field.")
    extra_body: str = setting(
        "{}",
        'More fields of each request, as a JSON object: \'{"reasoning_effort": "low"}\'; a value "{NAME}" stands for the environment variable NAME.',
    )
    headers_env: str = setting(
        "{}",
        'More headers of each request, as a JSON object that names the environment variable with the value of each: \'{"X-Team": "MY_TEAM"}\'.',
        keyed=False,
    )

    @property
    def extra_fields(self) -> dict[str, Any]:
        """`extra_body` as an object."""
        fields: dict[str, Any] = json.loads(self.extra_body)
        return fields

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables that requests need -> the setting that names each."""
        found = dict.fromkeys(credentials.names_in(self.base_url), "base_url")
        found |= dict.fromkeys(credentials.names_in(self.extra_fields), "extra_body")
        found |= dict.fromkeys(json.loads(self.headers_env).values(), "headers_env")
        return found | ({self.api_key_env: "api_key_env"} if self.api_key_env else {})

    def clashes(self, sampling: Sampling) -> Iterator[str]:
        """Restrictions of sampling that `extra_body` sets as well; each sentence begins with the field's name."""
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
                yield f"{name} must hold no key, since settings are written to files; what it was given is not repeated here"
        if self.base_url != "???":
            yield from self._wrong_address()
        if self.api_key_env is not None and not _is_variable(self.api_key_env):
            yield "api_key_env must name an environment variable in capitals, such as OPENAI_API_KEY; what it was given is not repeated here"
        if self.max_cost is not None and not (self.input_price and self.output_price):
            yield f"max_cost needs input_price and output_price; got max_cost={self.max_cost} without both"
        yield from self._wrong_headers()
        yield from self._wrong_extra_body()

    def _wrong_address(self) -> Iterator[str]:
        if not re.fullmatch(r"https?://[^\s@?#]+", self.base_url) or not _has_port(self.base_url):
            yield "base_url must be an address that begins http:// or https://, without user name, password or query; the key's place is api_key_env"
        elif credentials.is_secret_address(self.base_url):
            yield (
                "base_url must hold no key, as a part of it may do, since settings are written to files: put that part into an environment variable "
                "and write {NAME} in its place; what it was given is not repeated here"
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
                "headers_env must be a JSON object of headers and the environment variables that hold their values, such as "
                '\'{"X-Team": "MY_TEAM"}\'; what it was given is not repeated here'
            )

    def _wrong_extra_body(self) -> Iterator[str]:
        try:
            fields = json.loads(self.extra_body)
        except json.JSONDecodeError as error:
            yield f"extra_body must be a JSON object ({error}); what it was given is not repeated here"
            return
        except RecursionError:
            yield f"extra_body must not be nested deeper than {credentials.DEEPEST} levels"
            return
        if found := list(credentials.secret_fields(fields)):
            named = f" ({', '.join(map(repr, found))})" if all(found) else ""
            yield (
                f"extra_body must hold no key or password, no header and at most {credentials.DEEPEST} levels, since settings are written to "
                f'files{named}: write "{{NAME}}" for the value of an environment variable, and name headers in headers_env'
            )
        elif not isinstance(fields, dict):
            yield f"extra_body must be a JSON object; got a JSON {_KINDS[type(fields)]}, which is not repeated here"
        elif taken := sorted(set(fields) & set(OWN_FIELDS)):
            yield f"extra_body must leave {', '.join(taken)} to the settings of their own; their values are not repeated here"


_KINDS = {list: "list", str: "text", int: "number", float: "number", bool: "truth value", type(None): "null"}


def _has_port(address: str) -> bool:
    """Whether what stands behind the host's colon, if anything does, is a number."""
    try:
        urlsplit(credentials.PLACEHOLDER.sub("1", address)).port  # noqa: B018
    except ValueError:
        return False
    return True


def _is_variable(name: str) -> bool:
    """Whether a text can be the name of an environment variable, and not what one holds."""
    return bool(credentials.VARIABLE.fullmatch(name)) and not credentials.looks_secret(name)
