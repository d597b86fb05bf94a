"""What an estimator does: it says what is scanned of a block, and what crosses the borders of blocks.

Of all that lies behind the last step of a lane, only V and the estimate of the very next step enter, as one
number, the inflow z (`gaecli.estimators.gae` has the equations). Where that would be more, trajectories that cross a
border are put together and estimated as wholes: `needs_whole_trajectories` of the estimator's module says so. Where a
rule reaches from one trajectory into the next, lanes are those of time (`gaecli.estimators.time_order`).

What is scanned need not be what is written: `outputs` makes that of it, step by step.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

import numpy as np

from gaecli.array_types import BoolArray, FloatArray, IndexArray
from gaecli.records import dataclass
from gaecli.rollouts import Block
from gaecli.settings import Settings

#: So many lanes, or fewer, are looked at one by one; more of them as a whole.
MAX_LANES = 64


@dataclass(frozen=True, eq=False)
class LaneSums:
    """[lanes, M] M sums over trajectories: of the one at the start of each lane, and of the one at its end."""

    heads: FloatArray
    tails: FloatArray


class Scores(NamedTuple):
    by_name: Mapping[str, FloatArray]
    #: [N] steps of trajectories without any. None: all have one.
    unscored: BoolArray | None
    #: The same, where they have a score of 0 all the same (`--unscored counted`).
    scored_as_zero: BoolArray | None
    #: In place of the estimates, where those are a sum over the trajectory.
    estimates: FloatArray | None


class TrajectorySums(Protocol):
    """Sums over the steps of trajectories, as far as a block has them (`gaecli.estimators.scores`)."""

    @property
    def by_name(self) -> Mapping[str, FloatArray]: ...

    def at_borders(self, block: Block) -> LaneSums: ...

    def scores(self, block: Block, totals: LaneSums) -> Scores:
        """Of whole trajectories; `totals` are the sums of those that go on in other blocks, NaN elsewhere."""


@dataclass(frozen=True, eq=False)
class Borders:
    """The affine map of every lane of a block; all arrays have one entry per lane."""

    #: w_V, where the trajectory goes on in the next lane, and where it ends with this one.
    value_weights: FloatArray
    end_weights: FloatArray
    trace_weights: FloatArray  # w_A
    offsets: FloatArray  # β
    gains: FloatArray  # α
    last_cut: BoolArray
    first_values: FloatArray
    last_values: FloatArray
    #: No cut before the last step: one trajectory runs through the whole lane.
    is_through: BoolArray
    #: V beyond the last step from its own row, for estimators that use such a value only where the trajectory ends;
    #: NaN where not given. None: what is given is in the estimates already.
    end_values: FloatArray | None = None
    #: How much of V beyond the last step, where its trajectory goes on, is what its own row gives; the rest is V of
    #: the next step. None: all of it, or nothing where there are `end_values`.
    own_shares: FloatArray | None = None
    #: The first row is no step, so that it hands on its V and no estimate. None: all are steps.
    first_idle: BoolArray | None = None
    #: What the last step adds to z without V, where all that it hands on counts only if it is not negative
    #: with V; NaN where that is decided. None: nowhere.
    gates: FloatArray | None = None
    #: V beyond the last step is asked for, whatever its weight in z. None: where that is not 0.
    asks_values: BoolArray | None = None

    @classmethod
    def of_lanes(
        cls,
        block: Block,
        advantages: FloatArray,
        *,
        value_weights: FloatArray,
        trace_weights: FloatArray,
        gains: FloatArray,
        gates: FloatArray | None = None,
        asks_values: BoolArray | None = None,
    ) -> Borders:
        """Of a block as if nothing came after it. `gains`: of lanes without a cut before the last step."""
        first, last = block.lanes.starts, block.lanes.stops - 1
        has_cut = any_between(block.cuts, first, last)
        return Borders(
            value_weights=value_weights,
            end_weights=value_weights,
            trace_weights=trace_weights,
            offsets=advantages[first].astype(np.float64),
            gains=np.where(has_cut, 0.0, gains),
            last_cut=block.cuts[last],
            first_values=block.values[first].astype(np.float64),
            last_values=block.values[last].astype(np.float64),
            is_through=~has_cut,
            first_idle=None if block.is_step is None else ~block.is_step[first],
            gates=gates,
            asks_values=asks_values,
        )

    @classmethod
    def of_ends(cls, block: Block) -> Borders:
        """What the lanes say of their ends, where it is too early for estimates."""
        nothing, weights = np.zeros(block.lanes.count), wants_values(block).astype(np.float64)
        advantages = np.broadcast_to(0.0, block.num_steps)
        return cls.of_lanes(block, advantages, value_weights=weights, trace_weights=nothing, gains=nothing)

    @property
    def wants_values(self) -> BoolArray:
        """V beyond the last step says something to it."""
        return self.end_weights != 0 if self.asks_values is None else self.asks_values

    def inflow(self, values: FloatArray, estimates: FloatArray, goes_on: BoolArray) -> FloatArray:
        """z, given V and the estimate of what follows each lane; 0 where nothing does."""
        inflow: FloatArray = np.where(goes_on, self.value_weights, self.end_weights) * values
        if self.gates is None:
            return inflow + self.trace_weights * estimates
        is_gated = ~np.isnan(self.gates)
        error = inflow + np.where(is_gated, self.gates, 0.0)
        is_shut = is_gated & (error < 0)
        return np.where(is_shut, 0.0, error + self.trace_weights * estimates)


def wants_values(block: Block) -> BoolArray:
    """[lanes] V beyond the last step enters if there is one: the block itself has none."""
    last = block.lanes.stops - 1
    wants: BoolArray = ~block.terminated[last]
    if block.next_values is not None:
        wants &= np.isnan(block.next_values[last])
    return wants


def any_between(flags: BoolArray, first: IndexArray, last: IndexArray) -> BoolArray:
    """[K] whether a flag is set among the steps first[k] … last[k] - 1."""
    if len(first) <= MAX_LANES:
        return np.array(
            [bool(flags[start:stop].any()) for start, stop in zip(first, last, strict=True)], np.bool_
        )
    flagged = np.flatnonzero(flags)
    found: BoolArray = np.searchsorted(flagged, last) > np.searchsorted(flagged, first)
    return found


@dataclass(frozen=True, eq=False)
class Beyond:
    """What lies beyond the last step of each lane; 0 where nothing does. Arrays have an entry per lane."""

    #: V(sₜ₊₁), where the block itself has none.
    values: FloatArray
    #: The estimate of the step in which the trajectory goes on.
    estimates: FloatArray

    @classmethod
    def nothing(cls, block: Block) -> Beyond:
        return cls(np.zeros(block.lanes.count), np.zeros(block.lanes.count))


class Estimates(NamedTuple):
    """[N] each; `returns` is None where they are A + V, or where `Estimator.outputs` says what they are."""

    advantages: FloatArray
    returns: FloatArray | None = None
    #: Where more than the advantages is compared, or whole trajectories are.
    sums: TrajectorySums | None = None


class FinalEstimates(NamedTuple):
    """[N] what the columns hold; `returns`: None where they are A + V."""

    advantages: FloatArray
    returns: FloatArray | None = None


@dataclass(frozen=True, eq=False)
class WholePieces:
    """What a block gets of trajectories over its borders, estimated as wholes elsewhere."""

    #: Steps of the block; of an estimator over units, units of it.
    steps: IndexArray
    advantages: FloatArray
    #: None where they are A + V.
    returns: FloatArray | None
    #: The unit goes on in another block. None: there are no units.
    goes_on: BoolArray | None = None

    def put_into(self, found: FinalEstimates) -> None:
        """Of all steps of the block, or of all its units."""
        found.advantages[self.steps] = self.advantages
        if found.returns is not None:
            assert self.returns is not None
            found.returns[self.steps] = self.returns


class Estimator(Protocol):
    """Works on blocks of any stream, from any thread; keeps nothing between them."""

    @property
    def settings(self) -> Settings: ...

    @property
    def needs_trajectories(self) -> bool:
        """It estimates only blocks whose trajectories are whole, once all their ends are known."""

    def prepare(self, block: Block) -> Block:
        """The block as the convention reads it; the block itself where that is what it says."""

    def estimate(self, block: Block, threads: int = 1) -> Estimates:
        """Of a prepared block, as if nothing came after it."""

    def borders(self, block: Block, advantages: FloatArray) -> Borders:
        """What a prepared block hands on to the blocks before it, and takes from those after it."""

    def settle(
        self, block: Block, advantages: FloatArray, inflow: FloatArray, *, in_place: bool = False
    ) -> FloatArray:
        """[N] the estimates with what enters at the end of each lane.

        `in_place`: nobody reads `advantages` again, so that they may be written to.
        """

    def outputs(self, block: Block, advantages: FloatArray, beyond: Beyond) -> FinalEstimates:
        """What the columns hold, given the final estimates."""

    def whole(self, block: Block, pieces: WholePieces | None = None, threads: int = 1) -> FinalEstimates:
        """What the columns hold of a prepared block that nothing comes after, but for its `pieces`."""


class ByOwn:
    """An estimator of which everything that its class does not say is what `own` says."""

    @property
    def own(self) -> Estimator:
        raise NotImplementedError

    @property
    def needs_trajectories(self) -> bool:
        return self.own.needs_trajectories

    def prepare(self, block: Block) -> Block:
        return self.own.prepare(block)

    def estimate(self, block: Block, threads: int = 1) -> Estimates:
        return self.own.estimate(block, threads)

    def borders(self, block: Block, advantages: FloatArray) -> Borders:
        return self.own.borders(block, advantages)

    def settle(
        self, block: Block, advantages: FloatArray, inflow: FloatArray, *, in_place: bool = False
    ) -> FloatArray:
        return self.own.settle(block, advantages, inflow, in_place=in_place)

    def outputs(self, block: Block, advantages: FloatArray, beyond: Beyond) -> FinalEstimates:
        return self.own.outputs(block, advantages, beyond)

    def whole(self, block: Block, pieces: WholePieces | None = None, threads: int = 1) -> FinalEstimates:
        return self.own.whole(block, pieces, threads)


def estimate_whole(
    estimator: Estimator, block: Block, pieces: WholePieces | None = None, threads: int = 1
) -> FinalEstimates:
    """`Estimator.whole` of whoever estimates steps."""
    estimates = estimator.estimate(block, threads)
    if estimates.returns is not None:
        found = FinalEstimates(estimates.advantages, estimates.returns)
    else:
        found = estimator.outputs(block, estimates.advantages, Beyond.nothing(block))
    if pieces is not None:
        pieces.put_into(found)
    return found
