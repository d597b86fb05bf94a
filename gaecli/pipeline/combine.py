"""Combine: from the last block to the first, what flows into every lane. Tiny, and in one thread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from gaecli.choices import Bootstrap, OpenEnds
from gaecli.estimators.base import WholePieces
from gaecli.layouts.keys import numbered
from gaecli.pipeline.blocks import BlockSummary, missing_bootstrap
from gaecli.records import dataclass
from gaecli.rollouts import NO_UNIT_LANES, BoolArray, FloatArray, IndexArray, NextRows

if TYPE_CHECKING:
    from gaecli.labels.weights import Following
    from gaecli.pipeline.unit_borders import UnitEntries


@dataclass(frozen=True, eq=False)
class Carry:
    """What a block is told about its surroundings; one entry per lane."""

    #: z of `gaecli.estimators.gae`.
    inflow: FloatArray
    #: V and the estimate of what z is made of; 0 where nothing enters.
    values: FloatArray
    estimates: FloatArray
    #: The trajectory of the last step ends there, although no flag in the block says so.
    ends: BoolArray
    #: It ends terminally: the next step of the lane carries a start flag.
    ends_terminated: BoolArray
    #: V beyond the last step, where the lane itself could not know it; NaN elsewhere.
    next_values: FloatArray
    #: The trajectory at the start (at the end) of the lane is left out.
    head_dropped: BoolArray
    tail_dropped: BoolArray
    #: Number of the trajectory that reaches over the start (the end) of the lane; -1: none does.
    head_chains: IndexArray
    tail_chains: IndexArray
    #: Of these trajectories, sums over all of their steps; NaN elsewhere. [lanes, 0] where nothing is summed.
    head_sums: FloatArray
    tail_sums: FloatArray
    #: Where progress makes weights: that of the steps that follow the lane in its last trajectory.
    following: Following | None = None
    #: Of the same block with the rewards of other streams (`--stream`).
    others: tuple[Carry, ...] = ()
    #: How the units at the start of each lane go on with those before; None where there are none.
    units: UnitEntries | None = None
    #: Of estimators that need trajectories whole (`gaecli.pipeline.trajectories`).
    whole: WholePieces | None = None
    #: Under rules that reach beyond trajectories (`gaecli.pipeline.time_order`): what follows the lanes of time, and
    #: what flows into those.
    next_rows: NextRows | None = None
    in_time: Carry | None = None

    @property
    def as_read(self) -> Carry:
        """Of the lanes, and the trajectories, of the block as the convention reads it."""
        return self.in_time or self


@dataclass(frozen=True, eq=False)
class Combined:
    """What all blocks together say. Lanes are numbered over all blocks: block b has those from `offsets[b]` on."""

    carries: Sequence[Carry]
    offsets: IndexArray
    #: [lanes] the lane of a later block in which the trajectory of the last step goes on; -1: it does not.
    successors: IndexArray
    #: (block, lane) whose last step ends by a flag, although the next block goes on with the same id.
    conflicts: Sequence[tuple[int, int]] = ()

    def block_of(self, lanes: IndexArray) -> IndexArray:
        return np.searchsorted(self.offsets, lanes, side="right").astype(np.int64) - 1


def combine(
    summaries: Sequence[BlockSummary],
    bootstrap: Bootstrap,
    path_of: Sequence[str],
    *,
    open_ends: OpenEnds = "bootstrap",
) -> Combined:
    """The carry into every block, in the order of `summaries`, and those of other streams of rewards with it.

    `open_ends` is the rule of the preset for trajectories that merely stop. `path_of` names the file of each
    stream position, for messages. Raises `DataError` under `bootstrap="error"` for the first end without a value.
    """
    combined = _combined(summaries, bootstrap, path_of, open_ends)
    streams = [
        _combined(of_stream, bootstrap, path_of, open_ends).carries
        for of_stream in zip(*(summary.others for summary in summaries), strict=True)
    ]
    if not streams:
        return combined
    carries = [
        replace(carry, others=others)
        for carry, others in zip(combined.carries, zip(*streams, strict=True), strict=True)
    ]
    return replace(combined, carries=carries)


def _combined(
    summaries: Sequence[BlockSummary], bootstrap: Bootstrap, path_of: Sequence[str], open_ends: OpenEnds
) -> Combined:
    offsets = np.cumsum([0, *(summary.lanes.count for summary in summaries)]).astype(np.int64)
    num_sums = max(
        (summary.sums.heads.shape[1] for summary in summaries if summary.sums is not None), default=0
    )
    everything = empty_carry(int(offsets[-1]), num_sums)
    carries = [_part(everything, first, stop) for first, stop in pairwise(offsets.tolist())]
    successors = np.full(offsets[-1], -1, np.int64)
    slots, (first_ids, last_ids) = _slots(summaries), _identities(summaries)
    heads = _Heads(max((int(part.max()) for part in slots if len(part)), default=-1) + 1)
    missing: list[IndexArray] = []
    conflicts: list[tuple[int, int]] = []
    for index in range(len(summaries) - 1, -1, -1):
        summary, carry = summaries[index], carries[index]
        if not summary.lanes.count:
            continue
        first = int(offsets[index])
        entering = _Entering.of(summary, heads, slots[index], last_ids[index])
        conflicts += [(index, int(lane)) for lane in np.flatnonzero(entering.conflicts)[::-1]]
        missing.append(first + np.flatnonzero(entering.enter(carry, bootstrap, open_ends)))
        goes_on = entering.goes_on
        successors[first : first + summary.lanes.count][goes_on] = heads.lanes[slots[index][goes_on]]
        heads.put(slots[index], summary, carry, first, first_ids[index])
    combined = Combined(carries, offsets, successors, conflicts[::-1])
    _spread_drops(summaries, everything, combined)
    if bootstrap == "error":
        _refuse_missing(summaries, everything, combined, missing, path_of)
    _number_chains(summaries, everything, combined)
    if num_sums:
        _add_up(summaries, everything)
    if any(summary.units is not None for summary in summaries):
        combined = replace(combined, carries=_with_units(summaries, combined))
    if not any(summary.first_progress is not None for summary in summaries):
        return combined
    return replace(combined, carries=_with_following(summaries, combined))


def _with_units(summaries: Sequence[BlockSummary], combined: Combined) -> list[Carry]:
    from gaecli.pipeline.unit_borders import entries

    lanes = [summary.units or NO_UNIT_LANES for summary in summaries]
    found = entries(lanes, _links(combined), _is_through(summaries))
    bounds = pairwise(combined.offsets.tolist())
    return [
        replace(carry, units=found.part(start, stop))
        for carry, (start, stop) in zip(combined.carries, bounds, strict=True)
    ]


def _with_following(summaries: Sequence[BlockSummary], combined: Combined) -> list[Carry]:
    """Backwards: what follows a lane is how the next one begins, and what follows that if it is no longer."""
    from gaecli.labels.weights import Following

    first = [summary.first_progress for summary in summaries]
    begins = np.concatenate([one.progress for one in first if one is not None])
    counts = np.concatenate([one.counts for one in first if one is not None])
    lengths = np.concatenate([summary.lanes.stops - summary.lanes.starts for summary in summaries])
    chunk = begins.shape[1]
    progress, found = np.full_like(begins, np.nan), np.zeros_like(counts)
    for lanes, following in _links(combined, backwards=True):
        for lane, after in zip(lanes.tolist(), following.tolist(), strict=True):
            more = found[after] if counts[after] == lengths[after] else 0
            known = np.concatenate([begins[after, : counts[after]], progress[after, :more]])[:chunk]
            progress[lane, : len(known)], found[lane] = known, len(known)
    bounds = pairwise(combined.offsets.tolist())
    return [
        replace(carry, following=Following(progress[start:stop], found[start:stop]))
        for carry, (start, stop) in zip(combined.carries, bounds, strict=True)
    ]


def _slots(summaries: Sequence[BlockSummary]) -> list[IndexArray]:
    """The number of each lane's key, by block."""
    return numbered([summary.lanes.keys for summary in summaries])


