from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("hydra_plugins.hydra_ray_launcher", reason="hydra-ray-launcher is not installed: pip install 'cotexp[ray]'")
from cotexp.config import ray_tasks

NODES = [
    {"Alive": True, "Resources": {"CPU": 2.0, "memory": 8e9}},
    {"Alive": True, "Resources": {"CPU": 1.0, "GPU": 1.0, "memory": 8e9, "fast": 1.0}},
    {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}},
]
WANTED: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({}, ""),
    "half a GPU": ({"num_cpus": 1, "num_gpus": 0.5}, ""),
    "a resource by name": ({"num_cpus": 1, "resources": {"fast": 1}}, ""),
    "too many GPUs": ({"num_gpus": 2}, "num_gpus=2 (most on a node: 1)"),
    "more cores than a living node has": ({"num_cpus": 8}, "num_cpus=8 (most on a node: 2)"),
    "an unknown resource": ({"resources": {"tpu": 1}}, "tpu=1 (most on a node: 0)"),
    "what only two nodes have together": ({"num_cpus": 2, "num_gpus": 1}, "num_cpus=2 (most on a node: 2), num_gpus=1 (most on a node: 1)"),
}


@pytest.mark.parametrize("what", WANTED)
def test_what_no_node_has_is_named(what: str) -> None:
    options, lacking = WANTED[what]
    found = ray_tasks._unmet(NODES, options)
    assert found.removeprefix("hydra.launcher.ray.remote: no node of the Ray cluster has ").startswith(lacking)
    assert bool(found) == bool(lacking)
