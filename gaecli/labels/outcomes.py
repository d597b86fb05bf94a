"""Rewards of episodes that succeed or fail.

    recap    rₜ = -1/Z, and at the last step 0 after a success, -C/Z after a failure;  Z = H - 1 + C
    steps    rₜ = -1, and at the last step 0 after a success, -C after a failure
    sparse   rₜ = 0, and at the last step 1 after a success

H is the number of steps of the longest episode of all, and C the cost of a failure. `recap` is that of
huggingface/lerobot refs/pull/3764 2aa7f60 scripts/lerobot_compute_returns.py; `steps` that of RLinf a3816b5
examples/offline_rl/advantage_labeling/recap.

No block of rows knows the length of an episode that goes on in another one, or whether it succeeded there:
`EpisodeParts` is what it knows, and `Outcomes` what it is told.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from gaecli.array_types import BoolArray, FloatArray, IndexArray
from gaecli.choices import SuccessReward
from gaecli.records import dataclass
from gaecli.rollouts import Block


@dataclass(frozen=True, eq=False)
class SuccessRule:
    """The rewards of all episodes, once the longest is known."""

    name: SuccessReward
    failure_cost: float
    longest: int

    @property
    def scale(self) -> float:
        """Z, by which costs are divided."""
        total = self.longest - 1 + self.failure_cost
        return total if self.name == "recap" and total > 0 else 1.0

    def rewards(self, is_last: BoolArray, succeeded: BoolArray) -> FloatArray:
        """[N] by the steps that are the last of their episodes, and whether those succeeded."""
        if self.name == "sparse":
            return (is_last & succeeded).astype(np.float64)
        at_end = np.where(succeeded, 0.0, -self.failure_cost / self.scale)
        return np.where(is_last, at_end, -1.0 / self.scale)


@dataclass(frozen=True)
class EpisodeTally:
    """Whole episodes, added up."""

    longest: int = 0
    #: Those with a flag of success at any step, and at the last one.
    flagged: int = 0
    at_end: int = 0

    @classmethod
    def of(cls, steps: IndexArray, flagged: BoolArray, at_end: BoolArray) -> EpisodeTally:
        """An entry each; what has no step is none."""
        there = steps > 0
        counts = [int(np.count_nonzero(there & flags)) for flags in (flagged, at_end)]
        return cls(int(steps.max(initial=0)), *counts)

    def merge(self, other: EpisodeTally) -> EpisodeTally:
        longest = max(self.longest, other.longest)
        return EpisodeTally(longest, self.flagged + other.flagged, self.at_end + other.at_end)


@dataclass(frozen=True, eq=False)
class EpisodeParts:
    """What a block knows of the episodes that may go on over its borders; arrays by lane."""

    #: Of the first and of the last episode of each lane: steps, a flag of success anywhere, at the last step, and
    #: whether it is left out.
    head_steps: IndexArray
    tail_steps: IndexArray
    head_flagged: BoolArray
    tail_flagged: BoolArray
    head_at_end: BoolArray
    tail_at_end: BoolArray
    head_dropped: BoolArray
    tail_dropped: BoolArray
    #: They are one and the same.
    is_through: BoolArray
    #: The episodes that are whole in this block for sure.
    inside: EpisodeTally


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What a block is told of the episodes at its borders; arrays by lane."""

    #: The episode of the last step goes on in another block.
    goes_on: BoolArray
    #: That of the first step carries a flag of success in a block before this one.
    flagged_before: BoolArray
    #: The episodes that end in this block.
    ended: EpisodeTally


@dataclass(frozen=True, eq=False)
class EpisodeOutcomes:
    """All that the blocks of a file are told, so that their steps have rewards."""

    rule: SuccessRule
    #: A flag at any step of an episode is its success, not that of the last step alone.
    anywhere: bool
    #: By what tells the blocks apart.
    by_block: Mapping[Hashable, Outcomes]

    @property
    def num_successes(self) -> int:
        ended = [one.ended for one in self.by_block.values()]
        return sum(one.flagged if self.anywhere else one.at_end for one in ended)


