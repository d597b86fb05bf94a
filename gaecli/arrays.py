"""`gaecli.gae`: generalized advantage estimates for arrays in memory."""

from __future__ import annotations

import os
import sys
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gaecli.errors import DataError, UsageError
from gaecli.estimators.recursion import gae_block
from gaecli.kernels.devices import choose_device

#: More threads than this wait for each other: a tile's calls into NumPy are short.
MOST_THREADS = 4


class GaeResult(NamedTuple):
    """Advantages Aₜ and returns Aₜ + V(sₜ), of the shape and kind of the rewards."""

    advantages: Any
    returns: Any


def gae(
    rewards: Any,
    values: Any,
    *,
    terminated: Any = None,
    truncated: Any = None,
    next_values: Any = None,
    bootstrap: Any = None,
    offsets: Any = None,
    layout: Literal["time-major", "batch-major"] | None = None,
    gamma: float = 0.99,
    lam: float = 0.95,
    device: str = "auto",
    precision: Literal["double", "single"] = "double",
) -> GaeResult:
    """Generalized advantage estimates for flat, segmented, or rectangular rollouts.

        δₜ = rₜ + γ (1 - dₜ) V(sₜ₊₁) - V(sₜ)
        Aₜ = δₜ + γ λ mₜ Aₜ₊₁        mₜ = 0 at the last step of a trajectory, else 1
        Rₜ = Aₜ + V(sₜ)

    Schulman et al. 2016, eq. 16, https://arxiv.org/abs/1506.02438. There rₜ is the reward
    *after* acting in sₜ, as here; Sutton & Barto call it rₜ₊₁.

    A trajectory ends where `terminated` or `truncated` is set and at the end of its segment (of its
    row or column, if rectangular). V(sₜ₊₁) is, in this order: 0 where terminated; `next_values[t]`
    if given and not NaN; inside a trajectory the value of its next step; at the end of a segment
    its `bootstrap`; else 0. Cells that this does not use may hold anything, NaN included.

    Args:
        rewards: [N] rₜ; or [T, N] with layout "time-major", or [B, T] with "batch-major".
        values: V(sₜ), of the shape of rewards.
        terminated: dₜ, 0 or 1, of the shape of rewards. 1 when sₜ₊₁ is terminal, so its value counts
            as 0. Wins over `truncated`. A time limit is not terminal: that is `truncated`.
        truncated: 0 or 1, of the shape of rewards: the trajectory ends here, and sₜ₊₁ has a value.
        next_values: V(sₜ₊₁), of the shape of rewards; NaN means not given.
        bootstrap: V after the last step of each segment: [S], [N] if time-major, [B] if batch-major,
            or one number for all. None is 0.
        offsets: [S + 1] int. Segment k is rows offsets[k] up to offsets[k + 1]. None: one segment.
        layout: required for, and only for, arrays of two dimensions.
        gamma: discount γ per step, in [0, 1].
        lam: λ, in [0, 1].
        device: "auto", "cpu", "cuda", "cuda:N" or "mps". "auto" is where a tensor lies, and NumPy
            for arrays in host memory, unless they are large and there is a GPU.
        precision: "double" computes in float64, "single" in float32, as "mps" always does.

    Returns:
        `advantages` and `returns`, of the shape of rewards: torch tensors on the device of rewards if
        that is a tensor, else NumPy arrays. float32 if no input number is of float64 or all are
        integers, else float64. Inputs are not modified; gradients do not flow.

    Raises:
        DataError: if lengths differ, a flag is not 0 or 1, offsets are not ascending from 0 to N, or
            a number that is used is not finite; names the first row.
        UsageError: if gamma, lam, layout, device or precision is none of the above.
        DeviceError: if the device is not there.

    Example:
        >>> advantages, returns = gae([1.0, 1.0], [0.5, 0.5], terminated=[0, 1], gamma=0.5, lam=1.0)
        >>> advantages.tolist(), returns.tolist()
        ([1.0, 0.5], [1.5, 1.0])
    """
    _check_settings(gamma, lam, precision)
    rollout = _Rollout(rewards, values, terminated, truncated, next_values, bootstrap, offsets, layout)
    if device == "auto" and _is_tensor(rewards) and rewards.device.type != "cpu":
        device = str(rewards.device)
    advantages = gae_block(
        rollout.rewards,
        rollout.values,
        cuts=rollout.cuts,
        terminated=rollout.terminated,
        next_values=rollout.next_values,
        gamma=gamma,
        lam=lam,
        inflow_rows=rollout.bootstrap_rows,
        inflow=gamma * rollout.bootstrap,
        precision=precision,
        device=choose_device(device, len(rollout.rewards)),
        threads=min(_num_cores(), MOST_THREADS),
    )
    returns = np.empty(len(advantages), rollout.result_dtype)
    np.add(advantages, rollout.values, out=returns, dtype=advantages.dtype, casting="same_kind")
    return GaeResult(*(rollout.like_rewards(result) for result in (advantages, returns)))


