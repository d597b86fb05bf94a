"""Normalised advantages: out = (A - mean) · scale, over one group of steps.

    add:    scale = 1 / (σ + ε)        clamp: 1 / max(σ, ε)        rsqrt: 1 / √(σ² + ε)

with σ² = Σ (A - mean)² / (n - ddof). A group that holds one step, or no variance, gives exactly 0.

Group baselines are the same map of scores s, with another scale for some:

    grpo: as above        dr-grpo: 1        rloo: n / (n - 1), so that A = s - mean of the others
    max-rl: 1 / mean, and 0 where the mean is not positive
"""

from __future__ import annotations

import math

import numpy as np

from gaecli.choices import NormFloor, Singleton
from gaecli.errors import DataError
from gaecli.moments import GroupedMoments, Moments
from gaecli.records import dataclass
from gaecli.rollouts import FloatArray, IndexArray
from gaecli.settings import Settings

#: A spread below this many units in the last place of the mean is rounding, not variance.
_ROUNDING = 8 * np.finfo(np.float64).eps


@dataclass(frozen=True)
class NormRule:
    """How a standard deviation becomes a scale."""

    ddof: int
    eps: float
    floor: NormFloor
    #: The estimator whose scale it is; all but those of group baselines have that of `grpo`.
    baseline: str = "grpo"
    singleton: Singleton = "zero"

    @classmethod
    def of(cls, settings: Settings) -> NormRule:
        if not settings.kind.is_grouped:
            return cls(settings.norm_ddof, settings.norm_eps, settings.norm_floor)
        return cls(
            settings.norm_ddof,
            settings.norm_eps,
            settings.norm_floor,
            settings.estimator,
            settings.singleton,
        )

    def constants(self, moments: Moments) -> NormConstants:
        if not (math.isfinite(moments.mean) and math.isfinite(moments.m2)):
            raise DataError(
                "advantages are too large to be normalised: their variance is more than float64 holds",
                hint="check the rewards and values for cells that are no measurements, such as 1e300",
            )
        if moments.count == 1 and self.singleton != "zero":
            return self._alone(moments)
        if self.baseline != "grpo":
            return self._centred(moments)
        std = moments.std(self.ddof)
        if std is None or std <= _ROUNDING * abs(moments.mean):
            return NormConstants(moments.count, moments.mean, 0.0, 0.0, is_degenerate=True)
        return NormConstants(
            moments.count, moments.mean, std, 1.0 / self._denominator(std), is_degenerate=False
        )

    def _alone(self, moments: Moments) -> NormConstants:
        """The score as it is; verl takes 0 for the mean and 1 for the standard deviation."""
        if self.singleton == "error":
            raise DataError(
                "a group has a single trajectory, which nothing can be compared with",
                hint="pass `--singleton zero` for an advantage of 0 there, or `--singleton raw` for its score",
            )
        scale = 1.0 / self._denominator(1.0) if self.baseline == "grpo" else 1.0
        return NormConstants(1, 0.0, 1.0, scale, is_degenerate=False)

    def _centred(self, moments: Moments) -> NormConstants:
        """Scales that are no matter of a standard deviation."""
        count, mean = moments.count, moments.mean
        std = moments.std(self.ddof) or 0.0
        if self.baseline == "rloo":
            scale = count / (count - 1) if count > 1 else 0.0
        elif self.baseline == "max-rl":
            scale = 1.0 / mean if mean > 0 and count > 1 else 0.0
        else:
            scale = 1.0 if count > 1 else 0.0
        return NormConstants(count, mean, std, scale, is_degenerate=bool(std <= _ROUNDING * abs(mean)))

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
