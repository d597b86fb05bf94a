"""Whole groups of a long stream as a stream of their own, for rules of group baselines to be tried on.

What a rule makes of a group depends on nothing but the group, and where it looks at all of them it adds a scale and a
shift: so rules are told apart on some groups, from all over the stream. Groups have places between 0 and 1 by a
digest of their labels, and those with the smallest are in.
"""

from __future__ import annotations

import zlib
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from gaecli.array_types import Array, FloatArray, IndexArray, Names
from gaecli.columns import find_roles
from gaecli.errors import GaeError
from gaecli.formats.base import Column, RolloutFile, Unit
from gaecli.formats.joined import joined_rows
from gaecli.formats.kept import KeptFile, Room
from gaecli.formats.wrapped import WrappedFile
from gaecli.layouts.groups import read_labels
from gaecli.records import dataclass
from gaecli.setting_fields import names_of
from gaecli.studies import sampling
from gaecli.studies.asked import Asked, GroupColumns
from gaecli.studies.column import ColumnCells

_ROWS_PER_BLOCK = 1 << 17
#: Streams of no more than so many times the cells of a sample are looked at as a whole.
_WHOLE = 4
#: There are so many groups in a sample at least.
_FEWEST = 2
#: 2^64 over the golden ratio: multiples of it lie evenly among all numbers.
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
#: Share of the memory limit for the columns of one sample.
_KEPT_SHARE = 0.05


@dataclass(frozen=True, eq=False)
class GroupSample:
    """What is asked of some groups."""

    asked: Asked
    #: The row of the stream that each of its rows is, counted over all files; None: all of them are in.
    origins: IndexArray | None = None

    @property
    def is_whole(self) -> bool:
        return self.origins is None

    def rows_of_stream(self, rows: IndexArray) -> IndexArray:
        return rows if self.origins is None else self.origins[rows]


