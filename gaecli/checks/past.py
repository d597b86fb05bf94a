"""What the steps of a window have behind them, also where that lies in the block before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from gaecli.array_types import Array, BoolArray, IndexArray
from gaecli.records import dataclass


class Carried(Protocol):
    """The last step of a lane, as the block after knows it."""

    @property
    def age(self) -> int:
        """1 for the first of its trajectory."""

    @property
    def came_on(self) -> bool:
        """Its trajectory went on there."""

    @property
    def earlier_reward(self) -> float:
        """That of the step before."""


@dataclass(frozen=True, eq=False)
class Past:
    """Of N steps; what a rule asks of a few of them is found for these."""

    _rewards: Array
    #: [K] where trajectories begin or are carried in, and how old they are there.
    _firsts: IndexArray
    _first_ages: IndexArray
    #: [C] the carried steps, and the rewards of those before them.
    _carried_at: IndexArray
    _carried_rewards: Array
    #: [N] the trajectory of the step before goes on here, in the block before as well.
    came_on: BoolArray

    @classmethod
    def of(cls, arrays: Mapping[str, Array], carried_at: IndexArray, carried: Sequence[Carried]) -> Past:
        """`arrays` has those of the window, with the carried steps."""
        goes_on = arrays["goes_on"]
        firsts = np.flatnonzero(~goes_on)
        ages = np.ones(len(firsts), np.int64)
        ages[np.searchsorted(firsts, carried_at)] = [step.age for step in carried]
        came_on = goes_on.copy()
        came_on[carried_at] = [step.came_on for step in carried]
        rewards = np.array([step.earlier_reward for step in carried], np.float64)
        return cls(arrays["rewards"], firsts, ages, carried_at, rewards, came_on)

    def ages(self, steps: IndexArray) -> IndexArray:
        """1 for the first step of a trajectory, by ids and flags."""
        trajectories = np.searchsorted(self._firsts, steps, side="right") - 1
        return self._first_ages[trajectories] + steps - self._firsts[trajectories]

    def earlier_rewards(self, steps: IndexArray) -> Array:
        """Of the steps before these, which ascend; what stands for none means nothing."""
        earlier = self._rewards[np.maximum(steps - 1, 0)]
        places = np.searchsorted(steps, self._carried_at)
        is_asked = np.append(steps, -1)[places] == self._carried_at
        earlier[places[is_asked]] = self._carried_rewards[is_asked]
        return earlier
