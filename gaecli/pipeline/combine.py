"""Combine: from the last block to the first, what flows into every lane. Tiny, and in one thread."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from gaecli.pipeline.blocks import BlockSummary, missing_bootstrap
from gaecli.rollouts import BoolArray, FloatArray, IndexArray
from gaecli.settings import Bootstrap


@dataclass(frozen=True, eq=False)
class Carry:
    """What a block is told about its surroundings; one entry per lane."""

    #: z of `gaecli.estimators.gae`.
    inflow: FloatArray
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


@dataclass(frozen=True)
class Combined:
    carries: Sequence[Carry]
    #: (block, lane, next block, next lane) of every trajectory that crosses a border, last first.
    links: Sequence[tuple[int, int, int, int]]
    #: (block, lane) whose last step ends by a flag, although the next block goes on with the same id.
    conflicts: Sequence[tuple[int, int]] = ()


@dataclass
class _Head:
    """The first step of a lane, as seen from the lane before it in time."""

    block: int
    lane: int
    value: float
    advantage: float
    identity: Hashable
    is_start: bool
    padding: bool | None


def combine(summaries: Sequence[BlockSummary], bootstrap: Bootstrap, path_of: Sequence[str]) -> Combined:
    """The carry into every block, in the order of `summaries`.

    `path_of` names the file of each stream position, for messages. Raises `DataError` under
    `bootstrap="error"` for the first end without a value.
    """
    carries = [_empty_carry(summary) for summary in summaries]
    waiting: dict[Hashable, _Head] = {}
    links: list[tuple[int, int, int, int]] = []
    missing: list[tuple[int, int]] = []
    conflicts: list[tuple[int, int]] = []
    for index in range(len(summaries) - 1, -1, -1):
        summary, carry = summaries[index], carries[index]
        heads: dict[Hashable, _Head] = {}
        for lane in range(summary.lanes.count):
            follower = waiting.get(summary.lanes.keys[lane]) if summary.lanes.open_ends[lane] else None
            if follower is not None and _is_conflict(summary, lane, follower):
                conflicts.append((index, lane))
            needs_value = _enter(summary, carry, lane, follower, bootstrap)
            if needs_value and bootstrap == "error":
                missing.append((index, lane))
            if follower is not None and not carry.ends[lane] and not summary.borders.last_cut[lane]:
                links.append((index, lane, follower.block, follower.lane))
            # Two runs of one lane: the first of them is what the block before goes on with.
            heads.setdefault(summary.lanes.keys[lane], _head(summary, carry, index, lane))
        waiting.update(heads)
    _spread_drops(summaries, carries, links)
    missing = [(index, lane) for index, lane in missing if not carries[index].tail_dropped[lane]]
    if missing:
        index, lane = missing[-1]
        path = path_of[summaries[index].address.file]
        raise missing_bootstrap(summaries[index].last_rows[lane], path, count=1)
    _number_chains(summaries, carries, links)
    return Combined(carries, links, conflicts[::-1])


def _is_conflict(summary: BlockSummary, lane: int, follower: _Head) -> bool:
    identity = summary.lanes.last_ids[lane]
    is_same = identity is not None and follower.identity == identity and follower.padding is None
    return is_same and (follower.is_start or bool(summary.borders.last_cut[lane]))


def _enter(
    summary: BlockSummary, carry: Carry, lane: int, follower: _Head | None, bootstrap: Bootstrap
) -> bool:
    """Fill the lane's carry; True if the end of its trajectory lacks a value."""
    borders, lanes = summary.borders, summary.lanes
    if not lanes.open_ends[lane]:
        return False
    is_cut = bool(borders.last_cut[lane])
    if follower is not None and follower.padding is not None and follower.identity == lanes.last_ids[lane]:
        carry.ends[lane] = not is_cut
        carry.ends_terminated[lane] = follower.padding
        return not follower.padding and _enter_value(summary, carry, lane, follower.value, bootstrap)
    if follower is not None and not is_cut and follower.is_start:
        carry.ends[lane] = carry.ends_terminated[lane] = True
        return False
    if follower is not None and not is_cut and follower.identity == lanes.last_ids[lane]:
        carry.inflow[lane] = (
            borders.value_weights[lane] * follower.value + borders.trace_weights[lane] * follower.advantage
        )
        return False
    carry.ends[lane] = not is_cut
    given = math.nan if lanes.last_bootstraps is None else lanes.last_bootstraps[lane]
    return _enter_value(summary, carry, lane, given, bootstrap)


def _enter_value(summary: BlockSummary, carry: Carry, lane: int, given: float, bootstrap: Bootstrap) -> bool:
    """The trajectory ends with the lane: V(sₜ₊₁) is given, or the policy's; True if it is not given."""
    borders = summary.borders
    if borders.value_weights[lane] == 0:
        return False
    if not math.isnan(given):
        carry.next_values[lane] = given
        carry.inflow[lane] = borders.value_weights[lane] * given
        return False
    if bootstrap == "current":
        carry.inflow[lane] = borders.value_weights[lane] * borders.last_values[lane]
    return True


def _head(summary: BlockSummary, carry: Carry, index: int, lane: int) -> _Head:
    borders, lanes = summary.borders, summary.lanes
    return _Head(
        block=index,
        lane=lane,
        value=float(borders.first_values[lane]),
        advantage=float(borders.offsets[lane] + borders.gains[lane] * carry.inflow[lane]),
        identity=lanes.first_ids[lane],
        is_start=lanes.first_is_start[lane],
        padding=lanes.first_padding[lane],
    )


def _spread_drops(
    summaries: Sequence[BlockSummary], carries: Sequence[Carry], links: Sequence[tuple[int, int, int, int]]
) -> None:
    """A trajectory over several blocks is dropped in all of them."""
    for summary, carry in zip(summaries, carries, strict=True):
        carry.head_dropped[:] = summary.head_dropped
        carry.tail_dropped[:] = summary.tail_dropped
    for block, lane, next_block, next_lane in links:  # from the end to the start
        if carries[next_block].head_dropped[next_lane]:
            carries[block].tail_dropped[lane] = True
            if summaries[block].borders.is_through[lane]:
                carries[block].head_dropped[lane] = True
    for block, lane, next_block, next_lane in reversed(links):
        if carries[block].tail_dropped[lane]:
            carries[next_block].head_dropped[next_lane] = True
            if summaries[next_block].borders.is_through[next_lane]:
                carries[next_block].tail_dropped[next_lane] = True


def _number_chains(
    summaries: Sequence[BlockSummary], carries: Sequence[Carry], links: Sequence[tuple[int, int, int, int]]
) -> None:
    """Give every trajectory that crosses a border one number in all its blocks."""
    count = 0
    for block, lane, next_block, next_lane in reversed(links):
        chain = carries[block].tail_chains[lane]
        if chain < 0:
            chain = count
            count += 1
            carries[block].tail_chains[lane] = chain
        carries[next_block].head_chains[next_lane] = chain
        if summaries[next_block].borders.is_through[next_lane]:
            carries[next_block].tail_chains[next_lane] = chain


def _empty_carry(summary: BlockSummary) -> Carry:
    count = summary.lanes.count
    no = [np.zeros(count, np.bool_) for _ in range(4)]
    return Carry(
        np.zeros(count),
        no[0],
        no[1],
        np.full(count, np.nan),
        no[2],
        no[3],
        np.full(count, -1, np.int64),
        np.full(count, -1, np.int64),
    )
