"""What stands behind the last step of each lane: the last of T + 1 values or flags, `last_value`, `last_dones`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from gaecli.array_types import Array, BoolArray, IndexArray
from gaecli.columns import Roles, flag_of
from gaecli.errors import DataError
from gaecli.formats.base import Column
from gaecli.layouts.arrange import Arrangement
from gaecli.layouts.cells import Cells
from gaecli.layouts.keys import as_labels
from gaecli.records import dataclass


@dataclass(frozen=True, eq=False)
class Behind:
    """Of the lanes whose last step a block holds."""

    #: [lanes] rows of those steps.
    rows: IndexArray
    #: Column -> [lanes] what it has there.
    columns: Mapping[str, Column]

    def steps(self, in_lanes: Callable[[Array], Array], num_rows: int) -> IndexArray:
        """[lanes] where those rows come in the order of the steps."""
        if not len(self.rows):
            return self.rows
        lanes = np.full(num_rows, -1, np.int64)
        lanes[self.rows] = np.arange(len(self.rows))
        lanes = in_lanes(lanes)
        steps = np.flatnonzero(lanes >= 0)
        found = np.empty(len(self.rows), np.int64)
        found[lanes[steps]] = steps
        return found


NOTHING_BEHIND = Behind(np.zeros(0, np.int64), {})


def final_flags(behind: Behind, roles: Roles, last: IndexArray, cells: Cells) -> BoolArray | None:
    """[lanes] whether the last step of each ended its episode, where a flag by itself says so."""
    name = roles.get("final_done")
    if name is None or name not in behind.columns:
        return None
    lane_cells = replace(cells, locate=lambda lane: cells.locate(int(last[lane])))
    return lane_cells.flags(behind.columns[name], name)[0]


def values_behind(
    behind: Behind, roles: Roles, last: IndexArray, is_other: BoolArray, num_steps: int, cells: Cells
) -> list[tuple[str, Array]]:
    """V(sₜ₊₁) of the last steps, in the order in which they count. `is_other`: the state is of another trajectory."""
    found = []
    for role in ("value", "bootstrap_value"):
        name = roles.get(role)
        if name is not None and name in behind.columns:
            given = np.full(num_steps, np.nan)
            numbers = cells.optional_numbers(behind.columns[name], name)
            given[last] = np.where(is_other, np.nan, numbers)
            found.append((name, given))
    return found


def check_behind(
    behind: Behind, roles: Roles, last: IndexArray, arrangement: Arrangement, cells: Cells
) -> None:
    """One value behind all rows is that of the last step of the only lane, or nobody knows whose."""
    if arrangement.is_by_shape:
        return
    names = {role: roles.get(role) for role in ("value", "bootstrap_value", "final_done")}
    found = {role: name for role, name in names.items() if name in behind.columns}
    if not found:
        return
    num_lanes = len(set(as_labels(arrangement.keys)))
    if num_lanes <= 1 and np.isin(last, arrangement.stops - 1).all():
        return
    for role, name in found.items():
        why = (
            f"there are {num_lanes:,} environments" if num_lanes > 1 else "rows are not in the order of time"
        )
        way_out = "drop it" if role == "value" else f"pass `{flag_of(role)} none` to do without"
        raise DataError(
            f"`{name}` of `{cells.path}` has one number for the state behind the last row, "
            f"{cells.locate(int(last[0]))}, but {why}",
            hint=f"sort the rows, or give the value of each next state with `--next-value-column`; {way_out}",
        )
