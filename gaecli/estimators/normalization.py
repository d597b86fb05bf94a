"""Normalised advantages: out = (A - mean) · scale, over one group of steps.

    add:    scale = 1 / (σ + ε)        clamp: 1 / max(σ, ε)        rsqrt: 1 / √(σ² + ε)

with σ² = Σ (A - mean)² / (n - ddof). A group that holds one step, or no variance, gives exactly 0.
"""

from __future__ import annotations

import math

import numpy as np

from gaecli.choices import NormFloor
from gaecli.errors import DataError
from gaecli.moments import GroupedMoments, Moments
from gaecli.records import dataclass
from gaecli.rollouts import FloatArray, IndexArray

#: A spread below this many units in the last place of the mean is rounding, not variance.
_ROUNDING = 8 * np.finfo(np.float64).eps


@dataclass(frozen=True)
class NormRule:
    """How a standard deviation becomes a scale."""

    ddof: int
    eps: float
    floor: NormFloor

    def constants(self, moments: Moments) -> NormConstants:
        if not (math.isfinite(moments.mean) and math.isfinite(moments.m2)):
            raise DataError(
                "advantages are too large to be normalised: their variance is more than float64 holds",
                hint="check the rewards and values for cells that are no measurements, such as 1e300",
            )
        std = moments.std(self.ddof)
        if std is None or std <= _ROUNDING * abs(moments.mean):
            return NormConstants(moments.count, moments.mean, 0.0, 0.0, is_degenerate=True)
        return NormConstants(
            moments.count, moments.mean, std, 1.0 / self._denominator(std), is_degenerate=False
        )

    def _denominator(self, std: float) -> float:
        if self.floor == "add":
            return std + self.eps
        return max(std, self.eps) if self.floor == "clamp" else math.sqrt(std * std + self.eps)

    def per_group(self, moments: GroupedMoments) -> list[NormConstants]:
        return [self.constants(moments.group(index)) for index in range(len(moments.counts))]


@dataclass(frozen=True)
class NormConstants:
    """What one group is normalised with."""

    count: int
    mean: float
    std: float
    scale: float
    is_degenerate: bool


def normalize(advantages: FloatArray, constants: NormConstants) -> FloatArray:
    return (advantages - constants.mean) * constants.scale


def normalize_groups(
    advantages: FloatArray, groups: IndexArray, constants: list[NormConstants]
) -> FloatArray:
    means = np.array([group.mean for group in constants])
    scales = np.array([group.scale for group in constants])
    result: FloatArray = (advantages - means[groups]) * scales[groups]
    return result
