"""Many inputs at a glance: a line each, in the place of a page each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.text import Text

from gaecli.inspection import FileInfo
from gaecli.report.charts import align_decimals, format_bytes, format_count, format_number
from gaecli.report.counts import Counted, all_responses, estimator_of, what_counts
from gaecli.report.shown_names import common_directory, fitted_names
from gaecli.report.text import BAD, CAUTION, GOOD, QUIET, STRONG, Canvas, plural
from gaecli.report.text_flow import TextColumn, TextGrid, flow
from gaecli.summary import EpisodeCounts

#: Of more inputs than this the first and the last are listed, and those that compute would refuse.
MOST_LISTED = 40
LAST_LISTED = 5
NARROWEST_NAME = 12


def overview_lines(infos: Sequence[FileInfo], canvas: Canvas) -> list[Text]:
    directory = common_directory([info.path for info in infos])
    shown, num_hidden = _selected(infos)
    lines = [Text(f"in {canvas.shorten(directory, canvas.width - 3)}")] if directory else []
    for grid in _grids(shown, directory, canvas):
        heading, *rows = grid.lines()
        lines += [heading, Text(canvas.glyphs.rule * grid.width, QUIET), *rows]
        break
    if num_hidden:
        lines.append(Text(f"{canvas.glyphs.ellipsis} {plural(num_hidden, 'more input')}", "italic"))
    return [*lines, Text(), *_totals(infos, canvas)]


def _selected(infos: Sequence[FileInfo]) -> tuple[list[FileInfo], int]:
    if len(infos) <= MOST_LISTED:
        return list(infos), 0
    first = MOST_LISTED - LAST_LISTED
    middle = [info for info in infos[first:-LAST_LISTED] if info.problem is not None][:MOST_LISTED]
    shown = [*infos[:first], *middle, *infos[-LAST_LISTED:]]
    return shown, len(infos) - len(shown)


def _grids(infos: Sequence[FileInfo], directory: str, canvas: Canvas) -> Iterator[TextGrid]:
    """Ever narrower tables: the least telling columns go first. The last one fits whatever the width."""
    columns = _columns(infos, canvas)
    names = [info.path.removeprefix(directory) for info in infos]
    while True:
        room = canvas.width - TextGrid(list(columns.values())).width - 2
        fitted = fitted_names(names, room, canvas) if room >= NARROWEST_NAME else None
        if fitted is not None or len(columns) <= 1:
            cells = fitted or [canvas.shorten(name, max(room, NARROWEST_NAME)) for name in names]
            yield TextGrid(
                [TextColumn("file", [Text(name) for name in cells], align="left"), *columns.values()]
            )
            return
        columns.pop(next(iter(columns)))


def _columns(infos: Sequence[FileInfo], canvas: Canvas) -> dict[str, TextColumn]:
    """The one that is dropped first comes first in this mapping, and in the table."""
    missing = canvas.glyphs.missing
    found = [
        TextColumn("size", [Text(format_bytes(info.num_bytes)) for info in infos]),
        TextColumn("layout", [Text(info.layout or missing) for info in infos], align="left"),
        *[
            TextColumn(counted.heading, [Text(counted.of(info.counts, canvas)) for info in infos])
            for counted in _counted(infos)
            if counted.singular
        ],
        *_averages(infos, canvas),
        TextColumn("compute", [_verdict(info, canvas) for info in infos], align="left"),
    ]
    if any(info.warnings for info in infos):
        numbers = [Text(format_count(len(info.warnings))) for info in infos]
        found.insert(-1, TextColumn("warnings", numbers))
    return {column.heading: column for column in found}


def _counted(infos: Sequence[FileInfo]) -> Sequence[Counted]:
    return what_counts(estimator_of(infos[0]), [info.layout for info in infos])


def _averages(infos: Sequence[FileInfo], canvas: Canvas) -> list[TextColumn]:
    """The return of a response is its reward, which no value is about."""
    means = [_mean_return(info) for info in infos]
    if all_responses(infos):
        return [_numbers("mean reward", means, canvas)]
    explained = [info.explained_variance for info in infos]
    return [_numbers("mean return", means, canvas), _numbers("expl. var.", explained, canvas)]


def _numbers(name: str, numbers: Sequence[float | None], canvas: Canvas) -> TextColumn:
    cells = align_decimals([format_number(number, missing=canvas.glyphs.missing) for number in numbers])
    return TextColumn(name, [Text(cell) for cell in cells])


def _mean_return(info: FileInfo) -> float | None:
    return None if info.episode_rewards is None else info.episode_rewards.mean


def _verdict(info: FileInfo, canvas: Canvas) -> Text:
    action = info.plan.action if info.plan is not None else "refuse"
    marks = {"write": canvas.glyphs.written, "up to date": canvas.glyphs.up_to_date}
    words = {"write": "would write", "up to date": "up to date", "refuse": "would ask"}
    style = BAD if action == "refuse" else GOOD
    return Text(f"{marks.get(action, canvas.glyphs.failed)} {words[action]}", style)


def _totals(infos: Sequence[FileInfo], canvas: Canvas) -> list[Text]:
    total = sum((info.counts for info in infos if info.counts is not None), EpisodeCounts())
    num_asked = sum(info.plan is not None and info.plan.action == "refuse" for info in infos)
    items = [
        Text(plural(len(infos), "input"), STRONG),
        Text(format_bytes(sum(info.num_bytes for info in infos))),
        *[Text(counted.phrase(total)) for counted in _counted(infos) if counted.singular],
    ]
    if num_warnings := sum(len(info.warnings) for info in infos):
        items.append(Text(plural(num_warnings, "warning"), CAUTION))
    if num_asked:
        items.append(Text(f"gae compute would ask about {num_asked:,}; `gae inspect FILE` says what", BAD))
    return flow(items, canvas.width, canvas.glyphs.separator)
