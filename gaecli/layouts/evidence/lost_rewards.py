"""Rewards on rows that are no steps: they enter no advantage, and somebody may miss them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gaecli.array_types import Array, BoolArray
from gaecli.block_facts import LostRewards
from gaecli.layouts.cells import Locate
from gaecli.layouts.padding import Padding
from gaecli.rollouts import Block, Placement


def lost_rewards(
    rewards: Array,
    used: BoolArray | None,
    padding: Padding | None,
    locate: Locate,
    placement: Placement | None = None,
) -> LostRewards:
    """Of the cells of a block, `used` and `padding` in the order of `rewards`, which `locate` knows too.

    `placement`: where those stand in the file, if in another order.
    """
    if used is None and padding is None:
        return LostRewards()
    has_reward = (rewards != 0) & np.isfinite(rewards)
    masked = last = np.zeros(0, np.bool_)
    num_last = num_starts = starts = 0
    if padding is not None:
        last = has_reward & padding.rows
        num_last = int(np.count_nonzero(padding.rows))
        if padding.starts is not None:
            begins = padding.starts & ~padding.rows
            num_starts, starts = int(np.count_nonzero(begins)), int(np.count_nonzero(begins & has_reward))
    if used is not None:
        masked = has_reward & ~used if padding is None else has_reward & ~used & ~padding.rows
    return LostRewards(
        masked=int(np.count_nonzero(masked)),
        first_masked=_first(masked, locate, placement),
        num_last=num_last,
        last=int(np.count_nonzero(last)),
        first_last=_first(last, locate, placement),
        num_starts=num_starts,
        starts=starts,
    )


def _first(where: BoolArray, locate: Locate, placement: Placement | None) -> str | None:
    if not where.any():
        return None
    if placement is None:
        return locate(int(np.argmax(where)))
    steps = np.flatnonzero(where)
    return locate(int(steps[np.argmin(placement.rows_of_steps(steps))]))


def with_moved_rewards(block: Block, mask: BoolArray, used: BoolArray) -> Block:
    """Rewards on cells that are not `used` go to the last kept step of the trajectory before them, or to its first.

    Of a trajectory without a kept step nothing is left that they could go to.
    """
    lost = np.flatnonzero((block.rewards != 0) & np.isfinite(block.rewards) & ~used)
    kept = np.flatnonzero(mask)
    if not len(lost) or not len(kept):
        return block
    trajectory = np.concatenate(([0], np.cumsum(block.cuts)[:-1]))
    before = np.searchsorted(kept, lost) - 1
    targets = kept[np.maximum(before, 0)]
    is_own = (before >= 0) & (trajectory[targets] == trajectory[lost])
    after = kept[np.minimum(before + 1, len(kept) - 1)]
    targets = np.where(is_own, targets, after)
    moves = trajectory[targets] == trajectory[lost]
    rewards = block.rewards.astype(np.float64)
    np.add.at(rewards, targets[moves], block.rewards[lost[moves]])
    rewards[lost[moves]] = 0.0
    left = replace(block.facts.lost, masked=int(np.count_nonzero(~moves)))
    return replace(block, rewards=rewards, facts=replace(block.facts, lost=left))
