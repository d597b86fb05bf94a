"""Lists that tell groups apart, beside one reward per row: the tokens of a prompt are equal, or they are not."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gaecli.array_types import IndexArray
from gaecli.columns import Roles
from gaecli.formats.base import Column, ColumnInfo, RolloutFile, Unit
from gaecli.formats.cell_labels import codes_of_runs, label_of
from gaecli.formats.wrapped import WrappedFile
from gaecli.settings import Settings


def with_whole_lists(file: RolloutFile, roles: Roles, settings: Settings) -> RolloutFile:
    """The file, each list of a group column as one cell, where rows have one reward each."""
    reward = file.find(roles.names["reward"])
    assert reward is not None
    if reward.is_list or file.structure != "table":
        return file
    names = [name for name in settings.label_columns if _is_list(file.find(name))]
    return _WholeLists(file, names) if names else file


def _is_list(info: ColumnInfo | None) -> bool:
    return info is not None and info.is_list


class _WholeLists(WrappedFile):
    def __init__(self, file: RolloutFile, names: Collection[str]) -> None:
        super().__init__(file)
        self._names = names

    def find(self, name: str) -> ColumnInfo | None:
        info = self._file.find(name)
        return replace(info, is_list=False) if info is not None and name in self._names else info

    def blocks(
        self, unit: Unit, names: Sequence[str], rows_per_block: int
    ) -> Iterator[tuple[int, int, dict[str, Column]]]:
        for start, stop, columns in self._file.blocks(unit, names, rows_per_block):
            whole = {name: _as_cells(columns[name]) for name in names if name in self._names}
            yield start, stop, {**columns, **whole}


def _as_cells(lists: Column) -> Column:
    """Codes of the lists of a column; what is no list already is a cell, and so is the item of a list of one."""
    if lists.offsets is None:
        return lists
    if (np.diff(lists.offsets) == 1).all() and lists.is_null is None:
        return Column(lists.values, categories=lists.categories, coded=lists.coded)
    items = lists.as_ids()
    codes = items.values if items.is_null is None else np.where(items.is_null, -1, _codes_of(items))
    alike = codes_of_runs(codes, np.diff(lists.offsets))
    distinct, firsts, where = np.unique(alike, return_index=True, return_inverse=True)
    known: dict[object, int] = {}
    found = np.zeros(len(distinct), np.int64)
    for index, row in enumerate(firsts.tolist()):
        run = slice(int(lists.offsets[row]), int(lists.offsets[row + 1]))
        found[index] = known.setdefault(_label_of(_items_of(items, run)), len(known))
    return Column(found[where.reshape(-1)], lists.null_lists, categories=list(known))


def _label_of(cells: list[object]) -> object:
    """Of a list of one: what another file has without a list, or where all lists are of one."""
    return cells[0] if len(cells) == 1 and cells[0] is not None else label_of(cells)


def _items_of(items: Column, run: slice) -> list[object]:
    cells: list[Any] = items.values[run].tolist()
    if items.categories is not None:
        cells = [items.categories[code] for code in cells]
    if items.is_null is not None:
        nulls = items.is_null[run].tolist()
        cells = [None if is_null else cell for cell, is_null in zip(cells, nulls, strict=True)]
    return cells


def _codes_of(items: Column) -> IndexArray:
    """Of numbers, which may be -1 themselves."""
    if items.categories is not None:
        return items.values
    codes: IndexArray = np.unique(items.values, return_inverse=True)[1].reshape(-1)
    return codes
