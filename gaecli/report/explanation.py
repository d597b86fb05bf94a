"""One advantage taken apart, for a person: the δ's, the k-step advantages, and that they add up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from gaecli.explanation import Derivation, ExplainedStep, Explanation, StoredAdvantage
from gaecli.report.bars import signed_bars
from gaecli.report.charts import align_decimals, format_number, format_setting
from gaecli.report.normalized import normalization_lines
from gaecli.report.notes import warning_lines
from gaecli.report.table import print_lines
from gaecli.report.text import CAUTION, GOOD, QUIET, STRONG, Canvas, plural
from gaecli.report.text_flow import TextColumn, TextGrid, flow, labelled, labelled_rows, stacked

if TYPE_CHECKING:
    from rich.console import Console

_LABEL_WIDTH = 14
_BAR_WIDTHS = (32, 24, 16, 10)
#: Relative to A: forms that differ by less differ by rounding.
_ROUNDING = 1e-9
_STORED_ROUNDING = 1e-6


def render_explanation(explanation: Explanation, console: Console) -> None:
    print_lines(explanation_lines(explanation, Canvas.of(console)), console)


def explanation_lines(explanation: Explanation, canvas: Canvas) -> list[Text]:
    return stacked(
        [
            warning_lines(explanation.warnings, canvas),
            _header(explanation, canvas),
            _facts(explanation, canvas),
            _delta_table(explanation, canvas),
            _mixture_table(explanation, canvas),
            _forms(explanation, canvas),
            normalization_lines(explanation.normalized, canvas),
        ]
    )


def _greek(canvas: Canvas) -> tuple[str, str, str]:
    glyphs = canvas.glyphs
    delta = "δ" if glyphs.lam == "λ" else "delta"
    return glyphs.gamma, glyphs.lam, delta


def _decay_word(canvas: Canvas) -> str:
    gamma, lam, _ = _greek(canvas)
    return gamma + lam if lam == "λ" else f"{gamma} {lam}"


def _header(explanation: Explanation, canvas: Canvas) -> list[Text]:
    gamma, lam, _ = _greek(canvas)
    horizon = explanation.effective_horizon
    estimator = str(explanation.settings.get("estimator", "gae"))
    settings = [
        Text("GAE" if estimator == "gae" else estimator, STRONG),
        Text.assemble(f"{gamma} ", (format_setting(explanation.gamma), STRONG)),
        Text.assemble(f"{lam} ", (format_setting(explanation.lam), STRONG)),
        Text(f"{_decay_word(canvas)} {format_number(explanation.decay)}"),
        Text(f"effective horizon {'infinite' if horizon is None else format_number(horizon) + ' steps'}"),
    ]
    if explanation.settings.get("preset", "exact") != "exact":
        settings.insert(
            1, Text.assemble("preset ", (canvas.clean(str(explanation.settings["preset"])), STRONG))
        )
    return [*flow(settings, canvas.width, canvas.glyphs.separator), Text(), *place_lines(explanation, canvas)]


def place_lines(explanation: Explanation | Derivation, canvas: Canvas) -> list[Text]:
    """The file, and the step in it."""
    which = [Text(f"row {explanation.row:,}", STRONG)]
    which += [Text(f"{role} {canvas.clean(str(value))}") for role, value in explanation.key.items()]
    path = Text(canvas.shorten(explanation.path, canvas.width), STRONG)
    return [path, *labelled("", flow(which, canvas.width - 2, canvas.glyphs.separator), 2)]


def _facts(explanation: Explanation, canvas: Canvas) -> list[Text]:
    total = explanation.recursion + explanation.value
    rows = [
        (
            "advantage A",
            [
                Text(format_number(explanation.recursion), GOOD),
                Text(f"value V {format_number(explanation.value)}"),
                Text(f"return A + V {format_number(total)}"),
            ],
        ),
        ("cut", [Text(cut_words(explanation))]),
        ("bootstrap", [_bootstrap(explanation, canvas)]),
    ]
    if explanation.stored is not None:
        rows.append(("stored", stored_items(explanation.stored, canvas)))
    if (seen := explanation.rows_seen) is not None:
        which = f"rows {seen.first:,} to {seen.last:,} of {seen.num_rows:,}"
        rows.append(("looked at", [Text(which), Text("`gae check` looks at all", QUIET)]))
    return labelled_rows(rows, _LABEL_WIDTH, canvas.width, canvas.glyphs.separator)


def cut_words(explanation: Explanation | Derivation) -> str:
    """After how many steps the sum ends, and why."""
    after = "at this step" if explanation.num_steps == 1 else f"after {explanation.num_steps:,} steps"
    where = "" if explanation.end_row is None else f", at row {explanation.end_row:,}"
    why = {
        "terminated": "the episode terminated",
        "truncated": "the episode was truncated",
        "open": "the trajectory just stops",
    }
    return f"{after}{where}: {why[explanation.end]}"


def terminal_words(explanation: Explanation | Derivation, canvas: Canvas) -> str:
    """Why no value stands for the next state."""
    if explanation.end == "terminated":
        return "none: the next state is terminal"
    if explanation.end == "truncated" and explanation.settings.get("truncation") == "undiscounted":
        return f"none: V of the last state itself is in r, without {_greek(canvas)[0]}"
    return "none: the next state is terminal by the rules of this preset"


def value_words(explanation: Explanation | Derivation) -> str:
    """What stands for V of the next state."""
    if explanation.bootstrap == "current":
        return "V of the last state itself"
    if explanation.end == "truncated" and explanation.settings.get("truncation") == "reset":
        return "V of the next row, of another episode"
    return "the next value"


def _bootstrap(explanation: Explanation, canvas: Canvas) -> Text:
    gamma = _greek(canvas)[0]
    if explanation.bootstrap == "none":
        return Text(terminal_words(explanation, canvas))
    if explanation.bootstrap == "zero":
        return Text("none given: V' counts as 0 (`--bootstrap zero`)", CAUTION)
    weight = explanation.gamma * explanation.decay ** (explanation.num_steps - 1)
    words = value_words(explanation)
    power = f"{gamma} ({_decay_word(canvas)})^{explanation.num_steps - 1:,}"
    return Text.assemble(
        f"V' = {format_number(explanation.bootstrap_value)}, ",
        (words, CAUTION if explanation.bootstrap == "current" else ""),
        f"; weight {power} = {format_number(weight)}",
    )


def stored_items(stored: StoredAdvantage, canvas: Canvas) -> list[Text]:
    """What the column holds, and whether it is what this computation gives."""
    column = f"column {canvas.clean(stored.column)}: {format_number(stored.value)}"
    items = [Text(column)]
    if stored.differing:
        theirs = ", ".join(f"{name} {canvas.clean(str(value))}" for name, value in stored.differing.items())
        return [*items, Text(f"computed with other settings: {theirs}", CAUTION)]
    if stored.expected is None or stored.difference is None:
        return [*items, Text("normalised by groups: with the same `--normalize` it is compared")]
    size = max(abs(stored.expected), 1e-30)
    if abs(stored.difference) <= _STORED_ROUNDING * max(size, 1e-6):
        return [*items, Text("agrees", GOOD)]
    return [*items, Text(f"is {format_number(stored.expected)} by this computation", CAUTION)]


def _delta_table(explanation: Explanation, canvas: Canvas) -> list[Text]:
    _, _, delta = _greek(canvas)
    decay = _decay_word(canvas)
    steps = explanation.steps

    def numbers(of: Callable[[ExplainedStep], float]) -> list[str]:
        return align_decimals([format_number(of(step)) for step in steps])

    weighted = f"({decay})^l {delta}"
    columns = [
        ("l", [f"{step.lag:,}" for step in steps]),
        ("row", ["" if step.row is None else str(step.row) for step in steps]),
        ("r", numbers(lambda step: step.reward)),
        ("V", numbers(lambda step: step.value)),
        (delta, numbers(lambda step: step.delta)),
        (f"({decay})^l", numbers(lambda step: step.weight)),
        (weighted, numbers(lambda step: step.contribution)),
        ("sum", numbers(lambda step: step.running_sum)),
    ]
    if all(step.row is None for step in steps):
        columns = [column for column in columns if column[0] != "row"]
    title = f"A as a sum of {delta} = r + {_greek(canvas)[0]} V' - V"
    bars = [step.contribution for step in steps]
    return _table(title, explanation, columns, bars, ("row", "V", "r", f"({decay})^l"), canvas)


def _mixture_table(explanation: Explanation, canvas: Canvas) -> list[Text]:
    lam = _greek(canvas)[1]
    steps = explanation.steps

    def numbers(of: Callable[[ExplainedStep], float]) -> list[str]:
        return align_decimals([format_number(of(step)) for step in steps])

    columns = [
        ("k", [f"{step.lag + 1:,}" for step in steps]),
        ("G(k)", numbers(lambda step: step.k_step_return)),
        ("A(k)", numbers(lambda step: step.k_step_advantage)),
        ("weight w", numbers(lambda step: step.k_step_weight)),
        ("w A(k)", numbers(lambda step: step.k_step_weight * step.k_step_advantage)),
        ("sum", numbers(lambda step: step.k_step_sum)),
    ]
    title = f"A as a mixture of k-step advantages, w = (1-{lam}) {lam}^(k-1), the last {lam}^(k-1)"
    bars = [step.k_step_weight * step.k_step_advantage for step in steps]
    return _table(title, explanation, columns, bars, ("G(k)",), canvas)


def _table(
    title: str,
    explanation: Explanation,
    columns: Sequence[tuple[str, Sequence[str]]],
    bars: Sequence[float],
    dispensable: Sequence[str],
    canvas: Canvas,
) -> list[Text]:
    """As wide as fits: first the bars shrink, then columns that can be done without go, then the bars."""
    shown = list(columns)
    heading = flow([Text(title, "italic")], canvas.width)
    for name in (None, *dispensable):
        shown = [column for column in shown if column[0] != name]
        is_least = name == dispensable[-1]
        for width, gap in [(width, 2) for width in _BAR_WIDTHS] + ([(0, 2), (0, 1)] if is_least else []):
            grid = _grid(shown, bars, width, gap, canvas)
            if grid.width <= canvas.width:
                names, *rows = grid.lines()
                rule = Text(canvas.glyphs.rule * grid.width, QUIET)
                return [*heading, names, rule, *_with_gaps(rows, explanation, canvas)]
    prose = [
        Text(", ".join(f"{name} {cells[index].strip()}" for name, cells in columns))
        for index in range(len(explanation.steps))
    ]
    return [*heading, *(line for item in prose for line in flow([item], canvas.width))]


def _grid(
    columns: Sequence[tuple[str, Sequence[str]]],
    bars: Sequence[float],
    width: int,
    gap: int,
    canvas: Canvas,
) -> TextGrid:
    blocks = [TextColumn(name, [Text(cell) for cell in cells]) for name, cells in columns]
    if width:
        blocks.append(TextColumn("", signed_bars(bars, width, canvas), align="left"))
    return TextGrid(blocks, gap=gap)


def _with_gaps(rows: Sequence[Text], explanation: Explanation, canvas: Canvas) -> list[Text]:
    """A line of its own wherever steps are left out."""
    lines: list[Text] = []
    expected = 0
    for row, step in zip(rows, explanation.steps, strict=True):
        lines += [*_gap(step.lag - expected, canvas), row]
        expected = step.lag + 1
    return lines + _gap(explanation.num_steps - expected, canvas)


def _gap(count: int, canvas: Canvas) -> list[Text]:
    return [Text(f"{canvas.glyphs.ellipsis} {plural(count, 'step')}", QUIET)] if count > 0 else []


def _forms(explanation: Explanation, canvas: Canvas) -> list[Text]:
    decay, delta = _decay_word(canvas), _greek(canvas)[2]
    forms = [
        ("mixture of A(k)", explanation.mixture),
        (f"sum of ({decay})^l {delta}", explanation.delta_sum),
        (f"recursion {delta} + {decay} A'", explanation.recursion),
    ]
    size = max(abs(explanation.recursion), abs(explanation.value), 1e-30)
    cells = []
    for _, number in forms:
        off = number - explanation.recursion
        style = GOOD if abs(off) <= _ROUNDING * size * explanation.num_steps else CAUTION
        cells.append(Text(format_number(off), style))
    grid = TextGrid(
        [
            TextColumn("three forms", [Text(name) for name, _ in forms], align="left"),
            TextColumn("A", [Text(f"{number:.12g}") for _, number in forms], align="left"),
            TextColumn("difference", cells),
        ]
    )
    if grid.width > canvas.width:
        prose = [Text(f"{name}: {number:.12g}") for name, number in forms]
        return [line for item in prose for line in flow([item], canvas.width)]
    heading, *rows = grid.lines()
    return [heading, Text(canvas.glyphs.rule * grid.width, QUIET), *rows]
