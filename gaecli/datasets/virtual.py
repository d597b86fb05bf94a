"""Columns that stand in a file's place rather than in the file: the same for all its rows, or counted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from gaecli.array_types import Array, IndexArray
from gaecli.formats.base import Column, ColumnInfo, RolloutFile, Unit
from gaecli.formats.wrapped import WrappedFile

#: Where a virtual column takes its cells from.
ROW_NUMBER = "row number"
IS_LAST_ROW = "last row"


class VirtualColumns(WrappedFile):
    """A rollout file with further columns, which are never written into it.

    A column of the file wins over a virtual one of the same name.

    Args:
        file: the file as it is.
        constants: name -> the value of all rows: a whole number, a text or None.
        counted: name -> `ROW_NUMBER` or `IS_LAST_ROW`.
        known_roles: roles that the data set decides; of columns that are there, virtual or not.
    """

    def __init__(
        self,
        file: RolloutFile,
        constants: Mapping[str, int | str | None],
        counted: Mapping[str, str] | None = None,
        known_roles: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(file)
        self._constants = {name: value for name, value in constants.items() if name not in file.columns}
        self._counted = {name: kind for name, kind in (counted or {}).items() if name not in file.columns}
        self.known_roles = {**file.known_roles, **(known_roles or {})}
        self._infos = {name: self._info(name) for name in (*self._constants, *self._counted)}
        self.columns = {**file.columns, **self._infos}

    def _info(self, name: str) -> ColumnInfo:
        if name in self._counted:
            is_flag = self._counted[name] == IS_LAST_ROW
            kind, type_name = ("bool", "bool") if is_flag else ("int", "int64")
        else:
            is_number = isinstance(self._constants[name], int)
            kind, type_name = ("int", "int64") if is_number else ("id", "string")
        # Beside arrays, whose rows are of no one kind, a constant is one number for all of them.
        is_one = name in self._constants and self.structure == "arrays"
        return ColumnInfo(name, kind, type_name, () if is_one else (self.num_rows,))  # type: ignore[arg-type]

    def may_hold_flags(self, name: str) -> bool:
        return name not in self._infos and self._file.may_hold_flags(name)

    def find(self, name: str) -> ColumnInfo | None:
        return self._infos.get(name) or self._file.find(name)

    def blocks(
        self, unit: Unit, names: Sequence[str], rows_per_block: int
    ) -> Iterator[tuple[int, int, dict[str, Column]]]:
        stored = [name for name in names if name not in self._infos]
        virtual = [name for name in names if name in self._infos]
        for start, stop, columns in self._file.blocks(unit, stored, rows_per_block):
            yield start, stop, {**columns, **{name: self._column(name, start, stop) for name in virtual}}

    def _column(self, name: str, start: int, stop: int) -> Column:
        if name in self._counted:
            rows: IndexArray = np.arange(start, stop, dtype=np.int64)
            is_flag = self._counted[name] == IS_LAST_ROW
            return Column(rows == self.num_rows - 1 if is_flag else rows)
        return _constant(self._constants[name], stop - start)

    def has_single_items(self, name: str) -> bool:
        return name not in self._infos and self._file.has_single_items(name)

    def read_whole(self, name: str) -> Column:
        if name in self._infos:
            is_one = self._infos[name].shape == ()
            return self._column(name, 0, 1 if is_one else self.num_rows)
        return self._file.read_whole(name)


def _constant(value: int | str | None, num_rows: int) -> Column:
    if isinstance(value, int):
        return Column(np.full(num_rows, value, np.int64))
    codes: Array = np.zeros(num_rows, np.int64)
    if value is None:
        return Column(codes - 1, np.ones(num_rows, np.bool_), categories=[])
    return Column(codes, categories=[value])
