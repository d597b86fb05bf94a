"""What stands in for V(sₜ₊₁) at an end that has none: never silently, always counted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gaecli.array_types import BoolArray
from gaecli.choices import Bootstrap
from gaecli.rollouts import Block


def needs_bootstrap(block: Block) -> BoolArray:
    """[N] ends inside the block at which sₜ₊₁ is not terminal and its value is not given."""
    needs = block.cuts & ~block.terminated
    if block.next_values is not None:
        needs &= np.isnan(block.next_values)
    if block.is_step is not None:
        needs &= block.is_step
    if block.dropped is not None:
        needs &= ~block.dropped
    return needs


def fill_bootstrap(block: Block, policy: Bootstrap, *, is_whole_stream: bool = False) -> Block:
    """V(sₜ₊₁) := V(sₜ) at those ends under `current`; under `zero` they stay without a value, which is 0.

    The last step of an open lane is left alone unless nothing can come after the block: the value may
    stand at the head of the next one.
    """
    if policy != "current":
        return block
    needs = needs_bootstrap(block)
    if not is_whole_stream:
        needs[block.lanes.stops[block.lanes.open_ends] - 1] = False
    if not needs.any():
        return block
    absent = np.full(block.num_steps, np.nan) if block.next_values is None else block.next_values
    filled = needs if block.filled is None else needs | block.filled
    return replace(block, next_values=np.where(needs, block.values, absent), filled=filled)
