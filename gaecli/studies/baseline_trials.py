"""One rule of a group baseline held against a column."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gaecli.array_types import BoolArray, FloatArray, IndexArray
from gaecli.estimators.baselines import group_rule
from gaecli.estimators.stages import stages_of
from gaecli.group_settings import weighted_sum
from gaecli.records import dataclass
from gaecli.results import Attempt
from gaecli.settings import Settings
from gaecli.studies.baseline_candidates import Rule
from gaecli.studies.baseline_equations import rule_of
from gaecli.studies.row_equations import ROUNDINGS
from gaecli.studies.scores import ScoredCells

#: Estimators whose scale is by the standard deviation of the group, which may be 0.
_DIVIDED = ("grpo", "gdpo", "gigpo", "passk")
#: What the best rule leaves is the noise of the column: others may leave so many times as much, and are it too.
_NOISE = 4.0


@dataclass(frozen=True, eq=False)
class ComputedSizes:
    """How large the numbers are that a rule makes."""

    #: [G] the largest of each group.
    largest: FloatArray
    #: The root mean square of all of them.
    whole: float
    #: What deviations from the mean of a group are multiplied by, of most cells.
    slope: float


@dataclass(frozen=True, eq=False)
class ScoredColumn:
    """The column beside the scores that it may be made of, of the cells that have both; [n] each."""

    scores: FloatArray
    column: FloatArray
    rows: IndexArray
    #: Mean and largest deviation of the scores of the group, and how many trajectories it has.
    means: FloatArray
    spreads: FloatArray
    counts: IndexArray
    groups: IndexArray
    #: Where a trajectory enters mean and spread.
    enters: BoolArray
    #: Cells that have a score and no number in the column.
    num_missing: int
    #: [C] which cells those are.
    held: BoolArray
    rounding: float

    @classmethod
    def of(cls, cells: ScoredCells, column: FloatArray, rounding: float) -> ScoredColumn:
        held = cells.is_scored & np.isfinite(column)
        groups, enters = cells.groups[held], cells.enters[held]
        scores = cells.scores[held]
        counts = np.bincount(groups[enters], minlength=cells.num_groups)
        sums = np.bincount(groups[enters], weights=scores[enters], minlength=cells.num_groups)
        means = sums / np.maximum(counts, 1)
        spreads = np.zeros(cells.num_groups)
        np.maximum.at(spreads, groups, np.abs(scores - means[groups]))
        return cls(
            scores,
            column[held],
            cells.rows[held],
            means[groups],
            spreads[groups],
            counts[groups].astype(np.int64),
            groups,
            enters,
            int(np.count_nonzero(cells.is_scored & ~held)),
            held,
            rounding,
        )

    @property
    def is_single(self) -> BoolArray:
        result: BoolArray = self.counts == 1
        return result

    @property
    def is_flat(self) -> BoolArray:
        """Nothing tells the scores of the group apart."""
        result: BoolArray = ~self.is_single & (
            self.spreads <= ROUNDINGS * self.rounding * np.abs(self.means) + np.finfo(np.float32).tiny
        )
        return result

    @property
    def is_telling(self) -> BoolArray:
        return ~self.is_single & ~self.is_flat

    def num_unexplained(self) -> int:
        """Cells whose number is no affine map of the score, one for each group: whatever the rule, it is one."""
        size = int(self.groups.max(initial=-1)) + 1
        deviations = self.scores - self.means

        def summed(numbers: FloatArray) -> FloatArray:
            return np.bincount(self.groups, weights=numbers, minlength=size).astype(np.float64)

        counts = np.maximum(np.bincount(self.groups, minlength=size), 1).astype(np.float64)
        levels = (summed(self.column) / counts)[self.groups]
        # Of the cells, not of the trajectories: a long one has more of them.
        centres = (summed(deviations) / counts)[self.groups]
        squares = summed(np.square(deviations - centres))
        products = summed((deviations - centres) * (self.column - levels))
        slopes = np.divide(products, squares, out=np.zeros(size), where=squares > 0)[self.groups]
        left = np.abs(self.column - levels - slopes * (deviations - centres))
        size_of = (
            np.abs(self.column) + np.abs(levels) + np.abs(slopes) * (np.abs(self.scores) + np.abs(self.means))
        )
        return int(np.count_nonzero(self.is_telling & (left > 2 * ROUNDINGS * self.rounding * size_of)))

    def sizes_of(self, computed: FloatArray) -> ComputedSizes:
        largest = np.zeros(int(self.groups.max(initial=-1)) + 1)
        np.maximum.at(largest, self.groups, np.abs(computed))
        slopes = self.slopes(largest)[self.is_telling]
        whole = float(np.sqrt(np.square(computed).mean())) if len(computed) else 0.0
        return ComputedSizes(largest, whole, float(np.median(slopes)) if len(slopes) else 0.0)

    def slopes(self, largest: FloatArray) -> FloatArray:
        """[n] what deviations of scores are multiplied by."""
        nothing = np.zeros(len(self.spreads))
        result: FloatArray = np.divide(
            largest[self.groups], self.spreads, out=nothing, where=self.spreads > 0
        )
        return result

    def tolerances(self, computed: FloatArray, rule: Rule, sizes: ComputedSizes) -> FloatArray:
        """[n] what rounding can make of the difference: of scores and means, times what they are multiplied by."""
        slopes, telling = self.slopes(sizes.largest), self.is_telling
        terms = np.abs(computed) + np.where(telling, slopes * (np.abs(self.scores) + np.abs(self.means)), 0.0)
        # The mean of a whole batch is off by as much as its numbers are large.
        found = self.rounding * (ROUNDINGS * terms + sizes.whole) + np.finfo(np.float32).tiny
        if rule.settings.estimator in _DIVIDED:  # what rounding leaves of 0 is divided by ε
            eps = max(group_rule(rule.settings).eps, 1e-12)
            flat = np.minimum(2 * self.rounding * np.abs(self.means) / eps, 1.0)
        else:
            flat = ROUNDINGS * self.rounding * np.abs(self.means) * max(sizes.slope, 1.0)
        result: FloatArray = found + np.where(self.is_flat, flat, 0.0)
        return result


@dataclass(frozen=True, eq=False)
class BaselineTrial:
    """What became of one rule."""

    rule: Rule
    attempt: Attempt
    #: [n] |computed - column| in units of its tolerance.
    ratios: FloatArray
    computed: FloatArray

    @property
    def cost(self) -> float:
        return float(np.minimum(self.ratios, 1e6).mean()) if len(self.ratios) else 0.0

    @property
    def worst(self) -> float:
        return float(self.ratios.max(initial=0.0))

    def as_sampled(self) -> BaselineTrial:
        return replace(self, attempt=replace(self.attempt, is_sampled=True))

    def within(self, limit: float, num_missing: int) -> BaselineTrial:
        """The same with rows counted that are off by more than `limit` tolerances."""
        deviating = int(np.count_nonzero(self.ratios > limit)) + num_missing
        return replace(self, attempt=replace(self.attempt, num_deviating=deviating))


def held_against(
    rule: Rule,
    written: FloatArray,
    column: ScoredColumn,
    sizes: ComputedSizes | None = None,
    *,
    most_scaled: float = 1.0,
) -> BaselineTrial:
    """`written`: [C] what `gae compute` writes by the rule. `sizes`: of all cells, where these are some of them.

    `most_scaled`: by no more than that, and shifted, as mean and standard deviation of all cells are still to come.
    """
    computed = written[column.held]
    if most_scaled > 1.0:
        computed = _mapped(computed, column.column, most_scaled)
    known = np.nan_to_num(computed)
    off = np.abs(computed - column.column)
    off = np.where(np.isfinite(off), off, np.inf)
    ratios = off / column.tolerances(known, rule, sizes or column.sizes_of(known))
    settings = rule.settings
    attempt = Attempt(
        presets=rule.presets,
        flags=rule.flags,
        gamma=None,
        lam=None,
        scale=1.0,
        shift=0.0,
        num_rows=len(off) + column.num_missing,
        num_deviating=int(np.count_nonzero(ratios > 1.0)) + column.num_missing,
        max_error=float(off.max()) if len(off) else None,
        rms_error=float(np.sqrt(np.square(off).mean())) if len(off) else None,
        estimator=settings.estimator,
        rule=rule_of(settings, has_singles=bool(column.is_single.any())),
        columns=told_columns(settings),
    )
    return BaselineTrial(rule, attempt, ratios, computed)


def _mapped(computed: FloatArray, column: FloatArray, most: float) -> FloatArray:
    """Scaled and shifted as most of the column is."""
    keep = np.isfinite(computed)
    for _ in range(2):  # once more without what fits worst
        if np.count_nonzero(keep) < 2 or float(np.ptp(computed[keep])) == 0.0:
            return computed
        slope, offset = np.polyfit(computed[keep], column[keep], 1).tolist()
        left = np.abs(slope * computed + offset - column)
        keep &= left <= np.quantile(left[keep], 0.8)
    return slope * computed + offset if 1 / most < slope < most else computed


def looks_at_all(settings: Settings) -> bool:
    """At more than one group at a time: at its batch, or at all trajectories."""
    own = set(settings.group_columns)
    scopes = [scaling.statistic.scope for stage in stages_of(settings) for scaling in stage.scalings]
    return any(scope.within != "episode" and not (own and own <= set(scope.columns)) for scope in scopes)


def told_columns(settings: Settings) -> dict[str, str]:
    """What tells groups and rewards, as one would say it: `accuracy + 0.5 format`."""
    found = {"group": ", ".join(settings.group_columns)} if settings.group_columns else {}
    if settings.rewards:
        return {**found, "reward": weighted_sum(settings.rewards)}
    return {**found, **settings.columns}


def noise_of(worst: float) -> float:
    """What the best rule leaves, in tolerances, as what others may leave."""
    return min(max(_NOISE * worst, 1 / ROUNDINGS), 1.0)


def ranked(trials: list[BaselineTrial], num_missing: int) -> list[BaselineTrial]:
    """The best first. Once one reproduces the column, what it leaves is all the noise that others are allowed."""
    best = min(trials, key=lambda trial: (trial.attempt.num_deviating, trial.cost))
    if best.attempt.is_reproduced:
        limit = noise_of(best.worst)
        trials = [trial.within(limit, num_missing) for trial in trials]
    least = best.cost
    order = {id(trial): index for index, trial in enumerate(trials)}

    def rank(trial: BaselineTrial) -> tuple[int, bool, int, float, int]:
        # Of rules that differ by rounding the first in the table is meant.
        is_near = trial.cost <= 1.2 * least + 0.02
        flags = len(trial.attempt.flags)
        return (
            trial.attempt.num_deviating,
            not is_near,
            flags,
            0.0 if is_near else trial.cost,
            order[id(trial)],
        )

    return sorted(trials, key=rank)


def fitted_eps(column: ScoredColumn, ddof: int) -> float | None:
    """ε of (s - mean) / (std + ε), by the rows that say it most clearly; None where none does, or it is negative."""
    telling = (
        column.is_telling
        & (column.column != 0)
        & (np.abs(column.scores - column.means) > 0.5 * column.spreads)
    )
    if not telling.any():
        return None
    size, chosen = int(column.groups.max()) + 1, column.enters
    groups, left = column.groups[chosen], (column.scores - column.means)[chosen]
    squares = np.bincount(groups, weights=np.square(left), minlength=size)
    counts = np.bincount(groups, minlength=size)
    stds = np.sqrt(squares / np.maximum(counts - ddof, 1))[column.groups[telling]]
    divisors = (column.scores - column.means)[telling] / column.column[telling]
    found = float(np.median(divisors - stds))
    noise = ROUNDINGS * column.rounding * float(np.median(stds))
    if found < -noise:
        return None
    if found < noise:
        return 1e-8
    return (
        float(f"{found:.0e}") if abs(float(f"{found:.0e}") - found) < 0.05 * found else float(f"{found:.2e}")
    )
