"""Generalized advantage estimates of one block of rows, tile by tile.

    δₜ = rₜ + γₜ (1 - dₜ) V(sₜ₊₁) - V(sₜ)
    Aₜ = δₜ + γₜ λₜ mₜ Aₜ₊₁        mₜ = 0 at a cut, else 1

Schulman et al. 2016, eq. 16, https://arxiv.org/abs/1506.02438. There rₜ is the reward *after*
acting in sₜ, as here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gaecli.kernels.devices import Device, torch_module
from gaecli.kernels.scan import TILE_ROWS, Array, TileScan

#: Rows per tile on an accelerator, where a call costs more and memory is not a cache.
ACCELERATOR_TILE_ROWS = 8**7


def gae_block(
    rewards: NDArray[Any],
    values: NDArray[Any],
    *,
    cuts: NDArray[Any],
    terminated: NDArray[Any] | None = None,
    next_values: NDArray[Any] | None = None,
    gamma: float | NDArray[Any],
    lam: float | NDArray[Any],
    inflow_rows: NDArray[np.int64] | None = None,
    inflow: NDArray[np.float64] | None = None,
    is_step: NDArray[Any] | None = None,
    precision: Literal["double", "single"] = "double",
    device: Device | None = None,
    threads: int = 1,
    tile_rows: int | None = None,
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Advantages of the rows of one block; trajectories lie one after the other.

    V(sₜ₊₁) is `next_values[t]` where it is given and not NaN; else `values[t + 1]` where
    `cuts[t]` is False; else 0. Where `terminated[t]`, it is 0 whatever was given. What is not used
    may be anything, NaN and inf included. A row whose δ is not finite makes NaN of its own
    advantage and of those of the earlier rows of its trajectory, and of no others.

    Arrays are NumPy arrays of any real dtype and strides, and are only read. How the block is cut
    into tiles is fixed by `tile_rows` and the device, so `threads` never changes a bit.

    Args:
        rewards: [N] rₜ.
        values: [N] V(sₜ).
        cuts: [N] bool, True at the last step of each trajectory or lane within the block. The last
            row of the block counts as cut, marked or not.
        terminated: [N] bool, dₜ: sₜ₊₁ is terminal. Does not cut by itself. None: nowhere.
        next_values: [N] V(sₜ₊₁), NaN where not given. None: nowhere.
        gamma, lam: numbers, or [N] arrays with one per row.
        inflow_rows: int64, distinct rows at which something enters from outside the block.
        inflow: float64, what is added to δ there, such as γ·λ·A of the row after the block.
        is_step: [N] bool; rows where it is False get 0 and pass nothing on. None: all are steps.
        precision: "double" computes in float64 where the device has it, "single" in float32.
        device: from `choose_device`; None computes with NumPy.
        threads: how many tiles are worked on at a time.
        tile_rows: rows per tile. Changes the result by rounding only.
        out: [N] floating-point array to write to, of any float dtype; by default a new NumPy array
            of the dtype computed in.

    Returns:
        `out`: Aₜ, [N].
    """
    block = _TiledBlock(
        {
            "rewards": rewards,
            "values": values,
            "cuts": cuts,
            "terminated": terminated,
            "next_values": next_values,
            "is_step": is_step,
            "gamma": gamma if np.ndim(gamma) else float(gamma),
            "lam": lam if np.ndim(lam) else float(lam),
        },
        inflow_rows,
        inflow,
        _Library(device, precision),
        tile_rows,
    )
    if out is None:
        out = np.empty(len(rewards), block.library.numpy_dtype)
    block.run(out, threads)
    return out


class _Library:
    """NumPy, or torch on one device: how arrays get there, and where `where` is found."""

    def __init__(self, device: Device | None, precision: str) -> None:
        is_single = precision == "single" or (device is not None and not device.has_float64)
        self.numpy_dtype = np.dtype(np.float32 if is_single else np.float64)
        self.is_torch = device is not None and device.uses_torch
        self.is_accelerator = self.is_torch and device is not None and device.name != "cpu"
        if self.is_torch and device is not None:
            self.module = torch_module()
            self.device = self.module.device(device.name)
            self.dtype = self.module.float32 if is_single else self.module.float64
        else:
            self.module = np

    def empty(self, num_rows: int) -> Array:
        if self.is_torch:
            return self.module.empty(num_rows, dtype=self.dtype, device=self.device)
        return np.empty(num_rows, self.numpy_dtype)

    def numbers(self, rows: NDArray[Any]) -> Array:
        """These rows where the arithmetic is. NumPy casts as it computes, so nothing moves there."""
        return self._moved(np.array(rows, self.numpy_dtype)) if self.is_torch else rows

    def flags(self, rows: NDArray[Any]) -> Array:
        return self._moved(np.array(rows, np.bool_)) if self.is_torch else np.asarray(rows, np.bool_)

    def _moved(self, copied: NDArray[Any]) -> Array:  # a copy: torch warns at arrays that are read-only
        return self.module.from_numpy(copied).to(self.device)

    def to_numpy(self, tile: Array) -> NDArray[Any]:
        return np.asarray(tile.cpu() if self.is_torch else tile)


