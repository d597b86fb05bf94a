"""Levels of the tree of `gaecli.kernels.scan`: eight neighbouring rows are a group, and a group is one affine map.

`Level` has a decay for each row. `EvenLevel` has one for all of them but for cuts: of a group without a cut

    X = Σ_k dᵏ x_k,  A = d⁸,        y_k = Σ_{j ≥ k} dʲ⁻ᵏ x_j  with what enters added to x₇,

are products with a vector and with a triangular matrix, which read rows as they lie. Groups with a cut go through a
`Level` of their own: nothing is subtracted, and what is behind a cut does not enter, be it as large as it may.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

#: A `numpy.ndarray` or a `torch.Tensor` of floating-point numbers.
Array: TypeAlias = Any

#: Rows per group. 4 and 16 are close; 32 and more lose to the strided copies.
RADIX = 8
#: Groups that are multiplied at a time, with a matrix and with a vector: they stay in a core's cache, and BLAS starts
#: no threads for so few, so that how many it has does not change a bit.
_MATRIX_GROUPS, _VECTOR_GROUPS = 4096, 1024
#: With less rows to a cut all groups are treated as if they had one.
_ROWS_PER_CUT = 4 * RADIX


class Level:
    """Buffers of one level of the tree: its rows as columns, and the map of each group."""

    def __init__(self, size: int, batch: tuple[int, ...], like: Array) -> None:
        self.num_groups = -(-size // RADIX)
        self._columns = empty((2, *batch, RADIX, self.num_groups), like)
        self._groups = empty((2, *batch, self.num_groups), like)

    def fold(self, x: Array, a: Array) -> tuple[Array, Array]:
        num_groups = -(-x.shape[-1] // RADIX)
        self._x_columns, self._a_columns = (columns[..., :num_groups] for columns in self._columns)
        _lay_out(x, self._x_columns, padding=0.0)
        _lay_out(a, self._a_columns, padding=1.0)
        maps = self._groups[..., :num_groups]  # x and a together: few calls, and long ones
        maps[0] = self._x_columns[..., RADIX - 1, :]
        maps[1] = self._a_columns[..., RADIX - 1, :]
        for k in range(RADIX - 2, -1, -1):
            maps *= self._a_columns[..., k, :]
            maps[0] += self._x_columns[..., k, :]
        self.group_x, self.group_a = maps[0], maps[1]
        return self.group_x, self.group_a

    def unfold(self, out: Array, following: Array) -> None:
        """`group_x` holds y of every group's first row; add the other seven and write all to out."""
        for k in range(RADIX - 1, 0, -1):
            y = self._a_columns[..., k, :]
            y *= following
            y += self._x_columns[..., k, :]
            following = y
        self._a_columns[..., 0, :] = self.group_x
        _lay_back(self._a_columns, out)


