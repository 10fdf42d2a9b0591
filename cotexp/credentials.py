"""Keeps keys and passwords out of settings, which are written to files, and out of errors.

A setting refers to a key by an environment variable: `{MY_KEY}` in an address, or as the value of a request's field.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import unquote

VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")
"""The name of an environment variable."""
PLACEHOLDER = re.compile(r"\{([A-Z][A-Z0-9_]*)\}")
"""A placeholder for the value of an environment variable."""
MAX_DEPTH = 32
"""Levels of a JSON value that are checked; deeper values are refused."""

_STRONG = {"password", "passwd", "passphrase", "pwd", "secret", "auth", "authorization", "authentication", "credential", "bearer", "cookie", "jwt"}
_STRONG |= {"apikey", "accesskey", "secretkey", "authkey", "apitoken", "accesstoken", "authtoken", "signature", "sig", "header", "salt"}
_STRONG |= {"pass", "passcode", "passkey", "pw", "pin", "otp", "totp", "login", "cred", "oauth", "authn", "authz", "hmac"}
"""Words in a field's name that always mean a secret."""
_WEAK = {"token", "tok", "key", "license"}
"""Words in a field's name that mean a secret if its value is a text."""
_WEAK_ALONE = {*_WEAK, "api", "access", "x", "my", "user", "client", "service", "private", "id", "account", "session", "subscription", "license"}
"""A field whose name has no words but these is a secret if its value is a text or a number."""
_HARMLESS = {"eos_token", "bos_token", "pad_token", "unk_token", "stop_token", "prompt_cache_key"}
"""Names of fields that hold tokens of a tokenizer, or a label."""
_SECRET = re.compile(
    r"\b(?:bearer|basic)[ :+%]+\S{4,}|\bsk-\w|\b(?:sk|pk|rk)_(?:live|test)_"
    r"|\b(?:hf|gh[pousr]|glpat|xox[abeprs]|gsk|xai|nvapi|pplx|csk|tvly|dapi)[-_]\w{6,}"
    r"|\b(?:AKIA|ASIA)[0-9A-Z]{12,}|\bAIza[\w-]{20,}|\beyJ[\w-]{8,}\.|-----BEGIN|://[^/\s@]+:[^/\s@]*@"
    r"|(?:^|[?&;\s])(?:\w*(?:key|token|secret|sig|auth|password))=|\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b",
    re.IGNORECASE,
)
"""Known forms of services' keys, addresses with a password, and UUIDs."""
_TYPES = {"string", "number", "integer", "boolean", "object", "array", "null"}
_SCHEMA_FIELDS = {"type", "title", "description", "format", "pattern", "enum", "required"}
"""Fields of a JSON schema that describe values. Its defaults and constants are values themselves."""
_ABOUT_KEYS = re.compile(r"key|token|secret|passw|pwd|auth|bearer|credential|cookie|header|\.server\.", re.IGNORECASE)


def looks_secret(text: str) -> bool:
    """Whether a text contains something with the form of a key."""
    return bool(_SECRET.search(text)) or any(_is_random(word, 20) for word in re.findall(r"[A-Za-z0-9]+", text))


def _is_random(word: str, shortest: int) -> bool:
    """Whether a long word mixes letters and digits, as keys do."""
    num_digits = sum(map(str.isdigit, word))
    return len(word) >= shortest and num_digits >= 3 and (num_digits == len(word) or len(word) - num_digits >= 3)


def is_secret_address(address: str) -> bool:
    """Whether the host or path of an address may contain a key; placeholders `{NAME}` do not count."""
    host, *segments = unquote(PLACEHOLDER.sub("", address)).partition("://")[2].split("/")
    if looks_secret("/".join(segments)) or looks_secret(host):
        return True
    previous = ""
    for segment in segments:
        words = _words(segment)
        if any(word in _STRONG | _WEAK for word in words) and len(words) > 1:
            return True
        if segment and any(word in _STRONG | _WEAK for word in _words(previous)):
            return True
        if re.search(r"[=;@]", segment) or any(_is_random(part, 12) for part in re.findall(r"[A-Za-z0-9]+", segment)):
            return True
        previous = segment
    return False


