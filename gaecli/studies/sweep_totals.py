"""What one setting of a sweep adds up to, and what it says of the setting."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import field
from typing import NamedTuple

import numpy as np

from gaecli.array_types import Array, BoolArray, FloatArray, IndexArray
from gaecli.decay_settings import FAMILIES
from gaecli.explanation import effective_horizon
from gaecli.kernels.chunks import column_tiles
from gaecli.label_summary import LabelGroup
from gaecli.moments import Moments
from gaecli.pipeline.settle import Settled
from gaecli.records import dataclass
from gaecli.results import SweepPoint
from gaecli.settings import Settings
from gaecli.studies.row_moments import RowMoments, TileMoments, row_products
from gaecli.studies.sweep_labels import LabelTotal
from gaecli.studies.sweep_points import SweepPoints

#: As much of a sum of squares has to be left of those that it is made of: two digits are lost at most.
_LEAST_LEFT = 0.01


class Compared:
    """What the numbers of every setting are compared with, in the order in which they come."""

    def __init__(self, signs: Array, values: FloatArray | None, is_in: BoolArray | None = None) -> None:
        """
        Args:
            signs: [N] of other numbers; anything but -1, 0 and 1 agrees with none.
            values: [N] V, if there is one.
            is_in: [N] what enters statistics; None: all.
        """
        self._signs, self._values, self._is_in = signs, values, is_in
        self._are_negative = signs < 0
        self._are_plain = is_in is None and bool((np.abs(signs) == 1).all())

    def at(self, places: slice) -> _Beside:
        """Of what enters there."""
        signs, are_negative = self._signs[places], self._are_negative[places]
        values = None if self._values is None else self._values[places]
        is_in = None if self._is_in is None else self._is_in[places]
        if is_in is None or is_in.all():
            return _Beside(None, signs, are_negative, self._are_plain, values)
        values = None if values is None else values[is_in]
        return _Beside(is_in, signs[is_in], are_negative[is_in], False, values)


class _Beside(NamedTuple):
    """[n]"""

    is_in: BoolArray | None
    signs: Array
    are_negative: BoolArray
    #: None of the signs is 0 or NaN.
    are_plain: bool
    values: FloatArray | None

    def same_signs(self, numbers: FloatArray, *, is_plain: bool) -> IndexArray:
        """How many of each row of `numbers` have these signs; `is_plain`: none of them is 0 or NaN."""
        if is_plain and (self.are_plain or (np.abs(self.signs) == 1).all()):
            return _counts(np.signbit(numbers) == self.are_negative)
        return _counts(np.sign(numbers) == self.signs)


class PointSums:
    """Of several settings side by side, from tiles of their numbers."""

    def __init__(self, compared: Compared, num_points: int, num_bases: int, *, is_return: bool) -> None:
        """`num_bases`: so many are λ = 1, each of which stands before as many others. `is_return`: of returns."""
        self._compared, self._num_bases = compared, num_bases
        self._sign = -1.0 if is_return else 1.0
        self._numbers, self._errors, self._returns = RowMoments(), RowMoments(), RowMoments()
        self._squared_change = np.zeros(num_points)
        self._same_sign, self._num_zeros = np.zeros(num_points, np.int64), np.zeros(num_points, np.int64)
        self._is_return = is_return

    # What overflows is infinite, and is shown as unknown.
    @np.errstate(over="ignore", invalid="ignore")
    def add(self, places: slice, numbers: FloatArray, own_returns: FloatArray | None = None) -> None:
        """[K, n] of these places; `own_returns`: where they are not A + V."""
        beside = self._compared.at(places)
        if beside.is_in is not None:
            numbers = numbers[:, beside.is_in]
            own_returns = None if own_returns is None else own_returns[:, beside.is_in]
        if not numbers.size:
            return
        moments = TileMoments.of(numbers)
        self._numbers.add(moments)
        self._add_returns(numbers, moments, beside.values, own_returns)
        if self._num_bases:
            self._squared_change += _squared_change(numbers, moments.squares, self._num_bases)
        is_plain = bool(numbers.all())
        if not is_plain:
            self._num_zeros += _counts(numbers == 0)
        is_plain = is_plain and bool(np.isfinite(moments.means).all())
        self._same_sign += beside.same_signs(numbers, is_plain=is_plain)

    def _add_returns(
        self,
        numbers: FloatArray,
        moments: TileMoments,
        values: FloatArray | None,
        own_returns: FloatArray | None,
    ) -> None:
        if values is None:
            return
        if own_returns is not None and not self._is_return:
            returns = TileMoments.of(own_returns)
            self._returns.add(returns)
            self._errors.add(returns.plus(own_returns, values, -1.0))
        else:
            others = moments.plus(numbers, values, self._sign)
            self._returns.add(moments if self._is_return else others)
            self._errors.add(others if self._is_return else moments)

    def totals(self) -> list[PointTotal]:
        count = len(self._num_zeros)
        columns = (one.of_rows(count) for one in (self._numbers, self._errors, self._returns))
        counts = (one.tolist() for one in (self._squared_change, self._same_sign, self._num_zeros))
        return [PointTotal(*of_point) for of_point in zip(*columns, *counts, strict=True)]


def _counts(flags: BoolArray) -> IndexArray:
    """By row. Not over an axis: that sums integers."""
    return np.array([np.count_nonzero(row) for row in flags], np.int64)


def _squared_change(numbers: FloatArray, squares: FloatArray, num_bases: int) -> FloatArray:
    """[K] Σ (A - B)², B the first row of as many as there are for each base."""
    numbers, squares = numbers.reshape(num_bases, -1, numbers.shape[-1]), squares.reshape(num_bases, -1)
    both = squares + squares[:, :1]
    change: FloatArray = both - 2.0 * row_products(numbers, numbers[:, :1])
    is_lost = ~(change > _LEAST_LEFT * both)
    is_lost[:, 0] = False
    if is_lost.any():
        of_base, row = np.nonzero(is_lost)
        rest = numbers[of_base, row] - numbers[of_base, 0]
        change[of_base, row] = row_products(rest, rest)
    change[:, 0] = 0.0
    return change.reshape(-1)


@dataclass(frozen=True)
class PointTotal:
    """Of the numbers that are swept: advantages, or returns where the estimator writes no others."""

    numbers: Moments = field(default_factory=Moments)
    #: R - V and R, where there is a V.
    errors: Moments = field(default_factory=Moments)
    returns: Moments = field(default_factory=Moments)
    squared_change: float = 0.0
    same_sign: int = 0
    num_zeros: int = 0
    labels: LabelTotal = field(default_factory=LabelTotal)

    @classmethod
    def of(
        cls,
        counted: FloatArray,
        compared: Compared,
        *,
        is_return: bool,
        own_returns: FloatArray | None = None,
    ) -> PointTotal:
        """Of one setting. `own_returns`: where they are not A + V."""
        sums = PointSums(compared, 1, 0, is_return=is_return)
        for places in column_tiles(1, len(counted)):
            own = None if own_returns is None else own_returns[None, places]
            sums.add(places, counted[None, places], own)
        return sums.totals()[0]

    def merge(self, other: PointTotal) -> PointTotal:
        return PointTotal(
            self.numbers.merge(other.numbers),
            self.errors.merge(other.errors),
            self.returns.merge(other.returns),
            self.squared_change + other.squared_change,
            self.same_sign + other.same_sign,
            self.num_zeros + other.num_zeros,
            self.labels.merge(other.labels),
        )


def values_that_count(settled: Settled) -> FloatArray | None:
    """V of the steps that count; what that of one stream of rewards explains says nothing of another."""
    if not settled.block.has_values or settled.streams:
        return None
    values: FloatArray = settled.counted(settled.prepared.values).astype(np.float64)
    return values


def own_returns_that_count(settled: Settled) -> FloatArray | None:
    """Returns that are not A + V."""
    if not settled.has_own_returns:
        return None
    returns: FloatArray = settled.counted(settled.returns).astype(np.float64)
    return returns


def sweep_point(
    points: SweepPoints,
    index: int,
    totals: Sequence[PointTotal],
    explained: float | None,
    label_groups: Sequence[LabelGroup] = (),
) -> SweepPoint:
    settings, total, base_index = points.points[index], totals[index], points.bases[index]
    count, labels = total.numbers.count, total.labels
    spread = None if base_index is None else totals[base_index].numbers.std(1)
    return SweepPoint(
        gamma=settings.gamma if (points.gammas if points.is_grid else _has_one(settings, "gamma")) else None,
        lam=settings.lam if points.lams else None,
        mean=total.numbers.mean if count else None,
        std=total.numbers.std(1),
        variance=total.numbers.variance(1),
        explained_variance=explained if total.returns.count else None,
        bias=math.sqrt(total.squared_change / count) / spread if count and spread else None,
        sign_agreement=total.same_sign / count if count else None,
        effective_horizon=_horizon(settings),
        column=points.column(index),
        zero_share=total.num_zeros / count if count else None,
        estimator=settings.estimator,
        preset=settings.preset,
        n_steps=settings.n_steps,
        threshold=label_groups[0].threshold if len(label_groups) == 1 else None,
        label_groups=label_groups,
        positive_share=labels.positive / labels.labelled if labels.labelled else None,
        label_agreement=labels.same / labels.labelled if labels.labelled else None,
    )


def _has_one(settings: Settings, name: str) -> bool:
    """One γ, or one λ, for all steps."""
    others = (getattr(settings, other) for other in FAMILIES[name])
    return settings.uses(name) and not settings.stream and all(other is None for other in others)


def _horizon(settings: Settings) -> float | None:
    is_one = _has_one(settings, "gamma") and (not settings.uses("lam") or _has_one(settings, "lam"))
    if not is_one or settings.turn_gamma is not None:
        return None
    lams = {"mc": 1.0, "td0": 0.0}
    if settings.uses("lam") or settings.estimator in lams:
        return effective_horizon(settings.gamma, lams.get(settings.estimator, settings.lam))
    return None
