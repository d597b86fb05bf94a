"""A column of labels, cell by cell, beside the numbers that they are made of, out of all files of a stream."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from gaecli.array_types import Array, BoolArray, FloatArray, IndexArray
from gaecli.errors import DataError, UsageError
from gaecli.formats.base import Column, RolloutFile
from gaecli.missing_columns import columns_there
from gaecli.names import ADVANTAGE_NAMES, RETURN_NAMES
from gaecli.pipeline.memory import rows_per_block
from gaecli.records import dataclass
from gaecli.settings import Settings

#: A cell takes about so many bytes while it is held against the rules.
_BYTES_PER_CELL = 60
#: What labels are called as texts, at their ends: ` Advantage: positive` as well.
_TEXTS = {"positive": 1, "negative": 0}
#: Of a cell without a label.
NONE = -1


@dataclass(frozen=True, eq=False)
class LabelCells:
    """[C] each: one per row, item of lists, or cell of an array."""

    number_column: str
    #: float32; NaN where there is none.
    numbers: FloatArray
    #: 1, 0, or `NONE`.
    labels: IndexArray
    #: Index into `group_names`.
    groups: IndexArray
    group_names: Sequence[Hashable]
    forced: BoolArray
    #: Counted over all files, and the item of its list.
    rows: IndexArray
    items: IndexArray | None


def is_label(files: Sequence[RolloutFile], column: str, settings: Settings) -> bool:
    """A rule of labels is given, or the column is one of flags or texts."""
    if settings.labelling is not None:
        return True
    info = files[0].find(column)
    return info is not None and info.unusable is None and info.kind in ("bool", "id")


def label_cells(
    files: Sequence[RolloutFile],
    column: str,
    settings: Settings,
    memory_bytes: int,
    mask: str | None = None,
) -> LabelCells:
    """`mask`: the column that leaves rows out, whatever number stands there: they have no label."""
    numbers = _number_column(files[0], column, settings)
    names = [numbers, column, *filter(None, (settings.label_by, settings.force_positive, mask))]
    for name in names:
        _check_is_there(files, name)
    known: dict[Hashable, int] = {}
    parts = list(_parts(files, names, settings, known, memory_bytes, mask))

    def joined(index: int) -> Array:
        return np.concatenate([part[index] for part in parts]) if parts else np.zeros(0, np.int64)

    has_items = any(part[5] is not None for part in parts)
    return LabelCells(
        numbers,
        joined(0).astype(np.float32),
        joined(1),
        joined(2),
        list(known) or [()],
        joined(3).astype(np.bool_),
        joined(4),
        joined(5) if has_items else None,
    )


def _number_column(file: RolloutFile, label: str, settings: Settings) -> str:
    """The advantages, or the returns of a file that has no others; never guessed among several."""
    named = [settings.advantage_column, settings.return_column]
    usual = [name for names in (ADVANTAGE_NAMES, RETURN_NAMES) for name in names]
    for name in [*named, *usual]:
        if name != label and file.find(name) is not None:
            return name
    raise UsageError(
        f"no column of advantages in `{file.path}`, which labels are made of\n"
        f"       columns there: {columns_there(file)}",
        hint="name it with `--advantage-column`, or write it with `gae compute`",
    )


def _check_is_there(files: Sequence[RolloutFile], name: str) -> None:
    for file in files:
        info = file.find(name)
        if info is None or info.unusable is not None:
            raise UsageError(
                f"column `{name}` not found in `{file.path}`\n       columns there: {columns_there(file)}",
                hint="`--against` names the column of labels",
            )


#: numbers, labels, groups, forced, rows, items of a block.
_LabelCellsOfBlock = tuple[Array, Array, Array, Array, Array, Array | None]


def _parts(
    files: Sequence[RolloutFile],
    names: Sequence[str],
    settings: Settings,
    known: dict[Hashable, int],
    memory_bytes: int,
    mask: str | None,
) -> Iterator[_LabelCellsOfBlock]:
    first_row = num_cells = 0
    block_rows, wanted = rows_per_block(memory_bytes), list(dict.fromkeys(names))
    for file in files:
        for unit in file.units(block_rows, names[0]):
            for _, _, columns in file.blocks(unit, wanted, block_rows):
                block = _LabelColumns(file.path, columns, columns[names[0]], mask)
                part = _part(block, names[1], settings, known, first_row)
                first_row += block.num_rows
                num_cells += len(part[0])
                if num_cells * _BYTES_PER_CELL > memory_bytes:
                    raise UsageError(
                        f"`{file.path}` has more labels than `--memory` has room for, {num_cells:,} so far",
                        hint="raise `--memory`, or verify a part of the file",
                    )
                yield part


@dataclass(frozen=True, eq=False)
class _LabelColumns:
    """Columns of some rows, and that of the numbers among them."""

    path: Path
    columns: Mapping[str, Column]
    numbers: Column
    #: The name of that which leaves rows out.
    mask: str | None

    @property
    def num_rows(self) -> int:
        """Every cell of an array counts as one."""
        offsets = self.numbers.offsets
        return self.numbers.values.size if offsets is None else len(offsets) - 1

    def spread(self, cells: Array, name: str) -> Array:
        """A cell for every number: that of its row, where the numbers are items of lists."""
        column, numbers = self.columns[name], self.numbers
        count = len(_items(numbers.values.reshape(-1), numbers))
        if len(cells) == count and (column.offsets is None) == (numbers.offsets is None):
            return cells
        offsets = numbers.offsets
        if offsets is not None and column.offsets is None and len(cells) == len(offsets) - 1:
            return np.repeat(cells, np.diff(offsets))
        raise DataError(
            f"`{name}` of `{self.path}` has {len(cells):,} cells beside {count:,} numbers",
            hint="it must have one for each number, or for each row",
        )


def _part(
    block: _LabelColumns, label: str, settings: Settings, known: dict[Hashable, int], first_row: int
) -> _LabelCellsOfBlock:
    values = _plain(block.numbers)
    if block.mask is not None:
        kept = block.spread(_plain(block.columns[block.mask]), block.mask)
        values = np.where(kept == 0, np.float32(np.nan), values)
    count = len(values)
    labels = block.spread(_labels(block.path, label, block.columns[label]), label)
    groups, forced = np.zeros(count, np.int64), np.zeros(count, np.bool_)
    if settings.label_by is not None:
        groups = block.spread(_groups(block.columns[settings.label_by], known), settings.label_by)
    if settings.force_positive is not None:
        flags = _plain(block.columns[settings.force_positive]) == 1
        forced = block.spread(flags, settings.force_positive)
    offsets = block.numbers.offsets
    if offsets is None:
        return values, labels, groups, forced, first_row + np.arange(count), None
    lengths = np.diff(offsets)
    rows = first_row + np.repeat(np.arange(len(lengths)), lengths)
    return (
        values,
        labels,
        groups,
        forced,
        rows,
        np.arange(count) - np.repeat(offsets[:-1] - offsets[0], lengths),
    )


def _groups(column: Column, known: dict[Hashable, int]) -> IndexArray:
    """[C] the number of each cell's label, which new ones get."""
    column = column.as_ids()
    values = column.values.reshape(-1)
    is_null = np.zeros(len(values), np.bool_) if column.is_null is None else column.is_null.reshape(-1)
    flat = replace(column, values=values, is_null=None)
    there = np.flatnonzero(~is_null)
    _, firsts, codes = np.unique(values[there], return_index=True, return_inverse=True)
    numbers = [known.setdefault(flat.label(index), len(known)) for index in there[firsts].tolist()]
    found = np.zeros(len(values), np.int64)
    found[there] = np.array(numbers, np.int64)[codes.reshape(-1)]
    if is_null.any():
        found[is_null] = known.setdefault(None, len(known))
    return _items(found, column)


