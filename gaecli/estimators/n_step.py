"""The n-step return: n rewards, and the value of the state after them.

    Rₜ = Σ_{k<m} γᵏ rₜ₊ₖ + γᵐ V(sₜ₊ₘ),    Aₜ = Rₜ - V(sₜ) = Σ_{k<m} γᵏ δₜ₊ₖ

m is n, or the number of steps to the end of the trajectory where those are fewer; V is 0 beyond a terminal end,
and what the bootstrap rule says beyond any other. Sutton and Barto 2018, eq. 7.1.

A sum over a window is no reverse scan: yₜ = δₜ + γ yₜ₊₁ - γⁿ δₜ₊ₙ would lose all digits that the long sum has
and the window has not. The window is put together of windows of 1, 2, 4, … steps instead, log₂ n passes:

    S₂ₘ(t) = Sₘ(t) + γᵐ Sₘ(t + m)
"""

from __future__ import annotations

import numpy as np

from gaecli.estimators.base import Estimates
from gaecli.estimators.decays import gammas
from gaecli.estimators.gae_variants import WholeTrajectoryGae, following_values
from gaecli.kernels.devices import Device
from gaecli.records import dataclass
from gaecli.rollouts import Block, BoolArray, FloatArray, IndexArray
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
        deltas = block.rewards + gamma * following_values(block) - block.values
        steps = np.arange(block.num_steps) if block.is_step is None else np.flatnonzero(block.is_step)
        advantages = np.zeros(block.num_steps)
        cuts = np.flatnonzero(block.cuts)
        # Rows that are no steps stand outside of every window.
        ends = np.searchsorted(steps, cuts[np.searchsorted(cuts, steps)], side="right")
        assert self.settings.n_steps is not None
        advantages[steps] = window_sums(deltas[steps], ends, _at(gamma, steps), self.settings.n_steps)
        return Estimates(advantages)


def window_sums(terms: FloatArray, ends: IndexArray, gamma: float | FloatArray, n: int) -> FloatArray:
    """[N] Σ_{k<m} (Π_{j<k} γₜ₊ⱼ) termsₜ₊ₖ, m the lesser of n and ends[t] - t.

    `ends`: [N] where the trajectory of t stops. `gamma`: of all steps, or [N] of each.
    """
    power = np.array(terms, np.float64)  # windows of 2ʲ steps
    decay = gamma.astype(np.float64) if isinstance(gamma, np.ndarray) else gamma  # of what follows them
    sums = np.zeros(len(terms))
    weight: float | FloatArray = np.ones(len(terms)) if isinstance(decay, np.ndarray) else 1.0
    size, length, here = 1, 0, np.arange(len(terms))
    longest = int((ends - here).max(initial=0))
    n = min(n, max(longest, 1))
    while True:
        if n & size:
            inside = here + length < ends
            first = here[inside] + length
            sums[inside] += _at(weight, inside) * power[first]
            weight = _times(weight, inside, _at(decay, first))
            length += size
        size *= 2
        if size > n:
            return sums
        inside = here + size // 2 < ends
        second = here[inside] + size // 2
        power[inside] += _at(decay, inside) * power[second]
        decay = _times(decay, inside, _at(decay, second))


def _at(numbers: float | FloatArray, where: IndexArray | BoolArray) -> float | FloatArray:
    return numbers[where] if isinstance(numbers, np.ndarray) else numbers


def _times(numbers: float | FloatArray, where: BoolArray, others: float | FloatArray) -> float | FloatArray:
    if not isinstance(numbers, np.ndarray):
        return numbers * others
    numbers[where] *= others
    return numbers
