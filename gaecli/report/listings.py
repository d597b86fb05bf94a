"""Rows as lists: the first steps of a file by role, and its episodes. One line each, however many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.text import Text

from gaecli.inspection import EpisodeInfo, StepInfo
from gaecli.report.charts import align_decimals, format_number
from gaecli.report.shown_names import common_directory
from gaecli.report.text import BAD, QUIET, Canvas
from gaecli.report.text_flow import TextColumn, TextGrid

#: An id longer than this is cut in the middle.
WIDEST_CELL = 24
#: Between columns.
_GAP = 2


def head_lines(steps: Sequence[StepInfo], canvas: Canvas) -> list[Text]:
    """The cells of each step by role; what does not fit beside each other stands below each other."""
    if not steps:
        return []
    rows = TextColumn("row", [Text(f"{step.row:,}") for step in steps])
    return _stacked([rows], [_cells(role, steps, canvas) for role in steps[0].cells], canvas)


def _cells(role: str, steps: Sequence[StepInfo], canvas: Canvas) -> TextColumn:
    values = [step.cells.get(role) for step in steps]
    return _column(role.replace("_", " "), values, canvas)


def episode_lines(
    episodes: Sequence[EpisodeInfo], canvas: Canvas, *, are_responses: bool = False
) -> list[Text]:
    """A line per episode: where it begins, what the file calls it, how long it is, how it ends.

    Responses have a reward, and none of the rest.
    """
    if not episodes:
        return []
    lead: list[TextColumn] = []
    files = [episode.file for episode in episodes]
    if len(set(files)) > 1:
        directory = common_directory(files)
        lead.append(_column("file", [file.removeprefix(directory) for file in files], canvas))
    lead.append(TextColumn("row", [Text(f"{episode.row:,}") for episode in episodes]))
    room = canvas.width - TextGrid(lead).width - _GAP
    keys = [_ids(name, [e.key.get(name) for e in episodes], room, canvas) for name in episodes[0].key]
    if are_responses:
        rewards = _numbers("reward", [episode.total_reward for episode in episodes], canvas)
        return _stacked(lead, [*keys, rewards], canvas)
    rest = [
        *keys,
        TextColumn("length", [Text(f"{episode.length:,}") for episode in episodes]),
        TextColumn("end", [Text(episode.end) for episode in episodes], align="left"),
        _numbers("return", [episode.total_reward for episode in episodes], canvas),
        _numbers("mean value", [episode.mean_value for episode in episodes], canvas),
    ]
    return _stacked(lead, rest, canvas)


def _ids(heading: str, values: Sequence[Any], room: int, canvas: Canvas) -> TextColumn:
    """With every digit and letter that there is room for: `--episode` takes what stands here."""
    cells = [canvas.glyphs.missing if value is None else str(value) for value in values]
    is_text = any(isinstance(value, str) for value in values)
    shown = [Text(canvas.shorten(cell, max(room, WIDEST_CELL))) for cell in cells]
    return TextColumn(heading, shown, align="left" if is_text else "right")


def _column(heading: str, values: Sequence[Any], canvas: Canvas) -> TextColumn:
    """Numbers below each other's decimal point; flags and ids as they are."""
    if all(isinstance(value, float) or value is None for value in values):
        return _numbers(heading, values, canvas)
    cells = [canvas.glyphs.missing if value is None else str(value) for value in values]
    is_text = any(isinstance(value, str) for value in values)
    shown = [canvas.shorten(cell, WIDEST_CELL) for cell in cells]
    return TextColumn(heading, [_flagged(cell) for cell in shown], align="left" if is_text else "right")


def _flagged(cell: str) -> Text:
    return Text(cell, QUIET) if cell == "False" else Text(cell)


def _numbers(heading: str, values: Sequence[float | None], canvas: Canvas) -> TextColumn:
    shown = [format_number(value, missing=canvas.glyphs.missing) for value in values]
    cells = [
        Text(cell, BAD if cell.strip() in ("nan", "inf", "-inf") else "") for cell in align_decimals(shown)
    ]
    return TextColumn(heading, cells)


def _stacked(lead: Sequence[TextColumn], rest: Sequence[TextColumn], canvas: Canvas) -> list[Text]:
    """One grid if it fits, else as many as it takes, each beginning with `lead`."""
    grids: list[list[TextColumn]] = [[*lead]]
    for column in rest:
        if len(grids[-1]) > len(lead) and TextGrid([*grids[-1], column]).width > canvas.width:
            grids.append([*lead])
        grids[-1].append(column)
    lines: list[Text] = []
    for columns in grids:
        grid = TextGrid(columns)
        heading, *rows = grid.lines()
        lines += [Text()] if lines else []
        lines += [heading, Text(canvas.glyphs.rule * min(grid.width, canvas.width), QUIET), *rows]
    return lines
