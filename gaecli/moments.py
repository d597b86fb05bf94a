"""Mean and variance that merge: any split of the data gives the same result to rounding.

Chan, Golub & LeVeque 1983 (https://doi.org/10.1080/00031305.1983.10483115). Two passes over each
piece, in float64, where E[x²] - E[x]² would lose digits: with an offset of 1e8 it would lose all of them.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from gaecli.array_types import Array, BoolArray, FloatArray, IndexArray
from gaecli.records import dataclass

#: Rows summed at a time: what is centred stays in the cache, and calls cost little per row.
PIECE = 1 << 17
#: Rows whose squares BLAS adds up at a time. For more than 10,000 it starts threads, which wait for each other when
#: all cores are busy, and the sum would depend on their number.
_DOT = 1 << 13
#: As much of E[x²] has to be left without E[x]²: one digit is lost at most.
_LEAST_LEFT = 0.1
#: count, mean and m2, as in `Moments`, which takes longer to make than to sum up a piece.
_Found: TypeAlias = tuple[int, float, float]


@dataclass(frozen=True)
class Moments:
    """count n, mean, and m2 = Σ (x - mean)²."""

    count: int = 0
    mean: float = 0.0
    m2: float = 0.0

    @classmethod
    def of(cls, numbers: Array) -> Moments:
        found, room = (0, 0.0, 0.0), np.empty(min(len(numbers), PIECE))
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows comes out as infinite or NaN
            for start in range(0, len(numbers), PIECE):
                found = _merged(found, _of_piece(numbers[start : start + PIECE], room))
        return cls(*found)

    def merge(self, other: Moments) -> Moments:
        if not self.count or not other.count:
            return self if self.count else other
        mine, theirs = (self.count, self.mean, self.m2), (other.count, other.mean, other.m2)
        return Moments(*_merged(mine, theirs))

    def variance(self, ddof: int = 0) -> float | None:
        """Σ (x - mean)² / (n - ddof); None where n <= ddof."""
        return self.m2 / (self.count - ddof) if self.count > ddof else None

    def std(self, ddof: int = 0) -> float | None:
        variance = self.variance(ddof)
        return None if variance is None else math.sqrt(variance)


def _of_piece(numbers: Array, room: FloatArray) -> _Found:
    """Of so many numbers as stay in the cache, one at least; `room` is for as many."""
    piece = room = room[: len(numbers)]
    if numbers.dtype == np.float64 and numbers.flags.c_contiguous:
        piece = numbers
    else:
        piece[...] = numbers
    count, mean = len(piece), float(np.add.reduce(piece)) / len(piece)
    squares = _sum_of_squares(piece)
    m2 = squares - count * mean * mean
    if not m2 > _LEAST_LEFT * squares:
        m2 = _sum_of_squares(np.subtract(piece, mean, out=room))
    return count, mean, m2


def _sum_of_squares(piece: FloatArray) -> float:
    whole = len(piece) // _DOT * _DOT
    stacks, rest = piece[:whole].reshape(whole // _DOT, 1, _DOT), piece[whole:]
    return float(np.add.reduce(stacks @ stacks.swapaxes(1, 2), axis=None)) + float(rest @ rest)


def _merged(one: _Found, other: _Found) -> _Found:
    (count_1, mean_1, m2_1), (count_2, mean_2, m2_2) = one, other
    if not count_1:
        return other
    count = count_1 + count_2
    shift = mean_2 - mean_1
    mean = mean_1 + shift * (count_2 / count)
    return count, mean, m2_1 + m2_2 + shift * shift * (count_1 * count_2 / count)


@dataclass(frozen=True, eq=False)
class GroupedMoments:
    """`Moments` of G groups at once: arrays of counts, means and m2.

    Counts are sums of weights, where numbers have some.
    """

    counts: FloatArray
    means: FloatArray
    m2s: FloatArray
    #: How many numbers there are, where they have weights; None: as `counts` says.
    members: FloatArray | None = None
    #: [G, 2] the two largest numbers, -inf where there are none, of whoever asks for them.
    largest: FloatArray | None = None

    @classmethod
    def of(
        cls,
        numbers: Array,
        groups: IndexArray,
        num_groups: int,
        weights: Array | None = None,
        *,
        with_largest: bool = False,
    ) -> GroupedMoments:
        """`groups` [N] tells the group of each number."""
        numbers = numbers.astype(np.float64, copy=False)
        counts = _sums(groups, num_groups, weights)
        divisors = np.where(counts > 0, counts, 1.0)

        def sums(terms: FloatArray) -> FloatArray:
            return _sums(groups, num_groups, terms if weights is None else terms * weights)

        with np.errstate(over="ignore", invalid="ignore"):  # as above
            means = sums(numbers) / divisors
            deviations = numbers - means[groups]
            # The mean above is rounded; what is left of it is taken out, as the two-pass formula does.
            rest = sums(deviations) / divisors
            m2s = np.maximum(sums(deviations * deviations) - counts * rest * rest, 0.0)
            members = None if weights is None else _sums(groups, num_groups, None)
            largest = _largest(numbers, groups, num_groups) if with_largest else None
            return cls(counts, means + rest, m2s, members, largest)

    @classmethod
    def of_all(
        cls, numbers: Array, weights: Array | None = None, *, with_largest: bool = False
    ) -> GroupedMoments:
        """Of one group that has them all."""
        if weights is None and not with_largest:
            return cls.of_one(Moments.of(numbers))
        return cls.of(numbers, np.zeros(len(numbers), np.int64), 1, weights, with_largest=with_largest)

    @classmethod
    def of_one(cls, moments: Moments) -> GroupedMoments:
        return cls(np.array([float(moments.count)]), np.array([moments.mean]), np.array([moments.m2]))

    @classmethod
    def nothing(cls, num_groups: int) -> GroupedMoments:
        return cls(np.zeros(num_groups), np.zeros(num_groups), np.zeros(num_groups))

    def merge(self, other: GroupedMoments) -> GroupedMoments:
        """Group by group."""
        counts = self.counts + other.counts
        shares = other.counts / np.where(counts > 0, counts, 1.0)
        with np.errstate(over="ignore", invalid="ignore"):
            shifts = other.means - self.means
            # Where one of the two is empty the other is taken as it is, bit by bit.
            means = np.where(self.counts > 0, self.means + shifts * shares, other.means)
            m2s = self.m2s + other.m2s + shifts * shifts * (self.counts * shares)
        m2s = np.where((self.counts > 0) & (other.counts > 0), m2s, self.m2s + other.m2s)
        members = None if other.members is None else self.sizes + other.sizes
        largest = None
        if self.largest is not None and other.largest is not None:
            largest = np.sort(np.concatenate((self.largest, other.largest), axis=1), axis=1)[:, :1:-1]
        return GroupedMoments(counts, means, m2s, members, largest)

    @property
    def sizes(self) -> FloatArray:
        return self.counts if self.members is None else self.members

    def weighted(self) -> GroupedMoments:
        """With room for the numbers of members beside the sums of their weights."""
        return self if self.members is not None else replace(self, members=self.counts.copy())

    def ranked(self) -> GroupedMoments:
        """With room for the two largest numbers."""
        return self if self.largest is not None else replace(self, largest=_none(len(self.counts)))

    def take(self, rows: IndexArray | slice) -> GroupedMoments:
        members = None if self.members is None else self.members[rows]
        largest = None if self.largest is None else self.largest[rows]
        return GroupedMoments(self.counts[rows], self.means[rows], self.m2s[rows], members, largest)

    def put(self, rows: IndexArray, others: GroupedMoments) -> None:
        """In place."""
        self.counts[rows], self.means[rows], self.m2s[rows] = others.counts, others.means, others.m2s
        if self.members is not None:
            self.members[rows] = others.sizes
        if self.largest is not None and others.largest is not None:
            self.largest[rows] = others.largest

    def padded(self, num_groups: int) -> GroupedMoments:
        """With empty groups behind."""
        more = np.zeros(num_groups - len(self.counts))
        counts, means, m2s = (np.concatenate((part, more)) for part in (self.counts, self.means, self.m2s))
        members = None if self.members is None else np.concatenate((self.members, more))
        largest = None if self.largest is None else np.concatenate((self.largest, _none(len(more))))
        return GroupedMoments(counts, means, m2s, members, largest)

    def only(self, chosen: BoolArray) -> GroupedMoments:
        """The others as if they were empty; of groups without weights and ranks."""
        return GroupedMoments(*(np.where(chosen, part, 0.0) for part in (self.counts, self.means, self.m2s)))

    def stds(self, ddof: int = 0) -> FloatArray:
        """NaN where n <= ddof."""
        divisors = self.counts - ddof
        variances = self.m2s / np.where(divisors > 0, divisors, 1.0)
        found: FloatArray = np.where(divisors > 0, np.sqrt(variances), np.nan)
        return found

    def group(self, index: int) -> Moments:
        return Moments(int(self.counts[index]), float(self.means[index]), float(self.m2s[index]))


def _sums(groups: IndexArray, num_groups: int, terms: Array | None) -> FloatArray:
    """By group; None: of as many ones."""
    return np.bincount(groups, weights=terms, minlength=num_groups).astype(np.float64, copy=False)


def _none(num_groups: int) -> FloatArray:
    return np.full((num_groups, 2), -np.inf)


def _largest(numbers: FloatArray, groups: IndexArray, num_groups: int) -> FloatArray:
    """[G, 2] the largest number of each group, and the largest of the others in it."""
    order = np.lexsort((-numbers, groups))
    counts = np.bincount(groups, minlength=num_groups)
    firsts = np.cumsum(counts) - counts
    found = _none(num_groups)
    for rank in (0, 1):
        has = counts > rank
        found[has, rank] = numbers[order[firsts[has] + rank]]
    return found
