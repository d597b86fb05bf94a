"""Where a column leaves the convention that fits it best, and what it does there instead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace

import numpy as np

from gaecli.array_types import BoolArray, FloatArray
from gaecli.records import dataclass
from gaecli.results import Deviation
from gaecli.studies.readings import CandidateReading
from gaecli.studies.row_equations import INSIDE, OPEN, TERMINATED, TRUNCATED, ColumnEvidence, Theta

_NAMES = {
    TERMINATED: "terminated ends",
    TRUNCATED: "truncated ends",
    OPEN: "open ends",
    INSIDE: "inside trajectories",
}
#: A reading counts if it explains so many of the rows that deviate.
_MOST = 0.9


class Deviations:
    """Rows that deviate, by kind: those of one block after the other."""

    def __init__(self) -> None:
        self._by_kind: dict[int, _OfKind] = {}
        self._num_missing = self._num_steps = 0
        self._first_missing: int | None = None

    def add_missing(self, reading: CandidateReading) -> None:
        self._num_steps += reading.block.num_steps
        self._num_missing += len(reading.missing)
        if len(reading.missing) and self._first_missing is None:
            self._first_missing = int(reading.part.rows[reading.missing[0]])

    def add(
        self,
        reading: CandidateReading,
        evidence: ColumnEvidence,
        theta: Theta,
        strays: BoolArray,
        counted: BoolArray,
    ) -> None:
        """[n] each; only those that are counted are, and the others tell what follows from them."""
        if strays.any():
            strays = strays & ~_follows_from_next(evidence, theta, strays)
        totals = np.bincount(evidence.kinds[counted], minlength=len(_NAMES)).tolist()
        for kind in _NAMES:
            total = totals[kind]
            if total and not strays.any():
                self._by_kind[kind] = self._by_kind.get(kind, _OfKind()).plus(_OfKind(total=total))
            elif total:
                of_kind = counted & (evidence.kinds == kind)
                found = _OfKind.of(reading, evidence, theta, strays & of_kind, total)
                self._by_kind[kind] = self._by_kind.get(kind, _OfKind()).plus(found)

    def result(self) -> list[Deviation]:
        """One entry per kind of row, the ends of trajectories first."""
        found = [
            Deviation(name, one.count, one.total, one.first_row, one.found, one.expected, one.reading)
            for kind, name in _NAMES.items()
            if (one := self._by_kind.get(kind)) is not None and one.count
        ]
        if self._first_missing is not None:
            row = self._first_missing
            found.append(Deviation("no number", self._num_missing, self._num_steps, row, None, None))
        return found


@dataclass(frozen=True)
class _OfKind:
    count: int = 0
    total: int = 0
    first_row: int = 0
    found: float = 0.0
    expected: float = 0.0
    #: What other rules would put there -> how many of the rows have that.
    alike: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        reading: CandidateReading,
        evidence: ColumnEvidence,
        theta: Theta,
        strays: BoolArray,
        total: int,
    ) -> _OfKind:
        count = int(np.count_nonzero(strays))
        if not count:
            return cls(total=total)
        first = int(np.argmax(strays))
        residual = float(evidence.residuals(theta)[first])
        found = float(evidence.column[first] + reading.baseline[evidence.steps[first]])
        expected = found - residual / theta.scale
        alike = _alike(reading, evidence, theta, strays)
        return cls(count, total, int(evidence.rows[first]), found, expected, alike)

    def plus(self, other: _OfKind) -> _OfKind:
        first = self if self.count else other
        words = {**self.alike, **other.alike}
        return replace(
            first,
            count=self.count + other.count,
            total=self.total + other.total,
            alike={word: self.alike.get(word, 0) + other.alike.get(word, 0) for word in words},
        )

    @property
    def reading(self) -> str | None:
        """What these rows do instead, if nine in ten of them do the same."""
        words = max(self.alike, key=lambda word: self.alike[word], default=None)
        return words if words is not None and self.alike[words] >= _MOST * self.count else None


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


def _alike(
    reading: CandidateReading, evidence: ColumnEvidence, theta: Theta, strays: BoolArray
) -> dict[str, int]:
    rows = evidence.take(strays)
    tolerances = 2 * evidence.tolerances(theta)[strays]
    advantages = theta.scale * rows.column + theta.shift
    beyond = advantages - rows.rewards + rows.values  # what they have in the place of γ V' + γλ A'
    return {
        words: int(np.count_nonzero(np.abs(beyond - instead) <= tolerances))
        for words, instead in _readings(reading, theta, rows).items()
    }


def _readings(reading: CandidateReading, theta: Theta, rows: ColumnEvidence) -> Mapping[str, FloatArray]:
    """In the place of γ V' + γλ A': what other rules would put there."""
    block = reading.block
    after = np.minimum(rows.steps + 1, block.num_steps - 1)
    next_values = block.values[after].astype(np.float64)
    next_advantages = theta.scale * np.nan_to_num(reading.column[after]) + theta.shift
    readings = {
        "use V(s_t+1) as the file gives it": theta.gamma * reading.part.given[rows.steps],
        "count as terminal: nothing follows": np.zeros(len(rows)),
        "use V(s_t) in the place of V(s_t+1)": theta.gamma * rows.values,
        "use V of the next row, of another episode": theta.gamma * next_values,
        "leak: V and A of the next row flow in": theta.gamma * next_values + theta.decay * next_advantages,
        "use V(s_t+1) without γ": np.where(
            rows.following != 0, rows.following, reading.part.given[rows.steps]
        ),
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