def episode_parts(block: Block, succeeded: BoolArray) -> EpisodeParts:
    """`succeeded`: [N] the flag of each step."""
    of_step, last = block.trajectories()
    is_step = np.ones(block.num_steps, np.bool_) if block.is_step is None else block.is_step
    num = len(last)
    steps = np.bincount(of_step[is_step], minlength=num).astype(np.int64)
    flagged = np.bincount(of_step[is_step & succeeded], minlength=num) > 0
    at_end = succeeded[last] & is_step[last]
    dropped = np.zeros(num, np.bool_) if block.dropped is None else block.dropped[last]
    lanes = block.lanes
    heads, tails = of_step[lanes.starts], of_step[lanes.stops - 1]
    is_open = np.zeros(num, np.bool_)
    is_open[heads] = is_open[tails] = True
    whole = ~is_open & ~dropped
    inside = EpisodeTally.of(steps[whole], flagged[whole], at_end[whole])
    return EpisodeParts(
        steps[heads],
        steps[tails],
        flagged[heads],
        flagged[tails],
        at_end[heads],
        at_end[tails],
        dropped[heads],
        dropped[tails],
        heads == tails,
        inside,
    )


def linked(parts: Sequence[EpisodeParts], successors: IndexArray) -> tuple[EpisodeTally, list[Outcomes]]:
    """All episodes added up, and what each block is told. `successors`: of all lanes, as `Combined` has them."""
    total = EpisodeTally()
    num_lanes = len(successors)
    before_steps = np.zeros(num_lanes, np.int64)
    before_flagged, before_dropped = np.zeros(num_lanes, np.bool_), np.zeros(num_lanes, np.bool_)
    outcomes: list[Outcomes] = []
    first = 0
    for one in parts:
        lanes = slice(first, first + len(one.is_through))
        first = lanes.stop
        steps = before_steps[lanes] + one.head_steps
        flagged = before_flagged[lanes] | one.head_flagged
        dropped = before_dropped[lanes] | one.head_dropped
        following = successors[lanes]
        goes_on = following >= 0
        # The episode at the head ends here, unless it runs through the whole lane and on.
        ends = (~one.is_through | ~goes_on) & ~dropped
        ended = one.inside.merge(EpisodeTally.of(steps[ends], flagged[ends], one.head_at_end[ends]))
        tail_steps = np.where(one.is_through, steps, one.tail_steps)
        tail_flagged = np.where(one.is_through, flagged, one.tail_flagged)
        tail_dropped = np.where(one.is_through, dropped, one.tail_dropped)
        ends = ~one.is_through & ~goes_on & ~tail_dropped
        ended = ended.merge(EpisodeTally.of(tail_steps[ends], tail_flagged[ends], one.tail_at_end[ends]))
        total = total.merge(ended)
        outcomes.append(Outcomes(goes_on, before_flagged[lanes].copy(), ended))
        before_steps[following[goes_on]] = tail_steps[goes_on]
        before_flagged[following[goes_on]] = tail_flagged[goes_on]
        before_dropped[following[goes_on]] = tail_dropped[goes_on]
    return total, outcomes


def rewards_of(block: Block, succeeded: BoolArray, told: EpisodeOutcomes, outcomes: Outcomes) -> FloatArray:
    """[N] rewards, by the flag of each step."""
    is_last = block.cuts.copy()
    is_last[block.lanes.stops[~outcomes.goes_on] - 1] = True
    if block.is_step is not None:
        is_last &= block.is_step
    if told.anywhere and block.num_steps:
        of_step, last = block.trajectories()
        flagged = np.bincount(of_step[succeeded], minlength=len(last)) > 0
        flagged[of_step[block.lanes.starts[outcomes.flagged_before]]] = True
        succeeded = flagged[of_step]
    return told.rule.rewards(is_last, succeeded)
