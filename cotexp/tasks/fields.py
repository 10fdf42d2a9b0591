"""Fields of a row by their names, by paths into nested rows, and by texts with several names.

A name is that of a field, or else a path with dots: "doc.question" (in an object), "choices.0.text" (the first of a list), "resps.*" (all of a list)
and "messages.user" (what the one message of a role says, in the form of OpenAI's `messages` and of ShareGPT's `conversations`). A text with names
in braces, "{instruction} {input}", joins several fields; one that is missing or empty is left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

ALL = "*"
ROLES = {"human": "user", "gpt": "assistant", "chatgpt": "assistant", "bot": "assistant", "model": "assistant"}
"""Names of roles in ShareGPT's conversations and elsewhere, and OpenAI's."""
_IN_BRACES = re.compile(r"\{([^{}]+)\}")


class NoField(LookupError):
    """There is no such field; the message says where the path ended, and `names` what is there."""

    def __init__(self, message: str, names: list[str]) -> None:
        super().__init__(message)
        self.names = names


def find(fields: Mapping[str, Any], name: str) -> Any:
    """The value of a field, which may be None. Raises: NoField if there is none."""
    if name in fields:
        return fields[name]
    if parts := _IN_BRACES.findall(name):
        return _joined(fields, name, parts)
    value: Any = fields
    steps = name.split(".")
    for number, step in enumerate(steps):
        if step == ALL and isinstance(value, list):
            return _of_all(value, steps[number + 1 :])
        try:
            value = _inside(value, step)
        except KeyError:
            names, place = _names(value), ".".join(steps[:number])
            raise NoField(f"is missing{f' in {place!r}' if place else ''}", names) from None
    return value


def _joined(fields: Mapping[str, Any], text: str, names: list[str]) -> str:
    """The text with fields in place of their names. Raises: NoField if it has none of them, or one is a list or an object."""
    found = {}
    for name in names:
        try:
            found[name] = find(fields, name)
        except NoField:
            continue
    if several := [name for name, value in found.items() if isinstance(value, list | Mapping)]:
        raise NoField(f"joins {several[0]!r}, which is no text but several", [])
    if not any(found.values()):
        raise NoField("has none of its fields", [str(each) for each in fields])
    return _IN_BRACES.sub(lambda match: "" if found.get(match[1]) is None else str(found[match[1]]), text)


def _of_all(values: list[Any], steps: list[str]) -> list[Any]:
    """What the rest of a path finds in each value; lists in it are joined, so that `resps.*.*` is one list."""
    if not steps:
        return values
    found = [find({"each": value}, ".".join(["each", *steps])) for value in values]
    return [one for each in found for one in each] if ALL in steps else found


def _inside(value: Any, step: str) -> Any:
    """Raises: KeyError if `value` has no such part."""
    if isinstance(value, Mapping):
        return value[step]
    if isinstance(value, list) and step.isdecimal() and int(step) < len(value):
        return value[int(step)]
    if isinstance(value, list):
        said = [_said(each) for each in value if isinstance(each, Mapping) and _role(each) == ROLES.get(step, step)]
        if len(said) == 1:
            return said[0]
    raise KeyError(step)


def _role(message: Mapping[str, Any]) -> str:
    role = str(message.get("role", message.get("from", "")))
    return ROLES.get(role, role)


def _said(message: Mapping[str, Any]) -> Any:
    """The text of a message; that of parts is joined."""
    content = message.get("content", message.get("value"))
    if isinstance(content, list) and all(isinstance(part, Mapping) and part.get("type") == "text" for part in content):
        return "".join(str(part["text"]) for part in content)
    return content


def _names(value: Any) -> list[str]:
    """What can follow in a path."""
    if isinstance(value, Mapping):
        return [str(name) for name in value]
    if not isinstance(value, list):
        return []
    roles = [f"{_role(each)} ({count} messages)" if count > 1 else _role(each) for each, count in _by_role(value)]
    return [*roles, *(["0"] if len(value) == 1 else [f"0 to {len(value) - 1}"] if value else [])]


def _by_role(values: list[Any]) -> list[tuple[Mapping[str, Any], int]]:
    messages = {_role(each): each for each in values if isinstance(each, Mapping) and _role(each)}
    return [(each, sum(isinstance(other, Mapping) and _role(other) == role for other in values)) for role, each in messages.items()]
