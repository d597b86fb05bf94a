"""Labels beside a rule, for a person: which rows have another one, by how much, and what would explain them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from gaecli.label_summary import LabelAttempt, LabelDifference, LabelRow, LabelVerification
from gaecli.report.charts import align_decimals, format_number
from gaecli.report.table import print_lines
from gaecli.report.text import BAD, GOOD, QUIET, STRONG, Canvas, plural
from gaecli.report.text_flow import (
    TextColumn,
    TextGrid,
    flow,
    hanging,
    labelled,
    labelled_rows,
    paragraph,
    stacked,
)

if TYPE_CHECKING:
    from rich.console import Console

_LABEL_WIDTH = 10
_MOST_ROWS = 10


def render_label_verification(found: LabelVerification, console: Console) -> None:
    print_lines(label_verification_lines(found, Canvas.of(console)), console)


def label_verification_lines(found: LabelVerification, canvas: Canvas) -> list[Text]:
    return stacked(
        [
            _verdict(found, canvas),
            _header(found, canvas),
            _rule(found, canvas),
            _differences(found, canvas),
            _rows(found, canvas),
            _attempts(found, canvas),
        ]
    )


def _header(found: LabelVerification, canvas: Canvas) -> list[Text]:
    items = [
        Text.assemble("labels ", (canvas.clean(found.column), STRONG)),
        Text(f"{found.num_positive:,} of {plural(found.num_rows, 'row')} positive"),
    ]
    lines = [Text(canvas.shorten(found.path, canvas.width), STRONG)]
    return lines + labelled("", flow(items, canvas.width - 2, canvas.glyphs.separator), 2)


def _rule(found: LabelVerification, canvas: Canvas) -> list[Text]:
    best = found.best
    rows = [("rule", [Text(best.name, STRONG), *([Text(best.words)] if best.words else [])])]
    what = f"{canvas.clean(found.number)} {best.operator} {_threshold(best)}"
    whose = (
        f"of each {canvas.clean(found.by)}, {plural(best.num_groups, 'group')}: "
        if found.by is not None
        else ""
    )
    rows.append(("positive", [Text(whose + what)]))
    if found.forced is not None:
        rows.append(("forced", [Text(f"where {canvas.clean(found.forced)} is set")]))
    if found.between is not None:
        rows.append(("threshold", [Text(_between(found.between))]))
    return labelled_rows(rows, _LABEL_WIDTH, canvas.width, canvas.glyphs.separator)


def _threshold(attempt: LabelAttempt) -> str:
    known = [group.threshold for group in attempt.groups if group.threshold is not None]
    shown = [format_number(number) for number in (min(known), max(known))] if known else ["none"]
    return shown[0] if shown[0] == shown[-1] else f"{shown[0]} to {shown[-1]}"


def _between(between: tuple[float | None, float | None]) -> str:
    low, high = (None if number is None else f"{number:.9g}" for number in between)
    where = f"above {low}, up to {high}" if low and high else (f"above {low}" if low else f"up to {high}")
    flags = f"--label-threshold {high or low} --label-operator {'ge' if high else 'gt'}"
    return f"one {where} makes all labels: `{flags}`"


def _differences(found: LabelVerification, canvas: Canvas) -> list[Text]:
    lines: list[Text] = []
    for one in found.differences:
        lines += hanging(Text(f"{canvas.glyphs.failed} ", BAD), paragraph(_said(one), canvas.width - 2))
    return lines


def _said(one: LabelDifference) -> Text:
    words = {"positive": "positive", "negative": "negative", "none": "without a label"}
    text = Text(
        f"{plural(one.count, 'row')} {words[one.label]}, and {words[one.expected]} by the rule; "
        f"first at row {one.first_row:,}"
    )
    if one.num_at_threshold:
        of = "all" if one.num_at_threshold == one.count else f"{one.num_at_threshold:,}"
        text.append(f"; {of} are the threshold itself, which the operator decides", BAD)
    return text


def _rows(found: LabelVerification, canvas: Canvas) -> list[Text]:
    rows = found.rows[:_MOST_ROWS]
    if not rows:
        return []

    def column(heading: str, cells: list[str], *, is_text: bool = False) -> TextColumn:
        return TextColumn(heading, [Text(cell) for cell in cells], align="left" if is_text else "right")

    def numbers(name: str) -> list[str]:
        return align_decimals([format_number(getattr(row, name), missing="none") for row in rows])

    columns = [column("row", [_place(row) for row in rows])]
    columns += [column("number", numbers("number")), column("threshold", numbers("threshold"))]
    columns += [
        column(heading, [_word(getattr(row, heading)) for row in rows], is_text=True)
        for heading in ("label", "expected")
    ]
    grid = TextGrid(columns)
    heading, *lines = grid.lines()
    left = found.best.num_differing - len(rows)
    rest = [Text(f"{canvas.glyphs.ellipsis} {plural(left, 'row')} more", QUIET)] if left > 0 else []
    return [heading, Text(canvas.glyphs.rule * grid.width, QUIET), *lines, *rest]


def _place(row: LabelRow) -> str:
    return f"{row.row:,}" if row.item is None else f"{row.row:,} item {row.item:,}"


def _word(label: bool | None) -> str:
    return "none" if label is None else ("positive" if label else "negative")


def _attempts(found: LabelVerification, canvas: Canvas) -> list[Text]:
    if len(found.attempts) < 2:
        return []
    shown = found.attempts
    columns = [
        TextColumn("rule", [Text(one.name) for one in shown], align="left"),
        TextColumn("threshold", [Text(f"{one.operator} {_threshold(one)}") for one in shown]),
        TextColumn("rows off", [Text(f"{one.num_differing:,}") for one in shown]),
    ]
    grid = TextGrid(columns)
    heading, *lines = grid.lines()
    return [heading, Text(canvas.glyphs.rule * grid.width, QUIET), *lines]


def _verdict(found: LabelVerification, canvas: Canvas) -> list[Text]:
    glyphs, best = canvas.glyphs, found.best
    if found.is_reproduced:
        words = f"{glyphs.written} {best.name}: all {plural(found.num_rows, 'label')} are those of the rule"
        return flow([Text(words, GOOD)], canvas.width, glyphs.separator)
    items = [
        Text(
            f"{glyphs.failed} {best.num_differing:,} of {plural(found.num_rows, 'label')} differ from the rule",
            BAD,
        ),
        Text(f"exit code {found.exit_code}", BAD),
    ]
    return flow(items, canvas.width, glyphs.separator)
