"""The compressors by name. A new one is a class and a line here; one of another package registers as entry point `cotexp.compressors`."""

from __future__ import annotations

from cotexp.compressors.base import Compressor
from cotexp.extensions import Registry

COMPRESSORS = Registry(
    "cotexp.compressors",
    Compressor,
    {
        "self": "cotexp.compressors.generating:SelfCompressor",
        "local": "cotexp.compressors.generating:LocalCompressor",
        "api": "cotexp.compressors.generating:ApiCompressor",
        "recorded": "cotexp.compressors.recorded:RecordedCompressor",
    },
)
