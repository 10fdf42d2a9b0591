"""How much memory torch keeps on a CPU for shapes of tensors that it met.

In bfloat16 every new shape leaves a compiled kernel in two caches, torch's and its oneDNN's, of 1,024 entries each: texts of varying length
fill them by megabytes a batch. Few shapes come back, so that small caches cost no time.
Source: oneDNN's documentation of ONEDNN_PRIMITIVE_CACHE_CAPACITY; LRU_CACHE_CAPACITY is read by torch's bridge to it (ideep).
"""

from __future__ import annotations

import os

SHAPES = 64


def bound_shape_caches() -> None:
    """Before the first operation of this process: both caches hold few shapes, unless the environment says how many."""
    for name in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        os.environ.setdefault(name, str(SHAPES))
