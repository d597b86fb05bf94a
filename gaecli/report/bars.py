"""Bars to the left and to the right of nothing: contributions with a sign."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

from rich.text import Text

from gaecli.report.text import Canvas

#: Apart in every common form of colour blindness; the side tells the sign without any colour.
PLUS = "cyan"
MINUS = "yellow"
_MOST = sys.float_info.max / 4


def signed_bars(numbers: Sequence[float], width: int, canvas: Canvas) -> list[Text]:
    """A bar per number on one scale; the middle is 0, and only as much of a side is drawn as is used."""
    numbers = [_drawable(number) for number in numbers]
    most = max((abs(number) for number in numbers), default=0.0)
    full = canvas.glyphs.gauge[0]
    axis = "│" if full == "█" else "|"
    low, high = min(0.0, *numbers, 0.0), max(0.0, *numbers, 0.0)
    span = high - low
    left = 0 if not span else round((width - 1) * (-low / span))
    if low < 0:
        left = max(left, 1)
    right = width - 1 - left
    bars = []
    for number in numbers:
        room = left if number < 0 else right
        side_most = -low if number < 0 else high
        cells = round(abs(number) / side_most * room) if most and side_most else 0
        before = " " * (left - cells) if number < 0 else " " * left
        line = Text(before)
        if number < 0:
            line.append(full * cells, MINUS)
        line.append(axis, "dim")
        if number >= 0:
            line.append(full * cells, PLUS)
        bars.append(line)
    return bars


def _drawable(number: float) -> float:
    """So that the sum of all is finite; NaN has no length, and what is infinite the greatest."""
    return 0.0 if math.isnan(number) else min(max(number, -_MOST), _MOST)
