"""Trajectory keys of long tables: which rows belong together, and in which order they follow in time."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from gaecli.array_types import Array, BoolArray, IndexArray, Names
from gaecli.formats.base import Column
from gaecli.records import dataclass

#: Where keys come back, they do so among so many rows, but for long runs.
_FIRST_ROWS = 1 << 12
#: Codes in a range this small are sorted by radix, which is ten times faster than a merge sort; of one byte in one
#: pass, of two in two.
_RADIX_TYPES = (np.uint8, np.uint16)


@dataclass(frozen=True, eq=False)
class KeyRuns:
    """Maximal runs of rows with an equal key: run k is rows starts[k] up to starts[k + 1]."""

    starts: IndexArray  # [R + 1]
    columns: Sequence[Column]
    changes: BoolArray  # [rows - 1] where one ends

    @property
    def count(self) -> int:
        return len(self.starts) - 1

    def labels(self) -> Array | list[Hashable]:
        """One per run: the numbers themselves where the key is one column of numbers."""
        column = self.columns[0]
        if len(self.columns) == 1 and column.categories is None and column.is_null is None:
            return column.values[self.starts[:-1]]
        return labels_at(self.columns, self.starts[:-1])

    @property
    def reappears(self) -> bool:
        return has_duplicates(self.labels())


def come_back_soon(column: Column) -> bool:
    """A key is there again after others, among the first rows already."""
    is_null = None if column.is_null is None else column.is_null[:_FIRST_ROWS]
    first = Column(column.values[:_FIRST_ROWS], is_null, categories=column.categories)
    return runs([first], len(first.values)).reappears


def has_duplicates(labels: Array | Sequence[Hashable]) -> bool:
    if not isinstance(labels, np.ndarray):
        return len(set(labels)) < len(labels)
    if bool((labels[1:] > labels[:-1]).all()):  # ids that count upwards, the usual case
        return False
    if len(labels) > _FIRST_ROWS and has_duplicates(labels[:_FIRST_ROWS]):
        return True
    return len(np.unique(labels, return_index=True)[0]) < len(labels)  # without, it imports numpy.ma


def first_duplicate(labels: Array | Sequence[Hashable]) -> Hashable:
    """The first label that was there before; None if there is none."""
    seen: set[Hashable] = set()
    for label in labels.tolist() if isinstance(labels, np.ndarray) else labels:
        if label in seen:
            return label
        seen.add(label)
    return None


def change_points(columns: Sequence[Column]) -> BoolArray | None:
    """[n - 1] True where the key of row t + 1 differs from that of row t; None without key columns."""
    changes: BoolArray | None = None
    for column in columns:
        differs = column.values[1:] != column.values[:-1]
        if column.is_null is not None:
            differs = differs | (column.is_null[1:] != column.is_null[:-1])
        changes = differs if changes is None else changes | differs
    return changes


def names_at(columns: Sequence[Column], rows: IndexArray) -> Names:
    """The key of each of `rows`, as integers if it is one column of them; None each without columns."""
    if not columns:
        return [None] * len(rows)
    column = columns[0]
    is_plain = column.categories is None and (column.is_null is None or not column.is_null[rows].any())
    if len(columns) == 1 and is_plain and np.can_cast(column.values.dtype, np.int64):
        return column.values[rows].astype(np.int64)
    return labels_at(columns, rows)


def as_labels(names: Names) -> Sequence[Hashable]:
    """As `labels_at` gives them."""
    return [(name,) for name in names.tolist()] if isinstance(names, np.ndarray) else names


def numbered(names: Sequence[Names]) -> list[IndexArray]:
    """A number for every name, equal where the names are."""
    return np.split(numbers_of(names), np.cumsum([len(part) for part in names])[:-1]) if names else []


def numbers_of(names: Sequence[Names]) -> IndexArray:
    """The same of all of them, one after the other."""
    if all(isinstance(part, np.ndarray) or not any(name is not None for name in part) for part in names):
        return _numbers_of_integers(names)
    known: dict[Hashable, int] = {}
    every = (name for part in names for name in as_labels(part))
    count = sum(len(part) for part in names)
    return np.fromiter((known.setdefault(name, len(known)) for name in every), np.int64, count)


def _numbers_of_integers(names: Sequence[Names]) -> IndexArray:
    """The same where all are integers or None, whose number is 0; without an object for any of them."""
    integers = [part for part in names if isinstance(part, np.ndarray)]
    _, numbers = np.unique(np.concatenate([np.zeros(0, np.int64), *integers]), return_inverse=True)
    is_integer = np.repeat([isinstance(part, np.ndarray) for part in names], [len(part) for part in names])
    found = np.zeros(len(is_integer), np.int64)
    found[is_integer.astype(np.bool_)] = numbers + 1
    return found


def labels_at(columns: Sequence[Column], rows: IndexArray) -> list[Hashable]:
    """The key of each of `rows` as a tuple of plain values."""
    parts = []
    for column in columns:
        values: list[Any] = column.values[rows].tolist()
        if column.categories is not None:
            values = [column.categories[code] if code >= 0 else None for code in values]
        if column.is_null is not None:
            missing = column.is_null[rows].tolist()
            values = [None if gone else value for value, gone in zip(values, missing, strict=True)]
        parts.append(values)
    return list(zip(*parts, strict=True))


def runs(columns: Sequence[Column], num_rows: int) -> KeyRuns:
    changes = change_points(columns)
    assert changes is not None
    starts = np.concatenate(([0], np.flatnonzero(changes) + 1, [num_rows])).astype(np.int64)
    return KeyRuns(starts, columns, changes)


def codes(columns: Sequence[Column], num_rows: int) -> Array:
    """One integer per row, equal where the whole key is equal; as narrow as its range allows."""
    combined: Array | None = None
    for column in columns:
        narrow = _narrow(column.values)
        if column.is_null is not None:
            # Beside all others: of 64 bits no value may be free to stand for null.
            _, found = np.unique(narrow, return_inverse=True)
            narrow = _narrow(np.where(column.is_null, -1, found.reshape(-1)))
        if combined is None:
            combined = narrow
        else:
            pair = np.stack([combined.astype(np.int64), narrow.astype(np.int64)])
            _, inverse = np.unique(pair, axis=1, return_inverse=True)
            combined = _narrow(inverse.reshape(-1))
    return combined if combined is not None else np.zeros(num_rows, np.uint16)


def regular_period(column: Column) -> int | None:
    """N if the rows are (k0, k1, ..., kN-1) again and again: a time-major log of N environments.

    The last time may be the beginning of one. None where a key is missing: that is no value to compare.
    """
    values = column.values
    if column.is_null is not None or len(values) < 2:
        return None
    period = _first_again(values)
    if period is None or period < 2 or not _are_distinct(values[:period]):
        return None
    return period if bool((values[period:] == values[:-period]).all()) else None


def _first_again(values: Array) -> int | None:
    """The first row behind the first one with the same value."""
    for rows in (values[1:_FIRST_ROWS], values[1:]):  # of all rows only where it must be
        again = rows == values[0]
        first = int(np.argmax(again))
        if again[first]:
            return first + 1
    return None


def _are_distinct(values: Array) -> bool:
    return len(np.unique(values, return_index=True)[0]) == len(values)


def cells_of_times(codes: Array) -> IndexArray | None:
    """Where each row stands in a table [T, N] with a column for each code, if every N rows hold each of N codes once.

    A log of environments that step together, and report in any order. None where it is another one.
    """
    if codes.dtype not in _RADIX_TYPES or not len(codes):
        return None
    period = int(codes.max()) + 1
    if period < 2 or len(codes) % period:
        return None
    first = np.bincount(codes[:period], minlength=period)
    if (first != 1).any():
        return None
    times = np.arange(0, len(codes), period)
    cells = np.add(codes.reshape(-1, period), times[:, None], dtype=np.int64).reshape(-1)
    is_there = np.zeros(len(codes), np.bool_)
    is_there[cells] = True
    return cells if is_there.all() else None


def _narrow(values: Array) -> Array:
    if values.dtype.kind not in "iub":
        _, values = np.unique(values, return_inverse=True)
    if not len(values):
        return values.astype(np.uint16)
    lowest, highest = int(values.min()), int(values.max())
    for dtype in _RADIX_TYPES:
        largest = np.iinfo(dtype).max
        if highest - lowest <= largest:
            # Modulo 2^8 or 2^16, so that it does not matter which digits of either are lost.
            narrow: Array = values.astype(dtype)
            narrow -= dtype(lowest % (largest + 1))
            return narrow
    return values
