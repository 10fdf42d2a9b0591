"""Folders of settings files: conf/ of this project, and the user's, named by --config-dir, hydra.searchpath or a variable of the environment."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from cotexp.settings.base import ConfigError, shortened
from cotexp.settings.root import CONFIG_DIR, config_dirs

_PACKAGE = Path(__file__).resolve().parents[1]
CONF = _PACKAGE / "conf" if (_PACKAGE / "conf").is_dir() else _PACKAGE.parent / "conf"
"""The folder of this project: inside the package where that is installed, beside it in the tree of its source."""
SEARCH_PATH = "hydra.searchpath"
FLAGS = ("--config-dir", "-cd")


def config_folders() -> list[Path]:
    """The folders of settings files: conf/ of this project, then the user's.

    Raises: ConfigError when one of the user's is no folder, or holds a file of the same name as one before it.
    """
    folders = [CONF]
    owners = dict.fromkeys(names_in(CONF), "a settings file of cotexp") if config_dirs() else {}
    problems: list[str] = []
    for folder in config_dirs():
        if not folder.is_dir():
            raise ConfigError(
                f"--config-dir and {SEARCH_PATH} (or the variable {CONFIG_DIR}) must name folders with files such as task/NAME.yaml; "
                f"got {str(folder)!r}"
            )
        names = sorted(names_in(folder))
        problems += [f"--config-dir: {folder / name}.yaml has the name of {owners[name]}; rename it" for name in names if name in owners]
        owners |= {name: f"{folder / name}.yaml" for name in names}
        folders.append(folder)
    if problems:
        raise ConfigError(*problems)
    return folders


def names_in(folder: Path) -> list[str]:
    """The settings files in a folder and below it, without their ending: macc/quickstart."""
    return [str(path.relative_to(folder).with_suffix("")) for path in folder.rglob("*.yaml")]


def use(config_dir: str | Path | None, others: Iterable[Path] = ()) -> None:
    """Read settings files in these folders as well, in this process and those that it starts.

    `config_dir` takes the place of the folders in the environment; the `others` come after it or them.
    """
    if config_dir == "":
        raise ConfigError(f"{FLAGS[0]} must name a folder; got ''")
    folders = [*([Path(config_dir)] if config_dir else config_dirs()), *others]
    if folders:
        os.environ[CONFIG_DIR] = os.pathsep.join(dict.fromkeys(str(folder.absolute()) for folder in folders))


def split(words: Sequence[str]) -> tuple[list[str], list[Path]]:
    """(the words of a command without hydra.searchpath, the folders that it names). Raises: ConfigError when one cannot be one."""
    if sum(word in FLAGS or word.startswith(f"{FLAGS[0]}=") for word in words) > 1:
        raise ConfigError(f"{FLAGS[0]} names one folder; name several as '{SEARCH_PATH}=[FOLDER,FOLDER]', or in the variable {CONFIG_DIR}")
    named = [word for word in words if word.lstrip("+").startswith(f"{SEARCH_PATH}=")]
    return [word for word in words if word not in named], [_folder(entry) for word in named for entry in _entries(word.lstrip("+"))]


def _entries(word: str) -> list[str]:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        value = OverridesParser.create().parse_overrides([word])[0].value()
    except HydraException:
        value = word.partition("=")[2]
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise ConfigError(f"{SEARCH_PATH} must be a list of folders, such as '{SEARCH_PATH}=[FOLDER,pkg://PACKAGE]'; got {shortened(value)}")
    return value


def _folder(entry: str) -> Path:
    """What FOLDER, file://FOLDER or pkg://PACKAGE stands for."""
    scheme, sign, rest = entry.partition("://")
    if not sign or scheme == "file":
        return Path(rest if sign else entry)
    if scheme != "pkg":
        raise ConfigError(f"{SEARCH_PATH} must name folders as FOLDER, file://FOLDER or pkg://PACKAGE; got {shortened(entry)}")
    try:
        spec = importlib.util.find_spec(rest.replace("/", "."))
    except Exception as error:  # noqa: BLE001 - looking for a package inside another runs the code of that one
        raise ConfigError(f"{SEARCH_PATH}: {entry} cannot be imported ({type(error).__name__}: {' '.join(str(error).split())})") from None
    places = list(spec.submodule_search_locations or ()) if spec else []
    if not places:
        raise ConfigError(f"{SEARCH_PATH}: {entry} is no installed package with a folder; install it, or name the folder itself")
    return Path(places[0])
