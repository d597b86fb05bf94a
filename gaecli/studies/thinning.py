"""Curves of many steps as the few that a drawing needs: of each stretch the smallest and the largest number."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gaecli.array_types import BoolArray, FloatArray, IndexArray

#: Of each curve that is looked at.
_KEPT_PER_STRETCH = 2


def fair_shares(lengths: IndexArray, total: int, most: int) -> IndexArray:
    """[E] points for each of these curves: all that it has, unless `total` or `most` do not suffice."""
    wanted = np.minimum(lengths, most)
    if not len(wanted) or int(wanted.sum()) <= total:
        return wanted
    ordered = np.sort(wanted)
    left, share = total, 0
    for index, length in enumerate(ordered.tolist()):
        share = left // (len(ordered) - index)
        if length > share:
            break
        left -= length
    found: IndexArray = np.minimum(wanted, max(share, 2))
    return found


def kept_steps(positions: IndexArray, curves: Sequence[FloatArray], length: int, points: int) -> BoolArray:
    """[P] which of these steps are drawn, of a curve of `length` steps that may have about `points`.

    Stretches are those of the whole curve, so that parts of it can be thinned as they come, and once more when
    they are together: the smallest and the largest of each stretch, of each curve, and both ends.
    """
    if length <= points:
        return np.ones(len(positions), np.bool_)
    num_stretches = max(1, points // max(1, _KEPT_PER_STRETCH * len(curves)))
    keep: BoolArray = (positions == 0) | (positions == length - 1)
    stretches = positions * num_stretches // length
    starts = np.flatnonzero(np.append(True, stretches[1:] != stretches[:-1]))[: len(stretches)]
    for curve in curves:
        known = np.isfinite(curve)
        for largest, reduce in ((-np.inf, np.maximum), (np.inf, np.minimum)):
            numbers = np.where(known, curve, largest)
            extremes = reduce.reduceat(numbers, starts)
            hits = known & (numbers == np.repeat(extremes, np.diff(starts, append=len(numbers))))
            where = np.flatnonzero(hits)
            keep[where[np.unique(stretches[where], return_index=True)[1]]] = True
    return keep
