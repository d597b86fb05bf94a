"""V(sₜ₊₁) as far as the file gives it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from gaecli.array_types import Array, BoolArray, FloatArray, IndexArray
from gaecli.columns import Roles
from gaecli.formats.base import Column
from gaecli.layouts.cells import Cells
from gaecli.layouts.padding import Padding

#: Columns that are filled at the end of a trajectory only; what stands in their other rows is filler.
ENDS_ONLY = frozenset(
    {"values_bootstrapped", "terminal_values", "bootstrap_value", "last_value", "last_values", "final_values"}
)

#: Those of them that hold 0 everywhere else, the last step of a rollout included.
_ZERO_FILLED = frozenset({"final_values"})


def given_values(
    columns: Mapping[str, Column],
    roles: Roles,
    in_lanes: Callable[[Array], Array],
    padding: Padding | None,
    cells: Cells,
) -> list[tuple[str, Array]]:
    """V(sₜ₊₁) as far as columns and padding rows give it, in the order in which they count."""
    found = [
        (name, in_lanes(cells.optional_numbers(columns[name], name)))
        for role in ("next_value", "bootstrap_value")
        if (name := roles.get(role)) is not None and name in columns
    ]
    value = roles.get("value")
    if padding is not None and value is not None:
        found.append((value, padding.next_values(in_lanes(cells.optional_numbers(columns[value], value)))))
    return found


def merge_next_values(
    found: Sequence[tuple[str, Array]],
    terminated: BoolArray,
    cuts: BoolArray,
    cells: Cells,
) -> tuple[Array | None, BoolArray | None]:
    """([N] next values, NaN where not given; where one cannot be used). The first column given wins.

    A terminated step has no next value, whatever stands there. Inside a trajectory an infinite cell
    counts as not given, for the next row has the value; at a cut it is an error.
    """
    merged: Array | None = None
    bad: BoolArray | None = None
    for name, given in found:
        wrong = cells.check_next_values(given, cuts & ~terminated, name)
        bad = wrong if bad is None else bad if wrong is None else bad | wrong
        unused = terminated | ~np.isfinite(given)
        if name in ENDS_ONLY:
            unused |= ~cuts
        if name in _ZERO_FILLED:
            unused |= given == 0
        used = np.where(unused, given.dtype.type(np.nan), given)
        merged = used if merged is None else np.where(np.isnan(merged), used, merged)
    return merged, bad


def values_beyond(found: Sequence[tuple[str, Array]], last: IndexArray) -> FloatArray | None:
    """V(sₜ₊₁) of the last step of each lane from columns that hold it at ends only, NaN where not given.

    Whether that step is an end, only the blocks after this one know. None without such columns.
    """
    beyond: FloatArray | None = None
    for name, given in found:
        if name not in ENDS_ONLY:
            continue
        at_last = given[last].astype(np.float64)
        at_last[~np.isfinite(at_last)] = np.nan
        if name in _ZERO_FILLED:
            at_last[at_last == 0] = np.nan
        beyond = at_last if beyond is None else np.where(np.isnan(beyond), at_last, beyond)
    return beyond
