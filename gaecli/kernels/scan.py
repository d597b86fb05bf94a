"""The reverse affine scan, the one recurrence that every estimator is an instance of.

    yₜ = xₜ + aₜ · yₜ₊₁        for t = N-1 … 0, with y_N = carry

A radix-8 tree on strided columns. Eight neighbouring rows form a group, and a group is again one
affine map, so the problem shrinks eightfold per level:

    fold      lay the rows out as eight contiguous columns; (X, A) of each group, from column 7 to 0:
              X ← x_k + a_k · X,  A ← a_k · A.    The X and A of all groups are the next level.
    solve     at most `ROOT_SIZE` maps are left: a plain loop, from the carry. Its last result is y₀.
    unfold    back down, every group now knowing what enters it: y_k = x_k + a_k · y_{k+1}

Indexing and in-place operators only, so the same lines run on NumPy arrays and on torch tensors of
any device. Not cumsum and cumprod: dividing by a product of decays is NaN once any decay is 0, and
a cut is a decay of 0. Not log-depth doubling: it reads the data log₂ N times.

What enters must be finite: 0 · NaN is NaN, so here a decay of 0 does not stop a NaN.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

#: A `numpy.ndarray` or a `torch.Tensor` of floating-point numbers.
Array: TypeAlias = Any

#: Rows per group. 4 and 16 are close; 32 and more lose to the strided copies.
RADIX = 8
#: A level this small is done by a Python loop: 8 more columns would cost more in calls.
ROOT_SIZE = 256
#: Rows per tile, for which the buffers stay in a core's cache and calls still cost little per row.
TILE_ROWS = 8**6


def affine_scan(x: Array, a: Array, carry: Any = 0.0, *, tile_rows: int = TILE_ROWS) -> Array:
    """Reverse affine scan along the last axis, in place: x becomes y, and is returned.

        yₜ = xₜ + aₜ · yₜ₊₁,  y_N = carry

    Args:
        x: [N] or [K, N], float32 or float64, any strides; K independent scans. Overwritten with y.
        a: of x's shape and dtype; 0 at a cut. Only read.
        carry: y_N, a number, or K numbers.
        tile_rows: rows scanned at a time, from the end; a matter of speed, not of meaning.

    Returns:
        x, now y.
    """
    num_rows = x.shape[-1]
    scan = TileScan(min(num_rows, tile_rows), like=x)
    carries = _carry_list(carry, x)
    for stop in range(num_rows, 0, -tile_rows):
        rows = slice(max(stop - tile_rows, 0), stop)
        scan.fold(x[..., rows], a[..., rows])
        carries = scan.solve(carries)
        scan.unfold(x[..., rows])
    return x


def affine_scanned(x: Array, a: Array, carry: Any = 0.0, *, tile_rows: int = TILE_ROWS) -> Array:
    """`affine_scan` into a new array; x is left as it is."""
    copied = x.copy() if isinstance(x, np.ndarray) else x.clone()
    return affine_scan(copied, a, carry, tile_rows=tile_rows)


class TileScan:
    """The scan of one tile, in its three steps, with buffers that serve tile after tile.

    In three steps, because `fold`, which is more than half of the work, does not need the carry:
    several threads can walk over tiles and wait for each other only in `solve`.

    Args:
        size: most rows that a tile will have.
        like: an array of the dtype, device and leading shape ([] or [K]) to come.
    """

    def __init__(self, size: int, *, like: Array) -> None:
        self._batch = tuple(like.shape[:-1])
        self._levels: list[_Level] = []
        self._like = like[..., :0]
        while size > ROOT_SIZE:
            self._levels.append(_Level(size, self._batch, like))
            size = self._levels[-1].num_groups
        self._used: list[_Level] = []
        self._root: tuple[list[list[float]], list[list[float]]] = ([], [])
        self._solution: list[list[float]] = []
        self._carries: list[float] = []

    def fold(self, x: Array, a: Array) -> None:
        """Reduce the rows of a tile to at most `ROOT_SIZE` maps. x and a are not kept."""
        self._used = []
        for level in self._levels:
            if x.shape[-1] <= ROOT_SIZE:
                break
            x, a = level.fold(x, a)
            self._used.append(level)
        self._root = (_rows_as_lists(x), _rows_as_lists(a))

    def solve(self, carries: list[float]) -> list[float]:
        """y₀ of the tile, one number per scan, given the y that enters at its end."""
        self._carries = carries
        self._solution = [_plain_loop(x, a, carry) for x, a, carry in zip(*self._root, carries, strict=True)]
        return [y[0] if y else carry for y, carry in zip(self._solution, carries, strict=True)]

    def unfold(self, out: Array) -> None:
        """Write y of every row to `out`, which may be x itself and of another float dtype."""
        targets = [out, *(level.group_x for level in self._used)]
        root = _from_lists(self._solution, self._like)
        targets[-1][...] = root if self._batch else root[0]
        carries = _from_lists(self._carries, self._like)
        for level, target in zip(reversed(self._used), reversed(targets[:-1]), strict=True):
            level.unfold(target, carries if self._batch else carries[0])


class _Level:
    """Buffers of one level of the tree: its rows as columns, and the map of each group."""

    def __init__(self, size: int, batch: tuple[int, ...], like: Array) -> None:
        self.num_groups = -(-size // RADIX)
        self._columns = _empty((2, *batch, RADIX, self.num_groups), like)
        self._groups = _empty((2, *batch, self.num_groups), like)

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
        self.group_x, self._group_a = maps[0], maps[1]
        return self.group_x, self._group_a

    def unfold(self, out: Array, carry: Array) -> None:
        """`group_x` holds y of every group's first row; add the other seven and write all to out."""
        following = self._group_a  # the maps in it have been folded on by now
        following[..., :-1] = self.group_x[..., 1:]
        following[..., -1] = carry
        for k in range(RADIX - 1, 0, -1):
            y = self._a_columns[..., k, :]
            y *= following
            y += self._x_columns[..., k, :]
            following = y
        self._a_columns[..., 0, :] = self.group_x
        _lay_back(self._a_columns, out)


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


def _plain_loop(x: list[float], a: list[float], carry: float) -> list[float]:
    y = []
    for x_t, a_t in zip(reversed(x), reversed(a), strict=True):
        carry = x_t + a_t * carry
        y.append(carry)
    y.reverse()
    return y


def _carry_list(carry: Any, x: Array) -> list[float]:
    num_scans = x.shape[0] if x.ndim == 2 else 1
    if hasattr(carry, "tolist"):
        carry = carry.tolist()
    if isinstance(carry, list | tuple):
        return [float(number) for number in carry]
    return [float(carry)] * num_scans


def _rows_as_lists(x: Array) -> list[list[float]]:
    rows = x.tolist()
    return rows if x.ndim == 2 else [rows]


def _empty(shape: tuple[int, ...], like: Array) -> Array:
    return np.empty(shape, like.dtype) if isinstance(like, np.ndarray) else like.new_empty(shape)


def _from_lists(numbers: list[Any], like: Array) -> Array:
    return np.array(numbers, like.dtype) if isinstance(like, np.ndarray) else like.new_tensor(numbers)
