"""What one setting of a sweep adds up to, and what it says of the setting."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import field
from functools import partial

import numpy as np

from gaecli.decay_settings import FAMILIES
from gaecli.label_summary import LabelGroup
from gaecli.moments import Moments
from gaecli.pipeline.settle import Settled
from gaecli.records import dataclass
from gaecli.results import SweepPoint, effective_horizon
from gaecli.rollouts import Array, FloatArray
from gaecli.settings import Settings
from gaecli.studies.sweep_labels import LabelTotal
from gaecli.studies.sweep_points import SweepPoints

#: Rows looked at at a time: what is made of them stays in the cache.
_PIECE = 1 << 15


class Signs:
    """[N] -1, 0 or 1 of the numbers that are compared with; anything else agrees with none."""

    def __init__(self, signs: Array) -> None:
        self._signs = signs
        self._are_negative = signs < 0
        self._are_plain = bool((np.abs(signs) == 1).all())

    def same(self, numbers: FloatArray, rows: slice, *, is_plain: bool) -> int:
        """How many of these numbers have the signs of these rows; `is_plain`: none is 0 or NaN."""
        if is_plain and self._are_plain:
            return int(np.count_nonzero(np.signbit(numbers) == self._are_negative[rows]))
        return int(np.count_nonzero(np.sign(numbers) == self._signs[rows]))


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
        values: FloatArray | None,
        signs: Signs,
        *,
        is_return: bool,
        base: FloatArray | None = None,
        own_returns: FloatArray | None = None,
    ) -> PointTotal:
        """`values`: V, if there is one. `base`: the numbers under λ = 1. `own_returns`: where they are not A + V."""
        total = cls()
        with np.errstate(
            over="ignore", invalid="ignore"
        ):  # what overflows is infinite, and is shown as unknown
            for start in range(0, len(counted), _PIECE):
                piece = slice(start, start + _PIECE)
                parts = (None if one is None else one[piece] for one in (values, base, own_returns))
                same = partial(signs.same, rows=piece)
                total = total.merge(cls._of_piece(counted[piece], *parts, same=same, is_return=is_return))
        return total

    @classmethod
    def _of_piece(
        cls,
        numbers: FloatArray,
        values: FloatArray | None,
        base: FloatArray | None,
        own_returns: FloatArray | None,
        *,
        same: Callable[..., int],
        is_return: bool,
    ) -> PointTotal:
        moments = Moments.of_piece(numbers)
        errors, returns = Moments(), Moments()
        if values is not None and is_return:
            errors, returns = Moments.of_piece(numbers - values), moments
        elif values is not None and own_returns is not None:
            errors, returns = Moments.of_piece(own_returns - values), Moments.of_piece(own_returns)
        elif values is not None:
            errors, returns = moments, Moments.of_piece(numbers + values)
        num_zeros = len(numbers) - int(np.count_nonzero(numbers))
        is_plain = math.isfinite(moments.mean) and not num_zeros
        return cls(
            moments,
            errors,
            returns,
            0.0 if base is None else _squared_sum(numbers, base),
            same(numbers, is_plain=is_plain),
            num_zeros,
        )

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


def _squared_sum(one: FloatArray, other: FloatArray) -> float:
    change = one - other
    return float(np.einsum("i,i->", change, change))


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
