"""The step column: it orders the rows of a trajectory, and shows what is missing or doubled."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from gaecli.columns import Roles
from gaecli.errors import DataError, UsageError
from gaecli.formats.base import Column
from gaecli.layouts.cells import Cells, Locate
from gaecli.rollouts import Array, BoolArray, IndexArray


def read_steps(columns: Mapping[str, Column], roles: Roles, cells: Cells) -> dict[str, IndexArray]:
    """Columns that count steps, by name, in the order of preference; those without content are left out."""
    name = roles.get("step")
    if name is None:
        return {}
    found: dict[str, IndexArray] = {}
    for column_name in (name, *roles.alternates.get("step", ())):
        column = columns[column_name]
        if column.is_null is None:
            found[column_name] = _whole_numbers(column.values, column_name, cells)
        elif not column.is_null.all():
            first = int(np.argmax(column.is_null))
            raise DataError(
                f"`{column_name}` is null at {cells.locate(first)} of `{cells.path}`; "
                f"{int(column.is_null.sum()):,} such in all",
                hint="a step column orders the rows; pass `--step-column none` to go by the order in the file",
            )
    return found


def _whole_numbers(steps: Array, name: str, cells: Cells) -> IndexArray:
    if steps.dtype.kind == "f":
        odd = steps != np.floor(steps)  # NaN and inf as well
        odd |= ~np.isfinite(steps)
        if odd.any():
            first = int(np.argmax(odd))
            raise DataError(
                f"`{name}` is {steps[first]} at {cells.locate(first)} of `{cells.path}`, which does not count "
                f"steps; {int(odd.sum()):,} such in all",
                hint="a step column holds whole numbers; name another one with `--step-column`, or pass "
                "`--step-column none`",
            )
    return as_integers(steps)


def as_integers(steps: Array) -> IndexArray:
    """Signed, so that differences of unsigned steps do not wrap around."""
    return steps.astype(np.int64)


def counting(steps: Mapping[str, IndexArray], same: BoolArray, roles: Roles) -> tuple[str, IndexArray] | None:
    """The step column to go by. One that stands still in every trajectory counts something else.

    `step` is the training step in dumps of verl and TRL. Whoever names a column means it.
    """
    for name, numbers in steps.items():
        moves = not same.any() or bool((np.diff(numbers) != 0)[same].any())
        if moves or "step" in roles.explicit:
            return name, numbers
    return None


def check_order(steps: Mapping[str, IndexArray], same: BoolArray, roles: Roles, path: Path) -> None:
    """`UsageError` if two step columns order the rows of a trajectory differently."""
    moving = {
        name: numbers
        for name, numbers in steps.items()
        if not same.any() or (np.diff(numbers) != 0)[same].any() or "step" in roles.explicit
    }
    names = list(moving)
    for other in names[1:]:
        if not agree_on_order(moving[names[0]], moving[other], same):
            raise UsageError(
                f"`{names[0]}` and `{other}` of `{path}` order the rows differently",
                hint=f"say which one counts the steps: `--step-column {names[0]}` or `--step-column {other}`",
            )


def falls(steps: IndexArray, same: BoolArray) -> bool:
    """Whether the step decreases somewhere between neighbours of one trajectory."""
    return bool((same & (steps[1:] < steps[:-1])).any())


def agree_on_order(steps: IndexArray, others: IndexArray, same: BoolArray) -> bool:
    """Two step columns agree if they order the rows of every trajectory alike; their values may differ."""
    return not bool((same & (np.sign(np.diff(steps)) != np.sign(np.diff(others)))).any())


def are_unique(steps: IndexArray, keys: Array) -> bool:
    """No key has a step twice, so that sorting by the step gives one order."""
    order = np.lexsort((steps, keys))
    doubled = (np.diff(steps[order]) == 0) & (keys[order][1:] == keys[order][:-1])
    return not bool(doubled.any())


def stride_of(steps: IndexArray, same: BoolArray, name: str, path: Path, locate: Locate) -> int | None:
    """The constant distance between neighbours of a trajectory; `DataError` on doubled or missing steps.

    It is 1 in most files, and the frame skip or the number of environments in some.
    """
    distances = np.diff(steps)
    seen = distances[same]
    if not len(seen):
        return None
    stride = int(seen.min())
    if stride <= 0:
        _refuse(same & (distances <= 0), steps, name, path, locate)
    odd = same & (distances != stride)
    if odd.any():
        step = int(np.argmax(odd))
        raise DataError(
            f"`{name}` goes from {steps[step]} to {steps[step + 1]} at {locate(step + 1)} of `{path}`, "
            f"{stride} apart elsewhere; {int(odd.sum()):,} such gaps in all",
            hint="steps are missing; restore them, or pass `--step-column none` if it does not count steps",
        )
    return stride


def _refuse(doubled: BoolArray, steps: IndexArray, name: str, path: Path, locate: Locate) -> None:
    step = int(np.argmax(doubled))
    if steps[step] == steps[step + 1]:
        raise DataError(
            f"`{name}` is {steps[step]} twice in one trajectory, the second time at "
            f"{locate(step + 1)} of `{path}`; {int(doubled.sum()):,} such in all",
            hint="rows are repeated, or several environments stand in one file: name what tells them apart "
            "with `--env-column` or `--episode-column`",
        )
    raise DataError(
        f"`{name}` falls from {steps[step]} to {steps[step + 1]} at {locate(step + 1)} of `{path}` without an "
        f"end of the episode before it; {int(doubled.sum()):,} such in all",
        hint="name the end flag with `--done-column`, what tells trajectories apart with `--env-column` or "
        "`--episode-column`, or pass `--step-column none` if it does not count steps",
    )
