"""One convention held against a column: the γ and λ that fit best, and how many rows they leave unexplained."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from gaecli.estimators.normalization import NormRule, normalize
from gaecli.moments import Moments
from gaecli.presets import PRESETS
from gaecli.records import dataclass
from gaecli.results import Attempt
from gaecli.rollouts import Array, FloatArray
from gaecli.studies.candidates import Candidate, CandidateReading
from gaecli.studies.estimator_candidates import with_window
from gaecli.studies.fitting import Fit, fit_affine, fit_raw, is_sensible, rounded
from gaecli.studies.row_equations import ROUNDINGS, ColumnEvidence, Theta
from gaecli.studies.sampling import part_of
from gaecli.studies.search import Found, Model, polish, search

#: Fewer rows than this determine nothing, and no whitening is looked for.
_FEWEST_ROWS = 8
#: A map from the column says something if what it makes of most rows spreads over so many tolerances.
_FEWEST_TOLERANCES = 4
#: A column is constant if so many of its rows are one number, to within so much of it.
_MOST_ALIKE = 0.9
ALIKE = 1e-3


@dataclass(frozen=True)
class Whitening:
    """What scale and shift are, in words, and the rule of normalisation that they are of."""

    words: str
    rule: NormRule | None = None


@dataclass(frozen=True, eq=False)
class Trial:
    """What became of one candidate. Not its reading, which holds the file: there are a dozen of them."""

    candidate: Candidate
    attempt: Attempt
    cost: float
    #: None for conventions that are not one linear recursion.
    theta: Theta | None
    #: [n] how far off the rows are, in units of their tolerance; empty without a theta.
    ratios: Array
    num_missing: int
    #: As of a `Verification`.
    num_searched: int | None = None

    @property
    def rank(self) -> tuple[Any, ...]:
        attempt = self.attempt
        return (attempt.num_deviating, self.cost, len(attempt.flags), place(attempt.presets[0]))

    @property
    def noise(self) -> float:
        """How far off the rows are that are nearest, in units of their tolerance."""
        return float(np.median(self.ratios)) if len(self.ratios) else np.inf

    def num_beyond(self, limit: float) -> int:
        return int(np.count_nonzero(self.ratios > limit)) + self.num_missing

    def named(self, presets: Iterable[str]) -> Trial:
        """The same under further names."""
        names = tuple(dict.fromkeys([*self.attempt.presets, *presets]))
        return replace(self, attempt=replace(self.attempt, presets=names))


def normalization(attempt: Attempt, reading: CandidateReading) -> Whitening:
    """The rule that makes this very column of the advantages of these rows, if there is one.

    Scale and shift that are near the mean and std of all rows are not enough: those of one file more or less are.
    """
    gamma, lam = decays_of(attempt, reading.candidate)
    advantages = reading.model()(gamma, lam)
    counted = advantages if reading.measured is None else advantages[reading.measured]
    moments = Moments.of(counted)
    held, errors = reading.held, dict[NormRule, float]()
    presets: dict[NormRule, list[str]] = {}
    for name in sorted(PRESETS, key=lambda name: (name not in attempt.presets, place(name))):
        preset = PRESETS[name]
        rule = NormRule(preset.norm_ddof, preset.norm_eps, preset.norm_floor)
        constants = rule.constants(moments)
        if constants.is_degenerate:
            continue
        presets.setdefault(rule, []).append(name)
        if rule not in errors:
            off = np.abs(normalize(advantages[held], constants) - reading.column[held])
            errors[rule] = float(off.max(initial=0.0))
    bound = _bound(reading, gamma, lam, 1 / attempt.scale, -attempt.shift / attempt.scale)
    least = min(errors.values(), default=np.inf)
    if least > bound:
        return Whitening("an affine map of it; not with the mean and std of these rows")
    # Rules that differ by less than the column is rounded are one; then that of the preset itself is meant.
    likely = [rule for rule, error in errors.items() if error <= 2 * least + reading.evidence.rounding]
    own = {name for name in attempt.presets if PRESETS[name].normalize != "none"}
    rule = max(likely, key=lambda rule: (len(own & set(presets[rule])), -errors[rule]))
    eps = f"{rule.eps:g}".replace("e-0", "e-")
    divisor = {"add": f"std + {eps}", "clamp": f"max(std, {eps})", "rsqrt": f"sqrt(var + {eps})"}
    return Whitening(f"normalised over all rows, by {divisor[rule.floor]} with ddof {rule.ddof}", rule)


def solve(reading: CandidateReading) -> Trial:
    """The preset's own γ and λ, then those that fit, then those that fit up to a whitening."""
    evidence = reading.evidence
    settings = reading.candidate.settings
    own = Theta(settings.gamma, settings.gamma * settings.lam)
    if not len(evidence):
        return _trial(reading, Fit(own, False, False))
    raw = fit_raw(evidence)
    if not evidence.deviates(own).any():
        return _trial(reading, replace(raw, theta=own))
    trials = [_trial(reading, replace(raw, theta=own))]
    raw = _completed(raw, own)
    if is_sensible(raw.theta):
        trials.append(_trial(reading, replace(raw, theta=rounded(evidence, raw.theta))))
    best = min(trials, key=lambda trial: trial.rank)
    if best.attempt.is_reproduced or len(evidence) < _FEWEST_ROWS or not _may_be_whitened(reading):
        return best
    affine = _completed(fit_affine(evidence), own)
    if is_sensible(affine.theta) and _tells(evidence, affine.theta):
        whitened = _trial(reading, replace(affine, theta=rounded(evidence, affine.theta)))
        # A map that explains no more rows is none.
        return whitened if whitened.attempt.num_deviating < best.attempt.num_deviating else best
    return best


