"""How the consoles for stdout and stderr are made.

Rich itself honours NO_COLOR, FORCE_COLOR and TERM=dumb. What it does not settle is the width of a pipe:
it would ask whichever terminal stands behind stdin, so the same command would write other lines to a
file depending on the size of the window. And of a dumb terminal it takes 80 columns for granted.
"""

from __future__ import annotations

import os
import sys
from typing import TextIO

from rich.console import Console

from gaecli.report.sizes import size_in_environment

PIPE_WIDTH = 100
_DUMB_WIDTH, _DUMB_HEIGHT = 80, 25


def output_console() -> Console:
    """For the one thing that goes to stdout."""
    return make_console(sys.stdout)


def error_console() -> Console:
    """For messages and progress."""
    return make_console(sys.stderr)


def make_console(stream: TextIO) -> Console:
    width, height = dumb_size(stream) if is_terminal(stream) else (pipe_width(), None)
    return Console(
        file=stream,
        width=width,
        height=height,
        markup=False,
        highlight=False,
        emoji=False,
        # A legacy Windows console takes one column away and draws through an API of its own.
        legacy_windows=False,
    )


def dumb_size(stream: TextIO) -> tuple[int | None, int | None]:
    """Width and height of a dumb terminal, by COLUMNS if that is a number; None of others, which Rich knows."""
    if not (is_terminal(stream) and is_dumb()):
        return None, None
    try:
        told = os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        told = 0
    # Without a height Rich takes no width.
    return size_in_environment("COLUMNS") or told or _DUMB_WIDTH, _DUMB_HEIGHT


def is_dumb() -> bool:
    """Of a terminal, that it does as it is told line by line, and erases nothing."""
    return os.environ.get("TERM", "").lower() in ("dumb", "unknown")


def pipe_width() -> int:
    """Width of lines that go to a file or a pipe: COLUMNS if that is a number, else 100."""
    return size_in_environment("COLUMNS") or PIPE_WIDTH


def is_terminal(stream: TextIO) -> bool:
    """Whether a person looks at `stream`. FORCE_COLOR colours a pipe but makes no terminal of it."""
    try:
        return stream.isatty()
    except ValueError:  # a closed file
        return False
