"""The weights of several reward columns whose sum, beside the sums of a group, is what a column of advantages holds.

Within a group a baseline is one straight line in the score: A - mean(A) = kᵍ Σ wⱼ (rⱼ - mean(rⱼ)), whatever kᵍ is.
So the part of the centred rewards that does not point along the centred A has to vanish,

    Σ wⱼ (I - aᵍ aᵍᵀ) cⱼᵍ = 0,    aᵍ the centred A of the group at length 1,

and w is the direction in which the sum of the squares of that, over all groups, is least.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from gaecli.array_types import Array, FloatArray, IndexArray
from gaecli.records import dataclass

#: What is left of the squares, of those there are: float32 leaves 1e-14 of them.
_MOST_LEFT = 1e-9
#: A weight below this part of the largest one is none.
_LEAST_WEIGHT = 1e-4
#: A weight that is round to within this much of itself is meant to be round.
_ROUND = 2e-4


def reward_weights(
    rewards: Mapping[str, FloatArray], column: FloatArray, groups: IndexArray
) -> list[dict[str, float]]:
    """Weights by column in the sizes in which people write them; none where no sum of them is it.

    `rewards`: name -> [n], `column`: [n], `groups`: [n] from 0.
    """
    lines = _GroupLines.of(rewards, column, groups)
    if not lines.leaves_nothing:
        return []
    names, spreads, parts = lines.names, lines.spreads, lines.parts
    found = lines.direction / np.array([spreads[name] for name in names])
    together = sum(weight * parts[name] for weight, name in zip(found, names, strict=True))
    slope = float(np.dot(together, lines.column))
    found = found * np.sign(slope) if slope else found
    found = np.where(np.abs(found) * _sizes(spreads, names) < _LEAST_WEIGHT * np.abs(found).max(), 0.0, found)
    return _in_usual_sizes(names, found, parts, lines.column, lines.counts)


def weights_of_parts(parts: Mapping[str, FloatArray], column: FloatArray) -> list[dict[str, float]]:
    """Weights of columns whose weighted sum is the column up to a scale above 0 and a shift; none where none is."""
    said = {name: np.nan_to_num(part) for name, part in parts.items()}
    names = [name for name, part in said.items() if part.any()]
    if len(names) < 2:
        return []
    numbers = np.stack([said[name] for name in names], axis=1)
    base = np.append(numbers, np.ones((len(column), 1)), axis=1)
    found, _, rank, _ = np.linalg.lstsq(base, column, rcond=None)
    left = np.square(base @ found - column).sum()
    if rank < len(names) + 1 or left > _MOST_LEFT * float(np.square(column).sum()):
        return []
    kept = [(name, float(weight)) for name, weight in zip(names, found[:-1], strict=True)]
    largest = max(abs(weight) for _, weight in kept)
    return _rounded_all([item for item in kept if abs(item[1]) > _LEAST_WEIGHT * largest], [])


def unseen_rewards(rewards: Mapping[str, FloatArray], groups: IndexArray) -> list[str]:
    """Those that are the same for all responses of each group: whatever their weight, it takes itself off."""
    seen = _GroupLines.of(rewards, np.zeros(len(groups)), groups).names
    return [name for name in rewards if name not in seen]


def are_weights_open(rewards: Mapping[str, FloatArray], column: FloatArray, groups: IndexArray) -> bool:
    """Whether sums in quite other weights are the same straight line in every group."""
    return _GroupLines.of(rewards, column, groups).num_directions > 1


@dataclass(frozen=True, eq=False)
class _GroupLines:
    """Rewards and a column as they differ within groups, and what is not along a line there."""

    #: Of the rewards that differ within a group.
    names: list[str]
    spreads: dict[str, float]
    #: By name, and the column: [n] less the mean of the group.
    parts: dict[str, FloatArray]
    column: FloatArray
    #: [n] rows of the group.
    counts: FloatArray
    #: Squares that no line explains by direction, in rising order, the directions, and all squares.
    sizes: FloatArray
    directions: FloatArray
    total: float

    @classmethod
    def of(cls, rewards: Mapping[str, FloatArray], column: FloatArray, groups: IndexArray) -> _GroupLines:
        size = int(groups.max(initial=-1)) + 1
        counts = np.maximum(np.bincount(groups, minlength=size), 1)

        def summed(numbers: FloatArray) -> FloatArray:
            return np.bincount(groups, weights=numbers, minlength=size).astype(np.float64)

        def centred(numbers: FloatArray) -> FloatArray:
            left: FloatArray = numbers - (summed(numbers) / counts)[groups]
            return left

        # What one reward function says nothing of has no part of the score.
        said = {name: np.nan_to_num(numbers) for name, numbers in rewards.items()}
        parts = {name: centred(numbers) for name, numbers in said.items()}
        spreads = {name: float(np.sqrt(np.square(part).mean())) for name, part in parts.items()}
        names = [
            name
            for name, spread in spreads.items()
            if spread > 1e-9 * float(np.abs(said[name]).max(initial=0.0))
        ]
        along = centred(column)
        lengths = np.sqrt(summed(np.square(along)))
        along = along / np.where(lengths > 0, lengths, 1.0)[groups]
        scaled = np.stack([np.zeros(len(column)), *(parts[name] / spreads[name] for name in names)], axis=1)[
            :, 1:
        ]
        shares = np.stack([np.zeros(size), *(summed(one * along) for one in scaled.T)], axis=1)[:, 1:]
        sizes, directions = np.linalg.eigh(scaled.T @ scaled - shares.T @ shares)
        total = float(np.square(scaled).sum())
        return cls(names, spreads, parts, centred(column), counts[groups], sizes, directions, total)

    @property
    def leaves_nothing(self) -> bool:
        """The best direction is the column's, in every group."""
        return len(self.names) > 1 and bool(self.column.any()) and self.num_directions > 0

    @property
    def num_directions(self) -> int:
        """In which nothing is left of the squares."""
        return int(np.count_nonzero(self.sizes <= _MOST_LEFT * self.total))

    @property
    def direction(self) -> FloatArray:
        result: FloatArray = self.directions[:, 0]
        return result


