"""Levels of the tree of `gaecli.kernels.scan`: eight neighbouring rows are a group, and a group is one affine map.

`Level` has a decay for each row. `EvenLevel` has one for all of them but for cuts: of a group without a cut

    X = Σ_k dᵏ x_k,  A = d⁸,        y_k = Σ_{j ≥ k} dʲ⁻ᵏ x_j  with what enters added to x₇,

are products with a vector and with a triangular matrix, which read rows as they lie; and groups of groups
have one decay again. Groups with a cut are scanned apart: nothing is subtracted, and what is behind a cut does
not enter, be it as large as it may. `Root` is what is left when groups of groups are few.

`fold` of a level sets `is_finite`, unless it is told: whether all rows are. 0 times what is not finite is NaN, so
that no weight hides it in the sum of X. Where it is False, the rows are as they were.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

#: A `numpy.ndarray` or a `torch.Tensor` of floating-point numbers.
Array: TypeAlias = Any

#: Rows per group. 4 and 16 are close; 32 and more lose to the strided copies.
RADIX = 8
#: Groups that are multiplied with a matrix, or scanned apart, at a time, and that BLAS multiplies with a vector at a
#: time: they stay in a core's cache, and BLAS starts no threads for so few, so that how many it has does not change a
#: bit.
_GROUPS, _VECTOR_GROUPS = 4096, 1024
#: Where more than one group in so many has a cut, all are scanned apart.
_GROUPS_PER_CUT = 5


class Root:
    """The last level, of so few rows that the tree ends: `double`, as far as it is needed.

    Args:
        x: overwritten.
        a: the decay of each row, overwritten; cuts, if `decay` is that of all other rows.
    """

    def __init__(self, x: Array, a: Array, decay: float | None) -> None:
        self.x = x
        self._reach = a if decay is None else _with_cuts(x, decay, a)
        double(x, self._reach)

    def solve(self, carry: float) -> Array:
        """y of all rows."""
        self._reach *= carry
        self.x += self._reach
        return self.x


class Level:
    """Buffers of one level of the tree: its rows as columns, and the map of each group."""

    def __init__(self, size: int, like: Array) -> None:
        self.num_groups = -(-size // RADIX)
        self._all_columns = empty((2, RADIX, self.num_groups), like)
        self._all_groups = empty((2, self.num_groups), like)
        self._num_views = -1

    def fold(self, x: Array, a: Array, is_finite: bool) -> tuple[Array, Array]:
        """X and A of each group. x and a are not kept."""
        self._make_views(-(-len(x) // RADIX))
        _lay_out(x, self._columns[0], padding=0.0)
        _lay_out(a, self._columns[1], padding=1.0)
        maps = self._groups  # x and a together: few calls, and long ones
        maps[...] = self._columns[:, RADIX - 1]
        for k in range(RADIX - 2, -1, -1):
            maps *= self._a_columns[k]
            self.group_x += self._x_columns[k]
        self.is_finite = is_finite or math.isfinite(float(self.group_x.sum()))
        return self.group_x, self.group_a

    def head(self, first: float) -> float:
        """y of the first row, given that of the first group."""
        return first

    def unfold(self, out: Array, carry: float) -> None:
        """`group_x` holds y of every group's first row; add the other seven and write all to out."""
        following = _shifted(self.group_x, carry, self.group_a)  # the maps in it have been folded on by now
        for k in range(RADIX - 1, 0, -1):
            y = self._a_columns[k]
            y *= following
            y += self._x_columns[k]
            following = y
        self._a_columns[0][...] = self.group_x
        _lay_back(self._columns[1], out)

    def _make_views(self, num_groups: int) -> None:
        """Once for tiles of one size: to slice takes as long as to compute what is short."""
        if num_groups == self._num_views:
            return
        self._num_views = num_groups
        self._columns, self._groups = self._all_columns[..., :num_groups], self._all_groups[:, :num_groups]
        self._x_columns, self._a_columns = ([rows[k] for k in range(RADIX)] for rows in self._columns)
        self.group_x, self.group_a = self._groups


