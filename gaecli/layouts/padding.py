"""Rows that hold a state and no action: the last row of an episode in Minari tables and in RLDS.

Its value is V(s_T), the bootstrap of the step before it, unless that state is terminal. Reward and flags
of the row itself mean nothing, and it gets no advantage.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from gaecli.array_types import Array, BoolArray, IndexArray
from gaecli.columns import Roles
from gaecli.errors import DataError
from gaecli.formats.base import Column
from gaecli.layouts.behind import NOTHING_BEHIND, Behind
from gaecli.layouts.cells import Cells
from gaecli.records import dataclass
from gaecli.shell_words import word


@dataclass(frozen=True, eq=False)
class Padding:
    """The padding rows of a block, in the order of its steps."""

    #: [N] the row is padding.
    rows: BoolArray
    #: [N] its state is terminal. None: the flags of the step before it say so.
    terminal: BoolArray | None
    #: [N] the observation begins an episode. None: nothing says so.
    starts: BoolArray | None
    #: Steps whose next row is the padding row of their trajectory.
    before: IndexArray
    #: The same where that row would be behind the last one; and whether its state is terminal.
    before_end: IndexArray
    ends_terminal: BoolArray | None

    @classmethod
    def read(
        cls,
        columns: Mapping[str, Column],
        roles: Roles,
        cells: Cells,
        in_lanes: Callable[[Array], Array],
        same: BoolArray,
        behind: Behind = NOTHING_BEHIND,
    ) -> Padding | None:
        """`same`: [N - 1] the steps t and t + 1 belong to one trajectory, going by lanes and ids."""
        if roles.get("padding") is None:
            return None
        found = _flags(columns, roles, cells)
        _check_terminal(found, roles, cells)
        rows = in_lanes(found["padding"])
        terminal = in_lanes(found["padding_terminal"]) if "padding_terminal" in found else None
        starts = in_lanes(found["first"]) if "first" in found else None
        follows = same & rows[1:] & ~rows[:-1]
        if starts is not None:
            follows &= ~starts[1:]
        last = behind.steps(in_lanes, len(rows))
        beyond = _flags(behind.columns, roles, cells)
        is_padding = beyond["padding"] & ~rows[last] if "padding" in beyond else np.zeros(len(last), np.bool_)
        if "first" in beyond:
            is_padding &= ~beyond["first"]
        ends_terminal = beyond["padding_terminal"][is_padding] if "padding_terminal" in beyond else None
        return cls(rows, terminal, starts, np.flatnonzero(follows), last[is_padding], ends_terminal)

    def ends(self, terminated: BoolArray, truncated: BoolArray) -> tuple[BoolArray, BoolArray]:
        """The end flags of the steps: what stands on a padding row is about the step before it, or nothing."""
        terminated, truncated = terminated & ~self.rows, truncated & ~self.rows
        if self.terminal is not None:
            terminated[self.before] |= self.terminal[self.before + 1]
        if self.ends_terminal is not None:
            terminated[self.before_end] |= self.ends_terminal
        if self.terminal is not None or self.ends_terminal is not None:
            truncated &= ~terminated
        return terminated, truncated

    def uncut(self, same: BoolArray) -> BoolArray:
        """[N - 1] neighbours that are steps of one trajectory."""
        joined: BoolArray = same & ~self.rows[1:] & ~self.rows[:-1]
        if self.starts is not None:
            joined &= ~self.starts[1:]
        return joined

    def next_values(self, values: Array) -> Array:
        """[N] V(sₜ₊₁) where the next row is padding, NaN elsewhere. `values`: NaN where not given."""
        given = np.full(len(values), np.nan)
        given[self.before] = values[self.before + 1]
        return given

    def of_first(self, lane_starts: IndexArray) -> npt.NDArray[np.int8]:
        """Per lane: 1 where its first row is padding of a terminal state, 0 where of another; -1 elsewhere."""
        terminal = self.rows & False if self.terminal is None else self.terminal
        return np.where(self.rows[lane_starts], terminal[lane_starts], -1).astype(np.int8)


def used_cells(
    columns: Mapping[str, Column], roles: Roles, cells: Cells, kept: BoolArray | None
) -> BoolArray | None:
    """[rows] whose reward and value must be numbers, of those that a mask keeps; None: all."""
    name = roles.get("padding")
    if name is None:
        return kept
    steps = ~cells.flags(columns[name], name)[0]
    return steps if kept is None else steps & kept


def _flags(columns: Mapping[str, Column], roles: Roles, cells: Cells) -> dict[str, BoolArray]:
    return {
        role: cells.flags(columns[name], name)[0]
        for role in ("padding", "padding_terminal", "first")
        if (name := roles.get(role)) is not None and name in columns
    }


def _check_terminal(found: Mapping[str, BoolArray], roles: Roles, cells: Cells) -> None:
    if "padding_terminal" not in found:
        return
    odd = found["padding_terminal"] & ~found["padding"]
    if odd.any():
        first = int(np.argmax(odd))
        raise DataError(
            f"`{roles.names['padding_terminal']}` is set at {cells.locate(first)} of `{cells.path}`, where "
            f"`{roles.names['padding']}` is not; {int(odd.sum()):,} such in all",
            hint="in RLDS the last row of an episode holds its last state; if every row is a step here, pass "
            f"`--done-column {word(roles.names['padding'])}`",
        )