def _identities(summaries: Sequence[BlockSummary]) -> tuple[list[IndexArray], list[IndexArray]]:
    """The numbers of the first and of the last ids, by block; 0 where there is none."""
    names = [ids for summary in summaries for ids in (summary.lanes.first_ids, summary.lanes.last_ids)]
    numbers = numbered([[None], *names])[1:]
    return numbers[::2], numbers[1::2]


class _Heads:
    """The first step of every lane, as seen from the lane before it in time; arrays by slot of the lane's key."""

    def __init__(self, num_slots: int) -> None:
        #: Number over all blocks; -1 while there is none.
        self.lanes = np.full(num_slots, -1, np.int64)
        self.values = np.zeros(num_slots)
        self.advantages = np.zeros(num_slots)
        #: Number of the id of the trajectory; 0 where there is none.
        self.identities = np.zeros(num_slots, np.int64)
        self.are_starts = np.zeros(num_slots, np.bool_)
        #: 1 for padding behind a terminal state, 0 for other padding, -1 for a step.
        self.paddings = np.full(num_slots, -1, np.int8)

    def put(
        self, slots: IndexArray, summary: BlockSummary, carry: Carry, first: int, first_ids: IndexArray
    ) -> None:
        """Of two runs of one lane the first is what the block before goes on with: it is put in last."""
        borders, lanes = summary.borders, summary.lanes
        backwards = slots[::-1]
        for array, numbers in (
            (self.lanes, first + np.arange(lanes.count)),
            (self.values, borders.first_values),
            (self.advantages, borders.offsets + borders.gains * carry.inflow),
            (self.identities, first_ids),
            (self.are_starts, lanes.first_is_start),
            (self.paddings, lanes.first_padding),
        ):
            array[backwards] = numbers[::-1]


