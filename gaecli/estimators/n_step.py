"""The n-step return: n rewards, and the value of the state after them.

    Rₜ = Σ_{k<m} γᵏ rₜ₊ₖ + γᵐ V'(sₜ₊ₘ),    Aₜ = Rₜ - V(sₜ)

m is n, or the number of steps to the end of the trajectory where those are fewer. V' is the next value of the last
row of the window, as a target network gives it, or else V of the row after it; 0 beyond a terminal end, and what the
bootstrap rule says beyond any other. Sutton and Barto 2018, eq. 7.1.

A sum over a window is no reverse scan: yₜ = rₜ + γ yₜ₊₁ - γⁿ rₜ₊ₙ would lose all digits that the long sum has
and the window has not. The window is put together of windows of 1, 2, 4, … steps instead, log₂ n passes:

    S₂ₘ(t) = Sₘ(t) + γᵐ Sₘ(t + m)
"""

from __future__ import annotations

import numpy as np

from gaecli.array_types import Array, FloatArray, IndexArray
from gaecli.estimators.base import Estimates
from gaecli.estimators.decays import gammas
from gaecli.estimators.gae_variants import WholeTrajectoryGae, following_values
from gaecli.kernels.devices import Device
from gaecli.records import dataclass
from gaecli.rollouts import Block
from gaecli.settings import Settings


def make(settings: Settings, device: Device) -> NStep:
    return NStep(settings, device)


def needs_whole_trajectories(settings: Settings) -> bool:
    """The rows of a window may stand in two blocks."""
    return True


@dataclass(frozen=True)
class NStep(WholeTrajectoryGae):
    """NumPy in float64, whatever the device."""

    def estimate(self, block: Block, threads: int = 1) -> Estimates:
        block = self._closed(block)
        gamma = gammas(block, self.settings)
        following = following_values(block)
        cuts = np.flatnonzero(block.cuts)
        n_steps = self.settings.n_steps
        assert n_steps is not None
        if block.is_step is None:
            ends = np.repeat(cuts + 1, np.diff(cuts, prepend=-1))
            return Estimates(_advantages(block.rewards, block.values, following, ends, gamma, n_steps))
        # Rows that are no steps stand outside of every window.
        steps = np.flatnonzero(block.is_step)
        ends = np.searchsorted(steps, cuts[np.searchsorted(cuts, steps)], side="right")
        advantages = np.zeros(block.num_steps)
        of_steps = gamma[steps] if isinstance(gamma, np.ndarray) else gamma
        advantages[steps] = _advantages(
            block.rewards[steps], block.values[steps], following[steps], ends, of_steps, n_steps
        )
        return Estimates(advantages)


def _advantages(
    rewards: Array,
    values: Array,
    following: FloatArray,
    ends: IndexArray,
    gamma: float | FloatArray,
    n: int,
) -> FloatArray:
    """[N] A sum of TD errors whose V is what the step before said of the state, so that all but two cancel out.

    `following`: V'(sₜ₊₁); the rest as in `window_sums`.
    """
    before = values.astype(np.float64)
    goes_on = ends[:-1] > np.arange(1, len(ends))
    before[1:][goes_on] = following[:-1][goes_on]
    sums = window_sums(rewards + gamma * following - before, ends, gamma, n)
    return sums + (before - values)


def window_sums(terms: FloatArray, ends: IndexArray, gamma: float | FloatArray, n: int) -> FloatArray:
    """[N] Σ_{k<m} (Π_{j<k} γₜ₊ⱼ) termsₜ₊ₖ, m the lesser of n and ends[t] - t.

    `ends`: [N] where the trajectory of t stops. `gamma`: of all steps, or [N] of each.
    """
    power = np.array(terms, np.float64)  # windows of 2ʲ steps
    decay = gamma.astype(np.float64) if isinstance(gamma, np.ndarray) else gamma  # of what follows them
    sums = np.zeros(len(terms))
    weight: float | FloatArray = np.ones(len(terms)) if isinstance(decay, np.ndarray) else 1.0
    size, length, left = 1, 0, ends - np.arange(len(terms))
    n = min(n, max(int(left.max(initial=0)), 1))
    while True:
        if n & size:
            weight = _add(sums, weight, power, decay, length, left)
            length += size
        size *= 2
        if size > n:
            return sums
        decay = _add(power, decay, power, decay, size // 2, left)


def _add(
    sums: FloatArray,
    weight: float | FloatArray,
    windows: FloatArray,
    decay: float | FloatArray,
    ahead: int,
    left: IndexArray,
) -> float | FloatArray:
    """Add the windows that begin so many steps ahead, within the trajectory; what follows them then weighs as much.

    `left`: [N] steps to the end of the trajectory, this one included.
    """
    here = slice(0, max(len(sums) - ahead, 0))
    inside = left[here] > ahead
    behind = windows[ahead:]
    added = (weight[here] if isinstance(weight, np.ndarray) else weight) * behind
    np.add(sums[here], added, out=sums[here], where=inside)
    if not isinstance(weight, np.ndarray) or not isinstance(decay, np.ndarray):
        return weight * decay
    np.multiply(weight[here], decay[ahead:].copy(), out=weight[here], where=inside)
    return weight
