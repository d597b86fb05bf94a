"""Rows behind the last step that was recorded: of buffers saved before they were full, and of padding.

Reward and value are one number there (0, -999), and the flags are all alike. Rows padded on the left have 0 before
their first step. Other padding repeats V of the last step over and over, with one reward. A critic hardly says the
same of two states to the last bit, unless it says so of many: how often V stays the same elsewhere is counted.
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
    #: Such steps elsewhere: a critic that is rounded or clipped says the number of a reward now and then.
    elsewhere: int


def zero_tails(block: Block) -> ZeroTails | None:
    """None where no lane ends so, as usual: that costs a look at the last steps alone."""
    lanes = block.lanes
    is_open = bool(lanes.count)
    if not is_open and block.stream_ends is not None and len(block.stream_ends) == block.num_steps:
        return None  # each step is alone
    starts, last = (lanes.starts, lanes.stops - 1) if is_open else _closed(block)
    heads = starts * 0 if is_open else _heads(block, starts, last)
    if not len(last) or not (heads.any() or (block.rewards[last] == block.values[last]).any()):
        return None
    ended = block.terminated | block.truncated
    is_filler = _is_filler(block, starts, last)
    lengths = trailing(is_filler, starts, last)
    flagged = np.concatenate(([0], np.cumsum(ended)))
    in_tail = flagged[last + 1] - flagged[last + 1 - lengths]
    lengths[(in_tail != 0) & (in_tail != lengths)] = 0  # an episode that ends there was recorded
    return ZeroTails(
        lengths if is_open else np.zeros(0, np.int64),
        lengths == last + 1 - starts if is_open else np.zeros(0, np.bool_),
        closed=0 if is_open else sum(int(some[some >= FEWEST].sum()) for some in (heads, lengths)),
        steps=block.num_steps,
        valued=int(np.count_nonzero(block.values)),
        elsewhere=int(np.count_nonzero(is_filler | _is_zero(block) if heads.any() else is_filler))
        - int(heads.sum() + lengths.sum()),
    )


def _closed(block: Block) -> tuple[IndexArray, IndexArray]:
    """(first, last) steps of rows of lists, or of a batch."""
    last = np.flatnonzero(block.cuts) if block.stream_ends is None else block.stream_ends
    last = np.asarray(last, np.int64)
    if block.num_steps and last[-1:].tolist() != [block.num_steps - 1]:  # where it ends with the block
        last = np.append(last, block.num_steps - 1)
    return np.concatenate((np.zeros(1, np.int64), last + 1))[: len(last)], last


def _heads(block: Block, starts: IndexArray, last: IndexArray) -> IndexArray:
    """How many steps of reward and value 0 are before the first other one, of trajectories of one length."""
    widths = last + 1 - starts
    if len(widths) < 2 or (widths != widths[0]).any():
        return starts * 0
    if not ((block.rewards[starts] == 0) & (block.values[starts] == 0)).any():
        return starts * 0
    # Of a trajectory that holds nothing else it is 0: that is no head.
    lengths: IndexArray = np.argmin(_is_zero(block)[: int(widths.sum())].reshape(len(widths), -1), axis=1)
    return lengths


def _is_zero(block: Block) -> BoolArray:
    return _counting(block, (block.rewards == 0) & (block.values == 0))


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


def trailing(where: BoolArray, starts: IndexArray, last: IndexArray) -> IndexArray:
    """How many steps up to each of `last`, and not before its start, are marked without a gap."""
    unmarked: Array = np.maximum.accumulate(np.where(where, -1, np.arange(len(where))))
    lengths: IndexArray = last - np.maximum(unmarked[last], starts - 1)
    return lengths


@dataclass(frozen=True)
class HeldSteps:
    """What a block has of such steps."""

    #: Behind a step that ends a trajectory, flagged or not, with its V or with 0 for reward and value.
    behind_ends: int
    #: Ends that a step follows, and those with such steps behind them.
    num_ends: int
    num_held: int
    #: At the ends of lanes and of rows of one length, with the V of the step before, and how many ends have some.
    in_tails: int
    num_tails: int
    #: Further steps, and those of them with the V of the step before.
    steps: int
    repeats: int


def held_steps(block: Block) -> HeldSteps | None:
    """None where nothing looks like it, as usual: that costs a look at ends, and at the first steps behind them."""
    if block.num_steps < 2 or not block.has_values:
        return None
    if block.stream_ends is not None and len(block.stream_ends) == block.num_steps:
        return None  # each step is alone
    cuts = np.flatnonzero(block.cuts)
    ends = _followed_ends(block, cuts)
    firsts = _firsts_behind(block, ends)
    starts, last = _padded_ends(block, cuts)
    has_tails = len(last) > 1 and bool(_stand_still(block, starts, last).any())
    if not has_tails and not len(firsts):
        return None
    repeats = np.zeros(block.num_steps, np.bool_)
    repeats[1:] = (block.values[1:] == block.values[:-1]) & block.has_successor()[:-1]
    repeats[block.lanes.starts] = False
    repeats = _counting(block, repeats)
    ended = block.terminated | block.truncated
    is_behind, num_held = _runs(block, repeats, ended, firsts)
    lengths = np.zeros(0, np.int64)
    if has_tails:
        lengths = _held_tails(block, repeats & ~ended & ~is_behind, starts, last)
    found = int(np.count_nonzero(is_behind)) + int(lengths.sum())
    return HeldSteps(
        int(np.count_nonzero(is_behind)),
        len(ends),
        num_held,
        int(lengths.sum()),
        int(np.count_nonzero(lengths)),
        block.num_steps - found,
        int(np.count_nonzero(repeats & ~is_behind)) - int(lengths.sum()),
    )


def _followed_ends(block: Block, cuts: IndexArray) -> IndexArray:
    """Steps that a flag ends between one that none does and another step: others may be episodes of one step each."""
    is_flagged = block.terminated[cuts] | block.truncated[cuts]
    ends = cuts[is_flagged & (cuts > 0) & (cuts < block.num_steps - 1)]
    is_first = ~(block.terminated[ends - 1] | block.truncated[ends - 1])
    if block.stream_ends is not None:
        borders = np.append(block.stream_ends, block.num_steps)
        is_first &= borders[np.searchsorted(borders, ends)] != ends
    return ends[is_first]


def _firsts_behind(block: Block, ends: IndexArray) -> IndexArray:
    """Steps behind the first of flagged ones in a row that repeat its V, or are the first of zeros."""
    firsts = ends + 1
    is_zero = (block.rewards[firsts] == 0) & (block.values[firsts] == 0)
    found: IndexArray = firsts[is_zero | (block.values[firsts] == block.values[firsts - 1])]
    return found


def _runs(block: Block, repeats: BoolArray, ended: BoolArray, firsts: IndexArray) -> tuple[BoolArray, int]:
    """([N] steps from these on that are all alike, where they are `FEWEST` at least; of how many that holds)."""
    is_alike = repeats.copy()
    is_alike[1:] &= (block.rewards[1:] == block.rewards[:-1]) & (ended[1:] == ended[:-1])
    others = np.append(np.flatnonzero(~is_alike), block.num_steps)
    stops = others[np.searchsorted(others, firsts, side="right")]
    # Episodes of one step that begin alike are followed by a longer one that does, too.
    is_long = (stops - firsts >= FEWEST) & ~np.append(repeats, False)[stops]
    borders = np.zeros(block.num_steps + 1, np.int64)
    np.add.at(borders, firsts[is_long], 1)
    np.add.at(borders, stops[is_long], -1)
    return np.cumsum(borders)[:-1] > 0, int(np.count_nonzero(is_long))


def _padded_ends(block: Block, cuts: IndexArray) -> tuple[IndexArray, IndexArray]:
    """First and last steps of trajectories that are all of one length, as what is padded, else of lanes."""
    lanes, widths = block.lanes, np.diff(cuts[:3])
    if lanes.count == 1 and len(widths) == 2 and widths[0] != widths[1]:
        return lanes.starts, lanes.stops - 1  # as usual
    last = np.sort(np.concatenate((cuts, lanes.stops - 1))) if lanes.count else cuts
    last = last[np.append(last[1:] != last[:-1], True)[: len(last)]]  # not unique: it imports numpy.ma
    starts = np.concatenate((last[:1] * 0, last[:-1] + 1))
    widths = last + 1 - starts
    if len(last) > 1 and (widths == widths[0]).all():
        return starts, last
    return lanes.starts, lanes.stops - 1


def _stand_still(block: Block, starts: IndexArray, last: IndexArray) -> BoolArray:
    """The last steps of these have one reward and one value."""
    still = last - starts >= FEWEST
    for numbers in (block.rewards, block.values):
        for before in range(1, FEWEST):
            still = still & (numbers[last] == numbers[np.maximum(last - before, 0)])
    return still


def _held_tails(block: Block, where: BoolArray, starts: IndexArray, last: IndexArray) -> IndexArray:
    """How many steps up to the end of each have the V of the step before, and the last reward."""
    owners = np.searchsorted(last, np.arange(block.num_steps)).clip(max=len(last) - 1)
    where = where & (block.rewards == block.rewards[last][owners])
    where[last] = True
    lengths = trailing(where, starts, last)
    lengths[(lengths < FEWEST) | (lengths >= last - starts)] = 0  # of a whole one it says nothing
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
