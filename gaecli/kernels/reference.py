"""The law: the reverse affine scan as a plain loop. Slow, and obviously right."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


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
