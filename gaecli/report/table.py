"""The summary of `gae compute` for a person: can the numbers be trusted?

From top to bottom: what to look at, whether it went well, what was done, to which files, what came out, what
it rests on, and how long it took.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.text import Text

from gaecli.report.charts import format_setting
from gaecli.report.details import detail_lines
from gaecli.report.files import file_lines, status_counts
from gaecli.report.notes import grouped, warning_lines
from gaecli.report.statistics_table import statistics_lines
from gaecli.report.text import BAD, CAUTION, STATUS_STYLES, STRONG, Canvas, plural
from gaecli.report.text_flow import flow, stacked
from gaecli.summary import FileSummary, Summary

if TYPE_CHECKING:
    from rich.console import Console


def render_summary(summary: Summary, console: Console) -> None:
    print_lines(summary_lines(summary, Canvas.of(console)), console)


def summary_lines(summary: Summary, canvas: Canvas) -> list[Text]:
    return stacked(
        [
            warning_lines(summary.warnings, canvas),
            [*verdict_lines(summary, canvas), *header_lines(summary, canvas)],
            file_lines(summary, canvas),
            statistics_lines(summary, canvas),
            detail_lines(summary, canvas),
        ]
    )


def print_lines(lines: Iterable[Text], console: Console) -> None:
    """Lines are already as wide as they should be; the console must not fold them once more.

    All in one go: what a console looks up for each print takes as long as a line.
    """
    if lines := list(lines):
        console.print(*lines, sep="\n", soft_wrap=True, markup=False, highlight=False)


def header_lines(summary: Summary, canvas: Canvas) -> list[Text]:
    """What was computed; how the inputs belong together."""
    glyphs = canvas.glyphs
    settings = summary.settings
    estimator = canvas.clean(str(settings.get("estimator", "gae")))
    what = [Text(estimator.upper() if estimator == "gae" else estimator, STRONG)]
    if not settings.get("stream"):
        what += _decays(settings, canvas)
    what += _units(summary, canvas)
    if settings.get("preset", "exact") != "exact":
        what.append(Text.assemble("preset ", (canvas.clean(str(settings["preset"])), STRONG)))
    layouts = Counter(file.layout for file in summary.files if file.layout)
    if layouts:
        what.append(Text(f"{', '.join(canvas.clean(layout) for layout in layouts)} layout"))
    inputs = [Text(canvas.clean(summary.streams))] if summary.streams not in ("", "one file") else []
    rows = [what, *_streams(settings, canvas), inputs]
    return [line for items in rows for line in flow(items, canvas.width, glyphs.separator)]


def _streams(settings: Mapping[str, Any], canvas: Canvas) -> list[list[Text]]:
    """A row for each kind of reward: its columns, what it is discounted by, and what it counts."""
    found = []
    for one in settings.get("stream", ()):
        items = [Text.assemble("stream ", (canvas.clean(str(one["name"])), STRONG))]
        columns = [str(one[role]) for role in ("reward", "value", "q") if one.get(role) is not None]
        items.append(Text(", ".join(f"`{canvas.clean(name)}`" for name in columns)))
        items += _decays({**settings, **one}, canvas)
        items.append(Text.assemble("weight ", (format_setting(one.get("weight", 1.0)), STRONG)))
        if one.get("cut") == "never":
            items.append(Text("never cut"))
        found.append(items)
    return found


def _units(summary: Summary, canvas: Canvas) -> list[Text]:
    """Over what it went, and as what the column was read."""
    units = summary.units
    if units is None:
        return []
    reading = "ids" if units.reading == "id" else "end flags"
    return [Text(f"{plural(units.count, 'unit')} by the {reading} of `{canvas.clean(units.column)}`")]


def _decays(settings: Mapping[str, Any], canvas: Canvas) -> list[Text]:
    """γ and λ, and the λ of the returns where it is another one; each as it was given, if it says anything."""
    glyphs = canvas.glyphs
    shown = []
    for symbol, name in (
        (glyphs.gamma, "gamma"),
        (glyphs.lam, "lam"),
        (f"returns {glyphs.lam}", "lam_value"),
    ):
        how = _decay(settings, name, canvas)
        if how is not None:
            shown.append(Text.assemble(f"{symbol} ", (how, STRONG)))
    return shown


def _decay(settings: Mapping[str, Any], name: str, canvas: Canvas) -> str | None:
    column, alpha, retained = (settings.get(f"{name}_{way}") for way in ("column", "alpha", "retain"))
    if column is not None:
        return f"of `{canvas.clean(str(column))}`"
    if alpha is not None:
        return f"1 - 1 / max({format_setting(alpha)} n, 1)"
    if retained is not None:
        return f"{format_setting(retained)} ^ (1 / (n - 1))"
    number = settings.get(name)
    return None if number is None else format_setting(number)


def verdict_lines(summary: Summary, canvas: Canvas) -> list[Text]:
    """The line to look at when there is no time for the others."""
    items = [_outcome(summary, canvas)]
    output = _output(summary.files)
    if output:
        items.append(Text(f"{canvas.glyphs.hint} {canvas.shorten(output, canvas.width - 4)}"))
    elif not summary.exit_code and _is_in_place(summary.files):
        items.append(Text("in place"))
    num_warnings = len(grouped(summary.warnings))
    if num_warnings:
        items.append(Text(f"{canvas.glyphs.warning} {plural(num_warnings, 'warning')}", CAUTION))
    return flow(items, canvas.width, canvas.glyphs.separator)


def _outcome(summary: Summary, canvas: Canvas) -> Text:
    glyphs = canvas.glyphs
    counts = Counter(file.status for file in summary.files)
    num_files, num_failed = len(summary.files), counts["failed"]
    statuses = status_counts(summary.files)
    ending = f"; exit code {summary.exit_code}" if summary.exit_code else ""
    if summary.interrupted:
        return Text(f"{glyphs.failed} interrupted: {statuses or 'nothing done'}{ending}", BAD)
    if num_failed:
        others = status_counts([file for file in summary.files if file.status != "failed"])
        which = f"{num_failed:,} of {plural(num_files, 'file')} failed" if num_files > 1 else "failed"
        return Text(f"{glyphs.failed} {which}{', ' + others if others else ''}{ending}", BAD)
    if len(counts) == 1:
        status = next(iter(counts))
        which = {
            "written": f"{plural(num_files, 'file')} written",
            "up to date": f"{plural(num_files, 'file')} up to date, nothing to do",
            "dry run": f"dry run of {plural(num_files, 'file')}, nothing written",
            "not written": f"{plural(num_files, 'file')} not written",
        }[status]
        return Text(f"{glyphs.mark(status)} {which}{ending}", STATUS_STYLES[status])
    if not num_files:
        return Text(f"{glyphs.not_written} nothing to do{ending}", CAUTION)
    mark = glyphs.failed if summary.exit_code else glyphs.written
    style = BAD if summary.exit_code else STATUS_STYLES["written"]
    return Text(f"{mark} {plural(num_files, 'file')}: {statuses}{ending}", style)


def _is_in_place(files: Sequence[FileSummary]) -> bool:
    """Everything that was written took the place of an input; what came by a pipe went on by one."""
    written = [file for file in files if file.status == "written"]
    return bool(written) and all(file.output == file.input != "-" for file in written)


def _output(files: Sequence[FileSummary]) -> str | None:
    """Where the results went if not back into the inputs: the file, or the directory of several."""
    outputs = [file.output for file in files if file.output and file.status in ("written", "dry run")]
    if not outputs or all(file.output in (None, file.input) for file in files):
        return None
    if len(set(outputs)) == 1:
        return outputs[0]
    parents = {output.rpartition("/")[0] for output in outputs}
    return parents.pop() + "/" if len(parents) == 1 else None
