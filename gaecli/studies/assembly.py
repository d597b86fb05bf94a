"""The pieces in which a stream was read as one block, every trajectory in one place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from gaecli.pipeline.combine import Carry
from gaecli.pipeline.settle import Settled
from gaecli.records import dataclass
from gaecli.rollouts import (
    NO_LANES,
    Array,
    Block,
    BoolArray,
    FloatArray,
    IndexArray,
    Placement,
    Rollouts,
    Units,
)
from gaecli.studies.reading import SettledStream, of_stream, with_lane_ends


@dataclass(frozen=True, eq=False)
class Whole:
    """A stream as its convention reads it; [N] each, in an order of steps of its own.

    `slots` is the place of each step in a column that has one cell per row (per item of lists, per
    element of an array) of all files; `rows` is its row, counted over all files.
    """

    block: Block
    estimated: BoolArray | None
    #: What enters mean and standard deviation.
    measured: BoolArray | None
    #: V(s') as far as the files give it, whether or not the convention uses it; NaN elsewhere.
    given: FloatArray
    slots: IndexArray
    rows: IndexArray
    num_slots: int


@dataclass(frozen=True, eq=False)
class _Part:
    settled: Settled
    #: What is put together: the block as its convention reads it, or as it is written.
    block: Block
    slots: IndexArray
    rows: IndexArray
    #: Number of the trajectory of every step, counted over all pieces.
    trajectories: IndexArray


def rollouts_of(reading: SettledStream) -> Rollouts:
    """The steps of a stream as its files have them: no padding, nothing masked, no episode that is left out."""
    whole = _assembled(reading, as_written=True)
    block = whole.block
    kept = np.ones(block.num_steps, np.bool_)
    if block.is_step is not None:
        kept &= block.is_step
    if block.dropped is not None:
        kept &= ~block.dropped
    ends = np.flatnonzero(block.cuts[kept]) + 1
    return Rollouts(
        rewards=block.rewards[kept].astype(np.float64),
        values=block.values[kept].astype(np.float64),
        terminated=block.terminated[kept].astype(np.bool_),
        truncated=block.truncated[kept].astype(np.bool_),
        next_values=whole.given[kept],
        offsets=np.concatenate(([0], ends)).astype(np.int64),
        rows=whole.slots[kept].astype(np.int64),
    )


def whole_stream(reading: SettledStream, number: int | None = None) -> Whole:
    """The steps of a stream as its convention reads them; `number`: with that stream of rewards."""
    return _assembled(reading, as_written=False, number=number)


def _assembled(reading: SettledStream, *, as_written: bool, number: int | None = None) -> Whole:
    """Visit every block once, and put them together."""
    pieces: list[_Part] = []
    chains: dict[int, int] = {}
    units = _UnitNumbers()
    sizes = [sum(unit.num_cells for unit in opened.units) for opened in reading.stream.files]
    num_slots = num_trajectories = 0

    def look(file: int, start: int, settled: Settled, carry: Carry) -> None:
        nonlocal num_slots, num_trajectories
        settled, carry = of_stream(settled, carry, number)
        block = settled.block
        slots = block.placement.rows_of_steps(np.arange(block.num_steps, dtype=np.int64))
        if as_written:
            piece, trajectories = block, _numbered(block, carry, num_trajectories, chains)
        else:
            piece = with_lane_ends(settled.prepared, carry)
            trajectories = _numbered(settled.prepared, carry.as_read, num_trajectories, chains)
        piece = units.numbered(piece, carry if as_written else carry.as_read)
        rows = sum(sizes[:file]) + start + _rows_of_slots(block, slots)
        pieces.append(_Part(settled, piece, num_slots + slots, rows, trajectories))
        num_slots += block.placement.num_rows
        num_trajectories += block.num_steps

    for _ in reading.stream.visit(reading.context, look):
        pass
    return _joined(pieces, num_slots)


def _numbered(block: Block, carry: Carry, first: int, chains: dict[int, int]) -> IndexArray:
    """A trajectory that comes in from another piece keeps the number that it has there."""
    numbers = first + block.trajectories()[0]
    lanes = block.lanes
    for lane in range(lanes.count):
        head, tail = int(carry.head_chains[lane]), int(carry.tail_chains[lane])
        if head >= 0:
            numbers[numbers == numbers[lanes.starts[lane]]] = chains[head]
        if tail >= 0:
            chains[tail] = int(numbers[lanes.stops[lane] - 1])
    return numbers


def _rows_of_slots(block: Block, slots: IndexArray) -> IndexArray:
    """Of nested tables the row of the list."""
    if block.list_offsets is None:
        return slots
    return np.searchsorted(block.list_offsets, slots, side="right").astype(np.int64) - 1


def _joined(pieces: list[_Part], num_slots: int) -> Whole:
    if not pieces:
        return _nothing()
    order = np.argsort(_together([piece.trajectories for piece in pieces]), kind="stable")
    blocks = [piece.block for piece in pieces]

    def column(name: str, fill: Any = None) -> Any:
        parts = [getattr(block, name) for block in blocks]
        if all(part is None for part in parts):
            return None
        filled = [
            np.full(block.num_steps, fill) if part is None else part
            for block, part in zip(blocks, parts, strict=True)
        ]
        return _together(filled)[order]

    block = Block(
        rewards=column("rewards"),
        values=column("values"),
        terminated=column("terminated"),
        truncated=column("truncated"),
        cuts=column("cuts"),
        next_values=column("next_values", np.nan),
        lanes=NO_LANES,
        placement=Placement(len(order)),
        is_step=column("is_step", True),
        dropped=column("dropped", False),
        masked=column("masked", False),
        filled=column("filled", False),
        units=_units_of(blocks, order),
        has_values=all(block.has_values for block in blocks),
        extras={
            name: _together([block.extras[name] for block in blocks])[order] for name in blocks[0].extras
        },
    )

    def flags(of: Callable[[Settled], BoolArray | None]) -> BoolArray:
        parts = [
            np.ones(piece.settled.block.num_steps, np.bool_) if flags is None else flags
            for piece in pieces
            for flags in [of(piece.settled)]
        ]
        return _together(parts)[order]

    return Whole(
        block=block,
        estimated=flags(lambda settled: settled.estimated),
        measured=flags(lambda settled: settled.entering("steps")),
        given=_together([_given(piece.settled.block) for piece in pieces])[order],
        slots=_together([piece.slots for piece in pieces])[order],
        rows=_together([piece.rows for piece in pieces])[order],
        num_slots=num_slots,
    )


def _units_of(blocks: list[Block], order: IndexArray) -> Units | None:
    first = blocks[0].units
    if first is None:
        return None
    numbers = [block.units.numbers for block in blocks if block.units is not None]
    return replace(first, numbers=_together(numbers)[order])


class _UnitNumbers:
    """Of units, counted over all pieces; one that goes on in another piece keeps its number."""

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


def _nothing() -> Whole:
    """Of a stream without rows."""
    numbers, flags, places = np.zeros(0), np.zeros(0, np.bool_), np.zeros(0, np.int64)
    block = Block(numbers, numbers, flags, flags, flags, None, NO_LANES, Placement(0))
    return Whole(block, flags, flags, numbers, places, places, 0)


def _given(block: Block) -> FloatArray:
    if block.next_values is None:
        return np.full(block.num_steps, np.nan)
    return block.next_values.astype(np.float64)


def _together(parts: list[Any]) -> Array:
    return np.concatenate(parts)
