"""`gae diff` shown: how far the columns are apart, where first, where most, and in which episodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.text import Text

from gaecli.difference import ColumnDifference, DifferentCell, Side
from gaecli.report.charts import format_number, format_setting
from gaecli.report.document import enveloped
from gaecli.report.notes import warning_lines
from gaecli.report.table import print_lines
from gaecli.report.text import BAD, GOOD, QUIET, STRONG, Canvas, plural
from gaecli.report.text_flow import TextColumn, TextGrid, flow, paragraph, stacked

if TYPE_CHECKING:
    from rich.console import Console


def difference_to_dict(found: ColumnDifference, settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """`settings`: how both were read; what each was computed with, where it was, is in `made_by`."""
    own = asdict(found)
    del own["warnings"]
    return enveloped(
        "diff",
        own,
        exit_code=found.exit_code,
        settings=settings,
        files=dict.fromkeys([found.a.path, found.b.path]),
        warnings=found.warnings,
    )


def render_difference(found: ColumnDifference, console: Console) -> None:
    canvas = Canvas.of(console)
    print_lines(
        stacked(
            [
                warning_lines(found.warnings, canvas),
                _verdict(found, canvas),
                _figures(found, canvas),
                _cells(found, canvas),
                _episodes(found, canvas),
                _commands(found, canvas),
            ]
        ),
        console,
    )


def _verdict(found: ColumnDifference, canvas: Canvas) -> list[Text]:
    sides = Text.assemble(
        ("a", STRONG), f" {_side(found.a, canvas)}   ", ("b", STRONG), f" {_side(found.b, canvas)}"
    )
    if not found.num_differing:
        verdict = Text(f"{canvas.glyphs.written} no difference in {plural(found.num_cells, 'cell')}", GOOD)
    else:
        share = 100 * found.num_differing / found.num_cells
        count = (
            f"{found.num_differing:,} of {plural(found.num_cells, 'cell')} differ ({format_number(share)} %)"
        )
        verdict = Text(f"{canvas.glyphs.failed} {count}", BAD)
    tolerance = Text(
        f"equal are numbers within {format_setting(found.rtol)} of their size, or {format_setting(found.atol)}",
        QUIET,
    )
    return [
        *paragraph(sides, canvas.width),
        *paragraph(verdict, canvas.width),
        *paragraph(tolerance, canvas.width),
    ]


def _side(side: Side, canvas: Canvas) -> str:
    return canvas.clean(side.made_by or f"{side.column} of {side.path}")


def _figures(found: ColumnDifference, canvas: Canvas) -> list[Text]:
    items = [
        ("largest |b - a|", found.max_abs),
        ("mean", found.mean_abs),
        ("RMS", found.rms),
        ("correlation", found.correlation),
    ]
    told = [
        Text.assemble((f"{label} ", QUIET), format_number(value))
        for label, value in items
        if value is not None
    ]
    told.append(Text.assemble(("sign flips ", QUIET), f"{found.num_sign_flips:,}"))
    if found.num_one_sided:
        told.append(Text.assemble(("in one of them alone ", QUIET), f"{found.num_one_sided:,}"))
    if found.slope is not None and found.intercept is not None and found.num_differing:
        sign = "-" if found.intercept < 0 else "+"
        line = f"{format_number(found.slope)} a {sign} {format_number(abs(found.intercept))}"
        told.append(Text.assemble(("b is about ", QUIET), line))
    return flow(told, canvas.width)


def _cells(found: ColumnDifference, canvas: Canvas) -> list[Text]:
    if found.first is None:
        return []
    rows = [found.first, *(cell for cell in found.worst if cell.row != found.first.row)]
    labels = ["first", *(["largest"] + [""] * len(rows))[: len(rows) - 1]]
    columns = [
        TextColumn("", [Text(label, QUIET) for label in labels], align="left"),
        TextColumn("row", [Text(f"{cell.row:,}") for cell in rows]),
        TextColumn("a", [Text(format_number(cell.a)) for cell in rows]),
        TextColumn("b", [Text(format_number(cell.b)) for cell in rows]),
        TextColumn("b - a", [Text(format_number(_distance(cell))) for cell in rows]),
    ]
    if found.num_episodes is not None:
        episodes = ["-" if cell.episode is None else f"{cell.episode:,}" for cell in rows]
        columns.insert(2, TextColumn("episode", [Text(text) for text in episodes]))
    return _table(columns, canvas, can_go=("episode", "b - a"))


def _distance(cell: DifferentCell) -> float | None:
    return None if cell.a is None or cell.b is None else cell.b - cell.a


def _episodes(found: ColumnDifference, canvas: Canvas) -> list[Text]:
    if not found.num_episodes or not found.episodes:
        return []
    head = f"{found.num_episodes_differing:,} of {plural(found.num_episodes, 'episode')} differ; most of all"
    some = found.episodes
    columns = [
        TextColumn("episode", [Text(f"{one.number:,}") for one in some]),
        TextColumn("from row", [Text(f"{one.row:,}") for one in some]),
        TextColumn("steps", [Text(f"{one.length:,}") for one in some]),
        TextColumn("differing", [Text(f"{one.num_differing:,}") for one in some]),
        TextColumn("largest", [Text(format_number(one.max_abs)) for one in some]),
        TextColumn("mean b - a", [Text(format_number(one.mean)) for one in some]),
    ]
    return [
        *paragraph(Text(head), canvas.width),
        *_table(columns, canvas, can_go=("steps", "from row", "differing")),
    ]


def _table(columns: Sequence[TextColumn], canvas: Canvas, *, can_go: Sequence[str]) -> list[Text]:
    """As wide as fits: columns that can be done without go, one after the other."""
    grid = TextGrid(columns)
    for heading in can_go:
        if grid.width > canvas.width:
            grid = TextGrid([column for column in grid.columns if column.heading != heading])
    headings, *rows = grid.lines()
    return [headings, Text(canvas.glyphs.rule * min(grid.width, canvas.width), QUIET), *rows]


def _commands(found: ColumnDifference, canvas: Canvas) -> list[Text]:
    """Not wrapped within a command: they are there to be copied."""
    return [Text(canvas.clean(command), "bold") for command in found.explain]
