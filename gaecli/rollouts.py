"""Rollout data as the estimators see it: flat arrays, whatever the file looked like.

A `Block` is a contiguous piece of one input. Its steps stand in *lane* order: a lane is a run of
steps that follow one another in time (one environment, one list row, or simply the whole block),
and lanes stand one after the other. What happens at the border of a block, where a trajectory may
go on in the next block or file, is described by `Lanes` and settled by the pipeline, because no
block can know it alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from gaecli.array_types import Array, BoolArray, FloatArray, IndexArray, Names
from gaecli.block_facts import BlockFacts
from gaecli.choices import UnitIs
from gaecli.records import dataclass


@dataclass(frozen=True, eq=False)
class Placement:
    """Where the steps of a block stand among the rows of the file.

    Exactly one form holds: `order` is None and `dense_shape` is None (step i is row i), `order`
    (step i is row order[i]; rows that are not named hold no step), or `dense_shape` = (T, N): the
    steps are the transposed [N, T] of a time-major array. Rows behind the T N are of a last time,
    whose first lanes alone are there: these have a step more. Where the N rows of a time stand in
    any order, row i is cell `cells[i]` of that array.
    """

    num_rows: int
    order: IndexArray | None = None
    dense_shape: tuple[int, int] | None = None
    cells: IndexArray | None = None

    @property
    def has_other_rows(self) -> bool:
        """Some rows hold no step."""
        return self.order is not None and len(self.order) < self.num_rows

    def to_steps(self, rows: Array) -> Array:
        """Per-row values in the order of the steps."""
        if self.dense_shape is not None:
            # Within a time first: rows that are taken from all over a block are each of another line of the cache.
            return self._turned(rows if self.cells is None else _scattered(rows, self.cells))
        return rows if self.order is None else rows.take(self.order, axis=0)  # twice as fast as an index

    def to_rows(self, steps: Array, fill: Any = np.nan, dtype: np.dtype[Any] | None = None) -> Array:
        """Per-step values in the order of the file's rows, as `dtype`; `fill` where a row holds no step."""
        if self.dense_shape is not None:
            table = self._turned(steps, back=True, dtype=dtype)
            return table if self.cells is None else table.take(self.cells)
        if dtype is not None:
            steps = steps.astype(dtype, copy=False)
        if self.order is None:
            return steps
        if not self.has_other_rows:
            return _scattered(steps, self.order)
        rows = np.full(self.num_rows, fill, dtype=steps.dtype)
        rows[self.order] = steps
        return rows

    def is_same(self, other: Placement, *num_steps: int) -> bool:
        """So many steps here and there stand in the same rows."""
        if (
            len(set(num_steps)) > 1
            or self.num_rows != other.num_rows
            or self.dense_shape != other.dense_shape
        ):
            return False
        if all(each is None for each in (self.order, other.order, self.cells, other.cells)):
            return True
        steps = np.arange(num_steps[0])
        return bool(np.array_equal(self.rows_of_steps(steps), other.rows_of_steps(steps)))

    def row_of_step(self, step: int) -> int:
        """Index among the block's rows (flat, for dense arrays) of one step."""
        return int(self.rows_of_steps(np.array([step], np.int64))[0])

    def rows_of_steps(self, steps: IndexArray) -> IndexArray:
        """The same for many steps."""
        if self.dense_shape is not None:
            num_times, num_lanes = self.dense_shape
            lanes, times = np.divmod(steps, num_times)
            if num_longer := self.num_rows - num_times * num_lanes:
                lanes, times = np.divmod(steps, num_times + 1)
                is_longer = lanes < num_longer
                others = np.divmod(steps - num_longer, num_times)
                lanes, times = np.where(is_longer, lanes, others[0]), np.where(is_longer, times, others[1])
            found = times * num_lanes + lanes
            return found if self.cells is None else self._rows_of_cells(found, num_lanes)
        return steps if self.order is None else self.order[steps]

    def _turned(self, cells: Array, *, back: bool = False, dtype: np.dtype[Any] | None = None) -> Array:
        """Cells, time by time, as steps, lane by lane; or back."""
        assert self.dense_shape is not None
        num_times, num_lanes = self.dense_shape
        num_longer = self.num_rows - num_times * num_lanes
        cells, found = np.ascontiguousarray(cells), np.empty(self.num_rows, dtype or cells.dtype)
        rows, steps = (found, cells) if back else (cells, found)
        table = rows[: num_times * num_lanes].reshape(num_times, num_lanes)
        last_time = rows[num_times * num_lanes :].reshape(1, num_longer)
        split = num_longer * (num_times + 1)
        longer = steps[:split].reshape(num_longer, num_times + 1)
        others = steps[split:].reshape(num_lanes - num_longer, num_times)
        for in_time, in_lanes in (
            (table[:, :num_longer], longer[:, :num_times]),
            (table[:, num_longer:], others),
            (last_time, longer[:, num_times:]),
        ):
            _transpose(*((in_lanes, in_time) if back else (in_time, in_lanes)))
        return found

    def _rows_of_cells(self, wanted: IndexArray, num_lanes: int) -> IndexArray:
        assert self.cells is not None
        if len(wanted) * num_lanes > len(self.cells):
            rows: IndexArray = _scattered(np.arange(len(self.cells)), self.cells)[wanted]
            return rows
        first = wanted - wanted % num_lanes
        of_time = first[:, None] + np.arange(num_lanes)
        within: IndexArray = np.argmax(self.cells[of_time] == wanted[:, None], axis=1)
        return first + within


