"""Lists that tell groups apart, beside one reward per row: the tokens of a prompt are equal, or they are not."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

import numpy as np

from gaecli.columns import Roles
from gaecli.formats.base import Column, ColumnInfo, RolloutFile, Unit
from gaecli.formats.cell_labels import label_of
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
    """Codes of the lists of a column; what is no list already is a cell."""
    if lists.offsets is None:
        return lists
    items = lists.as_ids()
    cells = items.values.tolist()
    if items.categories is not None or items.is_null is not None:
        cells = [items.label(index) for index in range(len(cells))]
    known: dict[str, int] = {}
    rows = zip(lists.offsets[:-1].tolist(), lists.offsets[1:].tolist(), strict=True)
    codes = [known.setdefault(label_of(cells[start:stop]), len(known)) for start, stop in rows]
    return Column(np.array(codes, np.int64), lists.null_lists, categories=list(known))