class GroupSamples:
    """Of a stream and the column beside it, for every column that may tell groups apart."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._found: dict[tuple[str, ...], GroupSample] = {}

    def of(self, group: GroupColumns) -> GroupSample:
        """Of what is one group as a whole: of its trajectories."""
        names = names_of(group) or self._trajectory_columns
        if names not in self._found:
            self._found[names] = self._made(names) if self._is_long else GroupSample(self._asked)
        return self._found[names]

    @cached_property
    def _is_long(self) -> bool:
        """A sample has no batch whole, and every batch has a scale and a shift of its own."""
        if "batch_column" in self._asked.only.score_columns:
            return False
        return ColumnCells(self._asked.against).num_known > _WHOLE * sampling.SEARCH_STEPS

    @cached_property
    def _trajectory_columns(self) -> tuple[str, ...]:
        """None where rows are trajectories, or nothing but flags tells where they end."""
        try:
            names = find_roles(self._asked.file, self._asked.settings).names
        except GaeError:  # told where it is read
            return ()
        return tuple(names[role] for role in ("env", "episode") if role in names)

    def _made(self, names: tuple[str, ...]) -> GroupSample:
        asked = self._asked
        files = asked.plan.open_all(asked.settings)
        rows = self._rows(files, names)
        if rows is None or [file.num_rows for file in asked.against.files] != [
            file.num_rows for file in files
        ]:
            return GroupSample(asked)
        room = Room(int(asked.memory_bytes * _KEPT_SHARE))
        chosen = [KeptFile(_ChosenRowsFile(*pair), room) for pair in zip(files, rows, strict=True)]
        beside = [
            KeptFile(_ChosenRowsFile(*pair), room) for pair in zip(asked.against.files, rows, strict=True)
        ]
        plan = asked.plan._replace(opened={file.path: file for file in chosen}, progress=None)
        against = replace(asked.against, files=beside)
        firsts = np.cumsum([0, *(file.num_rows for file in files)])
        origins = np.concatenate([first + own for first, own in zip(firsts, rows, strict=False)])
        return GroupSample(replace(asked, plan=plan, file=chosen[0], against=against), origins)

    def _rows(self, files: Sequence[RolloutFile], names: tuple[str, ...]) -> list[IndexArray] | None:
        """Of each file those of the groups that are in; None where groups are of something else than rows."""
        share = sampling.SEARCH_STEPS / max(ColumnCells(self._asked.against).num_known, 1)
        try:
            if not names:
                return self._trajectories(files, share)
            return self._of_groups(files, names, share)
        except (_NotOfRowsError, GaeError):
            return None

    def _of_groups(
        self, files: Sequence[RolloutFile], names: tuple[str, ...], share: float
    ) -> list[IndexArray]:
        rows, least = [], np.ones(0)
        for file in files:
            found = [np.zeros(0, np.int64)]
            for start, places, codes in group_places(file, names):
                least = np.unique(np.append(least, places))[:_FEWEST]
                found.append(start + np.flatnonzero((places < share)[codes]))
            rows.append(np.concatenate(found))
        if len(least) and least[-1] < share:
            return rows
        # A few large groups, which may all have places above it.
        wanted = [
            [
                start + np.flatnonzero((places <= least[-1])[codes])
                for start, places, codes in group_places(file, names)
            ]
            for file in files
        ]
        return [np.concatenate([np.zeros(0, np.int64), *found]) for found in wanted]

    def _trajectories(self, files: Sequence[RolloutFile], share: float) -> list[IndexArray] | None:
        """Rows that are trajectories by themselves: nothing says where one ends."""
        roles = find_roles(self._asked.file, self._asked.settings)
        if any(role in roles.names for role in ("done", "terminated", "truncated", "mask", "first")):
            return None
        limit = np.uint64(share * 2.0**64)
        return [
            np.flatnonzero(np.arange(file.num_rows).astype(np.uint64) * _GOLDEN < limit) for file in files
        ]


class _NotOfRowsError(Exception):
    """Groups are of the items of lists, or of the cells of arrays."""


def group_places(
    file: RolloutFile, names: tuple[str, ...], block_rows: int = _ROWS_PER_BLOCK
) -> Iterator[tuple[int, FloatArray, IndexArray]]:
    """(first row of a block, places of the groups that are there, [n] the group of each row)."""
    for unit in file.units(block_rows, names[0]):
        for start, stop, columns in file.blocks(unit, names, block_rows):
            if unit.cells_per_row != 1 or any(one.offsets is not None for one in columns.values()):
                raise _NotOfRowsError
            digests = np.zeros(stop - start, np.uint64)
            for labels in read_labels(columns, names, lambda cells: cells).values():
                if len(labels.codes) != len(digests):
                    raise _NotOfRowsError
                digests = (digests ^ _digests(labels.names)[labels.codes]) * _GOLDEN
            distinct, codes = np.unique(digests, return_inverse=True)
            yield start, (distinct >> np.uint64(11)) / 2.0**53, codes.reshape(-1)


def _digests(labels: Names) -> Array:
    """Equal for equal labels, in whatever block they are: whole numbers beside nulls are no array."""
    if isinstance(labels, np.ndarray):
        return labels.astype(np.uint64)
    return np.array([_digest(label) for label in labels], np.uint64)


def _digest(label: Hashable) -> int:
    if isinstance(label, int):
        return label % 2**64
    return zlib.crc32(repr(label).encode("utf-8", "surrogatepass"))


class _ChosenRowsFile(WrappedFile):
    """Some rows of a file, in their order, as one block."""

    def __init__(self, file: RolloutFile, rows: IndexArray) -> None:
        super().__init__(file)
        self._rows = rows
        self.num_rows = len(rows)

    def units(self, rows_per_block: int, like: str) -> Sequence[Unit]:
        cells_per_row = max(
            (unit.cells_per_row for unit in self._file.units(rows_per_block, like)), default=1
        )
        return [Unit(0, self.num_rows, cells_per_row=cells_per_row)] if self.num_rows else []

    def blocks(
        self, unit: Unit, names: Sequence[str], rows_per_block: int
    ) -> Iterator[tuple[int, int, dict[str, Column]]]:
        found: dict[str, list[Column]] = {}
        for whole in self._file.units(_ROWS_PER_BLOCK, names[0]):
            for start, stop, columns in self._file.blocks(whole, names, _ROWS_PER_BLOCK):
                first, last = np.searchsorted(self._rows, (start, stop)).tolist()
                if last > first:
                    own = self._rows[first:last] - start
                    for name, column in columns.items():
                        found.setdefault(name, []).append(column.rows(own))
        if found:
            yield 0, self.num_rows, {name: joined_rows(parts) for name, parts in found.items()}

    def read_whole(self, name: str) -> Column:
        return self._file.read_whole(name).rows(self._rows)
