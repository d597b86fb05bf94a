"""The weights of several reward columns whose sum, beside the sums of a group, is what a column of advantages holds.

Within a group a baseline is one straight line in the score: A - mean(A) = kᵍ Σ wⱼ (rⱼ - mean(rⱼ)), whatever kᵍ is.
So the part of the centred rewards that does not point along the centred A has to vanish,

    Σ wⱼ (I - aᵍ aᵍᵀ) cⱼᵍ = 0,    aᵍ the centred A of the group at length 1,

and w is the direction in which the sum of the squares of that, over all groups, is least.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from gaecli.rollouts import Array, FloatArray, IndexArray

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
        name for name, spread in spreads.items() if spread > 1e-9 * float(np.abs(said[name]).max(initial=0.0))
    ]
    along = centred(column)
    lengths = np.sqrt(summed(np.square(along)))
    along = along / np.where(lengths > 0, lengths, 1.0)[groups]
    if len(names) < 2 or not lengths.any():
        return []
    scaled = np.stack([parts[name] / spreads[name] for name in names], axis=1)
    shares = np.stack([summed(scaled[:, index] * along) for index in range(len(names))], axis=1)
    matrix = scaled.T @ scaled - shares.T @ shares
    sizes, directions = np.linalg.eigh(matrix)
    if sizes[0] > _MOST_LEFT * float(np.trace(scaled.T @ scaled)):
        return []
    found = directions[:, 0] / np.array([spreads[name] for name in names])
    together = sum(weight * parts[name] for weight, name in zip(found, names, strict=True))
    slope = float(np.dot(together, centred(column)))
    found = found * np.sign(slope) if slope else found
    found = np.where(np.abs(found) * _sizes(spreads, names) < _LEAST_WEIGHT * np.abs(found).max(), 0.0, found)
    return _in_usual_sizes(names, found, parts, centred(column), counts[groups])


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
    sizes = [abs(weight) for _, weight in kept]
    scales = [1 / max(sizes), 1 / min(sizes), 1 / sum(sizes)]
    for factors in (np.ones(len(column)), np.maximum(counts - 1, 1) / counts):  # dr-grpo, rloo
        squares = float(np.square(together).sum())
        scales.insert(0, float(np.dot(together, column * factors)) / squares if squares else scales[0])
    found: list[dict[str, float]] = []
    for scale in scales:
        made = {name: _rounded(weight * scale) for name, weight in kept}
        if made not in found:
            found.append(made)
    return sorted(found, key=lambda made: sum(len(f"{weight:g}") for weight in made.values()))


def _rounded(number: float) -> float:
    for digits in (1, 2, 3):
        short = float(f"{number:.{digits}g}")
        if abs(short - number) <= _ROUND * abs(number):
            return short
    return float(f"{number:.8g}")
