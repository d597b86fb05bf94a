"""γ, λ and a possible whitening out of the rows of a column, whatever some of the rows do.

Least squares over all rows would be drawn away by the few that follow another rule, which are those that
one wants to find. So: many fits through a handful of rows each (RANSAC, Fischler & Bolles 1981,
https://doi.org/10.1145/358669.358692), the best of them concentrated on the half of the rows that it
explains best (Rousseeuw & Van Driessen 1999, https://doi.org/10.1080/00401706.1999.10485670), and
at last plain least squares over all rows that agree with it to rounding.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

import numpy as np

from gaecli.array_types import FloatArray, IndexArray
from gaecli.records import dataclass
from gaecli.studies.row_equations import ColumnEvidence, Theta

#: Rows on which fits are searched for; all rows have their say in the last step.
SEARCH_ROWS = 4096
#: Rows on which the map is looked for, before all of them have their say.
_MAP_ROWS = 1 << 15
_NUM_DRAWS = 256
_NUM_CONCENTRATED = 6
_NUM_STEPS = 12
#: Singular values below this part of the largest one are rounding.
_RANK = 1e-6
_MOST_DIGITS = 6
#: With fewer rows inside trajectories all rows are taken for such.
_FEWEST_INSIDE = 8


@dataclass(frozen=True)
class Fit:
    theta: Theta
    #: Whether the rows that agree leave no choice of γ, of γλ.
    is_gamma_determined: bool
    is_decay_determined: bool


class Fits:
    """Of one column under one convention after the other. Searches go over the rows inside trajectories, which most
    conventions read alike, so that they are made once.
    """

    def __init__(self) -> None:
        self._found: dict[bytes, FloatArray] = {}

    def raw(self, evidence: ColumnEvidence) -> Fit:
        """A - r + V = γ V' + γλ A'."""

        def theta_of(solution: FloatArray) -> Theta:
            return Theta(float(solution[0]), float(solution[1]))

        solution = self._searched(*_raw_equations(_inside(evidence)))
        return _settled(evidence, theta_of(_agreed(evidence, *_raw_equations(evidence), solution, theta_of)))

    def affine(self, evidence: ColumnEvidence) -> Fit:
        """r - V = s w + m (1 - γλ) - γλs w' - γV' inside trajectories: linear in (s, m (1 - γλ), γλs, γ).

        Rows at ends then tell m, which nothing else does where γλ = 1; at last all rows have their say at once.
        """
        rows = _inside(evidence)
        design = np.stack([rows.column, np.ones(len(rows)), -rows.next_column, -rows.following], axis=1)
        target = rows.rewards - rows.values

        def theta_of(solution: FloatArray) -> Theta:
            scale, constant, product, gamma = (float(number) for number in solution)
            decay = product / scale if scale else 0.0
            return Theta(gamma, decay, scale, constant / (1.0 - decay) if abs(1.0 - decay) > 1e-3 else 0.0)

        theta = theta_of(_agreed(rows, design, target, self._searched(design, target), theta_of))
        some = _some(evidence, _MAP_ROWS)
        theta = _newton(some, replace(theta, shift=_typical_shift(some, theta)))
        if some is not evidence and _is_of_many(some, theta):
            theta = _newton(evidence, theta)
        return _settled(evidence, theta, affine=True)

    def _searched(self, design: FloatArray, target: FloatArray) -> FloatArray:
        digest = hashlib.sha256(repr(design.shape).encode())
        digest.update(np.ascontiguousarray(design).tobytes())
        digest.update(target.tobytes())
        key = digest.digest()
        if key not in self._found:
            self._found[key] = _search(design, target)
        return self._found[key]


def fit_plainly(evidence: ColumnEvidence) -> Fit:
    """By least squares over all rows: all that is needed where they agree with each other."""
    return fit_near(evidence, Theta(*_least_squares(*_raw_equations(evidence)).tolist()))


def fit_near(evidence: ColumnEvidence, theta: Theta) -> Fit:
    """With this γ and γλ, and this map."""
    return _settled(evidence, theta, affine=(theta.scale, theta.shift) != (1.0, 0.0))


def _raw_equations(rows: ColumnEvidence) -> tuple[FloatArray, FloatArray]:
    return np.stack([rows.following, rows.next_column], axis=1), rows.column - rows.rewards + rows.values


def _inside(evidence: ColumnEvidence) -> ColumnEvidence:
    inside = evidence.goes_on > 0
    return evidence.take(inside) if np.count_nonzero(inside) >= _FEWEST_INSIDE else evidence


def _some(evidence: ColumnEvidence, most: int) -> ColumnEvidence:
    if len(evidence) <= most:
        return evidence
    return evidence.take(np.sort(np.random.default_rng(0).choice(len(evidence), most, replace=False)))


def _is_of_many(evidence: ColumnEvidence, theta: Theta) -> bool:
    """More than a quarter of the rows agree: then the others are left out of fits."""
    return int(np.count_nonzero(~evidence.deviates(theta))) > len(evidence) // 4


def _typical_shift(evidence: ColumnEvidence, theta: Theta) -> float:
    """The median of the m that single rows call for, of the rows that say it most clearly."""
    weights = 1.0 - theta.decay * evidence.goes_on
    clear = np.abs(weights) >= 0.5 * np.abs(weights).max(initial=0.0)
    rest = -evidence.residuals(replace(theta, shift=0.0))
    with np.errstate(divide="ignore", invalid="ignore"):
        shifts = rest[clear] / weights[clear]
    shifts = shifts[np.isfinite(shifts)]
    return float(np.median(shifts)) if len(shifts) else theta.shift


def is_sensible(theta: Theta) -> bool:
    """γ and λ in [0, 1] but for rounding, and a scale that keeps signs."""
    slack = 1e-4
    return (
        all(math.isfinite(number) for number in (theta.gamma, theta.decay, theta.scale, theta.shift))
        and -slack <= theta.gamma <= 1 + slack
        and -slack <= theta.decay <= theta.gamma + slack
        and theta.scale > 0
    )


def rounded(evidence: ColumnEvidence, theta: Theta) -> Theta:
    """γ and λ as people write them (0.99, not 0.98999998), where the rows agree just as well."""
    gamma = _fewest_digits(theta.gamma, lambda number: replace(theta, gamma=number), evidence, theta)
    theta = replace(theta, gamma=gamma)
    if gamma > 0:
        lam = _fewest_digits(
            theta.decay / gamma, lambda number: replace(theta, decay=gamma * number), evidence, theta
        )
        theta = replace(theta, decay=gamma * lam)
    return theta


def _fewest_digits(
    number: float, theta_with: Callable[[float], Theta], evidence: ColumnEvidence, before: Theta
) -> float:
    allowed = int(np.count_nonzero(evidence.deviates(before)))
    cost = evidence.cost(before)
    for digits in range(_MOST_DIGITS + 1):
        short = round(min(max(number, 0.0), 1.0), digits)
        theta = _with_map(evidence, theta_with(short))
        if (
            int(np.count_nonzero(evidence.deviates(theta))) <= allowed
            and evidence.cost(theta) <= 1.05 * cost + 1.0
        ):
            return short
    return min(max(number, 0.0), 1.0)


def _with_map(evidence: ColumnEvidence, theta: Theta) -> Theta:
    """Scale and shift fitted anew to given γ and γλ."""
    if (theta.scale, theta.shift) == (1.0, 0.0):
        return theta
    agrees = ~evidence.deviates(theta)
    rows = evidence.take(agrees) if np.count_nonzero(agrees) > len(evidence) // 4 else evidence
    scale_part = rows.column - theta.decay * rows.goes_on * rows.next_column
    shift_part = 1.0 - theta.decay * rows.goes_on
    target = rows.rewards - rows.values + theta.gamma * rows.following
    scale, shift = _least_squares(np.stack([scale_part, shift_part], axis=1), target)
    return replace(theta, scale=float(scale), shift=float(shift))


def _search(design: FloatArray, target: FloatArray) -> FloatArray:
    """The solution on which most rows agree best."""
    num_rows, num_unknowns = design.shape
    chosen, picks = _draws(num_rows, num_unknowns)
    some_design, some_target = design[chosen], target[chosen]
    solutions = [_least_squares(some_design, some_target)]
    if len(picks):
        # Rows of next to nothing are solved by numbers beyond float64.
        with np.errstate(over="ignore", invalid="ignore"):
            drawn = np.linalg.pinv(some_design[picks], rcond=_RANK) @ some_target[picks][..., None]
        solutions += [one for one in drawn[..., 0] if np.isfinite(one).all()]
    left = (
        np.stack(solutions) @ some_design.T
    )  # [draws, rows]: in place, as its copies take longer than the sums
    left -= some_target
    errors = np.quantile(np.abs(left, out=left), 0.4, axis=1, overwrite_input=True)
    best = [solutions[index] for index in np.argsort(errors)[:_NUM_CONCENTRATED]]
    concentrated = [_concentrated(some_design, some_target, solution) for solution in best]
    return min(concentrated, key=lambda found: found[0])[1]


def _agreed(
    evidence: ColumnEvidence,
    design: FloatArray,
    target: FloatArray,
    solution: FloatArray,
    theta_of: Callable[[FloatArray], Theta],
) -> FloatArray:
    """Least squares over all rows that agree with the solution, again and again."""
    num_rows, num_unknowns = design.shape
    for _ in range(3):
        agrees = ~evidence.deviates(theta_of(solution))
        if np.count_nonzero(agrees) < max(num_unknowns + 1, num_rows // 4):
            break
        solution = _least_squares(design[agrees], target[agrees])
    return solution


@lru_cache(maxsize=8)  # most conventions leave equally many rows
def _draws(num_rows: int, num_unknowns: int) -> tuple[IndexArray, IndexArray]:
    """(rows on which fits are searched for, [draws, k] of them that determine a fit each)."""
    random = np.random.default_rng(0)
    chosen = np.arange(num_rows)
    if num_rows > SEARCH_ROWS:
        chosen = np.sort(random.choice(num_rows, SEARCH_ROWS, replace=False))
    size = num_unknowns + 1
    if len(chosen) <= size:
        return chosen, np.zeros((0, size), np.int64)
    return chosen, np.stack([random.choice(len(chosen), size, replace=False) for _ in range(_NUM_DRAWS)])


def _concentrated(design: FloatArray, target: FloatArray, solution: FloatArray) -> tuple[float, FloatArray]:
    """Least squares on the half of the rows that agree best, again and again."""
    half = min(max(len(target) // 2, design.shape[1] + 1), len(target))
    error = np.inf
    for _ in range(_NUM_STEPS):
        nearest = np.argpartition(np.abs(design @ solution - target), half - 1)[:half]
        rows, wanted = design[nearest], target[nearest]
        solution = _least_squares(rows, wanted)
        new_error = float(np.square(rows @ solution - wanted).sum())
        if new_error >= error * (1 - 1e-9):
            break
        error = new_error
    return error, solution


def _newton(evidence: ColumnEvidence, theta: Theta) -> Theta:
    """γ, γλ, scale and shift together: the residual is bilinear in them."""
    for _ in range(30):
        agrees = ~evidence.deviates(theta)
        rows = evidence.take(agrees) if np.count_nonzero(agrees) > len(evidence) // 4 else evidence
        step = _least_squares(_jacobian(rows, theta), -rows.residuals(theta))
        gamma, decay, scale, shift = (float(number) for number in step)
        new = Theta(theta.gamma + gamma, theta.decay + decay, theta.scale + scale, theta.shift + shift)
        if not np.isfinite(step).all() or rows.cost(new) > 2 * rows.cost(theta) + 1.0:
            break
        theta = new
        if np.abs(step).max() < 1e-13 * (1 + abs(theta.scale) + abs(theta.shift)):
            break
    return theta


def _jacobian(rows: ColumnEvidence, theta: Theta) -> FloatArray:
    """Of the residual by γ, γλ, scale, shift."""
    return np.stack(
        [
            -rows.following,
            -rows.goes_on * (theta.scale * rows.next_column + theta.shift),
            rows.column - theta.decay * rows.goes_on * rows.next_column,
            1.0 - theta.decay * rows.goes_on,
        ],
        axis=1,
    )


def _settled(evidence: ColumnEvidence, theta: Theta, *, affine: bool = False) -> Fit:
    agrees = ~evidence.deviates(theta)
    rows = evidence.take(agrees) if agrees.any() else evidence
    design = _jacobian(rows, theta)
    determined = _determined(design if affine else design[:, :2])
    return Fit(theta, bool(determined[0]), bool(determined[1]))


def _determined(design: FloatArray) -> FloatArray:
    """Which unknowns the rows leave no choice of: those that lie in the row space."""
    sizes = np.linalg.norm(design, axis=0)
    triangle = np.linalg.qr(design / np.where(sizes > 0, sizes, 1.0), mode="r")
    _, singular, directions = np.linalg.svd(triangle, full_matrices=False)
    kept = directions[singular > _RANK * max(singular.max(initial=0.0), np.finfo(np.float64).tiny)]
    result: FloatArray = np.square(kept).sum(axis=0) > 0.999
    return result


def _least_squares(design: FloatArray, target: FloatArray) -> FloatArray:
    """The smallest solution, with columns scaled alike."""
    sizes = np.linalg.norm(design, axis=0)
    scales: FloatArray = np.where(sizes > 0, sizes, 1.0)
    if not (np.isfinite(scales).all() and np.isfinite(target).all()):
        return np.zeros(design.shape[1])  # numbers whose squares are beyond float64 say nothing of γ and λ
    solution: FloatArray = np.linalg.lstsq(design / scales, target, rcond=1e-12)[0] / scales
    return solution
