"""The reverse affine scan, the one recurrence that every estimator is an instance of.

    yₜ = xₜ + aₜ · yₜ₊₁        for t = N-1 … 0, with y_N = carry

A radix-8 tree on strided columns. Eight neighbouring rows form a group, and a group is again one
affine map, so the problem shrinks eightfold per level:

    fold      lay the rows out as eight contiguous columns; (X, A) of each group, from column 7 to 0:
              X ← x_k + a_k · X,  A ← a_k · A.    The X and A of all groups are the next level.
    solve     at most `ROOT_SIZE` maps are left: a plain loop, from the carry. Its last result is y₀.
    unfold    back down, every group now knowing what enters it: y_k = x_k + a_k · y_{k+1}

Where all rows have one decay but for cuts, the first level is two products with small matrices and lays out
no rows but those of groups with a cut (`gaecli.kernels.levels`).

Indexing and operators only, so the same lines run on NumPy arrays and on torch tensors of any device. Not
cumsum and cumprod: dividing by a product of decays is NaN once any decay is 0, and a cut is a decay of 0. Not
log-depth doubling: it reads the data log₂ N times.

What enters must be finite: 0 · NaN is NaN, so here a decay of 0 does not stop a NaN.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaecli.kernels.levels import Array, EvenLevel, Level, from_lists, with_cuts

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
        decay: that of all rows but those at cuts; None: each has its own.
    """

    def __init__(self, size: int, *, like: Array, decay: float | None = None) -> None:
        self._batch = tuple(like.shape[:-1])
        self._levels: list[Level] = []
        self._like = like[..., :0]
        self._even = None if decay is None or size <= ROOT_SIZE else EvenLevel(size, like, decay)
        self._decay = decay
        if self._even is not None:
            size = self._even.num_groups
        while size > ROOT_SIZE:
            self._levels.append(Level(size, self._batch, like))
            size = self._levels[-1].num_groups
        self._used: list[Level | EvenLevel] = []
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

    def fold_even(self, x: Array, cuts: NDArray[np.bool_]) -> float:
        """The same with the one decay; `cuts` [N] tells where it is 0. x is kept until `unfold`.

        What comes back is finite only if all of x is.
        """
        if self._even is None:
            assert self._decay is not None
            self.fold(x, with_cuts(x, self._decay, cuts))
            return float(x.sum())
        self.fold(*self._even.fold(x, cuts))
        self._used.insert(0, self._even)
        return self._even.total

    def solve(self, carries: list[float]) -> list[float]:
        """y₀ of the tile, one number per scan, given the y that enters at its end."""
        self._carries = carries
        self._solution = [_plain_loop(x, a, carry) for x, a, carry in zip(*self._root, carries, strict=True)]
        return [y[0] if y else carry for y, carry in zip(self._solution, carries, strict=True)]

    def unfold(self, out: Array) -> None:
        """Write y of every row to `out`, which may be x itself and of another float dtype. x is spoilt."""
        targets = [out, *(level.group_x for level in self._used)]
        root = from_lists(self._solution, self._like)
        targets[-1][...] = root if self._batch else root[0]
        carries = from_lists(self._carries, self._like)
        for level, target in zip(reversed(self._used), reversed(targets[:-1]), strict=True):
            following = _following(level, carries if self._batch else carries[0])
            level.unfold(target, following)


def _following(level: Level | EvenLevel, carry: Array) -> Array:
    """y that enters each group of a level whose first rows are solved."""
    following = level.group_a  # the maps in it have been folded on by now
    following[..., :-1] = level.group_x[..., 1:]
    following[..., -1] = carry
    return following


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
