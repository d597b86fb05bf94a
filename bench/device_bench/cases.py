"""What is computed on, and what comes of it by NumPy in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

import gaecli
from gaecli.arrays import tensors
from gaecli.arrays.arguments import Arguments
from gaecli.kernels.tensor_registry import TensorKernel
from gaecli.rollouts import NO_LANES, Block, Placement

GAMMA, LAM = 0.99, 0.95
LAYOUTS = ("time-major", "batch-major", "flat", "segments")
GIVEN = {
    "nothing": (),
    "ends": ("terminated", "truncated", "bootstrap"),
    "all": ("terminated", "truncated", "bootstrap", "next_values", "mask", "gamma", "lam"),
}
#: Against float64: rounding of the arithmetic, in the worst case over sums of some thousand numbers, and of float32.
TOLERANCE = {"float64": 1e-9, "float32": 2e-5, "bfloat16": 2e-5}


def arguments(layout: str, given: str, shape: tuple[int, int], seed: int) -> dict[str, Any]:
    """NumPy arrays for `gaecli.gae`: of `shape` lanes and steps, or as many rows."""
    rng = np.random.default_rng(seed)
    lanes, steps = shape
    cells = {"time-major": (steps, lanes), "batch-major": (lanes, steps)}.get(layout, (lanes * steps,))
    offsets = np.sort(np.append(rng.integers(0, lanes * steps, max(lanes - 1, 1)), [0, lanes * steps]))
    num_segments = {"flat": 1, "segments": len(offsets) - 1}.get(layout, lanes)
    offered = {
        "terminated": rng.random(cells) < 0.02,
        "truncated": rng.random(cells) < 0.02,
        "next_values": np.where(rng.random(cells) < 0.3, rng.normal(size=cells), np.nan),
        "bootstrap": rng.normal(size=num_segments),
        "mask": rng.random(cells) < 0.8,
        "gamma": rng.uniform(0.9, 1.0, cells),
        "lam": rng.uniform(0.8, 1.0, cells),
    }
    made = {"rewards": rng.normal(size=cells), "values": rng.normal(size=cells)}
    made |= {name: offered[name] for name in GIVEN[given]}
    if layout == "segments":
        made["offsets"] = offsets
    return made | ({"layout": layout} if layout in ("time-major", "batch-major") else {})


def on(device: torch.device, given: dict[str, Any], dtype: torch.dtype) -> dict[str, Any]:
    """The arrays there; numbers in that type."""
    made = {}
    for name, array in given.items():
        made[name] = array
        if isinstance(array, np.ndarray):
            tensor = torch.from_numpy(array).to(device)
            made[name] = tensor.to(dtype) if tensor.is_floating_point() else tensor
    return made


def by_kernel(kernel: TensorKernel, given: dict[str, Any]) -> tuple[Any, Any]:
    """`gaecli.gae` by a kernel that it would perhaps not take."""
    names = dict.fromkeys(Arguments._fields) | {"gamma": GAMMA, "lam": LAM} | given
    return tensors.gae(Arguments(**names), "auto", "double", kernel)


def error_of(
    device: torch.device, kernel: TensorKernel, given: dict[str, Any], dtype: str, **how: Any
) -> float:
    """Of a kernel on a device, against NumPy; an AssertionError where it is more than rounding."""
    there = on(device, given, getattr(torch, dtype))
    # What the device was given, rounded as there, is what NumPy computes with.
    here = {
        name: one.to(torch.float64 if one.is_floating_point() else one.dtype).cpu().numpy()
        if isinstance(one, torch.Tensor)
        else one
        for name, one in there.items()
    }
    expected = gaecli.gae(**{"gamma": GAMMA, "lam": LAM, **here, **how})
    found = by_kernel(kernel, there)
    bound = TOLERANCE[dtype]
    return max(check_close(one.cpu(), other, bound) for one, other in zip(found, expected, strict=True))


def check_close(found: Any, expected: Any, bound: float) -> float:
    found, expected = (np.asarray(one, np.float64).reshape(-1) for one in (found, expected))
    assert np.array_equal(np.isnan(found), np.isnan(expected)), "NaN stands elsewhere"
    error = float(np.nanmax(np.abs(found - expected) / np.maximum(np.abs(expected), 1.0), initial=0.0))
    assert error <= bound, f"off by {error:.3g}, of {bound:.3g}"
    return error


def random_block(num_rows: int) -> Block:
    """As `gae compute` reads one: rows of trajectories one after the other."""
    rng = np.random.default_rng(7)
    ended = rng.random(num_rows) < 0.05
    ended[-1] = True
    terminated = ended & (rng.random(num_rows) < 0.5)
    rewards, values, following = rng.normal(size=(3, num_rows))
    return Block(
        rewards=rewards,
        values=values,
        terminated=terminated,
        truncated=ended & ~terminated,
        cuts=ended,
        next_values=np.where(ended, following, np.nan),
        lanes=NO_LANES,
        placement=Placement(num_rows),
        stream_ends=np.array([num_rows - 1]),
    )
