"""Curves in braille: two columns and four rows of dots in each cell."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from gaecli.array_types import Array, BoolArray, FloatArray

#: What each dot of a cell adds to U+2800.
_BITS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])
BLANK = 0x2800


def curve_dots(
    places: FloatArray, numbers: FloatArray, scale: tuple[float, float], width: int, height: int
) -> BoolArray:
    """[4 height, 2 width]: in each column all dots from the smallest to the largest number of the curve there.

    So no spike is lost, however many numbers share a column. Steps that follow one another are joined; what is no
    finite number is a gap. `places`: [P] from 0 (left) to 1 (right), ascending. `scale`: bottom and top.
    """
    rows, columns = 4 * height, 2 * width
    low, high = scale
    known = np.isfinite(numbers)
    across = np.rint(places * (columns - 1)).astype(np.int64)
    # Halves: the span of the largest floats is none.
    down = (high / 2 - np.where(known, numbers, low) / 2) / (high / 2 - low / 2) * (rows - 1)
    tops, bottoms = np.full(columns, np.inf), np.full(columns, -np.inf)
    np.minimum.at(tops, across[known], down[known])
    np.maximum.at(bottoms, across[known], down[known])
    beside = np.flatnonzero(known)
    for left, right in pairwise(beside[_at_borders(across[beside])].tolist()):
        if across[left] == across[right] or not known[left:right].all():
            continue
        # Halfway to its neighbours, so that steep lines have no holes.
        inner = np.arange(across[left], across[right] + 1)
        span = np.interp(inner[:, None] + [-0.5, 0.5], across[[left, right]], down[[left, right]])
        tops[inner] = np.minimum(tops[inner], span.min(axis=1))
        bottoms[inner] = np.maximum(bottoms[inner], span.max(axis=1))
    row = np.arange(rows)[:, None]
    # What lies between two rows of dots goes to one of them.
    begins = np.floor(tops + 0.5)
    dots: BoolArray = (row >= begins) & (row <= np.maximum(np.ceil(bottoms - 0.5), begins))
    return dots


def _at_borders(columns: Array) -> Array:
    """The first and the last point of each column."""
    changes = np.diff(columns) > 0
    return np.flatnonzero(np.concatenate(([True], changes)) | np.concatenate((changes, [True])))


def thinned(dots: BoolArray) -> BoolArray:
    """Every second dot, and the ends of what is steep: a second curve, told from the first without colour."""
    row, column = np.indices(dots.shape)
    edges = (row == dots.argmax(axis=0)) | (row == len(dots) - 1 - dots[::-1].argmax(axis=0))
    is_steep = dots.sum(axis=0) > 2
    kept: BoolArray = dots & (((row + column) % 2 == 0) | (edges & is_steep))
    return kept


def cells(dots: BoolArray) -> Array:
    """[height, width] code points."""
    height, width = dots.shape[0] // 4, dots.shape[1] // 2
    blocks = dots.reshape(height, 4, width, 2)
    points: Array = BLANK + (blocks * _BITS[None, :, None, :]).sum(axis=(1, 3))
    return points
