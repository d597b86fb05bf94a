"""The law: the reverse affine scan as a plain loop. Slow, and obviously right."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gaecli.choices import Precision
from gaecli.kernels.base import Terms
from gaecli.kernels.devices import Device


def affine_scan_reference(x: ArrayLike, a: ArrayLike, carry: Any = 0.0) -> NDArray[np.float64]:
    """yₜ = xₜ + aₜ · yₜ₊₁ with y_N = carry, along the last axis, in float64. A new array.

    A cut isolates here even what is not finite: where aₜ is 0, yₜ is xₜ.
    """
    x, a = np.asarray(x, np.float64), np.asarray(a, np.float64)
    y = np.empty_like(x)
    following = np.broadcast_to(np.asarray(carry, np.float64), x.shape[:-1])
    for t in range(x.shape[-1] - 1, -1, -1):
        following = np.where(a[..., t] == 0.0, x[..., t], x[..., t] + a[..., t] * following)
        y[..., t] = following
    return y


def scan_terms(
    terms: Terms,
    out: NDArray[Any],
    *,
    device: Device | None = None,
    precision: Precision = "double",
    threads: int = 1,
    tile_rows: int | None = None,
) -> None:
    """`ScanTerms` by the plain loop, in float64 on the CPU, whatever was asked for."""
    x, a = np.empty(terms.num_rows), np.empty(terms.num_rows)
    with np.errstate(over="ignore", invalid="ignore"):
        terms.fill(x, a, slice(0, terms.num_rows), _NumPy())
        is_bad = ~np.isfinite(x)
        out[...] = affine_scan_reference(x, a)
    is_spoilt = False
    for t in range(terms.num_rows - 1, -1, -1):
        is_spoilt = bool(is_bad[t]) or (is_spoilt and not terms.cuts[t])
        if is_spoilt:
            out[t] = np.nan


class _NumPy:
    module: Any = np

    def numbers(self, rows: NDArray[Any]) -> NDArray[Any]:
        return rows

    def flags(self, rows: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(rows, np.bool_)
