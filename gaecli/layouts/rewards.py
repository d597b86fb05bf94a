"""The reward of each step: one column, or the weighted sum of several, of which some may say nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from gaecli.formats.base import Column
from gaecli.layouts.cells import Cells
from gaecli.records import dataclass
from gaecli.rollouts import Array, BoolArray
from gaecli.settings import Settings


class Rewards(NamedTuple):
    numbers: Array
    #: Cells that cannot be used; None: all can.
    bad: BoolArray | None
    #: Steps that no reward function scored, where that is no error. None: it is.
    missing: BoolArray | None = None

    def moved(self, change: Callable[[Array], Array]) -> BoolArray | None:
        """`missing`, in another order."""
        return None if self.missing is None else change(self.missing)


@dataclass(frozen=True)
class RewardRule:
    #: Column -> weight; empty: the one column of the role.
    weights: Mapping[str, float]
    may_be_missing: bool

    @classmethod
    def of(cls, settings: Settings) -> RewardRule:
        return cls(settings.rewards, settings.unscored == "zero")

    def read(
        self, columns: Mapping[str, Column], name: str, cells: Cells, used: BoolArray | None = None
    ) -> Rewards:
        """`name`: the column of the role. `used`: the cells that enter; None: all."""
        if not self.weights and not self.may_be_missing:
            return Rewards(*cells.numbers(columns[name], name, "reward", used))
        total: Array | None = None
        missing = np.ones(len(columns[name].values), np.bool_)
        for column, weight in (self.weights or {name: 1.0}).items():
            numbers = cells.optional_numbers(columns[column], column)
            gone = np.isnan(numbers)
            # What is infinite is none of the rewards that may be left out.
            given, bad = cells.numbers(Column(np.where(gone, 0, numbers)), column, "reward", used)
            gone = gone if bad is None else gone | bad
            part = weight * np.where(gone, 0.0, given.astype(np.float64))
            total = part if total is None else total + part
            missing &= gone
        assert total is not None
        if used is not None:
            missing &= used
        if self.may_be_missing:
            return Rewards(total, None, missing)
        if not missing.any():
            return Rewards(total, None)
        return Rewards(*cells.numbers(Column(total, missing), name, "reward", used))
