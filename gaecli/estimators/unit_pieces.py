"""Units of trajectories that lie in several blocks: put together from what each of the blocks has, and estimated.

What a block hands over is a row for each unit, not one for each step. A unit that crosses a border is in several
parts: their sums add up, and V is that of the first or of the last of them. In the second of two passes what enters a
part comes from the part behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gaecli.array_types import Array, BoolArray, FloatArray, IndexArray
from gaecli.estimators.base import Estimator, WholePieces
from gaecli.estimators.parts import joined, num_bytes, part
from gaecli.estimators.pooling import added_up, reduced, rule_of, runs_of
from gaecli.estimators.units import Passing, UnitEstimator, passing_of
from gaecli.records import dataclass
from gaecli.rollouts import NO_LANES, Block, Placement
from gaecli.settings import Settings


@dataclass(frozen=True, eq=False)
class UnitParts:
    """What a block has of the units of some trajectories, piece after piece."""

    #: [P] the units that each piece has steps of, whether they count or not; and [R] how many count of each.
    lengths: IndexArray
    counts: IndexArray
    #: [P] the first of them is the last one of the piece before.
    enters: BoolArray
    #: [K] of those that have steps that count: their numbers among the units of the block, and what they add up to.
    numbers: IndexArray
    block: Block
    passing: Passing | None
    #: [P] the last step of each piece.
    ends: Block

    @property
    def num_bytes(self) -> int:
        return num_bytes(self.block) + num_bytes(self.ends)


def unit_parts(
    block: Block, starts: IndexArray, stops: IndexArray, enters: BoolArray, settings: Settings
) -> UnitParts:
    """Of the pieces from `starts` to `stops`, in order; `enters` as in `UnitParts`."""
    assert block.units is not None
    pooled = added_up(replace(block, cuts=block.piece_ends()), settings)
    inside = np.flatnonzero(block.units.numbers >= 0)
    _, first, _ = runs_of(block.units.numbers[inside])
    counts = np.bincount(
        np.searchsorted(inside[first], pooled.members, side="right") - 1, minlength=len(first)
    )
    numbers = np.cumsum(counts > 0) - 1
    piece = np.searchsorted(stops, inside[first], side="right")
    chosen = np.flatnonzero((piece < len(stops)) & (np.append(starts, 0)[piece] <= inside[first]))
    numbers = numbers[chosen][counts[chosen] > 0]
    passing = passing_of(block, pooled, settings)
    return UnitParts(
        np.bincount(piece[chosen], minlength=len(stops)),
        counts[chosen],
        enters,
        numbers,
        part(pooled.block, numbers),
        None if passing is None else Passing(*(column[numbers] for column in vars(passing).values())),
        part(block, stops - 1),
    )


def estimated_units(
    pieces: Sequence[UnitParts], chains: IndexArray, estimator: Estimator
) -> list[WholePieces]:
    """What becomes of the parts of each block. `chains`: the trajectory of every piece of all of them."""
    estimator = _over_units(estimator)
    parts = _Ordered.of(pieces, chains)
    advantages, returns = np.zeros(len(parts.rows)), np.zeros(len(parts.rows))
    if len(parts.rows):
        found = estimator.of_units(*parts.units(pieces, chains, estimator))
        assert found.returns is not None
        advantages, returns = found.advantages[parts.unit_of], found.returns[parts.unit_of]
    goes_on = np.append(parts.unit_of[1:] == parts.unit_of[:-1], False)[: len(parts.rows)]
    if estimator.settings.turn_gamma is not None:
        returns = _entering(returns, goes_on, pieces, parts.rows)
    bounds = np.cumsum([len(one.numbers) for one in pieces])[:-1]
    split = [np.split(_back(numbers, parts.rows), bounds) for numbers in (advantages, returns, goes_on)]
    return [
        WholePieces(one.numbers, *numbers)
        for one, numbers in zip(pieces, zip(*split, strict=True), strict=True)
    ]


def _over_units(estimator: Any) -> UnitEstimator:
    """The estimator itself, of several streams or settings the first."""
    return estimator if isinstance(estimator, UnitEstimator) else _over_units(estimator.own)


@dataclass(frozen=True, eq=False)
class _Ordered:
    """The parts that count, trajectory after trajectory."""

    #: [parts] where each stands among those of all blocks, one after the other.
    rows: IndexArray
    #: [parts] the number of the unit, and [units] its first and its last part, and its trajectory.
    unit_of: IndexArray
    first: IndexArray
    last: IndexArray
    trajectory: IndexArray

    @classmethod
    def of(cls, pieces: Sequence[UnitParts], chains: IndexArray) -> _Ordered:
        order = np.argsort(chains, kind="stable")  # the pieces of a trajectory come in the order of its steps
        lengths, counts, enters = (
            np.concatenate([getattr(one, name) for one in pieces]) for name in ("lengths", "counts", "enters")
        )
        within = np.arange(int(lengths.sum())) - np.repeat(
            np.cumsum(lengths[order]) - lengths[order], lengths[order]
        )
        piece = np.repeat(order, lengths[order])
        runs = (np.cumsum(lengths) - lengths)[piece] + within
        number = np.cumsum(~(enters[piece] & (within == 0)))
        counted = counts[runs] > 0
        unit_of, first, last = runs_of(number[counted])
        rows = (np.cumsum(counts > 0) - 1)[runs][counted]
        return cls(rows, unit_of, first, last, chains[piece][counted][last])

    def units(
        self, pieces: Sequence[UnitParts], chains: IndexArray, estimator: UnitEstimator
    ) -> tuple[Block, IndexArray]:
        """The units themselves, and how many steps count of each."""
        settings, first, last = estimator.settings, self.first, self.last
        parts = part(joined([one.block for one in pieces]), self.rows)
        counts = np.concatenate([one.counts[one.counts > 0] for one in pieces])[self.rows]
        ends, at_end = self._ends(pieces, chains)
        values = parts.values[first if settings.unit_value == "first" else last]
        next_values = None
        if ends.next_values is not None:
            given = (
                ends.next_values if ends.filled is None else np.where(ends.filled, values, ends.next_values)
            )
            next_values = np.where(at_end, given, np.nan)
        block = Block(
            rewards=reduced(parts.rewards, "sum", first, last),
            values=values,
            terminated=ends.terminated & at_end,
            truncated=ends.truncated & at_end,
            cuts=at_end,
            next_values=next_values,
            lanes=NO_LANES,
            placement=Placement(len(first)),
            stream_ends=np.flatnonzero(at_end),
            has_values=parts.has_values,
            extras={
                name: reduced(column, rule_of(name, settings), first, last)
                for name, column in parts.extras.items()
            },
        )
        return block, reduced(counts, "sum", first, last).astype(np.int64)

    def _ends(self, pieces: Sequence[UnitParts], chains: IndexArray) -> tuple[Block, BoolArray]:
        """([units] the last step of the trajectory of each, whether no other unit of it follows)."""
        known, last = np.unique(chains[::-1], return_index=True)
        steps = (len(chains) - 1 - last)[np.searchsorted(known, self.trajectory)]
        at_end = np.append(self.trajectory[1:] != self.trajectory[:-1], True)
        return part(joined([one.ends for one in pieces]), steps), at_end


def _entering(
    returns: FloatArray, goes_on: BoolArray, pieces: Sequence[UnitParts], rows: IndexArray
) -> FloatArray:
    """[parts] z: the return of the unit at its last part, and from there part by part."""
    passing = [one.passing for one in pieces if one.passing is not None]
    columns = {
        name: np.concatenate([getattr(one, name) for one in passing])[rows]
        for name in Passing.__dataclass_fields__
    }
    entering = returns.copy()
    for here in np.flatnonzero(goes_on)[::-1].tolist():
        after = here + 1
        first = columns["offsets"][after] + columns["gains"][after] * entering[after]
        entering[here] = (
            columns["value_weights"][here] * columns["first_values"][after]
            + columns["trace_weights"][here] * first
        )
    return entering


def _back(numbers: Array, rows: IndexArray) -> Array:
    """In the order in which the blocks have them."""
    found = np.empty_like(numbers)
    found[rows] = numbers
    return found
