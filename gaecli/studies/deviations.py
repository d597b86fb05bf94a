"""Where a column leaves the convention that fits it best, and what it does there instead."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gaecli.results import Deviation
from gaecli.rollouts import BoolArray, FloatArray
from gaecli.studies.candidates import CandidateReading
from gaecli.studies.row_equations import INSIDE, OPEN, TERMINATED, TRUNCATED, ColumnEvidence, Theta

_NAMES = {
    TERMINATED: "terminated ends",
    TRUNCATED: "truncated ends",
    OPEN: "open ends",
    INSIDE: "inside trajectories",
}
#: A reading counts if it explains so many of the rows that deviate.
_MOST = 0.9


def deviations(reading: CandidateReading, theta: Theta) -> list[Deviation]:
    """One entry per kind of row, the ends of trajectories first."""
    evidence = reading.evidence
    strays = evidence.deviates(theta)
    strays &= ~_follows_from_next(evidence, theta, strays)
    found = []
    for kind, name in _NAMES.items():
        of_kind = evidence.kinds == kind
        if (strays & of_kind).any():
            found.append(_deviation(reading, theta, strays & of_kind, int(of_kind.sum()), name))
    if len(reading.missing):
        first = int(reading.rows[reading.missing[0]])
        found.append(Deviation("no number", len(reading.missing), reading.block.num_steps, first, None, None))
    return found


def _follows_from_next(evidence: ColumnEvidence, theta: Theta, strays: BoolArray) -> BoolArray:
    """[n] rows that are off only because the number of the next row is: their residual is -γλ of its."""
    residuals = evidence.residuals(theta)
    tolerances = evidence.tolerances(theta)
    is_next = np.zeros(len(evidence), np.bool_)
    is_next[:-1] = (np.diff(evidence.steps) == 1) & (evidence.goes_on[:-1] > 0) & strays[1:]
    inherited = np.zeros(len(evidence))
    inherited[:-1] = -theta.decay * residuals[1:]
    near = np.abs(residuals - inherited) <= tolerances + np.append(theta.decay * tolerances[1:], 0.0)
    result: BoolArray = strays & is_next & near
    return result


def _deviation(
    reading: CandidateReading, theta: Theta, strays: BoolArray, total: int, name: str
) -> Deviation:
    evidence = reading.evidence
    first = int(np.argmax(strays))
    residual = float(evidence.residuals(theta)[first])
    found = float(evidence.column[first] + reading.baseline[evidence.steps[first]])
    return Deviation(
        where=name,
        count=int(strays.sum()),
        total=total,
        first_row=int(evidence.rows[first]),
        found=found,
        expected=found - residual / theta.scale,
        reading=_reading(reading, theta, strays),
    )


def _reading(reading: CandidateReading, theta: Theta, strays: BoolArray) -> str | None:
    """What these rows do instead, if nine in ten of them do the same."""
    evidence = reading.evidence
    rows = evidence.take(strays)
    tolerances = 2 * evidence.tolerances(theta)[strays]
    advantages = theta.scale * rows.column + theta.shift
    beyond = advantages - rows.rewards + rows.values  # what they have in the place of γ V' + γλ A'
    best, most = None, _MOST
    for words, instead in _readings(reading, theta, rows).items():
        share = float((np.abs(beyond - instead) <= tolerances).mean())
        if share > most or (best is None and share >= most):
            best, most = words, share
    return best


def _readings(reading: CandidateReading, theta: Theta, rows: ColumnEvidence) -> Mapping[str, FloatArray]:
    """In the place of γ V' + γλ A': what other rules would put there."""
    block = reading.block
    after = np.minimum(rows.steps + 1, block.num_steps - 1)
    next_values = block.values[after].astype(np.float64)
    next_advantages = theta.scale * np.nan_to_num(reading.column[after]) + theta.shift
    readings = {
        "use V(s_t+1) as the file gives it": theta.gamma * reading.given[rows.steps],
        "count as terminal: nothing follows": np.zeros(len(rows)),
        "use V(s_t) in the place of V(s_t+1)": theta.gamma * rows.values,
        "use V of the next row, of another episode": theta.gamma * next_values,
        "leak: V and A of the next row flow in": theta.gamma * next_values + theta.decay * next_advantages,
        "use V(s_t+1) without γ": np.where(rows.following != 0, rows.following, reading.given[rows.steps]),
        "have advantage 0": rows.values - rows.rewards,
        "end the sum here, with V(s_t+1)": theta.gamma * rows.following,
    }
    if (rows.kinds == INSIDE).all():
        readings["count as terminal: a flag is read at the wrong row?"] = readings.pop(
            "count as terminal: nothing follows"
        )
        del readings["use V of the next row, of another episode"]
        del readings["leak: V and A of the next row flow in"]
    return readings
