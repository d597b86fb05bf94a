"""Many reverse affine scans over the same rows, as few long operations.

    yₜ = xₜ + aₜ · yₜ₊₁,  y = x at a cut

Trajectories are taken in chunks of at most `CHUNK_ROWS`, and many chunks stand side by side: level s holds, of every
chunk that is so long, the row s steps before its end, the longest chunks first. So a level is one operation over what
stands at the head of the level before, for all scans at once. What goes over the borders of chunks is again such a
scan, of one row per chunk, by a first round for the first rows of chunks alone.

Laying rows out costs as much as a scan or two (`gaecli.kernels.scan` does without): it pays where many scans share
it, and where it does not matter in which order the results come. They come in tiles, which stay in the cache for
whoever sums them up.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gaecli.kernels.base import Array

#: Rows of a chunk: a level of longer ones would be short, and what enters them cost more.
CHUNK_ROWS = 256
#: Numbers of a tile, and of one of its rows: from 10,000 on BLAS starts threads for a dot product, which wait for
#: each other when all cores are busy.
TILE_CELLS = 1 << 18
_MOST_COLUMNS = 1 << 13


def tile_width(num_rows: int) -> int:
    return max(min(TILE_CELLS // max(num_rows, 1), _MOST_COLUMNS), 1)


def column_tiles(num_rows: int, num_columns: int) -> Iterator[slice]:
    """Columns of a table, as many at a time."""
    step = tile_width(num_rows)
    for start in range(0, num_columns, step):
        yield slice(start, min(start + step, num_columns))


class EnteringTerms(NamedTuple):
    """What is added to x at the last rows of some chunks."""

    #: [E] which chunks, as they stand side by side, in ascending order.
    columns: NDArray[np.int64]
    #: [K, E]
    terms: Array


class ChunkedRows:
    """The rows of a block in this order."""

    def __init__(self, cuts: NDArray[np.bool_], width: int) -> None:
        """
        Args:
            cuts: [N] True at the last row of each trajectory. The last row of all counts as one.
            width: chunks that stand side by side, and columns of a tile at most.
        """
        stops = np.flatnonzero(cuts) + 1
        if not len(stops) or stops[-1] != len(cuts):
            stops = np.append(stops, len(cuts))
        first, stop, goes_on = _chunks(stops.astype(np.int64))
        lengths = stop - first
        # Those that go on are full: they come first.
        ranks = (2 * (CHUNK_ROWS - lengths) + ~goes_on).astype(np.uint16)  # sorted by radix
        by_length = np.argsort(ranks, kind="stable")
        self._stops = stop[by_length]
        #: Of each chunk, in the order of the rows, where it stands among the others.
        self._place = np.empty(len(stop), np.int64)
        self._place[by_length] = np.arange(len(stop))
        self._going_on = np.flatnonzero(goes_on)
        self._width = max(min(width, len(cuts)), 1)
        self._groups = _groups(lengths[by_length], self._width)
        self.num_rows = len(cuts)

    @property
    def order(self) -> NDArray[np.int64]:
        """[N] the row that stands at each place."""
        found = np.empty(self.num_rows, np.int64)
        for group in self._groups:
            for step, (start, stop) in enumerate(pairwise(group.starts)):
                stops = self._stops[group.first : group.first + stop - start]
                np.subtract(stops, step + 1, out=found[start:stop])
        return found

    def columns_of_last(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The chunks with these rows, each of which is the last of its trajectory."""
        order = np.argsort(self._stops)
        found: NDArray[np.int64] = order[np.searchsorted(self._stops, rows + 1, sorter=order)]
        return found

    def scan(
        self, x: Array, a: Array, entering: EnteringTerms | None, module: Any
    ) -> Iterator[tuple[slice, Array]]:
        """(places, [K, n] y there) of all rows, in their order; what is given is good until the next one is.

        Args:
            x: [N] in this order, of all scans; [G, N] where each is of K / G scans, which stand beside each other.
            a: [K, 1] or [K, N] in this order. Not read at cuts.
            entering: what else there is at the ends of some trajectories.
            module: of the arrays: NumPy or torch.
        """
        if len(self._going_on):
            entering = self._over_borders(x, a, entering, module)
        yield from self._tiles(x, a, entering, module)

    def _tiles(
        self, x: Array, a: Array, entering: EnteringTerms | None, module: Any
    ) -> Iterator[tuple[slice, Array]]:
        """As if chunks were trajectories."""
        # [G, K / G, N]: the scans of each x.
        x = x.reshape(1 if x.ndim == 1 else len(x), 1, x.shape[-1])
        a = a.reshape(len(x), -1, a.shape[-1])
        # The last level of one is what the first level of the other goes on from.
        tile, other = (_Tile.of(x, a.shape[1], self._width, module) for _ in range(2))
        first, filled = 0, 0
        for group in self._groups:
            before = tile.levels[..., :0]
            for start, stop in pairwise(group.starts):
                count = stop - start
                if filled + count > self._width:
                    yield slice(first, start), tile.rows[:, :filled]
                    tile, other, first, filled = other, tile, start, 0
                level = tile.levels[..., filled : filled + count]
                if start == group.starts[0]:
                    level[...] = x[..., start:stop]
                    _add(tile.rows[:, filled : filled + count], entering, group.first)
                else:
                    module.multiply(before[..., :count], _of(a, start, stop), out=level)
                    level += x[..., start:stop]
                before, filled = level, filled + count
        if filled:
            yield slice(first, first + filled), tile.rows[:, :filled]

    def _over_borders(self, x: Array, a: Array, entering: EnteringTerms | None, module: Any) -> EnteringTerms:
        """With what the chunks that go on get of the first rows of the next ones."""
        places = np.concatenate([group.heads for group in self._groups])
        columns = np.concatenate([group.columns_of_heads for group in self._groups])
        heads = np.empty((len(a), len(places)))
        for there, tile in self._tiles(x, a, entering, module):
            among = slice(*np.searchsorted(places, (there.start, there.stop)))
            heads[:, columns[among]] = _to_numpy(tile[:, places[among] - there.start])
        count = len(self._going_on)
        following = self._following(heads, _to_numpy(self._weights(a, module)))
        last = np.concatenate([_last_places(group) for group in self._groups])[:count]
        terms = (a if a.shape[-1] == 1 else a[:, last]) * _as(x, following)
        if entering is None:
            return EnteringTerms(np.arange(count), terms)
        # All else enters behind them: it is at ends of trajectories.
        both = np.concatenate((np.arange(count), entering.columns))
        return EnteringTerms(both, module.concatenate((terms, entering.terms), axis=1))

    def _weights(self, a: Array, module: Any) -> Array:
        """[K, G] the product of all decays of each chunk that goes on."""
        count = len(self._going_on)
        if a.shape[-1] == 1:
            return a**CHUNK_ROWS
        weights = module.ones_like(a[:, :count])
        for group in self._groups:
            columns = slice(group.first, min(group.first + self._width, count))
            for start in group.starts[:-1] if columns.start < count else ():
                weights[:, columns] *= a[:, start : start + columns.stop - columns.start]
        return weights

    def _following(self, heads: NDArray[Any], weights: NDArray[Any]) -> NDArray[Any]:
        """[K, G] the first row of what follows each chunk that goes on; `heads`: as if nothing did."""
        found = np.empty((len(heads), len(self._going_on)))
        places = self._place
        for chunk in reversed(self._going_on.tolist()):
            here, beyond = places[chunk], places[chunk + 1]
            following = heads[:, beyond]
            if beyond < found.shape[1]:
                following = following + weights[:, beyond if weights.shape[1] > 1 else 0] * found[:, beyond]
            found[:, here] = following
        return found


