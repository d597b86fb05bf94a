"""Estimates of arrays in host memory, which are looked at before they are computed with."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaecli.arrays.arguments import (
    Arguments,
    check_bootstrap_shape,
    check_layout,
    check_offsets_kind,
    check_shape,
    host_numbers,
)
from gaecli.choices import Precision
from gaecli.errors import DataError
from gaecli.estimators.recursion import gae_block
from gaecli.kernels.devices import Device, choose_device
from gaecli.kernels.torch_import import torch_module

#: More threads than this wait for each other: a tile's calls into NumPy are short.
MOST_THREADS = 4


def gae(given: Arguments, device: str, precision: Precision, *, validate: bool) -> tuple[Any, Any]:
    """Advantages and returns; as `gaecli.gae`, for rewards that are no tensor."""
    rollout = HostRollout(given, validate=validate)
    return _estimates(rollout, choose_device(device, len(rollout.rewards)), precision)


def gae_of_tensors(given: Arguments, precision: Precision, *, validate: bool) -> tuple[Any, Any]:
    """The same for tensors of the host, by NumPy: they share their memory with its arrays."""
    from_numpy = torch_module().from_numpy
    advantages, returns = _estimates(HostRollout(given, validate=validate), None, precision)
    return from_numpy(advantages), from_numpy(returns)


def _estimates(rollout: HostRollout, device: Device | None, precision: Precision) -> tuple[Any, Any]:
    advantages = gae_block(
        rollout.rewards,
        rollout.values,
        cuts=rollout.cuts,
        terminated=rollout.terminated,
        next_values=rollout.next_values,
        gamma=rollout.gamma,
        lam=rollout.lam,
        inflow_rows=rollout.bootstrap_rows,
        inflow=rollout.gamma_at(rollout.bootstrap_rows) * rollout.bootstrap,
        precision=precision,
        device=device,
        threads=min(_num_cores(), MOST_THREADS),
    )
    returns = np.empty(len(advantages), rollout.result_dtype)
    np.add(advantages, rollout.values, out=returns, dtype=advantages.dtype, casting="same_kind")
    return rollout.like_rewards(advantages), rollout.like_rewards(returns)


class HostRollout:
    """The steps as flat NumPy arrays with trajectories one after the other, checked if `validate`."""

    def __init__(self, given: Arguments, *, validate: bool = True) -> None:
        self._validate = validate
        self._layout = given.layout
        rewards = host_numbers("rewards", given.rewards)
        self._shape = rewards.shape
        check_layout(self._shape, self._layout, has_offsets=given.offsets is not None)
        self._rows: NDArray[np.int64] | None = None  # of the steps, where not all rows are steps
        if given.mask is not None:
            self._rows = np.flatnonzero(self._flags("mask", given.mask))
        self.rewards = self._flat("rewards", rewards)
        self.values = self._flat("values", host_numbers("values", given.values))
        self.next_values = None
        if given.next_values is not None:
            self.next_values = self._flat("next_values", host_numbers("next_values", given.next_values))
        self.result_dtype = _result_dtype(self.rewards, self.values)
        self.gamma, self.lam = self._decay("gamma", given.gamma), self._decay("lam", given.lam)
        if not validate:
            self._spoil_what_has_no_decay()
        self.terminated = self._flags("terminated", given.terminated)
        done = self.terminated | self._flags("truncated", given.truncated)
        starts_and_end = self._segments(given.offsets)
        is_filled = starts_and_end[1:] > starts_and_end[:-1]
        last_rows = (starts_and_end[1:] - 1)[is_filled]
        self.cuts = done
        self.cuts[last_rows] = True
        self._set_bootstrap(given.bootstrap, last_rows, is_filled)
        self._check_finite("rewards", ~np.isfinite(self.rewards))
        self._check_finite("values", ~np.isfinite(self.values))
        if self.next_values is not None:
            self._check_finite("next_values", np.isinf(self.next_values) & ~self.terminated)

    def like_rewards(self, steps: NDArray[Any]) -> NDArray[Any]:
        """A result in the shape and dtype that the caller gets."""
        flat = steps.astype(self.result_dtype, copy=False)
        if self._rows is not None:
            flat = np.zeros(self._num_cells, self.result_dtype)
            flat[self._rows] = steps
        is_transposed = self._layout == "time-major"
        shaped = flat.reshape(self._shape[::-1]).T if is_transposed else flat.reshape(self._shape)
        return np.ascontiguousarray(shaped)

    def gamma_at(self, rows: NDArray[np.int64]) -> Any:
        return self.gamma[rows] if isinstance(self.gamma, np.ndarray) else self.gamma

    @property
    def _num_cells(self) -> int:
        return int(np.prod(self._shape))

    def _flat(self, name: str, array: NDArray[Any]) -> NDArray[Any]:
        check_shape(name, array.shape, self._shape)
        flat = (array.T if self._layout == "time-major" else array).reshape(-1)
        return flat if self._rows is None else flat[self._rows]

    def _flags(self, name: str, flags: Any) -> NDArray[np.bool_]:
        if flags is None:
            return np.zeros(len(self.rewards), np.bool_)
        array = self._flat(name, host_numbers(name, flags))
        if array.dtype == np.bool_:
            return array
        is_set: NDArray[np.bool_] = array != 0
        wrong = self._wrong(is_set & (array != 1))
        if len(wrong):
            raise DataError(f"`{name}` is {array[wrong[0]]} at {self._place(wrong[0])}; it must be 0 or 1")
        return is_set

    def _decay(self, name: str, given: Any) -> float | NDArray[Any]:
        array = host_numbers(name, given)
        rows = array.reshape(1) if array.ndim == 0 else self._flat(name, array)
        wrong = self._wrong(~((rows >= 0.0) & (rows <= 1.0)))
        if len(wrong):
            where = self._place(wrong[0]) if array.ndim else "every step"
            raise DataError(f"`{name}` is {rows[wrong[0]]} at {where}; it must lie in [0, 1]")
        return rows if array.ndim else float(array)

    def _spoil_what_has_no_decay(self) -> None:
        """A decay that is no number would pass every cut, as 0 · NaN does: it is the step that is none."""
        for name in ("gamma", "lam"):
            decays = getattr(self, name)
            is_bad = ~np.isfinite(decays)
            if is_bad.any():
                self.rewards = np.where(is_bad, np.nan, self.rewards)
                setattr(self, name, np.where(is_bad, 0.0, decays))

    def _segments(self, offsets: Any) -> NDArray[np.int64]:
        """Of the steps; what is no step is not counted."""
        bounds = self._segments_of_cells(offsets)
        return bounds if self._rows is None else np.searchsorted(self._rows, bounds).astype(np.int64)

    def _segments_of_cells(self, offsets: Any) -> NDArray[np.int64]:
        if self._layout is not None:
            num_lanes, lane_length = self._shape[::-1] if self._layout == "time-major" else self._shape
            return np.array([lane * lane_length for lane in range(num_lanes + 1)], np.int64)
        num_cells = self._num_cells
        if offsets is None:
            return np.array([0, num_cells], np.int64)
        array = host_numbers("offsets", offsets)
        check_offsets_kind(array.shape, array.dtype, is_whole=array.dtype.kind in "iu")
        array = array.astype(np.int64)
        falling = np.flatnonzero(array[1:] < array[:-1])
        if array[0] != 0 or array[-1] != num_cells or len(falling):
            where = f"falls at {falling[0] + 1}" if len(falling) else f"goes from {array[0]} to {array[-1]}"
            raise DataError(f"`offsets` {where}; it must ascend from 0 to {num_cells}, the number of rows")
        return array

    def _set_bootstrap(
        self, bootstrap: Any, last_rows: NDArray[np.int64], is_filled: NDArray[np.bool_]
    ) -> None:
        """Rows at which a bootstrap value is used, and the values: `bootstrap_rows`, `bootstrap`."""
        self.bootstrap_rows, self.bootstrap = np.empty(0, np.int64), np.empty(0, np.float64)
        if bootstrap is None:
            return
        array = host_numbers("bootstrap", bootstrap)
        check_bootstrap_shape(array.shape, len(is_filled))
        is_used = ~self.terminated[last_rows]
        if self.next_values is not None:
            is_used &= np.isnan(self.next_values[last_rows])
        self.bootstrap_rows = last_rows[is_used]
        self.bootstrap = np.broadcast_to(array, is_filled.shape)[is_filled][is_used].astype(np.float64)
        bad = self._wrong(~np.isfinite(self.bootstrap))
        if len(bad):
            segment = np.flatnonzero(is_filled)[is_used][bad[0]]
            raise DataError(
                f"`bootstrap` is {self.bootstrap[bad[0]]} at segment {segment}; {len(bad)} such in all"
            )

    def _wrong(self, is_wrong: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Where it is, if numbers are looked at."""
        return np.flatnonzero(is_wrong) if self._validate else np.empty(0, np.int64)

    def _check_finite(self, name: str, is_bad: NDArray[np.bool_]) -> None:
        rows = self._wrong(is_bad)
        if len(rows):
            number = getattr(self, name)[rows[0]]
            raise DataError(f"`{name}` is {number} at {self._place(rows[0])}; {len(rows)} such in all")

    def _place(self, step: Any) -> str:
        """Where the caller finds a step: in the order of trajectories, the first."""
        row = int(step if self._rows is None else self._rows[step])
        if self._layout is None:
            return f"row {row}"
        lane_length = self._shape[0] if self._layout == "time-major" else self._shape[1]
        lane, step = divmod(row, lane_length)
        return f"[{step}, {lane}]" if self._layout == "time-major" else f"[{lane}, {step}]"


def _num_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _result_dtype(*arrays: NDArray[Any]) -> Any:
    floats = [array.dtype for array in arrays if array.dtype.kind == "f"]
    is_double = not floats or any(dtype.itemsize > 4 for dtype in floats)
    return np.float64 if is_double else np.float32
