"""Memory that torch keeps for shapes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from cotexp.models.shape_caches import bound_shape_caches

GROWTH = """
import os
import torch
from cotexp.models.shape_caches import bound_shape_caches

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

torch.set_num_threads(1)
bound_shape_caches()
layers = [torch.nn.Linear(*shape).bfloat16() for shape in ((576, 1536), (1536, 576), (576, 576))]
with torch.inference_mode():
    for length in range(20, 300):
        before = resident() if length == 60 else before if length > 60 else 0
        for layer in layers:
            layer(torch.zeros(length, layer.in_features, dtype=torch.bfloat16))
print(resident() - before)
"""


def test_the_environment_has_the_last_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", raising=False)
    monkeypatch.setenv("LRU_CACHE_CAPACITY", "7")
    bound_shape_caches()
    assert (os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"], os.environ["LRU_CACHE_CAPACITY"]) == ("64", "7")


@pytest.mark.slow
@pytest.mark.skipif(not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="this processor computes bfloat16 without oneDNN")
def test_memory_stays_flat_over_lengths_in_bfloat16() -> None:
    def growth(**capacities: str) -> int:
        names = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")
        environment = {name: value for name, value in os.environ.items() if name not in names} | capacities
        return int(subprocess.run([sys.executable, "-c", GROWTH], env=environment, capture_output=True, text=True, check=True).stdout)

    as_torch_has_it = growth(ONEDNN_PRIMITIVE_CACHE_CAPACITY="1024", LRU_CACHE_CAPACITY="1024")
    assert growth() < as_torch_has_it / 3
