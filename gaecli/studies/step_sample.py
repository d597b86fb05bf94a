"""Some of the steps of a stream, spread evenly over all of them, whatever their number."""

from __future__ import annotations

import numpy as np

from gaecli.array_types import FloatArray, IndexArray

_GOLDEN = 0.6180339887498949


class StepSample:
    """Keeps the steps whose place, times the golden ratio, has the smallest fractions: those fall evenly."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._limit = 1.0
        self._kept: list[tuple[FloatArray, ...]] = []
        self._num_kept = 0
        self.num_steps = 0

    def add(self, rows: IndexArray, *columns: FloatArray) -> None:
        """[N] each; `rows` are of these steps."""
        places = self.num_steps + np.arange(len(rows))
        self.num_steps += len(rows)
        keys = np.modf(places * _GOLDEN)[0]
        which = np.flatnonzero(keys < self._limit)
        self._kept.append((keys[which], rows[which].astype(np.float64), *(one[which] for one in columns)))
        self._num_kept += len(which)
        if self._num_kept > 4 * self._most:
            self._thin()

    def columns(self) -> tuple[FloatArray, ...]:
        """(rows, …), by their place."""
        self._thin()
        if not self._kept:
            return ()
        _, rows, *others = self._kept[0]
        order = np.argsort(rows, kind="stable")
        return tuple(one[order] for one in (rows, *others))

    def _thin(self) -> None:
        if not self._kept:
            return
        joined = [np.concatenate(parts) for parts in zip(*self._kept, strict=True)]
        order = np.argsort(joined[0], kind="stable")[: self._most]
        if len(order) < len(joined[0]):
            self._limit = float(joined[0][order[-1]])
        self._kept = [tuple(one[order] for one in joined)]
        self._num_kept = len(order)
