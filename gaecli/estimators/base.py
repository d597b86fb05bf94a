"""What an estimator does: it says what is scanned of a block, and what crosses the borders of blocks.

Of all that lies behind the last step of a lane, only V and the estimate of the very next step enter, as one
number, the inflow z (`gaecli.estimators.gae` has the equations). What would be more than that, or no number at
all, makes of a stream one block: `needs_whole_stream` of the estimator's module says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from gaecli.records import dataclass
from gaecli.rollouts import Block, BoolArray, FloatArray
from gaecli.settings import Settings


@dataclass(frozen=True, eq=False)
class LaneSums:
    """[lanes, M] M sums over trajectories: of the one at the start of each lane, and of the one at its end."""

    heads: FloatArray
    tails: FloatArray


class Scores(NamedTuple):
    by_name: Mapping[str, FloatArray]
    #: [N] steps of trajectories without any. None: all have one.
    unscored: BoolArray | None
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
    #: V beyond the last step from its own row, for estimators that use it only where the trajectory ends there;
    #: NaN where not given. None: what is given is in the estimates already.
    end_values: FloatArray | None = None


class Estimates(NamedTuple):
    """[N] each; `returns` is None where `Estimator.returns` says what they are."""

    advantages: FloatArray
    returns: FloatArray | None = None
    #: Where more than the advantages is compared, or whole trajectories are.
    sums: TrajectorySums | None = None


class Estimator(Protocol):
    """Works on blocks of any stream, from any thread; keeps nothing between them."""

    @property
    def settings(self) -> Settings: ...

    def prepare(self, block: Block) -> Block:
        """The block as the convention reads it; the block itself where that is what it says."""

    def estimate(self, block: Block, threads: int = 1) -> Estimates:
        """Of a prepared block, as if nothing came after it."""

    def borders(self, block: Block, advantages: FloatArray) -> Borders:
        """What a prepared block hands on to the blocks before it, and takes from those after it."""

    def settle(
        self, block: Block, advantages: FloatArray, inflow: FloatArray, threads: int = 1
    ) -> FloatArray:
        """[N] the estimates with what enters at the end of each lane."""

    def returns(self, block: Block, advantages: FloatArray) -> FloatArray:
        """[N] what the return columns hold, given the final estimates."""
