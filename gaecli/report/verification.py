"""Which convention made a column, for a person; or where the column leaves the one that comes nearest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from gaecli.report.charts import format_number, format_setting
from gaecli.report.labels import success_items
from gaecli.report.notes import warning_lines
from gaecli.report.table import print_lines
from gaecli.report.text import BAD, CAUTION, GOOD, QUIET, STRONG, Canvas, plural
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
from gaecli.results import Attempt, Deviation, Verification

if TYPE_CHECKING:
    from rich.console import Console

_LABEL_WIDTH = 12
_MOST_ATTEMPTS = 6
_HEADINGS = {"group": "groups"}


def render_verification(verification: Verification, console: Console) -> None:
    print_lines(verification_lines(verification, Canvas.of(console)), console)


def verification_lines(verification: Verification, canvas: Canvas) -> list[Text]:
    return stacked(
        [
            warning_lines(verification.warnings, canvas),
            _verdict(verification, canvas),
            _header(verification, canvas),
            convention_lines(verification, canvas),
            remark_lines(verification, canvas),
            _deviations(verification, canvas),
            _attempts(verification, canvas),
        ]
    )


def _header(verification: Verification, canvas: Canvas) -> list[Text]:
    items = [Text.assemble("column ", (canvas.clean(verification.column), STRONG))]
    if verification.holds == "return":
        items.append(Text("returns, A + V" if verification.best.estimator == "gae" else "returns"))
    if verification.column_path != verification.path:
        items.append(Text(f"of {canvas.shorten(verification.column_path, canvas.width - 4)}"))
    lines = [Text(canvas.shorten(verification.path, canvas.width), STRONG)]
    return lines + labelled("", flow(items, canvas.width - 2, canvas.glyphs.separator), 2)


def convention_lines(verification: Verification, canvas: Canvas) -> list[Text]:
    best, glyphs = verification.best, canvas.glyphs
    convention = [Text(best.name, STRONG)]
    convention += [Text(f"--{name.replace('_', '-')} {value}") for name, value in best.flags.items()]
    rows = [("convention", convention)]
    if verification.equivalent:
        rows.append(("also", [Text(name) for name in verification.equivalent]))
    if verification.estimators:
        rows.append(("estimators", [Text(name) for name in (best.estimator, *verification.estimators)]))
    if best.rule is not None:
        rows.append(("rule", [Text(best.rule)]))
    rows += [(_HEADINGS.get(role, role), [Text(canvas.clean(name))]) for role, name in best.columns.items()]
    if verification.success is not None:
        rows.append(("rewards", success_items(verification.success, canvas)))
    if best.n_steps is not None:
        rows.append(("n", [Text(f"{best.n_steps:,} steps", STRONG)]))
    settings = _settings(best, canvas)
    if settings:
        pairs = [(glyphs.gamma, best.gamma), (glyphs.lam, best.lam)]
        letters = [letter for letter, number in pairs if number is not None]
        rows.append((", ".join(letters), settings))
    if best.is_affine:
        sign = "+" if best.shift >= 0 else glyphs.minus
        formula = f"A = {format_number(best.scale)} x {sign} {format_number(abs(best.shift))}"
        rows.append(("whitening", [Text(formula), Text(verification.normalization or "")]))
    rows.append(("error", _error(best)))
    if verification.is_reproduced and verification.flags:
        rows.append(("the same", [Text("gae compute " + " ".join(verification.flags))]))
    elif verification.is_reproduced:
        rows.append(("the same", [Text("no flags of gae compute make this column", CAUTION)]))
    return labelled_rows(rows, _LABEL_WIDTH, canvas.width, canvas.glyphs.separator)


def _settings(best: Attempt, canvas: Canvas) -> list[Text]:
    glyphs = canvas.glyphs
    items = []
    for symbol, number, is_determined in (
        (glyphs.gamma, best.gamma, best.is_gamma_determined),
        (glyphs.lam, best.lam, best.is_lam_determined),
    ):
        if number is None:
            continue
        item = Text.assemble(f"{symbol} ", (format_setting(round(number, 9)), STRONG))
        items.append(item if is_determined else item.append(" (these rows leave it open)", CAUTION))
    return items


def _error(best: Attempt) -> list[Text]:
    if best.max_error is None:
        return [Text("no row to compare")]
    return [Text(f"largest {format_number(best.max_error)}"), Text(f"RMS {format_number(best.rms_error)}")]


def remark_lines(verification: Verification, canvas: Canvas) -> list[Text]:
    return [
        line
        for remark in verification.remarks
        for line in paragraph(Text(canvas.clean(remark)), canvas.width)
    ]


def _deviations(verification: Verification, canvas: Canvas) -> list[Text]:
    lines: list[Text] = []
    for deviation in verification.deviations:
        lead = Text(f"{canvas.glyphs.failed} ", BAD)
        lines += hanging(lead, paragraph(_said(deviation, canvas), canvas.width - 2))
    return lines


def _said(deviation: Deviation, canvas: Canvas) -> Text:
    gamma = canvas.glyphs.gamma
    text = Text.assemble(
        (deviation.where, STRONG), f": {deviation.count:,} of {plural(deviation.total, 'row')} deviate"
    )
    if deviation.reading is not None:
        text = Text.assemble(
            (deviation.where, STRONG),
            f": {deviation.count:,} of {plural(deviation.total, 'row')} ",
            (deviation.reading.replace("γ", gamma), BAD),
        )
    text.append(f"; first at row {deviation.first_row:,}")
    if deviation.found is not None and deviation.expected is not None:
        text.append(f", {format_number(deviation.found)} instead of {format_number(deviation.expected)}")
    return text


def _attempts(verification: Verification, canvas: Canvas) -> list[Text]:
    """The next best, so that one sees how far off they are."""
    others = list(verification.attempts)[:_MOST_ATTEMPTS]
    if len(others) < 2:
        return []
    names = []
    for attempt in others:
        flags = "".join(f" --{name.replace('_', '-')} {value}" for name, value in attempt.flags.items())
        more = f" +{len(attempt.presets) - 1}" if len(attempt.presets) > 1 else ""
        names.append(f"{attempt.name}{more}{flags}")
    glyphs = canvas.glyphs
    columns = [TextColumn("convention", [Text(canvas.shorten(name, 34)) for name in names], align="left")]
    if any(attempt.gamma is not None for attempt in others):
        gammas = [Text(format_number(attempt.gamma)) for attempt in others]
        lams = [Text(format_number(attempt.lam)) for attempt in others]
        columns += [TextColumn(glyphs.gamma, gammas), TextColumn(glyphs.lam, lams)]
    columns += [
        TextColumn("rows off", [Text(f"{attempt.num_deviating:,}") for attempt in others]),
        TextColumn("of", [Text(f"{attempt.num_rows:,}") for attempt in others]),
        TextColumn("largest error", [Text(format_number(attempt.max_error)) for attempt in others]),
    ]
    while len(columns) > 2 and TextGrid(columns).width > canvas.width:
        columns.pop()
    heading, *rows = TextGrid(columns).lines()
    return [heading, Text(glyphs.rule * TextGrid(columns).width, QUIET), *rows]


def _verdict(verification: Verification, canvas: Canvas) -> list[Text]:
    best, glyphs = verification.best, canvas.glyphs
    if verification.is_reproduced:
        up_to = " up to an affine map" if best.is_affine else ""
        words = f"{glyphs.written} reproduced{up_to} at all {plural(best.num_rows, 'row')}"
        return flow([Text(words, GOOD)], canvas.width, glyphs.separator) + _sample(verification, canvas)
    if verification.constant is not None:
        number, rows = format_number(verification.constant), plural(best.num_rows, "row")
        at = f"{number} at {verification.num_constant:,} of {rows}, to within 0.1%"
        items = [
            Text(f"{glyphs.failed} constant: {at}", BAD),
            Text("no convention makes it of these rewards and values", BAD),
            Text(f"exit code {verification.exit_code}", BAD),
        ]
        return flow(items, canvas.width, glyphs.separator)
    share = f"{best.num_deviating:,} of {plural(best.num_rows, best.row_word)} deviate from the nearest"
    words = f"{glyphs.failed} not reproduced: {share}; exit code {verification.exit_code}"
    lines = flow([Text(words, BAD)], canvas.width, glyphs.separator)
    return lines + _sample(verification, canvas)


def _sample(verification: Verification, canvas: Canvas) -> list[Text]:
    """What was not held against all rows."""
    if verification.num_searched is None:
        return []
    whole = "trajectories" if verification.best.rule is None else "groups"
    words = f"conventions were compared on {verification.num_searched:,} steps of whole {whole}"
    if verification.best.is_sampled:
        words += ", which refute all of them: rows are those of the sample, and nothing was held against the others"
    else:
        words += (
            ", and all that may be it, or the nearest, was held against every row; rows of the others are of the "
            "sample"
        )
    return paragraph(Text(words, QUIET), canvas.width)