@dataclass(frozen=True, eq=False)
class _Entering:
    """The lanes of a block beside the heads that follow them; arrays with one entry per lane."""

    summary: BlockSummary
    is_open: BoolArray
    follower_values: FloatArray
    follower_advantages: FloatArray
    #: How the trajectory of the last step ends, if it is open; exactly one of the four.
    ends_before_padding: BoolArray
    ends_before_start: BoolArray
    goes_on: BoolArray
    ends_with_lane: BoolArray
    #: The padding that follows is behind a terminal state.
    is_terminal: BoolArray
    conflicts: BoolArray

    @classmethod
    def of(cls, summary: BlockSummary, heads: _Heads, slots: IndexArray, identities: IndexArray) -> _Entering:
        lanes, is_cut = summary.lanes, summary.borders.last_cut
        is_open = lanes.open_ends
        has = is_open & (heads.lanes[slots] >= 0)
        is_same = has & (heads.identities[slots] == identities)
        paddings, starts = heads.paddings[slots], has & heads.are_starts[slots]
        before_padding = is_same & (paddings >= 0)
        before_start = starts & ~is_cut & ~before_padding
        goes_on = is_same & ~is_cut & ~before_padding & ~before_start
        return cls(
            summary,
            is_open,
            heads.values[slots],
            heads.advantages[slots],
            before_padding,
            before_start,
            goes_on,
            is_open & ~before_padding & ~before_start & ~goes_on,
            paddings == 1,
            is_same & (identities != 0) & (paddings < 0) & (starts | is_cut),
        )

    def enter(self, carry: Carry, bootstrap: Bootstrap, open_ends: OpenEnds) -> BoolArray:
        """Fill the carry; where the end of a trajectory lacks a value."""
        borders, lanes = self.summary.borders, self.summary.lanes
        carry.ends[:] = self.is_open & ~borders.last_cut & ~self.goes_on
        carry.ends_terminated[:] = self.ends_before_start | (self.ends_before_padding & self.is_terminal)
        given, own = np.full(lanes.count, np.nan), lanes.last_next_values
        for numbers in (borders.end_values, lanes.last_bootstraps):
            if numbers is not None:
                given = np.where(np.isnan(given), numbers, given)
        following = self.follower_values
        if own is not None:
            has_own = ~np.isnan(own)
            given[has_own] = own[has_own]
            if borders.end_values is None:
                following = np.where(has_own, own, following)
            carry.next_values[self.goes_on & has_own] = own[self.goes_on & has_own]
        carry.values[self.goes_on] = following[self.goes_on]
        carry.estimates[self.goes_on] = self.follower_advantages[self.goes_on]
        given[self.ends_before_padding] = self.follower_values[self.ends_before_padding]
        wants = self.ends_with_lane | (self.ends_before_padding & ~self.is_terminal)
        wants &= borders.wants_values
        if open_ends == "terminal":
            wants &= borders.last_cut  # by a truncation; what merely stops has nothing beyond it
        is_given = wants & ~np.isnan(given)
        carry.next_values[is_given] = given[is_given]
        carry.values[is_given] = given[is_given]
        lacks: BoolArray = wants & ~is_given
        if bootstrap == "current":
            carry.values[lacks] = borders.last_values[lacks]
        carry.inflow[:] = borders.inflow(carry.values, carry.estimates, self.goes_on)
        return lacks


