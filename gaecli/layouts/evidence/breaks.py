"""Columns that no role uses and that break off where trajectories end: ids that change, counters that begin anew.

`demo`, `elapsed_step`, `progress_buf`, `stay_id`: what published writers call these things has no end, so that a name
decides nothing here. The rows do: an id stays the same for a while and never comes back, a counter goes up, or down,
and begins again. Where one does so at every end that is known, and elsewhere too, there are ends that nothing else
tells of; where it does so one row beside them all, the flags belong to other rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field, fields
from typing import Literal, NamedTuple

import numpy as np

from gaecli.array_types import Array, BoolArray, FloatArray, IndexArray, Names
from gaecli.formats.base import Column
from gaecli.layouts.evidence.interleaved import TurnFacts, times_in, turns_in
from gaecli.layouts.evidence.scattered import ScatterFacts, scatter_in
from gaecli.layouts.keys import has_duplicates, names_at
from gaecli.layouts.list_items import row_locator
from gaecli.names import word_set, words_of
from gaecli.records import dataclass
from gaecli.rollouts import Block

#: A counter begins anew, or an id is another.
Reading = Literal["restarts", "changes"]

#: A counter may be off a constant distance by this share of it: seconds in float32.
_JITTER = 1e-3
#: Of neighbours, so many may be of different trajectories where no end is known that would speak for it.
MOST_ALONE = 0.25
#: What a time is called that goes up as long as its stream goes on, and beside what; others begin anew with an
#: update, or count down.
_TIMES = word_set(
    "time times timestamp timestamps datetime clock step steps timestep timesteps frame frames tick ticks elapsed"
)
_BESIDE_TIMES = word_set(
    "global total env environment envs wall sim simulation real abs absolute unix recorded agent interaction "
    "interactions num n count counter s sec secs seconds ms us ns episode episodes ep traj trajectory at date"
)
#: One that does not go up evenly falls so seldom.
_SELDOM = 0.05
#: Of a column that is none, they tell.
_FIRST_ROWS = 1 << 10


@dataclass(frozen=True)
class Breaks:
    """Where one column breaks off, in one block or in all of them. Counts are of pairs of neighbours in a lane."""

    #: Over an end that is known, and within what is taken for one trajectory.
    at_ends: int = 0
    inside: int = 0
    #: Known ends with a break, or no step of the lane, one row before them, and one row behind.
    before_ends: int = 0
    behind_ends: int = 0

    def __add__(self, other: Breaks) -> Breaks:
        return Breaks(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


@dataclass(frozen=True)
class ColumnBreaks:
    """Both readings of a column; None where the cells are not such ones."""

    #: An id: one for a while, then another that was not there before.
    changes: Breaks | None
    #: A counter: in one direction throughout, then anew.
    restarts: Breaks | None
    #: The first row of the file at which it breaks off within a trajectory, by either reading.
    first_change: int | None
    first_restart: int | None
    #: Of every lane, what stands at its first and its last step.
    firsts: Names
    lasts: Names
    #: The same as numbers, and whether they go up (1) or down (-1): of a counter.
    numbers: Sequence[FloatArray] | None
    direction: int
    #: The numbers at which it begins anew within a trajectory, and of those before; the lowest and the highest.
    begins: tuple[float, float] | None = None
    stops: tuple[float, float] | None = None
    #: Of rows that stand in one lane: whether several take turns.
    turns: TurnFacts | None = None
    #: The cells are dates or times, whatever the name; written as texts.
    holds_times: bool = False
    is_text: bool = False
    #: Whether the rows stand in another order than that of the column.
    scatter: ScatterFacts | None = None
    #: By the reading, [lanes] whether it breaks off between the first two steps of a lane, and between the last two.
    at_edges: Mapping[Reading, tuple[BoolArray, BoolArray]] = field(default_factory=dict)


class LanePairs(NamedTuple):
    """How many pairs a block has, and [lanes] what other blocks ask of the first and of the last one of each lane."""

    total: int = 0
    #: Known ends that a step follows.
    ended: int = 0
    #: There is one step, and no pair.
    is_single: BoolArray = np.zeros(0, np.bool_)
    #: A known end is between the first two steps, and between the last two.
    first_ended: BoolArray = np.zeros(0, np.bool_)
    last_ended: BoolArray = np.zeros(0, np.bool_)
    #: The row of the file that the first step stands in.
    first_rows: IndexArray = np.zeros(0, np.int64)


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The pairs (t, t + 1) of steps of a block that follow one another in their lane; [N - 1] each."""

    follow: BoolArray
    #: A known end stands between them.
    ended: BoolArray
    #: [lanes] the first and the last pair; the numbers of others where a lane has none.
    edges: tuple[IndexArray, IndexArray]

    @classmethod
    def of(cls, block: Block) -> Neighbours | None:
        """None where some rows are no steps, which stand between the others."""
        if block.is_step is not None:
            return None
        follow = np.ones(max(block.num_steps - 1, 0), np.bool_)
        if block.stream_ends is not None:
            follow[block.stream_ends[block.stream_ends < len(follow)]] = False
        starts, stops = block.lanes_in_time()
        return cls(follow, block.cuts[:-1] & follow, (starts, stops - 2))

    @classmethod
    def of_rows(cls, num_rows: int) -> Neighbours:
        """Of rows one after the other, of which no end is known."""
        follow = np.ones(max(num_rows - 1, 0), np.bool_)
        none = np.zeros(0, np.int64)
        return cls(follow, np.zeros_like(follow), (none, none))

    def pairs(self, block: Block, start: int) -> LanePairs:
        """`start` is the first row of the block."""
        starts, stops = block.lanes_in_time()
        return LanePairs(
            int(np.count_nonzero(self.follow)),
            int(np.count_nonzero(self.ended)),
            stops - starts < 2,
            *self.at_edges(self.ended),
            start + block.file_rows(starts),
        )

    def at_edges(self, where: BoolArray) -> tuple[BoolArray, BoolArray]:
        """Of the first and of the last pair of each lane."""
        padded = np.append(where, False)  # of one step alone
        return padded[self.edges[0]], padded[self.edges[1]]

    def breaks(self, where: BoolArray) -> Breaks:
        # Where a lane begins or ends, nothing stands that could break off.
        beside = np.ones(len(where) + 2, np.bool_)
        beside[1:-1] = where | ~self.follow
        return Breaks(
            int(np.count_nonzero(where & self.ended)),
            int(np.count_nonzero(where & self.follow & ~self.ended)),
            int(np.count_nonzero(beside[:-2] & self.ended)),
            int(np.count_nonzero(beside[2:] & self.ended)),
        )


