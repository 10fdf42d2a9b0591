"""Settings classes by name: those of this project, and those that installed packages add under entry points of the same form."""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Collection, Iterator, Mapping
from functools import cache, cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from cotexp.settings.base import ConfigError

S = TypeVar("S")


def named(text: str) -> Any:
    """What "module:name" stands for."""
    return EntryPoint("", text, "").load()


class Registry(dict[str, type[S]], Generic[S]):
    """Name -> settings class of one kind of idea, such as compressions.

    It holds those of this project: `built_in` names each as "module:Class", a line for each, as an entry point of `group` does.
    """

    def __init__(self, group: str, base: type[S], built_in: Mapping[str, str]) -> None:
        super().__init__({name: named(value) for name, value in built_in.items()})
        self.group, self.base = group, base

    @cached_property
    def installed(self) -> Mapping[str, type[S]]:
        """Those that installed packages add.

        Raises: ConfigError with a line for each entry point that adds none.
        """
        return installed(self.group, self.base, self)

    def stored(self, name: object) -> type[S]:
        """The class of a stored run; one that is no longer installed counts as the base, any other of its kind."""
        return self.get(str(name)) or self.installed.get(str(name), self.base)


def installed(group: str, base: type, built_in: Collection[str]) -> dict[str, type[Any]]:
    """Name -> settings class, for each entry point of `group`, such as "cotexp.tasks". `built_in` are names that are already in use.

    Raises: ConfigError with one line per entry point that cannot be imported, is not a settings class that extends `base`, or has a used name.
    """
    classes: dict[str, type[Any]] = {}
    problems: list[str] = []
    owners = dict.fromkeys(built_in, "cotexp itself")
    for point in sorted(_entry_points(tuple(sys.path)).select(group=group), key=lambda point: (point.name, _package(point))):
        if not re.fullmatch(r"\w[\w.-]*", point.name):
            problems.append(f"{_shown(point)} must have a name of letters, digits, '_', '-' and '.'")
        elif point.name in owners:
            problems.append(f"{_shown(point)} has a name that {owners[point.name]} uses; rename it or uninstall {_package(point)}")
        else:
            owners[point.name] = f"package {_package(point)}"
            try:
                classes[point.name] = _loaded(point, base)
            except ConfigError as error:
                problems += error.problems
    if problems:
        raise ConfigError(*problems)
    return classes


@cache
def _entry_points(path: tuple[str, ...]) -> Any:
    """Those of every package that is installed on `path`, which Python reads from a file of each. Their class is another from Python 3.12 on."""
    return entry_points()


def _loaded(point: EntryPoint, base: type) -> type[Any]:
    try:
        section = point.load()
    except Exception as error:  # noqa: BLE001 - importing a package runs all of its code
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ConfigError(f"{_shown(point)} cannot be imported ({reason}); repair or uninstall {_package(point)}") from None
    if lacks := ", ".join(_lacks(section, base)):
        raise ConfigError(f"{_shown(point)} must be a dataclass that extends {base.__module__}.{base.__name__}; it {lacks}")
    return section  # type: ignore[no-any-return]


def _lacks(section: Any, base: type) -> Iterator[str]:
    if not isinstance(section, type):
        yield f"is a {type(section).__name__}"
    elif base not in section.__mro__:
        yield "does not extend it"
    elif "__dataclass_fields__" not in vars(section) or not dataclasses.is_dataclass(section):
        yield "is not a dataclass"
    elif abstract := vars(section).get("__abstractmethods__"):
        yield f"does not define {' and '.join(sorted(abstract))}"
    elif any(each.name == "name" and not each.metadata.get("keyed", True) for each in dataclasses.fields(section)):
        yield "keeps its name out of the keys; declare name: str = setting(NAME, 'Name of it.', choices=(NAME,))"
    else:
        yield from (f"has a field without a sentence: {field.name}" for field in dataclasses.fields(section) if "sentence" not in field.metadata)


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist else "unknown"


def _shown(point: EntryPoint) -> str:
    return f"package {_package(point)}: entry point {point.group}: {point.name} = {point.value}"