def _may_be_whitened(reading: CandidateReading) -> bool:
    """Of returns less V there is no map, and of a constant column there is one to anything."""
    return reading.holds == "advantage" and constant_of(reading) is None


def _tells(evidence: ColumnEvidence, theta: Theta) -> bool:
    """Whether the map leaves anything of the column beyond rounding, of more than a few rows.

    A constant column times 1e18 is "the advantages" to within the rounding of numbers as large as that; and
    where all advantages are alike, so is any column times 1e-18.
    """
    return _spread(theta.scale * evidence.column) >= _FEWEST_TOLERANCES * float(
        np.median(evidence.tolerances(theta))
    )


def _spread(numbers: FloatArray) -> float:
    """Of most of them."""
    if not len(numbers):
        return 0.0
    low, high = np.quantile(numbers, [1 - _MOST_ALIKE, _MOST_ALIKE])
    return float(high - low)


def constant_of(reading: CandidateReading) -> tuple[float, int] | None:
    """(number, rows) if the column holds one number, or nearly it, at nearly all of its rows."""
    numbers = (reading.column + reading.baseline)[reading.held]
    if len(numbers) < 2:
        return None
    middle = float(np.median(numbers))
    alike = np.abs(numbers - middle) <= max(ALIKE, ROUNDINGS * reading.evidence.rounding) * abs(middle)
    count = int(np.count_nonzero(alike))
    return (middle, count) if count >= _MOST_ALIKE * len(numbers) else None


def _completed(fit: Fit, own: Theta) -> Fit:
    """What the rows leave open is as the preset has it."""
    theta = fit.theta
    if not fit.is_gamma_determined:
        theta = replace(theta, gamma=max(own.gamma, theta.decay))
    if not fit.is_decay_determined:
        theta = replace(theta, decay=theta.gamma * own.lam)
    return replace(fit, theta=theta)


