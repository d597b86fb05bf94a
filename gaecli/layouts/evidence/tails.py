"""Rows behind the last step that was recorded: of buffers saved before they were full, and of padding.

Reward and value are one number there (0, -999), and the flags are all alike. Rows padded on the left have 0 before
their first step. Other padding repeats V of the last step over and over, with one reward. A critic hardly says the
same of two states to the last bit, unless it says so of many: how often V stays the same elsewhere is counted.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gaecli.array_types import Array, BoolArray, FloatArray, IndexArray
from gaecli.records import dataclass
from gaecli.rollouts import Block

#: A critic says exactly 0 once, or twice; hardly of so many states one after the other.
FEWEST = 3
#: Of shorter lanes the tail would be nearly all: a critic that is clipped says one number of such a lane.
SHORTEST_LANE = 2 * FEWEST


@dataclass(frozen=True, eq=False)
class ZeroTails:
    """Steps of one number for reward and value at the ends of the lanes of a block, as far as the block knows."""

    #: [lanes] their number, and whether the lane holds nothing else.
    lengths: IndexArray
    is_whole: BoolArray
    #: A flag is set on all of them, rather than on none.
    are_flagged: BoolArray
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
    is_open = bool(block.lanes.count)
    if not is_open and block.stream_ends is not None and len(block.stream_ends) == block.num_steps:
        return None  # each step is alone
    starts, last = _bounds(block) if is_open else _closed(block)
    heads = starts * 0 if is_open else _heads(block, starts, last)
    if not len(last) or not (heads.any() or (block.rewards[last] == block.values[last]).any()):
        return None
    ended = block.terminated | block.truncated
    is_filler = _is_filler(block, starts, last)
    lengths = trailing(is_filler, starts, last)
    flagged = np.concatenate(([0], np.cumsum(ended)))
    in_tail = flagged[last + 1] - flagged[last + 1 - lengths]
    lengths[(in_tail != 0) & (in_tail != lengths)] = 0  # an episode that ends there was recorded
    no, is_long = np.zeros(0, np.bool_), last + 1 - starts >= SHORTEST_LANE
    return ZeroTails(
        lengths if is_open else np.zeros(0, np.int64),
        lengths == last + 1 - starts if is_open else no,
        (in_tail != 0) & (lengths != 0) if is_open else no,
        closed=0
        if is_open
        else sum(int(some[(some >= FEWEST) & is_long].sum()) for some in (heads, lengths)),
        steps=block.num_steps,
        valued=int(np.count_nonzero(block.values)),
        elsewhere=int(np.count_nonzero(is_filler | _is_zero(block) if heads.any() else is_filler))
        - int(heads.sum() + lengths.sum()),
    )


def _bounds(block: Block) -> tuple[IndexArray, IndexArray]:
    """(first, last) steps of lanes that may go on in other blocks."""
    starts, stops = block.lanes_in_time()
    return starts, stops - 1


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


@dataclass(frozen=True, eq=False)
class LaneRuns:
    """[lanes] each: the steps that a lane begins and ends with, alike in V, reward, and whether they end something.

    They may go on in other blocks.
    """

    num_steps: IndexArray
    heads: IndexArray
    tails: IndexArray
    #: [lanes, 3] V, reward and flag of the first and of the last step; V is NaN where the first one does not count.
    firsts: FloatArray
    lasts: FloatArray
    #: The step behind those at the beginning has V of the last of them; the first at the end, V of the one before it.
    head_repeats: BoolArray
    tail_repeats: BoolArray
    #: The first at the end is behind a step that ends a trajectory, and looks like padding.
    is_behind: BoolArray
    #: The same behind the very first step of the lane, if the one before that ends nothing.
    is_behind_first: BoolArray
    #: How many such steps, that do not reach the end, are behind the first one; -1 where it ends nothing.
    behind_first: IndexArray
    #: The step before the last one ends a trajectory; False where there is none in the block.
    ended_before: BoolArray


@dataclass(frozen=True)
class HeldSteps:
    """What a block has of such steps, but for those at the ends of its lanes."""

    #: Behind a step that ends a trajectory, flagged or not, with its V or with 0 for reward and value.
    behind_ends: int = 0
    #: Ends that a step follows, and those with such steps behind them.
    num_ends: int = 0
    num_held: int = 0
    #: At the ends of trajectories of one length, with the V of the step before, and how many have some.
    in_tails: int = 0
    num_tails: int = 0
    #: All steps, and those with the V of the step before; of blocks where nothing looks like it, none of these.
    steps: int = 0
    repeats: int = 0
    may_be_padding: bool = False
    lanes: LaneRuns | None = None
    #: The one length that trajectories have here, whose ends are those of the lanes as well; -1: there are
    #: several lengths, 0: it is one trajectory.
    width: int = 0


def held_steps(block: Block) -> HeldSteps | None:
    """None of steps that are each alone. Where nothing looks like it, as usual, it costs a look at ends alone."""
    if not block.num_steps or not block.has_values:
        return None
    if block.stream_ends is not None and len(block.stream_ends) == block.num_steps and not block.lanes.count:
        return None  # each step is alone
    cuts = np.flatnonzero(block.cuts)
    ends = _followed_ends(block, cuts)
    firsts = _firsts_behind(block, ends)
    starts, last = _padded_ends(block, cuts)
    width = int(last[0] + 1 - starts[0]) if len(last) else -int(bool((cuts[:1] < block.num_steps - 1).any()))
    has_tails = bool(_stand_still(block, starts, last).any())
    lanes, lasts = _bounds(block)
    begin_alike = _are_alike(block, lanes, np.minimum(lanes + 1, lasts))
    end_alike = _are_alike(block, np.maximum(lasts - 1, lanes), lasts)
    is_unknown = len(lanes) > 1 and bool((lanes == lasts).any())  # of lanes of one step here
    is_unknown = is_unknown or bool(len(_firsts_behind(block, _first_ends(block))))
    if not (has_tails or len(firsts) or begin_alike.any() or end_alike.any() or is_unknown):
        return HeldSteps(num_ends=len(ends), steps=block.num_steps, lanes=_lane_runs(block), width=width)
    repeats = np.zeros(block.num_steps, np.bool_)
    repeats[1:] = (block.values[1:] == block.values[:-1]) & block.has_successor()[:-1]
    repeats[lanes] = False
    repeats = _counting(block, repeats)
    ended = block.terminated | block.truncated
    runs = _AlikeSteps.of(block, repeats, ended)
    # What reaches the end of a lane may go on in another block.
    is_open = np.isin(runs.stops(firsts), lasts + 1)
    is_behind, num_held = runs.behind(firsts[~is_open])
    lengths = np.zeros(0, np.int64)
    if has_tails:
        lengths = _held_tails(block, repeats & ~ended & ~is_behind, starts, last)
    return HeldSteps(
        int(np.count_nonzero(is_behind)),
        len(ends),
        num_held,
        int(lengths.sum()),
        int(np.count_nonzero(lengths)),
        block.num_steps,
        int(np.count_nonzero(repeats)),
        True,
        runs.of_lanes(firsts[is_open]),
        width,
    )


def _are_alike(block: Block, some: IndexArray, others: IndexArray) -> BoolArray:
    """Two steps that are not one have one value and one reward."""
    is_same = block.values[some] == block.values[others]
    alike: BoolArray = is_same & (block.rewards[some] == block.rewards[others]) & (some != others)
    return alike


def _lane_runs(block: Block, heads: IndexArray | int = 1, tails: IndexArray | int = 1) -> LaneRuns:
    """Of lanes that begin and end with so many steps that are alike."""
    starts, last = _bounds(block)
    heads, tails = (np.full(len(last), length, np.int64) for length in (heads, tails))
    ended = block.terminated | block.truncated if len(last) else block.terminated
    counts = _counting(block, np.ones(block.num_steps, np.bool_)) if len(last) else ended

    def numbers(steps: IndexArray) -> FloatArray:
        return np.stack([block.values[steps], block.rewards[steps], ended[steps]], axis=-1).astype(np.float64)

    def repeats(steps: IndexArray) -> BoolArray:
        """V of the step before; False for first steps of lanes."""
        before = np.maximum(steps - 1, starts)
        found: BoolArray = (before < steps) & (block.values[steps] == block.values[before]) & counts[steps]
        return found

    firsts = numbers(starts)
    firsts[~counts[starts], 0] = np.nan
    is_longer = heads <= last - starts
    return LaneRuns(
        last + 1 - starts,
        heads,
        tails,
        firsts,
        numbers(last),
        is_longer & repeats(np.minimum(starts + heads, last)),
        repeats(last + 1 - tails),
        np.zeros(len(last), np.bool_),
        np.zeros(len(last), np.bool_),
        np.where(np.isin(starts, _first_ends(block)), 0, -1),
        (last > starts) & ended[np.maximum(last - 1, starts)],
    )


@dataclass(frozen=True, eq=False)
class _AlikeSteps:
    """Steps that are alike, one after the other."""

    block: Block
    repeats: BoolArray
    #: Steps that are not like the one before them, and the number of steps behind all.
    others: IndexArray

    @classmethod
    def of(cls, block: Block, repeats: BoolArray, ended: BoolArray) -> _AlikeSteps:
        is_alike = repeats.copy()
        is_alike[1:] &= (block.rewards[1:] == block.rewards[:-1]) & (ended[1:] == ended[:-1])
        return cls(block, repeats, np.append(np.flatnonzero(~is_alike), block.num_steps))

    def stops(self, firsts: IndexArray) -> IndexArray:
        """Behind the last step that is like each of these."""
        return self.others[np.searchsorted(self.others, firsts, side="right")]

    def behind(self, firsts: IndexArray) -> tuple[BoolArray, int]:
        """([N] steps from these on that are all alike, where they are `FEWEST` at least; of how many that holds)."""
        stops = self.stops(firsts)
        # Episodes of one step that begin alike are followed by a longer one that does, too.
        is_long = (stops - firsts >= FEWEST) & ~np.append(self.repeats, False)[stops]
        borders = np.zeros(self.block.num_steps + 1, np.int64)
        np.add.at(borders, firsts[is_long], 1)
        np.add.at(borders, stops[is_long], -1)
        return np.cumsum(borders)[:-1] > 0, int(np.count_nonzero(is_long))

    def of_lanes(self, firsts: IndexArray) -> LaneRuns:
        """`firsts` are behind ends, and all steps behind them in the block are like them."""
        starts, last = _bounds(self.block)
        begins = self.others[np.searchsorted(self.others, last, side="right") - 1]
        begins[np.searchsorted(last, firsts)] = firsts
        found = _lane_runs(self.block, self.stops(starts) - starts, last + 1 - begins)
        # Whether the first steps are ends of which a flag before them says nothing is known with the block before.
        behind = _firsts_behind(self.block, _first_ends(self.block))
        lanes = np.searchsorted(starts, behind - 1)
        stops = self.stops(behind)
        is_open = stops == last[lanes] + 1
        num_behind, is_behind_first = found.behind_first.copy(), found.is_behind_first.copy()
        is_behind_first[lanes[is_open]] = True
        tails = found.tails.copy()
        tails[lanes[is_open]] = (stops - behind)[is_open]
        is_long = ~is_open & (stops - behind >= FEWEST) & ~np.append(self.repeats, False)[stops]
        num_behind[lanes[is_long]] = (stops - behind)[is_long]
        is_behind = np.isin(begins, firsts)
        return replace(
            found,
            tails=tails,
            is_behind=is_behind,
            is_behind_first=is_behind_first,
            behind_first=num_behind,
        )


def _followed_ends(block: Block, cuts: IndexArray) -> IndexArray:
    """Steps that a flag ends between one that none does and another step: others may be episodes of one step each."""
    is_flagged = block.terminated[cuts] | block.truncated[cuts]
    ends = cuts[is_flagged & (cuts > 0) & (cuts < block.num_steps - 1)]
    is_first = ~(block.terminated[ends - 1] | block.truncated[ends - 1])
    if block.stream_ends is not None:
        borders = np.append(block.stream_ends, block.num_steps)
        # Nor those that a lane begins or ends with: what is beside them is in other blocks, if anything is.
        is_first &= borders[np.searchsorted(borders, ends)] != ends
        is_first &= borders[np.searchsorted(borders, ends - 1)] != ends - 1
    return ends[is_first]


def _first_ends(block: Block) -> IndexArray:
    """First steps of lanes that a flag ends, and that another step follows."""
    starts, last = _bounds(block)
    is_end = block.cuts[starts] & (block.terminated[starts] | block.truncated[starts]) & (last > starts)
    return starts[is_end]


def _firsts_behind(block: Block, ends: IndexArray) -> IndexArray:
    """Steps behind the first of flagged ones in a row that repeat its V, or are the first of zeros."""
    firsts = ends + 1
    is_zero = (block.rewards[firsts] == 0) & (block.values[firsts] == 0)
    found: IndexArray = firsts[is_zero | (block.values[firsts] == block.values[firsts - 1])]
    return found


def _padded_ends(block: Block, cuts: IndexArray) -> tuple[IndexArray, IndexArray]:
    """First and last steps of trajectories that are all of one length, as what is padded; else none."""
    none = cuts[:0]
    lanes, widths = block.lanes, np.diff(cuts[:3])
    if lanes.count == 1 and len(widths) == 2 and widths[0] != widths[1]:
        return none, none  # as usual
    last = np.sort(np.concatenate((cuts, lanes.stops - 1))) if lanes.count else cuts
    last = last[np.append(last[1:] != last[:-1], True)[: len(last)]]  # not unique: it imports numpy.ma
    starts = np.concatenate((last[:1] * 0, last[:-1] + 1))
    widths = last + 1 - starts
    if len(last) > len(block.lanes_in_time()[0]) and (widths == widths[0]).all():
        return starts, last
    return none, none


def _stand_still(block: Block, starts: IndexArray, last: IndexArray) -> BoolArray:
    """The last steps of these have one reward and one value."""
    still = last + 1 - starts >= SHORTEST_LANE
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
    widths = last + 1 - starts
    # Of a whole one it says nothing.
    lengths[(lengths < FEWEST) | (lengths >= widths - 1) | (widths < SHORTEST_LANE)] = 0
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
