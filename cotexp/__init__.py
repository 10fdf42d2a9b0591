"""How much of a chain of thought does a model need, and which chains of thought should a small model learn from?

In Python, `import cotexp` gives eight functions: `compose`, `plan`, `run`, `sweep`, `read`, `write_report`, `export` and `detect`.
"""

from cotexp.interface import compose, detect, export, plan, read, run, sweep, write_report
from cotexp.version import __version__

__all__ = ["__version__", "compose", "detect", "export", "plan", "read", "run", "sweep", "write_report"]
