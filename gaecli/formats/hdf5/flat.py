"""Flat HDF5: one array per quantity, a row of each for a step (D4RL; Tianshou's replay buffers).

New datasets are added to a copy beside those that are there; `infos/`, `metadata/` and all else stay. A buffer
was made for more rows than it may hold, and once full it goes on from its beginning: what it says of that
itself decides which rows there are and which is the first, and is told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gaecli.array_types import Array
from gaecli.errors import DataError, FileError
from gaecli.formats.base import (
    Column,
    ColumnInfo,
    OutputColumn,
    Structure,
    Unit,
    WritePlan,
)
from gaecli.formats.hdf5.chunks import check_chunks
from gaecli.formats.hdf5.file import Hdf5Copy, Hdf5File
from gaecli.formats.hdf5.objects import (
    info_of,
    is_dataset,
    items,
    lies_elsewhere,
    member,
    reading,
    storable,
    stored_provenance,
    told_of,
)
from gaecli.formats.hdf5.rings import Ring, ring_of
from gaecli.formats.hdf5.texts import coded, is_text

#: Where arrays stand: at the top, or where Tianshou keeps those of a buffer, or as in the zarr of diffusion policies.
_CONTAINERS = ("_meta", "", "data")
#: Tianshou's loader wants to know of every dataset what it was.
_TYPE_ATTRIBUTE, _ARRAY = "__data_type__", "ndarray"


def flat_container(file: Any) -> str | None:
    """The group that holds arrays of one length; None where there is none."""
    for name in _CONTAINERS:
        if _num_rows(member(file, name)) is not None:
            return name
    return None


def _num_rows(group: Any) -> int | None:
    """The length that most of its arrays have; the larger one of two. Tables, arrays of fields, are none of them."""
    if group is None or is_dataset(group):
        return None
    arrays = [
        item
        for name in group
        if is_dataset(item := member(group, name)) and item.shape and not item.dtype.names
    ]
    lengths = Counter(int(item.shape[0]) for item in arrays)
    if not lengths:
        return None
    return max(lengths, key=lambda length: (lengths[length], length))


def longest_table(file: Any, container: str | None) -> str | None:
    """The path of an array of fields, where it is longer than the plain arrays in the container, if there are any."""
    groups = {name: member(file, name) for name in _CONTAINERS}
    tables = [
        (int(item.shape[0]), f"{place}/{name}".strip("/"))
        for place, group in groups.items()
        if group is not None and not is_dataset(group)
        for name in group
        if is_dataset(item := member(group, name)) and item.shape and item.dtype.names
    ]
    longest, path = max(tables, default=(0, None))
    return path if longest > ((_num_rows(groups[container]) or 0) if container is not None else 0) else None


def is_of_d3rlpy(file: Any) -> bool:
    """`rewards_0` and on, an array for each episode, with the names of all kinds of them and their number."""
    return all(is_dataset(member(file, name)) for name in ("columns", "num_episodes", "rewards_0"))


class FlatHdf5Input(Hdf5File):
    """One flat HDF5 file. Row 0 is the first step in time."""

    structure: Structure = "table"

    def __init__(self, path: Path, container: str) -> None:
        self.path = path
        self.container = container
        self.groups = (container,)
        with reading(path) as file:
            status = path.stat()
            group = member(file, container)
            num_rows = _num_rows(group)
            assert num_rows is not None
            self.ring: Ring = ring_of(file, num_rows, path)
            self.num_rows = self.ring.num_rows
            self.stored = stored_provenance(file)
            found = {name.replace("/", "."): (name, item) for name, item in _arrays(group, num_rows)}
            #: Where each stands: a dot may be of a path, or of the name itself.
            self._places = {dotted: name for dotted, (name, _) in found.items()}
            self.columns: Mapping[str, ColumnInfo] = {
                dotted: info_of(dotted, item, self.num_rows, is_list=False, with_texts=True)
                for dotted, (_, item) in found.items()
            }
            self.is_typed = container != "" and all(
                _TYPE_ATTRIBUTE in item.attrs for _, item in items(group) if is_dataset(item)
            )
        self.remarks = self.ring.remarks
        self.identity = (status.st_size, status.st_mtime_ns, status.st_ino)

    def units(self, rows_per_block: int, like: str) -> Sequence[Unit]:
        return [Unit(0, self.num_rows)]

    def blocks(
        self, unit: Unit, names: Sequence[str], rows_per_block: int
    ) -> Iterator[tuple[int, int, dict[str, Column]]]:
        with reading(self.path) as file:
            group = member(file, self.container)
            for name in names:
                check_chunks(self._dataset(group, name))
            for start in range(unit.start, unit.stop, rows_per_block):
                stop = min(start + rows_per_block, unit.stop)
                yield start, stop, {name: self._column(group, name, start, stop) for name in names}

    def _column(self, group: Any, name: str, start: int, stop: int) -> Column:
        dataset = self._dataset(group, name)
        if self.columns[name].kind == "id":
            return coded(dataset, self.ring.places(start, stop))
        parts = [np.asarray(dataset[rows]).reshape(-1) for rows in self.ring.places(start, stop)]
        return Column(np.concatenate(parts) if parts else np.zeros(0, dataset.dtype))

    def _dataset(self, group: Any, name: str) -> Any:
        info = self.columns[name]
        if info.unusable is not None:
            raise DataError(f"`{name}` of `{self.path}` cannot be used: {info.unusable}")
        dataset = member(group, self._places[name])
        if not is_dataset(dataset):
            raise FileError(f"`{self.path}` was changed while it was read")
        return dataset

    def read_whole(self, name: str) -> Column:
        with reading(self.path) as file:
            return self._column(member(file, self.container), name, 0, self.num_rows)

    may_hold_short_arrays = True

    def short_arrays(self, num_rows: int) -> Mapping[str, Array]:
        """By their paths in the file: they may stand beside the group of the others, as `meta/episode_ends` does.

        Attributes by their names, behind the path of what they are of.
        """
        from gaecli.formats.told_entries import entries_in, entries_of, pairs_in

        found: dict[str, Array | None] = {}
        with reading(self.path) as file:
            for name, item in (("", file), *items(file)):
                for told, value in item.attrs.items():
                    path = f"{name}/{told}".strip("/")
                    if isinstance(value, str):
                        found.update(entries_in(path, value))
                    else:
                        found[path] = entries_of(value)
                if is_dataset(item) and self._is_short(item, num_rows):
                    found[name] = entries_of(item[()] if item.dtype.names is None else pairs_in(item[()]))
                elif is_dataset(item) and item.shape == () and is_text(item.dtype):
                    found.update(entries_in(name, item.asstr()[()]))
        taken = {name for name in found if name in self.columns}
        return {name: entries for name, entries in found.items() if entries is not None and name not in taken}

    def _is_short(self, item: Any, num_rows: int) -> bool:
        shape = item.shape or (0,)
        return (
            (item.dtype.kind in "iu" or _holds_pairs(item.dtype))
            and shape[1:] in ((), (2,))
            and 2 <= shape[0] <= num_rows + 1
            and shape[0] not in (num_rows, self.ring.capacity)
            and not lies_elsewhere(item)
        )

    def writer(self, temporary: Path, plan: WritePlan) -> FlatHdf5Output:
        return FlatHdf5Output(self, temporary, plan)


class FlatHdf5Output(Hdf5Copy[FlatHdf5Input]):
    """New datasets beside the others; rows that hold no step have what stands for null."""

    def write(self, columns: Mapping[str, OutputColumn]) -> None:
        with told_of(self._source.path):
            group = member(self._copy(), self._source.container)
            for name in self._plan.new_columns:
                values, at = storable(columns[name].without_nulls()), 0
                for rows in self._source.ring.places(self._row, self._row + len(values)):
                    length = rows.stop - rows.start
                    group[name][rows] = values[at : at + length]
                    at += length
            self._row += len(values)

    def _begin(self, file: Any) -> None:
        """New datasets that hold nothing yet, in the place of those that were there."""
        group = member(file, self._source.container)
        for name in self._replaced & set(group):
            del group[name]
        for name, dtype in self._plan.new_columns.items():
            # What a row without a step holds.
            nothing = storable(OutputColumn(np.zeros(1, dtype), np.ones(1, np.bool_)).without_nulls())
            dataset = group.create_dataset(
                name, shape=(self._source.ring.capacity,), dtype=nothing.dtype, fillvalue=nothing[0]
            )
            if self._source.is_typed:
                dataset.attrs[_TYPE_ATTRIBUTE] = _ARRAY


def _holds_pairs(dtype: np.dtype[Any]) -> bool:
    """Two whole numbers by name: where an episode starts, and where it stops or how long it is."""
    return len(dtype.names or ()) == 2 and all(dtype[place].kind in "iu" for place in range(2))


def _arrays(group: Any, capacity: int) -> Iterator[tuple[str, Any]]:
    """All datasets with a row for every step, by their paths."""
    for name, item in items(group):
        if is_dataset(item) and item.shape and item.shape[0] == capacity:
            yield name, item
