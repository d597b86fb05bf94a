"""Lines out of pieces: a grid of aligned cells, a flow of items, a wrapped paragraph.

Not rich.table: it squeezes columns until they fit, and so breaks numbers. Here a block has the width
that its content needs; who uses it asks for that width first and offers a narrower block if it must.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from rich.cells import cell_len
from rich.text import Text

from gaecli.records import dataclass

Alignment = Literal["left", "right"]


@dataclass(frozen=True)
class TextColumn:
    """A heading and the cells beneath it."""

    heading: str
    cells: Sequence[Text]
    align: Alignment = "right"
    style: str = ""

    @property
    def width(self) -> int:
        return max([cell_len(self.heading), *(cell.cell_len for cell in self.cells)])


@dataclass(frozen=True)
class TextGrid:
    """Columns side by side. The first line is the headings."""

    columns: Sequence[TextColumn]
    gap: int = 2

    @property
    def width(self) -> int:
        return sum(column.width for column in self.columns) + self.gap * (len(self.columns) - 1)

    def lines(self) -> list[Text]:
        widths = [column.width for column in self.columns]
        rows = [[Text(column.heading) for column in self.columns]]
        rows += [list(row) for row in zip(*(column.cells for column in self.columns), strict=True)]
        return [self._line(row, widths) for row in rows]

    def _line(self, row: Sequence[Text], widths: Sequence[int]) -> Text:
        line = Text()
        for position, (column, cell, width) in enumerate(zip(self.columns, row, widths, strict=True)):
            padding = " " * (width - cell.cell_len)
            line.append(" " * self.gap if position else "")
            if column.align == "right":
                line.append(padding).append_text(cell)
            else:
                line.append_text(cell).append(padding)
        line.rstrip()
        return line


def flow(items: Sequence[Text], width: int, separator: str = " · ") -> list[Text]:
    """`items` one after another; a new line begins between two items, never within one that fits.

    A line starts as an empty Text: the style of a copied item would cover what is appended to it.
    """
    lines: list[Text] = []
    for item in items:
        if lines and lines[-1].cell_len + cell_len(separator) + item.cell_len <= width:
            lines[-1].append(separator, "dim").append_text(item)
        elif item.cell_len <= width:
            lines.append(Text.assemble(item))
        else:
            lines += paragraph(item, width)
    return lines


def paragraph(text: Text, width: int) -> list[Text]:
    """`text` broken between words; a word wider than a whole line is broken where the line ends."""
    # Where lines begin and end is found in plain text: to cut each word out by itself takes ten times as long.
    places: list[tuple[int, int]] = []
    used = start = 0
    for word in text.plain.removesuffix(" ").split(" "):
        cells, end = cell_len(word), start + len(word)
        if places and used + 1 + cells <= width:
            places[-1] = places[-1][0], end
            used += 1 + cells
        else:
            while cells > max(width, 1):
                middle = start + max(_fitting(text.plain[start:end], width), 1)
                places.append((start, middle))
                start, cells = middle, cell_len(text.plain[middle:end])
            places.append((start, end))
            used = cells
        start = end + 1
    pieces = text.divide(place for line in places for place in line)
    return [Text.assemble(piece) for piece in pieces[1::2]]


def labelled(label: str, lines: Sequence[Text], label_width: int) -> list[Text]:
    """`lines` with `label` in a column of its own to their left."""
    return hanging(Text(label.ljust(label_width)), lines)


def labelled_rows(
    rows: Iterable[tuple[str, Sequence[Text]]], label_width: int, width: int, separator: str
) -> list[Text]:
    """A label and the flow of its items for each of `rows`, in `width` cells with the labels."""
    return [
        line
        for label, items in rows
        for line in labelled(label, flow(items, width - label_width, separator), label_width)
    ]


def stacked(blocks: Iterable[Sequence[Text]]) -> list[Text]:
    """Those that have lines, with an empty one between two of them."""
    lines: list[Text] = []
    for block in blocks:
        if block:
            lines += [Text(), *block] if lines else block
    return lines


def hanging(lead: Text, lines: Sequence[Text]) -> list[Text]:
    """`lines` with `lead` before the first and as much space before the others."""
    space = Text(" " * lead.cell_len)
    return [Text.assemble(space if position else lead, line) for position, line in enumerate(lines)]


def _fitting(plain: str, width: int) -> int:
    """How many characters of `plain` stand in `width` cells."""
    used = 0
    for position, letter in enumerate(plain):
        used += cell_len(letter)
        if used > width:
            return position
    return len(plain)
