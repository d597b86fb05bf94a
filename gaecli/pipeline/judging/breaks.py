"""Columns that break off where trajectories end, and that nothing uses: told where they know of other ends."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from dataclasses import replace
from functools import reduce
from operator import add
from pathlib import Path

import numpy as np

from gaecli.layouts.evidence.breaks import MOST_ALONE, Breaks, ColumnBreaks, Reading, is_time
from gaecli.layouts.evidence.counters import flag_of_counter, use_of_counter, written
from gaecli.layouts.evidence.scattered import scattered
from gaecli.layouts.keys import as_labels
from gaecli.pipeline.blocks import BlockSummary
from gaecli.pipeline.combine import Combined
from gaecli.pipeline.judging.interleaved import interleaved
from gaecli.records import dataclass
from gaecli.shell_words import word
from gaecli.summary import WarningNote

_Across = Callable[[Sequence[ColumnBreaks], "_Stream"], list[int] | None]

#: Of neighbours, so many may be of different trajectories: else nearly every row is one of its own.
_MOST_BREAKS = 0.5
#: So many known ends with a break beside each of them, and on none, are no chance.
_FEWEST_SHIFTED = 2


@dataclass(frozen=True, eq=False)
class _Stream:
    """The blocks, and the pairs of lanes of which one goes on with the other."""

    paths: Sequence[Path]
    summaries: Sequence[BlockSummary]
    combined: Combined
    num_pairs: int
    num_ends: int
    borders: Sequence[tuple[int, int]]

    @classmethod
    def of(cls, paths: Sequence[Path], summaries: Sequence[BlockSummary], combined: Combined) -> _Stream:
        pairs, ends = (sum(summary.ends.neighbours[index] for summary in summaries) for index in (0, 1))
        lanes = np.flatnonzero(combined.successors >= 0)
        borders = list(zip(lanes.tolist(), combined.successors[lanes].tolist(), strict=True))
        return cls(paths, summaries, combined, pairs + len(borders), ends, borders)

    def row_of(self, lane: int) -> tuple[int, int]:
        """(file, row) of the block that a lane stands in."""
        block = self.summaries[int(self.combined.block_of(np.array([lane]))[0])]
        return block.address.file, block.start


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
            note = scattered(name, str(paths[0]), facts, stream.borders, is_text=is_text, silence=silence)
        if note is not None:
            notes[name] = note
    return notes


def breaks_at_ends_alone(summaries: Sequence[BlockSummary], combined: Combined) -> bool:
    """Whether an unused column breaks off at every known end that a step follows, and nowhere else."""
    stream = _Stream.of([], summaries, combined)
    return stream.num_ends > 0 and any(
        breaks.at_ends == stream.num_ends and not breaks.inside
        for name in summaries[0].ends.breaks
        if len(found := _found(name, summaries)) == len(summaries)
        for _, _, breaks, _ in _readings(found, stream)
    )


def _found(name: str, summaries: Sequence[BlockSummary]) -> Sequence[ColumnBreaks]:
    return [block for summary in summaries if (block := summary.ends.breaks.get(name)) is not None]


def _readings(
    blocks: Sequence[ColumnBreaks], stream: _Stream
) -> Iterator[tuple[Reading, str, Breaks, Sequence[int]]]:
    """(what a column may be, where a block keeps the first place, all its breaks, the lanes broken at borders)."""
    readings: Sequence[tuple[Reading, str, _Across]] = (
        ("restarts", "first_restart", _restarts_across),
        ("changes", "first_change", _changes_across),
    )
    for reading, first, across in readings:
        parts = [getattr(block, reading) for block in blocks]
        broken = None if any(part is None for part in parts) else across(blocks, stream)
        if broken is not None:
            breaks = reduce(add, parts, Breaks())
            yield reading, first, replace(breaks, inside=breaks.inside + len(broken)), broken


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
        where = min([*places, *map(stream.row_of, broken)], default=(0, 0))
        place = f"row {where[1]} of `{stream.paths[where[0]]}`"
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


def _restarts_across(blocks: Sequence[ColumnBreaks], stream: _Stream) -> list[int] | None:
    """The lanes that begin anew in the next block; None where blocks go in different directions."""
    directions = {block.direction for block in blocks if block.direction}
    if len(directions) != 1:
        return None
    direction = directions.pop()
    firsts, lasts = (
        np.concatenate([block.numbers[side] for block in blocks if block.numbers is not None])
        for side in (0, 1)
    )
    steps = [(following, firsts[following] - lasts[lane]) for lane, following in stream.borders]
    if any(step == 0 for _, step in steps):
        return None
    return [following for following, step in steps if step * direction < 0]


def _changes_across(blocks: Sequence[ColumnBreaks], stream: _Stream) -> list[int] | None:
    """The lanes that begin with another value in the next block; None where one comes back."""
    firsts, lasts = (
        [label for block in blocks for label in as_labels(getattr(block, side))]
        for side in ("firsts", "lasts")
    )
    keys = [key for summary in stream.summaries for key in as_labels(summary.lanes.keys)]
    seen: dict[Hashable, list[Hashable]] = {}
    for key, first, last in zip(keys, firsts, lasts, strict=True):
        known = seen.setdefault(key, [])
        if known and first != known[-1] and first in known:
            return None
        known += [label for label in (first, last) if label not in known[-1:]]
    return [following for lane, following in stream.borders if lasts[lane] != firsts[following]]


def _borders(
    blocks: Sequence[ColumnBreaks], stream: _Stream, broken: Sequence[int]
) -> tuple[list[float], list[float]]:
    """The numbers at which a counter begins anew, and those before."""
    if any(block.holds_times for block in blocks):
        return [], []
    lanes = {following: lane for lane, following in stream.borders}
    firsts, lasts = (
        np.concatenate(
            [block.numbers[side] for block in blocks if block.numbers is not None] or [np.zeros(0)]
        )
        for side in (0, 1)
    )
    begins = [number for block in blocks for number in block.begins or ()] + [firsts[at] for at in broken]
    stops = [number for block in blocks for number in block.stops or ()] + [lasts[lanes[at]] for at in broken]
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
