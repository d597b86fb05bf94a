"""One advantage as a sum: its δ's and its k-step advantages, with their weights.

    Aₜ = Σ_l (γλ)ˡ δₜ₊ₗ                        l = 0 … K-1, the last step of the trajectory
       = Σ_k w_k Aₜ⁽ᵏ⁾                         w_k = (1-λ) λᵏ⁻¹ for k < K, and λᴷ⁻¹ for k = K
    Aₜ⁽ᵏ⁾ = Σ_{l<k} γˡ δₜ₊ₗ = Gₜ⁽ᵏ⁾ - V(sₜ)     Gₜ⁽ᵏ⁾ = Σ_{l<k} γˡ rₜ₊ₗ + γᵏ V(sₜ₊ₖ)

Schulman et al. 2016, eq. 11-16, https://arxiv.org/abs/1506.02438. There the mixture is infinite; the
trajectory ends after K steps, A⁽ᵏ⁾ = A⁽ᴷ⁾ for all k >= K, and their weights add up to λᴷ⁻¹.
"""

from __future__ import annotations

import numpy as np

from gaecli.array_types import FloatArray
from gaecli.records import dataclass


@dataclass(frozen=True, eq=False)
class Decomposition:
    """[K] each, by lag l or by k = l + 1."""

    weights: FloatArray
    contributions: FloatArray
    running_sums: FloatArray
    k_step_advantages: FloatArray
    k_step_weights: FloatArray
    k_step_sums: FloatArray


def decompose(deltas: FloatArray, gamma: float, lam: float) -> Decomposition:
    """`deltas`: [K] δₜ … δₜ₊ₖ₋₁, to the end of the trajectory; K >= 1."""
    lags = np.arange(len(deltas), dtype=np.float64)
    with np.errstate(under="ignore", over="ignore", invalid="ignore"):
        weights = (gamma * lam) ** lags
        k_step_weights = (1.0 - lam) * lam**lags
        k_step_weights[-1] = lam ** lags[-1]
        k_step_advantages = np.cumsum(gamma**lags * deltas)
        contributions = weights * deltas
        cumulative = np.cumsum(contributions)
    return Decomposition(
        weights,
        contributions,
        cumulative,
        k_step_advantages,
        k_step_weights,
        np.cumsum(k_step_weights * k_step_advantages),
    )