def _scattered(values: Array, places: IndexArray) -> Array:
    """Each to its place; every place has one."""
    found = np.empty(len(values), values.dtype)
    found[places] = values
    return found


#: Bytes of a table that are transposed at a time: what is read of a line of the cache is there for the others.
_TRANSPOSED_BYTES = 1 << 15
#: The same of what is put side by side first: then longer rows pay more than a smaller cache.
_GATHERED_BYTES = 1 << 17


def _transpose(table: Array, found: Array) -> None:
    """[R, C] into [C, R]."""
    num_rows, num_columns = table.shape
    is_long = num_rows >= num_columns
    num_bytes = _TRANSPOSED_BYTES if is_long else _GATHERED_BYTES
    # Odd: rows of a piece that are a power of two apart would want the same few lines of the cache.
    step = num_bytes // max(found.itemsize * min(num_rows, num_columns), 1) | 1
    if is_long:
        for start in range(0, num_rows, step):
            found[:, start : start + step] = table[start : start + step].T
        return
    room = np.empty((num_rows, min(step, num_columns)), found.dtype)
    for start in range(0, num_columns, step):
        stop = min(start + step, num_columns)
        # Far apart as they stand, every row of the piece would be of another page.
        piece = room[:, : stop - start]
        piece[...] = table[:, start:stop]
        found[start:stop] = piece.T


@dataclass(frozen=True, eq=False)
class Lanes:
    """What stands at the two ends of each lane that may go on beyond the block.

    All sequences have one entry per lane. A trajectory goes on from this block's lane into a later
    block's lane when the `keys` are equal, the last step here is not cut, and `last_ids` here equals
    `first_ids` there. Steps that stand in no lane belong to trajectories that are whole in this block.
    """

    #: Lane k is steps starts[k] up to stops[k].
    starts: IndexArray
    stops: IndexArray
    keys: Names
    #: What tells trajectories of one lane apart, at the first and at the last step.
    first_ids: Names
    last_ids: Names
    #: False where the trajectory of the last step is known to end there.
    open_ends: BoolArray
    #: Start-flag data: the first step of the lane begins a trajectory, so the step before it ended one.
    first_is_start: BoolArray
    #: The first step of the lane is a padding row, which holds the last state of the trajectory before
    #: it: 1 if that state is terminal, 0 if its value is the bootstrap; -1 for a real step. 2: a mask leaves it out,
    #: which ends the trajectory before it terminally, if nothing else does (`--mask-mode cut`).
    first_padding: npt.NDArray[np.int8]
    #: V beyond the last step, should its trajectory end there; NaN where the file does not say.
    last_bootstraps: FloatArray | None = None
    #: V(sₜ₊₁) of the last step from its own row, unless what follows says that the state is terminal; NaN where
    #: not given, and where that is known in the block, whose next values have it then.
    last_next_values: FloatArray | None = None
    #: Step column at both ends, for the check that nothing is missing or doubled in between: int64 where it
    #: counts, float64 where it only orders.
    first_steps: IndexArray | FloatArray | None = None
    last_steps: IndexArray | FloatArray | None = None
    #: The last step is one that such a mask leaves out; None: none is.
    last_left_out: BoolArray | None = None

    @property
    def count(self) -> int:
        return len(self.keys)


