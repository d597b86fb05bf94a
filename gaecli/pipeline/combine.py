"""Combine: from the last block to the first, what flows into every lane. Tiny, and in one thread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from gaecli.array_types import BoolArray, FloatArray, IndexArray
from gaecli.choices import Bootstrap, OpenEnds
from gaecli.estimators.base import WholePieces
from gaecli.pipeline.blocks import BlockSummary, missing_bootstrap
from gaecli.pipeline.joined_lanes import JoinedLanes, chains
from gaecli.records import dataclass
from gaecli.rollouts import NO_UNIT_LANES, NextRows

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
    #: A mask keeps some step of these trajectories; False elsewhere.
    head_kept: BoolArray
    tail_kept: BoolArray
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


class _LaneCarries(Sequence[Carry]):
    """Those of all blocks, each made when it is asked for: it is a part of what is known of all lanes."""

    def __init__(self, everything: Carry, offsets: IndexArray) -> None:
        self._arrays = {name: item for name, item in vars(everything).items() if isinstance(item, np.ndarray)}
        self._offsets = offsets.tolist()

    def __len__(self) -> int:
        return len(self._offsets) - 1

    @overload
    def __getitem__(self, index: int) -> Carry: ...
    @overload
    def __getitem__(self, index: slice) -> list[Carry]: ...
    def __getitem__(self, index: int | slice) -> Carry | list[Carry]:
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        if index < 0:
            index += len(self)
        if not 0 <= index < len(self):
            raise IndexError(index)
        first, stop = self._offsets[index], self._offsets[index + 1]
        parts: dict[str, Any] = {name: array[first:stop] for name, array in self._arrays.items()}
        return Carry(**parts)


def _combined(
    summaries: Sequence[BlockSummary], bootstrap: Bootstrap, path_of: Sequence[str], open_ends: OpenEnds
) -> Combined:
    lanes = JoinedLanes(summaries)
    num_sums = max(
        (summary.sums.heads.shape[1] for summary in summaries if summary.sums is not None), default=0
    )
    everything = empty_carry(lanes.count, num_sums) if lanes.count or num_sums else _NOTHING
    combined = Combined(
        _LaneCarries(everything, lanes.offsets), lanes.offsets, np.full(lanes.count, -1, np.int64)
    )
    if lanes.count:
        combined = _filled(lanes, summaries, everything, combined, bootstrap, path_of, open_ends)
    if num_sums:
        _add_up(summaries, everything)
    if any(summary.units is not None for summary in summaries):
        combined = replace(combined, carries=_with_units(summaries, combined))
    if not any(summary.first_progress is not None for summary in summaries):
        return combined
    return replace(combined, carries=_with_following(summaries, combined))


def _filled(
    lanes: JoinedLanes,
    summaries: Sequence[BlockSummary],
    everything: Carry,
    combined: Combined,
    bootstrap: Bootstrap,
    path_of: Sequence[str],
    open_ends: OpenEnds,
) -> Combined:
    found = lanes.inflow(bootstrap, open_ends)
    for name in ("inflow", "values", "estimates", "ends", "ends_terminated", "next_values"):
        getattr(everything, name)[:] = getattr(found, name)
    odd = np.flatnonzero(found.conflicts)
    blocks = combined.block_of(odd)
    conflicts = list(zip(blocks.tolist(), (odd - lanes.offsets[blocks]).tolist(), strict=True))
    combined = replace(combined, successors=found.successors, conflicts=conflicts)
    _spread_drops(summaries, everything, combined)
    if bootstrap == "error":
        _refuse_missing(summaries, everything, combined, found.lacks, path_of)
    heads, tails = chains(found.successors, _is_through(summaries))
    everything.head_chains[:], everything.tail_chains[:] = heads, tails
    if any(summary.kept is not None for summary in summaries):
        _spread_kept(summaries, everything)
    return combined


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


def _spread_drops(summaries: Sequence[BlockSummary], everything: Carry, combined: Combined) -> None:
    """A trajectory over several blocks is dropped in all of them."""
    everything.head_dropped[:] = np.concatenate([summary.head_dropped for summary in summaries])
    everything.tail_dropped[:] = np.concatenate([summary.tail_dropped for summary in summaries])
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


def _spread_kept(summaries: Sequence[BlockSummary], everything: Carry) -> None:
    """A mask keeps a step of a trajectory over several blocks where one of them has such a step."""
    every = [(np.ones(one.lanes.count, np.bool_),) * 2 if one.kept is None else one.kept for one in summaries]
    sides = [np.concatenate(side) for side in zip(*every, strict=True)]
    chains_of = everything.head_chains, everything.tail_chains
    # The last one stands for lanes that no trajectory goes beyond.
    kept = np.zeros(int(max(numbers.max(initial=-1) for numbers in chains_of)) + 2, np.bool_)
    for numbers, has in zip(chains_of, sides, strict=True):
        kept[numbers[has]] = True
    kept[-1] = False
    everything.head_kept[:], everything.tail_kept[:] = (kept[numbers] for numbers in chains_of)


def _refuse_missing(
    summaries: Sequence[BlockSummary],
    everything: Carry,
    combined: Combined,
    lacks: BoolArray,
    path_of: Sequence[str],
) -> None:
    lanes = np.flatnonzero(lacks & ~everything.tail_dropped)
    if len(lanes):
        block = int(combined.block_of(lanes[:1])[0])
        summary = summaries[block]
        row = int(summary.last_rows[lanes[0] - combined.offsets[block]])
        raise missing_bootstrap(row, path_of[summary.address.file])


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
    no = [np.zeros(count, np.bool_) for _ in range(6)]
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
        no[4],
        no[5],
    )


#: Of streams whose trajectories are all whole in a block: there may be ten thousand of them.
_NOTHING = empty_carry(0)
