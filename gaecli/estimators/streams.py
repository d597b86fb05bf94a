"""Several kinds of reward: an estimator for each, over the same steps. What they say is added up.

    A = Σ wᵢ Aᵢ

A stream of intrinsic rewards may never be cut (CleanRL's ppo_rnd): its next state is that of the next row of the
environment, whatever episode that belongs to.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gaecli.estimators.base import ByOwn, Estimator
from gaecli.records import dataclass
from gaecli.rollouts import Block
from gaecli.settings import Settings


@dataclass(frozen=True)
class StreamsEstimator(ByOwn):
    """Of the first stream; the others are in `parts`, behind it, and each has a block of its own."""

    settings: Settings
    parts: tuple[Estimator, ...]

    @property
    def own(self) -> Estimator:
        return self.parts[0]


def others_of(estimator: Estimator) -> tuple[Estimator, ...]:
    """Those of the streams behind the first one."""
    return estimator.parts[1:] if isinstance(estimator, StreamsEstimator) else ()


def never_cut(block: Block) -> Block:
    """All that follows in time belongs to one trajectory, whatever ids say (`unroll_id`).

    Flags were not read, so that what is terminal here ends at a gap of the mask (`--mask-mode cut`).
    """
    lanes = block.lanes
    cuts = ~block.has_successor() | block.terminated
    cuts[lanes.stops - 1] = False
    inside = block.cuts & ~cuts
    inside[lanes.stops - 1] = False
    next_values = block.next_values
    if next_values is not None:
        next_values = np.where(inside, next_values.dtype.type(np.nan), next_values)
    none = np.zeros(lanes.count, np.int64)
    lanes = replace(lanes, first_ids=none, last_ids=none, open_ends=np.ones(lanes.count, np.bool_))
    return replace(block, cuts=cuts, next_values=next_values, lanes=lanes)