_NONE, _NO_FLAGS = np.zeros(0, np.int64), np.zeros(0, np.bool_)
NO_LANES = Lanes(_NONE, _NONE, (), (), (), _NO_FLAGS, _NO_FLAGS, np.zeros(0, np.int8))


@dataclass(frozen=True, eq=False)
class NextRows:
    """The row that follows each lane in time, whatever trajectory it belongs to; an entry per lane.

    Lanes are those of `gaecli.estimators.time_order` here.
    """

    #: A later block has one. Where none has, the others are 0.
    exist: BoolArray
    rewards: Array
    values: Array
    terminated: BoolArray
    truncated: BoolArray
    cuts: BoolArray
    is_step: BoolArray
    #: It is no step if its reward is that of the row before it (`gaecli.estimators.time_order`).
    idle: BoolArray


@dataclass(frozen=True, eq=False)
class Labels:
    """The cells of a column, one for each step, as codes into the names that there are."""

    #: [N]
    codes: IndexArray
    names: Names


@dataclass(frozen=True, eq=False)
class MaskedSlots:
    """Rows of which only some are steps, and what stands for the others if they are to hold numbers."""

    #: [rows] the step whose advantage the row carries: itself, or the next one of its trajectory; -1: none.
    sources: IndexArray
    #: [rows] the last step of the trajectory where none follows; -1 elsewhere.
    owners: IndexArray
    #: [rows] V of the row, NaN and inf included.
    values: Array


@dataclass(frozen=True, eq=False)
class Units:
    """Runs of steps that are one step to the estimator, such as the turns of a dialogue."""

    #: [N] which unit a step belongs to, ascending over the block; -1: to none.
    numbers: IndexArray
    #: What the column was taken for.
    reading: UnitIs
    lanes: UnitLanes = field(default_factory=lambda: NO_UNIT_LANES)


@dataclass(frozen=True, eq=False)
class UnitLanes:
    """The units at the two ends of each lane: a unit goes on where the trajectory does, and the unit is the same.

    An entry per lane: of the first step of its first trajectory that is in some unit, and of the last of its last.
    """

    #: There is such a step.
    has_heads: BoolArray
    has_tails: BoolArray
    #: The units are the same where these are.
    heads: Names
    tails: Names
    #: A flag ends the unit with that last step, or would if what is taken for ids were flags.
    ended: BoolArray
    by_flags: bool = False
    #: Where the unit of a step is that of the next one (`Preset.mask_shift`): what is known of those at the ends.
    ahead: UnitsAhead | None = None


@dataclass(frozen=True, eq=False)
class UnitsAhead:
    """[lanes] each. A step is in the unit of the row after it, which may be in another block."""

    #: The first row of the lane is in a unit.
    first_inside: BoolArray
    #: Of the first trajectory, a row behind its first one is in a unit; and that is the unit of the first one.
    has_more: BoolArray
    goes_on: BoolArray
    #: Of the last trajectory, a row behind its first one is in a unit.
    tail_has_more: BoolArray
    #: The unit of the last row that is in one, of the last trajectory.
    tail_numbers: IndexArray
    #: The last step has a reward that is nowhere else, if no unit follows.
    has_reward: BoolArray


NO_UNIT_LANES: UnitLanes = UnitLanes(_NO_FLAGS, _NO_FLAGS, (), (), _NO_FLAGS)


def num_runs(numbers: IndexArray) -> int:
    """How many runs of equal numbers stand one after the other."""
    return int(np.count_nonzero(numbers[1:] != numbers[:-1])) + (len(numbers) > 0)


