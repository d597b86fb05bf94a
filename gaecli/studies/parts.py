"""Steps of a stream, out of one block or put together from many, each trajectory in one place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, Literal

import numpy as np

from gaecli.array_types import Array, BoolArray, FloatArray, IndexArray
from gaecli.pipeline.combine import Carry
from gaecli.pipeline.settle import Settled
from gaecli.records import dataclass
from gaecli.rollouts import NO_LANES, Block, Placement, Units
from gaecli.studies.reading import SettledStream, of_stream, with_lane_ends

#: `written`: as the files have them. `ended`: with V(s') of the ends that only the blocks behind them know, so that
#: any convention may read it that does not reach beyond trajectories. `read`: as its own convention reads it.
PartForm = Literal["written", "ended", "read"]

_PER_STEP = (
    *("rewards", "values", "terminated", "truncated", "cuts", "next_values"),
    *("is_step", "dropped", "masked", "filled"),
)
_FILLS = {"next_values": np.nan, "is_step": True}


@dataclass(frozen=True, eq=False)
class Part:
    """[N] each; in a block of many, steps stand in the order in which the block has them.

    `slots` is the place of each step in a column that has one cell per row (per item of lists, per
    element of an array) of all files; `rows` is its row, counted over all files.
    """

    block: Block
    slots: IndexArray
    rows: IndexArray
    #: The number of its trajectory, in the order in which they begin.
    trajectories: IndexArray
    #: V(s') as far as the files give it, whether or not the convention uses it; NaN elsewhere.
    given: FloatArray
    #: Real steps of trajectories that are kept, no mask on them; and those that the convention gives an advantage.
    counts: BoolArray
    estimated: BoolArray
    #: The column that is to be explained, NaN where it has no number; and what an estimator makes of it. Empty where
    #: nobody asks for them.
    column: FloatArray
    computed: FloatArray

    @property
    def num_steps(self) -> int:
        return self.block.num_steps

    def take(self, steps: Array) -> Part:
        """Some of the steps; where a trajectory loses its end, nobody is told."""
        arrays = {
            name: getattr(self, name)[steps] for name in _ARRAYS if len(getattr(self, name)) == self.num_steps
        }
        return replace(self, block=taken(self.block, steps), **arrays)


_ARRAYS = tuple(field.name for field in fields(Part) if field.name != "block")


def taken(block: Block, steps: Array) -> Block:
    columns = {name: getattr(block, name) for name in _PER_STEP}
    found: dict[str, Any] = {name: None if cells is None else cells[steps] for name, cells in columns.items()}
    extras = {name: cells[steps] for name, cells in block.extras.items()}
    units = None if block.units is None else replace(block.units, numbers=block.units.numbers[steps])
    return Block(
        **found,
        lanes=NO_LANES,
        placement=Placement(len(found["rewards"])),
        units=units,
        extras=extras,
        has_values=block.has_values,
    )


def joined(parts: Sequence[Part]) -> Part:
    """Trajectory after trajectory, the steps of each in the order of the parts."""
    order = np.argsort(np.concatenate([part.trajectories for part in parts]), kind="stable")
    blocks = [part.block for part in parts]

    def column(name: str) -> Any:
        cells = [getattr(block, name) for block in blocks]
        if all(one is None for one in cells):
            return None
        fill = _FILLS.get(name, False)
        filled = [
            np.full(block.num_steps, fill) if one is None else one
            for block, one in zip(blocks, cells, strict=True)
        ]
        return np.concatenate(filled)[order]

    extras = {
        name: np.concatenate([block.extras[name] for block in blocks])[order] for name in blocks[0].extras
    }
    block = Block(
        **{name: column(name) for name in _PER_STEP},
        lanes=NO_LANES,
        placement=Placement(len(order)),
        units=_units_of(blocks, order),
        has_values=all(block.has_values for block in blocks),
        extras=extras,
    )
    arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _ARRAYS}
    in_order = {name: cells[order] if len(cells) == len(order) else cells for name, cells in arrays.items()}
    return Part(block, **in_order)


def _units_of(blocks: Sequence[Block], order: IndexArray) -> Units | None:
    first = blocks[0].units
    if first is None:
        return None
    numbers = [block.units.numbers for block in blocks if block.units is not None]
    return replace(first, numbers=np.concatenate(numbers)[order])


def nothing() -> Part:
    """Of a stream without rows."""
    numbers, flags, places = np.zeros(0), np.zeros(0, np.bool_), np.zeros(0, np.int64)
    block = Block(numbers, numbers, flags, flags, flags, None, NO_LANES, Placement(0))
    return Part(block, places, places, places, numbers, flags, flags, numbers, numbers)


class Parts:
    """Makes a part of each block of a stream, one after the other: what runs through all of them is counted here."""

    def __init__(self, reading: SettledStream, form: PartForm, number: int | None = None) -> None:
        """`number`: with that stream of rewards."""
        self._form, self._number = form, number
        self._first_rows = first_rows(reading)
        self._numbering = TrajectoryNumbers()
        self._units = _UnitNumbers()
        self.num_slots = 0

    def of(self, file: int, start: int, settled: Settled, carry: Carry) -> Part:
        settled, carry = of_stream(settled, carry, self._number)
        block = settled.block
        slots = block.placement.rows_of_steps(np.arange(block.num_steps, dtype=np.int64))
        if self._form == "read":
            piece, carry = with_lane_ends(settled.prepared, carry), carry.as_read
        else:
            piece = with_lane_ends(block, carry) if self._form == "ended" else block
        trajectories = self._numbering.of(piece, carry).of_steps
        everywhere = np.ones(block.num_steps, np.bool_)
        part = Part(
            self._units.numbered(piece, carry),
            self.num_slots + slots,
            self._first_rows[file] + start + rows_of_slots(block, slots),
            trajectories,
            _given(block),
            everywhere if settled.counts is None else settled.counts,
            everywhere if settled.estimated is None else settled.estimated,
            np.zeros(0),
            np.zeros(0),
        )
        self.num_slots += block.placement.num_rows
        return part


@dataclass(frozen=True, eq=False)
class NumberedTrajectories:
    """Those of a block, or what it has of them: [T] each, in the order of the block."""

    numbers: IndexArray
    #: It began in an earlier block; it goes on in a later one.
    comes_in: BoolArray
    goes_on: BoolArray
    #: [N] which of them each step is of; [T] the last step of each.
    local: IndexArray
    lasts: IndexArray
    #: What a second look at the same block needs for `numbered_from`.
    first_number: int
    entered: Mapping[int, int]

    @property
    def of_steps(self) -> IndexArray:
        """[N]"""
        found: IndexArray = self.numbers[self.local]
        return found


class TrajectoryNumbers:
    """Numbers in the order in which trajectories begin; one that comes in from another block keeps its own."""

    def __init__(self) -> None:
        self._chains: dict[int, int] = {}
        self.count = 0

    def of(self, block: Block, carry: Carry) -> NumberedTrajectories:
        local, lasts = block.trajectories()
        lanes = block.lanes
        heads = np.flatnonzero(carry.head_chains >= 0).tolist()
        entered = {
            int(local[lanes.starts[lane]]): self._chains[int(carry.head_chains[lane])] for lane in heads
        }
        numbers = numbered_from(self.count, len(lasts), entered)
        comes_in, goes_on = np.zeros(len(lasts), np.bool_), np.zeros(len(lasts), np.bool_)
        comes_in[list(entered)] = True
        for lane in np.flatnonzero(carry.tail_chains >= 0).tolist():
            last = int(local[lanes.stops[lane] - 1])
            self._chains[int(carry.tail_chains[lane])] = int(numbers[last])
            goes_on[last] = not block.cuts[lanes.stops[lane] - 1]
        first_number = self.count
        self.count += len(lasts) - len(entered)
        return NumberedTrajectories(numbers, comes_in, goes_on, local, lasts, first_number, entered)


def numbered_from(first: int, count: int, entered: Mapping[int, int]) -> IndexArray:
    """[count] numbers of trajectories in a row; those that `entered`, by their place, have one already."""
    is_new = np.ones(count, np.bool_)
    is_new[list(entered)] = False
    numbers: IndexArray = first + np.cumsum(is_new, dtype=np.int64) - 1
    for place, number in entered.items():
        numbers[place] = number
    return numbers


def first_rows(reading: SettledStream) -> list[int]:
    """Of each file of the stream, counted over all of them."""
    sizes = [sum(unit.num_cells for unit in opened.units) for opened in reading.stream.files]
    found: list[int] = np.concatenate(([0], np.cumsum(sizes))).tolist()
    return found


def rows_of_slots(block: Block, slots: IndexArray) -> IndexArray:
    """Of nested tables the row of the list."""
    if block.list_offsets is None:
        return slots
    return np.searchsorted(block.list_offsets, slots, side="right").astype(np.int64) - 1


def _given(block: Block) -> FloatArray:
    if block.next_values is None:
        return np.full(block.num_steps, np.nan)
    return block.next_values.astype(np.float64)


class _UnitNumbers:
    """Of units, counted over all parts; one that goes on in another part keeps its number."""

    def __init__(self) -> None:
        self._count = 0
        #: The last unit of each trajectory that goes on.
        self._last: dict[int, int] = {}

    def numbered(self, block: Block, carry: Carry) -> Block:
        if block.units is None:
            return block
        numbers = np.where(block.units.numbers >= 0, block.units.numbers + self._count, -1)
        self._count = int(numbers.max(initial=self._count - 1)) + 1
        lanes = block.lanes
        for lane in range(lanes.count):
            start, stop = int(lanes.starts[lane]), int(lanes.stops[lane])
            inside = start + np.flatnonzero(numbers[start:stop] >= 0)
            head, tail = int(carry.head_chains[lane]), int(carry.tail_chains[lane])
            if len(inside) and head in self._last and carry.units is not None and carry.units.enters[lane]:
                numbers[numbers == numbers[inside[0]]] = self._last[head]
            if tail >= 0 and len(inside):
                self._last[tail] = int(numbers[inside[-1]])
        return replace(block, units=replace(block.units, numbers=numbers))
