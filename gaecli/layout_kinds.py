"""Which layouts there are, and what a row is in each. One row here, and one module, make one.

Plain data below everything that reads: settings are checked against it, and nothing is imported for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

#: One step of some trajectory; a list of steps, which is a trajectory or holds several; a cell of an array, whose
#: indices say which step it is.
RowIs = Literal["step", "trajectory", "cell"]


class LayoutKind(NamedTuple):
    """One row of the table."""

    #: As `--layout` has it.
    name: str
    #: One line for lists.
    summary: str
    row_is: RowIs
    #: Where `recognise(file, roles, settings, order)` gives the `Layout` (`gaecli.layouts.base`) of a file, or None
    #: where shapes say that it has another one, and `why(file, layout, settings)` tells what it was known by.
    module: str


#: As lists show them. `auto` asks the last one first: what takes more to recognise stands behind what takes less.
_ROWS = (
    LayoutKind(
        name="long",
        summary="a row per step",
        row_is="step",
        module="gaecli.layouts.row_layouts",
    ),
    LayoutKind(
        name="nested",
        summary="a row per trajectory, its steps in lists",
        row_is="trajectory",
        module="gaecli.layouts.list_layouts",
    ),
    LayoutKind(
        name="time-major",
        summary="arrays [T, N]: a row per time, a lane per environment",
        row_is="cell",
        module="gaecli.layouts.array_layouts",
    ),
    LayoutKind(
        name="batch-major",
        summary="arrays [B, T]: a row per trajectory or environment",
        row_is="cell",
        module="gaecli.layouts.array_layouts",
    ),
    LayoutKind(
        name="responses",
        summary="a row per trajectory, with one reward: its score",
        row_is="trajectory",
        module="gaecli.layouts.responses",
    ),
)

#: By name.
LAYOUTS: Mapping[str, LayoutKind] = {row.name: row for row in _ROWS}
