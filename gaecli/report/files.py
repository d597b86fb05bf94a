"""Which files were read, how long they are, how their episodes end, and what became of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.cells import cell_len
from rich.text import Text

from gaecli.records import dataclass
from gaecli.report.counts import Counted, what_counts
from gaecli.report.shown_names import common_directory, fitted_names
from gaecli.report.text import BAD, QUIET, STATUS_STYLES, STRONG, Canvas, plural
from gaecli.report.text_flow import TextColumn, TextGrid, flow, hanging, paragraph
from gaecli.summary import EpisodeCounts, FileSummary, Summary

#: With more files than this, only the first, the last and the failed ones are listed.
MOST_FILES = 20
FIRST_FILES = 10
LAST_FILES = 5
#: A table whose names get fewer cells than this gives way to a block per file.
NARROWEST_NAME = 12
#: Of these nobody knows how many steps they have.
_NOT_COUNTED = ("failed", "not written")


def file_lines(summary: Summary, canvas: Canvas) -> list[Text]:
    """One file as a block, several as a table, or as blocks where a table has no room."""
    if not summary.files:
        return [Text("no input files")]
    if len(summary.files) == 1:
        return _block(summary, summary.files[0], summary.files[0].input, canvas, show_status=False)
    selection = _select(summary.files)
    lines = _table(summary, selection, canvas) or _blocks(summary, selection, canvas)
    if selection.directory:
        directory = canvas.shorten(selection.directory, canvas.width - len("in "))
        lines = [Text(f"in {directory}"), *lines]
    return lines


def status_counts(files: Sequence[FileSummary]) -> str:
    """`2 written, 1 failed`, the most frequent first."""
    counted = Counter(file.status for file in files).most_common()
    return ", ".join(f"{count:,} {status}" for status, count in counted)


@dataclass(frozen=True)
class _Selection:
    """The files to list, and what is left out after the first ten."""

    shown: Sequence[FileSummary]
    hidden: Sequence[FileSummary]
    directory: str

    @property
    def names(self) -> list[str]:
        return [file.input.removeprefix(self.directory) for file in self.shown]

    def gap_before(self, position: int, canvas: Canvas) -> list[Text]:
        if not self.hidden or position != FIRST_FILES:
            return []
        words = f"{canvas.glyphs.ellipsis} {len(self.hidden):,} more: {status_counts(self.hidden)}"
        return paragraph(Text(words, "italic"), canvas.width)


def _select(files: Sequence[FileSummary]) -> _Selection:
    """All of a few files; of many the first, the last, and in between every one that failed."""
    directory = common_directory([file.input for file in files])
    if len(files) <= MOST_FILES:
        return _Selection(files, [], directory)
    middle = files[FIRST_FILES:-LAST_FILES]
    failed = [file for file in middle if file.status == "failed"]
    hidden = [file for file in middle if file.status != "failed"]
    return _Selection([*files[:FIRST_FILES], *failed, *files[-LAST_FILES:]], hidden, directory)


def _table(summary: Summary, selection: _Selection, canvas: Canvas) -> list[Text] | None:
    """None if even short headings leave too little room for the names."""
    longest = max(cell_len(canvas.clean(name)) for name in [*selection.names, "total"])
    for is_short in (False, True):
        columns = _columns(summary, selection, canvas, is_short=is_short)
        room = canvas.width - TextGrid(columns).width - 2
        if room < longest and (not is_short or room < NARROWEST_NAME):
            continue
        names = fitted_names(selection.names, room, canvas)
        if names is not None:
            total = f"total, {plural(len(summary.files), 'file')}"
            cells = [Text(name) for name in [*names, total if len(total) <= room else "total"]]
            return _ruled(TextGrid([TextColumn("file", cells, align="left"), *columns]), selection, canvas)
    return None


def _columns(summary: Summary, selection: _Selection, canvas: Canvas, *, is_short: bool) -> list[TextColumn]:
    """All but the names; the last cell of each is that of the total row."""
    rows = [None if file.status in _NOT_COUNTED else file.counts for file in selection.shown]
    columns = [
        TextColumn(
            counted.short if is_short else counted.heading,
            [Text(counted.of(row, canvas)) for row in [*rows, summary.totals]],
        )
        for counted in _counted(summary)
    ]
    statuses = [_status(file, canvas) for file in selection.shown]
    return [*columns, TextColumn("status", [*statuses, Text()], align="left")]


def _counted(summary: Summary) -> Sequence[Counted]:
    return what_counts(summary.settings.get("estimator"), [file.layout for file in summary.files])


def _ruled(grid: TextGrid, selection: _Selection, canvas: Canvas) -> list[Text]:
    """The lines of `grid` between rules, with the error of a failed file right beneath its row."""
    heading, *rows, total = grid.lines()
    total.stylize(STRONG)
    rule = Text(canvas.glyphs.rule * grid.width, QUIET)
    lines = [heading, rule]
    for position, (file, row) in enumerate(zip(selection.shown, rows, strict=True)):
        lines += [*selection.gap_before(position, canvas), row, *_error(file, canvas)]
    return [*lines, rule, total]


def _blocks(summary: Summary, selection: _Selection, canvas: Canvas) -> list[Text]:
    lines: list[Text] = []
    for position, (file, name) in enumerate(zip(selection.shown, selection.names, strict=True)):
        lines += selection.gap_before(position, canvas)
        lines += _block(summary, file, name, canvas, show_status=True)
    lines.append(Text(f"total, {plural(len(summary.files), 'file')}", STRONG))
    return lines + hanging(Text("  "), _phrase(summary.totals, summary, canvas))


def _block(
    summary: Summary, file: FileSummary, name: str, canvas: Canvas, *, show_status: bool
) -> list[Text]:
    """Name, counts and, where it went wrong, why."""
    ending = Text.assemble("  ", _status(file, canvas)) if show_status else Text()
    shown = canvas.shorten(name, canvas.width - ending.cell_len)
    heading = Text.assemble((shown, STRONG), ending)
    if file.status == "failed":
        return [heading, *_error(file, canvas)]
    return [heading, *hanging(Text("  "), _phrase(file.counts, summary, canvas))]


def _status(file: FileSummary, canvas: Canvas) -> Text:
    """Mark and word: colour is never what tells a failed file from a written one."""
    return Text(f"{canvas.glyphs.mark(file.status)} {file.status}", STATUS_STYLES[file.status])


def _phrase(counts: EpisodeCounts, summary: Summary, canvas: Canvas) -> list[Text]:
    """`1,000 steps · 12 episodes · 9 terminated · 2 truncated · 1 open`, `12 responses`"""
    words = [Text(counted.phrase(counts)) for counted in _counted(summary)]
    return flow(words, canvas.width - 2, canvas.glyphs.separator)


def _error(file: FileSummary, canvas: Canvas) -> list[Text]:
    """Why a file failed, with the exit code its error stands for, and the hint."""
    if file.status != "failed":
        return []
    room = canvas.width - 2
    code = Text(f"exit code {file.exit_code}: ", BAD)
    first, *others = canvas.clean_lines(file.error or "") or ["no reason given"]
    lines = paragraph(Text.assemble(code, first), room)
    for line in others:
        lines += paragraph(Text(line), room)
    for line in canvas.clean_lines(file.hint or ""):
        mark = Text(f"{canvas.glyphs.hint} ")
        lines += hanging(mark, paragraph(Text(line), room - mark.cell_len))
    return hanging(Text("  "), lines)
