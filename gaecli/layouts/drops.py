"""`--on-nan drop-episode`: one unusable cell leaves its whole trajectory out, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gaecli.rollouts import BoolArray, IndexArray


def spread_to_trajectories(
    bad: Sequence[BoolArray], cuts: BoolArray, lane_stops: IndexArray
) -> BoolArray | None:
    """[N] True on every step of a trajectory that holds a bad cell; None if there is none.

    The end of a lane ends its trajectory as far as this block goes; whether the rest of it, in
    another block, is dropped too is settled when the blocks are combined.
    """
    if not bad or not any(part.any() for part in bad):
        return None
    marked = np.logical_or.reduce(list(bad))
    is_last = cuts.copy()
    is_last[lane_stops - 1] = True
    trajectory = np.concatenate(([0], np.cumsum(is_last[:-1])))
    is_bad = np.zeros(int(trajectory[-1]) + 1, np.bool_)
    is_bad[trajectory[marked]] = True
    dropped: BoolArray = is_bad[trajectory]
    return dropped
