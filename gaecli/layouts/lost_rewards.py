"""Rewards on rows that are no steps: they enter no advantage, and somebody may miss them."""

from __future__ import annotations

import numpy as np

from gaecli.layouts.cells import Locate
from gaecli.layouts.padding import Padding
from gaecli.rollouts import Array, BoolArray, LostRewards


def lost_rewards(
    rewards: Array, used: BoolArray | None, padding: Padding | None, locate: Locate
) -> LostRewards:
    """Of the cells of a block, `used` and `padding` in the order of `rewards`, which `locate` knows too."""
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
        first_masked=_first(masked, locate),
        num_last=num_last,
        last=int(np.count_nonzero(last)),
        first_last=_first(last, locate),
        num_starts=num_starts,
        starts=starts,
    )


def _first(where: BoolArray, locate: Locate) -> str | None:
    return locate(int(np.argmax(where))) if where.any() else None