def _trial(reading: CandidateReading, fit: Fit) -> Trial:
    theta, evidence = fit.theta, reading.evidence
    lam = theta.lam if theta.gamma > 0 else reading.candidate.settings.lam
    theta = replace(theta, decay=theta.gamma * lam)
    off = _errors(reading, theta.gamma, lam, 1 / theta.scale, -theta.shift / theta.scale)
    deviating = int(np.count_nonzero(evidence.deviates(theta))) + len(reading.missing)
    # Where the next row is masked, or has no number, the equation cannot be asked.
    alone = reading.held.copy()
    alone[evidence.steps] = False
    bound = _bound(reading, theta.gamma, lam, 1 / theta.scale, -theta.shift / theta.scale)
    deviating += int(np.count_nonzero(off[alone] > bound))
    largest, rms = _sizes(off[reading.held])
    attempt = Attempt(
        presets=reading.candidate.presets,
        flags=reading.candidate.flags,
        gamma=theta.gamma,
        lam=lam,
        scale=theta.scale,
        shift=theta.shift,
        num_rows=int(np.count_nonzero(reading.held)) + len(reading.missing),
        num_deviating=deviating,
        max_error=largest,
        rms_error=rms,
        is_gamma_determined=fit.is_gamma_determined,
        is_lam_determined=fit.is_decay_determined and fit.is_gamma_determined and theta.gamma > 0,
    )
    ratios = np.abs(evidence.residuals(theta)) / evidence.tolerances(theta)
    return Trial(
        reading.candidate,
        attempt,
        evidence.cost(theta),
        theta,
        ratios.astype(np.float32),
        len(reading.missing),
    )


def _errors(reading: CandidateReading, gamma: float, lam: float, slope: float, offset: float) -> FloatArray:
    """[N] |slope · A + offset - column|, in units of the column."""
    result: FloatArray = np.abs(slope * reading.model()(gamma, lam) + offset - reading.column)
    return result


def _sizes(off: FloatArray) -> tuple[float | None, float | None]:
    """Largest, and root mean square."""
    return (float(off.max()), float(np.sqrt(np.square(off).mean()))) if len(off) else (None, None)


def _bound(reading: CandidateReading, gamma: float, lam: float, slope: float, offset: float) -> float:
    """What the rounding of single steps can add up to along a sum."""
    largest = reading.largest_term(gamma) * min(1 / max(1 - gamma * lam, 1e-3), reading.block.num_steps)
    return ROUNDINGS * reading.evidence.rounding * (abs(slope) * largest + abs(offset))


def descend(reading: CandidateReading) -> Trial:
    """Conventions in which A is not its own recursion: by descent, raw first and then up to a whitening."""
    reading = with_window(reading)
    part = part_of(reading)
    trials = []
    for affine in (False, True) if _may_be_whitened(reading) else (False,):
        found = _searched(part, affine)
        if found is None:
            continue
        if part is not reading:
            found = replace(_of_all_rows(reading, found, affine), num_searched=part.block.num_steps)
        trials.append(found)
        if trials[-1].attempt.is_reproduced:
            break
    return min(trials, key=lambda trial: trial.rank)


def held_as(reading: CandidateReading, known: Trial) -> Trial:
    """With the γ, λ and whitening that another candidate has; a window of its own is looked for all the same."""
    if reading.candidate.finds_window:
        return descend(reading)
    attempt = known.attempt
    gamma, lam = decays_of(attempt, known.candidate)
    return _held_against(reading, gamma, lam, 1 / attempt.scale, -attempt.shift / attempt.scale)


def _searched(reading: CandidateReading, affine: bool) -> Trial | None:
    """None for a map that leaves nothing of the column."""
    settings = reading.candidate.settings
    found = search(
        _of_held(reading),
        reading.column[reading.held],
        [(settings.gamma, settings.lam)],
        affine=affine,
        axes=reading.axes,
    )
    slope = found.slope if found.slope > 0 else 1.0
    if affine and not _is_seen(reading, found.gamma, found.lam, slope, found.offset):
        return None
    return _as_written(reading, found.gamma, found.lam, slope, found.offset)


