"""Where Hydra finds settings besides conf/: in the user's folders, and in the settings classes of the slots."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from cotexp.config.overrides import first_line
from cotexp.config.search_path import config_folders
from cotexp.config.slots import FILLED_IN, REGISTRIES, SECTIONS, WIDER
from cotexp.settings.base import ConfigError
from cotexp.settings.root import Settings

SCHEME, ROOT_SCHEMA, SCHEMAS = "cotexp", "settings_schema", "schema"


class SearchPath(SearchPathPlugin):
    """Adds the user's folders and the settings classes behind the files of this project."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        for folder in config_folders()[1:]:
            search_path.append("user", f"file://{folder}")
        search_path.append("cotexp", f"{SCHEME}://")


class SettingsClasses(ConfigSource):
    """The class of an option as `schema/SLOT/OPTION`, and one of an installed package as an option of its slot.

    Each becomes a config when it is asked for. Hydra's ConfigStore would hold one of every class, and copy them all at each composition.
    """

    @staticmethod
    def scheme() -> str:
        return SCHEME

    def available(self) -> bool:
        return True

    def load_config(self, config_path: str) -> ConfigResult:
        *groups, name = config_path.removesuffix(".yaml").split("/")
        config = config_of(groups[-1], name) if groups else _root()
        return ConfigResult(provider=self.provider, path=self.full_path(), config=config, header={"package": None})

    def is_group(self, config_path: str) -> bool:
        return config_path.rstrip("/") in _groups()

    def is_config(self, config_path: str) -> bool:
        group, _, name = config_path.removesuffix(".yaml").rpartition("/")
        return name in _groups().get(group, ())

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        groups = _groups()
        inner = [name for each in groups if each for parent, _, name in [each.rpartition("/")] if parent == config_path]
        configs = groups[config_path]
        return sorted({*(inner if results_filter != ObjectType.CONFIG else ()), *(configs if results_filter != ObjectType.GROUP else ())})


def _groups() -> dict[str, Mapping[str, Any]]:
    """The groups of `SettingsClasses`, with the names of their configs."""
    installed = {slot: registry.installed for slot, registry in REGISTRIES.items() if registry.installed}
    return {"": {ROOT_SCHEMA: Settings}, SCHEMAS: {}, **{f"{SCHEMAS}/{slot}": each for slot, each in SECTIONS.items()}, **installed}


def _root() -> DictConfig:
    root = OmegaConf.structured(Settings)
    with open_dict(root):
        for name in FILLED_IN:
            del root[name]
    return root  # type: ignore[no-any-return]


def config_of(slot: str, name: str) -> DictConfig:
    """The settings class of SLOT=NAME as a config with its defaults. Raises: ConfigError for a field that settings cannot have."""
    section = SECTIONS[slot][name]
    try:
        return OmegaConf.structured(WIDER.get(section, section))  # type: ignore[no-any-return]
    except OmegaConfBaseException as error:
        where = f"{section.__module__}:{section.__qualname__}"
        raise ConfigError(f"{slot}={name}: {where} has a field whose type settings cannot have: {error.full_key} ({first_line(error)})") from None