def _spread_drops(summaries: Sequence[BlockSummary], everything: Carry, combined: Combined) -> None:
    """A trajectory over several blocks is dropped in all of them."""
    for summary, carry in zip(summaries, combined.carries, strict=True):
        carry.head_dropped[:] = summary.head_dropped
        carry.tail_dropped[:] = summary.tail_dropped
    if not everything.head_dropped.any() and not everything.tail_dropped.any():
        return
    is_through = _is_through(summaries)
    for lanes, following in _links(combined, backwards=True):
        lost = lanes[everything.head_dropped[following]]
        everything.tail_dropped[lost] = True
        everything.head_dropped[lost[is_through[lost]]] = True
    for lanes, following in _links(combined):
        lost = following[everything.tail_dropped[lanes]]
        everything.head_dropped[lost] = True
        everything.tail_dropped[lost[is_through[lost]]] = True


def _refuse_missing(
    summaries: Sequence[BlockSummary],
    everything: Carry,
    combined: Combined,
    missing: Sequence[IndexArray],
    path_of: Sequence[str],
) -> None:
    lanes = np.sort(np.concatenate([np.zeros(0, np.int64), *missing]))
    lanes = lanes[~everything.tail_dropped[lanes]]
    if len(lanes):
        block = int(combined.block_of(lanes[:1])[0])
        summary = summaries[block]
        row = int(summary.last_rows[lanes[0] - combined.offsets[block]])
        raise missing_bootstrap(row, path_of[summary.address.file])


def _number_chains(summaries: Sequence[BlockSummary], everything: Carry, combined: Combined) -> None:
    """Give every trajectory that crosses a border one number in all its blocks."""
    is_through = _is_through(summaries)
    count = 0
    for lanes, following in _links(combined):
        begins = lanes[everything.tail_chains[lanes] < 0]
        everything.tail_chains[begins] = np.arange(count, count + len(begins))
        count += len(begins)
        chains = everything.tail_chains[lanes]
        everything.head_chains[following] = chains
        everything.tail_chains[following[is_through[following]]] = chains[is_through[following]]


def _add_up(summaries: Sequence[BlockSummary], everything: Carry) -> None:
    """The sums of every trajectory that crosses a border, in all its blocks."""
    parts = [summary.sums for summary in summaries if summary.sums is not None]
    heads, tails = (np.concatenate([getattr(part, side) for part in parts]) for side in ("heads", "tails"))
    enters, leaves = everything.head_chains, everything.tail_chains
    totals = np.zeros((int(max(enters.max(initial=-1), leaves.max(initial=-1))) + 1, heads.shape[1]))
    begins = (leaves >= 0) & (leaves != enters)  # a lane that a trajectory goes through is entered only
    np.add.at(totals, leaves[begins], tails[begins])
    np.add.at(totals, enters[enters >= 0], heads[enters >= 0])
    everything.head_sums[enters >= 0] = totals[enters[enters >= 0]]
    everything.tail_sums[leaves >= 0] = totals[leaves[leaves >= 0]]


def _links(combined: Combined, *, backwards: bool = False) -> list[tuple[IndexArray, IndexArray]]:
    """(lanes, the lanes in which they go on), block by block."""
    bounds = list(pairwise(combined.offsets.tolist()))
    found = []
    for first, stop in reversed(bounds) if backwards else bounds:
        lanes = first + np.flatnonzero(combined.successors[first:stop] >= 0)
        if len(lanes):
            found.append((lanes, combined.successors[lanes]))
    return found


def _is_through(summaries: Sequence[BlockSummary]) -> BoolArray:
    return np.concatenate([np.zeros(0, np.bool_), *(summary.borders.is_through for summary in summaries)])


def empty_carry(count: int, num_sums: int = 0) -> Carry:
    no = [np.zeros(count, np.bool_) for _ in range(4)]
    return Carry(
        np.zeros(count),
        np.zeros(count),
        np.zeros(count),
        no[0],
        no[1],
        np.full(count, np.nan),
        no[2],
        no[3],
        np.full(count, -1, np.int64),
        np.full(count, -1, np.int64),
        np.full((count, num_sums), np.nan),
        np.full((count, num_sums), np.nan),
    )


def _part(carry: Carry, first: int, stop: int) -> Carry:
    """The carry of some of the lanes, in the same memory."""
    arrays = {name: getattr(carry, name) for name in Carry.__dataclass_fields__}
    parts: dict[str, Any] = {
        name: array[first:stop] for name, array in arrays.items() if isinstance(array, np.ndarray)
    }
    return Carry(**parts)
