"""V beyond the last kept step of a row, where a mask leaves out slots behind it: an answer of a tool, or padding."""

from __future__ import annotations

import numpy as np

from gaecli.array_types import Array, BoolArray, FloatArray, IndexArray
from gaecli.layouts.evidence.tails import trailing
from gaecli.rollouts import Block


def last_own_values(block: Block, trajectory: IndexArray) -> FloatArray:
    """[trajectories] V of the last slot where one was cut by length; NaN elsewhere.

    With a shifted mask that slot is never a step, and its own V is what lies beyond the last step.
    """
    last = np.flatnonzero(block.cuts & block.truncated)
    final = _nowhere(trajectory)
    final[trajectory[last]] = block.values[last]
    return final


def last_next_values(block: Block, trajectory: IndexArray, mask: BoolArray) -> tuple[FloatArray, int]:
    """([trajectories] next values where a flag stands, and else in the last slot; how many are of masked ones).

    Padding of one number, or of V of the last step, is no slot. Masked ones are counted where they differ from the
    next value of the last step, unless that end is terminal.
    """
    assert block.next_values is not None
    last = np.flatnonzero(block.cuts)
    if not len(last):
        return _nowhere(trajectory), 0
    sources = _before_padding(block.values, block.next_values, mask, last)
    sources = np.where(_is_of_the_row(block.next_values, last), last, sources)
    flagged = np.flatnonzero(block.truncated & ~np.isnan(block.next_values))
    owners = np.searchsorted(last, flagged)
    is_slot = flagged <= sources[owners]
    sources[owners[is_slot]] = flagged[is_slot]
    final = _nowhere(trajectory)
    final[trajectory[last]] = block.next_values[sources]
    _hand_on(final, block, block.next_values, trajectory, mask)
    return final, _num_masked(block, block.next_values, mask, last, sources)


def _hand_on(
    final: FloatArray, block: Block, next_values: Array, trajectory: IndexArray, mask: BoolArray
) -> None:
    """What stands behind nothing but masked slots at the end of a lane goes to the last trajectory with a kept step.

    Of an array with padding behind a time limit: the padding is a trajectory of its own, and V beyond the lane is
    that of the state after the limit. Terminal ends have none, and who has a next value keeps it.
    """
    if block.stream_ends is None or not block.num_steps:
        return
    stops = np.unique(np.append(block.stream_ends, block.num_steps - 1))
    starts, kept = _starts(stops), _last_kept(mask)[stops]
    is_behind = (kept >= starts) & ~np.isnan(next_values[stops])
    stops, kept = stops[is_behind], kept[is_behind]
    counts = np.concatenate(([0], np.cumsum(~np.isnan(next_values))))
    is_alone = counts[stops + 1] - counts[kept + 1] == 1
    owners = trajectory[kept]
    wants = block.truncated[kept] & ~block.terminated[kept] & np.isnan(final[owners])
    takes = is_alone & wants & (owners != trajectory[stops])
    final[owners[takes]] = next_values[stops[takes]]


def _is_of_the_row(next_values: Array, last: IndexArray) -> BoolArray:
    """[trajectories] whether the last slot alone has a next value: one for the whole row, as `last_value` is."""
    starts = _starts(last)
    is_given = ~np.isnan(next_values)
    is_alone: BoolArray = np.add.reduceat(is_given.astype(np.int64), starts) == 1
    return is_alone & is_given[last]


def _starts(last: IndexArray) -> IndexArray:
    """The first slots of runs of which these are the last ones, one after the other from slot 0 on."""
    return np.concatenate((last[:1] * 0, last[:-1] + 1))


def _last_kept(mask: BoolArray) -> IndexArray:
    """[N] the last slot up to each one that is a step; -1 before all of them."""
    found: IndexArray = np.maximum.accumulate(np.where(mask, np.arange(len(mask)), -1))
    return found


def _nowhere(trajectory: IndexArray) -> FloatArray:
    return np.full(int(trajectory[-1]) + 1 if len(trajectory) else 0, np.nan)


def _before_padding(values: Array, next_values: Array, mask: BoolArray, last: IndexArray) -> IndexArray:
    """The last slots that are none of padding: before masked ones that all hold what the very last one does."""
    starts = _starts(last)
    owners = last[np.searchsorted(last, np.arange(len(mask))).clip(max=len(last) - 1)]
    is_alike = ~mask & (values == values[owners]) & (next_values == next_values[owners])
    lengths = trailing(is_alike, starts, last)
    # One alone is padding if it holds one number, or V of the step before it.
    is_plain = (values[last] == next_values[last]) | (values[last] == values[np.maximum(last - 1, starts)])
    lengths[(lengths == 1) & ~is_plain] = 0
    found: IndexArray = last - lengths
    return np.maximum(found, starts)


def _num_masked(
    block: Block, next_values: Array, mask: BoolArray, last: IndexArray, sources: IndexArray
) -> int:
    last_kept = _last_kept(mask)[last]
    starts = _starts(last)
    ended = np.concatenate(([0], np.cumsum(block.terminated)))
    is_open = (ended[last + 1] == ended[starts]) & (last_kept >= starts)
    here, there = next_values[sources], next_values[last_kept]
    differs = ~np.isnan(here) & ~np.isnan(there) & (here != there)
    return int(np.count_nonzero(is_open & differs & ~mask[sources]))
