"""Estimates over units of several steps, such as the turns of a dialogue, each of which is one step.

    r_k = Σ rₜ, or their mean          over the steps of unit k that count
    V_k = V(sₜ)                        at the first of them (AReaL, RL4VLM), or at the last (AgileRL, VAGEN)

Any recursion goes over (r_k, V_k), and its A_k and R_k go to all steps of the unit. The ends, and what is beyond
them, are those of the trajectory; inside of it V' is that of the next unit, whatever a column of next values says.
To a policy a unit is one action: its probability is the product of those of its steps, and so are ratios.

With a γ of its own for turns there are two passes (VAGEN's bi-level GAE, https://arxiv.org/abs/2510.16907): A_k over
turns by that γ, and then GAE over the steps of each turn, whose only reward is A_k + V_k at its last step, where it
ends.

Trajectories that lie in several blocks are put together unit by unit (`gaecli.estimators.unit_pieces`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gaecli.array_types import FloatArray, IndexArray
from gaecli.estimators.base import Beyond, Borders, Estimates, Estimator, FinalEstimates, WholePieces
from gaecli.estimators.decays import gammas, lams, products, with_one_lam
from gaecli.estimators.gae import Gae
from gaecli.estimators.gae_variants import closed
from gaecli.estimators.pooling import Pooled, added_up, members_of, rewarded
from gaecli.estimators.recursion import gae_block
from gaecli.kernels.devices import Device
from gaecli.records import dataclass
from gaecli.rollouts import Block
from gaecli.settings import Settings


@dataclass(frozen=True, eq=False)
class Passing:
    """How what enters at the last step of a unit comes out at its first one, in the second of two passes; [K] each.

    A of the first step is offset + gain · z, where z is γ V' + γλ A' of the step that follows, or the return of the
    unit where none does.
    """

    first_values: FloatArray
    offsets: FloatArray
    gains: FloatArray
    #: γ and γλ of the last step.
    value_weights: FloatArray
    trace_weights: FloatArray


@dataclass(frozen=True)
class UnitEstimator:
    """`inner` computes over units what it computes over steps elsewhere."""

    settings: Settings
    device: Device
    inner: Estimator

    @property
    def needs_trajectories(self) -> bool:
        return True

    def prepare(self, block: Block) -> Block:
        return self.inner.prepare(block)

    def estimate(self, block: Block, threads: int = 1) -> Estimates:
        return Estimates(*self.whole(block, threads=threads))

    def whole(self, block: Block, pieces: WholePieces | None = None, threads: int = 1) -> FinalEstimates:
        pooled = added_up(closed(block, self.settings), self.settings)
        found = self.of_units(pooled.block, pooled.counts, threads)
        if pieces is not None:
            pieces.put_into(found)
        assert found.returns is not None
        if self.settings.turn_gamma is not None:
            return self._within(block, pooled, found.returns, threads)
        return FinalEstimates(
            _to_steps(found.advantages, pooled, np.zeros(block.num_steps)),
            _to_steps(found.returns, pooled, self._elsewhere(block)),
        )

    def of_units(self, units: Block, counts: IndexArray, threads: int = 1) -> FinalEstimates:
        """A and R of each unit of whole trajectories; `units` has sums of rewards, of so many steps each."""
        units = rewarded(units, counts, self.settings)
        found = self.inner.whole(self.inner.prepare(units), threads=threads)
        if found.returns is not None:
            return found
        return FinalEstimates(found.advantages, found.advantages + units.values)

    def _elsewhere(self, block: Block) -> FloatArray:
        """R where A is 0."""
        if "advantage" not in self.settings.kind.outputs:
            return np.zeros(block.num_steps)
        return block.values.astype(np.float64)

    def _within(self, block: Block, pooled: Pooled, entering: FloatArray, threads: int) -> FinalEstimates:
        """The second pass. `entering`: [K] the return of the unit; z where another block goes on with it."""
        found = _scanned(block, pooled, entering, self.settings, self.device, threads)
        advantages, returns = np.zeros(block.num_steps), block.values.astype(np.float64)
        advantages[pooled.members] = found
        returns[pooled.members] = found + block.values[pooled.members]
        return FinalEstimates(advantages, returns)

    def borders(self, block: Block, advantages: FloatArray) -> Borders:
        """Of the steps: only what ends says anything, for nothing of whole trajectories flows anywhere."""
        return Gae(with_one_lam(self.settings, 1.0), self.device).borders(block, advantages)

    def settle(
        self, block: Block, advantages: FloatArray, inflow: FloatArray, *, in_place: bool = False
    ) -> FloatArray:
        return advantages

    def outputs(self, block: Block, advantages: FloatArray, beyond: Beyond) -> FinalEstimates:
        raise AssertionError("the estimates have them")


def over_units(
    make: Callable[[Settings, Device], Estimator], settings: Settings, device: Device
) -> UnitEstimator:
    """`make`: of the estimator that goes over units."""
    gamma = settings.turn_gamma
    ours = settings if gamma is None else settings.replace(gamma=gamma, gamma_column=None)
    return UnitEstimator(settings, device, make(ours, device))


def passing_of(block: Block, pooled: Pooled, settings: Settings) -> Passing | None:
    """None where there is one pass."""
    if settings.turn_gamma is None:
        return None
    count = len(pooled.members)
    gamma = np.broadcast_to(_of_members(gammas(block, settings), pooled), count).astype(np.float64)
    decays = gamma * _of_members(lams(block, settings), pooled)
    last = np.cumsum(pooled.counts) - 1
    first = last - pooled.counts + 1
    return Passing(
        block.values[pooled.members][first].astype(np.float64),
        _scanned(block, pooled, np.zeros(len(first)), settings)[first].astype(np.float64),
        products(decays, first, last),
        gamma[last],
        decays[last],
    )


def _scanned(
    block: Block,
    pooled: Pooled,
    entering: FloatArray,
    settings: Settings,
    device: Device | None = None,
    threads: int = 1,
) -> FloatArray:
    """[members] A of the steps of each unit, at whose last step so much enters."""
    last = np.cumsum(pooled.counts) - 1
    rewards, ends = np.zeros(len(pooled.members)), np.zeros(len(pooled.members), np.bool_)
    rewards[last], ends[last] = entering, True
    found: FloatArray = gae_block(
        rewards,
        block.values[pooled.members],
        cuts=ends,
        terminated=ends,
        gamma=_of_members(gammas(block, settings), pooled),
        lam=_of_members(lams(block, settings), pooled),
        precision=settings.precision,
        device=device,
        threads=threads,
    )
    return found


def units_that_go_on(block: Block, pieces: WholePieces) -> IndexArray:
    """Their numbers: units of the block whose last step that counts is in another one."""
    assert block.units is not None
    assert pieces.goes_on is not None
    numbers = block.units.numbers[members_of(block)]
    first = np.append(True, numbers[1:] != numbers[:-1])[: len(numbers)]
    found: IndexArray = numbers[first][pieces.steps[pieces.goes_on]]
    return found


def _to_steps(units: FloatArray, pooled: Pooled, elsewhere: FloatArray) -> FloatArray:
    """A number of each unit at all of its steps."""
    elsewhere[pooled.members] = units[pooled.unit_of]
    return elsewhere


def _of_members(decay: float | FloatArray, pooled: Pooled) -> float | FloatArray:
    return decay[pooled.members] if isinstance(decay, np.ndarray) else decay
