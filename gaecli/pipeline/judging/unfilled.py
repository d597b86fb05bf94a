"""Whether the data ends in rows that nobody recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from gaecli.array_types import BoolArray, IndexArray
from gaecli.layouts.evidence.tails import FEWEST, SHORTEST_LANE, HeldSteps, LaneRuns, ZeroTails
from gaecli.layouts.keys import numbers_of
from gaecli.pipeline.blocks import BlockSummary
from gaecli.pipeline.joined_lanes import followers_in_time, num_in_time
from gaecli.pipeline.notes import counted
from gaecli.summary import WarningNote

#: Of all other steps so many have a value, or the critic says 0 everywhere.
_MOST_VALUED = 0.5
#: Of other steps so many have the value of the step before, or the number of a reward, by chance; else the critic
#: says the same of many states.
_MOST_REPEATED = 0.02
#: Of ends that a step follows, so many have padding behind them where there is any.
_MOST_HELD = 0.5

_HINT = (
    "leave them out of the file; if they are padding, name the mask of the real steps with `--mask-column`"
)


def unfilled_tails(path: str, summaries: Sequence[BlockSummary]) -> list[WarningNote]:
    """Steps of one number for reward and value behind all others, in every lane and in every row of lists."""
    return _zeros(path, summaries) or _held(path, summaries)


def _zeros(path: str, summaries: Sequence[BlockSummary]) -> list[WarningNote]:
    tails = [summary.tails for summary in summaries if summary.tails is not None]
    if not tails:
        return []
    found = sum(tail.closed for tail in tails) + _open(summaries)
    others = sum(tail.steps for tail in tails) - found
    total = sum(summary.ends.counts.steps for summary in summaries)
    if not found or found >= total or sum(tail.valued for tail in tails) < _MOST_VALUED * others:
        return []
    if _is_usual(sum(tail.elsewhere for tail in tails), found, others):
        return []
    return [counted("unfilled-tail", (found, total), path, hint=_HINT)]


def _held(path: str, summaries: Sequence[BlockSummary]) -> list[WarningNote]:
    """Steps that repeat the one before them, behind an end or behind all others."""
    held = [summary.held for summary in summaries if summary.held is not None]
    is_padded = len({one.width for one in held if one.width}) == 1 and all(one.width >= 0 for one in held)
    if not is_padded:  # trajectories of several lengths: those of some blocks are alike by chance
        held = [replace(one, in_tails=0, num_tails=0) for one in held]
    held += _held_over_blocks(summaries, is_padded=is_padded)
    in_tails = sum(one.in_tails for one in held) if sum(one.num_tails for one in held) > 1 else 0
    is_usual = sum(one.num_held for one in held) >= _MOST_HELD * sum(one.num_ends for one in held)
    behind = sum(one.behind_ends for one in held) if is_usual else 0
    steps, repeats = sum(one.steps for one in held), sum(one.repeats for one in held)
    found = sum(one.in_tails + one.behind_ends for one in held)
    steps, repeats = steps - found, repeats - found
    if not in_tails + behind or _is_usual(repeats, in_tails + behind, steps):
        return []
    numbers = (in_tails + behind, sum(summary.ends.counts.steps for summary in summaries))
    what = "hold one reward and the value of the step before, over and over"
    return [counted("unfilled-tail", numbers, path, names=(what,), hint=_HINT)]


def _held_over_blocks(summaries: Sequence[BlockSummary], *, is_padded: bool) -> list[HeldSteps]:
    """What begins or ends with a lane, from block to block."""
    held = [summary.held for summary in summaries]
    lanes = [one.lanes for one in held if one is not None and one.lanes is not None]
    if len(lanes) < len(summaries):
        return []
    numbers = numbers_of([summary.lanes.keys[: num_in_time(summary.lanes)] for summary in summaries])
    joined = _JoinedRuns(int(numbers.max(initial=-1)) + 1)
    start = 0
    for one, runs in zip(held, lanes, strict=True):
        stop = start + len(runs.heads)
        joined.add(numbers[start:stop], runs, is_told=is_padded and one is not None and one.width > 0)
        start = stop
    return [joined.found()]


class _JoinedRuns:
    """[lanes] runs of steps that are alike, as far as one block after the other has told of them."""

    def __init__(self, count: int) -> None:
        no = np.zeros(count, np.bool_)
        #: Of all that was seen of a lane, and of the run that it ends with.
        self._num_steps, self._lengths = np.zeros(count, np.int64), np.zeros(count, np.int64)
        #: Of that run: V is that of the step before it; it is behind an end.
        self._repeats, self._behind = no, no.copy()
        #: V, reward and flag of the last step; whether the step before that one ends something.
        self._lasts, self._ended_before = np.full((count, 3), np.nan), no.copy()
        #: A block looked at what it ends with.
        self._told = no.copy()
        self.behind_ends = self.num_ends = self.num_held = self.repeats = 0

    def add(self, lanes: IndexArray, runs: LaneRuns, *, is_told: bool) -> None:
        """`lanes` are the numbers of those that the next block has."""
        before, firsts = self._lasts[lanes], runs.firsts
        ends = (before[:, 2] == 1) & ~self._ended_before[lanes] & (self._num_steps[lanes] > 1)
        repeats = firsts[:, 0] == before[:, 0]
        alike = (firsts == before).all(axis=1) & ~ends
        begins_with_end = (runs.behind_first >= 0) & (before[:, 2] == 0)
        behind_first = runs.behind_first[begins_with_end]
        self.num_ends += len(behind_first)
        self.behind_ends += int(behind_first.sum())
        self.num_held += int(np.count_nonzero(behind_first))
        self.num_ends += int(np.count_nonzero(ends))
        self.repeats += int(np.count_nonzero(repeats))
        self._close(lanes[~alike], repeats[~alike])
        self._lengths[lanes] = np.where(alike, self._lengths[lanes] + runs.heads, runs.heads)
        self._repeats[lanes] = np.where(alike, self._repeats[lanes], repeats)
        looks_padded = ends & (repeats | ~firsts[:, :2].any(axis=1))
        self._behind[lanes] = np.where(alike, self._behind[lanes], looks_padded)
        is_over = runs.heads < runs.num_steps
        over = lanes[is_over]
        self._close(over, runs.head_repeats[is_over])
        self._lengths[over], self._repeats[over] = runs.tails[is_over], runs.tail_repeats[is_over]
        self._behind[over] = (runs.is_behind | (runs.is_behind_first & begins_with_end))[is_over]
        self._ended_before[lanes] = np.where(runs.num_steps == 1, before[:, 2] == 1, runs.ended_before)
        self._num_steps[lanes] += runs.num_steps
        self._lasts[lanes], self._told[lanes] = runs.lasts, is_told

    def _close(self, lanes: IndexArray, goes_on: BoolArray) -> None:
        """Their last runs are over; whether the step behind has the same V."""
        lengths = self._lengths[lanes]
        held = lengths[self._behind[lanes] & (lengths >= FEWEST) & ~goes_on]
        self.behind_ends += int(held.sum())
        self.num_held += len(held)

    def found(self) -> HeldSteps:
        self._close(np.arange(len(self._lengths)), np.zeros(len(self._lengths), np.bool_))
        lengths = self._lengths - ~self._repeats
        # Of a whole one it says nothing.
        is_tail = ~self._behind & ~self._told & (self._lasts[:, 2] == 0) & (lengths < self._num_steps - 1)
        is_tail &= (lengths >= FEWEST) & (self._num_steps >= SHORTEST_LANE)
        lengths = lengths[is_tail]
        return HeldSteps(
            self.behind_ends, self.num_ends, self.num_held, int(lengths.sum()), len(lengths), 0, self.repeats
        )


def _is_usual(elsewhere: int, found: int, others: int) -> bool:
    """Whether the critic says as much of steps that were recorded."""
    return elsewhere > min(_MOST_REPEATED * others, found)


def _open(summaries: Sequence[BlockSummary]) -> int:
    """Of lanes that go on from block to block, from the end of each backwards."""
    tails = [summary.tails or _no_tails(summary) for summary in summaries]
    lengths, is_whole, are_flagged = (
        np.concatenate([getattr(tail, name) for tail in tails])
        for name in ("lengths", "is_whole", "are_flagged")
    )
    num_steps = _steps_of_lanes(summaries)
    followers = followers_in_time(summaries)
    predecessors = np.full(len(followers), -1, np.int64)
    goes_on = np.flatnonzero(followers >= 0)
    predecessors[followers[goes_on]] = goes_on
    found = 0
    for last in np.flatnonzero(followers < 0).tolist():
        lane, length = last, int(lengths[last])
        while is_whole[lane] and predecessors[lane] >= 0 and lengths[predecessors[lane]]:
            lane = int(predecessors[lane])
            if are_flagged[lane] != are_flagged[last]:  # an episode that ends there was recorded
                length = 0
                break
            length += int(lengths[lane])
        found += length if length >= FEWEST and num_steps[last] >= SHORTEST_LANE else 0
    return found


def _steps_of_lanes(summaries: Sequence[BlockSummary]) -> IndexArray:
    """[lanes] of all blocks, how many steps each lane in time has in all of them together."""
    counts = [num_in_time(summary.lanes) for summary in summaries]
    numbers = numbers_of(
        [summary.lanes.keys[:count] for summary, count in zip(summaries, counts, strict=True)]
    )
    here = [
        summary.lanes.stops - summary.lanes.starts
        if count == summary.lanes.count > 1
        else np.full(count, summary.ends.counts.steps)
        for summary, count in zip(summaries, counts, strict=True)
    ]
    totals = np.bincount(numbers, weights=np.concatenate(here))
    steps: IndexArray = totals[numbers].astype(np.int64)
    return steps


def _no_tails(summary: BlockSummary) -> ZeroTails:
    count = num_in_time(summary.lanes)
    no = np.zeros(count, np.bool_)
    return ZeroTails(np.zeros(count, np.int64), no, no, 0, 0, 0, 0)
