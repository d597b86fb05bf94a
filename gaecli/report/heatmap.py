"""A grid of numbers as a map: each cell says its number, and shows it by colour and by height."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from gaecli.report.text import QUIET, STRONG, Canvas

#: Cividis (Nuñez, Anderton & Renslow 2018, https://doi.org/10.1371/journal.pone.0199239): even in lightness, the
#: same to every kind of eye. With each the colour of the digits on it.
RAMP = (
    ("#00224e", "#ffffff"),
    ("#123570", "#ffffff"),
    ("#3b496c", "#ffffff"),
    ("#575d6d", "#ffffff"),
    ("#707173", "#ffffff"),
    ("#8a8678", "#000000"),
    ("#a59c74", "#000000"),
    ("#c3b369", "#000000"),
    ("#e1cc55", "#000000"),
    ("#fee838", "#000000"),
)
_CELL_WIDTH = 6


def heat_map_lines(
    numbers: Sequence[Sequence[float | None]],
    row_names: Sequence[str],
    column_names: Sequence[str],
    corner: str,
    canvas: Canvas,
    marked: tuple[int, int] | None = None,
) -> list[Text]:
    """`numbers` by row and column. As many columns to a panel as fit; `marked` is one cell to point out."""
    known = [number for row in numbers for number in row if number is not None]
    low, high = (min(known), max(known)) if known else (0.0, 0.0)
    label_width = max(len(name) for name in (corner, *row_names)) + 1
    width = max(_CELL_WIDTH, *(len(name) + 1 for name in column_names))
    per_panel = max((canvas.width - label_width) // width, 1)
    lines: list[Text] = []
    for first in range(0, len(column_names), per_panel):
        columns = range(first, min(first + per_panel, len(column_names)))
        heading = "".join(column_names[column].rjust(width) for column in columns)
        lines += [
            *([Text()] if lines else []),
            Text(corner.ljust(label_width), QUIET).append(heading, STRONG),
        ]
        for index, row in enumerate(numbers):
            line = Text.assemble((row_names[index].rjust(label_width - 1), STRONG), " ")
            for column in columns:
                line.append_text(_cell(row[column], low, high, width, marked == (index, column), canvas))
            lines.append(line)
    return lines


def short_number(number: float) -> str:
    """Two or three digits that fit into four cells, five with a sign: `0.65`, `12.3`, `1e5`."""
    if abs(number) < 9.995:
        return f"{number:.2f}"
    if abs(number) < 99.95:
        return f"{number:.1f}"
    if abs(number) < 9999.5:
        return f"{number:.0f}"
    mantissa, _, exponent = f"{number:.0e}".partition("e")
    return f"{mantissa}e{int(exponent)}"


def _cell(number: float | None, low: float, high: float, width: int, is_marked: bool, canvas: Canvas) -> Text:
    """The number and a bar of its height, on its colour; without colour the bar alone tells."""
    if number is None:
        return Text(canvas.glyphs.missing.rjust(width - 1) + " ", QUIET)
    share = (number - low) / (high - low) if high > low else 0.5
    back, front = RAMP[round(share * (len(RAMP) - 1))]
    bars = canvas.glyphs.bars
    bar = bars[round(share * (len(bars) - 1))]
    style = f"{front} on {back}" + (" bold underline" if is_marked else "")
    return Text((short_number(number) + bar).rjust(width), style)