class _Rollout:
    """The arguments of `gae`, checked, as flat NumPy arrays with trajectories one after the other."""

    def __init__(
        self,
        rewards: Any,
        values: Any,
        terminated: Any,
        truncated: Any,
        next_values: Any,
        bootstrap: Any,
        offsets: Any,
        layout: str | None,
    ) -> None:
        self._original = rewards
        self._layout = layout
        rewards = _numbers("rewards", rewards)
        self._shape = rewards.shape
        self._check_layout(offsets)
        self.rewards = self._flat("rewards", rewards)
        self.values = self._flat("values", _numbers("values", values))
        self.next_values = None
        if next_values is not None:
            self.next_values = self._flat("next_values", _numbers("next_values", next_values))
        self.terminated = self._flags("terminated", terminated)
        done = self.terminated | self._flags("truncated", truncated)
        starts_and_end = self._segments(offsets)
        is_filled = starts_and_end[1:] > starts_and_end[:-1]
        last_rows = (starts_and_end[1:] - 1)[is_filled]
        self.cuts = done
        self.cuts[last_rows] = True
        self._set_bootstrap(bootstrap, last_rows, is_filled)
        self._check_finite("rewards", ~np.isfinite(self.rewards))
        self._check_finite("values", ~np.isfinite(self.values))
        if self.next_values is not None:
            self._check_finite("next_values", np.isinf(self.next_values) & ~self.terminated)

    def like_rewards(self, flat: NDArray[Any]) -> Any:
        """A result in the shape, kind, device and dtype that the caller gets."""
        flat = flat.astype(self.result_dtype, copy=False)
        is_transposed = self._layout == "time-major"
        shaped = flat.reshape(self._shape[::-1]).T if is_transposed else flat.reshape(self._shape)
        shaped = np.ascontiguousarray(shaped)
        if not _is_tensor(self._original):
            return shaped
        return sys.modules["torch"].from_numpy(shaped).to(self._original.device)

    @property
    def result_dtype(self) -> Any:
        floats = [array.dtype for array in (self.rewards, self.values) if array.dtype.kind == "f"]
        is_double = not floats or any(dtype.itemsize > 4 for dtype in floats)
        on_mps = _is_tensor(self._original) and self._original.device.type == "mps"
        return np.float64 if is_double and not on_mps else np.float32

    def _check_layout(self, offsets: Any) -> None:
        num_dims = len(self._shape)
        if self._layout not in (None, "time-major", "batch-major"):
            raise UsageError(f"`layout` is {self._layout!r}; it must be 'time-major' or 'batch-major'")
        if num_dims == 2 and self._layout is None:
            raise UsageError(
                f"`rewards` has shape {self._shape}, and which axis is time is not said",
                hint="pass layout='time-major' for [T, N], or layout='batch-major' for [B, T]",
            )
        if num_dims not in (1, 2) or (num_dims == 1 and self._layout is not None):
            wanted = "two dimensions" if self._layout else "one dimension, or two with `layout`"
            raise UsageError(f"`rewards` has shape {self._shape}; it must have {wanted}")
        if num_dims == 2 and offsets is not None:
            raise UsageError("`offsets` goes with flat arrays; with `layout`, every lane is one segment")

    def _flat(self, name: str, array: NDArray[Any]) -> NDArray[Any]:
        if array.shape != self._shape:
            raise DataError(f"`{name}` has shape {array.shape}, but `rewards` has {self._shape}")
        return (array.T if self._layout == "time-major" else array).reshape(-1)

    def _flags(self, name: str, flags: Any) -> NDArray[np.bool_]:
        if flags is None:
            return np.zeros(len(self.rewards), np.bool_)
        array = self._flat(name, _numbers(name, flags))
        if array.dtype == np.bool_:
            return array
        is_set: NDArray[np.bool_] = array == 1
        wrong = np.flatnonzero(~(is_set | (array == 0)))
        if len(wrong):
            raise DataError(f"`{name}` is {array[wrong[0]]} at {self._place(wrong[0])}; it must be 0 or 1")
        return is_set

    def _segments(self, offsets: Any) -> NDArray[np.int64]:
        num_rows = len(self.rewards)
        if self._layout is not None:
            num_lanes, lane_length = self._shape[::-1] if self._layout == "time-major" else self._shape
            return np.array([lane * lane_length for lane in range(num_lanes + 1)], np.int64)
        if offsets is None:
            return np.array([0, num_rows], np.int64)
        array = _numbers("offsets", offsets)
        if array.ndim != 1 or array.dtype.kind not in "iu" or not len(array):
            raise DataError(f"`offsets` must be whole numbers, [S + 1]; found {array.dtype} {array.shape}")
        array = array.astype(np.int64)
        falling = np.flatnonzero(array[1:] < array[:-1])
        if array[0] != 0 or array[-1] != num_rows or len(falling):
            where = f"falls at {falling[0] + 1}" if len(falling) else f"goes from {array[0]} to {array[-1]}"
            raise DataError(f"`offsets` {where}; it must ascend from 0 to {num_rows}, the number of rows")
        return array

    def _set_bootstrap(
        self, bootstrap: Any, last_rows: NDArray[np.int64], is_filled: NDArray[np.bool_]
    ) -> None:
        """Rows at which a bootstrap value is used, and the values: `bootstrap_rows`, `bootstrap`."""
        self.bootstrap_rows, self.bootstrap = np.empty(0, np.int64), np.empty(0, np.float64)
        if bootstrap is None:
            return
        array = _numbers("bootstrap", bootstrap)
        if array.shape not in ((), is_filled.shape):
            raise DataError(
                f"`bootstrap` has shape {array.shape}; it must be one number, or one per segment: "
                f"{is_filled.shape}"
            )
        is_used = ~self.terminated[last_rows]
        if self.next_values is not None:
            is_used &= np.isnan(self.next_values[last_rows])
        self.bootstrap_rows = last_rows[is_used]
        self.bootstrap = np.broadcast_to(array, is_filled.shape)[is_filled][is_used].astype(np.float64)
        bad = np.flatnonzero(~np.isfinite(self.bootstrap))
        if len(bad):
            segment = np.flatnonzero(is_filled)[is_used][bad[0]]
            raise DataError(
                f"`bootstrap` is {self.bootstrap[bad[0]]} at segment {segment}; {len(bad)} such in all"
            )

    def _check_finite(self, name: str, is_bad: NDArray[np.bool_]) -> None:
        rows = np.flatnonzero(is_bad)
        if len(rows):
            number = getattr(self, name)[rows[0]]
            raise DataError(f"`{name}` is {number} at {self._place(rows[0])}; {len(rows)} such in all")

    def _place(self, row: Any) -> str:
        """Where the caller finds a flat row: in the order of trajectories, the first."""
        if self._layout is None:
            return f"row {row}"
        lane_length = self._shape[0] if self._layout == "time-major" else self._shape[1]
        lane, step = divmod(int(row), lane_length)
        return f"[{step}, {lane}]" if self._layout == "time-major" else f"[{lane}, {step}]"


def _numbers(name: str, array: Any) -> NDArray[Any]:
    """The argument as a NumPy array of real numbers or flags; no copy where none is needed."""
    if _is_tensor(array):
        torch = sys.modules["torch"]
        array = array.detach().cpu()
        array = (array.float() if array.dtype == torch.bfloat16 else array).numpy()
    try:
        array = np.asarray(array)
    except ValueError as error:
        raise DataError(f"`{name}` is not an array: {error}") from error
    if array.dtype.kind not in "biuf":
        raise DataError(f"`{name}` has dtype {array.dtype}; it must hold numbers")
    result: NDArray[Any] = array
    return result


def _is_tensor(array: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(array, torch.Tensor)


def _check_settings(gamma: Any, lam: Any, precision: Any) -> None:
    for name, number in (("gamma", gamma), ("lam", lam)):
        if isinstance(number, bool) or not isinstance(number, int | float | np.number):
            raise UsageError(f"`{name}` is {number!r}; it must be a number")
        if not 0.0 <= number <= 1.0:
            raise UsageError(f"`{name}` is {number}; it must lie in [0, 1]")
    if precision not in ("double", "single"):
        raise UsageError(f"`precision` is {precision!r}; it must be 'double' or 'single'")


def _num_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
