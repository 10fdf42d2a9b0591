"""Which folder a model setting means, and the hash that stands for it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from cotexp.models import identity
from cotexp.models.identity import device_type, find
from cotexp.settings.base import ConfigError
from cotexp.settings.models import PretrainedModel


@pytest.fixture
def folder(random_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(random_model, tmp_path / "model"))


def sha256(folder: Path) -> str:
    return find(PretrainedModel(path=str(folder))).sha256


def test_the_hash_is_of_the_content_not_of_the_place(folder: Path, random_model: Path) -> None:
    assert sha256(folder) == sha256(random_model)
    (folder / "notes.md").write_text("a model card changes no result")
    assert sha256(folder) == sha256(random_model)
    assert find(PretrainedModel(path=str(folder))).folder == folder


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json"])
def test_the_hash_changes_with_weights_configuration_and_tokenizer(folder: Path, name: str) -> None:
    before = sha256(folder)
    content = bytearray((folder / name).read_bytes())
    if name.endswith(".json"):
        content += b" "  # still JSON, which what is broken would not be
    else:
        content[-1] ^= 1
    (folder / name).write_bytes(content)
    assert sha256(folder) != before


def test_another_chat_template_is_another_model(folder: Path) -> None:
    before = sha256(folder)
    template = folder / "chat_template.jinja"
    template.write_text(template.read_text() + " " if template.exists() else "another")
    assert sha256(folder) != before


def test_a_further_chat_template_is_part_of_the_hash(folder: Path) -> None:
    before = sha256(folder)
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "rag.jinja").write_text("{{ messages }}")
    with_one = sha256(folder)
    (folder / "additional_chat_templates" / "rag.jinja").write_text("{{ messages[0] }}")
    assert len({before, with_one, sha256(folder)}) == 3


def test_code_is_part_of_the_hash_where_it_may_run(folder: Path) -> None:
    def trusted() -> str:
        return find(PretrainedModel(path=str(folder), trust_remote_code=True)).sha256

    assert trusted() == sha256(folder), "a model without code is the same model"
    found = [trusted()]
    (folder / "layers").mkdir()
    for name in ("modeling_x.py", "layers/attention.py", "vocabulary.tiktoken"):
        for content in ("scale = 1", "scale = 2"):
            (folder / name).write_text(content)
            found.append(trusted())
    assert len(set(found)) == 7
    assert sha256(folder) == found[0], "what cannot run changes nothing"


@pytest.mark.parametrize("trusted", [False, True])
def test_all_that_decides_a_result_is_fetched_from_the_hub(trusted: bool, random_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub.utils import filter_repo_objects

    asked: list[list[str]] = []
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, allow_patterns, **__: asked.append(allow_patterns) or str(random_model))
    find(PretrainedModel(path="owner/model", trust_remote_code=trusted))
    files = ["model.safetensors", "config.json", "spiece.model", "merges.txt", "chat_template.jinja", "additional_chat_templates/rag.jinja"]
    code = ["modeling_x.py", "layers/attention.py", "qwen.tiktoken"]
    other = ["pytorch_model.bin", "README.md", "picture.png"]
    assert list(filter_repo_objects([*files, *code, *other], allow_patterns=asked[0])) == files + (code if trusted else [])


def test_a_plan_counts_a_model_whose_code_was_never_fetched_as_not_downloaded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoModelForCausalLM": "modeling_x.X"}}))
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: str(folder))
    model = PretrainedModel(path="owner/model", trust_remote_code=True)
    assert find(model, download=False).sha256.startswith(identity.NOT_DOWNLOADED)
    with pytest.raises(ConfigError, match=r"names code that is not there: modeling_x\.py"):
        find(model)
    (folder / "modeling_x.py").write_text("")
    assert find(model, download=False) == find(model)


@pytest.mark.parametrize(("name", "sentence"), [("model.safetensors", "weights"), ("tokenizer.json", "a tokenizer"), ("config.json", "config.json")])
def test_a_folder_without_an_essential_file_is_refused_by_name(folder: Path, name: str, sentence: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ConfigError, match=rf"model\.path must be a transformers folder with {sentence}"):
        find(PretrainedModel(path=str(folder)))


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no files"):
        find(PretrainedModel(path=str(tmp_path)))


@pytest.mark.parametrize("path", ["./not/there", "/no/such/folder", "a b", "~/models/x"])
def test_a_path_that_is_no_folder_is_refused(path: str) -> None:
    with pytest.raises(ConfigError, match=r"compressor\.model\.path must be a folder, a hub id or shipped:NAME"):
        find(PretrainedModel(path=path), path_setting="compressor.model.path")


def test_an_unknown_shipped_model_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"model\.path must name a shipped model .*'tinny'"):
        find(PretrainedModel(path="shipped:tinny"))


def test_a_named_device_is_taken_as_it_is() -> None:
    assert [device_type(each) for each in ("cpu", "cuda", "mps")] == ["cpu", "cuda", "mps"]
    assert device_type("auto") in ("cpu", "cuda", "mps")


def test_finding_a_model_imports_no_torch(random_model: Path) -> None:
    code = (
        "import sys; from cotexp.models.identity import find; from cotexp.settings.models import PretrainedModel\n"
        f"find(PretrainedModel(path={str(random_model)!r}))\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


DRIVER = """
#include <stdlib.h>
#include <string.h>
int cuInit(unsigned flags) { return getenv("NO_DEVICE") ? 100 : 0; }
int cuDeviceGetCount(int *count) { *count = atoi(getenv("VISIBLE")); return 0; }
int cuDeviceGetName(char *name, int length, int device) { strncpy(name, device ? "Second GPU" : "First GPU", length); return 0; }
"""


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A library with the driver's interface, which shows as many GPUs as VISIBLE says."""
    if shutil.which("cc") is None:
        pytest.skip("there is no C compiler")
    library = tmp_path / "libcuda.so.1"
    subprocess.run(["cc", "-shared", "-fPIC", "-x", "c", "-o", str(library), "-"], input=DRIVER, text=True, check=True)
    monkeypatch.setattr(identity, "DRIVERS", ("libnothing.so.1", str(library)))
    monkeypatch.setattr(identity, "_built_for_cuda", lambda: True)
    identity._gpu_names.cache_clear()
    yield library
    identity._gpu_names.cache_clear()


