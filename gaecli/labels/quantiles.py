"""Quantiles of numbers that need not fit into memory, exact whatever the order in which they come.

float32 numbers in rising order are 32-bit whole numbers in rising order, once their sign is moved. So the number of
any rank is found in two looks: how many have each upper half, and, of the one half that the rank falls into, how many
have each lower half. Between two ranks the quantile is on the line, as with `numpy.quantile(..., method="linear")`.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from gaecli.array_types import Array, BoolArray, FloatArray, IndexArray
from gaecli.choices import LabelOperator
from gaecli.records import dataclass

_HALF_BITS = 16
_HALF = (1 << _HALF_BITS) - 1
#: A table of so many counts is made rather than sorted into.
_LARGEST_TABLE = 1 << 21
#: Counts of blocks are added up once there are so many, unless many searches go on at a time.
_MOST_PENDING = 1 << 21


@dataclass(frozen=True, eq=False)
class Counts:
    """How often each number was met: whole numbers, each of a group in the upper and a half in the lower bits."""

    #: What the groups are called.
    labels: Sequence[Hashable]
    codes: IndexArray
    counts: IndexArray


@dataclass(frozen=True, eq=False)
class Ask:
    """What is asked of every block: upper halves, or the lower halves of those that are named by group."""

    wanted: Mapping[Hashable, tuple[int, ...]] | None = None

    def of(self, numbers: Array, groups: IndexArray | None, labels: Sequence[Hashable]) -> Counts:
        """`numbers`: float32, none of them NaN. `groups`: [N] index into `labels`; None: all are of the first."""
        keys = ordered_bits(numbers)
        group = np.zeros(len(keys), np.int64) if groups is None else groups
        if self.wanted is None:
            codes = (group << _HALF_BITS) | (keys >> _HALF_BITS)
        else:
            # Of a group two halves at most are wanted: each is one bit more of the code.
            code = (group << 1) << _HALF_BITS
            halves = [self._half(which, labels)[group] for which in range(2)]
            codes = np.concatenate(
                [
                    (code | (which << _HALF_BITS) | (keys & _HALF))[(keys >> _HALF_BITS) == half]
                    for which, half in enumerate(halves)
                ]
            )
        return Counts(labels, *_counted(codes))

    def _half(self, which: int, labels: Sequence[Hashable]) -> IndexArray:
        assert self.wanted is not None
        halves = [self.wanted.get(label, ()) for label in labels]
        return np.array([half[which] if which < len(half) else -1 for half in halves], np.int64)


def _counted(codes: IndexArray) -> tuple[IndexArray, IndexArray]:
    """(what codes there are, in rising order; how often each). Not sorted, where a table of all is small."""
    if not len(codes) or int(codes.max()) >= _LARGEST_TABLE:
        distinct, counts = np.unique(codes, return_counts=True)
        return distinct.astype(np.int64), counts.astype(np.int64)
    table = np.bincount(codes)
    distinct = np.flatnonzero(table)
    return distinct.astype(np.int64), table[distinct].astype(np.int64)


class Counter:
    """Counts of blocks, added up."""

    def __init__(self, group_bits: int, most_pending: int = _MOST_PENDING) -> None:
        #: Bits of a code below those of its group.
        self.group_bits = group_bits
        self.numbers: dict[Hashable, int] = {}
        self._codes: list[IndexArray] = []
        self._counts: list[IndexArray] = []
        self._num_pending, self._most_pending = 0, most_pending

    def add(self, found: Counts) -> None:
        known = [self.numbers.setdefault(label, len(self.numbers)) for label in found.labels]
        below = (1 << self.group_bits) - 1
        groups = np.array(known, np.int64)[found.codes >> self.group_bits]
        self._codes.append((groups << self.group_bits) | (found.codes & below))
        self._counts.append(found.counts)
        self._num_pending += len(found.codes)
        if self._num_pending > self._most_pending:
            self._add_up()

    def all(self) -> tuple[IndexArray, IndexArray]:
        """(codes in rising order, those of one group after the other; how often each was met)."""
        self._add_up()
        return self._codes[0], self._counts[0]

    def _add_up(self) -> None:
        codes = np.concatenate([np.zeros(0, np.int64), *self._codes])
        counts = np.concatenate([np.zeros(0, np.int64), *self._counts])
        distinct, places = np.unique(codes, return_inverse=True)
        total = np.zeros(len(distinct), np.int64)
        np.add.at(total, places.reshape(-1), counts)
        self._codes, self._counts, self._num_pending = [distinct], [total], 0


@dataclass(frozen=True, eq=False)
class _Ranks:
    """Of each group that has numbers: the two between which the quantile lies, and how far from the first one."""

    labels: Sequence[Hashable]
    #: [groups, 2] the upper half of the number, and how many of that half stand before it.
    halves: IndexArray
    ranks: IndexArray
    shares: FloatArray

    def which(self) -> IndexArray:
        """[groups, 2] the place of each half among those that are asked for of its group."""
        return np.stack(
            [np.zeros(len(self.halves), np.int64), self.halves[:, 1] != self.halves[:, 0]], axis=1
        )


class QuantileSearch:
    """Two looks at all numbers: `ask` says what each block is asked, `add` takes what it found, `next` goes on."""

    def __init__(self, quantile: float, most_pending: int = _MOST_PENDING) -> None:
        self.quantile, self._most_pending = quantile, most_pending
        self.ask: Ask | None = Ask()
        #: By group, once there is nothing to ask any more.
        self.found: dict[Hashable, float] = {}
        self._counter = Counter(_HALF_BITS, most_pending)
        self._ranks: _Ranks | None = None

    def add(self, counts: Counts) -> None:
        self._counter.add(counts)

    def next(self) -> None:
        if self._ranks is not None:
            self.found, self.ask = self._numbers(self._ranks), None
            return
        self._ranks = ranks = self._targets()
        self._counter = Counter(_HALF_BITS + 1, self._most_pending)
        wanted = {
            label: tuple(dict.fromkeys(halves))
            for label, halves in zip(ranks.labels, ranks.halves.tolist(), strict=True)
        }
        self.ask = Ask(wanted) if wanted else None

    def _targets(self) -> _Ranks:
        codes, counts = self._counter.all()
        until = np.cumsum(counts)
        stops = np.flatnonzero(np.diff(codes >> _HALF_BITS, append=-1)) + 1
        ends = until[stops - 1]
        before = np.concatenate((np.zeros(1, np.int64), ends))[: len(ends)]
        last = ends - before - 1
        places = self.quantile * last
        first = np.minimum(np.floor(places).astype(np.int64), last)
        ranks = before[:, None] + np.stack([first, np.minimum(first + 1, last)], axis=1)
        index = np.searchsorted(until, ranks, side="right")
        names = list(self._counter.numbers)
        labels = [names[number] for number in (codes[stops - 1] >> _HALF_BITS).tolist()]
        return _Ranks(labels, codes[index] & _HALF, ranks - (until - counts)[index], places - first)

    def _numbers(self, ranks: _Ranks) -> dict[Hashable, float]:
        codes, counts = self._counter.all()
        until = np.cumsum(counts)
        groups = np.array([self._counter.numbers[label] for label in ranks.labels], np.int64)
        starts = np.searchsorted(codes, ((groups[:, None] << 1) | ranks.which()) << _HALF_BITS)
        index = np.searchsorted(until, (until - counts)[starts] + ranks.ranks, side="right")
        numbers = from_ordered_bits((ranks.halves << _HALF_BITS) | (codes[index] & _HALF))
        found = _between(numbers[:, 0], numbers[:, 1], ranks.shares)
        return dict(zip(ranks.labels, found.tolist(), strict=True))


def _between(low: FloatArray, high: FloatArray, share: FloatArray) -> FloatArray:
    """As NumPy's `_lerp`, so that the last bit is the same."""
    with np.errstate(invalid="ignore", over="ignore"):
        distance = high - low
        between = np.where(share >= 0.5, high - distance * (1 - share), low + distance * share)
    return np.where(low == high, low, between)


def is_beyond(numbers: Array, thresholds: FloatArray | float, operator: LabelOperator) -> BoolArray:
    """In float64: a threshold between two numbers that are next to each other in float32 is neither of them."""
    wide = numbers.astype(np.float64)
    with np.errstate(invalid="ignore"):
        found: BoolArray = wide > thresholds if operator == "gt" else wide >= thresholds
    return found


def ordered_bits(numbers: Array) -> IndexArray:
    """float32 numbers as whole ones in the same order; 0 and -0 are one number."""
    bits = (numbers.astype(np.float32) + np.float32(0)).view(np.uint32)
    return np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31)).astype(np.int64)


def from_ordered_bits(keys: IndexArray) -> FloatArray:
    bits = keys.astype(np.uint32)
    bits = np.where(bits >> 31, bits & np.uint32(0x7FFFFFFF), ~bits)
    return bits.astype(np.uint32).view(np.float32).astype(np.float64)