def without_user(text: str) -> str:
    """A text without user names and passwords in its addresses. A password may hold "@" and "/" as they are, so all up to the last "@" goes."""
    return re.sub(r"://[^/\s]\S*@", "://", text)


def secret_fields(value: Any, *, depth: int = 0) -> Iterator[str]:
    """Names of the fields at any depth of a JSON value that are headers or may hold a key; "" if the name itself may be one."""
    if depth > MAX_DEPTH:
        yield ""
    elif isinstance(value, list):
        for item in value:
            yield from secret_fields(item, depth=depth + 1)
    elif isinstance(value, dict):
        for name, item in value.items():
            if looks_secret(name):
                yield ""
            elif _is_secret_field(name, item):
                yield name
            else:
                yield from secret_fields(item, depth=depth + 1)
    elif isinstance(value, str) and not PLACEHOLDER.fullmatch(value):
        if looks_secret(value):
            yield ""
        elif value.lstrip()[:1] in ("{", "["):
            yield from secret_fields(_parsed_json(value), depth=depth + 1)


def _parsed_json(text: str) -> Any:
    """The JSON value in a text, or None."""
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        return None


def _is_secret_field(name: str, value: Any) -> bool:
    words = _words(name)
    if "header" in words or re.match(r"x-", name, re.IGNORECASE):
        return True
    if value is None or isinstance(value, bool) or (isinstance(value, str) and PLACEHOLDER.fullmatch(value)) or name in _HARMLESS:
        return False
    if any(word in _STRONG for word in words):
        return not _is_schema(value) or _holds_text(value)
    return any(word in _WEAK for word in words) and (_holds_text(value) or (set(words) <= _WEAK_ALONE and not isinstance(value, dict | list)))


def _is_schema(value: Any) -> bool:
    """Whether a JSON value is a JSON schema with a type."""
    return isinstance(value, dict) and str(value.get("type")) in _TYPES


def _holds_text(value: Any, depth: int = 0) -> bool:
    """Whether a JSON value contains a text other than a placeholder. Descriptions in JSON schemas do not count."""
    if isinstance(value, str):
        return not PLACEHOLDER.fullmatch(value)
    if _is_schema(value):
        value = {name: item for name, item in value.items() if name not in _SCHEMA_FIELDS}
    below = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return depth <= MAX_DEPTH and any(_holds_text(item, depth + 1) for item in below)


def _words(name: str) -> list[str]:
    """The words of a name, in lower case and singular: x, api, key for `xApi-Keys`."""
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+", name)
    runs = re.findall(r"[A-Za-z]+", name)
    return [word if word.endswith("ss") else word.removesuffix("s") for word in dict.fromkeys(map(str.lower, (*parts, *runs)))]


# --- placeholders -----------------------------------------------------------------------------------------------------


def placeholder_names(value: Any) -> list[str]:
    """The environment variables in the placeholders of a text or a JSON value."""
    if isinstance(value, str):
        return PLACEHOLDER.findall(value)
    below = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [name for item in below for name in placeholder_names(item)]


def fill_placeholders(value: Any) -> Any:
    """A JSON value in which every text that is a placeholder `{NAME}` is replaced by the value of that environment variable."""
    if isinstance(value, dict):
        return {name: fill_placeholders(item) for name, item in value.items()}
    if isinstance(value, list):
        return [fill_placeholders(item) for item in value]
    placeholder = PLACEHOLDER.fullmatch(value) if isinstance(value, str) else None
    return environment_value(placeholder[1]) if placeholder else value


def fill_address(address: str) -> str:
    """An address with the values of environment variables in place of its placeholders."""
    return PLACEHOLDER.sub(lambda match: environment_value(match[1]), address)


def environment_value(name: str) -> str:
    """The value of an environment variable without white space at its ends; "" if it is not set."""
    return os.environ.get(name, "").strip()


# --- errors ----------------------------------------------------------------------------------------------------------


def is_shown(override: str) -> bool:
    """Whether an error may repeat an override: neither its setting nor its value may concern keys."""
    return not looks_secret(override) and not _ABOUT_KEYS.search(override)


def shown(overrides: Iterable[str]) -> str:
    """Overrides for an error. Of one that may hold a key only the setting is shown."""
    return " ".join(override if is_shown(override) else f"{override.partition('=')[0]}=..." for override in overrides)
