"""How far a run is, in one line on stderr, for a person who waits; silent everywhere else.

The line appears after a second and is drawn by a thread of its own, so that who works only counts. Nothing of it
is left at the end: it is erased where it stands, and no cursor is hidden that would have to be shown again.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

from gaecli.progress import Progress, Reach
from gaecli.report.charts import format_bytes, gauge_bar
from gaecli.report.sizes import is_dumb, is_terminal
from gaecli.unfinished import forget, remember

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from gaecli.report.text import Canvas

#: Who waits less than this is told nothing.
DELAY_SECONDS = 1.0
_SECONDS_BETWEEN = 0.2
#: The rate is that of the last so many seconds: looks differ in their speed.
_WINDOW_SECONDS = 10.0
_ERASE = "\r\x1b[2K"
_BAR_WIDTH = 24
_LEAST_BAR_WIDTH = 5
_NAME_WIDTH = 32
_GAP = 2
#: Where there is no room for all parts of the line, the last of these goes first.
_LAST_TO_GO = ("what", "bytes", "left", "look", "files", "rate", "name")
_STYLES = {"what": "bold", "rate": "dim"}


class ProgressLine:
    """Shows how far a run is.

    with ProgressLine(progress):
        ...
    """

    def __init__(
        self,
        progress: Progress,
        *,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
        delay_seconds: float | None = None,
    ) -> None:
        self._progress = progress
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._delay_seconds = DELAY_SECONDS if delay_seconds is None else delay_seconds
        self._samples: deque[tuple[float, float]] = deque()
        self._console: Console | None = None
        self._thread: threading.Thread | None = None
        self._is_over = threading.Event()
        self._is_drawn = False

    def __enter__(self) -> Self:
        if is_watched(self._stream):
            remember(self.erase)
            self._progress.when_begun(self._begin)
        return self

    def _begin(self) -> None:
        self._thread = threading.Thread(target=self._draw_on, name="gae-progress", daemon=True)
        self._thread.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._is_over.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self.erase()
        forget(self.erase)

    def erase(self) -> None:
        self._is_over.set()
        if self._is_drawn:
            self._is_drawn = False
            self._write(_ERASE)

    def draw(self) -> None:
        """The line as things stand, over what stood there before."""
        now, reach = self._clock(), self._progress.reach()
        if self._samples and reach.bytes_gone < self._samples[-1][1]:
            self._samples.clear()  # something else has begun
        self._samples.append((now, reach.bytes_gone))
        while len(self._samples) > 2 and self._samples[1][0] <= now - _WINDOW_SECONDS:
            self._samples.popleft()
        if not reach.num_files or not self._is_in_front:
            return
        if self._console is None:
            from gaecli.report.console import make_console

            self._console = make_console(self._stream)
        with self._console.capture() as drawn:
            self._console.print(line(reach, self._rate, self._console), end="", soft_wrap=True)
        self._is_drawn = True
        self._write(_ERASE + drawn.get() + "\r")

    @property
    def _rate(self) -> float | None:
        """Bytes of a second."""
        (start, before), (end, after) = self._samples[0], self._samples[-1]
        return (after - before) / (end - start) if end > start and after > before else None

    @property
    def _is_in_front(self) -> bool:
        """Not where the shell has put the run into the background, and something else has the screen."""
        try:
            return os.tcgetpgrp(self._stream.fileno()) == os.getpgrp()
        except (AttributeError, OSError, ValueError):
            return True  # no terminal of a shell

    def _draw_on(self) -> None:
        self._samples.append((self._clock(), self._progress.reach().bytes_gone))
        if self._is_over.wait(self._delay_seconds):
            return
        with contextlib.suppress(OSError, ValueError):  # the terminal has gone: the run goes on without it
            while True:
                self.draw()
                if self._is_over.wait(_SECONDS_BETWEEN):
                    return

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)
            self._stream.flush()


def is_watched(stream: TextIO) -> bool:
    """Whether a person looks at it, on a terminal that can erase what it shows."""
    return is_terminal(stream) and not is_dumb()


def line(reach: Reach, rate: float | None, console: Console) -> Text:
    """What is done, how much of it, how fast, how long still: as much of that as there is room for."""
    from rich.text import Text

    from gaecli.report.text import Canvas

    canvas = Canvas.of(console)
    room = canvas.width - 1  # a terminal would go on to the next line behind the last column
    parts = _parts(reach, rate, canvas)
    while len(parts) > 1 and _width(parts) + _GAP + _LEAST_BAR_WIDTH > room:
        del parts[max(parts, key=lambda name: _LAST_TO_GO.index(name))]
    bar_width = min(_BAR_WIDTH, room - _width(parts) - _GAP)
    before_bar = "name" if "name" in parts else "what"
    shown = Text(no_wrap=True)
    for name, text in parts.items():
        shown.append(" " * _GAP if shown else "").append(text, _STYLES.get(name, ""))
        if name == before_bar and bar_width >= _LEAST_BAR_WIDTH and reach.num_bytes:
            shown.append(" " * _GAP).append(_bar(reach, bar_width, canvas))
    shown.truncate(room)
    return shown


def _parts(reach: Reach, rate: float | None, canvas: Canvas) -> dict[str, str]:
    """By name, in the order of the line. Numbers have the same room whatever they are, so that nothing jumps."""
    looks = "" if reach.looks is None else f" of {reach.looks}"
    parts = {
        "what": reach.doing,
        "name": "" if reach.input is None else canvas.shorten(Path(reach.input).name, _NAME_WIDTH),
        "files": f"{reach.files_done:,} of {reach.num_files:,} files" if reach.num_files > 1 else "",
        "look": f"look {reach.look}{looks}" if reach.look and (reach.looks or reach.look) > 1 else "",
    }
    if reach.num_bytes:
        per_second = "" if rate is None else f"{format_bytes(round(rate))}/s"
        left = "" if not rate or not reach.bytes_to_go else f"{_duration(reach.bytes_to_go / rate)} left"
        parts["bytes"] = f"{format_bytes(round(reach.bytes_done)):>7} of {format_bytes(reach.num_bytes)}"
        parts["rate"] = f"{per_second:>9}"
        parts["left"] = f"{left:<9}"
    return {name: text for name, text in parts.items() if text}


def _duration(seconds: float) -> str:
    """`13 s`, `1:13`, `2:01:00`: what is to come is known no better than to the second."""
    minutes, rest = divmod(max(round(seconds), 1), 60)
    if not minutes:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _width(parts: Mapping[str, str]) -> int:
    from rich.cells import cell_len

    return sum(cell_len(text) for text in parts.values()) + _GAP * (len(parts) - 1)


def _bar(reach: Reach, width: int, canvas: Canvas) -> Text:
    from rich.text import Text

    from gaecli.report.text import BAR, QUIET

    drawn = gauge_bar(reach.bytes_done / reach.num_bytes, width, canvas.glyphs.gauge)
    full = drawn.count(canvas.glyphs.gauge[0])
    return Text.assemble((drawn[:full], BAR), (drawn[full:], QUIET))
