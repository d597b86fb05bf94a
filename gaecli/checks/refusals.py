"""The last rule: what `gae compute` refuses, whatever the reason."""

from __future__ import annotations

from gaecli.checks.base import CheckRule, FirstLook, Hits

#: The code of the one rule here.
REFUSED = "GAE900"


def refused(look: FirstLook) -> Hits | None:
    """`compute` met this error when it looked at the file."""
    error = look.error
    if error is None:
        return None
    return Hits(0, error.message, file=str(look.path), fix=error.hint)


RULES = (
    CheckRule(
        REFUSED,
        "refused",
        "error",
        "run",
        refused,
        summary="`gae compute` refuses the file for a reason that no other rule names",
        why="nothing is computed from a file that can be read in two ways, or in none",
        fix="the message says what to do",
        unless=("GAE002", "GAE009", "GAE405"),
    ),
)