def is_time(name: str) -> bool:
    words = words_of(name)
    return not _TIMES.isdisjoint(words) and all(one in _TIMES or one in _BESIDE_TIMES for one in words)


def column_breaks(
    block: Block,
    neighbours: Neighbours,
    name: str,
    column: Column,
    rows: Array,
    is_null: BoolArray | None,
    start: int,
    times: Array | None,
    is_text: bool,
) -> ColumnBreaks:
    """`rows`: the numbers or codes of a column as the rows of the block stand in the file; `times`: of dates."""
    cells = block.placement.to_steps(rows)
    absent = None if is_null is None else block.placement.to_steps(is_null)
    # Phases and turns change within a row of lists, which is a trajectory by itself.
    changed = _changes(cells, absent, neighbours) if block.list_offsets is None else None
    # Codes of texts go up for no reason.
    numbers = cells if times is None else block.placement.to_steps(times)
    restarted, direction = None, 0
    if column.categories is None or times is not None:
        may_jump = times is not None or is_time(name)
        restarted, direction = _restarts(numbers, absent, neighbours, may_jump)
    moved = Column(cells, absent, categories=column.categories)
    starts, stops_of_lanes = block.lanes_in_time()

    def first_row(where: BoolArray | None) -> int | None:
        if where is None or not (inside := where & neighbours.follow & ~neighbours.ended).any():
            return None
        row = int(block.placement.rows_of_steps(np.flatnonzero(inside) + 1).min())
        return start + row if block.list_offsets is None else row_locator(start, block.list_offsets)(row)

    turns = None
    if block.lanes.count == 1 and absent is None:
        turns = (
            turns_in(name, cells, is_text=column.categories is not None)
            if times is None
            else times_in(name, numbers, is_text=is_text)
        )
    scatter = None
    if absent is None and (column.categories is None or times is not None):
        scatter = scatter_in(
            numbers,
            neighbours.follow & ~neighbours.ended,
            (starts, stops_of_lanes - 1),
            is_time=is_time(name),
            holds_dates=times is not None,
        )
    begins = stops = None
    if (
        restarted is not None
        and times is None
        and (inside := np.flatnonzero(restarted & neighbours.follow & ~neighbours.ended)).size
    ):
        begins, stops = (_span(cells[places]) for places in (inside + 1, inside))
    return ColumnBreaks(
        None if changed is None else neighbours.breaks(changed),
        None if restarted is None else neighbours.breaks(restarted),
        first_row(changed),
        first_row(restarted),
        names_at([moved], starts),
        names_at([moved], stops_of_lanes - 1),
        None
        if restarted is None
        else [numbers[at].astype(np.float64) for at in (starts, stops_of_lanes - 1)],
        direction,
        begins,
        stops,
        turns,
        times is not None,
        is_text,
        scatter,
        {
            reading: neighbours.at_edges(where)
            for reading, where in _by_reading(changed, restarted)
            if where is not None
        },
    )


