"""Data sets of the Hugging Face hub where a setting takes a file: `hub:OWNER/NAME`, with a configuration and a split behind it.

`datasets` says which files are a split. They are downloaded into the hub's usual cache and read as the user's own files are: the library's tables
would turn some values into others (a column of JSON with one number among texts, dates). What was downloaded once is read without a network under
HF_HUB_OFFLINE=1. No code of a data set runs.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cotexp import extras
from cotexp.settings.base import ConfigError, suggestion
from cotexp.tasks.rows import READERS, Row, read_rows

PREFIX = "hub:"
FORM = "hub:OWNER/NAME, hub:OWNER/NAME/CONFIG, hub:OWNER/NAME/CONFIG/SPLIT or hub:OWNER/NAME@REVISION/..."
"""What may be written. Several splits are joined by +; one part behind the name is a configuration, or else a split."""
_ADDRESS = re.compile(r"hub:(\w[\w.-]*/\w[\w.-]*)(?:@(refs/\w+/[\w.-]+|[\w.-]+))?((?:/[^/\s]+){0,2})")
CARD = "README.md"

REVISIONS: dict[str, str] = {}
"""Source and usual split -> what this process read, for the logs of its runs."""


def is_hub(source: str) -> bool:
    """Whether a setting names a data set of the hub, and no file."""
    return source.startswith(PREFIX)


def read_source(source: str, setting: str, *, split: str = "train") -> Iterator[Row]:
    """The rows of a file, or of a data set of the hub; `split` is the one that is read where the source names none.

    Raises: ConfigError naming `setting` and the place if they cannot be had or read.
    """
    paths = files(source, setting, split=split) if is_hub(source) else [Path(source)]
    for path in paths:
        yield from read_rows(path, f"{setting}: {f'{source} ({path.name})' if is_hub(source) else source}")


def author_of(path: Path) -> str:
    """OWNER/NAME of a file in the hub's cache, the name of any other file without its ending."""
    folder = next((each.name for each in path.parents if each.name.startswith("datasets--")), None)
    return "/".join(folder.split("--")[1:]) if folder and "snapshots" in path.parts else path.stem


@functools.cache
def files(source: str, setting: str, *, split: str = "train") -> list[Path]:
    """The files of a data set's split in the hub's cache, in the order of their names; downloaded if they are not there. One process asks the
    hub once, so that all of its runs read the same revision.

    Raises: ConfigError if there is no such data set, configuration or split, it is gated, the hub cannot be reached, or files have no reader.
    """
    match = _ADDRESS.fullmatch(source)
    if match is None:
        raise ConfigError(f"{setting} must be a file or {FORM}; got {source!r}")
    extras.check("hub", f"{setting}={source}", "name a file")
    wanted = _Wanted(match[1], match[2], f"{setting}: {source}")
    folder, parts = wanted.folder(), [part for part in match[3].split("/") if part]
    configs = _splits(folder, wanted)
    config, splits = _chosen(configs, parts, split, wanted.where)
    names = [name for each in splits for name in configs[config][each]]
    if unread := [name for name in names if not name.lower().endswith(READERS)]:
        raise ConfigError(
            f"{wanted.where} must hold files that end in {', '.join(READERS)}; got {unread[0]}; save it as one of these and name the file"
        )
    dataclasses.replace(wanted, revision=folder.name).folder(names)
    REVISIONS[f"{source} {split}"] = f"{source} is configuration {config}, split {'+'.join(splits)}, revision {folder.name}"
    return [folder / name for name in names]


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A data set at a revision, and where errors say that it was asked for."""

    name: str
    revision: str | None
    where: str

    def folder(self, names: Sequence[str] = (CARD,)) -> Path:
        """The folder of the newest commit in the hub's cache, with these files."""
        import huggingface_hub

        with self.explained():
            is_offline = huggingface_hub.is_offline_mode()
            if not is_offline and names == (CARD,):
                huggingface_hub.HfApi().auth_check(self.name, repo_type="dataset")
            patterns = [re.sub(r"([*?[])", r"[\1]", name) for name in names]
            found = huggingface_hub.snapshot_download(
                self.name, repo_type="dataset", revision=self.revision, allow_patterns=patterns, local_files_only=is_offline
            )
        return Path(found)

    def all_files(self, folder: Path) -> list[str]:
        """The names of all files of the data set, downloaded or not."""
        import huggingface_hub
        from huggingface_hub.errors import CachedRepoTreeNotFoundError

        try:
            tree = huggingface_hub.get_cached_repo_tree(self.name, repo_type="dataset", revision=folder.name)
        except CachedRepoTreeNotFoundError:  # an older client downloaded it
            return [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]
        return [each.path for each in tree if isinstance(each, huggingface_hub.RepoFile)]

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """Errors of the hub as one line with the next step."""
        from huggingface_hub import constants, errors

        client_error: Any = errors.HfHubHTTPError.__mro__[1]  # an error of the HTTP library that this version of the hub's client uses
        page = f"{constants.ENDPOINT}/datasets/{self.name}"
        try:
            yield
        except errors.GatedRepoError:
            problem = f"is gated; accept its conditions on {page}, then log in with `hf auth login` or set HF_TOKEN"
        except errors.RepositoryNotFoundError:
            problem = "is no data set of the hub, or a private one; check OWNER/NAME, or set HF_TOKEN to a token that may read it"
        except errors.RevisionNotFoundError:
            problem = f"has no revision {self.revision!r}; {page} lists them"
        except (errors.LocalEntryNotFoundError, errors.IncompleteSnapshotError, OSError, client_error) as error:
            first = next(iter(str(error).splitlines()), "") or type(error).__name__
            problem = f"cannot be had from {constants.ENDPOINT} ({first}); check the network, or set HF_HUB_OFFLINE=1 to read the hub's cache"
            if constants.HF_HUB_OFFLINE:
                problem = (
                    f"is not wholly in the hub's cache, and HF_HUB_OFFLINE is set; run `hf download --repo-type dataset {self.name}` with a network"
                )
        else:
            return
        raise ConfigError(f"{self.where} {problem}")


