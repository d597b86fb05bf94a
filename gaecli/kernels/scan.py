"""The reverse affine scan, the one recurrence that every estimator is an instance of.

    yₜ = xₜ + aₜ · yₜ₊₁        for t = N-1 … 0, with y_N = carry

A radix-8 tree on strided columns. Eight neighbouring rows form a group, and a group is again one
affine map, so the problem shrinks eightfold per level:

    fold      lay the rows out as eight contiguous columns; (X, A) of each group, from column 7 to 0:
              X ← x_k + a_k · X,  A ← a_k · A.    The X and A of all groups are the next level.
    solve     at most `ROOT_SIZE` maps are left: each by doubling, and then from the carry. The first is y₀.
    unfold    back down, every group now knowing what enters it: y_k = x_k + a_k · y_{k+1}

Where all rows have one decay but for cuts, the first level is two products with small matrices and lays out
no rows (`gaecli.kernels.levels`).

Indexing and operators only, so the same lines run on NumPy arrays and on torch tensors of any device. Not
cumsum and cumprod: dividing by a product of decays is NaN once any decay is 0, and a cut is a decay of 0. Not
doubling from the rows on: it reads the data log₂ N times.

What enters must be finite: 0 · NaN is NaN, so here a decay of 0 does not stop a NaN.
"""

from __future__ import annotations

import math

from gaecli.kernels.levels import RADIX, Array, EvenLevel, Level, Root

#: A level this small is the last one: eight columns of it would cost more in calls. Never less than a group has.
ROOT_SIZE = 4096
#: Rows per tile, for which calls cost little per row, and two threads seldom wait for each other's.
TILE_ROWS = 8**6


class TileScan:
    """The scan of one tile, in its three steps, with buffers that serve tile after tile.

    In three steps, because `fold`, which is more than half of the work, does not need the carry:
    several threads can walk over tiles and wait for each other only in `solve`.

    Args:
        size: most rows that a tile will have.
        like: an array of the dtype and device to come.
        decay: that of all rows but those at cuts; None: each has its own.
    """

    def __init__(self, size: int, *, like: Array, decay: float | None = None) -> None:
        self._levels: list[Level | EvenLevel] = []
        self._decays = [decay]
        while size > ROOT_SIZE:
            self._levels.append(Level(size, like) if decay is None else EvenLevel(size, like, decay))
            size = self._levels[-1].num_groups
            decay = None if decay is None else decay**RADIX
            self._decays.append(decay)
        self._used: list[Level | EvenLevel] = []
        self._carry = 0.0

    def fold(self, x: Array, a: Array, *, is_finite: bool = False) -> bool:
        """Reduce the rows of a tile to at most `ROOT_SIZE` maps; False, with all as it was, if x is not finite.

        Args:
            x: [N], contiguous, at least one row. Kept until `unfold`, and spoilt.
            a: [N] the decay of each row, which is spoilt. With one decay, the rows where it is 0, as NumPy flags.
            is_finite: x is, as its sums may not be.
        """
        self._used = []
        for level in self._levels:
            if len(x) <= ROOT_SIZE:
                break
            x, a = level.fold(x, a, is_finite)
            if not level.is_finite:
                return False
            is_finite = True
            self._used.append(level)
        if not (is_finite or math.isfinite(float(x.sum()))):
            return False
        self._root = Root(x, a, self._decays[len(self._used)])
        return True

    def solve(self, carry: float) -> float:
        """y₀ of the tile, given the y that enters at its end."""
        self._carry = carry
        head = float(self._root.solve(carry)[0])
        for level in reversed(self._used):
            head = level.head(head)
        return head

    def unfold(self, out: Array) -> None:
        """Write y of every row to `out`, which may be x itself and of another float dtype."""
        targets = [out, *(level.group_x for level in self._used)]
        if targets[-1] is not self._root.x:
            targets[-1][...] = self._root.x
        for level, target in zip(reversed(self._used), reversed(targets[:-1]), strict=True):
            level.unfold(target, self._carry)
