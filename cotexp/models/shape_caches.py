"""Bounds torch's caches of compiled kernels on a CPU.

In bfloat16 every new shape of a tensor adds a compiled kernel to two caches, torch's and oneDNN's, of 1,024 entries each. Texts of varying length
add megabytes per batch. Shapes rarely repeat, so small caches cost no time.
Source: oneDNN's documentation of ONEDNN_PRIMITIVE_CACHE_CAPACITY; LRU_CACHE_CAPACITY is read by torch's bridge to it (ideep).
"""

from __future__ import annotations

import os

SHAPES = 64


def bound_shape_caches() -> None:
    """Limit both caches to few shapes, unless the environment sets a limit. Call it before the first operation of torch."""
    for name in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        os.environ.setdefault(name, str(SHAPES))
