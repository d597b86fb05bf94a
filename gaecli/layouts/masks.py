"""Masks of token rollouts: which steps take part, and what is written where none does."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from gaecli.rollouts import Array, Block, BoolArray, Placement
from gaecli.settings import Settings


@dataclass(frozen=True)
class MaskRule:
    """`skip`: steps that are masked out do not exist. `zero`: their reward and value are 0, time goes on."""

    keeps_gaps: bool

    @classmethod
    def of(cls, settings: Settings) -> MaskRule:
        return cls(keeps_gaps=settings.mask_mode == "zero")


def masked_steps(block: Block, mask: BoolArray, rule: MaskRule) -> Block:
    """The block under a mask of its steps."""
    if rule.keeps_gaps:
        return _zeroed(block, mask)
    return _compressed(block, mask)


def _zeroed(block: Block, mask: BoolArray) -> Block:
    return replace(
        block,
        rewards=np.where(mask, block.rewards, block.rewards.dtype.type(0)),
        values=np.where(mask, block.values, block.values.dtype.type(0)),
        masked=~mask,
    )


def _compressed(block: Block, mask: BoolArray) -> Block:
    """Only the steps with mask 1; an end that is masked out moves to the kept step before it."""
    kept = np.flatnonzero(mask)
    trajectory = np.concatenate(([0], np.cumsum(block.cuts[:-1])))
    last_kept = np.concatenate((trajectory[kept][1:] != trajectory[kept][:-1], [True]))[: len(kept)]
    ends_terminated = _any_per_trajectory(block.terminated, trajectory)
    ends_truncated = _any_per_trajectory(block.truncated, trajectory)
    next_values = None
    if block.next_values is not None:
        next_values = block.next_values[kept].astype(np.float64)
        final = _final_next_value(block, trajectory)[trajectory[kept]]
        next_values = np.where(last_kept, final, np.nan)
    placement = block.placement
    rows = np.arange(block.num_steps) if placement.order is None else placement.order
    return replace(
        block,
        rewards=block.rewards[kept],
        values=block.values[kept],
        terminated=last_kept & ends_terminated[trajectory[kept]],
        truncated=last_kept & ends_truncated[trajectory[kept]],
        cuts=last_kept,
        next_values=next_values,
        dropped=None if block.dropped is None else block.dropped[kept],
        groups=None if block.groups is None else block.groups[kept],
        placement=Placement(placement.num_rows, order=rows[kept]),
    )


def _any_per_trajectory(flags: BoolArray, trajectory: Array) -> BoolArray:
    found = np.zeros(int(trajectory[-1]) + 1 if len(trajectory) else 0, np.bool_)
    found[trajectory[flags]] = True
    return found


def _final_next_value(block: Block, trajectory: Array) -> Array:
    """V beyond the last step of each trajectory, masked out or not."""
    assert block.next_values is not None
    final = np.full(int(trajectory[-1]) + 1, np.nan)
    last = np.flatnonzero(block.cuts)
    final[trajectory[last]] = block.next_values[last]
    return final
