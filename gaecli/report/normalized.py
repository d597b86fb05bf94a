"""The last step of a derivation, for a person: from the number of the equation to the one that is written."""

from __future__ import annotations

from rich.text import Text

from gaecli.explanation import NormalizedNumber
from gaecli.report.charts import format_number
from gaecli.report.text import CAUTION, GOOD, Canvas, plural
from gaecli.report.text_flow import flow, paragraph

#: Exactly so many digits are shown of what is written: those of float32, and some more.
_DIGITS = 12


def normalization_lines(step: NormalizedNumber | None, canvas: Canvas) -> list[Text]:
    """Nothing where a number is written as it is. The last line is the number in the column."""
    if step is None:
        return []
    heading = f"normalised over {_rows(step, canvas)}"
    read = f"{step.num_rows:,} {'row' if step.num_rows == 1 else 'rows'} of {plural(step.num_files, 'file')}"
    epsilon = "ε" if canvas.glyphs.lam == "λ" else "eps"
    items = [
        Text(f"mean {format_number(step.mean)}"),
        Text(f"std {format_number(step.std)} (ddof {step.ddof})"),
        Text(f"{epsilon} {step.eps:g}"),
        Text(f"read for it: {read}"),
    ]
    return [
        *paragraph(Text(heading, "italic"), canvas.width),
        *flow(items, canvas.width, canvas.glyphs.separator),
        *flow(_result(step, canvas), canvas.width, " "),
    ]


def _rows(step: NormalizedNumber, canvas: Canvas) -> str:
    what = f"{step.count:,} {step.unit if step.count != 1 else _SINGULAR[step.unit]}"
    if step.scope == "column":
        return f"the {what} with {canvas.clean(str(step.column))} {canvas.clean(str(step.label))}"
    return f"the {what} of {_SCOPES[step.scope]}"


_SCOPES = {"all": "the input", "file": "this file", "episode": "this episode"}
_SINGULAR = {"steps": "step", "trajectories": "trajectory", "rollouts": "rollout", "units": "unit"}


def _result(step: NormalizedNumber, canvas: Canvas) -> list[Text]:
    if not step.scale:
        return [Text("all of them are alike:", CAUTION), Text("written 0", GOOD)]
    std, eps = f"{step.std:.{_DIGITS}g}", f"{step.eps:g}"
    root = "√" if canvas.glyphs.lam == "λ" else "sqrt"
    divisor = {
        "add": f"({std} + {eps})",
        "clamp": f"max({std}, {eps})",
        "rsqrt": f"{root}({std}^2 + {eps})",
    }[step.floor]
    formula = f"({step.raw:.{_DIGITS}g} - {_signed(step.mean)}) / {divisor} ="
    return [Text(formula), Text(f"written {step.written:.{_DIGITS}g}", GOOD)]


def _signed(number: float) -> str:
    return f"({number:.{_DIGITS}g})" if number < 0 else f"{number:.{_DIGITS}g}"
