"""What a column of advantages should satisfy, row by row, under one convention.

    r + γ V' + γλ A' - V - A = 0        A = scale · column + shift

Linear in γ and γλ for a raw column. Each row is an equation of its own: it takes A' from the column and
not from a sum, so that a wrong row spoils itself and the row before it, and no others.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gaecli.array_types import Array, BoolArray, FloatArray, IndexArray
from gaecli.estimators.gae_variants import following_values
from gaecli.records import dataclass
from gaecli.rollouts import Block

#: Residuals up to so many roundings of the terms of a row are rounding.
ROUNDINGS = 8
INSIDE, TERMINATED, TRUNCATED, OPEN = range(4)


@dataclass(frozen=True)
class Theta:
    """γ, γλ, and the map from the column to raw advantages."""

    gamma: float
    decay: float
    scale: float = 1.0
    shift: float = 0.0

    @property
    def lam(self) -> float:
        # The quotient of 0.99 · 0.95 and 0.99 is 0.9500000000000001.
        return round(min(max(self.decay / self.gamma, 0.0), 1.0), 12) if self.gamma > 0 else 0.0


@dataclass(frozen=True, eq=False)
class ColumnEvidence:
    """[n] each, of the rows at which the column can be held against the equation."""

    rewards: FloatArray
    values: FloatArray
    #: V', 0 where there is none.
    following: FloatArray
    column: FloatArray
    #: The column at the next row; 0 where the sum is cut.
    next_column: FloatArray
    #: 1 where the sum goes on, else 0.
    goes_on: FloatArray
    #: INSIDE, TERMINATED, TRUNCATED, OPEN.
    kinds: Array
    #: Steps of the block, and rows of the file.
    steps: IndexArray
    rows: IndexArray
    #: Relative rounding of the column: that of its type, and of float32 arithmetic at least.
    rounding: float

    def __len__(self) -> int:
        return len(self.rewards)

    def residuals(self, theta: Theta) -> FloatArray:
        """A - (r + γ V' - V + γλ A'), in units of the reward."""
        result = theta.scale * self.column if theta.scale != 1.0 else self.column.copy()
        result -= self.rewards
        result += self.values
        result -= theta.gamma * self.following
        result -= (theta.decay * theta.scale) * self.next_column
        if theta.shift:
            result += theta.shift * (1.0 - theta.decay * self.goes_on)
        return result

    def tolerances(self, theta: Theta) -> FloatArray:
        """[n] what rounding can make of the residual."""
        result = np.abs(self.next_column)
        result *= abs(theta.decay)
        result += np.abs(self.column)
        result *= abs(theta.scale)
        result += np.abs(self.rewards)
        result += np.abs(self.values)
        result += np.abs(theta.gamma * self.following)
        result += 2 * abs(theta.shift)
        result *= ROUNDINGS * self.rounding
        result += np.finfo(np.float32).tiny
        return result

    def deviates(self, theta: Theta) -> BoolArray:
        result: BoolArray = np.abs(self.residuals(theta)) > self.tolerances(theta)
        return result

    def cost(self, theta: Theta) -> float:
        """Mean deviation in units of the tolerance, with a limit: how far off most rows are."""
        ratio = np.abs(self.residuals(theta)) / self.tolerances(theta)
        return float(np.minimum(ratio, 1e6).mean()) if len(self) else 0.0

    def take(self, which: Array) -> ColumnEvidence:
        arrays = {
            name: getattr(self, name)[which] for name in self.__dataclass_fields__ if name != "rounding"
        }
        return replace(self, **arrays)


def gather(
    block: Block,
    estimated: BoolArray,
    column: FloatArray,
    rows: IndexArray,
    rounding: float,
    open_ends: IndexArray | None = None,
) -> ColumnEvidence:
    """Of a block that is closed, but for `open_ends`: steps whose trajectory goes on, nobody here knows how.

    `column` [N], NaN for none.
    """
    num_steps = block.num_steps
    goes_on = ~block.cuts
    goes_on[-1:] = False
    following_column = np.zeros(num_steps)
    following_column[:-1] = column[1:]
    is_followed = np.zeros(num_steps, np.bool_)
    is_followed[:-1] = estimated[1:]
    if block.is_step is not None:
        goes_on[:-1] &= block.is_step[1:]
    following_column[~goes_on] = 0.0
    usable = estimated & np.isfinite(column) & (~goes_on | (is_followed & np.isfinite(following_column)))
    if open_ends is not None:
        usable[open_ends] = False
    steps = np.flatnonzero(usable)
    kinds, cuts = np.full(num_steps, INSIDE, np.int8), np.flatnonzero(block.cuts)
    is_terminated = np.where(block.terminated[cuts], TERMINATED, OPEN)
    kinds[cuts] = np.where(block.truncated[cuts], TRUNCATED, is_terminated)
    is_all = len(steps) == num_steps  # no copies of what is whole
    chosen = slice(None) if is_all else steps
    return ColumnEvidence(
        rewards=block.rewards[chosen].astype(np.float64),
        values=block.values[chosen].astype(np.float64),
        following=following_values(block)[chosen],
        column=column[chosen],
        next_column=following_column[chosen],
        goes_on=goes_on[chosen].astype(np.float64),
        kinds=kinds[chosen],
        steps=steps,
        rows=rows[chosen],
        rounding=rounding,
    )
