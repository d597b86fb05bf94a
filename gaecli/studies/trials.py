"""One convention held against a column: the γ and λ that fit best, and how many rows they leave unexplained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from gaecli.array_types import Array, BoolArray, FloatArray
from gaecli.presets import PRESETS
from gaecli.records import dataclass
from gaecli.results import Attempt
from gaecli.studies.candidates import Candidate
from gaecli.studies.estimator_candidates import with_window
from gaecli.studies.fitting import Fit, Fits, fit_near, fit_plainly, is_sensible, rounded
from gaecli.studies.readings import CandidateReading
from gaecli.studies.row_equations import ROUNDINGS, ColumnEvidence, Theta
from gaecli.studies.search import Model, search

#: Fewer rows than this determine nothing, and no whitening is looked for.
_FEWEST_ROWS = 8
#: A map from the column says something if what it makes of most rows spreads over so many tolerances.
_FEWEST_TOLERANCES = 4
#: A column is constant if so many of its rows are one number, to within so much of it.
MOST_ALIKE = 0.9
ALIKE = 1e-3


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
    #: Candidates that no row could tell apart, the first of them that of the trial.
    members: tuple[Candidate, ...]
    #: It was held against the first rows of the stream, and not against the sample.
    is_of_head: bool = False

    @property
    def rank(self) -> tuple[Any, ...]:
        attempt = self.attempt
        # Of other rows there are other numbers of them; what is nearer at the first rows was looked at once more.
        is_beside = self.is_of_head and not attempt.is_reproduced
        return (is_beside, attempt.num_deviating, self.cost, len(attempt.flags), place(attempt.presets[0]))

    @property
    def share_deviating(self) -> float:
        return self.attempt.num_deviating / max(self.attempt.num_rows, 1)

    @property
    def noise(self) -> float:
        """How far off the rows are that are nearest, in units of their tolerance."""
        return float(np.median(self.ratios)) if len(self.ratios) else np.inf

    def num_beyond(self, limit: float) -> int:
        return int(np.count_nonzero(self.ratios > limit)) + self.num_missing

    def of_members(self, members: Sequence[Candidate]) -> Trial:
        """The same under the names of these, which are some of its own, or others beside them."""
        first = members[0]
        attempt = replace(self.attempt, flags=first.flags)
        return replace(self, candidate=first, attempt=attempt, members=tuple(members)).named(members)

    def named(self, candidates: Sequence[Candidate]) -> Trial:
        """The same under the names of these."""
        names = tuple(dict.fromkeys(name for one in candidates for name in one.presets))
        return replace(self, attempt=replace(self.attempt, presets=names))


def solve_plainly(reading: CandidateReading) -> Trial:
    """The preset's own γ and λ, or those of least squares over all rows: enough where one rule made all of them."""
    evidence, own = reading.evidence, _own(reading)
    if not len(evidence):
        return _trial(reading, Fit(own, False, False))
    first = _trial(reading, fit_near(evidence, own))
    if first.attempt.is_reproduced:
        return first
    plain = _completed(fit_plainly(evidence), own)
    return min([first, *_rounded_trial(reading, plain)], key=lambda trial: trial.rank)


def solve_near(reading: CandidateReading, first: Trial, known: Theta) -> Trial:
    """With what makes the column under another candidate."""
    if first.attempt.is_reproduced or not len(reading.evidence):
        return first
    return min(first, _trial(reading, fit_near(reading.evidence, known)), key=lambda trial: trial.rank)


def solve(reading: CandidateReading, first: Trial, fits: Fits) -> Trial:
    """γ and λ that fit most rows, whatever the others do; then those that fit up to a whitening."""
    evidence, own = reading.evidence, _own(reading)
    if first.attempt.is_reproduced or not len(evidence):
        return first
    raw = _rounded_trial(reading, _completed(fits.raw(evidence), own))
    best = min([first, *raw], key=lambda trial: trial.rank)
    if best.attempt.is_reproduced or len(evidence) < _FEWEST_ROWS or not _may_be_whitened(reading):
        return best
    affine = _completed(fits.affine(evidence), own)
    if is_sensible(affine.theta) and _tells(evidence, affine.theta):
        whitened = _trial(reading, replace(affine, theta=rounded(evidence, affine.theta)))
        # A map that explains no more rows is none.
        return whitened if whitened.attempt.num_deviating < best.attempt.num_deviating else best
    return best


def _own(reading: CandidateReading) -> Theta:
    settings = reading.candidate.settings
    return Theta(settings.gamma, settings.gamma * settings.lam)


def _rounded_trial(reading: CandidateReading, fit: Fit) -> list[Trial]:
    """None of numbers that are no γ and λ."""
    if not is_sensible(fit.theta):
        return []
    return [_trial(reading, replace(fit, theta=rounded(reading.evidence, fit.theta)))]


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
    low, high = np.quantile(numbers, [1 - MOST_ALIKE, MOST_ALIKE])
    return float(high - low)


def constant_of(reading: CandidateReading) -> float | None:
    """The number that the column holds at nearly all of its rows, or nearly it; None where it holds several."""
    numbers = (reading.column + reading.baseline)[reading.held]
    if len(numbers) < 2:
        return None
    middle = float(np.median(numbers))
    count = int(np.count_nonzero(is_alike_to(numbers, middle, reading.rounding)))
    return middle if count >= MOST_ALIKE * len(numbers) else None


def is_alike_to(numbers: FloatArray, middle: float, rounding: float) -> BoolArray:
    found: BoolArray = np.abs(numbers - middle) <= max(ALIKE, ROUNDINGS * rounding) * abs(middle)
    return found


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
        (reading.candidate,),
    )


def _errors(reading: CandidateReading, gamma: float, lam: float, slope: float, offset: float) -> FloatArray:
    """[N] |slope · A + offset - column|, in units of the column."""
    result: FloatArray = np.abs(slope * reading.model()(gamma, lam) + offset - reading.column)
    return result


def _sizes(off: FloatArray) -> tuple[float | None, float | None]:
    """Largest, and root mean square."""
    return (float(off.max()), float(np.sqrt(np.square(off).mean()))) if len(off) else (None, None)


def _bound(reading: CandidateReading, gamma: float, lam: float, slope: float, offset: float) -> float:
    num_steps = reading.block.num_steps
    return bound_of(reading.rounding, reading.largest_term(gamma), num_steps, gamma * lam, slope, offset)


def bound_of(
    rounding: float, largest_term: float, num_steps: int, decay: float, slope: float, offset: float
) -> float:
    """What the rounding of single steps can add up to along a sum."""
    largest = largest_term * min(1 / max(1 - decay, 1e-3), num_steps)
    return ROUNDINGS * rounding * (abs(slope) * largest + abs(offset))


def descend(reading: CandidateReading) -> Trial:
    """Conventions in which A is not its own recursion: by descent, raw first and then up to a whitening."""
    reading = with_window(reading)
    trials = []
    for affine in (False, True) if _may_be_whitened(reading) else (False,):
        found = _searched(reading, affine)
        trials += [] if found is None else [found]
        if found is not None and found.attempt.is_reproduced:
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
    return Trial(candidate, attempt, cost, None, np.zeros(0, np.float32), len(reading.missing), (candidate,))


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
