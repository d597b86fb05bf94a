"""Rules about values: constant ones, ones of another scale, ones of the wrong state."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gaecli.checks.base import CheckRule, Hits, Window
from gaecli.checks.value_scale import value_scale
from gaecli.records import dataclass

_SHARE_LEAKING = 0.5


@dataclass(frozen=True)
class _ValueRange:
    low: float
    high: float
    count: int
    first: Hits | None

    def merge(self, later: _ValueRange) -> _ValueRange:
        low, high = min(self.low, later.low), max(self.high, later.high)
        return _ValueRange(low, high, self.count + later.count, self.first or later.first)

    def weigh(self) -> Hits | None:
        if self.first is None or self.count < 2 or self.low != self.high:
            return None
        return replace(self.first, count=self.count, message=f"all {self.count:,} values are {self.low:g}")


def constant_values(window: Window) -> _ValueRange | None:
    """The value column holds one number."""
    if not window.has_values:
        return None
    values = window.values if window.usable.all() else window.values[window.usable]
    first = window.hits(window.usable, lambda step: "")
    return _ValueRange(
        float(values.min(initial=np.inf)), float(values.max(initial=-np.inf)), len(values), first
    )


@dataclass(frozen=True)
class _Leaks:
    ends: int
    count: int
    first: Hits | None

    def merge(self, later: _Leaks) -> _Leaks:
        return _Leaks(self.ends + later.ends, self.count + later.count, self.first or later.first)

    def weigh(self) -> Hits | None:
        if self.first is None or self.count < _SHARE_LEAKING * self.ends:
            return None
        message = (
            f"the next value of {self.count:,} of {self.ends:,} ends that are not terminal is the value of the "
            "first row of the next episode"
        )
        return replace(self.first, count=self.count, message=message)


def leaking_next_values(window: Window) -> _Leaks:
    """The next value at a cut is V of the row below, which belongs to another episode."""
    cut = window.in_lane & ~window.goes_on & window.is_new
    before = np.flatnonzero(cut) - 1
    before = before[~window.terminated[before] & ~np.isnan(window.next_values[before])]
    following = window.values[before + 1]
    is_same = (window.next_values[before] == following) & (following != window.values[before])
    where = np.zeros(len(window.values), np.bool_)
    where[before[is_same]] = True
    return _Leaks(len(before), int(np.count_nonzero(is_same)), window.hits(where, lambda step: ""))


RULES = (
    CheckRule(
        "GAE201",
        "constant-values",
        "warning",
        "steps",
        constant_values,
        summary="all values are one number",
        why="a critic that says the same of every state was not recorded, or not loaded; advantages are then "
        "returns less a constant",
        fix="name the critic's column with `--value-column`",
    ),
    CheckRule(
        "GAE202",
        "value-scale",
        "warning",
        "steps",
        value_scale,
        summary="values and returns differ in size by more than a factor of ten",
        why="values may be normalised where rewards are not, or the critic is untrained; either way they take "
        "next to nothing off the variance of the advantages, or swamp them",
        fix="store values in the units of the rewards (undo the value normalisation), or name another column with "
        "`--value-column`",
        unless=("GAE201",),
    ),
    CheckRule(
        "GAE204",
        "next-value-of-next-episode",
        "warning",
        "steps",
        leaking_next_values,
        summary="the next value at a cut is the value of the next episode's first row",
        why="the value of a fresh start stands in for that of the state that was cut off: a column made by "
        "shifting the values up by one row does this at every end",
        fix="record V of the last observation, or pass `--next-value-column none`",
        bugs=("Unity-Technologies/ml-agents#574", "Toni-SM/skrl#449"),
    ),
)
