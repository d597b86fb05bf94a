"""Normalised advantages: out = (A - mean) · scale, over one group of steps.

    add:    scale = 1 / (σ + ε)        clamp: 1 / max(σ, ε)        rsqrt: 1 / √(σ² + ε)

with σ² = Σ (A - mean)² / (n - ddof). A group that holds one step, or no variance, gives exactly 0.

Group baselines are the same map of scores s, with another scale for some (`Scale`):

    std: as above        one: 1        others: n / (n - 1), so that A = s - mean of the others
    mean: 1 / mean, and 0 where the mean is not positive        mean + eps: 1 / (mean + ε), whatever its sign
    std of others: that of the group without the number itself, so that each has its own (`beside_others`)
    running: 1, and in place of the mean that of the scores before
    second: 1, and in place of the mean the second largest number; what is below it gives 0

`gaecli.estimators.stages` says which of them an estimator is made of.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from gaecli.array_types import Array, BoolArray, FloatArray, IndexArray
from gaecli.choices import NormFloor, Singleton
from gaecli.errors import DataError
from gaecli.moments import GroupedMoments, Moments
from gaecli.records import dataclass

#: A spread below this many units in the last place of the mean is rounding, not variance.
_ROUNDING = 8 * np.finfo(np.float64).eps

#: What a number is multiplied by once the mean is taken off.
Scale = Literal["std", "one", "others", "mean", "mean + eps", "std of others", "second", "running"]


@dataclass(frozen=True)
class NormRule:
    """How a standard deviation becomes a scale."""

    ddof: int
    eps: float
    floor: NormFloor
    scale: Scale = "std"
    #: What the only member of a group gets.
    singleton: Singleton = "zero"

    def constants(self, moments: Moments) -> NormConstants:
        """Of one group."""
        return self.of_groups(GroupedMoments.of_one(moments)).group(0)

    def of_groups(self, moments: GroupedMoments) -> GroupConstants:
        if not (np.isfinite(moments.means).all() and np.isfinite(moments.m2s).all()):
            raise DataError(
                "advantages are too large to be normalised: their variance is more than float64 holds",
                hint="check the rewards and values for cells that are no measurements, such as 1e300",
            )
        stds = moments.stds(self.ddof)
        has_none = np.isnan(stds)
        stds = np.where(has_none, 0.0, stds)
        is_flat = has_none | (stds <= _ROUNDING * np.abs(moments.means))
        means = _without_rounding(moments.means, stds)
        scales = self._scales(moments, means, stds, is_flat)
        if self.scale == "std":
            stds = np.where(is_flat, 0.0, stds)
        alone = moments.sizes == 1
        if self.singleton != "zero" and alone.any():
            means, stds, scales, is_flat = self._kept(alone, means, stds, scales, is_flat)
        centres = means
        if self.scale == "second" and moments.largest is not None:
            centres = np.where(moments.sizes > 1, moments.largest[:, 1], 0.0)
        return GroupConstants(moments.sizes, means, stds, scales, is_flat, moments.m2s, centres)

    def _scales(
        self, moments: GroupedMoments, means: FloatArray, stds: FloatArray, is_flat: BoolArray
    ) -> FloatArray:
        counts = moments.sizes
        # What rounding leaves of equal numbers would be above the mean for one and below it for another.
        differ = (counts > 1) & (moments.stds() > _ROUNDING * np.abs(means))
        with np.errstate(divide="ignore", over="ignore"):
            if self.scale == "std":
                return np.where(is_flat, 0.0, 1.0 / self._denominators(stds))
            if self.scale in ("others", "std of others"):
                return np.where(differ, counts / np.maximum(counts - 1, 1), 0.0)
            if self.scale == "mean":
                return np.where(means > 0, 1.0 / np.where(means > 0, means, 1.0), 0.0)
            if self.scale == "running":
                return np.ones(len(counts))
            if self.scale == "mean + eps":
                divisors = means + self.eps
                return np.where(differ & (divisors != 0), 1.0 / np.where(divisors != 0, divisors, 1.0), 0.0)
        return np.where(differ, 1.0, 0.0)

    def _kept(
        self, alone: BoolArray, means: FloatArray, stds: FloatArray, scales: FloatArray, is_flat: BoolArray
    ) -> tuple[FloatArray, FloatArray, FloatArray, BoolArray]:
        """The score as it is; verl takes 0 for the mean and 1 for the standard deviation."""
        if self.singleton == "error":
            or_raw = "" if self.scale == "second" else ", or `--singleton raw` for its score"
            raise DataError(
                "a group has a single trajectory, which nothing can be compared with",
                hint=f"pass `--singleton zero` for an advantage of 0 there{or_raw}",
            )
        scale = float(1.0 / self._denominators(np.ones(1))[0]) if self.scale == "std" else 1.0
        return (
            np.where(alone, 0.0, means),
            np.where(alone, 1.0, stds),
            np.where(alone, scale, scales),
            is_flat & ~alone,
        )

    def beside_others(
        self, numbers: FloatArray, counts: FloatArray, means: FloatArray, m2s: FloatArray
    ) -> FloatArray:
        """Centred numbers, x - mean of the others, over the standard deviation of the others, where they have one.

        Σ over the others = m2 - (n - 1) / n · (x - mean of the others)²
        """
        others = counts - 1
        squares = m2s - numbers * numbers * others / np.maximum(counts, 1)
        divisors = others - self.ddof
        # What is left of a difference of squares, each of which is as exact as the scores that it is made of.
        noise = _ROUNDING * (m2s + np.sqrt(m2s * counts) * np.abs(means))
        has_spread = (others > 1) & (divisors > 0) & (squares > noise)
        variances = np.where(has_spread, squares / np.where(divisors > 0, divisors, 1.0), 1.0)
        found: FloatArray = np.where(has_spread, numbers / self._denominators(np.sqrt(variances)), numbers)
        return found

    def _denominators(self, stds: FloatArray) -> FloatArray:
        if self.floor == "add":
            return stds + self.eps
        found: FloatArray = (
            np.maximum(stds, self.eps) if self.floor == "clamp" else np.sqrt(stds * stds + self.eps)
        )
        return found


@dataclass(frozen=True)
class NormConstants:
    """What one group is normalised with."""

    count: int
    mean: float
    std: float
    scale: float
    is_degenerate: bool
    #: What is taken off: the mean, but for one rule.
    centre: float


@dataclass(frozen=True, eq=False)
class GroupConstants:
    """`NormConstants` of G groups at once."""

    counts: FloatArray
    means: FloatArray
    stds: FloatArray
    scales: FloatArray
    are_degenerate: BoolArray
    m2s: FloatArray
    #: What is taken off: the means, but for one rule.
    centres: FloatArray

    def take(self, rows: IndexArray) -> GroupConstants:
        return GroupConstants(*(column[rows] for column in self._columns))

    def take_maps(self, rows: IndexArray) -> GroupConstants:
        """What is taken off and scales alone: there may be a million groups in a block."""
        nothing = np.broadcast_to(np.zeros(1), len(rows))
        centres, scales = self.centres[rows], self.scales[rows]
        is_flat = np.broadcast_to(np.False_, len(rows))
        return GroupConstants(nothing, nothing, nothing, scales, is_flat, nothing, centres)

    def padded(self) -> GroupConstants:
        """With a group of none at the end, where an index of -1 finds it."""
        return GroupConstants(*(np.append(column, column.dtype.type(0)) for column in self._columns))

    def with_others(self, rows: IndexArray, others: GroupConstants) -> GroupConstants:
        """Those of `others` in place of some."""
        columns = [column.copy() for column in self._columns]
        for mine, theirs in zip(columns, others._columns, strict=True):
            mine[rows] = theirs
        return GroupConstants(*columns)

    @property
    def _columns(self) -> tuple[Array, ...]:
        return (
            self.counts,
            self.means,
            self.stds,
            self.scales,
            self.are_degenerate,
            self.m2s,
            self.centres,
        )

    def group(self, index: int) -> NormConstants:
        return NormConstants(
            int(self.counts[index]),
            float(self.means[index]),
            float(self.stds[index]),
            float(self.scales[index]),
            is_degenerate=bool(self.are_degenerate[index]),
            centre=float(self.centres[index]),
        )


def _without_rounding(means: FloatArray, stds: FloatArray) -> FloatArray:
    """0 in place of what is left of a sum whose terms cancel, whose sign is that of the order of the rows."""
    return np.where(np.abs(means) <= _ROUNDING * stds, 0.0, means)


def normalize(advantages: FloatArray, constants: NormConstants) -> FloatArray:
    return (advantages - constants.centre) * constants.scale
