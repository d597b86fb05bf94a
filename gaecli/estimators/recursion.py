"""Generalized advantage estimates of one block of rows: the terms of the scan, and the scan by a kernel.

    δₜ = rₜ + γₜ (1 - dₜ) V(sₜ₊₁) - V(sₜ)
    Aₜ = δₜ + γₜ λₜ mₜ Aₜ₊₁        mₜ = 0 at a cut, else 1

Schulman et al. 2016, eq. 16, https://arxiv.org/abs/1506.02438. There rₜ is the reward *after*
acting in sₜ, as here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaecli.choices import Precision
from gaecli.kernels.base import Array, Arrays
from gaecli.kernels.devices import Device
from gaecli.kernels.registry import Kernel, kernel_for


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
    precision: Precision = "double",
    device: Device | None = None,
    threads: int = 1,
    tile_rows: int | None = None,
    out: NDArray[Any] | None = None,
    kernel: Kernel | None = None,
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
        kernel: one of `gaecli.kernels.registry`; by default the one for the device.

    Returns:
        `out`: Aₜ, [N].
    """
    terms = GaeTerms(rewards, values, cuts, terminated, next_values, is_step, gamma, lam, inflow_rows, inflow)
    if out is None:
        is_single = precision == "single" or (device is not None and not device.has_float64)
        out = np.empty(len(rewards), np.float32 if is_single else np.float64)
    kernel = kernel or kernel_for(device)
    kernel.scan_terms(terms, out, device=device, precision=precision, threads=threads, tile_rows=tile_rows)
    return out


class GaeTerms:
    """xₜ = δₜ, with what flows in added, and aₜ = γₜ λₜ, or 0 at a cut.

    Of rows that are no steps both are 0. Selected, never multiplied: 0 · NaN is NaN.
    """

    def __init__(
        self,
        rewards: NDArray[Any],
        values: NDArray[Any],
        cuts: NDArray[Any],
        terminated: NDArray[Any] | None,
        next_values: NDArray[Any] | None,
        is_step: NDArray[Any] | None,
        gamma: float | NDArray[Any],
        lam: float | NDArray[Any],
        inflow_rows: NDArray[np.int64] | None,
        inflow: NDArray[np.float64] | None,
    ) -> None:
        """Shapes and meanings as in `gae_block`."""
        self.num_rows = len(rewards)
        self.rewards, self.values, self.cuts = rewards, values, cuts
        self.next_values, self.is_step = next_values, is_step
        #: Those whose V(sₜ₊₁) is not 0 in any case.
        self.terminated = terminated
        if terminated is not None and next_values is None and not np.any(terminated > cuts):
            self.terminated = None
        self.gamma = gamma if isinstance(gamma, np.ndarray) and gamma.ndim else float(gamma)
        self.lam = lam if isinstance(lam, np.ndarray) and lam.ndim else float(lam)
        is_even = is_step is None and isinstance(self.gamma, float) and isinstance(self.lam, float)
        self.decay = float(self.gamma * self.lam) if is_even else None
        order = np.argsort(inflow_rows, kind="stable") if inflow_rows is not None else np.empty(0, np.int64)
        self.inflow_rows = np.asarray(inflow_rows if inflow_rows is not None else [], np.int64)[order]
        self.inflow = np.asarray(inflow if inflow is not None else [], np.float64)[order]

    def fill(self, x: Array, a: Array | None, rows: slice, arrays: Arrays) -> None:
        where, isnan = arrays.module.where, arrays.module.isnan
        cuts = arrays.flags(self.cuts[rows])
        following = arrays.numbers(self.values[rows.start + 1 : rows.stop + 1])
        x[: len(following)] = following
        x[len(following) :] = 0.0
        x[cuts] = 0.0
        if self.next_values is not None:
            given = arrays.numbers(self.next_values[rows])
            x[...] = where(isnan(given), x, given)
        if self.terminated is not None:
            x[arrays.flags(self.terminated[rows])] = 0.0
        x *= _numbers(self.gamma, rows, arrays)
        x += arrays.numbers(self.rewards[rows])
        x -= arrays.numbers(self.values[rows])
        if self.is_step is not None:
            x[~arrays.flags(self.is_step[rows])] = 0.0
        if a is not None:
            self._fill_decays(a, rows, arrays)
        first, last = np.searchsorted(self.inflow_rows, [rows.start, rows.stop])
        if first < last:
            x[self.inflow_rows[first:last] - rows.start] += arrays.numbers(self.inflow[first:last])

    def _fill_decays(self, a: Array, rows: slice, arrays: Arrays) -> None:
        gamma, lam = _numbers(self.gamma, rows, arrays), _numbers(self.lam, rows, arrays)
        if isinstance(gamma, float) and isinstance(lam, float):
            a[...] = gamma * lam
        else:  # as wide as a is, whatever they are
            a[...] = gamma
            a *= lam
        a[arrays.flags(self.cuts[rows])] = 0.0
        if self.is_step is not None:
            a[~arrays.flags(self.is_step[rows])] = 0.0


def _numbers(given: float | NDArray[Any], rows: slice, arrays: Arrays) -> Array:
    return given if isinstance(given, float) else arrays.numbers(given[rows])
