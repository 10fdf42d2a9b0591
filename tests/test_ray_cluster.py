"""Sweeps on a cluster of Ray: nodes on this machine with one core each, which points fill."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import forked
import psutil
import pytest

from cotexp.jobs.status import read_status

pytest.importorskip("hydra_plugins.hydra_ray_launcher", reason="hydra-ray-launcher is not installed: pip install 'cotexp[ray]'")

ROOT = Path(__file__).resolve().parent.parent
SIZES = [
    *("tracking=none", "compressor=self", "model=hf", "task.num_train=8", "task.num_validation=2", "task.num_test=8", "evaluation.modes=[base]"),
    *("evaluation.latency=false", "evaluation.max_new_tokens=8", "evaluation.batch_size=1"),
]
NODE = {"num_cpus": 1, "object_store_memory": 75 * 2**20, "include_dashboard": False}

pytestmark = pytest.mark.slow


class RayCluster:
    """A cluster, and the folder whose file `hold` holds its points."""

    def __init__(self, folder: Path) -> None:
        from ray.cluster_utils import Cluster

        self.folder = folder
        self.cluster: Any = Cluster(initialize_head=True, head_node_args=NODE)
        self.second: Any = self.cluster.add_node(**NODE)

    def hold(self) -> None:
        for path in self.folder.iterdir():
            path.unlink()
        (self.folder / "hold").touch()

    def release(self) -> None:
        (self.folder / "hold").unlink()

    def wait_for_held(self, number: int, process: forked.Process) -> list[int]:
        """The process ids of the points that are held, or were, once there are so many."""
        while len(held := [int(path.name.partition("-")[2]) for path in self.folder.glob("held-*")]) < number:
            assert process.poll() is None, process.printed()
            time.sleep(0.1)
        return held


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayCluster]:
    folder = tmp_path_factory.mktemp("held")
    paths = f"{ROOT / 'tests' / 'clusters' / 'held_rows'}:{ROOT}"
    own = {"OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled", "PYTHONPATH": paths, "COTEXP_HELD_IN": str(folder)}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in own.items():
            patch.setenv(name, value)
        handler = signal.getsignal(signal.SIGTERM)
        begun = RayCluster(folder)
        signal.signal(signal.SIGTERM, handler)  # Ray's own waits for the cluster
        yield begun
        begun.cluster.shutdown()


def sweep(address: str | None, outputs: Path, model: Path, *words: str) -> forked.Process:
    own = [f"hydra.launcher.ray.init.address={address}"] if address else ["hydra.launcher.ray.init.num_cpus=2"]
    command = ["run.py", "-m", "hydra/launcher=ray", *own, *SIZES, f"model.path={model}", f"paths.outputs={outputs}", *words]
    return forked.start(command, cwd=ROOT, together=True)


def assert_finished(outputs: Path, num_runs: int) -> None:
    """Each run is finished, and each of its answers stored once."""
    assert len(list(outputs.glob("runs/*/*/*/metrics.json"))) == num_runs
    ledgers = [path.parent.name for path in outputs.glob("store/predictions/*/spec.json")]
    assert len(ledgers) == num_runs
    for ledger in ledgers:
        stored = [json.loads(line)["id"] for path in outputs.glob(f"store/predictions/{ledger}/rows-*") for line in path.read_text().splitlines()]
        assert len(stored) == len(set(stored)) == 8


def test_points_whose_process_or_node_is_killed_go_on_elsewhere(cluster: RayCluster, random_model: Path, tmp_path: Path) -> None:
    cluster.hold()
    process = sweep(cluster.cluster.address, tmp_path, random_model, "evaluation.seed=0,1")
    first, _ = cluster.wait_for_held(2, process)
    os.kill(first, signal.SIGKILL)
    cluster.wait_for_held(3, process)
    cluster.cluster.remove_node(cluster.second, allow_graceful=False)
    cluster.release()
    status, printed = process.wait(), process.printed()
    cluster.second = cluster.cluster.add_node(**NODE)
    assert status == 0, printed
    assert_finished(tmp_path, 2)
    said = [line for line in printed.splitlines() if "answers, base" in line and " computed in " in line]
    assert len(said) == 2, "each point that goes on says it once"
    assert all(re.match(r"\W*(\x1b\[\d+m)?\(_run_point pid=\d+(, ip=[\d.]+)?\)", line) for line in said), said


def test_points_wait_for_a_node_that_has_what_they_need_beside_another_sweep(cluster: RayCluster, random_model: Path, tmp_path: Path) -> None:
    waiting = sweep(cluster.cluster.address, tmp_path, random_model, "+hydra.launcher.ray.remote.resources={special: 1}", "evaluation.seed=0,1")
    while "points wait until the cluster grows" not in waiting.printed():
        assert waiting.poll() is None, waiting.printed()
        time.sleep(0.1)
    assert "hydra.launcher.ray.remote: no node of the Ray cluster has special=1 (most on a node: 0)" in waiting.printed()
    other = sweep(cluster.cluster.address, tmp_path, random_model, "evaluation.seed=2,3")
    assert other.wait() == 0, other.printed()
    assert_finished(tmp_path, 2)
    added = cluster.cluster.add_node(**NODE, resources={"special": 1})
    assert waiting.wait() == 0, waiting.printed()
    cluster.cluster.remove_node(added)
    assert_finished(tmp_path, 4)


@pytest.mark.parametrize("joins", [True, False])
def test_a_signal_ends_the_points_in_order_and_the_cluster_only_if_the_command_began_it(
    cluster: RayCluster, random_model: Path, tmp_path: Path, joins: bool
) -> None:
    cluster.hold()
    address = cluster.cluster.address if joins else None
    process = sweep(address, tmp_path, random_model, "evaluation.seed=0,1,2")
    cluster.wait_for_held(2, process)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    assert process.wait() == 128 + signal.SIGINT, process.printed()
    said = [line for line in process.printed().splitlines() if "_run_point" not in line]  # points' lines may come later
    assert said[-1] == "cotexp: stopped by SIGINT; everything computed is kept, run the same command again to go on", said
    assert "A worker died" not in process.printed()
    ended = [read_status(path.parent) for path in tmp_path.glob("runs/*/*/*/status.json")]
    assert [(each.state, each.error) for each in ended if each] == 2 * [("stopped", "stopped by SIGINT")], "the third was not begun"
    _, alive = psutil.wait_procs(children, timeout=600)
    assert alive == []
    cluster.release()
    if joins:
        again = sweep(address, tmp_path, random_model, "evaluation.seed=0,1,2")
        assert again.wait() == 0, again.printed()
        assert_finished(tmp_path, 3)
