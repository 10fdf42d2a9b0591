"""The notebooks of examples/ run from top to bottom in a kernel of Jupyter; there, a run shows its progress and survives an interrupt."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from jupyter_client import BlockingKernelClient, KernelManager
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
SMALL = ["debug=fast", "task.num_validation=4", "task.num_test=8", "evaluation.latency=false"]
SIZES = {
    "ablation": f"name = 'lab/ablation'\nsize = {[*SMALL, 'task.num_train=16']}",
    "own_data": f"num_questions = 40\nsize = {SMALL}",
}

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:(jupyter_client|nbclient|zmq|tornado|nbformat|traitlets|ipykernel).*"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # sockets of a kernel that has ended
]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Variables of a kernel that reads and writes nothing in a home folder."""
    home = tmp_path_factory.mktemp("home")
    places = {"JUPYTER_RUNTIME_DIR": "runtime", "JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "data", "IPYTHONDIR": "ipython"}
    with pytest.MonkeyPatch.context() as patch:
        for name, folder in places.items():
            patch.setenv(name, str(home / folder))
        patch.delenv("MPLBACKEND")
        yield {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def test_the_notebooks_are_stored_without_outputs() -> None:
    assert [path.stem for path in NOTEBOOKS] == sorted(SIZES)
    for path in NOTEBOOKS:
        notebook = nbformat.read(path, 4)
        nbformat.validate(notebook)
        assert [cell for cell in notebook.cells if cell.cell_type == "code" and (cell.outputs or cell.execution_count)] == []
        assert [cell.metadata.get("tags") for cell in notebook.cells].count(["size"]) == 1


def outputs_of(notebook: Any, kind: str) -> list[str]:
    """What the cells show in this form."""
    found = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs if "data" in output]
    return [output.data[kind] for output in found if kind in output.data]


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_top_to_bottom(path: Path, environment: dict[str, str], tmp_path: Path) -> None:
    notebook = nbformat.read(path, 4)
    [cell] = [cell for cell in notebook.cells if cell.metadata.get("tags") == ["size"]]
    cell.source = f"import cotexp\n\n{SIZES[path.stem]}"
    client = NotebookClient(notebook, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}})
    client.execute(env=environment)
    nbformat.write(notebook, tmp_path / path.name)
    assert any("fine-tuned, with" in text for text in outputs_of(notebook, "text/plain")), "the table of a run"
    assert [output.text for cell in notebook.cells for output in cell.get("outputs", []) if output.get("name") == "stderr"] == []
    assert not any(re.search(r"━ \d+/\d+ ", text) for text in outputs_of(notebook, "text/plain")), "bars are gone"
    if path.stem == "ablation":
        assert len(outputs_of(notebook, "image/png")) == 2, "the figure of the report, and one of pandas"
        assert (tmp_path / "exported/macc/config.json").is_file()
        assert len(list((tmp_path / "outputs/runs/lab/ablation").iterdir())) == 3
    else:
        assert any("trainer.learning_rate must be a number" in output.get("text", "") for output in notebook.cells[8].outputs)


class Kernel:
    """A kernel of Jupyter, without a notebook."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.manager = KernelManager(kernel_name="python3")
        self.manager.start_kernel(cwd=str(folder), env=environment)
        self.client: BlockingKernelClient = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready()

    def begin(self, code: str) -> str:
        return str(self.client.execute(code))

    def ended(self, begun: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """The reply to a cell, and what it has shown."""
        shown = []
        while True:
            message = self.client.get_iopub_msg()
            if message["parent_header"].get("msg_id") == begun:
                if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                    break
                shown.append(message)
        while (reply := self.client.get_shell_msg())["parent_header"].get("msg_id") != begun:
            pass
        return reply["content"], shown

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


@pytest.mark.slow
def test_an_interrupted_run_in_a_kernel_goes_on_with_the_next_call(environment: dict[str, str], tmp_path: Path) -> None:
    """Twice in one kernel, which stays alive with its own handler of interrupts."""
    words = [*SMALL, "task.num_train=40", "teacher.batch_size=4", "compression=truncate", "tracking=none"]
    kernel = Kernel(tmp_path, environment)
    try:
        kernel.ended(kernel.begin("import cotexp, signal; before = signal.getsignal(signal.SIGINT)"))
        begun = kernel.begin(f"cotexp.run(*{words})")
        while not list(tmp_path.glob("outputs/store/rationales/*/rows-*.jsonl")):
            time.sleep(0.05)
        kernel.manager.interrupt_kernel()
        reply, shown = kernel.ended(begun)
        assert (reply["status"], reply["ename"]) == ("error", "KeyboardInterrupt"), shown
        assert reply["evalue"] == "stopped; everything computed is kept, and the same call again goes on"
        [folder] = (tmp_path / "outputs/runs/debug").iterdir()
        assert '"state": "stopped"' in (folder / "status.json").read_text()
        reply, shown = kernel.ended(kernel.begin(f"result = cotexp.run(*{words}); assert signal.getsignal(signal.SIGINT) is before; result.key"))
        assert reply["status"] == "ok", reply
        assert [each["content"]["data"]["text/plain"] for each in shown if each["msg_type"] == "execute_result"] == [repr(folder.name)]
        drawn = [each["content"] for each in shown if each["msg_type"] in ("display_data", "update_display_data")]
        bars = [each for each in drawn if "display_id" in each["transient"]]
        assert len({each["transient"]["display_id"] for each in bars}) == 1, "one place for all bars of a cell"
        assert any(re.search(r"stage 1 of \d rationales, stories [━╸╺]+ +\d+/\d+", each["data"]["text/plain"]) for each in bars), bars
        assert bars[-1]["data"]["text/plain"] == ""
        reply, _ = kernel.ended(kernel.begin("cotexp.run('seed=x')"))
        assert (reply["ename"], reply["evalue"]) == ("ConfigError", "seed must be an integer; got 'x'")
    finally:
        kernel.close()
