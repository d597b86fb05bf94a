"""Steps as they follow one another in time, whatever trajectory they belong to: for rules that reach beyond one.

A lane of time goes on from one trajectory to the next, so that the last row of a block says what it does only
together with the first row of a later one: `Block.next_rows`.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import compress

import numpy as np

from gaecli.array_types import Array, BoolArray, Names
from gaecli.rollouts import Block, Lanes, NextRows


def in_time(block: Block) -> Block:
    """The block with the lanes of time; all of them may go on."""
    lanes = block.lanes
    if not lanes.count:
        return block
    has = block.has_successor()
    begins = np.append(True, ~has[:-1])[lanes.starts]
    ends = ~has[lanes.stops - 1]
    count = int(np.count_nonzero(ends))
    return replace(
        block,
        lanes=Lanes(
            starts=lanes.starts[begins],
            stops=lanes.stops[ends],
            keys=_chosen(lanes.keys, ends),
            first_ids=[None] * count,
            last_ids=[None] * count,
            open_ends=lanes.open_ends[ends],
            first_is_start=np.zeros(count, np.bool_),
            first_padding=np.full(count, -1, np.int8),
        ),
    )


def _chosen(names: Names, where: BoolArray) -> Names:
    return names[where] if isinstance(names, np.ndarray) else list(compress(names, where))


def follows(block: Block) -> BoolArray:
    """[N] there is a next row in time, here or in a later block."""
    has = block.has_successor()
    if block.next_rows is not None:
        has[block.lanes.stops - 1] |= block.next_rows.exist
    return has


def of_next_row(block: Block, name: str, numbers: Array | None = None) -> Array:
    """[N] what the next row in time has; 0 where there is none. `numbers`: [N], of a name that blocks do not have."""
    numbers = getattr(block, name) if numbers is None else numbers
    found = np.append(numbers[1:], numbers.dtype.type(0))
    if block.next_rows is None:
        return found
    there: Array = getattr(block.next_rows, name)
    if (there.astype(found.dtype) != there).any():  # another file may hold them in a wider type
        found = found.astype(np.float64)
    found[block.lanes.stops - 1] = there
    return found


def idle_rows(block: Block) -> BoolArray:
    """[N] the last row of its trajectory, behind which no row holds the last state: it holds that itself.

    That is so where a row has the reward that came with its observation (`--reward-at arrival`).
    """
    steps = _steps(block)
    before_padding = follows(block) & ~of_next_row(block, "is_step", steps)
    idle: BoolArray = block.cuts & steps & ~before_padding
    return idle


def _steps(block: Block) -> BoolArray:
    return np.ones(block.num_steps, np.bool_) if block.is_step is None else block.is_step


def first_rows(block: Block) -> NextRows:
    """Of each lane of time, as the rows before them see it. `block`: with these lanes."""
    first = block.lanes.starts
    return NextRows(
        exist=np.ones(len(first), np.bool_),
        rewards=block.rewards[first].astype(np.float64),
        values=block.values[first].astype(np.float64),
        terminated=block.terminated[first],
        truncated=block.truncated[first],
        cuts=block.cuts[first],
        is_step=_steps(block)[first],
        idle=idle_rows(block)[first],
    )
