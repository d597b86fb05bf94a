"""Results in a notebook: what the command prints of them, as HTML in the notebook's own colours."""

from __future__ import annotations

import io
from collections.abc import Callable

from rich.console import Console
from rich.terminal_theme import TerminalTheme

from gaecli.advice import Advice
from gaecli.diagnosis import Checkup
from gaecli.difference import ColumnDifference
from gaecli.explanation import Derivation, Explanation
from gaecli.inspection import FileInfo, Inspection
from gaecli.label_summary import LabelVerification
from gaecli.report.advice import render_advice
from gaecli.report.checks import render_checkup
from gaecli.report.derivation import render_derivation
from gaecli.report.difference import render_difference
from gaecli.report.explanation import render_explanation
from gaecli.report.inspection import render_inspection
from gaecli.report.label_verification import render_label_verification
from gaecli.report.stripping import render_strip
from gaecli.report.sweep_table import render_sweep
from gaecli.report.table import render_summary
from gaecli.report.verification import render_verification
from gaecli.report.verifications import render_verifications
from gaecli.results import Sweep, Verification, Verifications
from gaecli.setting_fields import DEFAULTS
from gaecli.stripped import StripResult
from gaecli.summary import Summary

WIDTH = 100
#: Background and text are the notebook's; the colours can be read on white and on black.
_GREY, _RED, _YELLOW, _BLUE_GREEN = (118, 118, 118), (205, 49, 49), (148, 116, 0), (5, 131, 152)
_COLOURS = [_GREY, _RED, _BLUE_GREEN, _YELLOW, _BLUE_GREEN, _RED, _BLUE_GREEN, _GREY]
_THEME = TerminalTheme((255, 255, 255), (0, 0, 0), _COLOURS, _COLOURS)
_PAGE = '<pre style="line-height: 1.2; white-space: pre; overflow-x: auto; background: none">{code}</pre>'


def as_html(result: object) -> str:
    console = Console(
        file=io.StringIO(),
        record=True,
        width=WIDTH,
        force_terminal=True,
        color_system="standard",
        markup=False,
        highlight=False,
        emoji=False,
        legacy_windows=False,
    )
    _RENDER[type(result)](result, console)
    return console.export_html(theme=_THEME, inline_styles=True, code_format=_PAGE)


def _info(info: FileInfo, console: Console) -> None:
    settings = {} if info.plan is None else info.plan.settings
    render_inspection(Inspection([info], settings.get("gamma", DEFAULTS["gamma"])), console)


def _sweep(sweep: Sweep, console: Console) -> None:
    render_sweep(sweep, console, "explained_variance")


_RENDER: dict[type, Callable[..., None]] = {
    Advice: render_advice,
    Checkup: render_checkup,
    ColumnDifference: render_difference,
    Derivation: render_derivation,
    Explanation: render_explanation,
    FileInfo: _info,
    LabelVerification: render_label_verification,
    StripResult: render_strip,
    Summary: render_summary,
    Sweep: _sweep,
    Verification: render_verification,
    Verifications: render_verifications,
}
