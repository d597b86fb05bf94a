"""Quantiles of numbers that need not fit into memory, exact whatever the order in which they come.

float32 numbers in rising order are 32-bit whole numbers in rising order, once their sign is moved. So the number of
any rank is found in two looks: how many have each upper half, and, of the one half that the rank falls into, how many
have each lower half. Between two ranks the quantile is on the line, as with `numpy.quantile(..., method="linear")`.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from itertools import pairwise

import numpy as np

from gaecli.records import dataclass
from gaecli.rollouts import Array, FloatArray, IndexArray

_HALF_BITS = 16
_HALF = (1 << _HALF_BITS) - 1
#: A table of so many counts is made rather than sorted into.
_LARGEST_TABLE = 1 << 21
#: Counts of blocks are added up once there are so many.
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

    def __init__(self, group_bits: int) -> None:
        #: Bits of a code below those of its group.
        self.group_bits = group_bits
        self.numbers: dict[Hashable, int] = {}
        self._codes: list[IndexArray] = []
        self._counts: list[IndexArray] = []
        self._num_pending = 0

    def add(self, found: Counts) -> None:
        known = [self.numbers.setdefault(label, len(self.numbers)) for label in found.labels]
        below = (1 << self.group_bits) - 1
        groups = np.array(known, np.int64)[found.codes >> self.group_bits]
        self._codes.append((groups << self.group_bits) | (found.codes & below))
        self._counts.append(found.counts)
        self._num_pending += len(found.codes)
        if self._num_pending > _MOST_PENDING:
            self._add_up()

    def of_groups(self) -> dict[Hashable, tuple[IndexArray, IndexArray]]:
        """(codes without the group, in rising order; how often each was met) of each group that has numbers."""
        self._add_up()
        codes, counts = self._codes[0], self._counts[0]
        names = {number: label for label, number in self.numbers.items()}
        bounds = np.flatnonzero(np.diff(codes >> self.group_bits, prepend=-1, append=-1))
        below = (1 << self.group_bits) - 1
        return {
            names[int(codes[start] >> self.group_bits)]: (codes[start:stop] & below, counts[start:stop])
            for start, stop in pairwise(bounds.tolist())
        }

    def _add_up(self) -> None:
        codes = np.concatenate([np.zeros(0, np.int64), *self._codes])
        counts = np.concatenate([np.zeros(0, np.int64), *self._counts])
        distinct, places = np.unique(codes, return_inverse=True)
        total = np.zeros(len(distinct), np.int64)
        np.add.at(total, places.reshape(-1), counts)
        self._codes, self._counts, self._num_pending = [distinct], [total], 0


class QuantileSearch:
    """Two looks at all numbers: `ask` says what each block is asked, `add` takes what it found, `next` goes on."""

    def __init__(self, quantile: float) -> None:
        self.quantile = quantile
        self.ask: Ask | None = Ask()
        #: By group, once there is nothing to ask any more.
        self.found: dict[Hashable, float] = {}
        self._counter = Counter(_HALF_BITS)
        #: Of each group: the ranks to find, as (half, rank within it), and the place between them.
        self._targets: dict[Hashable, tuple[list[tuple[int, int]], float]] = {}

    def add(self, counts: Counts) -> None:
        self._counter.add(counts)

    def next(self) -> None:
        groups = self._counter.of_groups()
        if not self._targets:
            self._targets = {label: self._target(*found) for label, found in groups.items()}
            wanted = {
                label: tuple(dict.fromkeys(half for half, _ in ranks))
                for label, (ranks, _) in self._targets.items()
            }
            self._counter = Counter(_HALF_BITS + 1)
            self.ask = Ask(wanted) if wanted else None
            return
        self.ask = None
        for label, (codes, counts) in groups.items():
            ranks, share = self._targets[label]
            halves = list(dict.fromkeys(half for half, _ in ranks))
            low, high = (_number(half, codes, counts, halves.index(half), rank) for half, rank in ranks)
            self.found[label] = _between(low, high, share)

    def _target(self, halves: IndexArray, counts: IndexArray) -> tuple[list[tuple[int, int]], float]:
        until = np.cumsum(counts)
        total = int(until[-1])
        place = self.quantile * (total - 1)
        first = min(int(np.floor(place)), total - 1)
        ranks = []
        for rank in (first, min(first + 1, total - 1)):
            index = int(np.searchsorted(until, rank, side="right"))
            ranks.append((int(halves[index]), rank - int(until[index] - counts[index])))
        return ranks, place - first


def _number(half: int, codes: IndexArray, counts: IndexArray, which: int, rank: int) -> float:
    is_of_half = (codes >> _HALF_BITS) == which
    index = int(np.searchsorted(np.cumsum(counts[is_of_half]), rank, side="right"))
    return float(
        from_ordered_bits(np.array([(half << _HALF_BITS) | int(codes[is_of_half][index] & _HALF)]))[0]
    )


def _between(low: float, high: float, share: float) -> float:
    """As NumPy's `_lerp`, so that the last bit is the same."""
    with np.errstate(invalid="ignore", over="ignore"):
        if low == high:
            return low
        distance = np.float64(high) - np.float64(low)
        return float(high - distance * (1 - share) if share >= 0.5 else low + distance * share)


def ordered_bits(numbers: Array) -> IndexArray:
    """float32 numbers as whole ones in the same order; 0 and -0 are one number."""
    bits = (numbers.astype(np.float32) + np.float32(0)).view(np.uint32)
    return np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31)).astype(np.int64)


def from_ordered_bits(keys: IndexArray) -> FloatArray:
    bits = keys.astype(np.uint32)
    bits = np.where(bits >> 31, bits & np.uint32(0x7FFFFFFF), ~bits)
    return bits.astype(np.uint32).view(np.float32).astype(np.float64)
