"""Columns that break off where trajectories end, and that nothing uses: told where they know of other ends."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from functools import reduce
from operator import add
from pathlib import Path

import numpy as np

from gaecli.array_types import BoolArray, FloatArray, IndexArray
from gaecli.layouts.evidence.breaks import MOST_ALONE, Breaks, ColumnBreaks, LanePairs, Reading, is_time
from gaecli.layouts.evidence.counters import flag_of_counter, use_of_counter, written
from gaecli.layouts.evidence.scattered import scattered
from gaecli.layouts.keys import as_labels
from gaecli.pipeline.blocks import BlockSummary
from gaecli.pipeline.combine import Combined
from gaecli.pipeline.joined_lanes import followers_in_time
from gaecli.pipeline.judging.interleaved import interleaved
from gaecli.records import dataclass
from gaecli.shell_words import word
from gaecli.summary import WarningNote

_Across = Callable[[Sequence[ColumnBreaks], "_Stream"], BoolArray | None]

#: Of neighbours, so many may be of different trajectories: else nearly every row is one of its own.
_MOST_BREAKS = 0.5
#: So many known ends with a break beside each of them, and on none, are no chance.
_FEWEST_SHIFTED = 2


@dataclass(frozen=True, eq=False)
class _Stream:
    """The blocks, and the pairs of lanes of which one goes on with the other."""

    paths: Sequence[Path]
    summaries: Sequence[BlockSummary]
    num_pairs: int
    num_ends: int
    #: [lanes] those of all blocks together, but for the counts.
    pairs: LanePairs
    #: How many lanes in time the blocks have.
    counts: Sequence[int]
    #: [lanes] the file that it stands in.
    files: IndexArray
    #: Lanes that go on in another block, and the lanes there; and whether a known end stands between them.
    lasts: IndexArray
    firsts: IndexArray
    are_ended: BoolArray

    @classmethod
    def of(
        cls, paths: Sequence[Path], summaries: Sequence[BlockSummary], combined: Combined
    ) -> _Stream | None:
        """None where the rows of some block are not all steps."""
        parts = [summary.ends.pairs for summary in summaries]
        found = [part for part in parts if part is not None]
        if len(found) < len(parts):
            return None
        counts = [len(part.is_single) for part in found]
        followers = followers_in_time(summaries)
        lasts = np.flatnonzero(followers >= 0)
        # The trajectory at the end of a lane in time is that of the last lane that the block has of it.
        sizes = [summary.lanes.count for summary in summaries]
        ends = [
            offset + size - count
            for offset, size, count in zip(combined.offsets, sizes, counts, strict=False)
        ]
        of_lasts = np.arange(len(followers)) + np.repeat(
            np.array(ends, np.int64) - np.cumsum([0, *counts[:-1]]), counts
        )
        are_ended = combined.successors[of_lasts[lasts]] < 0
        return cls(
            paths,
            summaries,
            sum(part.total for part in found) + len(lasts),
            sum(part.ended for part in found) + int(np.count_nonzero(are_ended)),
            LanePairs(0, 0, *(np.concatenate(arrays) for arrays in list(zip(*found, strict=True))[2:])),
            counts,
            np.repeat([summary.address.file for summary in summaries], counts),
            lasts,
            followers[lasts],
            are_ended,
        )

    @property
    def going_on(self) -> list[tuple[int, int]]:
        """(a lane, the lane in another block) where a trajectory goes on."""
        on = ~self.are_ended
        return list(zip(self.lasts[on].tolist(), self.firsts[on].tolist(), strict=True))

    def row_of(self, lane: int) -> tuple[int, int]:
        """(file, row) of the first step of a lane."""
        return int(self.files[lane]), int(self.pairs.first_rows[lane])

    def breaks(self, where: BoolArray, at_edges: Sequence[tuple[BoolArray, BoolArray]]) -> Breaks:
        """Those between blocks, and what they have to do with the ends beside them.

        `where` it breaks off from a lane to the next one, and between the two steps at both ends of each lane.
        """
        into, out = (np.ones(len(self.files), np.bool_) for _ in range(2))
        into[self.firsts], out[self.lasts] = where, where
        first, last = (np.concatenate(side) for side in zip(*at_edges, strict=True))
        before = np.where(self.pairs.is_single, into, last)[self.lasts]
        behind = np.where(self.pairs.is_single, out, first)[self.firsts]
        # Of the ends within a block these were taken for the first, and for the last, of their lanes.
        too_many = [self.pairs.first_ended & ~into, self.pairs.last_ended & ~out]
        num_before, num_behind = (int(np.count_nonzero(one & ~self.pairs.is_single)) for one in too_many)
        return Breaks(
            int(np.count_nonzero(where & self.are_ended)),
            int(np.count_nonzero(where & ~self.are_ended)),
            int(np.count_nonzero(before & self.are_ended)) - num_before,
            int(np.count_nonzero(behind & self.are_ended)) - num_behind,
        )


def unused_borders(
    paths: Sequence[Path],
    summaries: Sequence[BlockSummary],
    combined: Combined,
    told: Collection[str],
    *,
    has_ids: bool,
) -> dict[str, WarningNote]:
    """A warning by its column; of those that are `told` of already, if they change, only for the order of the rows.

    `has_ids`: ids of episodes tell trajectories apart.
    """
    silence = "--step-column" if has_ids else "--episode-column"
    stream = _Stream.of(paths, summaries, combined)
    if stream is None:
        return {}
    notes: dict[str, WarningNote] = {}
    for name in summaries[0].ends.breaks:
        found = _found(name, summaries)
        if len(found) < len(summaries):
            continue
        note = None
        if name not in told:
            turns = [block.turns for block in found]
            note = _judged(name, found, stream) or interleaved(name, str(paths[0]), turns)
        if note is None:
            facts = [block.scatter for block in found]
            is_text = found[0].is_text
            note = scattered(name, str(paths[0]), facts, stream.going_on, is_text=is_text, silence=silence)
        if note is not None:
            notes[name] = note
    return notes


def breaks_at_ends_alone(summaries: Sequence[BlockSummary], combined: Combined) -> bool:
    """Whether an unused column breaks off at every known end that a step follows, and nowhere else."""
    stream = _Stream.of([], summaries, combined)
    return (
        stream is not None
        and stream.num_ends > 0
        and any(
            breaks.at_ends == stream.num_ends and not breaks.inside
            for name in summaries[0].ends.breaks
            if len(found := _found(name, summaries)) == len(summaries)
            for _, _, breaks, _ in _readings(found, stream)
        )
    )


def _found(name: str, summaries: Sequence[BlockSummary]) -> Sequence[ColumnBreaks]:
    return [block for summary in summaries if (block := summary.ends.breaks.get(name)) is not None]


def _readings(
    blocks: Sequence[ColumnBreaks], stream: _Stream
) -> Iterator[tuple[Reading, str, Breaks, IndexArray]]:
    """(what a column may be, where a block keeps the first place, all its breaks, the borders that are such)."""
    readings: Sequence[tuple[Reading, str, _Across]] = (
        ("restarts", "first_restart", _restarts_across),
        ("changes", "first_change", _changes_across),
    )
    for reading, first, across in readings:
        parts = [getattr(block, reading) for block in blocks]
        where = None if any(part is None for part in parts) else across(blocks, stream)
        if where is not None:
            breaks = reduce(add, parts, stream.breaks(where, [block.at_edges[reading] for block in blocks]))
            yield reading, first, breaks, np.flatnonzero(where & ~stream.are_ended)


def _judged(name: str, blocks: Sequence[ColumnBreaks], stream: _Stream) -> WarningNote | None:
    for reading, first, breaks, broken in _readings(blocks, stream):
        most = _MOST_BREAKS if stream.num_ends else MOST_ALONE
        if breaks.at_ends + breaks.inside > most * stream.num_pairs:
            continue
        places = [
            (summary.address.file, row)
            for summary, block in zip(stream.summaries, blocks, strict=True)
            if (row := getattr(block, first)) is not None
        ]
        first_place = min([*places, *map(stream.row_of, stream.firsts[broken].tolist())], default=(0, 0))
        place = f"row {first_place[1]} of `{stream.paths[first_place[0]]}`"
        if breaks.inside and breaks.at_ends == stream.num_ends:
            flag = None
            if reading == "restarts":
                flag = flag_of_counter(name, *_borders(blocks, stream, broken))
            return _knows_more(name, reading, breaks, stream, place, flag)
        if min(stream.num_ends, breaks.inside) >= _FEWEST_SHIFTED and not breaks.at_ends:
            if stream.num_ends == breaks.before_ends:
                return _is_beside(name, reading, breaks, stream, place, "before")
            if stream.num_ends == breaks.behind_ends:
                return _is_beside(name, reading, breaks, stream, place, "behind")
        goes_up = reading == "restarts" and all(block.direction >= 0 for block in blocks)
        if breaks.inside and goes_up and (is_time(name) or blocks[0].holds_times):
            return _falls_elsewhere(name, breaks, stream, place, _borders(blocks, stream, broken)[1])
    return None


def _restarts_across(blocks: Sequence[ColumnBreaks], stream: _Stream) -> BoolArray | None:
    """Where lanes begin anew in the next block; None where blocks go in different directions."""
    directions = {block.direction for block in blocks if block.direction}
    if len(directions) != 1:
        return None
    begins, stops = _numbers_over_borders(blocks, stream)
    steps = begins - stops
    return None if (steps == 0).any() else steps * directions.pop() < 0


def _numbers_over_borders(blocks: Sequence[ColumnBreaks], stream: _Stream) -> tuple[FloatArray, FloatArray]:
    """Those at the starts of lanes that others go on with, and at the ends of these."""
    firsts, lasts = (
        np.concatenate(
            [block.numbers[side] for block in blocks if block.numbers is not None] or [np.zeros(0)]
        )
        for side in (0, 1)
    )
    return firsts[stream.firsts], lasts[stream.lasts]


def _changes_across(blocks: Sequence[ColumnBreaks], stream: _Stream) -> BoolArray | None:
    """Where lanes begin with another value in the next block; None where one comes back."""
    firsts, lasts = (
        [label for block in blocks for label in as_labels(getattr(block, side))]
        for side in ("firsts", "lasts")
    )
    keys = [
        key
        for summary, count in zip(stream.summaries, stream.counts, strict=True)
        for key in as_labels(summary.lanes.keys[:count])
    ]
    seen: dict[Hashable, list[Hashable]] = {}
    for key, first, last in zip(keys, firsts, lasts, strict=True):
        known = seen.setdefault(key, [])
        if known and first != known[-1] and first in known:
            return None
        known += [label for label in (first, last) if label not in known[-1:]]
    borders = zip(stream.lasts.tolist(), stream.firsts.tolist(), strict=True)
    return np.array([lasts[lane] != firsts[following] for lane, following in borders], np.bool_)


def _borders(
    blocks: Sequence[ColumnBreaks], stream: _Stream, broken: IndexArray
) -> tuple[list[float], list[float]]:
    """The numbers at which a counter begins anew, and those before."""
    if any(block.holds_times for block in blocks):
        return [], []
    firsts, lasts = _numbers_over_borders(blocks, stream)
    begins = [number for block in blocks for number in block.begins or ()] + firsts[broken].tolist()
    stops = [number for block in blocks for number in block.stops or ()] + lasts[broken].tolist()
    return begins, stops


def _knows_more(
    name: str, reading: Reading, breaks: Breaks, stream: _Stream, place: str, flag: tuple[str, float] | None
) -> WarningNote:
    known = f", as at all {stream.num_ends:,} ends that are known" if stream.num_ends else ""
    where = f"{breaks.inside:,} times within what is taken for one trajectory{known}; the first at {place}"
    return _note(name, reading, breaks, stream, where, repair=_use(name, reading, flag))


def _falls_elsewhere(
    name: str, breaks: Breaks, stream: _Stream, place: str, stops: Sequence[float]
) -> WarningNote:
    """No time goes back: rows of several environments stand one after the other, each with all its episodes."""
    where = (
        f"{breaks.inside:,} times within what is taken for one trajectory, and goes on over "
        f"{stream.num_ends - breaks.at_ends:,} of {stream.num_ends:,} known ends; the first at {place}"
    )
    repair = (
        "if rows of several environments stand one after the other, add a column that numbers these, and name it "
        "with `--env-column`"
    )
    if stops and min(stops) == max(stops):
        named = word(f"{name}={written(stops[0])}")
        repair = f"pass `--truncated-column {named}` if its rows are cut off there, or {repair}"
    return _note(name, "restarts", breaks, stream, where, repair=repair)


def _is_beside(
    name: str, reading: Reading, breaks: Breaks, stream: _Stream, place: str, side: str
) -> WarningNote:
    if side == "before":
        repair = "pass `--done-at start` if the flags say that an episode begins"
    else:
        repair = "move the flags by one row if they say which step is the last"
    where = (
        f"one row {side} each of the {stream.num_ends:,} known ends that a step follows, and at none of them; "
        f"the first at {place}"
    )
    return _note(name, reading, breaks, stream, where, repair=repair)


def _note(
    name: str, reading: Reading, breaks: Breaks, stream: _Stream, where: str, *, repair: str
) -> WarningNote:
    what = "begins anew" if reading == "restarts" else "changes"
    return WarningNote(
        "unused-id",
        f"`{name}`, which no role uses, {what} {where}",
        str(stream.paths[0]),
        breaks.inside,
        hint=f"{repair}; `--episode-column none` if `{name}` has nothing to do with ends",
    )


def _use(name: str, reading: Reading, flag: tuple[str, float] | None) -> str:
    if reading == "changes":
        return f"pass `--episode-column {word(name)}` if it tells trajectories apart"
    if flag is not None:
        return use_of_counter(name, flag)
    return (
        "if a trajectory ends there, name what says so with `--done-column`, `--terminated-column`, "
        "`--truncated-column` or `--episode-column`"
    )