class EvenLevel:
    """The lowest level, where all rows have one decay but for cuts. Of a single scan."""

    def __init__(self, size: int, like: Array, decay: float) -> None:
        self.num_groups = -(-size // RADIX)
        self._decay = decay
        self._groups = empty((2, self.num_groups), like)
        #: Finite only if all rows are.
        self.total = 0.0
        #: For tiles with so many cuts that all groups are apart.
        self._every: Level | None = None
        powers = [decay**k for k in range(RADIX)]
        weights = [[powers[j - k] if j >= k else 0.0 for k in range(RADIX)] for j in range(RADIX)]
        self._to_rows = from_lists(weights, like)
        self._to_heads = from_lists(powers, like)

    def fold(self, x: Array, cuts: NDArray[np.bool_]) -> tuple[Array, Array]:
        """`cuts` [N] tells where the decay is 0. x is kept until `unfold`."""
        num_rows = x.shape[-1]
        num_groups = -(-num_rows // RADIX)
        self._x, self._num_whole = x, num_rows // RADIX
        self.group_x, self.group_a = self._groups[:, :num_groups]
        self._all_apart = int(np.count_nonzero(cuts)) * _ROWS_PER_CUT > num_rows or not self._num_whole
        if self._all_apart:
            self._level = self._every = self._every or Level(self.num_groups * RADIX, (), x)
            self.group_x[...], self.group_a[...] = self._level.fold(x, with_cuts(x, self._decay, cuts))
            self.total = float(x.sum())
            return self.group_x, self.group_a
        for groups in self._pieces(_VECTOR_GROUPS):
            self.group_x[groups] = self._whole[groups] @ self._to_heads
        # 0 times what is not finite is NaN, so that no weight hides it.
        self.total = float(self.group_x[: self._num_whole].sum()) + float(x[self._num_whole * RADIX :].sum())
        self.group_a[...] = self._decay**RADIX
        self._fold_apart(np.flatnonzero(cuts))
        return self.group_x, self.group_a

    def unfold(self, out: Array, following: Array) -> None:
        """`group_x` holds y of every group's first row, `following` what enters it; write y of all rows to out."""
        if self._all_apart:
            self._level.group_x[...] = self.group_x
            self._level.unfold(self._x, following)
            out[...] = self._x  # column by column it would be cast more slowly
            return
        self._whole[:, RADIX - 1] += self._decay * following[: self._num_whole]
        rows = out[: self._num_whole * RADIX].reshape(self._num_whole, RADIX)
        for groups in self._pieces(_MATRIX_GROUPS):
            rows[groups] = self._whole[groups] @ self._to_rows
        if len(self._apart):
            self._unfold_apart(out, rows, following)

    @property
    def _whole(self) -> Array:
        return self._x[: self._num_whole * RADIX].reshape(self._num_whole, RADIX)

    def _pieces(self, size: int) -> list[slice]:
        starts = range(0, self._num_whole, size)
        return [slice(start, min(start + size, self._num_whole)) for start in starts]

    def _fold_apart(self, cuts: NDArray[np.int64]) -> None:
        """Groups with a cut, and the last one if it is short, each row with its own decay."""
        x, owners = self._x, cuts // RADIX
        apart = owners[np.flatnonzero(np.diff(owners, prepend=-1))]
        if x.shape[-1] % RADIX and (not len(apart) or apart[-1] != self._num_whole):
            apart = np.append(apart, self._num_whole)
        self._apart = apart
        if not len(apart):
            return
        num_whole = len(apart) - int(apart[-1] == self._num_whole)
        num_rows = num_whole * RADIX + (x.shape[-1] % RADIX if num_whole < len(apart) else 0)
        rows = empty((num_rows,), x)
        rows[: num_whole * RADIX].reshape(num_whole, RADIX)[...] = self._whole[apart[:num_whole]]
        rows[num_whole * RADIX :] = x[x.shape[-1] - num_rows + num_whole * RADIX :]
        at = np.searchsorted(apart, owners) * RADIX + cuts % RADIX
        self._level = Level(num_rows, (), x)
        group_x, group_a = self._level.fold(rows, with_cuts(rows, self._decay, at))
        self.group_x[apart], self.group_a[apart] = group_x, group_a
        self._rows, self._num_whole_apart = rows, num_whole

    def _unfold_apart(self, out: Array, rows: Array, following: Array) -> None:
        apart, num_whole = self._apart, self._num_whole_apart
        self._level.group_x[...] = self.group_x[apart]
        self._level.unfold(self._rows, following[apart])
        rows[apart[:num_whole]] = self._rows[: num_whole * RADIX].reshape(num_whole, RADIX)
        out[self._num_whole * RADIX :] = self._rows[num_whole * RADIX :]


def with_cuts(x: Array, decay: float, cuts: NDArray[Any]) -> Array:
    """The decay of each row of x; `cuts`: rows, or [N] flags."""
    a = empty(tuple(x.shape), x)
    a[...] = decay
    a[cuts] = 0.0
    return a


def _lay_out(rows: Array, columns: Array, padding: float) -> None:
    """Rows in groups of eight as eight columns; a last short group is filled up with `padding`."""
    whole = rows.shape[-1] // RADIX
    columns[..., :whole] = _as_groups(rows, whole)
    rest = rows.shape[-1] - whole * RADIX
    if rest:
        columns[..., :rest, whole] = rows[..., whole * RADIX :]
        columns[..., rest:, whole] = padding


def _lay_back(columns: Array, rows: Array) -> None:
    whole = rows.shape[-1] // RADIX
    _as_groups(rows, whole)[...] = columns[..., :whole]
    rest = rows.shape[-1] - whole * RADIX
    if rest:
        rows[..., whole * RADIX :] = columns[..., :rest, whole]


def _as_groups(rows: Array, whole: int) -> Array:
    """A view [..., RADIX, whole] of the whole groups of rows, whatever their strides."""
    groups = rows[..., : whole * RADIX].reshape(*rows.shape[:-1], whole, RADIX)
    return groups.swapaxes(-1, -2)


def empty(shape: tuple[int, ...], like: Array) -> Array:
    return np.empty(shape, like.dtype) if isinstance(like, np.ndarray) else like.new_empty(shape)


def from_lists(numbers: list[Any], like: Array) -> Array:
    return np.array(numbers, like.dtype) if isinstance(like, np.ndarray) else like.new_tensor(numbers)
