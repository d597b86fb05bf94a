"""Many reverse affine scans over the same rows, as few long operations.

    yₜ = xₜ + aₜ · yₜ₊₁,  y = x at a cut

Trajectories are taken in chunks of at most `CHUNK_ROWS`, and all chunks stand side by side: level s holds, of every
chunk that is so long, the row s steps before its end, the longest chunks first. So a level is one operation over what
stands at the head of the level before, for all scans at once. What goes over the borders of chunks is again such a
scan, of one row per chunk, and is added where it enters.

Laying rows out costs as much as a scan or two (`gaecli.kernels.scan` does without): it pays where many scans share
it, and where it does not matter in which order the results come.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaecli.kernels.base import Array

#: Rows of a chunk: a level of longer ones would be short, and what enters them cost more.
CHUNK_ROWS = 256


class ChunkedRows:
    """The rows of a block in this order."""

    def __init__(self, cuts: NDArray[np.bool_]) -> None:
        """`cuts`: [N] True at the last row of each trajectory. The last row of all counts as one."""
        stops = np.flatnonzero(cuts) + 1
        if not len(stops) or stops[-1] != len(cuts):
            stops = np.append(stops, len(cuts))
        first, stop, goes_on = _chunks(stops.astype(np.int64))
        lengths = stop - first
        # Those that go on are full: they come first, so that what enters them is at the head of each level.
        ranks = (2 * (CHUNK_ROWS - lengths) + ~goes_on).astype(np.uint16)  # sorted by radix
        by_length = np.argsort(ranks, kind="stable")
        self._stops = stop[by_length]
        self._num_going_on = int(np.count_nonzero(goes_on))
        #: Of each chunk, in the order of the rows, where it stands in a level.
        self._place = np.empty(len(stop), np.int64)
        self._place[by_length] = np.arange(len(stop))
        self._lengths, self._goes_on = lengths, goes_on
        counts = len(stop) - np.cumsum(np.bincount(lengths, minlength=1))[: int(lengths.max(initial=0))]
        #: Level s is starts[s] up to starts[s + 1].
        self._starts: list[int] = [0, *np.cumsum(counts).tolist()]
        self.num_rows = len(cuts)

    @property
    def order(self) -> NDArray[np.int64]:
        """[N] the row that stands at each place."""
        steps = np.arange(len(self._starts) - 1)
        counts = np.diff(self._starts)
        places = np.arange(self.num_rows) - np.repeat(self._starts[:-1], counts)
        found: NDArray[np.int64] = self._stops[places] - 1 - np.repeat(steps, counts)
        return found

    def places_of_last(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where these rows stand, each of which is the last of its trajectory."""
        order = np.argsort(self._stops)
        found: NDArray[np.int64] = order[np.searchsorted(self._stops, rows + 1, sorter=order)]
        return found

    def scan(self, y: Array, a: Array, module: Any) -> None:
        """In place.

        Args:
            y: [K, N] x in this order; becomes y.
            a: [K, 1] or [K, N] in this order. Not read at cuts.
            module: of the arrays: NumPy or torch.
        """
        starts = self._starts
        products = module.empty_like(y[:, : starts[1] if len(starts) > 1 else 0])
        for before, start, stop in zip(starts, starts[1:], starts[2:], strict=False):
            product = products[:, : stop - start]
            module.multiply(y[:, before : before + stop - start], _of(a, start, stop), out=product)
            y[:, start:stop] += product
        if self._num_going_on:
            self._add_what_enters(y, a, module)

    def _add_what_enters(self, y: Array, a: Array, module: Any) -> None:
        """A chunk that goes on gets the first row of the next one, times the decays up to there."""
        count, starts = self._num_going_on, self._starts[:-1]
        weights = module.ones_like(y[:, :count])
        for start in starts:
            weights *= _of(a, start, start + count)
        first_rows = np.asarray(starts)[self._lengths - 1] + self._place
        entering = self._entering(_to_numpy(y[:, first_rows]), _to_numpy(weights))
        following = entering if isinstance(y, np.ndarray) else y.new_tensor(entering)
        for start in starts:
            following *= _of(a, start, start + count)
            y[:, start : start + count] += following

    def _entering(self, heads: NDArray[Any], weights: NDArray[Any]) -> NDArray[Any]:
        """[K, G] the first row of what follows each chunk that goes on; `heads`: as if nothing did."""
        going_on = np.flatnonzero(self._goes_on)
        places = self._place[going_on]
        for chunk, place in zip(reversed(going_on.tolist()), reversed(places.tolist()), strict=True):
            heads[:, chunk] += weights[:, place] * heads[:, chunk + 1]
        entering = np.empty_like(weights)
        entering[:, places] = heads[:, going_on + 1]
        return entering


def _to_numpy(array: Array) -> NDArray[Any]:
    return array if isinstance(array, np.ndarray) else np.asarray(array.cpu())


def _of(a: Array, start: int, stop: int) -> Array:
    return a if a.shape[-1] == 1 else a[:, start:stop]


def _chunks(
    stops: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """(first rows, stops, whether it goes on in the next one) of the chunks of trajectories that stop there."""
    starts = np.concatenate((np.zeros(1, np.int64), stops))[:-1]
    counts = -(-(stops - starts) // CHUNK_ROWS)
    owners = np.repeat(np.arange(len(stops)), counts)
    number = np.arange(len(owners)) - np.repeat(np.cumsum(counts) - counts, counts)
    first = starts[owners] + number * CHUNK_ROWS
    stop = np.minimum(first + CHUNK_ROWS, stops[owners])
    return first, stop, stop < stops[owners]
