"""The score of a trajectory, s = Σ rₜ, at each of its steps: what group baselines compare.

What becomes of it beside the scores of its group is `gaecli.estimators.normalization.NormRule`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gaecli.errors import DataError
from gaecli.estimators.base import Estimates
from gaecli.estimators.whole_stream import WholeStreamGae
from gaecli.kernels.devices import Device
from gaecli.records import dataclass
from gaecli.rollouts import Block, BoolArray, IndexArray
from gaecli.settings import Settings


def make(settings: Settings, device: Device) -> Score:
    return Score(settings, device)


def needs_whole_stream(settings: Settings) -> bool:
    """The first step of a trajectory and its last may stand in two blocks, and both have all of the sum."""
    return True


@dataclass(frozen=True)
class Score(WholeStreamGae):
    """NumPy in float64, whatever the device. Nothing is discounted, and no value counts."""

    def prepare(self, block: Block) -> Block:
        """Ends are ends; what is beyond them is nothing to a sum of rewards."""
        cuts = block.cuts.copy()
        if block.lanes.count:
            cuts[block.lanes.stops - 1] = True
        if block.groups is not None:
            _check_one_group(block, block.groups, cuts, self.settings)
        return replace(block, cuts=cuts, terminated=cuts, next_values=None)

    def estimate(self, block: Block, threads: int = 1) -> Estimates:
        rewards = block.rewards.astype(np.float64)
        if block.is_step is not None:
            rewards = np.where(block.is_step, rewards, 0.0)
        stops = np.flatnonzero(block.cuts) + 1
        if not len(stops):
            return Estimates(np.zeros(0))
        starts = np.concatenate(([0], stops[:-1]))
        scores = np.add.reduceat(rewards, starts)
        return Estimates(np.repeat(scores, stops - starts))


def _check_one_group(block: Block, groups: IndexArray, cuts: BoolArray, settings: Settings) -> None:
    """A trajectory is compared with others as a whole."""
    changes = (groups[1:] != groups[:-1]) & ~cuts[:-1]
    if not changes.any():
        return
    first = int(np.argmax(changes)) + 1
    labels = [block.group_labels[groups[step]] for step in (first - 1, first)]
    raise DataError(
        f"`{settings.grouped_by}` goes from {labels[0]!r} to {labels[1]!r} within one trajectory; "
        f"{int(changes.sum()):,} such places in all",
        hint="a trajectory is of one group; if each row, or each item of a list, is a response of its own, pass "
        "`--layout responses`",
    )
