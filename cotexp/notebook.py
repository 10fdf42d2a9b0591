"""Progress bars in the output of a notebook's cell."""

from __future__ import annotations

import io
import time
from typing import Any

from rich.console import Console
from rich.progress import Progress, ProgressColumn, TaskID

DRAW_SECONDS = 0.3
"""Least interval between two drawings: each one is sent to a browser, and stays in the file if it is the last one."""
WIDTH = 100
HTML = '<pre style="white-space:pre;overflow-x:auto;line-height:normal;margin:0">{code}</pre>'


class CellProgress(Progress):
    """Bars that are drawn again in their place, as text and HTML. They need no widgets and no thread, and a saved notebook has the last drawing."""

    def __init__(self, *columns: ProgressColumn) -> None:
        super().__init__(*columns, auto_refresh=False)
        self._handle: Any = None
        self._drawn_at = 0.0

    def start(self) -> None:
        self._draw()

    def update(self, task_id: TaskID, **values: Any) -> None:
        super().update(task_id, **values)
        if self._handle is not None and time.monotonic() - self._drawn_at > DRAW_SECONDS:
            self._draw()

    def stop(self) -> None:
        if self._handle is not None:
            self._draw()

    def _draw(self) -> None:
        from IPython.display import display

        self._drawn_at = time.monotonic()
        console = Console(record=True, file=io.StringIO(), width=WIDTH, force_jupyter=False)
        console.print(self.get_renderable())
        text = console.export_text(clear=False)
        drawn = {"text/plain": text.rstrip(), "text/html": console.export_html(code_format=HTML, inline_styles=True)}
        if self._handle is None:
            self._handle = display(drawn, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._handle.update(drawn, raw=True)
