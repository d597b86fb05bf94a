"""Statistics of cells as they stand in the file, for one of which no steps can be made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from gaecli.array_types import Array, BoolArray
from gaecli.formats.base import Column, ColumnInfo, RolloutFile
from gaecli.pipeline.column_statistics import Tally
from gaecli.summary import ColumnStatistics


def statistics_of_cells(
    files: Sequence[RolloutFile], roles: Mapping[str, str], rows_per_block: int
) -> dict[str, ColumnStatistics]:
    """Of the finite cells of the reward and value columns, without those of rows that are no steps."""
    tallies: dict[str, Tally] = {}
    for role in ("reward", "value"):
        tally = Tally()
        for file in files:
            for cells in _cells(file, roles, role, rows_per_block):
                tally = tally.merge(Tally.of(cells))
        if tally.moments.count:
            tallies[role] = tally
    return {role: tally.statistics() for role, tally in tallies.items()}


def _cells(file: RolloutFile, roles: Mapping[str, str], role: str, rows_per_block: int) -> Iterator[Array]:
    name = roles.get(role)
    info = file.find(name) if name is not None else None
    if name is None or info is None or not _is_numeric(info):
        return
    padding, mask = (_beside(file, roles.get(other), info) for other in ("padding", "mask"))
    names = [name, *dict.fromkeys(filter(None, [padding, mask]))]
    for unit in file.units(rows_per_block, name):
        for _, _, columns in file.blocks(unit, names, rows_per_block):
            column = columns[name]
            cells = column.values.reshape(-1).astype(np.float64)
            usable = np.isfinite(cells)
            if column.is_null is not None:
                usable &= ~column.is_null.reshape(-1)
            if padding is not None:
                usable &= ~_set(columns[padding], len(cells), otherwise=False)
            if mask is not None:
                usable &= _set(columns[mask], len(cells), otherwise=True)
            yield cells[usable]


def _is_numeric(info: ColumnInfo) -> bool:
    return not info.unusable and info.kind in ("float", "int", "bool")


def _beside(file: RolloutFile, name: str | None, like: ColumnInfo) -> str | None:
    """The column, if it has a cell for each of the other's."""
    info = file.find(name) if name is not None else None
    if info is None or not _is_numeric(info) or info.is_list != like.is_list or info.shape != like.shape:
        return None
    return name


def _set(column: Column, num_cells: int, *, otherwise: bool) -> BoolArray:
    """[N] the flag is set; `otherwise` for all where lists are of another length after all."""
    flags = column.values.reshape(-1) != 0
    return flags if len(flags) == num_cells else np.full(num_cells, otherwise)
