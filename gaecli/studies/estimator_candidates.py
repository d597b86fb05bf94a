"""Estimators other than GAE that a column may be of, and the window of those that have one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from gaecli.errors import UsageError
from gaecli.estimator_kinds import ESTIMATORS
from gaecli.settings import Settings
from gaecli.studies.asked import Only
from gaecli.studies.candidates import Candidate
from gaecli.studies.column import Holds
from gaecli.studies.reading import file_settings
from gaecli.studies.readings import CandidateReading

#: What is GAE with some λ: solved for as GAE, and named beside it.
_LINEAR = ("gae", "td0", "td-lambda")
#: Windows that people take, and all short ones.
_WINDOWS = (
    *range(1, 13),
    15,
    16,
    20,
    24,
    25,
    30,
    32,
    40,
    48,
    50,
    60,
    64,
    80,
    100,
    128,
    200,
    256,
    500,
    512,
    1000,
)
_GAMMAS = (0.99, 1.0, 0.95, 0.9, 0.999, 0.98, 0.97, 0.8)


def estimator_candidates(
    settings: Settings, holds: Holds, only: Only, *, has_second_values: bool = False
) -> Iterator[Candidate]:
    """Under the exact rules, or those of the preset that is asked for.

    `has_second_values`: next values are others than V of the next rows, so that the λ-return is no GAE.
    """
    preset = only.preset or "exact"
    if only.estimator is None and only.preset is not None:
        return
    for kind in ESTIMATORS.values():
        if kind.is_scored or holds not in kind.outputs or kind.name == "gae":
            continue
        is_linear = kind.name in _LINEAR and not (kind.name == "td-lambda" and has_second_values)
        if only.estimator != kind.name and (only.estimator is not None or is_linear):
            continue
        n_steps = None if "n_steps" in kind.unused else only.n_steps or 1
        columns, clips = only.policies_of(kind)
        read = {**file_settings(settings), "columns": {**settings.columns, **columns}}
        for flags in ({}, {"truncation": "zero"}) if "truncation" not in kind.unused else ({},):
            try:
                made = Settings.from_preset(
                    preset,
                    estimator=kind.name,
                    n_steps=n_steps,
                    **read,
                    bootstrap=settings.bootstrap,
                    normalize="none",
                    **{**only.tested, **clips, **flags},
                )
            except UsageError:
                continue  # it asks for columns that nobody has named
            # Of a λ that it does not use: rounding adds up as along the longest sum.
            made = made if made.uses("lam") else made.replace(lam=1.0)
            finds = n_steps is not None and only.n_steps is None
            yield Candidate((preset,), made, flags, finds_window=finds)


def with_window(reading: CandidateReading) -> CandidateReading:
    """The reading with the window that comes nearest under usual γ, if it is open."""
    if not reading.candidate.finds_window:
        return reading
    longest = int(np.diff(np.flatnonzero(reading.block.cuts), prepend=-1).max(initial=1))
    windows = [n for n in _WINDOWS if n < longest] + [longest]
    found = min((error, n) for n in windows for error in _errors(reading, n))
    candidate = replace(
        reading.candidate, settings=reading.candidate.settings.replace(n_steps=found[1]), finds_window=False
    )
    return replace(reading, candidate=candidate)


def _errors(reading: CandidateReading, n_steps: int) -> Iterator[float]:
    """Of one window, under each of the usual γ."""
    settings = reading.candidate.settings.replace(n_steps=n_steps)
    made = replace(reading, candidate=replace(reading.candidate, settings=settings))
    model, held = made.model(), reading.held
    for gamma in _GAMMAS:
        left = (model(gamma, settings.lam) - reading.column)[held]
        yield float(np.square(left).mean()) if len(left) else 0.0


def same_estimators(
    reading: CandidateReading, gamma: float, lam: float, bound: float, holds: Holds
) -> Sequence[str]:
    """Others that make the same of these rows with the same γ and λ."""
    own = reading.model()(gamma, lam)[reading.held]
    found = []
    for name in (*_LINEAR, "mc"):
        try:
            settings = reading.candidate.settings.replace(estimator=name)
        except UsageError:
            continue  # it has no use for what is tested
        has_roles = "value" not in settings.kind.roles or reading.block.has_values
        if (
            not has_roles
            or holds not in settings.kind.outputs
            or name == reading.candidate.settings.estimator
        ):
            continue
        model = replace(reading, candidate=replace(reading.candidate, settings=settings)).model()
        if float(np.abs(model(gamma, lam)[reading.held] - own).max(initial=0.0)) <= bound:
            found.append(name)
    return found