def _of_all_rows(reading: CandidateReading, found: Trial, affine: bool) -> Trial:
    """What was found on a part of the rows; of no use to most of them, it is not looked at any closer."""
    attempt = found.attempt
    gamma, lam = decays_of(attempt, found.candidate)
    slope, offset = 1 / attempt.scale, -attempt.shift / attempt.scale
    trial = _held_against(reading, gamma, lam, slope, offset)
    if trial.attempt.is_reproduced or 2 * attempt.num_deviating > attempt.num_rows:
        return trial
    error = attempt.rms_error or 0.0
    near = polish(
        _of_held(reading),
        reading.column[reading.held],
        Found(gamma, lam, slope, offset, error),
        affine=affine,
        axes=reading.axes,
    )
    closer = _as_written(reading, near.gamma, near.lam, near.slope if near.slope > 0 else 1.0, near.offset)
    return min(trial, closer, key=lambda one: one.rank)


def _of_held(reading: CandidateReading) -> Model:
    model, rows = reading.model(), reading.held

    @lru_cache(maxsize=1)  # a descent goes on from where it has just looked
    def of_rows(gamma: float, lam: float) -> FloatArray:
        return model(gamma, lam)[rows]

    return of_rows


def _is_seen(reading: CandidateReading, gamma: float, lam: float, slope: float, offset: float) -> bool:
    """As `_tells`, of what the estimator computes."""
    made = slope * reading.model()(gamma, lam)[reading.held]
    return _spread(made) >= _FEWEST_TOLERANCES * _bound(reading, gamma, lam, slope, offset)


def _as_written(reading: CandidateReading, gamma: float, lam: float, slope: float, offset: float) -> Trial:
    """γ and λ rounded as people write them, if that is as good."""
    best = _held_against(reading, gamma, lam, slope, offset)
    for digits in (1, 2, 3, 4):
        short = _held_against(reading, round(gamma, digits), round(lam, digits), slope, offset)
        if short.attempt.num_deviating <= best.attempt.num_deviating and short.cost <= 1.05 * best.cost + 1:
            return short
    return best


def _held_against(reading: CandidateReading, gamma: float, lam: float, slope: float, offset: float) -> Trial:
    """Every row against what the estimator computes, with the rounding that its sum collects."""
    candidate = reading.candidate
    off = _errors(reading, gamma, lam, slope, offset)[reading.held]
    tolerance = _bound(reading, gamma, lam, slope, offset)
    deviating = int(np.count_nonzero(off > tolerance)) + len(reading.missing)
    largest, rms = _sizes(off)
    attempt = Attempt(
        presets=candidate.presets,
        flags=candidate.flags,
        gamma=gamma if reading.has_gamma else None,
        lam=lam if reading.has_lam or candidate.settings.lam_alpha is not None else None,
        scale=1 / slope,
        shift=-offset / slope,
        num_rows=len(off) + len(reading.missing),
        num_deviating=deviating,
        max_error=largest,
        rms_error=rms,
        is_lam_determined=candidate.settings.lam_alpha is None,
        estimator=candidate.settings.estimator,
        n_steps=candidate.settings.n_steps,
    )
    cost = float(np.minimum(off / tolerance, 1e6).mean()) if len(off) and tolerance > 0 else 0.0
    return Trial(candidate, attempt, cost, None, np.zeros(0, np.float32), len(reading.missing))


def decays_of(attempt: Attempt, candidate: Candidate) -> tuple[float, float]:
    """γ and λ, also those that the estimator does not use."""
    settings = candidate.settings
    gamma = settings.gamma if attempt.gamma is None else attempt.gamma
    return gamma, settings.lam if attempt.lam is None else attempt.lam


def largest_bound(attempt: Attempt, reading: CandidateReading) -> float:
    """What rounding can add up to along the sums of this attempt."""
    gamma, lam = decays_of(attempt, reading.candidate)
    return _bound(reading, gamma, lam, 1 / attempt.scale, -attempt.shift / attempt.scale)


def place(preset: str) -> int:
    """Where a preset stands in the table."""
    return list(PRESETS).index(preset)