def _by_reading(
    changed: BoolArray | None, restarted: BoolArray | None
) -> list[tuple[Reading, BoolArray | None]]:
    return [("changes", changed), ("restarts", restarted)]


def first_break(cells: Array, absent: BoolArray | None) -> Reading | None:
    """Whether the cells of neighbouring rows are those of an id, or of a counter; None: of neither."""
    neighbours = Neighbours.of_rows(len(cells))
    follow = neighbours.follow
    readings: dict[Reading, BoolArray | None] = {
        "restarts": _restarts(cells, absent, neighbours)[0],
        "changes": _changes(cells, absent, neighbours),
    }
    for reading, where in readings.items():
        count = 0 if where is None else int(np.count_nonzero(where & follow))
        if 0 < count <= MOST_ALONE * len(follow):
            return reading
    return None


def _span(numbers: Array) -> tuple[float, float]:
    return float(numbers.min()), float(numbers.max())


def _changes(cells: Array, absent: BoolArray | None, neighbours: Neighbours) -> BoolArray | None:
    """[N - 1] the value changes; None if one comes back in its lane, or nearly every row has its own."""
    changed: BoolArray = cells[1:] != cells[:-1]
    if absent is not None:
        changed = (changed & ~(absent[1:] & absent[:-1])) | (absent[1:] != absent[:-1])
    if np.count_nonzero(changed) > len(changed) // 2 + 1:
        return None
    starts = np.flatnonzero(np.concatenate(([True], changed | ~neighbours.follow)))
    _, codes = np.unique(cells[starts], return_inverse=True)
    if absent is not None:
        codes = np.where(absent[starts], -1, codes)
    lanes = np.concatenate(([0], np.cumsum(~neighbours.follow)))[starts]
    return None if has_duplicates(lanes * (len(starts) + 1) + codes + 1) else changed


def _restarts(
    cells: Array, absent: BoolArray | None, neighbours: Neighbours, is_time: bool = False
) -> tuple[BoolArray | None, int]:
    """([N - 1] it goes against its direction, that direction); None if it stands still, or jumps as none does.

    A time goes up as it likes, and falls now and then.
    """
    follow, first = neighbours.follow, slice(_FIRST_ROWS)
    if absent is not None or ((cells[1:][first] == cells[:-1][first]) & follow[first]).any():
        return None, 0
    rises, falls = (cells[1:] > cells[:-1]) & follow, (cells[1:] < cells[:-1]) & follow
    num_pairs, num_rises, num_falls = (int(np.count_nonzero(where)) for where in (follow, rises, falls))
    if num_rises + num_falls < num_pairs:
        return None, 0
    direction = 1 if num_rises >= num_falls else -1
    forward, back = (rises, falls) if direction == 1 else (falls, rises)
    falls_seldom = is_time and num_falls <= _SELDOM * num_pairs
    if min(num_rises, num_falls) and not falls_seldom and not _is_anew(cells, forward, back):
        return None, 0
    return back, direction if num_pairs else 0


def _is_anew(cells: Array, forward: BoolArray, back: BoolArray) -> bool:
    """Its steps are even, or it begins at one number each time, or ends at one."""
    numbers = cells if cells.dtype.kind == "i" and cells.itemsize == 8 else cells.astype(np.float64)
    steps = np.diff(numbers)[forward]
    usual = float(steps[0])
    if (np.abs(steps - usual) <= _JITTER * abs(usual)).all():
        return True
    places = np.flatnonzero(back)
    return len(places) > 1 and any(
        bool((ends == ends[0]).all()) for ends in (numbers[places + 1], numbers[places])
    )
