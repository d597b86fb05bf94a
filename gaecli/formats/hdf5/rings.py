"""Which rows of a buffer hold steps, and which is the first, by what was saved along with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from gaecli.errors import UsageError
from gaecli.formats.base import Remark
from gaecli.formats.hdf5.objects import is_dataset, member
from gaecli.records import dataclass

#: How many rows were filled, and where the next one would go.
_SIZES = ("_size", "size", "num_filled", "filled")
_POSITIONS = ("_insertion_idx", "_index", "ptr", "pos", "insert_index")
#: Whether the buffer went round.
_FULL = ("full", "is_full")
#: Of Tianshou's vectorised buffers: how far each of the rings in one array is filled.
_LENGTHS = "_lengths"


@dataclass(frozen=True)
class Ring:
    """`num_rows` rows of an array of `capacity`, in time from row `first` on and round the end."""

    capacity: int
    num_rows: int
    first: int = 0
    remarks: tuple[Remark, ...] = ()

    def places(self, start: int, stop: int) -> Iterator[slice]:
        """Where the steps from `start` up to `stop` stand."""
        while start < stop:
            at = (self.first + start) % self.capacity if self.first else start
            length = min(stop - start, self.capacity - at)
            yield slice(at, at + length)
            start += length


def ring_of(file: Any, capacity: int, path: Path) -> Ring:
    """What the attributes and single numbers at the top of a file say of its arrays of `capacity` rows.

    Raises:
        UsageError: where they leave open which rows there are, or in which order.
    """
    _refuse_several(file, path)
    size_name, size = _number(file, _SIZES, capacity)
    index_name, index = _number(file, _POSITIONS, capacity)
    _, full = _number(file, _FULL, 1)
    if size is not None and size < capacity:
        return Ring(capacity, size, remarks=(_unfilled(size_name, size, capacity),))
    if index is None or index % max(capacity, 1) == 0:
        return Ring(capacity, capacity)
    if size is None and not full:
        if full is not None:
            return Ring(capacity, index, remarks=(_unfilled(index_name, index, capacity),))
        raise UsageError(
            f"`{path}` says `{index_name}` = {index:,}, and has {capacity:,} rows: it may be a buffer that is filled "
            "up to there, or one that went round and whose first step is there",
            hint=f"say which: store the number of filled rows as the attribute `size`, or leave out `{index_name}`",
        )
    return Ring(capacity, capacity, index, (_went_round(index_name, index, capacity),))


def _unfilled(name: str, size: int, capacity: int) -> Remark:
    return Remark(
        "unfilled-rows",
        f"a buffer of {capacity:,} rows, of which {size:,} are filled (`{name}`): the others are no steps, and "
        "their new cells are NaN",
        capacity - size,
    )


def _went_round(name: str, index: int, capacity: int) -> Remark:
    return Remark(
        "ring-order",
        f"a full buffer of {capacity:,} rows whose first step is row {index:,} (`{name}`): steps are taken and "
        "counted from there, round the end; the first episode may lack its beginning",
        capacity,
    )


def _number(file: Any, names: tuple[str, ...], most: int) -> tuple[str, int | None]:
    """The first of these that is a whole number from 0 to `most`."""
    for name in names:
        value = file.attrs.get(name)
        item = member(file, name)
        if value is None and is_dataset(item) and item.shape in ((), (1,)):
            value = item[()]
        found = np.asarray(value).reshape(-1) if value is not None else np.zeros(0)
        if found.size == 1 and found.dtype.kind in "iub" and 0 <= int(found[0]) <= most:
            return name, int(found[0])
    return "", None


def _refuse_several(file: Any, path: Path) -> None:
    lengths = member(file, _LENGTHS)
    if is_dataset(lengths) and lengths.shape and lengths.shape[0] > 1:
        raise UsageError(
            f"`{path}` holds {lengths.shape[0]:,} buffers in one array (`{_LENGTHS}`): a vectorised buffer of "
            "Tianshou's, whose parts go round one by one",
            hint="save each alone: `for i, one in enumerate(buffer.buffers): one.save_hdf5(f'buffer-{i}.hdf5')`",
        )
