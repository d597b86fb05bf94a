"""The tree scan, tile by tile: terms are made, scanned and written while they are in a core's cache."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gaecli.choices import Precision
from gaecli.kernels.base import Array, Terms
from gaecli.kernels.devices import Device
from gaecli.kernels.scan import TILE_ROWS, TileScan
from gaecli.kernels.torch_import import torch_module

if TYPE_CHECKING:
    from concurrent.futures import Future

_FILL_ROWS = 1 << 17


def scan_terms(
    terms: Terms,
    out: NDArray[Any],
    *,
    device: Device | None = None,
    precision: Precision = "double",
    threads: int = 1,
    tile_rows: int | None = None,
) -> None:
    """`ScanTerms` by tiles of `tile_rows` rows, on NumPy or torch."""
    _Tiles(terms, ArrayLibrary(device, precision), tile_rows).run(out, threads)


class ArrayLibrary:
    """NumPy, or torch on the CPU: its tensors share memory with arrays, so that terms are made by NumPy for both."""

    module: Any = np

    def __init__(self, device: Device | None, precision: str) -> None:
        is_single = precision == "single" or (device is not None and not device.has_float64)
        self._dtype = np.dtype(np.float32 if is_single else np.float64)
        self._torch = torch_module() if device is not None and device.uses_torch else None

    def empty(self, num_rows: int) -> NDArray[Any]:
        return np.empty(num_rows, self._dtype)

    def numbers(self, rows: NDArray[Any]) -> NDArray[Any]:
        """NumPy casts as it computes."""
        return rows

    def flags(self, rows: NDArray[Any]) -> NDArray[np.bool_]:
        return np.asarray(rows, np.bool_)

    def can_write_to(self, out: NDArray[Any]) -> bool:
        return self._torch is None or out.dtype == self._dtype

    def shared(self, rows: NDArray[Any]) -> Array:
        """The same memory, for whoever scans it."""
        return rows if self._torch is None else self._torch.from_numpy(rows)


class _Head:
    """A `Future` for one thread, which comes to the tiles in their order."""

    def __init__(self) -> None:
        self._found: float | None = None

    def done(self) -> bool:
        return self._found is not None

    def set_result(self, head: float) -> None:
        self._found = head

    def set_exception(self, error: BaseException) -> None:
        """It is raised in the one thread that there is."""

    def result(self) -> float:
        assert self._found is not None
        return self._found


class _Tiles:
    """The rows of a block as a fixed list of tiles, walked from the last to the first."""

    def __init__(self, terms: Terms, library: ArrayLibrary, tile_rows: int | None) -> None:
        self.terms = terms
        self.library = library
        self.num_rows = terms.num_rows
        self.tile_rows = tile_rows or TILE_ROWS

    def run(self, out: NDArray[Any], threads: int) -> None:
        stops = range(self.num_rows, 0, -self.tile_rows)
        tiles = [slice(max(stop - self.tile_rows, 0), stop) for stop in stops]
        workers = max(1, min(threads, len(tiles)))
        if workers == 1:
            self._work(tiles, [_Head() for _ in tiles], slice(0, None, 1), out)
            return
        from concurrent.futures import Future, ThreadPoolExecutor

        heads: list[Future[float]] = [Future() for _ in tiles]
        with ThreadPoolExecutor(workers, thread_name_prefix="gae-tile") as pool:
            shares = [slice(first, None, workers) for first in range(workers)]
            for work in [pool.submit(self._work, tiles, heads, share, out) for share in shares]:
                work.result()

    def _work(
        self, tiles: list[slice], heads: Sequence[Future[float] | _Head], share: slice, out: NDArray[Any]
    ) -> None:
        """The tiles of one thread. Only `solve` waits for the tile behind, which another has."""
        rows_needed = min(self.tile_rows, self.num_rows)
        x_buffer = self.library.empty(rows_needed)
        a_buffer = self.library.empty(rows_needed) if self.terms.decay is None else None
        shared = self.library.shared
        scan = TileScan(rows_needed, like=shared(x_buffer), decay=self.terms.decay)
        # Column by column it is faster to copy what is whole; and NumPy alone casts as it computes.
        can_be_filled = a_buffer is None and out.flags.c_contiguous and self.library.can_write_to(out)
        try:
            # Unused cells may hold inf; what comes of it is selected away, so it is no news.
            with np.errstate(over="ignore", invalid="ignore"):
                for index in range(len(tiles))[share]:
                    rows = tiles[index]
                    num_rows = rows.stop - rows.start
                    x, a = x_buffer[:num_rows], None if a_buffer is None else a_buffer[:num_rows]
                    self._fill(x, a, rows)
                    bad_rows = self._fold(scan, x, a, rows)
                    carry = heads[index - 1].result() if index else 0.0
                    head = scan.solve(0.0 if math.isnan(carry) else carry)
                    spoilt = _spoilt_rows(bad_rows, math.isnan(carry), self.terms.cuts[rows])
                    heads[index].set_result(math.nan if any(bad.start == 0 for bad in spoilt) else head)
                    y = out[rows] if can_be_filled else x
                    scan.unfold(shared(y))
                    for bad in spoilt:
                        y[bad] = math.nan
                    if not can_be_filled:
                        out[rows] = y
        except BaseException as error:  # told to the threads that wait, and raised from this one
            for head_to_come in heads[share]:
                if not head_to_come.done():
                    head_to_come.set_exception(error)
            raise

    def _fill(self, x: NDArray[Any], a: NDArray[Any] | None, rows: slice) -> None:
        """x and a of a tile, in pieces that stay in a core's cache while operations go over them."""
        for start in range(0, len(x), _FILL_ROWS):
            piece = slice(start, min(start + _FILL_ROWS, len(x)))
            there = slice(rows.start + piece.start, rows.start + piece.stop)
            self.terms.fill(x[piece], None if a is None else a[piece], there, self.library)

    def _fold(
        self, scan: TileScan, x: NDArray[Any], a: NDArray[Any] | None, rows: slice
    ) -> NDArray[np.int64]:
        """The rows whose δ are not finite: they are 0 in what is folded."""
        decays = np.asarray(self.terms.cuts[rows], np.bool_) if a is None else self.library.shared(a)
        if scan.fold(self.library.shared(x), decays):
            return np.empty(0, np.int64)
        bad_rows = _take_out_non_finite(x)
        scan.fold(self.library.shared(x), decays, is_finite=True)
        return bad_rows


def _take_out_non_finite(x: NDArray[Any]) -> NDArray[np.int64]:
    """Zero the δ that are not finite, as no 0 would stop them in the scan, and name their rows."""
    is_bad = ~np.isfinite(x)
    x[is_bad] = 0.0
    return np.flatnonzero(is_bad)


def _spoilt_rows(bad_rows: NDArray[np.int64], is_carry_bad: bool, cuts: NDArray[Any]) -> list[slice]:
    """The rows that depend on a δ taken out: from it back to the start of its trajectory.

    `is_carry_bad` tells the same of what comes in from the tile behind.
    """
    if not is_carry_bad and not len(bad_rows):
        return []
    last_rows = np.flatnonzero(cuts)
    starts = np.concatenate(([0], last_rows + 1))
    trajectories = np.searchsorted(last_rows, bad_rows)
    last_bad = dict(zip(trajectories.tolist(), bad_rows.tolist(), strict=True))  # rows ascend
    if is_carry_bad and starts[-1] < len(cuts):
        last_bad[len(last_rows)] = len(cuts) - 1
    return [slice(int(starts[trajectory]), row + 1) for trajectory, row in last_bad.items()]
