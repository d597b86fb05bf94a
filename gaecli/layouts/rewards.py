"""The reward of each step: one column, or the weighted sum of several, of which some may say nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from gaecli.array_types import Array, BoolArray
from gaecli.errors import DataError
from gaecli.formats.base import Column
from gaecli.layouts.cells import Cells
from gaecli.records import dataclass
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
    #: The estimator compares scores, and can leave out who has none.
    is_of_scores: bool = False
    #: The reward of a row is that of the step before it, so that rows that are no steps have one, too.
    arrives: bool = False

    @classmethod
    def of(cls, settings: Settings) -> RewardRule:
        return cls(
            settings.rewards, settings.unscored != "error", settings.uses("unscored"), settings.arrives
        )

    def read(
        self, columns: Mapping[str, Column], name: str, cells: Cells, used: BoolArray | None = None
    ) -> Rewards:
        """`name`: the column of the role. `used`: the cells that enter; None: all."""
        if not self.weights and not self.may_be_missing:
            return self._needed(columns[name], name, cells, used)
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
        return self._needed(Column(total, missing), name, cells, used)

    def _needed(self, column: Column, name: str, cells: Cells, used: BoolArray | None) -> Rewards:
        if self.weights:
            cells = replace(cells, value=None)  # no mask of one column takes what several lack
        try:
            return Rewards(*cells.numbers(column, name, "reward", used))
        except DataError as error:
            if self.arrives and "is infinite" not in error.message:
                lead = "if only first rows of trajectories lack one, write 0 there, which belongs to no step under "
                raise type(error)(
                    error.message, hint=f"{lead}`--reward-at arrival`; else {error.hint}"
                ) from error
            if not self.is_of_scores or "is infinite" in error.message:
                raise
            message = error.message
            if len(self.weights) > 1:
                names = ", ".join(f"`{one}`" for one in self.weights)
                message = message.replace(f"`{name}` is null", f"{names} are all null or NaN", 1)
            raise type(error)(
                message,
                hint=f"{error.hint}; `--unscored zero` compares those without a reward with none, and gives them 0",
            ) from error
