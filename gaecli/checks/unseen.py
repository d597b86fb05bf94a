"""Rules about what only all rows together show, in the words in which `compute` asks, refuses or warns."""

from __future__ import annotations

from gaecli.checks.base import CheckRule, FirstLook, Hits
from gaecli.layouts.cells import UnfilledTail
from gaecli.layouts.evidence.unused_flags import EndsUnrecognised
from gaecli.layouts.flag_columns import EndsOnFirstRow


def done_on_first_row(look: FirstLook) -> Hits | None:
    """The very first row of the file ends an episode, and nothing shows that it was the last of one."""
    error = look.error
    if not isinstance(error, EndsOnFirstRow):
        return None
    return Hits(1, error.message, row=0, file=str(look.path), fix=error.hint)


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


def unfilled_tail(look: FirstLook) -> Hits | None:
    """Nothing was recorded in the last rows: they hold one filler, or no number at all."""
    error = look.error
    if isinstance(error, UnfilledTail):
        return Hits(0, error.message, file=str(look.path), fix=error.hint)
    return look.told("unfilled-tail")


def unchained_values(look: FirstLook) -> Hits | None:
    """Next values that are V of another row than the next one."""
    return look.told("unchained-values")


def goes_on_in_next_file(look: FirstLook) -> Hits | None:
    """Files that were taken apart, although the next one goes on with the last trajectory."""
    return look.told("goes-on-in-next-file", unit="file")


RULES = (
    CheckRule(
        "GAE002",
        "done-on-first-row",
        "error",
        "run",
        done_on_first_row,
        summary="the very first row of the file ends an episode",
        why="an episode of one step is rare, a start flag on row 0 is the rule: this is how a file with start "
        "flags looks when nothing else tells",
        fix="pass `--done-at start` if the flag begins an episode, `--done-at end` if the step ended one",
        bugs=("AechPro/rlgym-ppo#23", "anthonytorlucci/rlevo#342"),
        unless=("GAE001",),
    ),
    CheckRule(
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
    CheckRule(
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
    CheckRule(
        "GAE011",
        "flag-never-set",
        "warning",
        "run",
        flag_never_set,
        summary="the flags of ends are never set in thousands of steps, or no step has the value that is asked for",
        why="a flag that was allocated and never written looks like one episode without end; advantages then run "
        "through every reset",
        fix="name the column that is written with `--done-column`, or what tells episodes apart with "
        "`--episode-column`",
    ),
    CheckRule(
        "GAE012",
        "unfilled-tail",
        "warning",
        "run",
        unfilled_tail,
        summary="the last rows hold 0, one other number, or none, for reward and value alike",
        why="a replay buffer is exported at its capacity, not at what was recorded, and lists are padded to one "
        "length: such rows enter as steps that earn nothing, flow into the last episode, and sit in every mean",
        fix="cut the arrays where the recording stops, or name the mask of the real steps with `--mask-column`",
    ),
    CheckRule(
        "GAE205",
        "unchained-values",
        "warning",
        "run",
        unchained_values,
        summary="next values inside trajectories are not V of the next row",
        why="rows of a replay buffer that were shuffled or drawn, or that stand in reverse order or by turns, follow "
        "one another in the file and not in time: an advantage then sums TD errors of steps that have nothing to do "
        "with each other",
        fix="write the rows in the order in which they were recorded, or name what tells it with `--episode-column`, "
        "`--env-column` and `--step-column`",
    ),
    CheckRule(
        "GAE503",
        "goes-on-in-next-file",
        "warning",
        "between",
        goes_on_in_next_file,
        summary="a file ends inside a trajectory, and the next file goes on with its id and its next step",
        why="computed apart, the trajectory ends where the file does: the value there is taken for 0, and no later "
        "reward counts; only some names of shards say that they are one stream",
        fix="pass `--join` if the files follow one another, or `--no-join` if they do not",
    ),
)
