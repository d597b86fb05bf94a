"""Whether there is a terminal, and its size as far as Rich is not to find it out."""

from __future__ import annotations

import os
from typing import TextIO

#: More digits than any width has: `int` refuses thousands of them.
_MOST_DIGITS = 4
#: Of a dumb terminal that does not say.
_DUMB_WIDTH, _DUMB_HEIGHT = 80, 25


def size_in_environment(name: str) -> int | None:
    """Of COLUMNS or LINES; None where it is no size."""
    size = os.environ.get(name, "")
    is_size = size.isascii() and size.isdecimal() and len(size) <= _MOST_DIGITS and int(size) > 0
    return int(size) if is_size else None


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


def is_terminal(stream: TextIO) -> bool:
    """Whether a person looks at `stream`. FORCE_COLOR colours a pipe but makes no terminal of it."""
    try:
        return stream.isatty()
    except ValueError:  # a closed file
        return False
