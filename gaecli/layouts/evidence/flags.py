"""What a block tells of columns that nobody uses: whether they hold flags, and where these stand beside the ends;
whether they are ids or counters, and where these break off.

A lane that may go on in another block has its first and its last step kept apart: only all blocks together
know whether they begin or end anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, fields
from typing import TYPE_CHECKING

import numpy as np

from gaecli.array_types import Array, BoolArray, IndexArray
from gaecli.formats.base import Column
from gaecli.layouts.evidence.unused_flags import flags_in
from gaecli.records import dataclass
from gaecli.rollouts import Block

if TYPE_CHECKING:
    from gaecli.layouts.evidence.breaks import ColumnBreaks, LanePairs, Neighbours


@dataclass(frozen=True)
class EndCounts:
    """Steps, and the ends among them as far as one block knows."""

    steps: int = 0
    terminated: int = 0
    truncated: int = 0
    #: Rows that hold the last state of an episode and no step.
    padding: int = 0
    #: Steps that end a trajectory for whatever reason, and steps that follow one.
    last: int = 0
    first: int = 0

    @classmethod
    def of(cls, **flags: BoolArray) -> EndCounts:
        """How many are set, by the names of the counts."""
        return cls(**{name: int(np.count_nonzero(one)) for name, one in flags.items()})

    def __add__(self, other: EndCounts) -> EndCounts:
        return EndCounts(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def __sub__(self, other: EndCounts) -> EndCounts:
        return EndCounts(*(getattr(self, f.name) - getattr(other, f.name) for f in fields(self)))

    @property
    def flagged(self) -> int:
        return self.terminated + self.truncated + self.padding


@dataclass(frozen=True, eq=False)
class FlagEvidence:
    """One unused column in one block."""

    #: Of the steps on which it is set.
    on: EndCounts = EndCounts()
    #: Of those, how many have a step after them that is set as well; and the same of steps where it is not set.
    pairs_set: int = 0
    pairs_clear: int = 0
    #: [lanes] the column at both ends of every lane that may go on elsewhere.
    lane_firsts: BoolArray | None = None
    lane_lasts: BoolArray | None = None


@dataclass(frozen=True, eq=False)
class BlockEnds:
    """The ends of a block, and what the unused columns have to do with them; None: it is no flag."""

    counts: EndCounts
    unused: Mapping[str, FlagEvidence | None]
    #: Of the same columns, as ids and counters; flags that are true or false are neither.
    breaks: Mapping[str, ColumnBreaks] = field(default_factory=dict)
    #: Of steps that follow another one of their lane; None: some rows are no steps.
    pairs: LanePairs | None = None
    #: Of columns of a few values that are no flags, what each of them would say as one; None: there are too many.
    valued: Mapping[str, Mapping[str, FlagEvidence] | None] = field(default_factory=dict)


def block_ends(block: Block, columns: Mapping[str, Column], names: Sequence[str], start: int) -> BlockEnds:
    """`names` of `columns` are those that no role uses; `start` is the first row of the block."""
    is_step = np.ones(block.num_steps, np.bool_) if block.is_step is None else block.is_step
    last, first = _borders(block)
    counts = EndCounts.of(
        steps=is_step,
        terminated=block.terminated,
        truncated=block.truncated,
        padding=~is_step,
        last=last,
        first=first,
    )
    if not names:
        return BlockEnds(counts, {})
    from gaecli.layouts.evidence.breaks import Neighbours

    def evidence(column: Column, cells: Array | None) -> FlagEvidence | None:
        return _evidence(block, column, cells, start, is_step, last, first)

    neighbours = Neighbours.of(block)
    unused = {name: evidence(columns[name], flags_in(columns[name])) for name in names}
    return BlockEnds(
        counts,
        unused,
        {} if neighbours is None else _breaks(block, neighbours, columns, names, start),
        None if neighbours is None else neighbours.pairs(block, start),
        {
            name: _valued(block, name, columns[name], evidence, start)
            for name, found in unused.items()
            if found is None
        },
    )


def _valued(
    block: Block,
    name: str,
    column: Column,
    evidence: Callable[[Column, Array], FlagEvidence | None],
    start: int,
) -> Mapping[str, FlagEvidence] | None:
    """By the value, or by the test that takes what a column holds at few steps."""
    from gaecli.layouts.evidence.told_at_ends import told_cells
    from gaecli.layouts.evidence.valued import value_cells

    rows = _per_row(block, column, column.values, start) if block.list_offsets is None else None
    steps = None if rows is None else block.placement.to_steps(rows)
    told = told_cells(name, column, steps, block.lanes.starts)
    cells = value_cells(column) if told is None else dict([told])
    if cells is None:
        return None
    found = {label: evidence(column, where) for label, where in cells.items()}
    return {label: one for label, one in found.items() if one is not None}


def _breaks(
    block: Block, neighbours: Neighbours, columns: Mapping[str, Column], names: Sequence[str], start: int
) -> dict[str, ColumnBreaks]:
    from gaecli.layouts.evidence.breaks import column_breaks
    from gaecli.layouts.evidence.moments import moments_in

    found = {}
    for name in names:
        column = columns[name].as_ids()
        rows = _per_row(block, column, column.values, start)
        if rows is None or column.values.dtype.kind not in "iuf":
            continue
        is_null = None if column.is_null is None else _per_row(block, column, column.is_null, start)
        moments = moments_in(columns[name])
        times = None if moments is None else _per_row(block, columns[name], moments, start)
        found[name] = column_breaks(
            block, neighbours, name, column, rows, is_null, start, times, columns[name].categories is not None
        )
    return found


def _borders(block: Block) -> tuple[BoolArray, BoolArray]:
    """(last steps, first steps) of trajectories, but for the ends of lanes that may go on elsewhere."""
    is_step = block.is_step
    last = block.cuts if is_step is None else block.cuts & is_step
    first = np.ones(block.num_steps, np.bool_)
    first[1:] = block.cuts[:-1]
    first[block.lanes.starts] = False
    return last, first if is_step is None else first & is_step


def _evidence(
    block: Block,
    column: Column,
    cells: Array | None,
    start: int,
    is_step: BoolArray,
    last: BoolArray,
    first: BoolArray,
) -> FlagEvidence | None:
    rows = None if cells is None else _per_row(block, column, cells, start)
    if rows is None:
        return None
    flags = block.placement.to_steps(rows) & is_step
    lanes = block.lanes
    pairs = block.has_successor()[:-1]
    return FlagEvidence(
        EndCounts.of(
            steps=flags,
            terminated=flags & block.terminated,
            truncated=flags & block.truncated,
            last=flags & last,
            first=flags & first,
        ),
        pairs_set=int(np.count_nonzero(flags[:-1] & flags[1:] & pairs)),
        pairs_clear=int(np.count_nonzero(~flags[:-1] & ~flags[1:] & pairs)),
        lane_firsts=flags[lanes.starts],
        lane_lasts=flags[lanes.stops - 1],
    )


def _per_row(block: Block, column: Column, cells: Array, start: int) -> Array | None:
    """The cells as the rows of the block stand in the file; None where they do not fit the rewards."""
    offsets = block.list_offsets
    if offsets is not None:
        return _per_item(column, cells, offsets)
    num_rows = block.placement.num_rows
    if block.placement.dense_shape is None and cells.ndim > 1 and cells.shape[0] != num_rows:
        cells = _without_last_column(cells, num_rows)
    flat = cells.reshape(-1)
    beyond = len(flat) - num_rows
    if beyond < 0:
        return None
    # One time more comes with the last block; an array that cannot be read in pieces comes whole with every one.
    one_time = 1 if block.placement.dense_shape is None else block.placement.dense_shape[1]
    first = 0 if beyond in (0, one_time) else start
    return flat[first : first + num_rows]


def _without_last_column(cells: Array, num_rows: int) -> Array:
    """[B, T + 1] as [B, T]."""
    squeezed = cells.reshape(cells.shape[0], -1)
    is_longer = squeezed.shape[0] * (squeezed.shape[1] - 1) == num_rows
    return squeezed[:, :-1] if is_longer else squeezed


def _per_item(column: Column, cells: Array, offsets: IndexArray) -> BoolArray | None:
    lengths = np.diff(offsets)
    has_items = lengths > 0
    if column.offsets is None:
        items = np.zeros(int(offsets[-1]), np.bool_)
        items[offsets[1:][has_items] - 1] = cells[has_items]
        return items
    theirs = np.diff(column.offsets)
    if np.array_equal(theirs, lengths):
        return cells
    if not np.array_equal(theirs, lengths + 1):
        return None
    kept = np.ones(len(cells), np.bool_)
    kept[column.offsets[1:] - 1] = False
    flags: BoolArray = cells[kept]
    return flags
