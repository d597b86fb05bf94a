"""Reward, value, advantage and return: a row of numbers and a histogram for each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.text import Text

from gaecli.report.charts import align_decimals, format_count, format_number, histogram_bar
from gaecli.report.text import BAR, QUIET, STRONG, Canvas, plural
from gaecli.report.text_flow import TextColumn, TextGrid, flow
from gaecli.summary import ColumnStatistics, Summary

STATISTICS = ("mean", "std", "min", "median", "max")
#: The widest that fits is drawn; below the narrowest a histogram shows no shape.
HISTOGRAM_WIDTHS = (32, 24, 16, 10)


def statistics_lines(summary: Summary, canvas: Canvas) -> list[Text]:
    """Empty if nothing was computed. Never a broken number: first the histogram goes, then the form."""
    if not has_statistics(summary):
        return []
    with_count = len({statistics.count for statistics in summary.columns.values()}) > 1
    return column_lines(summary.columns, canvas, with_count) + _notes(summary, canvas)


def column_lines(
    columns: Mapping[str, ColumnStatistics], canvas: Canvas, with_count: bool = False
) -> list[Text]:
    """A row per name: the numbers and the histogram, as wide as there is room."""
    for grid in _candidates(columns, canvas, with_count):
        if grid.width <= canvas.width:
            heading, *rows = grid.lines()
            return [heading, Text(canvas.glyphs.rule * grid.width, QUIET), *rows]
    return _as_prose(columns, canvas, with_count)


def has_statistics(summary: Summary) -> bool:
    """Whether anything was computed: not in a dry run, nor where all files are up to date."""
    return any(statistics.count for statistics in summary.columns.values())


def _candidates(
    columns: Mapping[str, ColumnStatistics], canvas: Canvas, with_count: bool
) -> Iterator[TextGrid]:
    """Ever narrower grids of the same numbers."""
    widths: tuple[int, ...] = HISTOGRAM_WIDTHS if any(s.histogram for s in columns.values()) else ()
    for histogram_width in (*widths, 0):
        yield _grid(columns, canvas, with_count, histogram_width)
    yield _transposed(columns, canvas, with_count, gap=2)
    yield _transposed(columns, canvas, with_count, gap=1)


def _grid(
    columns: Mapping[str, ColumnStatistics], canvas: Canvas, with_count: bool, histogram_width: int
) -> TextGrid:
    """A row per column of the file, a column per statistic."""
    blocks = [TextColumn("", [Text(name, STRONG) for name in columns], align="left")]
    numbers = {name: _numbers(statistics, canvas) for name, statistics in columns.items()}
    if with_count:
        blocks.append(TextColumn("count", [Text(numbers[name][-1]) for name in columns]))
    for position, statistic in enumerate(STATISTICS):
        cells = align_decimals([numbers[name][position] for name in columns])
        blocks.append(TextColumn(statistic, [Text(cell) for cell in cells]))
    if histogram_width:
        bars = [_bar(statistics, histogram_width, canvas) for statistics in columns.values()]
        blocks.append(TextColumn("histogram", [Text(bar, BAR) for bar in bars], align="left"))
    return TextGrid(blocks)


def _bar(statistics: ColumnStatistics, width: int, canvas: Canvas) -> str:
    """What is always the same is one bar; in bins of no width it would be all of them."""
    if statistics.histogram and statistics.min == statistics.max:
        return canvas.glyphs.bars[-1]
    return histogram_bar(statistics.histogram, width, canvas.glyphs.bars)


def _transposed(
    columns: Mapping[str, ColumnStatistics], canvas: Canvas, with_count: bool, gap: int
) -> TextGrid:
    """A row per statistic. Numbers of one column share a scale, so this is the narrower way round."""
    names = [*STATISTICS, "count"] if with_count else list(STATISTICS)
    blocks = [TextColumn("", [Text(name, STRONG) for name in names], align="left")]
    for name, statistics in columns.items():
        numbers = _numbers(statistics, canvas)[: len(names)]
        cells = align_decimals(numbers) if gap > 1 and not with_count else numbers
        blocks.append(TextColumn(name, [Text(cell) for cell in cells]))
    return TextGrid(blocks, gap=gap)


def _as_prose(columns: Mapping[str, ColumnStatistics], canvas: Canvas, with_count: bool) -> list[Text]:
    """The last resort: each number with its name, as many to a line as fit."""
    lines: list[Text] = []
    names = [*STATISTICS, "count"] if with_count else list(STATISTICS)
    for name, statistics in columns.items():
        numbers = zip(names, _numbers(statistics, canvas), strict=False)
        items = [Text(name, STRONG), *(Text(f"{label} {number}") for label, number in numbers)]
        lines += flow(items, canvas.width, canvas.glyphs.separator)
    return lines


def _numbers(statistics: ColumnStatistics, canvas: Canvas) -> list[str]:
    """The strings of STATISTICS, then the count."""
    missing = canvas.glyphs.missing
    numbers: list[str] = []
    for statistic in STATISTICS:
        number: float | None = getattr(statistics, statistic)
        scale = statistics.std if statistic == "mean" else None
        shown = format_number(number, scale=scale, missing=missing)
        sampled = statistic == "median" and number is not None and _is_sampled(statistics)
        numbers.append(canvas.glyphs.approximately + shown if sampled else shown)
    return [*numbers, format_count(statistics.count)]


def _is_sampled(statistics: ColumnStatistics) -> bool:
    return statistics.sample_count < statistics.count


def _notes(summary: Summary, canvas: Canvas) -> list[Text]:
    """What the numbers are of, where that is not all rows of all files."""
    columns = list(summary.columns.values())
    notes: list[str] = []
    counts = {statistics.count for statistics in columns}
    num_steps = summary.totals.steps
    if len(counts) == 1 and counts != {num_steps}:
        notes.append(f"over {counts.pop():,} of {plural(num_steps, 'step')}")
    samples = [statistics.sample_count for statistics in columns if _is_sampled(statistics)]
    if any(samples):
        notes.append(f"{canvas.glyphs.approximately} from a sample of {plural(min(samples), 'row')}")
    return flow([Text(note, "italic") for note in notes], canvas.width, canvas.glyphs.separator)