class EvenLevel:
    """A level where all rows have one decay but for cuts, and so have its groups: the decay to the power of eight."""

    def __init__(self, size: int, like: Array, decay: float) -> None:
        self.num_groups = -(-size // RADIX)
        self._all_groups = empty((2, self.num_groups), like)
        self._room = empty((min(self.num_groups, _GROUPS), RADIX), like)
        powers = [decay**k for k in range(RADIX)]
        weights = [[powers[j - k] if j >= k else 0.0 for k in range(RADIX)] for j in range(RADIX)]
        self._decay = decay
        self._to_rows, self._to_heads = numbers_like(weights, like), numbers_like(powers, like)
        #: By the cuts of a group as the bits of a byte: aₖ of its rows, but 0 at the last one; and how much of what
        #: enters the group arrives at each of them.
        within = np.where(_CUTS, 0.0, decay)
        self._reach = numbers_like(np.cumprod(within[:, ::-1], axis=1)[:, ::-1].copy(), like)
        within[:, -1] = 0.0
        self._within = numbers_like(within, like)

    def fold(self, x: Array, cuts: NDArray[np.bool_], is_finite: bool) -> tuple[Array, NDArray[np.bool_]]:
        """X of each group, and whether a cut is in it. x is kept until `unfold`."""
        rest = len(x) % RADIX  # in front: what enters a group enters its last row
        self._rest = [
            (number, 0.0 if cut else self._decay)
            for number, cut in zip(x[:rest].tolist(), cuts[:rest], strict=True)
        ]
        self._rows = x[rest:].reshape(-1, RADIX)
        self.group_x, self._following = self._all_groups[:, : len(self._rows)]
        patterns = np.packbits(cuts[rest:], bitorder="little")
        is_cut = patterns != 0
        self._apart = np.flatnonzero(is_cut)
        self._are_all_apart = len(self._apart) * _GROUPS_PER_CUT > len(self._rows)
        if self._are_all_apart:
            self._fold_all_apart(patterns, is_finite)
        else:
            self._fold_most(patterns, is_finite)
        return self.group_x, is_cut

    def _fold_most(self, patterns: NDArray[np.uint8], is_finite: bool) -> None:
        _multiply_by_vector(self._rows, self._to_heads, self.group_x)
        self.is_finite = is_finite or self._has_finite(self.group_x)
        self._rows_apart, self._patterns = _taken(self._rows, self._apart), patterns.take(self._apart)
        self._scan(self._rows_apart, self._patterns)
        self.group_x[self._apart] = self._rows_apart[:, 0]

    def _fold_all_apart(self, patterns: NDArray[np.uint8], is_finite: bool) -> None:
        self._patterns = patterns
        self.is_finite = is_finite or self._has_finite(self._rows)
        if self.is_finite:
            for groups in self._pieces():
                self._scan(self._rows[groups], patterns[groups])
            self.group_x[...] = self._rows[:, 0]

    def _scan(self, rows: Array, patterns: NDArray[np.uint8]) -> None:
        """Each group for itself, in place: what `double` does, to the end of the group."""
        if (patterns == 255).all():
            return
        x, a, step = rows.reshape(-1), _taken(self._within, patterns).reshape(-1), 1
        x[:-1] += a[:-1] * x[1:]
        while step < RADIX // 2:
            a = a[:-step] * a[step:]
            step *= 2
            x[:-step] += a[: len(x) - step] * x[step:]

    def _has_finite(self, sums: Array) -> bool:
        return math.isfinite(float(sums.sum()) + sum(number for number, _ in self._rest))

    def head(self, first: float) -> float:
        return self._solved_rest(first)[0] if self._rest else first

    def _solved_rest(self, first: float) -> list[float]:
        """y of the rows in front of the first group, whose first y is given."""
        solved = [first]
        for x, a in reversed(self._rest):
            solved.append(x + a * solved[-1])
        return solved[:0:-1]

    def unfold(self, out: Array, carry: float) -> None:
        """`group_x` holds y of every group's first row; write y of all rows to out."""
        if self._rest:
            out[: len(self._rest)] = numbers_like(self._solved_rest(float(self.group_x[0])), self._rows)
        out = out[len(self._rest) :].reshape(-1, RADIX)
        following = _shifted(self.group_x, carry, self._following)
        if not self._are_all_apart:
            self._unfold_most(out, following)
            return
        for groups in self._pieces():
            out[groups] = self._with_what_enters(
                self._rows[groups], self._patterns[groups], following[groups]
            )

    def _unfold_most(self, out: Array, following: Array) -> None:
        entering = _taken(following, self._apart)
        following *= self._decay
        for groups in self._pieces():
            rows = self._rows[groups]
            last = rows[:, RADIX - 1]
            last += following[groups]
            if out.dtype == rows.dtype:
                _put_product(rows, self._to_rows, out[groups])
            else:
                y = self._room[: len(rows)]
                _put_product(rows, self._to_rows, y)
                out[groups] = y
        out[self._apart] = self._with_what_enters(self._rows_apart, self._patterns, entering)

    def _with_what_enters(self, rows: Array, patterns: NDArray[np.uint8], entering: Array) -> Array:
        y = _taken(self._reach, patterns)
        y *= entering[:, None]
        y += rows
        return y

    def _pieces(self) -> list[slice]:
        return [slice(start, start + _GROUPS) for start in range(0, len(self._rows), _GROUPS)]


#: [256, RADIX] the bits of each byte, the lowest first.
_CUTS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little").astype(np.bool_)


def double(x: Array, a: Array) -> None:
    """The scan without a carry, and of each row what of a carry arrives there; both in place.

    Each row takes in the one behind it, then the two behind those, and so on until no decay is left: few calls, and
    long ones. To read the rows log₂ N times is too much of many; of few it costs less than columns or a plain loop.
    """
    step = 1
    while step < len(x) and a.any():
        x[:-step] += a[:-step] * x[step:]
        a[:-step] = a[:-step] * a[step:]
        step *= 2


def _shifted(group_x: Array, carry: float, room: Array) -> Array:
    """y that enters each group where the first rows of all groups are solved."""
    room[:-1] = group_x[1:]
    room[-1] = carry
    return room


def _multiply_by_vector(rows: Array, vector: Array, out: Array) -> None:
    """`rows @ vector`, in stacks: BLAS sees few rows at a time, and there are two calls."""
    num_stacks = len(rows) // _VECTOR_GROUPS
    whole = num_stacks * _VECTOR_GROUPS
    stacks = rows[:whole].reshape(num_stacks, _VECTOR_GROUPS, RADIX)
    _put_product(stacks, vector, out[:whole].reshape(num_stacks, _VECTOR_GROUPS))
    _put_product(rows[whole:], vector, out[whole:])


def _put_product(rows: Array, by: Array, out: Array) -> None:
    if isinstance(rows, np.ndarray):
        np.matmul(rows, by, out=out)
    else:
        out[...] = rows @ by


def _taken(rows: Array, at: NDArray[Any]) -> Array:
    """`rows[at]`, which NumPy takes three times as long for."""
    return rows.take(at, axis=0) if isinstance(rows, np.ndarray) else rows[at.astype(np.intp)]


def _with_cuts(x: Array, decay: float, cuts: NDArray[np.bool_]) -> Array:
    """The decay of each row of x."""
    a = empty((len(x),), x)
    a[...] = decay
    a[np.flatnonzero(cuts)] = 0.0  # torch warns of flags that are read-only
    return a


def _lay_out(rows: Array, columns: Array, padding: float) -> None:
    """Rows in groups of eight as eight columns; a last short group is filled up with `padding`."""
    whole = rows.shape[-1] // RADIX
    columns[:, :whole] = _as_groups(rows, whole)
    rest = rows.shape[-1] - whole * RADIX
    if rest:
        columns[:rest, whole] = rows[whole * RADIX :]
        columns[rest:, whole] = padding


def _lay_back(columns: Array, rows: Array) -> None:
    whole = rows.shape[-1] // RADIX
    _as_groups(rows, whole)[...] = columns[:, :whole]
    rest = rows.shape[-1] - whole * RADIX
    if rest:
        rows[whole * RADIX :] = columns[:rest, whole]


def _as_groups(rows: Array, whole: int) -> Array:
    """A view [RADIX, whole] of the whole groups of rows, whatever their strides."""
    return rows[: whole * RADIX].reshape(whole, RADIX).swapaxes(-1, -2)


def empty(shape: tuple[int, ...], like: Array) -> Array:
    return np.empty(shape, like.dtype) if isinstance(like, np.ndarray) else like.new_empty(shape)


def numbers_like(numbers: Any, like: Array) -> Array:
    """A copy of lists, or of an array of NumPy."""
    return np.array(numbers, like.dtype) if isinstance(like, np.ndarray) else like.new_tensor(numbers)
