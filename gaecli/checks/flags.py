"""Rules about end-of-episode flags."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from gaecli.array_types import Array, BoolArray
from gaecli.checks.base import CellBlock, CheckRule, Hits, Window
from gaecli.formats.base import Column
from gaecli.layouts.cells import level_of
from gaecli.layouts.flag_columns import FlagColumns
from gaecli.records import dataclass

#: Of the episode borders that ids or steps tell, so many must carry a flag one row off.
_MOST_BORDERS = 0.9
#: Episodes that all end at one longest length, below which it means nothing.
_FEWEST_AT_LIMIT = 3
_SMALLEST_LIMIT = 10
_SHARE_AT_LIMIT = 0.05


@dataclass(frozen=True)
class _FlaggedBorders:
    """Borders between trajectories that ids or steps tell, and where the flags are beside them."""

    borders: int
    on_border: int
    one_off: int
    first: Hits | None
    lanes: int
    flagged_lanes: int
    flagged: int
    steps: int
    #: Whether a flag on the first row of every lane is enough to tell.
    lanes_tell: bool

    def merge(self, later: _FlaggedBorders) -> _FlaggedBorders:
        return _FlaggedBorders(
            self.borders + later.borders,
            self.on_border + later.on_border,
            self.one_off + later.one_off,
            self.first or later.first,
            self.lanes + later.lanes,
            self.flagged_lanes + later.flagged_lanes,
            self.flagged + later.flagged,
            self.steps + later.steps,
            self.lanes_tell,
        )

    def weigh(self) -> Hits | None:
        if self.first is None or self.flagged == self.steps:
            return None
        if self.borders:
            found = self.one_off >= _MOST_BORDERS * self.borders and self.one_off > self.on_border
            return replace(self.first, count=self.one_off) if found else None
        found = self.lanes_tell and self.lanes > 1 and self.flagged_lanes == self.lanes
        return replace(self.first, count=self.flagged_lanes) if found else None


def start_end_mix_up(window: Window) -> _FlaggedBorders | None:
    """Flags stand one row beside the borders that ids, or steps that begin again, tell."""
    flags = window.context.flags
    if flags.done is None:
        return None
    border = window.in_lane & ~window.follows & window.is_new
    if window.steps is not None and not window.has_ids:
        border[1:] |= window.in_lane[1:] & window.is_new[1:] & (window.steps[1:] < window.steps[:-1])
    ended = window.ended
    before = np.concatenate(([False], ended[:-1]))
    beside = ended if flags.done_at == "end" else np.concatenate(([False, False], ended))[: len(ended)]
    off = border & beside & ~before
    other = "start" if flags.done_at == "end" else "end"
    where = "first" if flags.done_at == "end" else "last"
    message = (
        f"`{flags.done}`, read as a flag at the {flags.done_at} of an episode, is set on the {where} rows of "
        "episodes"
    )
    on_lanes = window.lane_starts & ended & window.is_new if flags.done_at == "end" else np.zeros_like(ended)
    first = window.hits(off | on_lanes, lambda step: message)
    fix = f"pass `--done-at {other}`"
    return _FlaggedBorders(
        borders=int(np.count_nonzero(border)),
        on_border=int(np.count_nonzero(border & before)),
        one_off=int(np.count_nonzero(off)),
        first=None if first is None else replace(first, fix=fix),
        lanes=int(np.count_nonzero(window.lane_starts)),
        flagged_lanes=int(np.count_nonzero(on_lanes)),
        flagged=int(np.count_nonzero(ended & window.is_new)),
        steps=int(np.count_nonzero(window.is_new)),
        lanes_tell=window.context.settings.done_at is None,
    )


def done_inside_episode(window: Window) -> Hits | None:
    """An end flag on a row whose successor has the same id."""
    if not window.has_ids:
        return None
    before = np.concatenate(([False], window.ended[:-1]))
    where = window.follows & before & window.is_new
    inside = np.concatenate((where[1:], [False]))
    return window.hits(
        inside, lambda step: f"{window.context.ends} is set, but the next row has the same episode id"
    )


def both_flags(block: CellBlock) -> Hits | None:
    """terminated and truncated in one row."""
    flags = block.context.flags
    if flags.terminated is None or flags.truncated is None:
        return None
    one, other = block.columns[flags.terminated], block.columns[flags.truncated]
    if one.values.shape != other.values.shape:
        return None
    where = _is_set(one, flags.terminated, flags) & _is_set(other, flags.truncated, flags)
    return block.hits(one, where, lambda index: f"both `{flags.terminated}` and `{flags.truncated}` are set")


def _is_set(column: Column, name: str, flags: FlagColumns) -> BoolArray:
    says_yes: BoolArray = column.values == (0 if name in flags.inverted else 1)
    return says_yes


def not_a_flag(block: CellBlock) -> Hits | None:
    """Numbers other than 0 and 1 in a flag column."""
    found: Hits | None = None
    flags = block.context.flags
    for name in flags.names:
        column = block.columns[name]
        if column.values.dtype.kind == "b":
            continue
        says_no = (level_of(column) or 1) if name in flags.inverted else 1
        odd = (column.values != 0) & ((column.values != says_no) | (column.values > 1) | (column.values < 0))
        if column.is_null is not None:
            odd = odd & ~column.is_null
        hits = block.hits(column, odd, _is_no_flag(name, column.values.reshape(-1)))
        found = hits if found is None or hits is None else found.merge(hits)
    return found


def _is_no_flag(name: str, values: Array) -> Callable[[int], str]:
    return lambda index: f"`{name}` is {values[index]!s}, which is neither 0 nor 1"


def disagreeing_flags(block: CellBlock) -> Hits | None:
    """done differs from terminated or truncated."""
    flags = block.context.flags
    if flags.terminated is None or flags.truncated is None or flags.done is None or flags.done_at != "end":
        return None
    names = (flags.done, flags.terminated, flags.truncated)
    if len({block.columns[name].values.shape for name in names}) > 1:
        return None
    done, terminated, truncated = (_is_set(block.columns[name], name, flags) for name in names)
    return block.hits(
        block.columns[flags.done],
        done != (terminated | truncated),
        lambda index: f"`{flags.done}` is not `{flags.terminated}` or `{flags.truncated}`",
    )


@dataclass(frozen=True)
class _Limit:
    """The longest trajectory that ended terminally, how many are as long, and how many there are."""

    longest: int
    count: int
    episodes: int
    first: Hits | None

    def merge(self, later: _Limit) -> _Limit:
        episodes = self.episodes + later.episodes
        if self.longest == later.longest:
            return _Limit(self.longest, self.count + later.count, episodes, self.first or later.first)
        longer = self if self.longest > later.longest else later
        return replace(longer, episodes=episodes)

    def weigh(self) -> Hits | None:
        few = self.count < max(_FEWEST_AT_LIMIT, _SHARE_AT_LIMIT * self.episodes)
        if self.first is None or few or self.longest < _SMALLEST_LIMIT:
            return None
        message = (
            f"{self.count:,} of {self.episodes:,} episodes end terminally after exactly {self.longest:,} steps, "
            "and none is longer: a time limit?"
        )
        return replace(self.first, count=self.count, message=message)


def truncation_as_termination(window: Window) -> _Limit | None:
    """Terminal ends at one constant, longest length."""
    if window.context.settings.success_column is not None:  # an episode is over then, whatever ended it
        return None
    ended = window.ended & window.end_is_new
    if window.is_masked is not None:  # padding is no step, and all of one length
        ended &= ~window.is_masked
    over = np.flatnonzero(ended)
    if not len(over):
        return None
    lengths = window.past.ages(over)
    longest = int(lengths.max())
    at_limit = np.zeros(len(window.rewards), np.bool_)
    at_limit[over[lengths == longest]] = True
    at_limit &= window.terminated
    first = window.hits(at_limit, lambda step: "")
    return _Limit(longest, int(np.count_nonzero(at_limit)), len(over), first)


RULES = (
    CheckRule(
        "GAE001",
        "start-end-mix-up",
        "error",
        "steps",
        start_end_mix_up,
        summary="flags that begin an episode are read as flags that end it, or the other way round",
        why="every boundary moves by one row: the step that ended an episode gets credit for the next one "
        "(+95 instead of -4 in one report), and the first step of an episode gets none",
        fix="pass `--done-at start` if the flag is set on the first row of an episode, else `--done-at end`",
        bugs=("hill-a/stable-baselines#385", "DLR-RM/stable-baselines3#105", "RoboVerseOrg/RoboVerse#814"),
    ),
    CheckRule(
        "GAE003",
        "done-inside-episode",
        "error",
        "steps",
        done_inside_episode,
        summary="an end flag stands inside an episode: the next row has the same id",
        why="rows are repeated, the flag belongs to the start of its step, or one id names several episodes; "
        "whichever it is, advantages on one side of the flag are wrong",
        fix="remove the repeated rows, pass `--done-at start`, or `--episode-column none` to go by the flags",
        unless=("GAE001",),
    ),
    CheckRule(
        "GAE004",
        "terminated-and-truncated",
        "warning",
        "cells",
        both_flags,
        summary="a row is both terminated and truncated",
        why="libraries disagree about which one wins, so the value after such a row counts in one and not in "
        "another; here terminated wins, as in Stable-Baselines3",
        fix="clear `truncated` where the state is terminal, or `terminated` where only a limit was reached",
        bugs=("DLR-RM/stable-baselines3#633", "DLR-RM/stable-baselines3#651"),
    ),
    CheckRule(
        "GAE005",
        "truncation-as-termination",
        "warning",
        "steps",
        truncation_as_termination,
        summary="many episodes end terminally at one constant, longest length, as a time limit would end them",
        why="a state cut off by a limit still has a value; counting it as 0 teaches the critic that time kills",
        fix="record time limits as `truncated`, with the value of the last observation in a next-value column",
        bugs=("vwxyzjn/cleanrl#198", "vwxyzjn/cleanrl#448"),
    ),
    CheckRule(
        "GAE007",
        "flag-not-0-or-1",
        "error",
        "cells",
        not_a_flag,
        summary="a flag column holds numbers other than 0 and 1",
        why="what a 2 or a 0.5 means nobody can know; it may be a discount, or another column altogether",
        fix="name the right column with `--done-column`, `--terminated-column` or `--truncated-column`",
    ),
    CheckRule(
        "GAE008",
        "flags-disagree",
        "error",
        "cells",
        disagreeing_flags,
        summary="`done` is not `terminated or truncated`",
        why="one of the three is wrong, and which one decides where episodes end and what is bootstrapped",
        fix="leave one out, for example with `--done-column none`",
        bugs=("instadeepai/Mava#951", "EdanToledo/Stoix#142", "EdanToledo/Stoix#148"),
    ),
)