@pytest.mark.parametrize(
    ("listed", "shown", "names"),
    [(None, 2, ["0", "1"]), ("", 0, []), ("-1", 0, []), ("NoDevFiles", 0, []), ("1,0,-1,2", 2, ["1", "0"]), (" 3 , GPU-5f", 2, ["3", "GPU-5f"])],
)
def test_gpus_are_those_that_the_driver_shows(
    listed: str | None, shown: int, names: list[str], driver: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISIBLE", str(shown))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if listed is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", listed)
    assert identity.visible_gpus() == names
    assert identity.has_cuda() == bool(shown)
    assert device_type("auto") == ("cuda" if shown else "cpu")
    assert identity.num_devices("cuda") == shown
    assert identity.device_name("cuda") == ("First GPU" if shown else "cuda")
    if not shown:
        with pytest.raises(ConfigError, match=r"^model\.device must name a device of this machine"):
            identity.check_device("cuda", "model.device")
        with pytest.raises(ConfigError, match=r"^model\.devices must be at most 0"):
            identity.check_number(2, "cuda", "model.devices")


def test_a_cpu_carries_a_few_processes_for_each_of_its_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    identity.check_number(16, "cpu", "trainer.devices")
    with pytest.raises(ConfigError, match=r"^trainer\.devices must be at most 16 here: on a CPU each is a process, .* 2 processors; got 1024$"):
        identity.check_number(1024, "cpu", "trainer.devices")


def test_a_driver_without_a_device_shows_none(driver: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISIBLE", "2")
    monkeypatch.setenv("NO_DEVICE", "1")
    assert identity.visible_gpus() == []


def test_without_a_driver_there_are_no_gpus_whatever_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "DRIVERS", ("libnothing.so.1",))
    identity._gpu_names.cache_clear()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,no driver")
    assert identity.visible_gpus() == []


def test_whether_torch_was_built_for_gpus_is_known_without_importing_it() -> None:
    code = "import sys; from cotexp.models import identity\nprint(identity._built_for_cuda(), identity.has_cuda())\nassert 'torch' not in sys.modules"
    outcome = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    import torch

    assert outcome.stdout.split() == [str(torch.version.cuda is not None), str(torch.cuda.is_available())]


class Gate(BaseHTTPRequestHandler):
    """A hub that wants its licence accepted first."""

    def do_HEAD(self) -> None:
        self.send_response(403)
        self.send_header("X-Error-Code", "GatedRepo")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD

    def log_message(self, *arguments: object) -> None:
        """Nothing."""


@pytest.mark.parametrize("hub", ["gated", "unreachable"])
def test_a_hub_that_gives_nothing_is_one_line_that_says_what_to_do(hub: str, tmp_path: Path) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Gate)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    code = (
        "from cotexp.models.identity import find; from cotexp.settings.models import PretrainedModel; from cotexp.settings.base import ConfigError\n"
        "try: find(PretrainedModel(path='meta-llama/Llama-3.1-8B-Instruct'))\n"
        "except ConfigError as error: print(*error.problems, sep='|')"
    )
    address = {"gated": f"http://127.0.0.1:{server.server_port}", "unreachable": "http://127.0.0.1:9"}[hub]
    environment = {**os.environ, "HF_HUB_OFFLINE": "0", "HF_ENDPOINT": address, "HF_HOME": str(tmp_path), "HF_TOKEN": "hf_planted_key"}
    try:
        outcome = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment)
    finally:
        server.shutdown()
        server.server_close()
    (line,) = outcome.stdout.splitlines()
    assert line.startswith("model.path 'meta-llama/Llama-3.1-8B-Instruct' is not a folder here and cannot be downloaded from the hub (")
    advice = {"gated": "accept its licence there and log in with hf auth login, or give a folder", "unreachable": "check the name or give a folder"}
    assert line.endswith(advice[hub])
    assert "hf_planted_key" not in outcome.stdout + outcome.stderr


@pytest.mark.parametrize(
    ("wanted", "options", "problem"),
    [
        ("flash_attention_2", {"device": "cpu"}, "runs only on NVIDIA GPUs, and the device is cpu"),
        ("flash_attention_3", {"device": "cuda", "dtype": "float32"}, "computes in bfloat16, and the number format is float32"),
        ("flash_attention_3", {"device": "cuda"}, "needs the package flash-attn-interface, which is not installed"),
        ("flex_attention", {"device": "cpu", "trains": True}, "does not train on a CPU"),
    ],
)
def test_attention_that_this_machine_cannot_compute_is_one_line(wanted: str, options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        identity.check_attention(wanted, **{"dtype": "bfloat16", "setting": "teacher.model", **options})
    assert str(caught.value) == f"teacher.model.attn_implementation={wanted} {problem}; take sdpa"
    for fine in (None, "sdpa", "eager"):
        identity.check_attention(fine, **{"dtype": "float32", "setting": "model", **options})
    identity.check_attention("flex_attention", device="cpu", dtype="float32", setting="model")
