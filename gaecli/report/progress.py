"""A progress bar over files, on stderr, for a person who waits; silent everywhere else."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

from gaecli.report.console import is_terminal

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn, TaskID

NAME_WIDTH = 32


class FileProgress:
    """Counts finished files.

        with FileProgress(total=len(paths), enabled=not no_progress) as progress:
            for path in paths:
                ...
                progress.advance(path)

    Shown only for several files and on a terminal; the bar is gone when the block ends. Threads may call
    `advance`.
    """

    def __init__(self, total: int, *, enabled: bool = True, stream: TextIO | None = None) -> None:
        self.total = total
        self._stream = sys.stderr if stream is None else stream
        self._enabled = enabled and total > 1 and is_terminal(self._stream)
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        if self._enabled:
            self._start()
        return self

    def advance(self, file: str = "") -> None:
        """One more file is done."""
        if self._progress is None or self._task is None:
            return
        from gaecli.report.text import Canvas

        name = Canvas.of(self._progress.console).shorten(file, NAME_WIDTH)
        self._progress.update(self._task, advance=1, name=name, rate=self._rate())

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _start(self) -> None:
        """Here, so that a run without a bar never imports rich.progress."""
        from rich.progress import Progress

        from gaecli.report.console import make_console

        console = make_console(self._stream)
        if console.is_dumb_terminal:
            return
        # stdout carries data, perhaps into a pipe: only stderr may be redirected above the bar.
        self._progress = Progress(*_columns(), console=console, transient=True, redirect_stdout=False)
        self._task = self._progress.add_task("files", total=self.total, name="", rate="")
        self._progress.start()

    def _rate(self) -> str:
        from gaecli.report.charts import format_rate

        if self._progress is None or self._task is None:
            return ""
        task = self._progress.tasks[0]
        elapsed = task.elapsed or 0.0
        return format_rate((task.completed + 1) / elapsed, "files") if elapsed > 0 else ""


def _columns() -> list[ProgressColumn | str]:
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

    return [
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        # Names and rates hold brackets and may look like markup.
        TextColumn("{task.fields[rate]}", markup=False),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[name]}", markup=False),
    ]
