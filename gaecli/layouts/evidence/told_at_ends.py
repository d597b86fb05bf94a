"""Columns that hold something at a few steps alone: the length or the return of an episode, told where it ended.

Wrappers that record statistics (`RecordEpisodeStatistics`, `Monitor`) put them into the infos of the last step, and
whoever stores these in arrays has 0, -1, NaN or null at all other steps.
"""

from __future__ import annotations

import numpy as np

from gaecli.array_types import Array, BoolArray, IndexArray
from gaecli.formats.base import Column
from gaecli.names import tells_at_ends

#: So many lengths that fit are no chance.
_FEWEST = 2


def told_cells(
    name: str, column: Column, steps: Array | None, starts: IndexArray
) -> tuple[str, BoolArray] | None:
    """(the test that takes them, the cells that hold something) of a column that says little elsewhere.

    Args:
        name: what the column is called: it may say so by that, or by lengths that fit.
        column: its cells, as they stand in the file.
        steps: its numbers in the order of steps; None where that is not known.
        starts: the first step of every lane.
    """
    values = column.values
    if values.dtype.kind not in "iuf" or column.categories is not None or not values.size:
        return None
    test, where = _present(column)
    if not where.any() or 2 * int(np.count_nonzero(where)) > where.size:
        return (test, where) if tells_at_ends(name) else None
    fits = steps is not None and _count_back(steps, starts)
    return (test, where) if fits or tells_at_ends(name) else None


def _present(column: Column) -> tuple[str, BoolArray]:
    """What is neither missing nor 0, or -1 where nothing is 0."""
    values, missing = column.values, column.missing
    if missing is not None:
        return ("!=null" if column.is_null is not None else "!=nan"), ~missing
    none = -1 if not (values == 0).any() and (values == -1).any() else 0
    return f"!={none}", values != none


def _count_back(steps: Array, starts: IndexArray) -> bool:
    """Whether each number is that of the steps since the one before it; what ends first in a lane may be older."""
    with np.errstate(invalid="ignore"):
        places = np.flatnonzero(steps > 0)
    lanes = np.searchsorted(starts, places, side="right")
    distances, is_same = np.diff(places), np.diff(lanes) == 0
    told = steps[places[1:]][is_same]
    return len(told) >= _FEWEST and bool((told == distances[is_same]).all()) and bool((told > 1).any())
