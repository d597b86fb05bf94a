"""The presets and estimators that may have made a column: heard one after the other, and the verdict."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from gaecli.errors import GaeError
from gaecli.results import Verification
from gaecli.studies.asked import Asked
from gaecli.studies.candidates import (
    Candidate,
    CandidateReading,
    candidates,
    leaves_ends_open,
    read_candidate,
    signature,
    with_bootstrap,
)
from gaecli.studies.column import Holds
from gaecli.studies.command import flags_of
from gaecli.studies.deviations import deviations
from gaecli.studies.estimator_candidates import estimator_candidates, same_estimators
from gaecli.studies.row_equations import ROUNDINGS
from gaecli.studies.trials import (
    Trial,
    Whitening,
    constant_of,
    decays_of,
    descend,
    held_as,
    largest_bound,
    normalization,
    solve,
)


class EstimatorCourt:
    """Hears one candidate after the other, and holds the reading of one at a time: each is the whole file."""

    def __init__(self, asked: Asked, holds: Holds) -> None:
        self._asked, self._holds = asked, holds
        self._trials: dict[bytes, Trial] = {}
        #: Those that have to be searched for, which takes its time.
        self._waiting: dict[bytes, Candidate] = {}
        self._first_error: GaeError | None = None
        self._unreadable: dict[str, str] = {}

    def verdict(self) -> Verification:
        asked, only = self._asked, self._asked.only
        if only.tries_presets:
            for candidate in candidates(asked.settings, self._holds, asked.file, only.preset, only.tested):
                self._hear(candidate)
        for candidate in estimator_candidates(asked.settings, self._holds, only):
            self._hear(candidate)
        trials = self._tried()
        best = trials[0]
        reading = self._read(best.candidate)
        constants = normalization(best.attempt, reading) if best.attempt.is_affine else None
        constant = None if best.attempt.is_reproduced else constant_of(reading)
        shows_rows = best.theta is not None and constant is None and not best.attempt.is_reproduced
        return Verification(
            path=asked.path,
            column=asked.against.column,
            column_path=str(asked.against.path),
            holds=self._holds,
            attempts=[trial.attempt for trial in trials],
            normalization=constants.words if constants is not None else None,
            deviations=deviations(reading, best.theta) if shows_rows and best.theta is not None else [],
            tolerance=ROUNDINGS * asked.against.rounding,
            flags=_flags(best, constants),
            equivalent=_equivalent(trials),
            unreadable=self._unreadable,
            warnings=list(reading.warnings),
            constant=constant[0] if constant is not None else None,
            num_constant=constant[1] if constant is not None else 0,
            estimators=self._same_estimators(best, reading),
            num_searched=min((trial.num_searched for trial in trials if trial.num_searched), default=None),
        )

    def _same_estimators(self, best: Trial, reading: CandidateReading) -> Sequence[str]:
        attempt = best.attempt
        if not attempt.is_reproduced or attempt.is_affine or self._asked.only.estimator is not None:
            return ()
        decays = decays_of(attempt, best.candidate)
        return same_estimators(reading, *decays, largest_bound(attempt, reading), self._holds)

    def _read(self, candidate: Candidate) -> CandidateReading:
        asked = self._asked
        return read_candidate(candidate, asked.plan, asked.against, self._holds, asked.memory_bytes)

    def _hear(self, candidate: Candidate) -> None:
        """Of those that no column of this file could tell apart only the first, under all their names."""
        try:
            is_open = self._take(self._read(candidate))
            if is_open:
                other = "current" if candidate.settings.bootstrap != "current" else "zero"
                self._take(self._read(with_bootstrap(candidate, other)))
        except GaeError as error:
            self._first_error = self._first_error or error
            if candidate.settings.estimator == "gae":
                self._unreadable.update(dict.fromkeys(candidate.presets, error.message))

    def _take(self, reading: CandidateReading) -> bool:
        """True if a bootstrap policy makes a difference."""
        candidate, key = reading.candidate, signature(reading)
        first = self._trials[key].candidate if key in self._trials else self._waiting.get(key)
        # The name of a preset alone does not stand for what it does with further flags.
        flags = _speaking(candidate.flags, reading)
        is_alike = first is not None and flags in ({}, first.flags)
        if first is None and reading.is_linear:
            self._trials[key] = solve(reading)
        elif first is None:
            self._waiting[key] = candidate
        elif is_alike and key in self._trials:
            self._trials[key] = self._trials[key].named(candidate.presets)
        elif is_alike:
            names = tuple(dict.fromkeys([*first.presets, *candidate.presets]))
            self._waiting[key] = replace(first, presets=names)
        return leaves_ends_open(reading)

    def _tried(self) -> list[Trial]:
        """The best first."""
        if not self._trials and not self._waiting:
            raise self._first_error or self._asked.untried(self._holds)
        trials = _ranked(self._trials.values())
        if trials and trials[0].attempt.is_reproduced:
            return trials
        searched: list[Trial] = []
        for candidate in self._waiting.values():
            known = next((trial for trial in searched if trial.attempt.is_reproduced), None)
            # What has been found is tried on the others; nothing else has to be searched for.
            found = self._read(candidate)
            searched.append(descend(found) if known is None else held_as(found, known))
        return _in_order(_beyond_noise(trials), _ranked(searched))


def _speaking(flags: Mapping[str, Any], reading: CandidateReading) -> Mapping[str, Any]:
    """Those that make a difference to a file."""
    is_idle = not reading.block.truncated.any()
    return {name: value for name, value in flags.items() if not (is_idle and name == "truncation")}


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
    reproducing = [trial for trial in trials if trial.attempt.is_reproduced]
    alike = [trial for trial in reproducing if trial.attempt.flags in ({}, best.flags)]
    names = [name for trial in alike for name in trial.attempt.presets]
    first = best.presets[0]
    return [name for name in dict.fromkeys(names) if name != first]


def _flags(best: Trial, constants: Whitening | None) -> list[str]:
    """As one would type them to `gae compute`; none where it cannot make the column."""
    attempt = best.attempt
    gamma, lam = decays_of(attempt, best.candidate)
    settings = best.candidate.settings.replace(gamma=gamma, lam=lam)
    if constants is not None:
        rule = constants.rule
        if rule is None:
            return []
        settings = settings.replace(
            normalize="all", norm_ddof=rule.ddof, norm_eps=rule.eps, norm_floor=rule.floor
        )
    return flags_of(settings)
