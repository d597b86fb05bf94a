"""Rules about values: constant ones, ones of another scale, ones of the wrong state."""

from __future__ import annotations

import math
from dataclasses import field, replace

import numpy as np

from gaecli.checks.base import CheckRule, Hits, Window
from gaecli.estimators.recursion import gae_block
from gaecli.moments import Moments
from gaecli.records import dataclass

_FEWEST_STEPS = 50
#: Root mean squares of returns and values further apart than this factor.
_FAR = 10.0
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
    values = window.values[window.usable]
    first = window.hits(window.usable, lambda step: "")
    return _ValueRange(
        float(values.min(initial=np.inf)), float(values.max(initial=-np.inf)), len(values), first
    )


@dataclass(frozen=True)
class _Scales:
    """Of all steps, and of those whose episode ends terminally: no value enters the returns of these."""

    values: Moments = field(default_factory=Moments)
    returns: Moments = field(default_factory=Moments)
    terminal_values: Moments = field(default_factory=Moments)
    terminal_returns: Moments = field(default_factory=Moments)
    file: str = ""

    def merge(self, later: _Scales) -> _Scales:
        return _Scales(
            self.values.merge(later.values),
            self.returns.merge(later.returns),
            self.terminal_values.merge(later.terminal_values),
            self.terminal_returns.merge(later.terminal_returns),
            self.file,
        )

    def weigh(self) -> Hits | None:
        has_terminal = self.terminal_values.count >= _FEWEST_STEPS
        compared = self.terminal_values if has_terminal else self.values
        values = _root_mean_square(compared)
        returns = _root_mean_square(self.terminal_returns if has_terminal else self.returns)
        if compared.count < _FEWEST_STEPS or not values or not returns:
            return None
        ratio = returns / values
        if 1 / _FAR <= ratio <= _FAR:
            return None
        message = (
            f"values are of the size {values:.4g} and returns of the size {returns:.4g} (root mean squares): "
            f"{'too small' if ratio > 1 else 'too large'} by a factor of {max(ratio, 1 / ratio):.3g}"
        )
        return Hits(0, message, file=self.file)


def value_scale(window: Window) -> _Scales | None:
    """Values against returns at λ = 1, cut at the border of the block."""
    if not window.has_values or window.context.settings.gamma_column is not None:
        return None  # of one γ for all steps
    cuts = np.append(~window.goes_on[1:], True)
    next_values = window.next_values
    # Where the trajectory goes on beyond the block: its last value, for a horizon shorter than the block.
    open_ends = cuts & ~window.ended & np.isnan(next_values)
    advantages = gae_block(
        window.rewards,
        window.values,
        cuts=cuts,
        terminated=window.terminated,
        next_values=np.where(open_ends, window.values, next_values),
        gamma=window.context.settings.gamma,
        lam=1.0,
    )
    returns = advantages + window.values
    last = np.flatnonzero(cuts)
    ends_terminally = window.terminated[last[np.searchsorted(last, np.arange(len(cuts)))]]
    usable, terminal = window.usable, window.usable & ends_terminally
    return _Scales(
        Moments.of(window.values[usable]),
        Moments.of(returns[usable]),
        Moments.of(window.values[terminal]),
        Moments.of(returns[terminal]),
        str(window.context.path),
    )


def _root_mean_square(moments: Moments) -> float:
    return math.hypot(moments.mean, moments.std() or 0.0)


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
