"""Estimates over units of several steps, such as the turns of a dialogue, each of which is one step.

    r_k = Σ rₜ, or their mean          over the steps of unit k that count
    V_k = V(sₜ)                        at the first of them (AReaL, RL4VLM), or at the last (AgileRL, VAGEN)

Any recursion goes over (r_k, V_k), and its A_k and R_k go to all steps of the unit. The ends, and what is beyond
them, are those of the trajectory; inside of it V' is that of the next unit, whatever a column of next values says.

With a γ of its own for turns there are two passes (VAGEN's bi-level GAE, https://arxiv.org/abs/2510.16907): A_k over
turns by that γ, and then GAE over the steps of each turn, whose only reward is A_k + V_k at its last step, where it
ends.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gaecli.estimators.base import (
    Beyond,
    Borders,
    Estimates,
    Estimator,
    FinalEstimates,
    estimate_whole,
)
from gaecli.estimators.decays import gammas, lams, with_one_lam
from gaecli.estimators.gae import Gae
from gaecli.estimators.gae_variants import closed
from gaecli.estimators.recursion import gae_block
from gaecli.kernels.devices import Device
from gaecli.records import dataclass
from gaecli.rollouts import NO_LANES, Block, BoolArray, FloatArray, IndexArray, Placement
from gaecli.settings import Settings


@dataclass(frozen=True, eq=False)
class Pooled:
    """A block whose steps are units."""

    block: Block
    #: Steps that are in a unit and count, unit after unit, and the unit of each.
    members: IndexArray
    unit_of: IndexArray
    #: The last member of each unit.
    last: IndexArray


@dataclass(frozen=True)
class UnitEstimator:
    """`inner` computes over units what it computes over steps elsewhere. A stream is one block."""

    settings: Settings
    device: Device
    inner: Estimator

    @property
    def needs_trajectories(self) -> bool:
        return False

    def prepare(self, block: Block) -> Block:
        return self.inner.prepare(block)

    def estimate(self, block: Block, threads: int = 1) -> Estimates:
        pooled = pool(closed(block, self.settings), self.settings)
        # Everything is settled in a block that nothing comes after.
        found = estimate_whole(self.inner, self.inner.prepare(pooled.block), threads)
        returns = found.returns
        if returns is None:
            returns = found.advantages + pooled.block.values
        if self.settings.turn_gamma is not None:
            return self._within(block, pooled, returns, threads)
        return Estimates(
            _to_steps(found.advantages, pooled, np.zeros(block.num_steps)),
            _to_steps(returns, pooled, self._elsewhere(block)),
        )

    def _elsewhere(self, block: Block) -> FloatArray:
        """R where A is 0."""
        if "advantage" not in self.settings.kind.outputs:
            return np.zeros(block.num_steps)
        return block.values.astype(np.float64)

    def _within(self, block: Block, pooled: Pooled, returns: FloatArray, threads: int) -> Estimates:
        """The second pass: over the steps of each unit, which ends with its own return."""
        num_members = len(pooled.members)
        rewards, ends = np.zeros(num_members), np.zeros(num_members, np.bool_)
        at_end = np.append(pooled.unit_of[1:] != pooled.unit_of[:-1], True)[:num_members]
        rewards[at_end], ends[at_end] = returns, True
        values = block.values[pooled.members]
        gamma, lam = gammas(block, self.settings), lams(block, self.settings)
        found = gae_block(
            rewards,
            values,
            cuts=ends,
            terminated=ends,
            gamma=_of_members(gamma, pooled),
            lam=_of_members(lam, pooled),
            precision=self.settings.precision,
            device=self.device,
            threads=threads,
        )
        advantages, own = np.zeros(block.num_steps), block.values.astype(np.float64)
        advantages[pooled.members] = found
        own[pooled.members] = found + values
        return Estimates(advantages, own)

    def borders(self, block: Block, advantages: FloatArray) -> Borders:
        """Of the steps: only what ends says anything, for nothing of a whole stream flows anywhere."""
        return Gae(with_one_lam(self.settings, 1.0), self.device).borders(block, advantages)

    def settle(
        self, block: Block, advantages: FloatArray, inflow: FloatArray, threads: int = 1
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


def pool(block: Block, settings: Settings) -> Pooled:
    """`block`: every trajectory ends in it."""
    assert block.units is not None
    counts = block.units.numbers >= 0
    for absent in (None if block.is_step is None else ~block.is_step, block.masked):
        if absent is not None:
            counts = counts & ~absent
    members = np.flatnonzero(counts)
    numbers = block.units.numbers[members]
    begins = np.append(True, numbers[1:] != numbers[:-1])[: len(members)]
    first = np.flatnonzero(begins)
    stops = np.append(first[1:], len(members)).astype(np.int64) if len(first) else first
    last = members[stops - 1]
    at = members[first] if settings.unit_value == "first" else last
    rewards = np.add.reduceat(block.rewards[members].astype(np.float64), first) if len(first) else np.zeros(0)
    if settings.unit_reward == "mean":
        rewards = rewards / (stops - first)
    values = block.values[at]
    ends = _ends_of(block, last)
    pooled = Block(
        rewards=rewards,
        values=values,
        terminated=_at_ends(block.terminated, ends, False),
        truncated=_at_ends(block.truncated, ends, False),
        cuts=ends >= 0,
        next_values=_next_values(block, ends, values),
        lanes=NO_LANES,
        placement=Placement(len(first)),
        stream_ends=np.flatnonzero(ends >= 0),
        has_values=block.has_values,
        extras={name: numbers[last] for name, numbers in block.extras.items()},
    )
    return Pooled(pooled, members, np.cumsum(begins) - 1, last)


def _ends_of(block: Block, last: IndexArray) -> IndexArray:
    """[K] the last step of the trajectory of each unit that is the last one in it; -1 of others."""
    stops = np.flatnonzero(block.cuts)
    trajectory = np.searchsorted(stops, last)
    is_last = np.append(trajectory[1:] != trajectory[:-1], True)[: len(last)]
    return np.where(is_last, stops[np.minimum(trajectory, len(stops) - 1)] if len(stops) else -1, -1)


def _at_ends(flags: BoolArray, ends: IndexArray, fill: bool) -> BoolArray:
    result: BoolArray = np.where(ends >= 0, flags[ends] if len(flags) else fill, fill)
    return result


def _next_values(block: Block, ends: IndexArray, values: FloatArray) -> FloatArray | None:
    """V beyond the ends; V of the last unit where a rule took that of the last state."""
    if block.next_values is None:
        return None
    found = np.where(ends >= 0, block.next_values[ends], np.nan)
    if block.filled is not None:
        found = np.where((ends >= 0) & block.filled[ends], values, found)
    result: FloatArray = found
    return result


def _to_steps(units: FloatArray, pooled: Pooled, elsewhere: FloatArray) -> FloatArray:
    """A number of each unit at all of its steps."""
    elsewhere[pooled.members] = units[pooled.unit_of]
    return elsewhere


def _of_members(decay: float | FloatArray, pooled: Pooled) -> float | FloatArray:
    return decay[pooled.members] if isinstance(decay, np.ndarray) else decay
