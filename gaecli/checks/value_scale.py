"""The size of values against that of returns at λ = 1, whatever the blocks in which the steps come.

The return of a step whose trajectory goes on beyond its block is affine in that of the first step there,

    Gₜ = lₜ + wₜ X,    lₜ = rₜ + γ rₜ₊₁ + … up to the border,  wₜ = γ to the number of steps up to there,

so that the squares of all such steps of a lane add up to Σ l² + 2 X Σ l w + X² Σ w², and wait for X.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import field

import numpy as np

from gaecli.checks.base import Hits, Window
from gaecli.estimators.recursion import gae_block
from gaecli.records import dataclass
from gaecli.rollouts import BoolArray, FloatArray, IndexArray

_FEWEST_STEPS = 50
#: Root mean squares of returns and values further apart than this factor.
_FAR = 10.0


@dataclass(frozen=True)
class _Squares:
    """How many steps, and the squares of their values and of their returns."""

    count: int = 0
    values: float = 0.0
    returns: float = 0.0

    def __add__(self, other: _Squares) -> _Squares:
        return _Squares(self.count + other.count, self.values + other.values, self.returns + other.returns)


@dataclass(frozen=True)
class _Waiting:
    """Steps whose returns depend on X: Σ l², Σ l w, Σ w²."""

    count: int = 0
    values: float = 0.0
    constant: float = 0.0
    linear: float = 0.0
    quadratic: float = 0.0

    def at(self, beyond: float) -> _Squares:
        """Steps before a number that cannot be used are left out, as that whole trajectory is."""
        if not self.count or not math.isfinite(beyond):
            return _Squares()
        returns = self.constant + 2 * beyond * self.linear + beyond * beyond * self.quadratic
        return _Squares(self.count, self.values, returns)

    def through(self, head: _GoingOn, later: _Waiting) -> _Waiting:
        """With those of the next block, to the end of which the trajectory goes on."""
        squares = self.at(head.own)
        if not squares.count:
            return later
        return _Waiting(
            self.count + later.count,
            self.values + later.values,
            squares.returns + later.constant,
            (self.linear + self.quadratic * head.own) * head.weight + later.linear,
            self.quadratic * head.weight**2 + later.quadratic,
        )


@dataclass(frozen=True)
class _Unsettled:
    """The last trajectory of a lane: what X is if it ends there, and whether that end is terminal."""

    steps: _Waiting
    beyond: float
    is_terminal: bool


@dataclass(frozen=True)
class _GoingOn:
    """What the trajectory that came into a lane goes on with: its return, l + w X where it runs through."""

    own: float
    weight: float
    is_through: bool
    is_terminal: bool


@dataclass(frozen=True)
class _Scales:
    """Of all steps, and of those whose episode ends terminally: no value enters the returns of these."""

    all: _Squares
    terminal: _Squares
    heads: Mapping[Hashable, _GoingOn] = field(default_factory=dict)
    tails: Mapping[Hashable, _Unsettled] = field(default_factory=dict)
    file: str = ""

    def merge(self, later: _Scales) -> _Scales:
        tails = dict(self.tails)
        total, terminal = self.all + later.all, self.terminal + later.terminal
        for key, tail in later.tails.items():
            head, before = later.heads.get(key), tails.get(key)
            if head is not None and before is not None:
                if head.is_through:
                    steps = before.steps.through(head, tail.steps)
                    tails[key] = _Unsettled(steps, tail.beyond, tail.is_terminal)
                    continue
                squares = before.steps.at(head.own)
                total += squares
                terminal += squares if head.is_terminal else _Squares()
            tails[key] = tail
        return _Scales(total, terminal, tails=tails, file=self.file)

    def weigh(self) -> Hits | None:
        total, terminal = self.all, self.terminal
        for tail in self.tails.values():
            squares = tail.steps.at(tail.beyond)
            total += squares
            terminal += squares if tail.is_terminal else _Squares()
        compared = terminal if terminal.count >= _FEWEST_STEPS else total
        if compared.count < _FEWEST_STEPS or not compared.values or not compared.returns:
            return None
        values, returns = (math.sqrt(one / compared.count) for one in (compared.values, compared.returns))
        ratio = returns / values
        if not math.isfinite(ratio) or 1 / _FAR <= ratio <= _FAR:
            return None
        message = (
            f"values are of the size {values:.4g} and returns of the size {returns:.4g} (root mean squares): "
            f"{'too small' if ratio > 1 else 'too large'} by a factor of {max(ratio, 1 / ratio):.3g}"
        )
        return Hits(0, message, file=self.file)


def value_scale(window: Window) -> _Scales | None:
    """Values against returns at λ = 1. An end that nothing tells of is as good as its own value."""
    if not window.has_values or window.context.settings.gamma_column is not None:
        return None  # of one γ for all steps
    num_steps = len(window.rewards)
    last = np.flatnonzero(np.append(~window.goes_on[1:], True))
    ends = last[np.searchsorted(last, np.arange(num_steps))]
    lane_ends = np.array([end - 1 for _, end in window.lanes], np.int64)
    lane_of = np.full(num_steps, -1, np.int64)
    lane_of[lane_ends] = np.arange(len(lane_ends))
    lane_of = lane_of[ends]
    beyond = np.where(np.isnan(window.next_values), window.values, window.next_values)
    beyond = np.where(window.terminated, 0.0, beyond)
    with np.errstate(over="ignore", invalid="ignore"):
        own = _own_returns(window, ends, lane_of < 0, beyond)
        return _Scales(
            _squares(window, own, lane_of < 0),
            _squares(window, own, (lane_of < 0) & window.terminated[ends]),
            _heads(window, own, ends, lane_of, beyond),
            _tails(window, own, ends, lane_of, beyond),
            str(window.context.path),
        )


def _own_returns(window: Window, ends: IndexArray, is_closed: BoolArray, beyond: FloatArray) -> FloatArray:
    """[N] returns; of steps whose trajectory may go on in another block, what this block has of them."""
    cuts = ends == np.arange(len(ends))
    advantages = gae_block(
        window.rewards,
        window.values,
        cuts=cuts,
        terminated=cuts & (window.terminated | ~is_closed),
        next_values=np.where(cuts, beyond, np.nan),
        gamma=window.context.settings.gamma,
        lam=1.0,
    )
    found: FloatArray = advantages + window.values
    return found


def _weights(window: Window, ends: IndexArray, steps: IndexArray) -> FloatArray:
    found: FloatArray = np.power(float(window.context.settings.gamma), ends[steps] - steps + 1.0)
    return found


def _squares(window: Window, returns: FloatArray, where: BoolArray) -> _Squares:
    steps = np.flatnonzero(where & window.usable)
    return _Squares(len(steps), float((window.values[steps] ** 2).sum()), float((returns[steps] ** 2).sum()))


def _tails(
    window: Window, own: FloatArray, ends: IndexArray, lane_of: IndexArray, beyond: FloatArray
) -> dict[Hashable, _Unsettled]:
    num_lanes = len(window.lanes)
    steps = np.flatnonzero((lane_of >= 0) & window.usable)
    lanes, weights = lane_of[steps], _weights(window, ends, steps)
    sums = [
        np.bincount(lanes, column, num_lanes).tolist()
        for column in (
            window.values[steps] ** 2,
            own[steps] ** 2,
            own[steps] * weights,
            weights**2,
        )
    ]
    counts = np.bincount(lanes, minlength=num_lanes).tolist()
    return {
        key: _Unsettled(_Waiting(count, *parts), float(beyond[end - 1]), bool(window.terminated[end - 1]))
        for (key, end), count, *parts in zip(window.lanes, counts, *sums, strict=True)
    }


def _heads(
    window: Window, own: FloatArray, ends: IndexArray, lane_of: IndexArray, beyond: FloatArray
) -> dict[Hashable, _GoingOn]:
    found = {}
    for key, carried in window.heads.items():
        first = carried + 1
        if not window.goes_on[first]:
            found[key] = _GoingOn(float(beyond[carried]), 0.0, False, bool(window.terminated[carried]))
            continue
        is_through = bool(lane_of[first] >= 0)
        weight = float(_weights(window, ends, np.array([first]))[0]) if is_through else 0.0
        found[key] = _GoingOn(float(own[first]), weight, is_through, bool(window.terminated[ends[first]]))
    return found
