"""The step column: it orders the rows of a trajectory, and shows what is missing or doubled."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from gaecli.array_types import Array, BoolArray, IndexArray
from gaecli.columns import Roles
from gaecli.errors import DataError, UsageError
from gaecli.formats.base import Column
from gaecli.layouts.arrange import Arrangement
from gaecli.layouts.cells import Cells, Locate
from gaecli.layouts.ends import Flags
from gaecli.layouts.keys import codes
from gaecli.records import dataclass
from gaecli.shell_words import word

_HINT = (
    "name another column with `--step-column`, or pass `--step-column none` to go by the order in the file"
)
_NUMBER = re.compile(r"[+-]?[0-9]{1,18}")


@dataclass(frozen=True, eq=False)
class Steps:
    """One step column of a block."""

    #: [N] int64 where they count.
    numbers: Array
    #: Whole numbers: the distance between neighbours says what is missing. Times and fractions only say what
    #: comes first.
    counts: bool

    def moved(self, in_lanes: Callable[[Array], Array]) -> Steps:
        return Steps(in_lanes(self.numbers), self.counts)

    def move(self, same: BoolArray) -> bool:
        """One that stands still in every trajectory counts something else."""
        return not same.any() or bool((np.diff(self.numbers) != 0)[same].any())


def read_steps(columns: Mapping[str, Column], roles: Roles, cells: Cells) -> dict[str, Steps]:
    """Columns that order steps, by name, in the order of preference; those without content are left out.

    The first has to be good throughout; what is wrong with the others does not matter.
    """
    name = roles.get("step")
    if name is None:
        return {}
    found: dict[str, Steps] = {}
    for column_name in (name, *roles.alternates.get("step", ())):
        column = columns[column_name]
        gone = _absent(column)
        if gone is not None and gone.all():
            continue
        steps = steps_of(column) if gone is None else None
        if steps is not None:
            found[column_name] = steps
        elif not found:
            raise _unusable(column, column_name, gone, cells)
    return found


def steps_of(column: Column) -> Steps | None:
    """The cells as numbers that can be compared; None if they cannot. None of them is null or NaN."""
    values = column.values
    if column.categories is not None:
        numbers = [_number(label) for label in column.categories]
        if any(number is None for number in numbers):
            return None
        return Steps(np.array(numbers, np.int64)[values], counts=True)
    if values.dtype.kind != "f":
        return Steps(as_integers(values), counts=column.coded is None)
    if not np.isfinite(values).all():
        return None
    fits = np.abs(values.astype(np.float64, copy=False)) < 2.0**63
    is_whole = bool((values == np.floor(values)).all()) and bool(fits.all())
    return Steps(as_integers(values), counts=True) if is_whole else Steps(values, counts=False)


def _number(label: Any) -> int | None:
    """A text that is a whole number, as some tools pad them."""
    return int(label) if isinstance(label, str) and _NUMBER.fullmatch(label) else None


def _absent(column: Column) -> BoolArray | None:
    """Where there is no step: null or NaN; None if nowhere."""
    absent = column.is_null
    if column.values.dtype.kind == "f" and np.isnan(column.values).any():
        absent = np.isnan(column.values) if absent is None else absent | np.isnan(column.values)
    return absent if absent is not None and absent.any() else None


def _unusable(column: Column, name: str, gone: BoolArray | None, cells: Cells) -> DataError:
    if gone is not None:
        first = int(np.argmax(gone))
        what = "null" if column.is_null is not None and column.is_null[first] else "NaN"
        message = (
            f"`{name}` is {what} at {cells.locate(first)} of `{cells.path}`; {int(gone.sum()):,} such in all"
        )
        return DataError(message, hint=f"a step column orders the rows; {_HINT}")
    if column.categories is None:
        odd = ~np.isfinite(column.values)
    else:
        is_odd: Sequence[bool] = [_number(label) is None for label in column.categories]
        odd = np.array(is_odd, np.bool_)[column.values]
    first = int(np.argmax(odd))
    return DataError(
        f"`{name}` is {column.label(first)!r} at {cells.locate(first)} of `{cells.path}`, which does not count "
        f"steps; {int(odd.sum()):,} such in all",
        hint=_HINT,
    )


def as_integers(steps: Array) -> IndexArray:
    """Signed, so that differences of unsigned steps do not wrap around."""
    return steps.astype(np.int64)


def leading(steps: Mapping[str, Steps], same: BoolArray, roles: Roles) -> str | None:
    """The step column to go by: the first that counts, else the first that orders.

    `step` is the training step in dumps of verl and TRL, and stands still. Whoever names a column means it.
    """
    moving = [name for name, column in steps.items() if "step" in roles.explicit or column.move(same)]
    return next((name for name in moving if steps[name].counts), moving[0] if moving else None)


def check_order(steps: Mapping[str, Steps], same: BoolArray, roles: Roles, path: Path) -> None:
    """`UsageError` if two step columns that count order the rows of a trajectory differently."""
    names = [
        name
        for name, column in steps.items()
        if column.counts and ("step" in roles.explicit or column.move(same))
    ]
    for other in names[1:]:
        if not agree_on_order(steps[names[0]].numbers, steps[other].numbers, same):
            raise UsageError(
                f"`{names[0]}` and `{other}` of `{path}` order the rows differently",
                hint=f"say which one counts the steps: `--step-column {word(names[0])}` or "
                f"`--step-column {word(other)}`",
            )


def falls(steps: Array, same: BoolArray) -> BoolArray:
    """[N - 1] the step decreases between neighbours of one trajectory."""
    decreases: BoolArray = same & (steps[1:] < steps[:-1])
    return decreases


def agree_on_order(steps: IndexArray, others: IndexArray, same: BoolArray) -> bool:
    """Two step columns agree if they order the rows of every trajectory alike; their values may differ."""
    return not bool((same & (np.sign(np.diff(steps)) != np.sign(np.diff(others)))).any())


def are_unique(steps: Array, keys: Array) -> bool:
    """No key has a step twice, so that sorting by the step gives one order."""
    order = np.lexsort((steps, keys))
    doubled = (np.diff(steps[order]) == 0) & (keys[order][1:] == keys[order][:-1])
    return not bool(doubled.any())


def true_order(
    columns: Mapping[str, Column],
    steps: Mapping[str, Steps],
    flags: Flags,
    arrangement: Arrangement,
    roles: Roles,
    clock: str | None,
) -> tuple[str, Steps, Sequence[int]] | None:
    """Where rows of a trajectory are out of order: the column that tells, and the rows where the clock does."""
    num_rows = arrangement.placement.num_rows
    same = arrangement.same_trajectory(num_rows)
    moved = {name: column.moved(arrangement.in_lane_order) for name, column in steps.items()}
    name = leading(moved, same, roles)
    if name is not None:
        is_unordered = _is_unordered(moved[name].numbers, flags, arrangement)
        return (name, steps[name], ()) if is_unordered else None
    if clock is None or columns[clock].is_null is not None:
        return None
    times = steps_of(columns[clock])
    if times is None:
        return None
    fallen = np.flatnonzero(falls(arrangement.in_lane_order(times.numbers), same)) + 1
    rows = arrangement.placement.rows_of_steps(fallen).tolist()
    return (clock, replace(times, counts=False), rows) if rows else None


def times_at_ends(clock: Column, arrangement: Arrangement) -> tuple[Array, Array] | None:
    """At both ends of each lane: from block to block the clock may fall, and in none of them."""
    if clock.is_null is not None:
        return None
    first, last = (
        clock.values[arrangement.placement.rows_of_steps(ends)].astype(np.float64)
        for ends in (arrangement.starts, arrangement.stops - 1)
    )
    return first, last


def _is_unordered(steps: Array, flags: Flags, arrangement: Arrangement) -> bool:
    """Rows of a trajectory are out of order, and the steps tell which order it was."""
    same = arrangement.same_trajectory(len(steps))
    if not falls(steps, same).any():
        return False
    if arrangement.id_columns:
        return True
    # Without ids, a step that falls may be a reset: after an end it is one.
    for flag in (flags.terminated, flags.truncated, flags.done):
        if flag is not None:
            same = same & ~arrangement.in_lane_order(flag)[:-1]
    lanes = np.searchsorted(arrangement.starts, np.arange(len(steps)), side="right")
    return bool(falls(steps, same).any()) and are_unique(steps, codes([Column(lanes)], len(steps)))


def stride_of(
    steps: Steps, same: BoolArray, name: str, path: Path, locate: Locate, ways_out: Callable[[], str] = str
) -> int | None:
    """The constant distance between neighbours of a trajectory; `DataError` on doubled or missing steps.

    It is 1 in most files, and the frame skip or the number of environments in some. None where nothing is
    counted: then only the order is checked, and rows of one moment are fine. `ways_out`: how a hint begins.
    """
    numbers = steps.numbers
    if not steps.counts:
        fallen = falls(numbers, same)
        if fallen.any():
            _refuse(fallen, numbers, name, path, locate, ways_out())
        return None
    distances = np.diff(numbers)
    seen = distances[same]
    if not len(seen):
        return None
    stride = int(seen.min())
    if stride <= 0:
        _refuse(same & (distances <= 0), numbers, name, path, locate, ways_out())
    odd = same & (distances != stride)
    if odd.any():
        step = int(np.argmax(odd))
        raise DataError(
            f"`{name}` goes from {numbers[step]} to {numbers[step + 1]} at {locate(step + 1)} of `{path}`, "
            f"{stride} apart elsewhere; {int(odd.sum()):,} such gaps in all",
            hint="steps are missing; restore them, or pass `--step-column none` if it does not count steps",
        )
    return stride


def check_sortable(steps: Steps, keys: Array, name: str, path: Path) -> None:
    """`DataError` where rows that are out of order share a moment, so that it does not say which comes first."""
    if not steps.counts and not are_unique(steps.numbers, keys):
        raise DataError(
            f"rows of `{path}` are out of order, and `{name}` does not tell which it was: it is the same in two "
            "rows of one trajectory",
            hint="sort the rows, or name a column that counts the steps with `--step-column`; `--step-column "
            "none` goes by the order in the file",
        )


def way_out(name: str, steps: Steps, moved: Steps, same: BoolArray, roles: Roles) -> str:
    """For steps that begin anew at one number: in lanes where no id is, else as the rows stand in the file.

    Where they count on beyond an end, they begin anew with what is no episode; but for flags of first steps.
    """
    from gaecli.layouts.evidence.counters import flag_in, use_of_counter

    has_ids = roles.get("episode") is not None
    numbers, follows = (steps.numbers, np.ones(len(same), np.bool_)) if has_ids else (moved.numbers, same)
    flags, number = flag_in(name, numbers, follows) or ("", 0.0)
    if not flags.endswith("start"):  # a step that falls tells of rows in reverse order
        return ""
    before, behind = moved.numbers[:-1], moved.numbers[1:]
    if not has_ids and (~same & (behind > before) & (before != number)).any():
        return f"{_RUNS_ON}, as from one rollout to the next; else "
    return f"{use_of_counter(name, (f'--episode-column none {flags}' if has_ids else flags, number))}; else "


_RUNS_ON = "pass `--step-column none` if a trajectory runs on there"


def _refuse(
    doubled: BoolArray, steps: Array, name: str, path: Path, locate: Locate, way_out: str = ""
) -> None:
    step = int(np.argmax(doubled))
    if steps[step] == steps[step + 1]:
        last = "" if _RUNS_ON in way_out else "; or pass `--step-column none` if it does not count steps"
        raise DataError(
            f"`{name}` is {steps[step]} twice in one trajectory, the second time at "
            f"{locate(step + 1)} of `{path}`; {int(doubled.sum()):,} such in all",
            hint=f"{way_out}rows are repeated, or several environments stand in one file: name what tells them apart "
            f"with `--env-column` or `--episode-column`{last}",
        )
    last = "" if _RUNS_ON in way_out else f"; or {_RUNS_ON}"
    raise DataError(
        f"`{name}` falls from {steps[step]} to {steps[step + 1]} at {locate(step + 1)} of `{path}` without an "
        f"end of the episode before it; {int(doubled.sum()):,} such in all",
        hint=f"{way_out}name what tells trajectories apart with `--env-column` or `--episode-column`, or the end "
        f"flag with `--done-column`{last}",
    )
