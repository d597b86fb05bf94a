"""Quantiles of numbers that need not fit into memory, exact whatever the order in which they come.

float32 numbers in rising order are 32-bit whole numbers in rising order, once their sign is moved. So the number of
any rank is found in two looks: how many have each upper half, and, of the one half that the rank falls into, how many
have each lower half. Where there are so many groups that these counts would take more than a few for each, a look
tells fewer bits of the numbers, and there are more looks. Between two ranks the quantile is on the line, as with
`numpy.quantile(..., method="linear")`.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from gaecli.array_types import Array, BoolArray, FloatArray, IndexArray
from gaecli.choices import LabelOperator
from gaecli.records import dataclass

_BITS = 32
#: So many of them are told by one look, unless that would be too many counts.
_BITS_OF_LOOK = 16
#: A table of so many counts is made rather than sorted into.
_LARGEST_TABLE = 1 << 21
#: Counts of blocks are added up once there are so many, unless many searches go on at a time.
_MOST_PENDING = 1 << 20
#: So many are kept in any case: all of one group.
_LEAST_KEPT = 1 << 17
_KEPT_OF_GROUP = 16


@dataclass(frozen=True, eq=False)
class Counts:
    """How often each number was met: whole numbers, each of a group in the upper and some bits in the lower ones."""

    #: What the groups are called.
    labels: Sequence[Hashable]
    codes: IndexArray
    counts: IndexArray


@dataclass(frozen=True, eq=False)
class Ask:
    """What is asked of every block: the next bits, of all numbers or of those that begin as is named by group."""

    #: How many bits the beginnings have.
    num_known: int = 0
    wanted: Mapping[Hashable, tuple[int, ...]] | None = None

    @property
    def num_bits(self) -> int:
        return min(_BITS_OF_LOOK, _BITS - self.num_known)

    @property
    def group_bits(self) -> int:
        """Bits of a code below those of its group."""
        return self.num_bits if self.wanted is None else self.num_bits + 1

    def of(self, numbers: Array, groups: IndexArray | None, labels: Sequence[Hashable]) -> Counts:
        """`numbers`: float32, none of them NaN. `groups`: [N] index into `labels`; None: all are of the first."""
        keys = ordered_bits(numbers)
        group = np.zeros(len(keys), np.int64) if groups is None else groups
        code = group << self.group_bits
        beginnings = keys >> (_BITS - self.num_known)
        code |= (keys >> (_BITS - self.num_known - self.num_bits)) & ((1 << self.num_bits) - 1)
        if self.wanted is not None:
            # Of a group two beginnings at most are wanted: each is one bit more of the code.
            code = np.concatenate(
                [
                    code[beginnings == self._beginning(which, labels)[group]] | (which << self.num_bits)
                    for which in range(2)
                ]
            )
        return Counts(labels, *_counted(code))

    def _beginning(self, which: int, labels: Sequence[Hashable]) -> IndexArray:
        assert self.wanted is not None
        found = [self.wanted.get(label, ()) for label in labels]
        return np.array([one[which] if which < len(one) else -1 for one in found], np.int64)


def _counted(codes: IndexArray) -> tuple[IndexArray, IndexArray]:
    """(what codes there are, in rising order; how often each). Not sorted, where a table of all is small."""
    if not len(codes) or int(codes.max()) >= _LARGEST_TABLE:
        distinct, counts = np.unique(codes, return_counts=True)
        return distinct.astype(np.int64), counts.astype(np.int64)
    table = np.bincount(codes)
    distinct = np.flatnonzero(table)
    return distinct.astype(np.int64), table[distinct].astype(np.int64)


class Counter:
    """Counts of blocks that were asked the same, added up; less is told of numbers where that would be too many."""

    def __init__(self, ask: Ask, most_pending: int = _MOST_PENDING) -> None:
        #: Of a code as it is kept: bits of the number, and all below those of the group.
        self.num_bits, self.group_bits = ask.num_bits, ask.group_bits
        self.numbers: dict[Hashable, int] = {}
        self._asked_bits = ask.group_bits
        self._codes: list[IndexArray] = []
        self._counts: list[IndexArray] = []
        self._num_pending, self._most_pending = 0, most_pending

    def add(self, found: Counts) -> None:
        known = [self.numbers.setdefault(label, len(self.numbers)) for label in found.labels]
        below = (1 << self._asked_bits) - 1
        groups = np.array(known, np.int64)[found.codes >> self._asked_bits]
        codes = (groups << self._asked_bits) | (found.codes & below)
        self._codes.append(codes >> (self._asked_bits - self.group_bits))
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
        self._codes, self._counts, self._num_pending = [], [], 0
        order = np.argsort(codes, kind="stable")
        codes, counts = _merged(codes[order], counts[order])
        most = max(self._most_pending, _LEAST_KEPT, _KEPT_OF_GROUP * len(self.numbers))
        if len(codes) > most:
            while len(codes) > most // 2 and self.num_bits > 1:  # not each time anew
                codes, counts = _merged(codes >> 1, counts)
                self.num_bits -= 1
                self.group_bits -= 1
        self._codes, self._counts = [codes], [counts]


def _merged(codes: IndexArray, counts: IndexArray) -> tuple[IndexArray, IndexArray]:
    """Each code once; they are in rising order."""
    if not len(codes):
        return codes, counts
    first = np.flatnonzero(np.concatenate(([True], codes[1:] != codes[:-1])))
    return codes[first], np.add.reduceat(counts, first)


@dataclass(frozen=True, eq=False)
class _Ranks:
    """Of each group that has numbers: the two between which the quantile lies, and how far from the first one."""

    labels: Sequence[Hashable]
    #: [groups, 2] the bits of the number that are known, and how many that begin with them stand before it.
    known: IndexArray
    ranks: IndexArray
    shares: FloatArray

    def which(self) -> IndexArray:
        """[groups, 2] the place of each beginning among those that are asked for of its group."""
        return np.stack([np.zeros(len(self.known), np.int64), self.known[:, 1] != self.known[:, 0]], axis=1)


class QuantileSearch:
    """Looks at all numbers: `ask` says what each block is asked, `add` takes what it found, `next` goes on."""

    def __init__(self, quantile: float, most_pending: int = _MOST_PENDING) -> None:
        self.quantile, self._most_pending = quantile, most_pending
        self.ask: Ask | None = Ask()
        #: By group, once there is nothing to ask any more.
        self.found: dict[Hashable, float] = {}
        self._counter = Counter(self.ask, most_pending)
        self._ranks: _Ranks | None = None

    def add(self, counts: Counts) -> None:
        self._counter.add(counts)

    def next(self) -> None:
        assert self.ask is not None
        codes, counts = self._counter.all()
        ranks = self._ranks = self._told(self._ranks or self._of_all(codes, counts), codes, counts)
        num_known = self.ask.num_known + self._counter.num_bits
        if num_known == _BITS or not ranks.labels:
            numbers = from_ordered_bits(ranks.known)
            found = _between(numbers[:, 0], numbers[:, 1], ranks.shares)
            self.found, self.ask = dict(zip(ranks.labels, found.tolist(), strict=True)), None
            return
        beginnings = zip(ranks.labels, ranks.known.tolist(), strict=True)
        self.ask = Ask(num_known, {label: tuple(dict.fromkeys(pair)) for label, pair in beginnings})
        self._counter = Counter(self.ask, self._most_pending)

    def _of_all(self, codes: IndexArray, counts: IndexArray) -> _Ranks:
        """The ranks among all numbers of each group, of which nothing is known."""
        groups = codes >> self._counter.group_bits
        stops = np.flatnonzero(np.diff(groups, append=-1)) + 1
        last = np.diff(np.cumsum(counts)[stops - 1], prepend=0) - 1
        places = self.quantile * last
        first = np.minimum(np.floor(places).astype(np.int64), last)
        names = list(self._counter.numbers)
        return _Ranks(
            [names[number] for number in groups[stops - 1].tolist()],
            np.zeros((len(stops), 2), np.int64),
            np.stack([first, np.minimum(first + 1, last)], axis=1),
            places - first,
        )

    def _told(self, ranks: _Ranks, codes: IndexArray, counts: IndexArray) -> _Ranks:
        """The same with the bits that the counts tell."""
        counter = self._counter
        until = np.cumsum(counts)
        before = until - counts
        groups = np.array([counter.numbers[label] for label in ranks.labels], np.int64)
        starts = np.searchsorted(
            codes, (groups[:, None] << counter.group_bits) | (ranks.which() << counter.num_bits)
        )
        places = before[starts] + ranks.ranks
        index = np.searchsorted(until, places, side="right")
        bits = codes[index] & ((1 << counter.num_bits) - 1)
        known = (ranks.known << counter.num_bits) | bits
        return _Ranks(ranks.labels, known, places - before[index], ranks.shares)


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
