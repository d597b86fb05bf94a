"""The lanes of all blocks side by side: an array with an entry for each, in the order of the blocks.

What is to be known of a hundred thousand blocks is found out of all at once, and not one by one. The one thing that
goes from lane to lane is what flows into them, from the last to the first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from gaecli.array_types import Array, BoolArray, FloatArray, IndexArray, Names
from gaecli.choices import Bootstrap, OpenEnds
from gaecli.layouts.keys import numbers_of
from gaecli.pipeline.blocks import BlockSummary
from gaecli.records import dataclass
from gaecli.rollouts import Lanes

#: With so many lanes to a block that go on, block by block in arrays is faster than lane by lane.
_WIDE = 8


@dataclass(frozen=True, eq=False)
class Entering:
    """What enters every lane; of these, see `gaecli.pipeline.combine.Carry`."""

    ends: BoolArray
    ends_terminated: BoolArray
    next_values: FloatArray
    values: FloatArray
    estimates: FloatArray
    inflow: FloatArray
    #: [lanes] the lane in which the trajectory of the last step goes on; -1: it does not.
    successors: IndexArray
    #: It ends there without a value that it should have.
    lacks: BoolArray
    #: It ends by a flag, although the next block goes on with the same id.
    conflicts: BoolArray


class _Joints(NamedTuple):
    """[lanes] each: how the trajectory of the last step ends, if it is open, where a later block has the lane.

    In none of the first three it ends with the lane, or goes by a flag of its own.
    """

    before_padding: BoolArray
    before_start: BoolArray
    goes_on: BoolArray
    #: What follows is behind a terminal state, or a gap.
    is_terminal: BoolArray
    #: Of `Entering`.
    conflicts: BoolArray


class JoinedLanes:
    def __init__(self, summaries: Sequence[BlockSummary]) -> None:
        self._lanes = [summary.lanes for summary in summaries]
        self._borders = [summary.borders for summary in summaries]
        self._counts = [lanes.count for lanes in self._lanes]
        self.offsets = np.cumsum([0, *self._counts]).astype(np.int64)
        self.count = int(self.offsets[-1])

    def of_lanes(self, name: str) -> Array:
        return _joined(getattr(one, name) for one in self._lanes)

    def of_borders(self, name: str) -> Array:
        return _joined(getattr(one, name) for one in self._borders)

    def _or_nan(self, given: Iterable[Array | None]) -> FloatArray:
        """NaN throughout for blocks that say nothing."""
        found = list(given)
        if all(array is None for array in found):
            return np.full(self.count, np.nan)
        nothing = np.full(max(self._counts), np.nan)
        pairs = zip(found, self._counts, strict=True)
        return _joined(nothing[:count] if array is None else array for array, count in pairs)

    def _or_no(self, flags: Iterable[BoolArray | None]) -> BoolArray:
        """False throughout for blocks that say nothing."""
        pairs = zip(flags, self._counts, strict=True)
        return _joined(np.zeros(count, np.bool_) if one is None else one for one, count in pairs)

    def _per_block(self, is_so: Callable[[Any], bool]) -> BoolArray:
        return np.repeat(np.array([is_so(one) for one in self._borders], np.bool_), self._counts)

    def followers(self) -> IndexArray:
        """[lanes] the first lane with the same key in the next block that has one; -1 where none has."""
        return followers_of([lanes.keys for lanes in self._lanes])

    def _identities(self) -> tuple[IndexArray, IndexArray]:
        """The numbers of the first and of the last ids; 0 where there is none."""
        names = [ids for one in self._lanes for ids in (one.first_ids, one.last_ids)]
        numbers = numbers_of([[None], *names])[1:]
        is_first = np.repeat(np.arange(len(names)) % 2 == 0, np.repeat(self._counts, 2))
        return numbers[is_first], numbers[~is_first]

    def inflow(self, bootstrap: Bootstrap, open_ends: OpenEnds) -> Entering:
        following = self.followers()
        last_cut, is_open = self.of_borders("last_cut"), self.of_lanes("open_ends")
        joints = self._joints(following, last_cut, is_open & (following >= 0))
        before_padding, before_start, goes_on = joints.before_padding, joints.before_start, joints.goes_on
        is_terminal = joints.is_terminal
        with_lane = is_open & ~before_padding & ~before_start & ~goes_on

        given = self._or_nan(one.end_values for one in self._borders)
        given = np.where(np.isnan(given), self._or_nan(one.last_bootstraps for one in self._lanes), given)
        own = self._or_nan(one.last_next_values for one in self._lanes)
        has_own = ~np.isnan(own)
        given[has_own] = own[has_own]
        first_values = np.where(following >= 0, self.of_borders("first_values")[following], 0.0)
        next_values = np.where(goes_on & has_own, own, np.nan)
        values = np.where(goes_on, self._mixed(first_values, own, following), 0.0)
        given[before_padding] = first_values[before_padding]
        wants = with_lane | (before_padding & ~is_terminal)
        wants &= self._wants_values()
        if open_ends == "terminal":
            wants &= last_cut  # by a truncation; what merely stops has nothing beyond it
        is_given = wants & ~np.isnan(given)
        next_values[is_given] = given[is_given]
        values[is_given] = given[is_given]
        lacks = wants & ~is_given
        if bootstrap == "current":
            values[lacks] = self.of_borders("last_values")[lacks]
        successors = np.where(goes_on, following, -1)
        return Entering(
            ends=is_open & ~last_cut & ~goes_on,
            ends_terminated=before_start | (before_padding & is_terminal),
            next_values=next_values,
            values=values,
            estimates=(estimates := np.zeros(self.count)),
            inflow=self._flow(values, estimates, successors),
            successors=successors,
            lacks=lacks,
            conflicts=joints.conflicts,
        )

    def _mixed(self, first_values: FloatArray, own: FloatArray, following: IndexArray) -> FloatArray:
        """[lanes] V beyond the last step where its trajectory goes on: of its own row, the next step, or both."""
        own = np.where(np.isnan(own), self._or_nan(one.end_values for one in self._borders), own)
        usual = np.where(self._per_block(lambda one: one.end_values is None), 1.0, 0.0)
        if all(one.own_shares is None for one in self._borders):
            shares = usual
        else:
            shares = self._or_nan(one.own_shares for one in self._borders)
            shares = np.where(np.isnan(shares), usual, np.where(self._idle(following), 1.0, shares))
        mixed: FloatArray = np.where(shares == 1.0, own, first_values + shares * (own - first_values))
        return np.where(np.isnan(own) | (shares == 0.0), first_values, mixed)

    def _idle(self, following: IndexArray) -> BoolArray:
        """[lanes] what follows is no step."""
        found: BoolArray = (following >= 0) & self._or_no(one.first_idle for one in self._borders)[following]
        return found

    def _joints(self, following: IndexArray, last_cut: BoolArray, has: BoolArray) -> _Joints:
        """`has`: what is known of a lane that a later block has, and that is open."""
        if not has.any():  # as of each of ten thousand streams of a block
            return _Joints(*[np.zeros(self.count, np.bool_)] * 5)
        first_ids, last_ids = self._identities()
        paddings = np.where(has, self.of_lanes("first_padding")[following], -1)
        starts = has & self.of_lanes("first_is_start")[following]
        is_same = has & (first_ids[following] == last_ids)
        before_padding = is_same & ((paddings == 0) | (paddings == 1) | ((paddings == 2) & ~last_cut))
        before_start = starts & ~last_cut & ~before_padding
        return _Joints(
            before_padding,
            before_start,
            goes_on=is_same & ~last_cut & ~before_padding & ~before_start,
            is_terminal=paddings > 0,
            conflicts=is_same & (last_ids != 0) & (paddings < 0) & (starts | last_cut) & ~self._left_out(),
        )

    def _left_out(self) -> BoolArray:
        return self._or_no(one.last_left_out for one in self._lanes)

    def _wants_values(self) -> BoolArray:
        if all(one.asks_values is None for one in self._borders):  # as of each of them, at once
            wants: BoolArray = self.of_borders("end_weights") != 0
            return wants
        return _joined(one.wants_values for one in self._borders)

    def _flow(self, values: FloatArray, estimates: FloatArray, successors: IndexArray) -> FloatArray:
        """z of every lane; fills the estimates of what follows those that go on."""
        weights = np.where(successors >= 0, self.of_borders("value_weights"), self.of_borders("end_weights"))
        base: FloatArray = weights * values
        gates = self._or_nan(one.gates for one in self._borders)
        is_gated = ~np.isnan(gates)
        may_be_gated = self._per_block(lambda one: one.gates is not None)
        base = np.where(may_be_gated, base + np.where(is_gated, gates, 0.0), base)
        is_shut = is_gated & (base < 0)
        traces, betas, gains = map(self.of_borders, ("trace_weights", "offsets", "gains"))
        inflow: FloatArray = np.where(is_shut, 0.0, base + traces * estimates)
        going = np.flatnonzero(successors >= 0)
        if len(going) > _WIDE * len(self._counts):
            bounds = np.searchsorted(going, self.offsets)
            for block in range(len(self._counts) - 1, -1, -1):
                some = going[bounds[block] : bounds[block + 1]]
                after = successors[some]
                estimates[some] = betas[after] + gains[after] * inflow[after]
                inflow[some] = np.where(is_shut[some], 0.0, base[some] + traces[some] * estimates[some])
            return inflow
        # The same operations on the same numbers: a call of NumPy for a few lanes takes longer than they do.
        flows, shut, starts = inflow.tolist(), is_shut.tolist(), base.tolist()
        slopes, beta, gain = traces.tolist(), betas.tolist(), gains.tolist()
        found: list[float] = []
        for lane, after in zip(going[::-1].tolist(), successors[going[::-1]].tolist(), strict=True):
            estimate = beta[after] + gain[after] * flows[after]
            found.append(estimate)
            if not shut[lane]:
                flows[lane] = starts[lane] + slopes[lane] * estimate
        estimates[going[::-1]] = found
        return np.array(flows)


def followers_of(keys: Sequence[Names]) -> IndexArray:
    """[lanes] the first lane with the same key in the next block that has one; -1 where none has.

    `keys`: those of the lanes of each block.
    """
    counts = [len(of_block) for of_block in keys]
    if len(counts) == 1 or not sum(counts):
        return np.full(sum(counts), -1, np.int64)
    slots = numbers_of(keys)
    blocks = np.repeat(np.arange(len(counts)), counts)
    order = np.argsort(slots, kind="stable")
    slots, blocks = slots[order], blocks[order]
    is_other_slot = np.concatenate(([True], slots[1:] != slots[:-1]))
    # Of two runs of one lane in a block the first is what the block before goes on with.
    begins = is_other_slot | np.concatenate(([True], blocks[1:] != blocks[:-1]))
    firsts = order[begins]
    following = np.append(np.where(is_other_slot[begins][1:], -1, firsts[1:]), -1)
    followers = np.empty(len(order), np.int64)
    followers[order] = following[np.cumsum(begins) - 1]
    return followers


def followers_in_time(summaries: Sequence[BlockSummary]) -> IndexArray:
    """The same of lanes in time (`Block.lanes_in_time`)."""
    return followers_of([summary.lanes.keys[: num_in_time(summary.lanes)] for summary in summaries])


def num_in_time(lanes: Lanes) -> int:
    """How many lanes in time a block has: the trajectories at both ends of one of them have one key."""
    return 1 if lanes.count > 1 and bool(lanes.keys[0] == lanes.keys[1]) else lanes.count


def chains(successors: IndexArray, is_through: BoolArray) -> tuple[IndexArray, IndexArray]:
    """Numbers of the trajectories that reach over the start, and over the end, of each lane; -1: none does."""
    lanes = np.arange(len(successors))
    going = np.flatnonzero(successors >= 0)
    heads, tails = (np.full(len(lanes), -1, np.int64) for _ in range(2))
    if not len(going):  # as of each of ten thousand streams of a block
        return heads, tails
    before = np.full(len(lanes), -1, np.int64)
    before[successors[going]] = going
    goes_through = is_through & (before >= 0)
    begins = going[~goes_through[going]]
    numbers = np.full(len(lanes), -1, np.int64)
    numbers[begins] = np.arange(len(begins))
    # The lane in which each trajectory begins: twice as far back in each round.
    origins = np.where(goes_through, before, lanes)
    while not np.array_equal(further := origins[origins], origins):
        origins = further
    reaches = goes_through.copy()
    reaches[going] = True
    tails[reaches] = numbers[origins[reaches]]
    heads[before >= 0] = tails[before[before >= 0]]
    return heads, tails


def _joined(parts: Iterable[Array]) -> Array:
    found = list(parts)
    return np.concatenate(found) if found else np.zeros(0)
