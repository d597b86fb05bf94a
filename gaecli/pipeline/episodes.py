"""Trajectories as a whole: length, sum of rewards, end. Pieces of one that crosses blocks are joined."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field

import numpy as np

from gaecli.array_types import Array, FloatArray, IndexArray
from gaecli.pipeline.column_statistics import Tally
from gaecli.pipeline.combine import Carry
from gaecli.pipeline.settle import Settled
from gaecli.records import dataclass

ENDS = ("open", "terminated", "truncated")


@dataclass(frozen=True, eq=False)
class Pieces:
    """Trajectories of one block, or what the block holds of them; [P] each, in lane order."""

    file: int
    rows: IndexArray
    lengths: IndexArray
    total_rewards: FloatArray
    total_values: FloatArray
    #: Index into `ENDS`.
    ends: IndexArray
    #: Number of the trajectory that comes in from (goes on into) another block; -1: none does.
    head_chains: IndexArray
    tail_chains: IndexArray


def pieces_of(file: int, start: int, settled: Settled, carry: Carry) -> Pieces:
    """The trajectories of a settled block, border pieces included."""
    block, lanes = settled.block, settled.block.lanes
    is_last = block.cuts.copy()
    is_last[lanes.stops - 1] = True
    stops = np.flatnonzero(is_last) + 1
    starts = np.concatenate(([0], stops))[:-1].astype(np.int64)
    heads = np.full(len(starts), -1, np.int64)
    tails = heads.copy()
    heads[np.searchsorted(starts, lanes.starts)] = carry.head_chains
    tails[np.searchsorted(stops, lanes.stops)] = carry.tail_chains
    last = stops - 1
    tails[block.cuts[last]] = -1  # a chain ends where its last trajectory does
    terminated, truncated = block.terminated[last], block.truncated[last]
    return Pieces(
        file=file,
        rows=start + block.file_rows(starts),
        lengths=_lengths(settled, starts, stops),
        total_rewards=_sums(settled, block.rewards, starts),
        total_values=_sums(settled, block.values, starts),
        ends=np.where(terminated, 1, np.where(truncated, 2, 0)),
        head_chains=heads,
        tail_chains=tails,
    )


def _lengths(settled: Settled, starts: IndexArray, stops: IndexArray) -> IndexArray:
    if settled.counts is None or not len(starts):
        return stops - starts
    found: IndexArray = np.add.reduceat(settled.counts, starts, dtype=np.int64)
    return found


def _sums(settled: Settled, numbers: Array, starts: IndexArray) -> FloatArray:
    if not len(starts):
        return np.zeros(0)
    if settled.counts is not None:
        numbers = np.where(settled.counts, numbers, 0)
    sums: FloatArray = np.add.reduceat(numbers, starts, dtype=np.float64)
    return sums


@dataclass(eq=False)
class EpisodeBook:
    """Whole trajectories, as their blocks come by in order. Memory grows with `keep_all` only."""

    keep_all: bool = False
    lengths: Tally = field(default_factory=Tally)
    total_rewards: Tally = field(default_factory=Tally)
    kept: list[Pieces] = field(default_factory=list)
    _chains: dict[int, Pieces] = field(default_factory=dict)

    def add(self, pieces: Pieces) -> None:
        is_whole = (pieces.head_chains < 0) & (pieces.tail_chains < 0)
        finished = []  # they began in an earlier block, so they come first
        for index in np.flatnonzero(~is_whole).tolist():
            one = _take(pieces, np.array([index]))
            head, tail = int(one.head_chains[0]), int(one.tail_chains[0])
            joined = _joined(self._chains.pop(head), one) if head >= 0 else one
            if tail >= 0:
                self._chains[tail] = joined
            else:
                finished.append(joined)
        for group in [*finished, _take(pieces, is_whole)]:
            self._enter(_take(group, group.lengths > 0))

    def _enter(self, whole: Pieces) -> None:
        self.lengths = self.lengths.merge(Tally.of(whole.lengths))
        self.total_rewards = self.total_rewards.merge(Tally.of(whole.total_rewards))
        if self.keep_all and len(whole.rows):
            self.kept.append(whole)

    def in_order(self) -> Iterator[tuple[int, int, int, float, float, str]]:
        """(file, first row, length, sum of rewards, mean value, end), by file and row."""
        if not self.kept:
            return
        files = np.concatenate([np.full(len(part.rows), part.file) for part in self.kept])
        rows, lengths, rewards, values, ends = (
            np.concatenate([getattr(part, name) for part in self.kept])
            for name in ("rows", "lengths", "total_rewards", "total_values", "ends")
        )
        order = np.lexsort((rows, files))
        columns = (files, rows, lengths, rewards, values / lengths)
        for *numbers, end in zip(*(column[order].tolist() for column in (*columns, ends)), strict=True):
            file, row, length, reward, value = numbers
            yield file, row, length, reward, value, ENDS[end]


def _take(pieces: Pieces, which: Array) -> Pieces:
    return Pieces(
        pieces.file,
        pieces.rows[which],
        pieces.lengths[which],
        pieces.total_rewards[which],
        pieces.total_values[which],
        pieces.ends[which],
        pieces.head_chains[which],
        pieces.tail_chains[which],
    )


def _joined(first: Pieces, second: Pieces) -> Pieces:
    """One trajectory out of two pieces: it begins with the first and ends with the second."""
    return Pieces(
        first.file,
        first.rows,
        first.lengths + second.lengths,
        first.total_rewards + second.total_rewards,
        first.total_values + second.total_values,
        second.ends,
        first.head_chains,
        second.tail_chains,
    )
