"""One number out of what it is made of, for a person: the equation, what stands in it, and the lines that add up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from gaecli.explanation import Cell, Derivation, DerivationTable
from gaecli.report.bars import signed_bars
from gaecli.report.charts import align_decimals, format_number, format_setting
from gaecli.report.explanation import cut_words, place_lines, stored_items, terminal_words, value_words
from gaecli.report.normalized import normalization_lines
from gaecli.report.notes import warning_lines
from gaecli.report.table import print_lines
from gaecli.report.text import CAUTION, GOOD, QUIET, STRONG, Canvas, plural
from gaecli.report.text_flow import Alignment, TextColumn, TextGrid, flow, labelled_rows, paragraph, stacked

if TYPE_CHECKING:
    from rich.console import Console

_LABEL_WIDTH = 14
_BAR_WIDTHS = (32, 24, 16, 10, 0)
#: Relative to the numbers that are added up.
_ROUNDING = 1e-9
#: Name of what stands in a line -> heading.
_HEADINGS = {
    "lag": "k",
    "reward": "r",
    "value": "V",
    "next_value": "V'",
    "q": "Q",
    "gamma": "γ",
    "lam": "λ",
    "delta": "δ",
    "ratio": "ρ",
    "clipped_ratio": "min ρ",
    "prob": "π",
    "trace": "c",
    "k_step_advantage": "A(k)",
    "weight": "w",
    "discount": "γ^k",
    "contribution": "adds",
    "running_sum": "sum",
    "score": "s",
    "deviation": "s - mean",
    "advantage": "A",
    "return": "R",
}
#: What bars are drawn of, the first of these that is there.
_DRAWN = ("contribution", "deviation")
#: What goes, one after the other, where the page is narrow.
_LEFT_OUT = ("running_sum", "discount", "clipped_ratio", "next_value", "row", "value", "reward")
#: Whole numbers, and flags that mark a line.
_COUNTS, _MARKS = ("lag", "row", "item", "steps"), ("is_this",)
_LETTERS = {"δ": "delta", "ε": "eps", "Σ": "sum", "Π": "product", "ρ": "rho", "π": "pi"}


def render_derivation(derivation: Derivation, console: Console) -> None:
    print_lines(derivation_lines(derivation, Canvas.of(console)), console)


def derivation_lines(derivation: Derivation, canvas: Canvas) -> list[Text]:
    return stacked(
        [
            warning_lines(derivation.warnings, canvas),
            _header(derivation, canvas),
            _facts(derivation, canvas),
            *(_table(table, canvas) for table in derivation.tables),
            _check(derivation, canvas),
            normalization_lines(derivation.normalized, canvas),
        ]
    )


def _written(text: str, canvas: Canvas) -> str:
    """With the letters that the terminal has."""
    text = text.replace("γ", canvas.glyphs.gamma).replace("λ", canvas.glyphs.lam)
    if canvas.glyphs.lam == "λ":
        return canvas.clean(text)
    for letter, word in _LETTERS.items():
        text = text.replace(letter, word)
    return canvas.clean(text)


def _header(derivation: Derivation, canvas: Canvas) -> list[Text]:
    items = [Text("GAE" if derivation.estimator == "gae" else derivation.estimator, STRONG)]
    if derivation.settings.get("preset", "exact") != "exact":
        items.append(Text.assemble("preset ", (canvas.clean(str(derivation.settings["preset"])), STRONG)))
    if "γ" in derivation.numbers:
        items.append(Text(f"{canvas.glyphs.gamma} {format_setting(float(derivation.settings['gamma']))}"))
    return [*flow(items, canvas.width, canvas.glyphs.separator), Text(), *place_lines(derivation, canvas)]


def _facts(derivation: Derivation, canvas: Canvas) -> list[Text]:
    computed = [Text(format_number(derivation.computed), GOOD)]
    computed += [
        Text(f"{name} {format_number(number)}")
        for name, number in derivation.outputs.items()
        if name != derivation.output
    ]
    rows = [(derivation.output, computed)]
    if derivation.equation is not None:
        rows.append(("equation", [Text(_written(derivation.equation, canvas))]))
    if derivation.numbers:
        rows.append(("with", [Text(_with(*item, canvas)) for item in derivation.numbers.items()]))
    if derivation.bootstrap is not None:
        rows.append(("cut", [Text(cut_words(derivation))]))
        rows.append(("bootstrap", [_bootstrap(derivation, canvas)]))
    if derivation.stored is not None:
        rows.append(("stored", stored_items(derivation.stored, canvas)))
    rows += [("note", [Text(_written(remark, canvas))]) for remark in derivation.remarks]
    return labelled_rows(rows, _LABEL_WIDTH, canvas.width, canvas.glyphs.separator)


def _with(letter: str, number: float | int | None, canvas: Canvas) -> str:
    letter = _written(letter, canvas)
    shown = f"{number:,}" if isinstance(number, int) else format_number(number, missing=canvas.glyphs.missing)
    return f"{letter} {shown}" if letter[-1:].isalnum() or letter[-1:] in "')" else f"{letter}: {shown}"


def _bootstrap(derivation: Derivation, canvas: Canvas) -> Text:
    if derivation.bootstrap == "none":
        return Text(terminal_words(derivation, canvas))
    if derivation.bootstrap == "zero":
        return Text("none given: V' counts as 0 (`--bootstrap zero`)", CAUTION)
    return Text(f"V' = {format_number(derivation.bootstrap_value)}, {value_words(derivation)}")


def _table(table: DerivationTable, canvas: Canvas) -> list[Text]:
    """As wide as fits: the bars shrink until it does, and columns that can be done without go."""
    heading = paragraph(Text(_written(table.title, canvas), "italic"), canvas.width)
    if not table.lines:
        return heading
    names = [name for name in table.lines[0] if any(line.get(name) is not None for line in table.lines)]
    drawn = next((name for name in _DRAWN if name in names), None)
    for left_out in (None, *_LEFT_OUT):
        names = [name for name in names if name != left_out]
        for width in _BAR_WIDTHS if drawn is not None else (0,):
            grid = _grid(table.lines, names, drawn, width, canvas)
            if grid.width <= canvas.width:
                first, *rows = grid.lines()
                rule = Text(canvas.glyphs.rule * grid.width, QUIET)
                return [*heading, first, rule, *rows, *_rest(table, canvas)]
    prose = [Text(", ".join(f"{name} {line[name]}" for name in names)) for line in table.lines]
    return [*heading, *(line for item in prose for line in flow([item], canvas.width))]


def _grid(
    lines: Sequence[Mapping[str, Cell]], names: Sequence[str], drawn: str | None, width: int, canvas: Canvas
) -> TextGrid:
    styles = [STRONG if line.get("is_this") else "" for line in lines]
    columns = []
    for name in names:
        if name in _MARKS:
            continue
        cells = [_cell(name, line.get(name)) for line in lines]
        is_text = any(isinstance(line.get(name), str) for line in lines)
        aligned = cells if name in _COUNTS or is_text else align_decimals(cells)
        texts = [Text(canvas.clean(cell), style) for cell, style in zip(aligned, styles, strict=True)]
        align: Alignment = "left" if is_text else "right"
        columns.append(TextColumn(_written(_HEADINGS.get(name, name), canvas), texts, align=align))
    if any(line.get("is_this") for line in lines):
        marks = [Text("this one" if line.get("is_this") else "", STRONG) for line in lines]
        columns.append(TextColumn("", marks, align="left"))
    if width and drawn is not None:
        numbers = [float(line.get(drawn) or 0.0) for line in lines]
        columns.append(TextColumn("", signed_bars(numbers, width, canvas), align="left"))
    return TextGrid(columns)


def _cell(name: str, cell: Cell) -> str:
    if cell is None or isinstance(cell, str):
        return cell or ""
    return str(int(cell)) if name in _COUNTS else format_number(float(cell))


def _rest(table: DerivationTable, canvas: Canvas) -> list[Text]:
    left = table.num_lines - len(table.lines)
    return [Text(f"{canvas.glyphs.ellipsis} {plural(left, 'line')} more", QUIET)] if left > 0 else []


def _check(derivation: Derivation, canvas: Canvas) -> list[Text]:
    """That the equation gives what is computed."""
    if derivation.derived is None or derivation.difference is None:
        return []
    size = max(abs(derivation.computed), abs(derivation.derived), 1e-30)
    is_rounding = abs(derivation.difference) <= _ROUNDING * size * max(derivation.num_steps, 1)
    items = [
        Text(f"by the equation {derivation.derived:.12g}"),
        Text(f"by gae compute {derivation.computed:.12g}"),
        Text(f"difference {format_number(derivation.difference)}", GOOD if is_rounding else CAUTION),
    ]
    return flow(items, canvas.width, canvas.glyphs.separator)