class _SideBySide(NamedTuple):
    """Chunks side by side."""

    #: The first of them.
    first: int
    #: Level s is at the places starts[s] up to starts[s + 1].
    starts: list[int]
    #: Where their first rows stand, and which chunks those are of.
    heads: NDArray[np.int64]
    columns_of_heads: NDArray[np.int64]


def _groups(lengths: NDArray[np.int64], width: int) -> list[_SideBySide]:
    """`lengths`: of all chunks, the longest first."""
    groups, place = [], 0
    for first in range(0, len(lengths), width):
        own = lengths[first : first + width]
        counts = len(own) - np.cumsum(np.bincount(own))[: int(own.max(initial=0))]
        starts = place + np.concatenate((np.zeros(1, np.int64), np.cumsum(counts)))
        heads = starts[own - 1] + np.arange(len(own))
        order = np.argsort(heads)
        groups.append(_SideBySide(first, starts.tolist(), heads[order], first + order))
        place = int(starts[-1])
    return groups


def _last_places(group: _SideBySide) -> NDArray[np.int64]:
    """Where the last rows of its chunks stand."""
    found: NDArray[np.int64] = np.arange(group.starts[0], group.starts[1])
    return found


def _add(level: Array, entering: EnteringTerms | None, first: int) -> None:
    """`level`: the last rows of the chunks from `first` on."""
    if entering is not None:
        columns = entering.columns
        among = slice(*np.searchsorted(columns, (first, first + level.shape[1])))
        level[:, columns[among] - first] += entering.terms[:, among]


class _Tile(NamedTuple):
    """The same numbers as [K, n], and as [G, K / G, n]."""

    rows: Array
    levels: Array

    @classmethod
    def of(cls, x: Array, scans_of_each: int, width: int, module: Any) -> _Tile:
        shape = len(x) * scans_of_each, width
        rows = np.empty(shape, x.dtype) if module is np else x.new_empty(shape)
        return cls(rows, rows.reshape(len(x), scans_of_each, width))


def _as(x: Array, array: NDArray[Any]) -> Array:
    return array if isinstance(x, np.ndarray) else x.new_tensor(array)


def _to_numpy(array: Array) -> NDArray[Any]:
    return array if isinstance(array, np.ndarray) else np.asarray(array.cpu())


def _of(a: Array, start: int, stop: int) -> Array:
    return a if a.shape[-1] == 1 else a[..., start:stop]


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
