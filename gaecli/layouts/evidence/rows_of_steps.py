"""The first rows of a file whose rows are trajectories, with what stands beside each of their steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from gaecli.array_types import Array, BoolArray, IndexArray
from gaecli.errors import GaeError
from gaecli.formats.base import Column, RolloutFile, Unit
from gaecli.records import dataclass

#: As many steps are looked at, and no fewer rows than these if there are more.
_STEPS = 1 << 15
_FEWEST_ROWS = 16


@dataclass(frozen=True, eq=False)
class RowsOfSteps:
    """Rows of lists, or of an array [B, T]."""

    #: [rows + 1] row i is the cells offsets[i] up to offsets[i + 1].
    offsets: IndexArray
    #: The cells of the column that says how long rows are.
    like: Array
    #: Others with a cell per step, in this order.
    columns: Mapping[str, Column]
    #: Lists of other lengths, and columns with a cell per row.
    others: Mapping[str, Column]
    of_rows: Mapping[str, Column]

    @classmethod
    def of(
        cls, file: RolloutFile, like: str, names: Sequence[str], units: Sequence[Unit]
    ) -> RowsOfSteps | None:
        """None where nothing can be read."""
        blocks: list[dict[str, Column]] = []
        num_steps = num_rows = 0
        try:
            for unit in units:
                for _, _, columns in file.blocks(unit, list(dict.fromkeys([like, *names])), _STEPS):
                    blocks.append(columns)
                    lists = _offsets(columns[like])
                    num_rows, num_steps = num_rows + len(lists) - 1, num_steps + int(lists[-1])
                    if num_steps >= _STEPS and num_rows >= _FEWEST_ROWS:
                        return cls._joined(blocks, like, names)
        except GaeError:
            return None  # nobody asked for these columns: what is wrong with one is no matter here
        return cls._joined(blocks, like, names) if num_rows else None

    @classmethod
    def _joined(cls, blocks: Sequence[Mapping[str, Column]], like: str, names: Sequence[str]) -> RowsOfSteps:
        lengths = np.concatenate([np.diff(_offsets(columns[like])) for columns in blocks])
        found, others, of_rows = {}, {}, {}
        for name in names:
            parts = [columns[name] for columns in blocks]
            if not all(part.values.ndim == 2 or part.offsets is not None for part in parts):
                of_rows[name] = _flat(parts)
                continue
            own_lengths = np.concatenate([np.diff(_offsets(part)) for part in parts])
            if np.array_equal(own_lengths, lengths):
                found[name] = _flat(parts)
            else:
                others[name] = replace(_flat(parts), offsets=_summed(own_lengths))
        cells = _flat([columns[like] for columns in blocks]).values
        of_rows = {name: column for name, column in of_rows.items() if len(column.values) == len(lengths)}
        return cls(_summed(lengths), cells, found, others, of_rows)

    @property
    def num_steps(self) -> int:
        return int(self.offsets[-1])

    @cached_property
    def lengths(self) -> IndexArray:
        return np.diff(self.offsets)

    @property
    def are_equally_long(self) -> bool:
        """As rows are that were padded to one length."""
        return len(self.lengths) > 1 and bool((self.lengths == self.lengths[0]).all())

    def runs_at_ends(self, where: BoolArray) -> tuple[IndexArray, IndexArray]:
        """[rows] each: how many cells are set at the beginning of a row, and how many at its end. Equal lengths."""
        rows = where.reshape(len(self.lengths), -1)
        heads = np.where(rows.all(axis=1), rows.shape[1], np.argmin(rows, axis=1))
        tails = np.where(rows.all(axis=1), rows.shape[1], np.argmin(rows[:, ::-1], axis=1))
        return heads.astype(np.int64), tails.astype(np.int64)


def _summed(lengths: IndexArray) -> IndexArray:
    return np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)


def _offsets(column: Column) -> IndexArray:
    if column.offsets is not None:
        return column.offsets
    rows, *axes = column.values.shape
    return np.arange(rows + 1, dtype=np.int64) * int(np.prod(axes))


def _flat(parts: Sequence[Column]) -> Column:
    """One column of cells; texts as texts, as each block has codes of its own."""
    values: Array = np.concatenate([_cells(part) for part in parts])
    if all(part.is_null is None for part in parts):
        return Column(values)
    nulls = [
        np.zeros(part.values.size, np.bool_) if part.is_null is None else part.is_null.reshape(-1)
        for part in parts
    ]
    return Column(values, np.concatenate(nulls))


def _cells(part: Column) -> Array:
    values = part.values.reshape(-1)
    if part.categories is None:
        return values
    texts = np.array([*map(str, part.categories), ""])
    return texts[np.where((values >= 0) & (values < len(part.categories)), values, len(texts) - 1)]
