"""V(sₜ₊₁) as far as the file gives it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gaecli.layouts.cells import Cells
from gaecli.rollouts import Array, BoolArray

#: Columns that are filled at the end of a trajectory only; what stands in their other rows is filler.
ENDS_ONLY = frozenset(
    {"values_bootstrapped", "terminal_values", "bootstrap_value", "last_value", "last_values"}
)


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
            # The last step of a lane may be an end: only its successor, if there is one, knows.
            unused |= ~cuts & _has_successor(len(cuts))
        used = np.where(unused, given.dtype.type(np.nan), given)
        merged = used if merged is None else np.where(np.isnan(merged), used, merged)
    return merged, bad


def _has_successor(num_steps: int) -> BoolArray:
    has = np.ones(num_steps, np.bool_)
    if num_steps:
        has[-1] = False
    return has
