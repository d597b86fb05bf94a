"""Lists of one item: an array of [N, 1] in a table, which is one number per row.

`datasets`, pandas, polars and JSON loggers write arrays of that shape as lists that all have one item. Taken as
lists, each row would be a trajectory of one step.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from gaecli.array_types import BoolArray
from gaecli.columns import find_roles
from gaecli.errors import DataError
from gaecli.formats.base import Column, ColumnInfo, RolloutFile, Unit
from gaecli.formats.wrapped import WrappedFile
from gaecli.settings import Settings


def as_scalars(files: Sequence[RolloutFile], settings: Settings) -> list[RolloutFile]:
    """The files of a stream, with lists of one item as scalars.

    All files decide: trajectories of one step in one of them, and of more in another, are lists in both.
    `--layout nested` says that rows are trajectories, even if all of them have one step.
    """
    if not any(info.is_list for file in files for info in file.columns.values()):
        return list(files)
    singles = _Singles(files)
    if settings.layout == "nested" and find_roles(files[0], settings).names.get("reward", "") in singles:
        return list(files)
    if settings.label_columns:
        singles.known |= dict.fromkeys(_whole_labels(files[0], singles, settings), False)
    return [_Unpacked(file, singles) for file in files]


def _whole_labels(file: RolloutFile, singles: _Singles, settings: Settings) -> list[str]:
    """Lists that tell groups apart, beside one reward per row: a prompt of one token is one in all files, those
    where each has one too.
    """
    names = find_roles(file, settings).names
    reward = file.find(names.get("reward", ""))
    if file.structure != "table" or (reward is not None and reward.is_list and reward.name not in singles):
        return []
    return [name for name in settings.label_columns if name not in names.values()]


def single_columns(file: RolloutFile) -> Mapping[str, bool] | None:
    """What was found out of the columns of a stream that `file` is one of; None where it is as it is stored."""
    while isinstance(file, WrappedFile) and not isinstance(file, _Unpacked):
        file = file.behind
    return file.singles.known if isinstance(file, _Unpacked) else None


def as_found(file: RolloutFile, singles: Mapping[str, bool] | None) -> RolloutFile:
    """One file of a stream, given what all of its files decided."""
    return file if singles is None else _Unpacked(file, _Singles([file], singles))


class _Singles:
    """Which columns hold one item per row in all files. Found out when asked: it may take a look at the cells."""

    def __init__(self, files: Sequence[RolloutFile], known: Mapping[str, bool] | None = None) -> None:
        self._files = files
        self.known = dict(known or {})

    def __contains__(self, name: str) -> bool:
        if name not in self.known:
            has_rows = any(file.num_rows for file in self._files)
            self.known[name] = has_rows and all(_fits(file, name) for file in self._files)
        return self.known[name]


def _fits(file: RolloutFile, name: str) -> bool:
    info = file.find(name)
    if info is None or not info.is_list:
        return True
    return info.unusable is None and file.has_single_items(name)


class _Infos(Mapping[str, ColumnInfo]):
    """The columns of a file, those of single items as scalars."""

    def __init__(self, file: RolloutFile, singles: _Singles) -> None:
        self._file = file
        self._singles = singles

    def __getitem__(self, name: str) -> ColumnInfo:
        return _unpacked_info(self._file.columns[name], self._singles)

    def __iter__(self) -> Iterator[str]:
        return iter(self._file.columns)

    def __len__(self) -> int:
        return len(self._file.columns)

    def __contains__(self, name: object) -> bool:
        return name in self._file.columns


def _unpacked_info(info: ColumnInfo, singles: _Singles) -> ColumnInfo:
    if not info.is_list or info.name not in singles:
        return info
    return replace(info, is_list=False, is_deep=False, is_unpacked=True)


class _Unpacked(WrappedFile):
    """A file whose lists of one item are scalars."""

    def __init__(self, file: RolloutFile, singles: _Singles) -> None:
        super().__init__(file)
        self.singles = singles
        self.columns = _Infos(file, singles)

    def find(self, name: str) -> ColumnInfo | None:
        info = self._file.find(name)
        return None if info is None else _unpacked_info(info, self.singles)

    def blocks(
        self, unit: Unit, names: Sequence[str], rows_per_block: int
    ) -> Iterator[tuple[int, int, dict[str, Column]]]:
        for start, stop, columns in self._file.blocks(unit, names, rows_per_block):
            yield start, stop, {name: self._scalars(column, name, start) for name, column in columns.items()}

    def read_whole(self, name: str) -> Column:
        return self._scalars(self._file.read_whole(name), name, 0)

    def _scalars(self, column: Column, name: str, start: int) -> Column:
        if column.offsets is None or name not in self.singles:
            return column
        lengths = np.diff(column.offsets)
        if (lengths > 1).any():
            row = int(np.argmax(lengths > 1))
            raise DataError(
                f"`{name}` has {int(lengths[row])} items at row {start + row} of `{self.path}`, and one elsewhere",
                hint="the file does not say so itself, so it may be damaged: write it anew",
            )
        return scalars_of(column, lengths == 1)


def scalars_of(column: Column, has_item: BoolArray) -> Column:
    """Lists of one item at most; where there is none, it is null."""
    if has_item.all():
        return Column(column.values, column.is_null, categories=column.categories, coded=column.coded)
    values = np.zeros(len(has_item), column.values.dtype)
    values[has_item] = column.values
    is_null = ~has_item
    if column.is_null is not None:
        is_null[has_item] |= column.is_null
    coded = column.coded
    return Column(
        values,
        is_null,
        categories=column.categories,
        coded=None if coded is None else lambda: scalars_of(coded(), has_item),
    )
