"""Rows behind the last step that was recorded: of buffers saved before they were full, and of padding.

Reward and value are one number there (0, -999), and the flags are all alike. Rows padded on the left have 0 before
their first step.
"""

from __future__ import annotations

import numpy as np

from gaecli.array_types import Array, BoolArray, IndexArray
from gaecli.records import dataclass
from gaecli.rollouts import Block

#: A critic says exactly 0 once, or twice; hardly of so many states one after the other.
FEWEST = 3


@dataclass(frozen=True, eq=False)
class ZeroTails:
    """Steps of one number for reward and value at the ends of the lanes of a block, as far as the block knows."""

    #: [lanes] their number, and whether the lane holds nothing else.
    lengths: IndexArray
    is_whole: BoolArray
    #: The same of trajectories that are over in the block: all steps of those that have at least `FEWEST`, at the
    #: beginnings as well where all are equally long.
    closed: int
    steps: int
    #: Steps whose value is not 0.
    valued: int


def zero_tails(block: Block) -> ZeroTails | None:
    """None where no lane ends so, as usual: that costs a look at the last steps alone."""
    lanes = block.lanes
    is_open = bool(lanes.count)
    if not is_open and block.stream_ends is not None and len(block.stream_ends) == block.num_steps:
        return None  # each step is alone
    starts, last = (lanes.starts, lanes.stops - 1) if is_open else _closed(block)
    heads = 0 if is_open else _heads(block, starts, last)
    if not len(last) or not (heads or (block.rewards[last] == block.values[last]).any()):
        return None
    ended = block.terminated | block.truncated
    lengths = _trailing(_is_filler(block, starts, last), starts, last)
    flagged = np.concatenate(([0], np.cumsum(ended)))
    in_tail = flagged[last + 1] - flagged[last + 1 - lengths]
    lengths[(in_tail != 0) & (in_tail != lengths)] = 0  # an episode that ends there was recorded
    return ZeroTails(
        lengths if is_open else np.zeros(0, np.int64),
        lengths == last + 1 - starts if is_open else np.zeros(0, np.bool_),
        closed=0 if is_open else heads + int(lengths[lengths >= FEWEST].sum()),
        steps=block.num_steps,
        valued=int(np.count_nonzero(block.values)),
    )


def _closed(block: Block) -> tuple[IndexArray, IndexArray]:
    """(first, last) steps of rows of lists, or of a batch."""
    last = np.flatnonzero(block.cuts) if block.stream_ends is None else block.stream_ends
    last = np.asarray(last, np.int64)
    return np.concatenate((np.zeros(1, np.int64), last + 1))[: len(last)], last


def _heads(block: Block, starts: IndexArray, last: IndexArray) -> int:
    """Steps of reward and value 0 before the first other one, of trajectories of one length."""
    widths = last + 1 - starts
    if len(widths) < 2 or (widths != widths[0]).any():
        return 0
    if not ((block.rewards[starts] == 0) & (block.values[starts] == 0)).any():
        return 0
    zero = _counting(block, (block.rewards == 0) & (block.values == 0))
    # Of a trajectory that holds nothing else it is 0: that is no head.
    lengths = np.argmin(zero[: int(widths.sum())].reshape(len(widths), -1), axis=1)
    return int(lengths[lengths >= FEWEST].sum())


def _is_filler(block: Block, starts: IndexArray, last: IndexArray) -> BoolArray:
    """Reward and value are the number that both of them are at the last step of the trajectory."""
    levels = np.zeros(block.num_steps)
    if starts[0] == 0 and (starts[1:] == last[:-1] + 1).all():  # one after the other
        levels[: int(last[-1]) + 1] = np.repeat(block.rewards[last], last + 1 - starts)
    return _counting(block, (block.rewards == levels) & (block.values == levels))


def _counting(block: Block, where: BoolArray) -> BoolArray:
    """Of the steps that are there, and that nothing leaves out."""
    for left_out in (block.dropped, block.masked):
        if left_out is not None:
            where = where & ~left_out
    return where if block.is_step is None else where & block.is_step


def _trailing(where: BoolArray, starts: IndexArray, last: IndexArray) -> IndexArray:
    """How many steps up to each of `last`, and not before its start, are marked without a gap."""
    unmarked: Array = np.maximum.accumulate(np.where(where, -1, np.arange(len(where))))
    lengths: IndexArray = last - np.maximum(unmarked[last], starts - 1)
    return lengths


def is_tail(bad: BoolArray, stops: IndexArray | None) -> bool:
    """Whether cells that cannot be used are all those behind some step, in each lane that has any of them."""
    if np.count_nonzero(bad) < FEWEST or bad.all():
        return False
    recovers = bad[:-1] & ~bad[1:]
    if stops is not None:
        inner = stops[(stops > 0) & (stops < len(bad))]
        recovers[inner - 1] = False
        return not recovers.any() and bool(bad[stops[stops > 0] - 1].any())
    return not recovers.any()
