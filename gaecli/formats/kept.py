"""A file whose columns stay in memory once they were read, for whoever reads the same rows many times."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import numpy as np

from gaecli.formats.base import Column, RolloutFile, Unit
from gaecli.formats.watched import count_kept
from gaecli.formats.wrapped import WrappedFile

#: (start, stop) of blocks.
_Bounds = tuple[tuple[int, int], ...]


class Room:
    """Bytes for the columns of all files of a stream together; what finds none is read again."""

    def __init__(self, num_bytes: int) -> None:
        self._size = self._left = num_bytes
        self._files: list[KeptFile] = []
        self._lock = threading.Lock()

    @property
    def left(self) -> int:
        return self._left

    def take(self, num_bytes: int) -> bool:
        with self._lock:
            if num_bytes > self._left:
                return False
            self._left -= num_bytes
            return True

    def give_back(self, num_bytes: int) -> None:
        with self._lock:
            self._left += num_bytes

    def add(self, file: KeptFile) -> None:
        self._files.append(file)

    def clear(self) -> None:
        """Whoever still has the files reads them anew."""
        for file in self._files:
            file.forget()
        self._left = self._size


class KeptFile(WrappedFile):
    """Where the lists of a column are long, blocks depend on what is read together, and are kept apart.

    `once`: what is kept of a unit is given to the next who asks for it, and to nobody else.
    """

    def __init__(self, file: RolloutFile, room: Room, *, once: bool = False) -> None:
        super().__init__(file)
        self._room = room
        self._is_once = once
        room.add(self)
        self._kept: dict[tuple[Unit, int, str], dict[_Bounds, list[Column]]] = {}

    def blocks(
        self, unit: Unit, names: Sequence[str], rows_per_block: int
    ) -> Iterator[tuple[int, int, dict[str, Column]]]:
        names = tuple(dict.fromkeys(names))
        if not names:
            yield from self._file.blocks(unit, names, rows_per_block)
            return
        kept = [self._kept.get((unit, rows_per_block, name), {}) for name in names]
        bounds = next((bounds for bounds in kept[0] if all(bounds in one for one in kept)), None)
        if bounds is not None:
            for index, (start, stop) in enumerate(bounds):
                yield start, stop, {name: one[bounds][index] for name, one in zip(names, kept, strict=True)}
                count_kept(self._file, stop - start)
            if self._is_once:
                self._drop(unit, rows_per_block)
            return
        yield from self._read(unit, names, rows_per_block)

    def forget(self) -> None:
        self._kept = {}

    def _read(
        self, unit: Unit, names: Sequence[str], rows_per_block: int
    ) -> Iterator[tuple[int, int, dict[str, Column]]]:
        """Kept if all of it was asked for, and fits."""
        found: list[tuple[int, int, dict[str, Column]]] | None = []
        num_bytes = 0
        for start, stop, columns in self._file.blocks(unit, names, rows_per_block):
            num_bytes += sum(_num_bytes(column) for column in columns.values())
            if found is not None and num_bytes > self._room.left:
                found = None
            if found is not None:
                found.append((start, stop, columns))
                if stop == unit.stop and self._room.take(num_bytes):
                    bounds = tuple((start, stop) for start, stop, _ in found)
                    for name in names:
                        kept = self._kept.setdefault((unit, rows_per_block, name), {})
                        kept[bounds] = [one[2][name] for one in found]
            yield start, stop, columns

    def _drop(self, unit: Unit, rows_per_block: int) -> None:
        for key in [key for key in list(self._kept) if key[:2] == (unit, rows_per_block)]:
            kept = self._kept.pop(key, {})
            self._room.give_back(sum(_num_bytes(column) for columns in kept.values() for column in columns))


def _num_bytes(column: Column) -> int:
    """A label is an object of some size."""
    arrays = (column.values, column.is_null, column.offsets, column.null_lists)
    labels = 0 if column.categories is None else 80 * len(column.categories)
    return labels + sum(array.nbytes for array in arrays if isinstance(array, np.ndarray))
