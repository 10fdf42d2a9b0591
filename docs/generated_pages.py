"""Generates the pages of the site that come from the code: all settings, all commands, and the API reference.

`properdocs.yml` names this file as a hook: `on_config` puts the pages into the navigation, `on_files` adds their text.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints
from unittest import mock

from cotexp.commands import cli
from cotexp.config.search_path import CONF
from cotexp.config.slots import ROOT, SECTIONS
from cotexp.settings.base import LARGEST, allowed
from cotexp.settings.root import Settings

PACKAGE = Path(__file__).resolve().parent.parent / "cotexp"
TYPES = {str: "text", int: "integer", float: "number", bool: "true or false", list: "list"}
COUNTED: tuple[str, ...] = ("tokens", "questions", "rationales", "rounds", "examples", "texts", "requests", "passes", "layers", "heads", "machines")
COUNTED += ("GPUs", "devices", "chains", "operations", "answers", "validations")


# --- hooks of the site generator --------------------------------------------------------------------------------------


def on_config(config: Any) -> Any:
    """Append the generated pages to the navigation."""
    config.nav.append({"Reference": ["settings.md", "command_help.md", {"Python": list(reference_pages())}]})
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the generated pages to the site."""
    from properdocs.structure.files import File

    pages = {"settings.md": settings_page(), "command_help.md": commands_page(), **reference_pages()}
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


# --- settings ---------------------------------------------------------------------------------------------------------


def settings_page() -> str:
    """Every setting of every slot and option, in Markdown."""
    lines = [
        "# All settings",
        "",
        "This page is made from the settings classes at every build. `cotexp run --help` prints the same sentences for the options that a "
        "command line chooses. *Key* says whether the value is part of the keys of the store, because it can change a result. If a value enters a "
        "key in another form, such as the hash of a model's weights, the column says no and the sentence says how. `null` as a default means that "
        f"the sentence says what is used. A number without an upper limit may be at most {LARGEST:,}.",
        "",
        "## run",
        "",
        "Settings outside the slots.",
        "",
        *_table(Settings, "", only=ROOT),
    ]
    for slot, schemas in SECTIONS.items():
        lines += ["", f"## {slot}"]
        for schema, section in schemas.items():
            files = _options(slot, schema)
            named = " · ".join(f"`{slot}={name}`" for name in files)
            first = " ".join((section.__doc__ or "").split())
            lines += ["", f"### {slot}: {schema}", "", first, "", f"Options: {named}", "", *_table(section, slot)]
    return "\n".join(lines) + "\n"


def setting_paths() -> set[str]:
    """The path of every setting."""
    return {*ROOT, *(path for slot, schemas in SECTIONS.items() for section in schemas.values() for path, _, _ in _settings(section, slot))}


def _options(slot: str, schema: str) -> list[str]:
    """Names of the files conf/SLOT/NAME.yaml that fill this settings class."""
    return [path.stem for path in sorted((CONF / slot).glob("*.yaml")) if re.search(rf"/schema/{slot}@_here_: {schema}$", path.read_text(), re.M)]


def _table(section: type, path: str, only: tuple[str, ...] = ()) -> list[str]:
    rows = ["| setting | meaning | type | unit | choices, limits | default | key |", "|---|---|---|---|---|---|---|"]
    for name, hint, each in _settings(section, path):
        if not only or name in only:
            data = each.metadata
            shown = f"<code>{name.replace('.', '.<wbr>')}</code>"
            cells = [shown, _cell(data["sentence"]), _type(hint), _unit(hint, data["sentence"]), allowed(data, "`"), _default(each)]
            rows.append(f"| {' | '.join(cells)} | {'yes' if data['keyed'] else 'no'} |")
    return rows


def _settings(section: type, path: str) -> Iterator[tuple[str, Any, Any]]:
    """Path, type and field of every setting of a class, including those of nested classes."""
    hints = get_type_hints(section)
    for each in dataclasses.fields(section):
        name = f"{path}.{each.name}" if path else each.name
        if dataclasses.is_dataclass(hints[each.name]):
            yield from _settings(hints[each.name], name)
        elif "sentence" in each.metadata:
            yield name, hints[each.name], each


