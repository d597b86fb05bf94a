"""What is told of the nearest convention where a sample has shown that it is not that of the column.

One that is off at most rows of whole trajectories from all over the stream is refuted, whatever the other rows are:
nothing is gained by holding it against them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from gaecli.moments import Moments
from gaecli.studies.deviations import Deviations
from gaecli.studies.proof import Proof
from gaecli.studies.readings import CandidateReading
from gaecli.studies.trials import Trial
from gaecli.summary import WarningNote

#: A convention that is off at so many of the rows is none that a few rows depart from.
MOST_OFF = 0.5


def is_refuted(trial: Trial) -> bool:
    return trial.share_deviating >= MOST_OFF


def proof_on_sample(trial: Trial, reading: CandidateReading, warnings: Sequence[WarningNote]) -> Proof:
    deviations = Deviations()
    if trial.theta is not None:
        deviations.add_missing(reading)
        evidence = reading.evidence
        everywhere = np.ones(len(evidence), np.bool_)
        deviations.add(reading, evidence, trial.theta, evidence.deviates(trial.theta), everywhere)
    return Proof([as_sampled(trial)], deviations.result(), warnings, Moments(), num_constant=0)


def as_sampled(trial: Trial) -> Trial:
    return replace(trial, attempt=replace(trial.attempt, is_sampled=True))
