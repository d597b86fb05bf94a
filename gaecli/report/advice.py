"""What `gae doctor` found, for a person: what is in there, what is wrong with it, what to run and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.text import Text

from gaecli.advice import Advice, ColumnVerdict, OpenQuestion
from gaecli.label_summary import LabelVerification
from gaecli.report.checks import checkup_lines
from gaecli.report.document import enveloped, finding_to_dict, plain_value
from gaecli.report.inspection import brief_lines
from gaecli.report.messages import message_lines
from gaecli.report.notes import warning_lines
from gaecli.report.table import print_lines
from gaecli.report.text import BAD, CAUTION, GOOD, QUIET, STRONG, Canvas
from gaecli.report.text_flow import hanging, paragraph, stacked
from gaecli.results import Verification
from gaecli.summary import WarningNote

if TYPE_CHECKING:
    from rich.console import Console


def render_advice(advice: Advice, console: Console) -> None:
    print_lines(advice_lines(advice, Canvas.of(console)), console)


def advice_lines(advice: Advice, canvas: Canvas) -> list[Text]:
    parts = [] if advice.inspection is None else [brief_lines(advice.inspection, canvas)]
    if advice.columns:
        parts.append([line for column in advice.columns for line in _column(column, canvas)])
    parts.append(warning_lines(_notes(advice), canvas))
    if advice.checkup is not None:
        parts.append(checkup_lines(advice.checkup, canvas))
    return stacked([*parts, _end(advice, canvas)])


def _notes(advice: Advice) -> list[WarningNote]:
    """What `gae compute` would warn of, and no rule of `gae check` has told."""
    findings = () if advice.checkup is None else advice.checkup.findings
    told = {finding.rule.name for finding in findings}
    infos = () if advice.inspection is None else advice.inspection.infos
    return [note for info in infos for note in info.warnings if note.code not in told]


def question_lines(question: OpenQuestion, canvas: Canvas) -> list[Text]:
    """As an error has it: what happened, and what decides it."""
    return message_lines("question", CAUTION, question.message, question.hint, canvas)


def advice_to_dict(advice: Advice) -> dict[str, Any]:
    question = None if advice.question is None else plain_value(advice.question)
    own = {
        "verdict": advice.verdict,
        "compute": advice.command,
        "reasons": advice.reasons,
        "remarks": advice.remarks,
        "question": question,
        "columns": [_column_to_dict(column) for column in advice.columns],
        "findings": [] if advice.checkup is None else list(map(finding_to_dict, advice.checkup.findings)),
    }
    infos = [] if advice.inspection is None else advice.inspection.infos
    return enveloped(
        "doctor",
        own,
        exit_code=advice.exit_code,
        settings=advice.settings,
        files=[{"input": info.path, "layout": info.layout, "roles": info.roles} for info in infos],
        failures=advice.failures,
        warnings=[note for info in infos for note in info.warnings],
        seconds=advice.seconds,
    )


def _column_to_dict(column: ColumnVerdict) -> Mapping[str, Any]:
    return {
        "column": column.column,
        "own": column.is_own,
        "reproduced": column.is_reproduced,
        "rule": _rule(column),
        "error": column.error,
    }


def _column(column: ColumnVerdict, canvas: Canvas) -> list[Text]:
    """One line on a column that is there already."""
    glyphs = canvas.glyphs
    name = Text.assemble((canvas.clean(column.column), STRONG), " is there")
    if column.is_own:
        name.append(", by gaecli")
    if column.is_reproduced:
        lead = Text(f"{glyphs.written} ", GOOD)
        name.append(f": {_rule(column)} makes it")
    elif column.found is None:
        lead = Text(f"{glyphs.warning} ", CAUTION)
        name.append(f", and was not verified: {canvas.clean(column.error or '')}")
    else:
        lead = Text(f"{glyphs.failed} ", BAD)
        name.append(
            f": {_rule(column)}, from which it parts" if _rule(column) else ": no known rule makes it"
        )
        name.append(f"; `gae verify --against {canvas.clean(column.column)}` shows where")
    return hanging(lead, paragraph(name, canvas.width - lead.cell_len))


def _rule(column: ColumnVerdict) -> str | None:
    """What makes the column, or comes nearest."""
    found = column.found
    if found is None:
        return None
    if isinstance(found, LabelVerification):
        return found.best.words
    one = found if isinstance(found, Verification) else found.rule
    if one is None:
        return None
    return " ".join(one.flags) or one.best.name


def _end(advice: Advice, canvas: Canvas) -> list[Text]:
    glyphs = canvas.glyphs
    remarks = [Text(remark) for remark in advice.remarks]
    if advice.verdict == "nothing to do":
        head = Text.assemble((f"{glyphs.written} nothing to do", GOOD), "  ", advice.remarks[0])
        return hanging(Text(), paragraph(head, canvas.width))
    if advice.command is None:
        return []
    # Not broken: it is there to be copied.
    lines = [
        Text(f"{glyphs.hint} run", GOOD),
        Text(),
        Text(f"  {canvas.clean(advice.command)}", STRONG),
        Text(),
    ]
    for reason in advice.reasons:
        lines.append(Text(f"  {canvas.clean(reason.flags)}"))
        lines += hanging(Text("      "), paragraph(Text(canvas.clean(reason.why), QUIET), canvas.width - 6))
    for remark in remarks:
        lines += hanging(Text("  "), paragraph(remark, canvas.width - 2))
    return lines
