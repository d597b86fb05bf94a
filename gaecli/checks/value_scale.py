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

from gaecli.array_types import BoolArray, FloatArray, IndexArray
from gaecli.checks.base import Hits, Window
from gaecli.kernels.base import Array, Arrays
from gaecli.kernels.registry import kernel_for
from gaecli.records import dataclass

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


@dataclass(frozen=True, eq=False)
class _Runs:
    """Steps of one trajectory after the other; [K] each."""

    firsts: IndexArray
    lasts: IndexArray
    #: The lane that it goes on in, should the next block have it; -1: it is over.
    lanes: IndexArray
    #: What follows the last step: V there, or 0.
    beyond: FloatArray
    is_terminal: BoolArray

    @classmethod
    def of(cls, window: Window) -> _Runs:
        firsts = np.flatnonzero(~window.goes_on)
        lasts = np.append(firsts[1:], len(window.rewards)) - 1
        lane_ends = np.array([end - 1 for _, end in window.lanes], np.int64)
        lanes = np.full(len(firsts), -1, np.int64)
        lanes[np.searchsorted(firsts, lane_ends, side="right") - 1] = np.arange(len(lane_ends))
        return cls(firsts, lasts, lanes, _beyond(window, lasts), window.terminated[lasts])

    @property
    def is_over(self) -> BoolArray:
        return self.lanes < 0

    def of_step(self, step: int) -> int:
        return int(np.searchsorted(self.firsts, step, side="right")) - 1


def value_scale(window: Window) -> _Scales | None:
    """Values against returns at λ = 1. An end that nothing tells of is as good as its own value."""
    if not window.has_values or window.context.settings.gamma_column is not None:
        return None  # of one γ for all steps
    found = _Runs.of(window)
    with np.errstate(over="ignore", invalid="ignore"):
        own = _own_returns(window, found)
        counts, values, returns = _sums(window, found, own)

        def squares(where: BoolArray) -> _Squares:
            return _Squares(int(counts[where].sum()), float(values[where].sum()), float(returns[where].sum()))

        return _Scales(
            squares(found.is_over),
            squares(found.is_over & found.is_terminal),
            _heads(window, own, found),
            _tails(window, own, found),
            str(window.context.path),
        )


def _beyond(window: Window, steps: IndexArray) -> FloatArray:
    given = window.next_values[steps]
    beyond = np.where(np.isnan(given), window.values[steps], given)
    return np.where(window.terminated[steps], 0.0, beyond)


class _ReturnTerms:
    """Gₜ = rₜ + γ Gₜ₊₁, and γ times what follows at the ends that are known."""

    def __init__(self, window: Window, found: _Runs) -> None:
        self.num_rows = len(window.rewards)
        self.rewards = window.rewards
        self.decay: float | None = window.context.settings.gamma
        self.cuts = np.zeros(self.num_rows, np.bool_)
        self.cuts[found.lasts] = True
        self._lasts, self._more = (
            found.lasts,
            np.where(found.is_over, window.context.settings.gamma * found.beyond, 0.0),
        )

    def fill(self, x: Array, a: Array | None, rows: slice, arrays: Arrays) -> None:
        first, stop = np.searchsorted(self._lasts, [rows.start, rows.stop])
        lasts = self._lasts[first:stop] - rows.start
        x[...] = arrays.numbers(self.rewards[rows])
        x[lasts] += arrays.numbers(self._more[first:stop])
        if a is not None:
            a[...] = self.decay
            a[lasts] = 0.0


def _own_returns(window: Window, found: _Runs) -> FloatArray:
    """[N] returns; of steps whose trajectory may go on in another block, what this block has of them."""
    returns = np.empty(len(window.rewards))
    terms = _ReturnTerms(window, found)
    kernel_for(None).scan_terms(terms, returns, device=None, precision="double", threads=1)
    return returns


def _sums(window: Window, found: _Runs, returns: FloatArray) -> tuple[IndexArray, FloatArray, FloatArray]:
    """[K] of the steps of each trajectory that are new and can be used: how many, Σ V² and Σ G²."""
    left_out = np.flatnonzero(~window.usable)
    owners = np.searchsorted(found.firsts, left_out, side="right") - 1
    counts = found.lasts + 1 - found.firsts - np.bincount(owners, minlength=len(found.firsts))

    def squares(numbers: FloatArray) -> FloatArray:
        squared = np.square(numbers)
        squared[left_out] = 0.0
        sums: FloatArray = np.add.reduceat(squared, found.firsts)
        return sums

    return counts, squares(window.values), squares(returns)


def _weights(window: Window, steps: IndexArray, last: IndexArray | int) -> FloatArray:
    found: FloatArray = np.power(float(window.context.settings.gamma), last - steps + 1.0)
    return found


def _tails(window: Window, own: FloatArray, found: _Runs) -> dict[Hashable, _Unsettled]:
    num_lanes = len(window.lanes)
    going_on = np.flatnonzero(~found.is_over)
    lengths = found.lasts[going_on] + 1 - found.firsts[going_on]
    before = np.cumsum(lengths) - lengths
    steps = np.arange(int(lengths.sum())) + np.repeat(found.firsts[going_on] - before, lengths)
    lanes, lasts = (np.repeat(part[going_on], lengths) for part in (found.lanes, found.lasts))
    kept = window.usable[steps]
    steps, lanes, lasts = steps[kept], lanes[kept], lasts[kept]
    weights = _weights(window, steps, lasts)
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
    ends = np.array([end - 1 for _, end in window.lanes], np.int64)
    beyond, is_terminal = _beyond(window, ends).tolist(), window.terminated[ends].tolist()
    return {
        key: _Unsettled(_Waiting(count, *parts), beyond[lane], is_terminal[lane])
        for lane, ((key, _), count, *parts) in enumerate(zip(window.lanes, counts, *sums, strict=True))
    }


def _heads(window: Window, own: FloatArray, found: _Runs) -> dict[Hashable, _GoingOn]:
    heads = {}
    for key, carried in window.heads.items():
        first = carried + 1
        if not window.goes_on[first]:
            beyond = float(_beyond(window, np.array([carried]))[0])
            heads[key] = _GoingOn(beyond, 0.0, False, bool(window.terminated[carried]))
            continue
        run = found.of_step(first)
        is_through = not found.is_over[run]
        weight = float(_weights(window, np.array([first]), int(found.lasts[run]))[0]) if is_through else 0.0
        heads[key] = _GoingOn(float(own[first]), weight, is_through, bool(found.is_terminal[run]))
    return heads