def _items(values: Array, column: Column) -> Array:
    """Of the lists of these rows alone."""
    return values if column.offsets is None else values[column.offsets[0] : column.offsets[-1]]


def _plain(column: Column) -> FloatArray:
    """[C] float32; NaN where there is no number."""
    values = column.values.reshape(-1).astype(np.float32)
    if column.is_null is not None:
        values[column.is_null.reshape(-1)] = np.nan
    return _items(values, column)


def _labels(path: Path, name: str, column: Column) -> IndexArray:
    """[C] 1, 0, or `NONE`."""
    is_null = None if column.is_null is None else column.is_null.reshape(-1)
    if column.categories is not None:
        by_code = np.array([_of_text(path, name, text) for text in column.categories], np.int64)
        values = by_code[column.values.reshape(-1)] if len(by_code) else np.full(column.values.size, NONE)
    else:
        cells = column.values.reshape(-1).astype(np.float64)
        cells = np.where(np.isnan(cells), NONE, cells)
        odd = ~np.isin(cells, (0, 1, NONE)) & (True if is_null is None else ~is_null)
        if odd.any():
            raise DataError(
                f"`{name}` of `{path}` holds {cells[odd][0]:g}, and a label is 0 or 1, or -1 where there is none",
                hint="name the column of labels with `--against`",
            )
        values = cells.astype(np.int64)
    if is_null is not None:
        values = np.where(is_null, NONE, values)
    return _items(values, column)


def _of_text(path: Path, name: str, text: object) -> int:
    if text is None or text == "":
        return NONE
    for word, value in _TEXTS.items():
        if str(text).strip().lower().endswith(word):
            return value
    raise DataError(
        f"`{name}` of `{path}` holds `{text}`, and labels are `positive` or `negative`, or flags",
        hint="name the column of labels with `--against`",
    )
