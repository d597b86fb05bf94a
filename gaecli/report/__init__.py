"""Showing a `Summary`: as a table, as JSON, and as messages on stderr.

Sees summaries only, never a file or an array. Names load on first use: a `--json` run needs no rich,
and `gae --help` needs nothing of this.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gaecli.report.console import error_console, output_console
    from gaecli.report.document import summary_to_dict, to_json
    from gaecli.report.messages import print_error, print_failures, print_warning
    from gaecli.report.progress import ProgressLine
    from gaecli.report.table import render_summary

_HOMES = {
    "ProgressLine": "progress",
    "error_console": "console",
    "output_console": "console",
    "print_error": "messages",
    "print_failures": "messages",
    "print_outcome": "messages",
    "print_warning": "messages",
    "render_summary": "table",
    "summary_to_dict": "document",
    "to_json": "document",
}

__all__ = [
    "ProgressLine",
    "error_console",
    "output_console",
    "print_error",
    "print_failures",
    "print_outcome",
    "print_warning",
    "render_summary",
    "summary_to_dict",
    "to_json",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
