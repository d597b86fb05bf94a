"""The presets and estimators that may have made a column: heard one after the other, and the verdict."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from gaecli.errors import GaeError
from gaecli.estimators.td_lambda import has_second_values
from gaecli.results import Verification
from gaecli.studies import sampling
from gaecli.studies.asked import Asked
from gaecli.studies.candidates import Candidate, candidates, with_bootstrap
from gaecli.studies.column import Holds
from gaecli.studies.command import flags_of
from gaecli.studies.estimator_candidates import estimator_candidates, same_estimators
from gaecli.studies.fitting import Fits
from gaecli.studies.head import head_of
from gaecli.studies.proof import Proof, Walk
from gaecli.studies.readings import CandidateReading, Readings, leaves_ends_open, signature
from gaecli.studies.row_equations import OPEN, ROUNDINGS, Theta
from gaecli.studies.sample_proof import as_sampled, is_refuted, proof_on_sample
from gaecli.studies.trials import (
    MOST_ALIKE,
    Trial,
    constant_of,
    decays_of,
    descend,
    held_as,
    largest_bound,
    solve,
    solve_near,
    solve_plainly,
)
from gaecli.studies.whitening import Whitening, whitening

#: What deviates at a smaller part of the rows than this part of another is nearer.
_NEARER = 0.95
#: What keys of readings of the first rows begin with.
_FIRST_ROWS = b"first rows"


class EstimatorCourt:
    """Hears one candidate after the other on a sample of whole trajectories, and proves the best on every row.

    Whatever reproduces the sample is proven: no column is certified by the sample alone. Where nothing comes near it,
    that is the verdict.
    """

    def __init__(self, asked: Asked, holds: Holds, offered: Iterable[Candidate] | None = None) -> None:
        """`offered`: the candidates. None: the presets, and what else the settings let be tried."""
        self._asked, self._holds, self._offered = asked, holds, offered
        self._readings = Readings(asked, holds)
        #: Those that are solved for, with what is found at once.
        self._solved: dict[bytes, tuple[CandidateReading, Trial]] = {}
        #: By what they make of the file: those that it does not tell apart.
        self._alike: dict[bytes, list[Candidate]] = {}
        #: Those that have to be searched for, which takes its time.
        self._waiting: dict[bytes, Candidate] = {}
        self._first_error: GaeError | None = None
        self._unreadable: dict[str, str] = {}

    def verdict(self) -> Verification:
        for candidate in self._presets() if self._offered is None else self._offered:
            self._hear(candidate)
        return self._verification(_Proven(self._asked, self._readings, self._tried()))

    def _presets(self) -> Iterable[Candidate]:
        asked, only = self._asked, self._asked.only
        if not only.tries_presets:
            return ()
        return candidates(asked.settings, self._holds, asked.file, only.preset, only.tested)

    def _estimators(self) -> Iterable[Candidate]:
        if self._offered is not None:
            return ()
        is_split = any(has_second_values(reading.block) for reading, _ in self._solved.values())
        return estimator_candidates(
            self._asked.settings, self._holds, self._asked.only, has_second_values=is_split
        )

    def _verification(self, proven: _Proven) -> Verification:
        asked, best, proof = self._asked, proven.best, proven.proof
        constants = None
        if best.attempt.is_affine and not proven.is_of_sample:
            constants = whitening(best.attempt, proven.walk, proof, asked.against.rounding)
        is_constant = proof.num_constant >= MOST_ALIKE * best.attempt.num_rows > 0
        constant = proven.constant if is_constant and not best.attempt.is_reproduced else None
        shows_rows = best.theta is not None and constant is None and not best.attempt.is_reproduced
        return Verification(
            path=asked.path,
            column=asked.against.column,
            column_path=str(asked.against.path),
            holds=self._holds,
            attempts=[trial.attempt for trial in proven.trials],
            normalization=constants.words if constants is not None else None,
            deviations=proof.deviations if shows_rows else [],
            tolerance=ROUNDINGS * asked.against.rounding,
            flags=_flags(best, constants),
            equivalent=_equivalent(proven.trials),
            unreadable=self._unreadable,
            warnings=list(proof.warnings),
            constant=constant,
            num_constant=proof.num_constant if constant is not None else 0,
            estimators=self._same_estimators(best),
            num_searched=None
            if self._readings.are_whole
            else self._readings.num_steps(best.candidate.settings),
        )

    def _same_estimators(self, best: Trial) -> Sequence[str]:
        attempt = best.attempt
        if not attempt.is_reproduced or attempt.is_affine or self._asked.only.estimator is not None:
            return ()
        reading = self._readings.of(best.candidate)
        decays = decays_of(attempt, best.candidate)
        return same_estimators(reading, *decays, largest_bound(attempt, reading), self._holds)

    def _hear(self, candidate: Candidate) -> None:
        """Of those that no column of this file could tell apart only the first, under all their names."""
        try:
            if self._is_heard_by_first_rows(candidate):
                return
            if self._take(self._readings.of(candidate)):
                other = "current" if candidate.settings.bootstrap != "current" else "zero"
                self._take(self._readings.of(with_bootstrap(candidate, other)))
        except GaeError as error:
            self._first_error = self._first_error or error
            if candidate.settings.estimator == "gae":
                self._unreadable.update(dict.fromkeys(candidate.presets, error.message))

    def _is_heard_by_first_rows(self, candidate: Candidate) -> bool:
        """Once the file was taken in one way: what takes it in another is held against its first rows.

        Where something makes the column of the sample, what is off there is off, and the rest has the same γ and λ,
        and may be as good at all rows. Where nothing does yet, what is nearer there is looked at like the first.
        """
        if not self._solved or self._readings.are_whole or self._readings.knows(candidate):
            return False
        nearest = min((one for _, one in self._solved.values()), key=lambda one: one.share_deviating)
        if nearest.theta is None or "bootstrap" in nearest.attempt.flags:
            return False
        try:
            reading = self._heads.of(candidate)
        except GaeError:  # what holds of all rows is told
            return False
        key = _FIRST_ROWS + signature(reading)
        is_made = nearest.attempt.is_reproduced
        if key in self._alike:
            self._alike[key].append(candidate)
            return True
        if not reading.is_linear:
            return is_made
        if is_made:
            trial = _of_first_rows(reading, nearest.theta)
        else:
            trial = solve(reading, solve_plainly(reading), Fits())
            if trial.share_deviating < _NEARER * nearest.share_deviating:
                return False
        self._alike[key], self._solved[key] = [candidate], (reading, trial)
        return True

    @cached_property
    def _heads(self) -> Readings:
        asked = self._asked
        return Readings(
            replace(asked, plan=head_of(asked.plan, 2 * sampling.SEARCH_STEPS)), self._holds, is_head=True
        )

    def _take(self, reading: CandidateReading) -> bool:
        """True if a bootstrap policy makes a difference."""
        candidate, key = reading.candidate, signature(reading)
        first = self._alike[key][0] if key in self._alike else None
        if first is None:
            self._alike[key] = [candidate]
            if reading.is_linear:
                self._solved[key] = reading, solve_plainly(reading)
            else:
                self._waiting[key] = candidate
        # The name of a preset alone does not stand for what it does with further flags.
        elif _speaking(candidate.flags, reading) in ({}, first.flags):
            self._alike[key].append(candidate)
        return leaves_ends_open(reading)

    def _tried(self) -> list[Trial]:
        """The best first. What is no recursion is looked at where none of those makes the column that are."""
        trials = self._solutions()
        if trials and trials[0].attempt.is_reproduced:
            return trials
        for candidate in self._estimators():
            self._hear(candidate)
        if not self._alike:
            raise self._first_error or self._asked.untried(self._holds)
        searched: list[Trial] = []
        for key, candidate in self._waiting.items():
            known = next((trial for trial in searched if trial.attempt.is_reproduced), None)
            # What has been found is tried on the others; nothing else has to be searched for.
            found = self._readings.of(candidate)
            trial = descend(found) if known is None else held_as(found, known)
            searched.append(trial.named(self._alike[key]))
        return _in_order(_beyond_noise(trials), _ranked(searched))

    def _solutions(self) -> list[Trial]:
        """What makes the column under one of them is tried on the others; else each is searched by itself."""
        known = min((trial for _, trial in self._solved.values()), key=lambda one: one.rank, default=None)
        fits, found = Fits(), []
        for key, (reading, first) in self._solved.items():
            if known is not None and known.attempt.is_reproduced:
                assert known.theta is not None
                trial = solve_near(reading, first, known.theta)
            else:
                trial = solve(reading, first, fits)
                known = min(known or trial, trial, key=lambda one: one.rank)
            trial = replace(trial, is_of_head=key.startswith(_FIRST_ROWS))
            found.append(trial.of_members(self._alike[key]))
        return _ranked(found)


class _Proven:
    """The best of the trials, and all that may be as good, held against every row."""

    def __init__(self, asked: Asked, readings: Readings, trials: list[Trial]) -> None:
        self._asked, self._readings = asked, readings
        first = readings.of(trials[0].candidate)
        self.constant = constant_of(first)
        self._walks: list[tuple[Walk, Proof]] = []
        self._of_sample: Proof | None = None
        if not readings.are_whole and self.constant is None and is_refuted(trials[0]):
            warnings = readings.warnings(first.candidate.settings)
            self._of_sample = proof_on_sample(trials[0], first, warnings)
            self.trials = [as_sampled(trial) for trial in trials]
            return
        of_sample = trials[1:] if readings.are_whole else []
        open_ones = (
            trials[:1] if readings.are_whole else [one for trial in trials for one in self._apart(trial)]
        )
        proven: list[Trial] = []
        while open_ones and (not proven or open_ones[0].attempt.is_reproduced):
            together = self._together(open_ones)
            open_ones = [trial for trial in open_ones if trial not in together]
            proven += self._walked(together)
        rest = of_sample if readings.are_whole else [as_sampled(trial) for trial in open_ones]
        self.trials = [*_ranked(proven), *rest]
        self._lead()

    @property
    def best(self) -> Trial:
        return self.trials[0]

    @property
    def walk(self) -> Walk:
        return self._walks[-1][0]

    @property
    def proof(self) -> Proof:
        """Of the best."""
        return self._of_sample or self._walks[-1][1]

    @property
    def is_of_sample(self) -> bool:
        """Nothing was held against all rows."""
        return self._of_sample is not None

    def _lead(self) -> None:
        """The last walk is that of the best."""
        for walk, proof in self._walks:
            if proof.trials[0] is self.best:
                self._walks.append((walk, proof))
                return
        self.trials[:1] = self._walked([self.best])[:1]

    def _together(self, trials: Sequence[Trial]) -> list[Trial]:
        """The first, and others that reproduce the sample as it does and take the file alike."""
        first = trials[0]
        if first.theta is None or not first.attempt.is_reproduced or self._readings.are_whole:
            return [first]
        key = self._readings.key(first.candidate.settings)
        alike = [one for one in trials[1:] if one.attempt.is_reproduced and one.theta is not None]
        return [first, *(one for one in alike if self._readings.key(one.candidate.settings) == key)]

    def _apart(self, trial: Trial) -> list[Trial]:
        """Those together that take the file alike: a sample does not tell all of them apart."""
        by_key: dict[object, list[Candidate]] = {}
        for member in trial.members:
            by_key.setdefault(self._readings.key(member.settings), []).append(member)
        if len(by_key) == 1 or not trial.attempt.is_reproduced:
            return [trial]
        return [trial.of_members(members) for members in by_key.values()]

    def _walked(self, trials: Sequence[Trial]) -> list[Trial]:
        if self._readings.are_whole:  # those that it cannot tell apart are known
            trials = [replace(trial, members=(trial.candidate,)) for trial in trials]
        walk = Walk(self._asked, self._readings, trials, self.constant)
        proof = walk.proof()
        self._walks.append((walk, proof))
        return list(proof.trials)


def _of_first_rows(reading: CandidateReading, known: Theta) -> Trial:
    """Where the rows end, no trajectory need end: what is off there may be right."""
    trial = solve_near(reading, solve_plainly(reading), known)
    num_doubtful = int(np.count_nonzero(reading.evidence.kinds == OPEN))
    if trial.attempt.num_deviating > num_doubtful:
        return trial
    return replace(trial, attempt=replace(trial.attempt, num_deviating=0))


def _speaking(flags: Mapping[str, Any], reading: CandidateReading) -> Mapping[str, Any]:
    """Those that make a difference to a file."""
    return {name: value for name, value in flags.items() if not (reading.is_uncut and name == "truncation")}


def _ranked(trials: Iterable[Trial]) -> list[Trial]:
    return sorted(trials, key=lambda trial: trial.rank)


def _beyond_noise(trials: list[Trial]) -> list[Trial]:
    """A column in half precision is off a little everywhere: count the rows that are off by much more."""
    limit = 20 * max(min((trial.noise for trial in trials), default=0.0), 1.0)
    return sorted(trials, key=lambda trial: (trial.num_beyond(limit), *trial.rank))


def _in_order(solved: list[Trial], searched: list[Trial]) -> list[Trial]:
    """Rows that deviate are counted in two ways, which do not compare; errors do."""
    if not solved or not searched:
        return solved or searched
    first, other = solved[0].attempt, searched[0].attempt
    is_nearer = (other.rms_error or 0.0) < 0.5 * (first.rms_error or 0.0)
    if other.is_reproduced or (is_nearer and other.num_deviating < first.num_deviating):
        return searched + solved
    return solved + searched


def _equivalent(trials: Sequence[Trial]) -> list[str]:
    """By themselves, or with the flags of the best."""
    best = trials[0].attempt
    reproducing = [one for one in trials if one.attempt.is_reproduced and not one.attempt.is_sampled]
    alike = [trial for trial in reproducing if trial.attempt.flags in ({}, best.flags)]
    names = [name for trial in alike for name in trial.attempt.presets]
    first = best.presets[0]
    return [name for name in dict.fromkeys(names) if name != first]


def _flags(best: Trial, constants: Whitening | None) -> list[str]:
    """As one would type them to `gae compute`; none where it cannot make the column."""
    attempt = best.attempt
    gamma, lam = decays_of(attempt, best.candidate)
    settings = best.candidate.settings.replace(gamma=gamma, lam=lam)
    if attempt.is_affine:
        rule = None if constants is None else constants.rule
        if rule is None:
            return []
        settings = settings.replace(
            normalize="all", norm_ddof=rule.ddof, norm_eps=rule.eps, norm_floor=rule.floor
        )
    return flags_of(settings)
