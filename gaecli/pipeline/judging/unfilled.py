"""Whether the data ends in rows that nobody recorded."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from gaecli.array_types import IndexArray
from gaecli.layouts.evidence.tails import FEWEST
from gaecli.layouts.keys import as_labels
from gaecli.pipeline.blocks import BlockSummary
from gaecli.pipeline.combine import Combined
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


def unfilled_tails(path: str, summaries: Sequence[BlockSummary], combined: Combined) -> list[WarningNote]:
    """Steps of one number for reward and value behind all others, in every lane and in every row of lists."""
    return _zeros(path, summaries, combined) or _held(path, summaries)


def _zeros(path: str, summaries: Sequence[BlockSummary], combined: Combined) -> list[WarningNote]:
    tails = [summary.tails for summary in summaries if summary.tails is not None]
    if not tails:
        return []
    found = sum(tail.closed for tail in tails) + _open(summaries, combined)
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
    in_tails = sum(one.in_tails for one in held) if sum(one.num_tails for one in held) > 1 else 0
    is_usual = sum(one.num_held for one in held) >= _MOST_HELD * sum(one.num_ends for one in held)
    behind = sum(one.behind_ends for one in held) if is_usual else 0
    steps, repeats = sum(one.steps for one in held), sum(one.repeats for one in held)
    if not in_tails + behind or _is_usual(repeats, in_tails + behind, steps):
        return []
    numbers = (in_tails + behind, sum(summary.ends.counts.steps for summary in summaries))
    what = "hold one reward and the value of the step before, over and over"
    return [counted("unfilled-tail", numbers, path, names=(what,), hint=_HINT)]


def _is_usual(elsewhere: int, found: int, others: int) -> bool:
    """Whether the critic says as much of steps that were recorded."""
    return elsewhere > min(_MOST_REPEATED * others, found)


def _open(summaries: Sequence[BlockSummary], combined: Combined) -> int:
    """Of lanes that go on from block to block, from the end of each backwards."""
    predecessors = np.full(len(combined.successors), -1, np.int64)
    goes_on = np.flatnonzero(combined.successors >= 0)
    predecessors[combined.successors[goes_on]] = goes_on
    lengths, is_whole = _per_lane(summaries)
    found = 0
    seen: set[Hashable] = set()
    for index in range(len(summaries) - 1, -1, -1):
        keys = as_labels(summaries[index].lanes.keys)
        for position in range(len(keys) - 1, -1, -1):
            if keys[position] in seen:
                continue
            seen.add(keys[position])
            lane = int(combined.offsets[index]) + position
            length = int(lengths[lane])
            while is_whole[lane] and predecessors[lane] >= 0:
                lane = int(predecessors[lane])
                length += int(lengths[lane])
            found += length if length >= FEWEST else 0
    return found


def _per_lane(summaries: Sequence[BlockSummary]) -> tuple[IndexArray, IndexArray]:
    parts = [
        (np.zeros(summary.lanes.count, np.int64), np.zeros(summary.lanes.count, np.bool_))
        if summary.tails is None
        else (summary.tails.lengths, summary.tails.is_whole)
        for summary in summaries
    ]
    return np.concatenate([lengths for lengths, _ in parts]), np.concatenate([whole for _, whole in parts])
