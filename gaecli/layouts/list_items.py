"""Items of lists: which of them count, which is the last of its row, and cells of rows as cells of items."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from gaecli.array_types import BoolArray, IndexArray
from gaecli.formats.base import Column
from gaecli.layouts.cells import Locate
from gaecli.layouts.padding import Padding
from gaecli.records import dataclass


@dataclass(frozen=True, eq=False)
class CountedItems:
    """Which items of the lists of a block are steps, and which of those count."""

    mask: BoolArray | None
    #: Items whose numbers enter, by the mask; None: all.
    used: BoolArray | None
    padding: Padding | None

    @property
    def is_step(self) -> BoolArray | None:
        return None if self.padding is None else ~self.padding.rows

    @property
    def counted(self) -> BoolArray | None:
        """Those of `used` that are steps."""
        if self.padding is None:
            return self.used
        return ~self.padding.rows if self.used is None else self.used & ~self.padding.rows


@dataclass(frozen=True, eq=False)
class ListEnds:
    """Where the trajectories of a block of lists end; [items] each."""

    terminated: BoolArray
    truncated: BoolArray
    cuts: BoolArray
    #: The last item of every list that has one.
    last: IndexArray
    #: Flags that cannot be read.
    bad_flags: Sequence[BoolArray]

    @property
    def ended(self) -> BoolArray:
        return self.terminated | self.truncated


def item_locator(start: int, offsets: IndexArray) -> Locate:
    row_of = row_locator(start, offsets)

    def locate(item: int) -> str:
        row = row_of(item)
        return f"row {row}, item {item - int(offsets[row - start])}"

    return locate


def row_locator(start: int, offsets: IndexArray) -> Callable[[int], int]:
    """The row of the file that an item stands in."""
    return lambda item: start + int(np.searchsorted(offsets, item, side="right")) - 1


def last_items(offsets: IndexArray) -> IndexArray:
    """Index of the last item of every list that has one."""
    return offsets[1:][np.diff(offsets) > 0] - 1


def has_next_item(offsets: IndexArray) -> BoolArray:
    """[items - 1] the next item is of the same list."""
    has = np.ones(max(int(offsets[-1]) - 1, 0), np.bool_)
    last = last_items(offsets)
    has[last[last < len(has)]] = False
    return has


def has_later_item(offsets: IndexArray) -> BoolArray:
    """[items] a later item is of the same list."""
    has = np.ones(int(offsets[-1]), np.bool_)
    has[last_items(offsets)] = False
    return has


def has_later(used: BoolArray, offsets: IndexArray) -> BoolArray:
    """[items] a later item of the same list takes part."""
    until = np.concatenate(([0], np.cumsum(used)))
    at_end = np.repeat(until[offsets[1:]], np.diff(offsets))
    has: BoolArray = until[1:] < at_end
    return has


def on_last_items(column: Column, offsets: IndexArray, fill: object, *, else_null: bool = False) -> Column:
    """One number per row, moved to the last item of its list; null elsewhere, or `fill`."""
    has_items = np.diff(offsets) > 0
    last = last_items(offsets)
    values = np.full(int(offsets[-1]), fill, dtype=column.values.dtype)
    values[last] = column.values[has_items]
    is_null = np.full(len(values), else_null)
    is_null[last] = False if column.is_null is None else column.is_null[has_items]
    return Column(values, is_null if is_null.any() else None)


def repeated(column: Column, offsets: IndexArray) -> Column:
    """The cell of a row, for every item of its list."""
    index = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    is_null = None if column.is_null is None else column.is_null[index]
    return Column(column.values[index], is_null, categories=column.categories)


def ends_of_starts(starts: BoolArray, offsets: IndexArray) -> BoolArray:
    ends = np.zeros_like(starts)
    ends[:-1] = starts[1:]
    ends[last_items(offsets)] = False
    return ends