@dataclass(frozen=True, eq=False)
class Block:
    """A contiguous piece of rollout data: N steps, trajectories contiguous within their lane.

    Attributes:
        rewards, values: [N] rₜ and V(sₜ), in the type in which they are stored.
        terminated: [N] sₜ₊₁ is terminal.
        cuts: [N] the last step of a trajectory, as far as this block can tell. The last step of a
            lane that may go on is only cut here if a flag says so.
        truncated: [N] the part of `cuts` that a truncation flag accounts for.
        next_values: [N] V(sₜ₊₁) where it is given explicitly, NaN elsewhere; None if nowhere.
        is_step: [N] False for rows that hold a state but no action (the padding row after the last
            step of a trajectory): their advantage does not exist, their value is the bootstrap.
        dropped: [N] steps of trajectories that are left out (`--on-nan drop-episode`).
        masked: [N] steps that a mask leaves out of the statistics (every `--mask-mode` but `skip`).
        slots: what masked rows hold that are no steps (`--mask-mode skip`), if they hold numbers.
        filled: [N] next values that a rule put in, not the file.
        stream_ends: indices of steps, in order, whose successor here is not the step after them in
            time. None: every step follows the one before it.
        labels: what tells groups apart, by column.
        lanes: the lanes that may go on into other blocks; steps of closed lanes end in a cut.
        placement: where the steps stand in the file.
        missing_rewards: [N] no reward is there, which is no error (`--unscored zero`); `rewards` are 0 then.
        has_values: False where the file has no V(sₜ): `values` are 0 then.
        extras: [N] further columns of numbers by name, NaN where a cell says nothing.
        units: runs of steps that the estimator takes for one each; None: every step is one.
        list_offsets: [rows + 1] for list columns: row i of the file holds items list_offsets[i:i+1].
        next_rows: what follows the lanes of time, for rules that reach beyond trajectories; None: not known.
    """

    rewards: Array
    values: Array
    terminated: BoolArray
    truncated: BoolArray
    cuts: BoolArray
    next_values: Array | None
    lanes: Lanes
    placement: Placement
    is_step: BoolArray | None = None
    dropped: BoolArray | None = None
    masked: BoolArray | None = None
    slots: MaskedSlots | None = None
    filled: BoolArray | None = None
    stream_ends: IndexArray | None = None
    labels: Mapping[str, Labels] = field(default_factory=dict)
    missing_rewards: BoolArray | None = None
    has_values: bool = True
    extras: Mapping[str, Array] = field(default_factory=dict)
    units: Units | None = None
    list_offsets: IndexArray | None = None
    null_lists: BoolArray | None = None
    next_rows: NextRows | None = None
    facts: BlockFacts = field(default_factory=lambda: BlockFacts())

    @property
    def num_steps(self) -> int:
        return len(self.rewards)

    def with_next_values_beside(self, waits: BoolArray) -> Block:
        """Those of the last steps of these lanes beside the lanes: what follows decides whether they count."""
        if self.next_values is None or self.lanes.last_next_values is not None or not waits.any():
            return self
        last = self.lanes.stops[waits] - 1
        next_values = self.next_values.astype(np.float64)
        beside = np.full(self.lanes.count, np.nan)
        beside[waits], next_values[last] = next_values[last], np.nan
        return replace(self, next_values=next_values, lanes=replace(self.lanes, last_next_values=beside))

    def file_rows(self, steps: IndexArray) -> IndexArray:
        """The rows of the file, from the start of the block, in which these steps stand."""
        places = self.placement.rows_of_steps(steps)
        if self.list_offsets is None:
            return places
        return np.searchsorted(self.list_offsets, places, side="right").astype(np.int64) - 1

    def piece_ends(self) -> BoolArray:
        """[N] the last step of what the block has of a trajectory: at cuts, and where a lane ends. A new array."""
        ends = self.cuts.copy()
        ends[self.lanes.stops - 1] = True
        return ends

    def trajectories(self) -> tuple[IndexArray, IndexArray]:
        """([N] 0, 1, … by cuts and by lanes; the last step of each)."""
        is_last = self.piece_ends()
        is_last[-1:] = True
        numbers = np.cumsum(is_last)
        return (numbers - is_last).astype(np.int64), np.flatnonzero(is_last)

    def kept_trajectories(self, numbers: IndexArray) -> BoolArray:
        """By the `numbers` of `trajectories`: the mask keeps a step of it, as far as the block has it."""
        counts = np.ones(self.num_steps, np.bool_) if self.masked is None else ~self.masked
        if self.is_step is not None:
            counts = counts & self.is_step
        found: BoolArray = np.bincount(numbers, weights=counts) > 0
        return found

    def lanes_in_time(self) -> tuple[IndexArray, IndexArray]:
        """First steps of lanes, and those behind the last ones, whatever trajectories they hold; none of closed ones.

        Of rows one after the other `lanes` are only the trajectories at both ends, and these are one lane in time.
        """
        if self.stream_ends is not None or not self.lanes.count:
            return self.lanes.starts, self.lanes.stops
        return np.zeros(1, np.int64), np.array([self.num_steps], np.int64)

    def has_successor(self) -> BoolArray:
        """[N] the next step of the block is the next one in time, of whatever trajectory."""
        has = np.ones(self.num_steps, np.bool_)
        has[-1:] = False
        if self.stream_ends is not None:
            has[self.stream_ends] = False
        return has