def _splits(folder: Path, wanted: _Wanted) -> dict[str, dict[str, list[str]]]:
    """Configuration -> split -> names of files, as `datasets` finds them from the card and the names of all files. It sees empty files of these
    names: nothing is downloaded for it.
    """
    import datasets

    with tempfile.TemporaryDirectory() as place:
        skeleton = Path(place).resolve()
        for name in wanted.all_files(folder):
            (skeleton / name).parent.mkdir(parents=True, exist_ok=True)
            (skeleton / name).write_bytes((folder / CARD).read_bytes() if name == CARD and (folder / CARD).is_file() else b"")
        try:
            found = {}
            for config in datasets.get_dataset_config_names(str(skeleton)):
                data_files = datasets.load_dataset_builder(str(skeleton), config).config.data_files
                found[config] = {str(split): [str(Path(each).relative_to(skeleton)) for each in paths] for split, paths in data_files.items()}
        except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
            first = next(iter(str(error).replace(str(skeleton), wanted.name).splitlines()), "") or type(error).__name__
            raise ConfigError(f"{wanted.where} has no files of rows that can be found ({first}); download it, and name a file") from None
    return found


def _chosen(configs: Mapping[str, Mapping[str, Sequence[str]]], parts: Sequence[str], usual: str, where: str) -> tuple[str, list[str]]:
    """The configuration and the splits that the parts behind a name ask for. Raises: ConfigError if there is none, or several may be meant."""
    shown = ", ".join(configs)
    if len(parts) == 2 or (parts and (parts[0] in configs or len(configs) > 1)):
        config, rest = parts[0], parts[1:]
        if config not in configs:
            raise ConfigError(
                f"{where} has no configuration {config!r}{suggestion(config, list(configs))}; write one of these behind its name: {shown}"
            )
    elif "default" in configs or len(configs) == 1:
        config, rest = "default" if "default" in configs else next(iter(configs)), parts
    else:
        raise ConfigError(f"{where} has several configurations; write one of these behind its name: {shown}")
    splits = rest[0].split("+") if rest else [usual]
    if unknown := [each for each in splits if each not in configs[config]]:
        near, here = suggestion(unknown[0], list(configs[config])), ", ".join(configs[config])
        raise ConfigError(f"{where} has no split {unknown[0]!r}{near}; write one of these behind the configuration {config}: {here}")
    return config, splits
