"""What is observed once more than there are steps: T rewards, and T + 1 values or flags.

Entry t is of the state that step t begins in, so that entry t + 1 is of the state that it leads to: a flag
there speaks of step t, whatever it is called, and the last value is V(s_T).
"""

from __future__ import annotations

import numpy as np

from gaecli.array_types import Array, IndexArray
from gaecli.formats.base import Column


def is_one_longer(column: Column, offsets: IndexArray) -> bool:
    """Every list has one item more than its row has steps, or both are empty. `offsets`: those of the rewards."""
    if column.offsets is None:
        return False
    items, steps = np.diff(column.offsets), np.diff(offsets)
    is_longer = items == steps + 1
    return bool(is_longer.any() and (is_longer | ((items == 0) & (steps == 0))).all())


def of_steps(column: Column) -> Column:
    """What each step begins with: all but the last item of every list that is one longer."""
    return _without(column, _filled(column)[1] - 1)


def after_steps(column: Column) -> Column:
    """What each step leads to: all but the first item of every list that is one longer."""
    return _without(column, _filled(column)[0])


def after_last(column: Column) -> Column:
    """[rows] what is behind the last step: the last item of every list that is one longer; null without items."""
    assert column.offsets is not None
    has_items = np.diff(column.offsets) > 0
    last = np.where(has_items, column.offsets[1:] - 1, 0)
    is_null = ~has_items if column.is_null is None else ~has_items | column.is_null[last]
    return Column(column.values[last], is_null if is_null.any() else None)


def split_off_last(cells: Array, num_times: int, axis: int) -> tuple[Array, Array | None]:
    """(what each step begins with, what is behind the last one) along the axis of time; None if nothing is."""
    steps, behind = np.split(cells, [num_times], axis)
    return steps, np.take(behind, 0, axis) if behind.shape[axis] else None


def split_off_first(cells: Array, num_times: int, axis: int) -> Array:
    """What each step leads to, along the axis of time, out of cells that are one longer."""
    return np.take(cells, range(1, num_times + 1), axis)


def _filled(column: Column) -> tuple[IndexArray, IndexArray]:
    """(first items, ends) of the lists that have items."""
    assert column.offsets is not None
    has_items = np.diff(column.offsets) > 0
    return column.offsets[:-1][has_items], column.offsets[1:][has_items]


def _without(column: Column, items: IndexArray) -> Column:
    assert column.offsets is not None
    kept = np.ones(len(column.values), np.bool_)
    kept[items] = False
    null = column.is_null
    removed = np.concatenate(([0], np.cumsum(np.diff(column.offsets) > 0)))
    return Column(
        column.values[kept],
        None if null is None else null[kept],
        column.offsets - removed,
        categories=column.categories,
    )