def _sizes(spreads: Mapping[str, float], names: Sequence[str]) -> FloatArray:
    sizes = np.array([spreads[name] for name in names])
    result: FloatArray = sizes / sizes.max()
    return result


def _in_usual_sizes(
    names: Sequence[str],
    weights: FloatArray,
    parts: Mapping[str, FloatArray],
    column: FloatArray,
    counts: Array,
) -> list[dict[str, float]]:
    """The direction is known; the size shows in ε, or where nothing is divided by a spread. Round ones first."""
    kept = [(name, float(weight)) for name, weight in zip(names, weights, strict=True) if weight]
    if not kept:
        return []
    together = sum(weight * parts[name] for name, weight in kept)
    scales: list[float] = []
    for factors in (np.maximum(counts - 1, 1) / counts, np.ones(len(column))):  # rloo, dr-grpo
        squares = float(np.square(together).sum())
        scales += [float(np.dot(together, column * factors)) / squares] if squares else []
    return _rounded_all(kept, scales)


def _rounded_all(weights: Sequence[tuple[str, float]], scales: Sequence[float]) -> list[dict[str, float]]:
    """In these sizes and in usual ones: those with a 1 first, and of them those with the fewest digits."""
    sizes = [abs(weight) for _, weight in weights]
    found: list[dict[str, float]] = []
    for scale in (*scales, 1 / max(sizes), 1 / min(sizes), 1 / sum(sizes)):
        made = {name: _rounded(weight * scale) for name, weight in weights}
        if made not in found:
            found.append(made)
    digits = {id(made): sum(len(f"{weight:g}") for weight in made.values()) for made in found}
    return sorted(found, key=lambda made: (1.0 not in made.values(), digits[id(made)]))


def _rounded(number: float) -> float:
    for digits in (1, 2, 3):
        short = float(f"{number:.{digits}g}")
        if abs(short - number) <= _ROUND * abs(number):
            return short
    return float(f"{number:.8g}")
