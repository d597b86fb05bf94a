"""Rules about ends that are there and not seen, in the words in which `compute` asks or warns."""

from __future__ import annotations

from gaecli.checks.base import FirstLook, Hits, Rule
from gaecli.layouts.unused_flags import EndsUnrecognised


def unrecognised_ends(look: FirstLook) -> Hits | None:
    """`compute` asks which column says where trajectories end."""
    error = look.error
    if not isinstance(error, EndsUnrecognised):
        return None
    return Hits(0, error.message, file=str(look.path), fix=error.hint)


def unused_flag(look: FirstLook) -> Hits | None:
    """A column beside the known ends looks like another flag."""
    return look.told("unused-flag")


def flag_never_set(look: FirstLook) -> Hits | None:
    """There are flags, and in thousands of steps none of them is set."""
    return look.told("flag-never-set")


RULES = (
    Rule(
        "GAE009",
        "unrecognised-ends",
        "error",
        "run",
        unrecognised_ends,
        summary="nothing known says where trajectories end, and a column of 0 and 1 that no role uses may",
        why="without their ends all episodes of a stream are one: values and rewards of the next flow into the one "
        "before, and nothing in the numbers shows it",
        fix="name the column with `--done-column`, `--terminated-column` or `--truncated-column`, or pass "
        "`--done-column none` if it is something else",
    ),
    Rule(
        "GAE010",
        "unused-flag",
        "warning",
        "run",
        unused_flag,
        summary="beside the flags that are used, another column looks like a flag of ends",
        why="a time limit, a crash or a reset that has a column of its own ends an episode as well; unread, it is "
        "passed over, or one kind of end is taken for the other",
        fix="name the column with `--terminated-column` or `--truncated-column`, or say with `none` that there is "
        "no such column",
    ),
    Rule(
        "GAE011",
        "flag-never-set",
        "warning",
        "run",
        flag_never_set,
        summary="the flags of ends are never set in thousands of steps",
        why="a flag that was allocated and never written looks like one episode without end; advantages then run "
        "through every reset",
        fix="name the column that is written with `--done-column`, or what tells episodes apart with "
        "`--episode-column`",
    ),
)
