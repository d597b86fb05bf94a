"""The curves of one episode: panels that share their steps, with a cursor that walks along them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from rich.text import Text
from textual.binding import Binding, BindingType
from textual.events import Click, Resize
from textual.message import Message
from textual.widget import Widget

from gaecli.array_types import Array, FloatArray
from gaecli.records import dataclass
from gaecli.report.text import QUIET, STRONG
from gaecli.report_page.content import ReportEpisode
from gaecli.screen.braille import BLANK, cells, curve_dots, thinned
from gaecli.screen.words import AXIS_WIDTH, told

#: Cells left of the curves: a number and a line.
AXIS = AXIS_WIDTH + 1
#: Names of the curves of each panel; the first is drawn in full, others thinned.
PANELS = (
    (("reward", "r"),),
    (("value", "V"), ("return", "R")),
    (("advantage", "A"), ("delta", "δ"), ("stored", "A in the file")),
)
COLORS = ("cyan", "yellow", "magenta")
#: Of the height, for each panel; the last ones have two curves.
_WEIGHTS = (2, 3, 4)
_LEAST_STEPS = 4


@dataclass(frozen=True, eq=False)
class Panel:
    """Curves on one scale."""

    names: Sequence[str]
    series: Sequence[FloatArray]


class Curves(Widget, can_focus=True):
    """All of them, as high as there is room."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,h", "step(-1)", "Step", key_display="←→"),
        Binding("right,l", "step(1)", "Step", show=False),
        Binding("shift+left,H", "stride(-1)", "Tenth back", show=False),
        Binding("shift+right,L", "stride(1)", "Tenth on", show=False),
        Binding("home", "end(0)", "First", show=False),
        Binding("end", "end(1)", "Last", show=False),
    ]

    class Moved(Message):
        """The cursor is at another step."""

    def __init__(self, *, shows_stored: bool) -> None:
        super().__init__()
        self.shows_stored = shows_stored
        self.episode: ReportEpisode | None = None
        self.point = 0
        #: The first and last step that are drawn.
        self.window = (0, 0)
        self.marked: frozenset[int] = frozenset()

    def show(self, episode: ReportEpisode, position: int | None, marked: Sequence[int]) -> None:
        """`position`: where the cursor goes; `marked`: steps with findings."""
        steps = episode.curves.steps
        self.episode, self.marked = episode, frozenset(marked)
        self.window = (int(steps[0]), int(steps[-1]))
        self._go(0 if position is None else int(np.abs(steps - position).argmin()))

    def _go(self, point: int) -> None:
        if self.episode is None:
            return
        steps = self.episode.curves.steps
        self.point = min(max(point, 0), len(steps) - 1)
        first, last = self.window
        step = int(steps[self.point])
        shift = min(step - first, 0) + max(step - last, 0)
        self.window = (first + shift, last + shift)
        self.refresh()
        self.post_message(self.Moved())

    def action_step(self, by: int) -> None:
        self._go(self.point + by)

    def action_stride(self, by: int) -> None:
        if self.episode is not None:
            self._go(self.point + by * max(int(self._seen().sum()) // 10, 1))

    def action_end(self, which: int) -> None:
        if self.episode is not None:
            self._go(which * len(self.episode.curves.steps))

    def zoom(self, factor: float) -> None:
        """Around the cursor; 0 is all there is."""
        if self.episode is None:
            return
        steps = self.episode.curves.steps
        low, high = int(steps[0]), int(steps[-1])
        first, last = self.window
        width = round((last - first) * factor) if factor else high - low
        width = min(max(width, _LEAST_STEPS), high - low)
        begin = min(max(int(steps[self.point]) - width // 2, low), high - width)
        self.window = (begin, begin + width)
        self.refresh()

    def on_click(self, event: Click) -> None:
        if self.episode is None or event.x < AXIS:
            return
        share = (event.x - AXIS) / max(self._width() - 1, 1)
        first, last = self.window
        self._go(int(np.abs(self.episode.curves.steps - (first + share * (last - first))).argmin()))

    def on_resize(self, _: Resize) -> None:
        self.refresh()

    def _width(self) -> int:
        return max(self.size.width - AXIS, 1)

    def _seen(self) -> Array:
        """Which points are in the window."""
        assert self.episode is not None
        steps = self.episode.curves.steps
        return (steps >= self.window[0]) & (steps <= self.window[1])

    def panels(self) -> list[Panel]:
        if self.episode is None:
            return []
        series = self.episode.curves.series
        found = []
        for names in PANELS:
            here = [
                (shown, series[name])
                for name, shown in names
                if name in series and (self.shows_stored or name != "stored")
            ]
            # A panel of nothing but gaps says nothing.
            here = [(shown, numbers) for shown, numbers in here if not np.isnan(numbers).all()]
            if here:
                found.append(Panel([shown for shown, _ in here], [numbers for _, numbers in here]))
        return found

    def render(self) -> Text:
        panels = self.panels()
        if not panels or self.episode is None:
            return Text("no numbers here", QUIET)
        height, width = max(self.size.height - 2, 2 * len(panels)), self._width()
        text = Text(no_wrap=True, end="")
        weights = _WEIGHTS[-len(panels) :]
        ends = [height * sum(weights[: index + 1]) // sum(weights) for index in range(len(panels))]
        for panel, begin, end in zip(panels, [0, *ends], ends, strict=False):
            self._draw(text, panel, width, max(end - begin - 1, 1))
        text.append_text(self._steps(width))
        return text

    def _places(self) -> FloatArray:
        """Of the points in the window, from 0 to 1."""
        assert self.episode is not None
        first, last = self.window
        steps = self.episode.curves.steps[self._seen()]
        if last == first:
            return np.full(len(steps), 0.5)
        places: FloatArray = (steps - first) / (last - first)
        return places

    def _cursor(self, width: int) -> int:
        """The cell that it is in."""
        before = int(self._seen()[: self.point].sum())
        return int(np.rint(self._places()[before] * (2 * width - 1))) // 2

    def _draw(self, text: Text, panel: Panel, width: int, height: int) -> None:
        """A line with the numbers at the cursor, and `height` lines of curves."""
        for index, (name, numbers) in enumerate(zip(panel.names, panel.series, strict=True)):
            text.append(f"{'' if index else ' '}{name} ", f"bold {COLORS[index]}")
            text.append(f"{told(float(numbers[self.point]))}   ", STRONG)
        text.append("\n")
        seen, places = self._seen(), self._places()
        scale = _scale([numbers[seen] for numbers in panel.series])
        layers = []
        for index, numbers in enumerate(panel.series):
            dots = curve_dots(places, numbers[seen], scale, width, height)
            layers.append(cells(thinned(dots) if index else dots) - BLANK)
        marks = _marks(scale, height)
        cursor = self._cursor(width)
        for line in range(height):
            text.append(f"{marks.get(line, ''):>{AXIS_WIDTH}}", QUIET)
            text.append("┤" if line in marks else "│", QUIET)
            for column in range(width):
                bits = [int(layer[line, column]) for layer in layers]
                joined = int(np.bitwise_or.reduce(bits))
                color = COLORS[max(range(len(bits)), key=lambda index: bits[index].bit_count())]
                is_there = column == cursor
                if joined:
                    text.append(chr(BLANK + joined), STRONG if is_there else color)
                else:
                    text.append("│" if is_there else "┈" if marks.get(line) == "0" else " ", QUIET)
            text.append("\n")

    def _steps(self, width: int) -> Text:
        """The axis below: its first and last step, how the episode ends, and what is marked."""
        assert self.episode is not None
        (first, last), steps = self.window, self.episode.curves.steps
        span = max(last - first, 1)
        letters = ["─"] * width

        def cell(step: int) -> int:
            return min(max((step - first) * (width - 1) // span, 0), width - 1)

        for begin, stop in self.episode.curves.masked:
            if stop >= first and begin <= last:
                letters[cell(begin) : cell(stop) + 1] = "░" * (cell(stop) + 1 - cell(begin))
        for step in self.marked:
            if first <= step <= last:
                letters[cell(step)] = "!"
        letters[self._cursor(width)] = "┴"
        left = f"{first:,}"
        right = f"{last:,} {self.episode.end if last == int(steps[-1]) else '…'}"
        line = Text(f"{'└':>{AXIS}}{''.join(letters)}\n", QUIET)
        line.append(f"{'step ':>{AXIS}}{left}", QUIET)
        return line.append(f"{right:>{max(width - len(left), len(right) + 1)}}", QUIET)


def _scale(series: Sequence[FloatArray]) -> tuple[float, float]:
    """Bottom and top: all numbers; of a constant, from 0."""
    known = np.concatenate([numbers[np.isfinite(numbers)] for numbers in series])
    if not len(known):
        return 0.0, 1.0
    low, high = float(known.min()), float(known.max())
    if low == high:
        return (0.0, 1.0) if low == 0 else (min(low, 0.0), max(low, 0.0))
    return low, high


def _short(number: float) -> str:
    return f"{number:.4g}".replace("e+0", "e").replace("e-0", "e-")


def _marks(scale: tuple[float, float], height: int) -> dict[int, str]:
    """Numbers of an axis, by line: its ends, and 0 between them."""
    low, high = scale
    marks = {0: _short(high), height - 1: _short(low)} if height > 1 else {0: _short(high)}
    if low < 0 < high:
        zero = int((high / 2) / (high / 2 - low / 2) * (4 * height - 1)) // 4
        marks.setdefault(zero, "0")
    return marks
