"""Cells that are off a rule of group baselines, by kind of group: those of one block after the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

import numpy as np

from gaecli.array_types import BoolArray, IndexArray
from gaecli.records import dataclass
from gaecli.results import Deviation
from gaecli.studies.baseline_trials import BaselineTrial, ScoredColumn
from gaecli.studies.row_equations import ROUNDINGS

#: A reading counts if it explains so many of the cells that deviate.
_MOST = 0.9


@dataclass(eq=False)
class _OfGroups:
    count: int = 0
    total: int = 0
    #: Row, number, and what it should be.
    first: tuple[int, float, float] = (0, 0.0, 0.0)
    #: What these cells do instead -> how many do.
    alike: dict[str, int] = field(default_factory=dict)

    @property
    def reading(self) -> str | None:
        """What nine in ten of them do instead."""
        return next((words for words, count in self.alike.items() if count >= _MOST * self.count), None)


class BaselineDeviations:
    def __init__(self) -> None:
        self._by_kind: dict[str, _OfGroups] = {}
        self._num_cells = self._num_missing = 0

    def add(self, trial: BaselineTrial, column: ScoredColumn) -> None:
        strays = trial.ratios > 1.0
        self._num_cells += trial.attempt.num_rows
        self._num_missing += column.num_missing
        kinds = {
            "groups of one": column.is_single,
            "groups without variance": column.is_flat,
            "groups": column.is_telling,
        }
        for name, is_of_kind in kinds.items():
            kind = self._by_kind.setdefault(name, _OfGroups())
            kind.total += int(np.count_nonzero(is_of_kind))
            chosen = np.flatnonzero(strays & is_of_kind)
            if not len(chosen):
                continue
            if not kind.count:
                at = int(chosen[0])
                kind.first = int(column.rows[at]), float(column.column[at]), float(trial.computed[at])
            kind.count += len(chosen)
            for words, holds in _readings(column, chosen).items():
                kind.alike[words] = kind.alike.get(words, 0) + int(np.count_nonzero(holds))

    def result(self) -> list[Deviation]:
        """One entry per kind of group."""
        found = [
            Deviation(name, kind.count, kind.total, *kind.first, kind.reading)
            for name, kind in self._by_kind.items()
            if kind.count
        ]
        if self._num_missing:
            found.append(Deviation("no number", self._num_missing, self._num_cells, 0, None, None))
        return found


def deviations_of(trial: BaselineTrial, column: ScoredColumn) -> list[Deviation]:
    """Of all cells at once."""
    found = BaselineDeviations()
    found.add(trial, column)
    return found.result()


def _readings(column: ScoredColumn, chosen: IndexArray) -> Mapping[str, BoolArray]:
    """What cells may do instead."""
    numbers, scores, means = column.column[chosen], column.scores[chosen], column.means[chosen]
    near = ROUNDINGS * column.rounding
    return {
        "have advantage 0": numbers == 0,
        "hold their score": np.abs(numbers - scores) <= near * np.abs(scores),
        "hold their score less the mean": np.abs(numbers - scores + means)
        <= near * (np.abs(scores) + np.abs(means)),
    }
