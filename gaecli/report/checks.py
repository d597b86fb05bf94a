"""What `gae check` found, for a person: each rule once, with its first place, its reason and its remedy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from gaecli.diagnosis import Checkup, Finding, Mending, RuleInfo
from gaecli.report.charts import format_seconds
from gaecli.report.table import print_lines
from gaecli.report.text import BAD, CAUTION, GOOD, QUIET, STRONG, Canvas, plural
from gaecli.report.text_flow import TextColumn, TextGrid, flow, hanging, labelled_rows, paragraph

if TYPE_CHECKING:
    from rich.console import Console

STYLES = {"error": BAD, "warning": CAUTION, "note": ""}
_ORDER = tuple(STYLES)
#: What a rule's summary must have of a line beside code, severity and name; else it stands beneath.
NARROWEST_SUMMARY = 36


def render_checkup(checkup: Checkup, console: Console) -> None:
    print_lines(checkup_lines(checkup, Canvas.of(console)), console)


def render_rules(rules: Sequence[RuleInfo], console: Console) -> None:
    print_lines(rule_lines(rules, Canvas.of(console)), console)


def checkup_lines(checkup: Checkup, canvas: Canvas) -> list[Text]:
    lines: list[Text] = []
    for findings in _by_rule(checkup.findings):
        lines += [*_finding(findings, canvas), Text()]
    lines += _verdict(checkup, canvas)
    mending = checkup.mending
    is_silent = checkup.failures and not checkup.findings  # what was not examined may have something to fix
    return lines if mending is None or is_silent else [*lines, Text(), *_mending(mending, canvas)]


def rule_lines(rules: Sequence[RuleInfo], canvas: Canvas) -> list[Text]:
    """A table of the rules; summaries are broken between words."""
    grid = TextGrid(
        [
            TextColumn("code", [Text(rule.code, STRONG) for rule in rules], align="left"),
            TextColumn(
                "severity", [Text(rule.severity, STYLES[rule.severity]) for rule in rules], align="left"
            ),
            TextColumn("rule", [Text(rule.name) for rule in rules], align="left"),
        ]
    )
    heading, *rows = grid.lines()
    room = canvas.width - grid.width - 2
    if room < NARROWEST_SUMMARY:
        below = [
            line
            for row, rule in zip(rows, rules, strict=True)
            for line in [row, *hanging(Text("  "), paragraph(Text(rule.summary), canvas.width - 2))]
        ]
        return [heading, Text(canvas.glyphs.rule * canvas.width, QUIET), *below]
    heading.append(" " * (grid.width - heading.cell_len + 2) + "finds")
    lines = [heading, Text(canvas.glyphs.rule * canvas.width, QUIET)]
    for row, rule in zip(rows, rules, strict=True):
        lead = Text.assemble(row, " " * (grid.width - row.cell_len + 2))
        lines += hanging(lead, paragraph(Text(rule.summary), room))
    return lines


def _by_rule(findings: Sequence[Finding]) -> list[list[Finding]]:
    """Errors before warnings, and these before notes; then by code."""
    together: dict[str, list[Finding]] = {}
    for finding in findings:
        together.setdefault(finding.rule.code, []).append(finding)
    return sorted(
        together.values(), key=lambda group: (_ORDER.index(group[0].rule.severity), group[0].rule.code)
    )


def _finding(group: Sequence[Finding], canvas: Canvas) -> list[Text]:
    first, rule, glyphs = group[0], group[0].rule, canvas.glyphs
    marks = {"error": glyphs.failed, "warning": glyphs.warning, "note": glyphs.hint}
    mark = marks[rule.severity]
    style = STYLES[rule.severity]
    heading = Text.assemble((f"{mark} {rule.code} {rule.severity}", style), "  ", (rule.name, STRONG))
    room = canvas.width - 2
    lines: list[Text] = []
    for line in canvas.clean_lines(first.message):
        lines += paragraph(Text(line), room)
    lines += flow(_where(group, canvas, room), room, glyphs.separator)
    why = f"why: {rule.why}" + (f" ({', '.join(rule.bugs)})" if rule.bugs else "")
    lines += paragraph(Text(why, QUIET), room)
    arrow = Text(f"{glyphs.hint} ")
    lines += hanging(arrow, paragraph(Text(canvas.clean(first.fix or rule.fix)), room - arrow.cell_len))
    return [heading, *hanging(Text("  "), lines)]


def _where(group: Sequence[Finding], canvas: Canvas, room: int) -> list[Text]:
    """File, first place and count; then how many other inputs."""
    first = group[0]
    items = [Text(canvas.shorten(first.file, room))] if first.file else []
    if first.place:
        items.append(Text(f"first at {canvas.clean(first.place)}"))
    if first.count > 1 and f"{first.count:,}" not in first.message:
        items.append(Text(f"{plural(first.count, first.unit)} in all"))
    if len(group) > 1:
        items.append(Text(f"and {plural(len(group) - 1, 'more input')}", CAUTION))
    return items


def _mending(mending: Mending, canvas: Canvas) -> list[Text]:
    """The command, which is not broken as it is there to be copied; then what no flag of it deals with."""
    glyphs = canvas.glyphs
    rows = [(one.code, [Text(canvas.clean(flags)) for flags in one.flags]) for one in mending.mended]
    if mending.command is not None:
        lead = [Text(f"{glyphs.hint} run", GOOD), Text()]
        lead += [Text(f"  {canvas.clean(mending.command)}", STRONG), Text()]
    elif mending.refused is not None:
        lead = paragraph(Text(canvas.clean(f"no command: with these flags {mending.refused}")), canvas.width)
    elif not (mending.undecided or mending.in_data):
        return [Text(f"{glyphs.written} nothing to fix", GOOD)]
    else:
        lead = [Text("no flag alone deals with what was found", STRONG)]
    rows += [
        (f"{one.code} yours to decide", [Text(canvas.clean(flags)) for flags in one.flags])
        for one in mending.undecided
    ]
    rows += [(code, [Text("in the data")]) for code in mending.in_data]
    width = max(len(label) for label, _ in rows) + 2
    return [*lead, *hanging(Text("  "), labelled_rows(rows, width, canvas.width - 2, glyphs.separator))]


def _verdict(checkup: Checkup, canvas: Canvas) -> list[Text]:
    glyphs = canvas.glyphs
    scope = f"{plural(checkup.num_files, 'file')}, {plural(checkup.num_rows, 'row')}"
    by = plural(len(checkup.codes), "rule")
    ending = [Text(f"exit code {checkup.exit_code}")] if checkup.exit_code else []
    errors, warnings, notes = checkup.num_errors, checkup.num_warnings, checkup.num_notes
    if errors or warnings:
        counts = [plural(errors, "error")] if errors else []
        counts += [plural(warnings, "warning")] if warnings else []
        mark, style = (glyphs.failed, BAD) if errors or checkup.exit_code else (glyphs.warning, CAUTION)
        lead = Text(f"{mark} {' and '.join(counts)}", style)
    elif checkup.failures:
        lead = Text(f"{glyphs.failed} {plural(len(checkup.failures), 'file')} could not be examined", BAD)
    else:
        lead = Text(f"{glyphs.written} nothing {'wrong ' if notes else ''}found", GOOD)
    told = [Text(plural(notes, "note"))] if notes else []
    items = [lead, *told, Text(scope), Text(by), Text(format_seconds(checkup.seconds)), *ending]
    return flow(items, canvas.width, glyphs.separator)
