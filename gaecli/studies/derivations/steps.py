"""What a recursion goes over from the step that is asked about: the steps themselves, or units of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from gaecli.array_types import BoolArray, FloatArray
from gaecli.estimators.bootstrap import fill_bootstrap
from gaecli.estimators.decays import gammas, lams, value_lams
from gaecli.estimators.gae_variants import following_values
from gaecli.explanation import BootstrapSource, Cell
from gaecli.records import dataclass
from gaecli.rollouts import Block
from gaecli.settings import Settings
from gaecli.studies.tail import Tail, bootstrap_of


@dataclass(frozen=True, eq=False)
class RecursionSteps:
    """[K] each, the last one being the end of the trajectory."""

    #: Of each, what the file calls it: its row, or the rows that it is made of.
    names: Sequence[Mapping[str, Cell]]
    rewards: FloatArray
    values: FloatArray
    #: V(s') as it enters δ.
    following: FloatArray
    #: False: its δ is 0, and it hands nothing on.
    is_step: BoolArray
    gammas: FloatArray
    lams: FloatArray
    #: λ of the returns, where it is one of their own.
    value_lams: FloatArray | None
    #: The trace passes it without decay (`--mask-mode gated`).
    is_passed: BoolArray
    #: RecursionSteps of the whole trajectory that count, by which λ may go.
    length: int
    has_values: bool
    bootstrap: BootstrapSource

    @property
    def count(self) -> int:
        return len(self.rewards)

    @property
    def deltas(self) -> FloatArray:
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is shown as infinite
            return np.where(self.is_step, self.rewards + self.gammas * self.following - self.values, 0.0)

    def decays(self, of: FloatArray) -> FloatArray:
        """γλ with these λ, 1 where the trace passes, 0 where nothing is handed on."""
        found = np.where(self.is_passed, 1.0, self.gammas * of)
        found[~self.is_step] = 0.0
        return found


def steps_of(tail: Tail, settings: Settings) -> RecursionSteps:
    """The rows of the trajectory; items of lists have none of their own."""
    names: list[Mapping[str, Cell]] = [
        {"row": None if tail.is_in_lists else row} for row in tail.rows.tolist()
    ]
    return steps_from(tail.block, tail.first, settings, names)


def steps_from(
    block: Block, first: int, settings: Settings, names: Sequence[Mapping[str, Cell]]
) -> RecursionSteps:
    """Of a block that is one trajectory, from its step `first` on; `names` are of those."""
    block = fill_bootstrap(block, settings.bootstrap, is_whole_stream=True)
    here = slice(first, None)

    def each(decay: float | FloatArray) -> FloatArray:
        return np.broadcast_to(decay, block.num_steps)[here].astype(np.float64)

    no, yes = np.zeros(block.num_steps, np.bool_), np.ones(block.num_steps, np.bool_)
    is_step = yes if block.is_step is None else block.is_step
    masked = no if block.masked is None else block.masked
    passed = masked if settings.mask_mode == "gated" else no
    following = np.where(passed & block.cuts, 0.0, following_values(block))
    of_returns = value_lams(block, settings) if settings.kind.name == "gae" else None
    return RecursionSteps(
        names=names,
        rewards=block.rewards[here].astype(np.float64),
        values=block.values[here].astype(np.float64),
        following=following[here],
        is_step=is_step[here],
        gammas=each(gammas(block, settings)),
        lams=each(lams(block, settings) if settings.uses("lam") else 0.0),
        value_lams=None if of_returns is None else each(of_returns),
        is_passed=passed[here],
        length=int(np.count_nonzero(is_step & ~masked)),
        has_values=block.has_values,
        bootstrap=bootstrap_of(block, settings),
    )