def _type(hint: Any) -> str:
    """A type as text, such as "list of numbers or null"."""
    parts = [each for each in get_args(hint) or (hint,) if each is not type(None)]
    optional = " or null" if type(None) in get_args(hint) else ""
    if getattr(hint, "__origin__", None) is list:
        return f"list of {TYPES[parts[0]]}s"
    if getattr(parts[0], "__origin__", None) is list:
        return f"list of {TYPES[get_args(parts[0])[0]]}s{optional}"
    return TYPES.get(parts[0], "object") + optional


def _unit(hint: Any, sentence: str) -> str:
    """The unit of a number, if its sentence names it."""
    numbers = {each for part in (get_args(hint) or (hint,)) for each in (get_args(part) or (part,))} & {int, float}
    if not numbers:
        return ""
    for unit in ("US dollars per million", "US dollars"):
        if unit in sentence:
            return unit + (" tokens" if unit.endswith("million") else "")
    if re.search(r"^(Least |Most )?seconds", sentence, re.I):
        return "seconds"
    if re.search(r"this many tokens|in tokens", sentence):
        return "tokens"
    if float in numbers:
        return "share" if re.search(r"^Shares? of|\bshare\b|\bratios?\b|similarity", sentence) else ""
    counted = re.search(rf"\b({'|'.join(COUNTED)})\b", re.split(r"[.,;:(]", sentence)[0], re.I)
    if counted:
        return next(each for each in COUNTED if each.lower() == counted[1].lower())
    return "rounds" if sentence.startswith("Round limit") else ""


def _default(field: Any) -> str:
    value = field.default if field.default is not dataclasses.MISSING else field.default_factory()
    return "must be given" if value == "???" else f"<code>{_cell(json.dumps(value, ensure_ascii=False))}</code>"


def _cell(text: str) -> str:
    """A text for a cell of a table: markup is escaped, except code."""
    parts = re.split(r"(`[^`]*`)", text.replace("\n", " "))
    shown = (part if part.startswith("`") else re.sub(r"[&<>{}*_\[\]]", lambda sign: f"&#{ord(sign[0])};", part) for part in parts)
    return "".join(shown).replace("|", "&#124;")


# --- commands ---------------------------------------------------------------------------------------------------------


def commands_page() -> str:
    """The output of every `cotexp COMMAND --help`, in Markdown."""
    overview = _help()
    names = [each for each in re.findall(r"^    (\w+)(?: |$)", overview, flags=re.MULTILINE) if each != "run"]
    lines = ["# All commands", "", "This page is made from the commands at every build. `cotexp run` takes [settings](settings.md).", ""]
    lines += ["```", overview.rstrip(), "```"]
    for name in names:
        lines += ["", f"## cotexp {name}", "", "```", _help(name).rstrip(), "```"]
    return "\n".join(lines) + "\n"


def _help(*words: str) -> str:
    """The help of the command line, 100 columns wide and without colours."""
    printed = io.StringIO()
    with mock.patch.dict(os.environ, COLUMNS="100", NO_COLOR="1"), contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        cli.main([*words, "--help"])
    return printed.getvalue()


# --- reference --------------------------------------------------------------------------------------------------------


def reference_pages() -> dict[str, str]:
    """A page for the top-level modules of the package, and one for each package in it."""
    pages = {"reference/cotexp.md": _reference("cotexp", sorted(PACKAGE.glob("*.py")))}
    for folder in sorted(path.parent for path in PACKAGE.glob("*/__init__.py")):
        pages[f"reference/{folder.name}.md"] = _reference(f"cotexp.{folder.name}", sorted(folder.glob("*.py")))
    return pages


def _reference(package: str, files: list[Path]) -> str:
    names = [f"{package}.{path.stem}" for path in files if not path.stem.startswith("__")]
    blocks = [f"::: {package}\n    options:\n      show_root_heading: false\n      show_root_toc_entry: false", *(f"::: {name}" for name in names)]
    return f"# {package}\n\n" + "\n\n".join(blocks) + "\n"
