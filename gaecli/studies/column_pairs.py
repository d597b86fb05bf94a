"""Two columns of the same rows, read side by side in blocks, and what sets them apart added up."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from dataclasses import field

import numpy as np

from gaecli.array_types import BoolArray, FloatArray
from gaecli.errors import DataError, UsageError
from gaecli.formats.base import Column, RolloutFile
from gaecli.missing_columns import not_found
from gaecli.records import dataclass


def cells_of(file: RolloutFile, name: str, rows_per_block: int) -> Iterator[FloatArray]:
    """All cells of a column in the order of the file, NaN where there is none.

    Raises:
        UsageError: if there is no such column, or it holds no numbers.
    """
    info = file.find(name)
    if info is None:
        raise not_found(name, "--columns", file)
    if info.kind not in ("float", "int", "bool") or info.unusable is not None:
        raise UsageError(
            f"`{name}` of `{file.path}` holds {info.unusable or info.type_name}, and not numbers"
        )
    for unit in file.units(rows_per_block, name):
        for _, _, columns in file.blocks(unit, [name], rows_per_block):
            yield _numbers(columns[name])


def _numbers(column: Column) -> FloatArray:
    numbers = column.values.reshape(-1).astype(np.float64)
    if column.is_null is not None:
        numbers[column.is_null.reshape(-1)] = np.nan
    return numbers


def side_by_side(a: Iterator[FloatArray], b: Iterator[FloatArray]) -> Iterator[tuple[FloatArray, FloatArray]]:
    """Pieces of the same length, whatever the blocks of either side are. Raises `DataError` for unlike lengths."""
    left: FloatArray | None = np.zeros(0)
    right: FloatArray | None = np.zeros(0)
    total = 0
    while left is not None and right is not None:
        count = min(len(left), len(right))
        if count:
            yield left[:count], right[:count]
        total += count
        left = left[count:] if len(left) > count else next(a, None)
        right = right[count:] if len(right) > count else next(b, None)
    more = sum(len(one) for one in (left, right) if one is not None)
    more += sum(map(len, a)) + sum(map(len, b))
    if more:
        raise DataError(
            f"one of the two columns has {total:,} cells, and the other {total + more:,}",
            hint="they have to be of the same rows, in the same order",
        )


@dataclass(eq=False)
class PairTally:
    """What is known of the pairs so far; sums are about the means, so that large offsets do not swallow them."""

    rtol: float
    atol: float
    num_worst: int
    num_cells: int = 0
    num_compared: int = 0
    num_differing: int = 0
    num_one_sided: int = 0
    num_sign_flips: int = 0
    max_abs: float = 0.0
    sum_abs: float = 0.0
    sum_squares: float = 0.0
    first: tuple[int, float, float] | None = None
    #: (|difference|, -row, a, b): a heap of the largest.
    worst: list[tuple[float, int, float, float]] = field(default_factory=list)
    _mean_a: float = 0.0
    _mean_b: float = 0.0
    _saa: float = 0.0
    _sbb: float = 0.0
    _sab: float = 0.0

    def add(self, a: FloatArray, b: FloatArray) -> BoolArray:
        """Whether each of the pairs differs."""
        start = self.num_cells
        self.num_cells += len(a)
        has_a, has_b = ~np.isnan(a), ~np.isnan(b)
        both = has_a & has_b
        with np.errstate(invalid="ignore", over="ignore"):
            apart = np.abs(np.where(both & (a != b), b - a, 0.0))
            far = apart > self.atol + self.rtol * np.maximum(np.abs(a), np.abs(b))
        far |= np.isinf(apart)  # what is far from an infinite number is so whatever is allowed for its size
        one_sided = has_a != has_b
        differs: BoolArray = (both & far) | one_sided
        self.num_one_sided += int(one_sided.sum())
        self.num_differing += int(differs.sum())
        self.num_sign_flips += int((both & (np.sign(a) * np.sign(b) < 0)).sum())
        self._take(a[both], b[both], apart[both])
        where = np.flatnonzero(differs)
        if len(where):
            if self.first is None:
                at = int(where[0])
                self.first = (start + at, float(a[at]), float(b[at]))
            size = np.where(one_sided[where], np.inf, apart[where])
            for at in where[np.argsort(-size, kind="stable")[: self.num_worst]].tolist():
                distance = math.inf if one_sided[at] else float(apart[at])
                entry = (distance, -(start + at), float(a[at]), float(b[at]))
                if len(self.worst) < self.num_worst:
                    heapq.heappush(self.worst, entry)
                elif entry > self.worst[0]:
                    heapq.heapreplace(self.worst, entry)
        return differs

    def _take(self, a: FloatArray, b: FloatArray, apart: FloatArray) -> None:
        count = len(a)
        if not count:
            return
        self.max_abs = max(self.max_abs, float(apart.max()))
        self.sum_abs += float(apart.sum())
        self.sum_squares += float(np.square(apart).sum())
        with np.errstate(invalid="ignore"):
            mean_a, mean_b = float(a.mean()), float(b.mean())
            da, db = a - mean_a, b - mean_b
            total = self.num_compared + count
            weight = self.num_compared * count / total
            step_a, step_b = mean_a - self._mean_a, mean_b - self._mean_b
            self._saa += float(da @ da) + step_a * step_a * weight
            self._sbb += float(db @ db) + step_b * step_b * weight
            self._sab += float(da @ db) + step_a * step_b * weight
            self._mean_a += step_a * count / total
            self._mean_b += step_b * count / total
        self.num_compared = total

    @property
    def correlation(self) -> float | None:
        root = math.sqrt(self._saa) * math.sqrt(self._sbb) if self._saa > 0 and self._sbb > 0 else 0.0
        return max(-1.0, min(1.0, self._sab / root)) if root > 0 and math.isfinite(root) else None

    @property
    def line(self) -> tuple[float, float] | None:
        """(slope, intercept) of b over a, by least squares."""
        if not (self._saa > 0 and math.isfinite(self._saa)):
            return None
        slope = self._sab / self._saa
        return slope, self._mean_b - slope * self._mean_a
