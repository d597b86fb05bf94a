"""Several inputs verified, for a person: the rule that they have in common, and those that differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from gaecli.report.notes import warning_lines
from gaecli.report.table import print_lines
from gaecli.report.text import BAD, GOOD, STRONG, Canvas, plural
from gaecli.report.text_flow import flow, hanging, paragraph, stacked
from gaecli.report.verification import convention_lines, remark_lines
from gaecli.results import Verification, Verifications

if TYPE_CHECKING:
    from rich.console import Console

#: More files than these are counted.
_MOST_FILES = 20


def render_verifications(found: Verifications, console: Console) -> None:
    print_lines(verifications_lines(found, Canvas.of(console)), console)


def verifications_lines(found: Verifications, canvas: Canvas) -> list[Text]:
    rule = found.rule
    return stacked(
        [
            warning_lines(found.warnings, canvas),
            _verdict(found, canvas),
            _header(found, canvas),
            [] if rule is None else convention_lines(rule, canvas),
            [] if rule is None else remark_lines(rule, canvas),
            _differing(found, canvas),
        ]
    )


def _header(found: Verifications, canvas: Canvas) -> list[Text]:
    items = [Text(canvas.clean(found.streams), STRONG)]
    for name in dict.fromkeys(one.column for one in found.inputs):
        items.append(Text.assemble("column ", (canvas.clean(name), STRONG)))
    return flow(items, canvas.width, canvas.glyphs.separator)


def _differing(found: Verifications, canvas: Canvas) -> list[Text]:
    lines: list[Text] = []
    differing = list(found.differing)
    for one in differing[:_MOST_FILES]:
        path = canvas.shorten(one.path, canvas.width // 2)
        lead = Text(f"{canvas.glyphs.failed} ", BAD)
        text = Text.assemble((path, STRONG), ": ", (_says(one), BAD))
        lines += hanging(lead, paragraph(text, canvas.width - 2))
    if len(differing) > _MOST_FILES:
        lines.append(Text(f"and {len(differing) - _MOST_FILES:,} more"))
    return lines


def _says(one: Verification) -> str:
    best = one.best
    if one.is_reproduced:
        columns = "".join(f", {role} {name}" for role, name in best.columns.items())
        return f"made by another rule: {best.name}{columns}{_numbers(one)}"
    if one.constant is not None:
        return "a constant"
    return f"{best.num_deviating:,} of {plural(best.num_rows, best.row_word)} deviate from the nearest, {best.name}"


def _numbers(one: Verification) -> str:
    """γ and λ, whose name says nothing of them."""
    found = [("gamma", one.best.gamma), ("lam", one.best.lam)]
    return "".join(f", {name} {number:.6g}" for name, number in found if number is not None)


def _verdict(found: Verifications, canvas: Canvas) -> list[Text]:
    glyphs, num = canvas.glyphs, len(found.inputs)
    if not found.exit_code:
        rows = sum(one.best.num_rows for one in found.inputs)
        words = (
            f"{glyphs.written} reproduced by one rule in all {plural(num, 'input')}, {plural(rows, 'row')}"
        )
        return flow([Text(words, GOOD)], canvas.width, glyphs.separator)
    num_failed = sum(failure.follows is None for failure in found.failures)
    items = [
        f"{glyphs.failed} one rule reproduces {len(found.following):,} of {plural(num + num_failed, 'input')}"
    ]
    items += [f"{num_failed:,} could not be read"] if num_failed else []
    items.append(f"exit code {found.exit_code}")
    return flow([Text(item, BAD) for item in items], canvas.width, glyphs.separator)
