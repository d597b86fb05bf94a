"""The last rule: what `gae compute` refuses, whatever the reason."""

from __future__ import annotations

from pathlib import Path

from gaecli.checks.base import Hits, Rule
from gaecli.errors import GaeError


def refused(case: tuple[Path, GaeError | None]) -> Hits | None:
    """`compute` met this error when it looked at the file."""
    path, error = case
    if error is None:
        return None
    return Hits(0, error.message, file=str(path), fix=error.hint)


RULES = (
    Rule(
        "GAE900",
        "refused",
        "error",
        "run",
        refused,
        summary="`gae compute` refuses the file for a reason that no other rule names",
        why="nothing is computed from a file that can be read in two ways, or in none",
        fix="the message says what to do",
    ),
)
