"""An exported folder on the Hugging Face hub, through huggingface_hub. Its token is only in the requests."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cotexp.credentials import without_user
from cotexp.settings.base import ConfigError
from cotexp.visible import visible

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_WORD = re.compile(r"[A-Za-z0-9_](?:[\w.-]{0,94}[A-Za-z0-9_])?", re.ASCII)
LONGEST = 300
"""Most characters of an error of the hub that are shown."""


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository to push to. `kind` is the hub's word for what it holds."""

    name: str
    kind: Literal["model", "dataset"]
    private: bool
    api: HfApi

    @property
    def address(self) -> str:
        return f"{self.api.endpoint}/{'datasets/' if self.kind == 'dataset' else ''}{self.name}"


def find(name: str, kind: Literal["model", "dataset"], *, private: bool, mark: str) -> Repository:
    """The repository OWNER/NAME, once the hub has accepted the token. It may exist if it is empty or an earlier export, whose card has `mark`.

    Raises: ConfigError for a name that the hub does not allow, without a token, or if the hub refuses or holds something else there.
    """
    from huggingface_hub import HfApi, get_token

    if not _is_allowed(name):
        raise ConfigError(
            "--push must be OWNER/NAME, each of at most 96 letters, digits, '-', '_' and '.', which neither begin nor end with '-' or '.', "
            f"without '--', '..' and an ending .git; got {name[:200]!r}"
        )
    token = get_token()
    if token is None:
        raise ConfigError("--push needs a token of the hub that may write: set HF_TOKEN, or log in with `hf auth login`")
    repository = Repository(name, kind, private, HfApi(token=token))
    with _told(repository):
        repository.api.whoami()
        is_other = repository.api.repo_exists(name, repo_type=kind) and _holds_another(repository, mark)
    if is_other:
        raise ConfigError(f"--push: {repository.address} holds something else than an earlier export; choose another NAME, or empty it on the hub")
    return repository


def _is_allowed(name: str) -> bool:
    words = name.split("/")
    return len(words) == 2 and all(map(_WORD.fullmatch, words)) and not re.search(r"--|\.\.|\.git$", name)


def _holds_another(repository: Repository, mark: str) -> bool:
    files = set(repository.api.list_repo_files(repository.name, repo_type=repository.kind)) - {".gitattributes"}
    if "README.md" not in files:
        return bool(files)
    card = repository.api.hf_hub_download(repository.name, "README.md", repo_type=repository.kind)
    return mark not in Path(card).read_text(encoding="utf-8")


def push(repository: Repository, folder: Path) -> None:
    """Make the repository hold what is in the folder, as one commit, and print its address. Raises: ConfigError if the hub refuses it."""
    with _told(repository):
        repository.api.create_repo(repository.name, repo_type=repository.kind, private=repository.private or None, exist_ok=True)
        repository.api.upload_folder(
            repo_id=repository.name,
            repo_type=repository.kind,
            folder_path=folder,
            commit_message="Export by cotexp",
            delete_patterns="*",
        )
    print(f"Pushed {folder} to {repository.address}")


@contextlib.contextmanager
def _told(repository: Repository) -> Iterator[None]:
    """Raises: ConfigError for any error of the hub or of the network, in one line without the token."""
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # that of its client of HTTP, which differs between versions

    try:
        yield
    except (HTTPError, OSError, RuntimeError, ValueError) as error:  # RuntimeError and ValueError: of a file that could not be uploaded
        cause = error.__cause__ if isinstance(error, RuntimeError) and error.__cause__ else error
        raise ConfigError(f"--push: {repository.address} was not written: {_shown(cause, repository.api.token)}{_next_step(cause)}") from None


def _shown(error: BaseException, token: Any) -> str:
    text = getattr(error, "server_message", None) or str(error) or type(error).__name__
    if isinstance(token, str) and token:
        text = text.replace(token, "...")
    return visible(" ".join(without_user(text).split()))[:LONGEST]


def _next_step(error: BaseException) -> str:
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status == 401:
        return "; the hub does not accept this token: set HF_TOKEN to another, or log in again with `hf auth login`"
    if status == 403:
        return "; this token may not write there: make one that may, or name an owner to whom you belong"
    return "; run the same command again when the hub can be reached" if status is None else ""
