"""Progress bars in the output of a notebook's cell."""

from __future__ import annotations

import io
import time
import warnings
from typing import Any

from rich.console import Console
from rich.progress import Progress, ProgressColumn, TaskID

DRAW_SECONDS = 0.3
"""Least interval between two drawings, each of which is sent to a browser."""
WIDTH = 100
HTML = '<pre style="white-space:pre;overflow-x:auto;line-height:normal;margin:0">{code}</pre>'

_handles: dict[int, Any] = {}
"""Number of the cell at work -> where it draws: one place for all bars that follow each other."""


class CellProgress(Progress):
    """A bar that is drawn again in its place, as text and HTML, and is gone at its end. It needs no widgets and no thread."""

    def __init__(self, *columns: ProgressColumn) -> None:
        super().__init__(*columns, auto_refresh=False)
        self._drawn_at: float | None = None

    def start(self) -> None:
        self._draw()

    def update(self, task_id: TaskID, **values: Any) -> None:
        super().update(task_id, **values)
        if self._drawn_at is not None and time.monotonic() - self._drawn_at > DRAW_SECONDS:
            self._draw()

    def stop(self) -> None:
        if self._drawn_at is not None:
            _show("", "")

    def _draw(self) -> None:
        self._drawn_at = time.monotonic()
        console = Console(record=True, file=io.StringIO(), width=WIDTH, force_jupyter=False)
        console.print(self.get_renderable())
        text = console.export_text(clear=False)
        _show(text.rstrip(), console.export_html(code_format=HTML, inline_styles=True))


def hush_tqdm() -> None:
    """Import tqdm without its advice to install widgets, which it gives in a notebook to whoever imports it first."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import tqdm.auto  # noqa: F401


def _show(text: str, html: str) -> None:
    from IPython import get_ipython
    from IPython.display import display

    drawn, cell = {"text/plain": text, "text/html": html}, get_ipython().execution_count
    if cell in _handles:
        _handles[cell].update(drawn, raw=True)
    else:
        _handles.clear()
        _handles[cell] = display(drawn, raw=True, display_id=True)  # type: ignore[no-untyped-call]
