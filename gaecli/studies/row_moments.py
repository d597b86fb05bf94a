"""`Moments` of many rows of numbers side by side, from tiles that stay in the cache."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gaecli.array_types import BoolArray, FloatArray
from gaecli.moments import Moments

#: As much has to be left of a difference of squares: one digit is lost at most.
_LEAST_LEFT = 0.1


def row_products(one: FloatArray, other: FloatArray) -> FloatArray:
    """[K] Σₙ one[k, n] other[k, n]; either may be a single row.

    Not `matmul`: BLAS starts threads for it.
    """
    is_numpy_2 = hasattr(np, "vecdot")
    found: FloatArray = np.vecdot(one, other) if is_numpy_2 else np.einsum("...i,...i->...", one, other)
    return found


class TileMoments(NamedTuple):
    """[K] of one tile."""

    num_columns: int
    means: FloatArray
    m2s: FloatArray
    #: Σ x².
    squares: FloatArray
    #: Whose squares are almost all of their means.
    is_lost: BoolArray

    @classmethod
    def of(cls, numbers: FloatArray) -> TileMoments:
        """`numbers`: [K, n], n at least 1."""
        count = numbers.shape[1]
        means = np.add.reduce(numbers, axis=1) / count
        squares = row_products(numbers, numbers)
        m2s = squares - count * means * means
        is_lost: BoolArray = ~(m2s > _LEAST_LEFT * squares)
        if is_lost.any():
            rest = numbers[is_lost] - means[is_lost, None]
            m2s[is_lost] = row_products(rest, rest)
        return cls(count, means, m2s, squares, is_lost)

    def plus(self, numbers: FloatArray, values: FloatArray, sign: float) -> TileMoments:
        """Of `numbers`, whose moments these are, with sign · `values` [n] added."""
        mean = float(np.add.reduce(values)) / self.num_columns
        centred = values - mean
        of_values = float(row_products(centred, centred))
        means = self.means + sign * mean
        m2s = self.m2s + 2.0 * sign * row_products(numbers, centred) + of_values
        is_lost = self.is_lost | ~(m2s > _LEAST_LEFT * (self.m2s + of_values))
        if is_lost.any():
            sums = numbers[is_lost] + sign * values
            sums -= means[is_lost, None]
            m2s[is_lost] = row_products(sums, sums)
        return TileMoments(self.num_columns, means, m2s, m2s, is_lost)


class RowMoments:
    """Of each row of all tiles."""

    def __init__(self) -> None:
        self._tiles: list[TileMoments] = []

    def add(self, tile: TileMoments) -> None:
        self._tiles.append(tile)

    def of_rows(self, num_rows: int) -> list[Moments]:
        """By Chan's formula over all tiles at once."""
        if not self._tiles:
            return [Moments()] * num_rows
        counts = np.array([float(tile.num_columns) for tile in self._tiles])[:, None]
        means, m2s = (np.stack([tile[column] for tile in self._tiles]) for column in (1, 2))
        with np.errstate(over="ignore", invalid="ignore"):
            # From that of the first tile, so that no digit of what all means have in common is lost.
            mean = means[0] + np.sum(counts * (means - means[0]), axis=0) / counts.sum()
            shifts = means - mean
            m2 = np.sum(m2s + counts * shifts * shifts, axis=0)
        count = int(counts.sum())
        return [Moments(count, *of_row) for of_row in zip(mean.tolist(), m2.tolist(), strict=True)]
