"""γ and λ of conventions that are not one linear recursion: Gauss-Newton on what the estimator computes.

The map from raw advantages to the column, if there is one, is linear and is solved for at every
step (variable projection, Golub & Pereyra 1973, https://doi.org/10.1137/0710036).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from gaecli.array_types import BoolArray, FloatArray
from gaecli.records import dataclass

#: (γ, λ) -> advantages of the rows.
Model = Callable[[float, float], FloatArray]

#: What is searched for; one that the settings say is left out.
GAMMA_AND_LAM = (0, 1)

_STARTS = ((0.99, 0.95), (0.9, 0.9), (0.95, 0.5), (0.7, 0.95), (1.0, 1.0), (0.5, 0.3))
_NUM_DESCENTS = 2
_NUM_STEPS = 30
#: A step that gains less than this part of the error is the last.
_LEAST_GAIN = 1e-9
#: What curvature and what rounding add to a derivative by it are alike, and nothing that a descent could see.
_DIFFERENCE = 1e-7
#: A part of the variance, of nine rows in ten: a column of the rule with other γ and λ has many times as much.
_LEAST_IN_COMMON = 1e-2


@dataclass(frozen=True)
class Found:
    """column = slope · A(γ, λ) + offset, with the root mean square of what is left."""

    gamma: float
    lam: float
    slope: float
    offset: float
    error: float


def search(
    model: Model,
    column: FloatArray,
    starts: Sequence[tuple[float, float]],
    *,
    affine: bool,
    axes: Sequence[int] = GAMMA_AND_LAM,
) -> Found:
    """The best of several descents, then once more without the rows that fit worst.

    Wherever γ and λ are, advantages are made of the same rewards and values: a column that has nothing in common with
    any of them is not made so, and no descent is worth its time.
    """
    everything = np.ones(len(column), np.bool_)
    seen = list(dict.fromkeys([*starts, *_STARTS]))
    usual = np.abs(column) <= np.quantile(np.abs(column), 0.9) if len(column) else everything
    found: list[Found] = []
    has_in_common = False
    for gamma, lam in seen:
        advantages = model(gamma, lam)
        found.append(_projected(advantages, column, (gamma, lam), everything, affine))
        share = 1.0 if has_in_common else _share_in_common(advantages[usual], column[usual])
        has_in_common |= not share < _LEAST_IN_COMMON
    found.sort(key=lambda one: one.error)
    if not has_in_common:
        return found[0]
    descents = (_descend(model, column, start, everything, affine, axes) for start in found[:_NUM_DESCENTS])
    best = min(descents, key=lambda one: one.error)
    advantages = model(best.gamma, best.lam)
    left = np.abs(best.slope * advantages + best.offset - column)
    keep = left <= np.quantile(left, 0.8)
    if np.count_nonzero(keep) <= 4:
        return best
    start = _projected(advantages, column, (best.gamma, best.lam), keep, affine)
    return _descend(model, column, start, keep, affine, axes)


def _share_in_common(advantages: FloatArray, column: FloatArray) -> float:
    """The square of their correlation."""
    one, other = advantages - advantages.mean(), column - column.mean()
    squares = float(np.square(one).sum() * np.square(other).sum())
    return float(np.dot(one, other)) ** 2 / squares if squares > 0 else 0.0


def _descend(
    model: Model,
    column: FloatArray,
    start: Found,
    rows: BoolArray,
    affine: bool,
    axes: Sequence[int],
) -> Found:
    """Levenberg-Marquardt in (γ, λ), kept within [0, 1]."""
    damping = 1e-3
    best = start
    here: FloatArray | None = None
    equations = None
    for _ in range(_NUM_STEPS if axes else 0):
        point = np.array((best.gamma, best.lam))
        if equations is None:
            here = model(*point) if here is None else here
            equations = _normal_equations(model, column, best, here, rows, affine, axes)
        normal, right = equations
        step = np.linalg.lstsq(normal + damping * np.diag(np.diag(normal) + 1e-30), right, rcond=None)[0]
        point[list(axes)] = np.clip(point[list(axes)] + step, 0.0, 1.0)
        moved = model(*point)
        new = _projected(moved, column, point, rows, affine)
        if new.error < best.error:
            is_done = new.error > best.error * (1 - _LEAST_GAIN)
            best, here, damping, equations = new, moved, max(damping / 10, 1e-12), None
            if is_done:
                break
        elif damping > 1e6:
            break
        else:
            damping *= 10
    return best


def _normal_equations(
    model: Model,
    column: FloatArray,
    best: Found,
    advantages: FloatArray,
    rows: BoolArray,
    affine: bool,
    axes: Sequence[int],
) -> tuple[FloatArray, FloatArray]:
    """(JᵀJ, Jᵀ of what is left) where a descent stands; a step that is refused leaves it there."""
    point = np.array((best.gamma, best.lam))
    here = advantages[rows]
    slopes = np.stack([_by(model, point, axis, advantages)[rows] for axis in axes], axis=1)
    slopes = best.slope * slopes
    if affine:  # what the map can take up is no direction to go
        base = np.stack([here, np.ones(len(here))], axis=1)
        slopes = slopes - base @ np.linalg.lstsq(base, slopes, rcond=None)[0]
    left = column[rows] - best.slope * here - best.offset
    return slopes.T @ slopes, slopes.T @ left


def _by(model: Model, point: FloatArray, axis: int, advantages: FloatArray) -> FloatArray:
    """Derivative by γ or λ of the advantages at a point, by a difference that stays within [0, 1]."""
    beside = point.copy()
    beside[axis] += _DIFFERENCE if point[axis] + _DIFFERENCE <= 1 else -_DIFFERENCE
    result: FloatArray = (model(*beside) - advantages) / (beside[axis] - point[axis])
    return result


def _projected(
    made: FloatArray, column: FloatArray, point: Sequence[float] | FloatArray, rows: BoolArray, affine: bool
) -> Found:
    """`made`: the advantages of (γ, λ)."""
    advantages, wanted = made[rows], column[rows]
    slope, offset = 1.0, 0.0
    if affine:
        base = np.stack([advantages, np.ones(len(advantages))], axis=1)
        slope, offset = (float(number) for number in np.linalg.lstsq(base, wanted, rcond=None)[0])
    left = slope * advantages + offset - wanted
    error = float(np.sqrt(np.square(left).mean())) if len(left) else 0.0
    return Found(float(point[0]), float(point[1]), slope, offset, error)
