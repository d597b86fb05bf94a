"""The size of the terminal as the environment has it."""

from __future__ import annotations

import os

#: More digits than any width has: `int` refuses thousands of them.
_MOST_DIGITS = 4


def size_in_environment(name: str) -> int | None:
    """Of COLUMNS or LINES; None where it is no size."""
    size = os.environ.get(name, "")
    is_size = size.isascii() and size.isdecimal() and len(size) <= _MOST_DIGITS and int(size) > 0
    return int(size) if is_size else None
