"""Mean and variance that merge: any split of the data gives the same result to rounding.

Chan, Golub & LeVeque 1983 (https://doi.org/10.1080/00031305.1983.10483115). Two passes over each
piece, in float64, so that an offset of 1e8 costs no digits: E[x²] - E[x]² would lose all of them.
"""

from __future__ import annotations

import math

import numpy as np

from gaecli.records import dataclass
from gaecli.rollouts import Array, FloatArray, IndexArray

#: Rows summed at a time: what is centred stays in the cache.
_PIECE = 1 << 16


@dataclass(frozen=True)
class Moments:
    """count n, mean, and m2 = Σ (x - mean)²."""

    count: int = 0
    mean: float = 0.0
    m2: float = 0.0

    @classmethod
    def of(cls, numbers: Array) -> Moments:
        total = cls()
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows comes out as infinite or NaN
            for start in range(0, len(numbers), _PIECE):
                piece = numbers[start : start + _PIECE].astype(np.float64)
                mean = float(piece.mean())
                piece -= mean
                # Not `dot`: BLAS starts threads for it, which wait for each other when all cores are busy.
                np.square(piece, out=piece)
                total = total.merge(cls(len(piece), mean, float(piece.sum())))
        return total

    def merge(self, other: Moments) -> Moments:
        if not self.count or not other.count:
            return self if self.count else other
        count = self.count + other.count
        shift = other.mean - self.mean
        mean = self.mean + shift * (other.count / count)
        return Moments(count, mean, self.m2 + other.m2 + shift * shift * (self.count * other.count / count))

    def variance(self, ddof: int = 0) -> float | None:
        """Σ (x - mean)² / (n - ddof); None where n <= ddof."""
        return self.m2 / (self.count - ddof) if self.count > ddof else None

    def std(self, ddof: int = 0) -> float | None:
        variance = self.variance(ddof)
        return None if variance is None else math.sqrt(variance)


@dataclass(frozen=True, eq=False)
class GroupedMoments:
    """`Moments` of G groups at once: arrays of counts, means and m2."""

    counts: IndexArray
    means: FloatArray
    m2s: FloatArray

    @classmethod
    def of(cls, numbers: Array, groups: IndexArray, num_groups: int) -> GroupedMoments:
        """`groups` [N] tells the group of each number."""
        numbers = numbers.astype(np.float64, copy=False)
        counts = np.bincount(groups, minlength=num_groups)
        with np.errstate(over="ignore", invalid="ignore"):  # as above
            sums = np.bincount(groups, weights=numbers, minlength=num_groups)
            means = sums / np.maximum(counts, 1)
            deviations = numbers - means[groups]
            # The mean above is rounded; what is left of it is taken out, as the two-pass formula does.
            rest = np.bincount(groups, weights=deviations, minlength=num_groups) / np.maximum(counts, 1)
            squares = np.bincount(groups, weights=deviations * deviations, minlength=num_groups)
            m2s = np.maximum(squares - counts * rest * rest, 0.0)
            return cls(counts.astype(np.int64), means + rest, m2s)

    def group(self, index: int) -> Moments:
        return Moments(int(self.counts[index]), float(self.means[index]), float(self.m2s[index]))