class _TiledBlock:
    """The rows of a block as a fixed list of tiles, walked from the last to the first."""

    def __init__(
        self,
        columns: Mapping[str, Any],
        inflow_rows: NDArray[np.int64] | None,
        inflow: NDArray[np.float64] | None,
        library: _Library,
        tile_rows: int | None,
    ) -> None:
        self.columns = columns
        self.library = library
        self.num_rows = len(columns["rewards"])
        self.tile_rows = tile_rows or (ACCELERATOR_TILE_ROWS if library.is_accelerator else TILE_ROWS)
        order = np.argsort(inflow_rows, kind="stable") if inflow_rows is not None else np.empty(0, np.int64)
        self.inflow_rows = np.asarray(inflow_rows if inflow_rows is not None else [], np.int64)[order]
        self.inflow = np.asarray(inflow if inflow is not None else [], np.float64)[order]

    def run(self, out: NDArray[Any], threads: int) -> None:
        stops = range(self.num_rows, 0, -self.tile_rows)
        tiles = [slice(max(stop - self.tile_rows, 0), stop) for stop in stops]
        heads: list[Future[float]] = [Future() for _ in tiles]
        workers = max(1, min(threads, len(tiles)))
        if workers == 1:
            self._work(tiles, heads, slice(0, None, 1), out)
            return
        with ThreadPoolExecutor(workers, thread_name_prefix="gae-tile") as pool:
            shares = [slice(first, None, workers) for first in range(workers)]
            for work in [pool.submit(self._work, tiles, heads, share, out) for share in shares]:
                work.result()

    def _work(self, tiles: list[slice], heads: list[Future[float]], share: slice, out: NDArray[Any]) -> None:
        """The tiles of one thread. Only `solve` waits for the tile behind, which another has."""
        rows_needed = min(self.tile_rows, self.num_rows)
        x_buffer, a_buffer = self.library.empty(rows_needed), self.library.empty(rows_needed)
        scan = TileScan(rows_needed, like=x_buffer)
        try:
            # Unused cells may hold inf; what comes of it is selected away, so it is no news.
            with np.errstate(over="ignore", invalid="ignore"):
                for index in range(len(tiles))[share]:
                    rows = tiles[index]
                    x, a = (buffer[: rows.stop - rows.start] for buffer in (x_buffer, a_buffer))
                    self._fill_terms(x, a, rows)
                    bad_rows = self._take_out_non_finite(x)
                    scan.fold(x, a)
                    carry = heads[index - 1].result() if index else 0.0
                    head = scan.solve([0.0 if math.isnan(carry) else carry])[0]
                    spoilt = _spoilt_rows(bad_rows, math.isnan(carry), self.columns["cuts"][rows])
                    heads[index].set_result(math.nan if any(bad.start == 0 for bad in spoilt) else head)
                    scan.unfold(x)
                    for bad in spoilt:
                        x[bad] = math.nan
                    out[rows] = self.library.to_numpy(x)
        except BaseException as error:  # told to the threads that wait, and raised from this one
            for head_to_come in heads[share]:
                if not head_to_come.done():
                    head_to_come.set_exception(error)
            raise

    def _fill_terms(self, x: Array, a: Array, rows: slice) -> None:
        """x ← δ (plus what flows in), a ← γλ or 0. Selected, never multiplied: 0 · NaN is NaN."""
        where, isnan = self.library.module.where, self.library.module.isnan
        cuts = self._flags("cuts", rows)
        following = self._numbers("values", slice(rows.start + 1, rows.stop + 1))
        x[: len(following)] = following
        x[len(following) :] = 0.0
        x[cuts] = 0.0
        if self.columns["next_values"] is not None:
            given = self._numbers("next_values", rows)
            x[...] = where(isnan(given), x, given)
        if self.columns["terminated"] is not None:
            x[self._flags("terminated", rows)] = 0.0
        gamma, lam = self._numbers("gamma", rows), self._numbers("lam", rows)
        x *= gamma
        x += self._numbers("rewards", rows)
        x -= self._numbers("values", rows)
        a[...] = gamma * lam
        a[cuts] = 0.0
        if self.columns["is_step"] is not None:
            is_filler = ~self._flags("is_step", rows)
            x[is_filler] = 0.0
            a[is_filler] = 0.0
        first, last = np.searchsorted(self.inflow_rows, [rows.start, rows.stop])
        if first < last:
            x[self.inflow_rows[first:last] - rows.start] += self.library.numbers(self.inflow[first:last])

    def _numbers(self, name: str, rows: slice) -> Array:
        column = self.columns[name]
        return column if isinstance(column, float) else self.library.numbers(column[rows])

    def _flags(self, name: str, rows: slice) -> Array:
        return self.library.flags(self.columns[name][rows])

    def _take_out_non_finite(self, x: Array) -> NDArray[np.int64]:
        """Zero the δ that are not finite, as no 0 would stop them in the scan, and name their rows."""
        if math.isfinite(float(x.sum())):
            return np.empty(0, np.int64)
        is_bad = ~(abs(x) < math.inf)
        x[is_bad] = 0.0
        return np.flatnonzero(self.library.to_numpy(is_bad))


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
