"""How the consoles for stdout and stderr are made.

Rich itself honours NO_COLOR, FORCE_COLOR and TERM=dumb. What it does not settle is the width of a pipe:
it would ask whichever terminal stands behind stdin, so the same command would write other lines to a
file depending on the size of the window. And of a dumb terminal it takes 80 columns for granted.
"""

from __future__ import annotations

import sys
from typing import TextIO

from rich.console import Console

from gaecli.report.sizes import dumb_size, is_terminal, size_in_environment

PIPE_WIDTH = 100


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


def pipe_width() -> int:
    """Width of lines that go to a file or a pipe: COLUMNS if that is a number, else 100."""
    return size_in_environment("COLUMNS") or PIPE_WIDTH
