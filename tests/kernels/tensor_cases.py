"""Steps for the kernels of tensors, and what comes of them by the law: a plain loop over each lane, in float64."""

from __future__ import annotations

from typing import Any

import numpy as np

from gaecli.kernels import reference

#: [outer, steps, inner]: one lane, lanes one after the other, lanes side by side.
SHAPES = [(1, 1, 1), (1, 37, 1), (4, 9, 1), (1, 9, 4), (1, 33, 3), (3, 1, 1)]


def _plain(rng: np.random.Generator, shape: tuple[int, ...]) -> dict[str, Any]:
    rewards, values = rng.normal(size=(2, *shape))
    return {"rewards": rewards, "values": values, "gamma": 0.9, "lam": 0.8}


def _ends(rng: np.random.Generator, shape: tuple[int, ...]) -> dict[str, Any]:
    return {**_plain(rng, shape), "end_values": rng.normal(size=shape[0] * shape[2])}


def _flags(rng: np.random.Generator, shape: tuple[int, ...]) -> dict[str, Any]:
    terminated, truncated = rng.random((2, *shape)) < 0.15
    return {**_ends(rng, shape), "terminated": terminated, "truncated": truncated.astype(np.float32)}


def _next_values(rng: np.random.Generator, shape: tuple[int, ...]) -> dict[str, Any]:
    given = np.where(rng.random(shape) < 0.5, rng.normal(size=shape), np.nan)
    return {**_flags(rng, shape), "next_values": given}


def _masked(rng: np.random.Generator, shape: tuple[int, ...]) -> dict[str, Any]:
    return {**_next_values(rng, shape), "is_step": (rng.random(shape) < 0.7).astype(np.int64)}


def _decays(rng: np.random.Generator, shape: tuple[int, ...]) -> dict[str, Any]:
    gamma, lam = rng.random((2, *shape))
    return {**_flags(rng, shape), "gamma": gamma, "lam": lam}


def _whole_sums(rng: np.random.Generator, shape: tuple[int, ...]) -> dict[str, Any]:
    return {**_ends(rng, shape), "gamma": 1.0, "lam": 1.0}


def _no_trace(rng: np.random.Generator, shape: tuple[int, ...]) -> dict[str, Any]:
    return {**_flags(rng, shape), "lam": 0.0}


def _every_row_cut(rng: np.random.Generator, shape: tuple[int, ...]) -> dict[str, Any]:
    return {**_plain(rng, shape), "terminated": np.ones(shape, np.int8)}


def _scan_alone(rng: np.random.Generator, shape: tuple[int, ...]) -> dict[str, Any]:
    made = _decays(rng, shape)
    return {
        "rewards": made["rewards"],
        "values": None,
        "gamma": 1.0,
        "lam": made["lam"],
        "truncated": made["truncated"],
    }


def _not_finite(rng: np.random.Generator, shape: tuple[int, ...]) -> dict[str, Any]:
    made = {**_masked(rng, shape), "gamma": rng.random(shape), "lam": rng.random(shape)}
    for name, rate in (
        ("rewards", 0.06),
        ("values", 0.04),
        ("next_values", 0.03),
        ("gamma", 0.02),
        ("lam", 0.02),
    ):
        made[name][rng.random(shape) < rate] = rng.choice([np.nan, np.inf, -np.inf])
    return made


KINDS = {
    made.__name__.lstrip("_"): made
    for made in (
        _plain,
        _ends,
        _flags,
        _next_values,
        _masked,
        _decays,
        _whole_sums,
        _no_trace,
        _every_row_cut,
        _scan_alone,
        _not_finite,
    )
}


def steps_of(kind: str, shape: tuple[int, int, int], seed: int = 0) -> dict[str, Any]:
    """The fields of `TensorSteps`, as NumPy arrays."""
    return {"shape": shape, **KINDS[kind](np.random.default_rng([seed, *shape]), shape)}


def estimates(steps: dict[str, Any]) -> tuple[np.ndarray, np.ndarray | None]:
    """y, and y + v."""
    outer, _, inner = steps["shape"]
    y = np.empty(steps["shape"])
    for lane in np.ndindex(outer, inner):
        y[lane[0], :, lane[1]] = _of_lane(steps, *lane)
    values = steps["values"]
    returns = None if values is None else y + values
    if steps.get("is_step") is not None:
        y = np.where(steps["is_step"], y, 0.0)
        returns = np.where(steps["is_step"], returns, 0.0)
    return y, returns


class _Terms:
    decay = None

    def __init__(self, x: list[float], a: list[float], cuts: list[bool]) -> None:
        self.num_rows, self._x, self._a, self.cuts = len(x), x, a, np.array(cuts)

    def fill(self, x: Any, a: Any, rows: slice, arrays: Any) -> None:
        x[...], a[...] = self._x[rows], self._a[rows]


def _of_lane(steps: dict[str, Any], outer: int, inner: int) -> np.ndarray:
    num_steps = steps["shape"][1]

    def at(name: str, t: int, missing: float) -> float:
        given = steps.get(name)
        if given is None:
            return missing
        return float(given[outer, t, inner]) if np.ndim(given) else float(given)

    end_values = steps.get("end_values")
    end = 0.0 if end_values is None else float(end_values[outer * steps["shape"][2] + inner])
    x, a, cuts = [], [], []
    for t in range(num_steps):
        is_terminated = at("terminated", t, 0.0) != 0
        is_cut = is_terminated or at("truncated", t, 0.0) != 0 or t == num_steps - 1
        following = end if t == num_steps - 1 else 0.0 if is_cut else at("values", t + 1, 0.0)
        if not np.isnan(at("next_values", t, np.nan)):
            following = at("next_values", t, np.nan)
        if is_terminated:
            following = 0.0
        gamma, decay = at("gamma", t, 0.0), at("gamma", t, 0.0) * at("lam", t, 0.0)
        if steps["values"] is None:
            delta = at("rewards", t, 0.0)
        else:
            delta = at("rewards", t, 0.0) + gamma * following - at("values", t, 0.0)
        if not (np.isfinite(delta) and np.isfinite(decay)):
            delta = np.nan
        if at("is_step", t, 1.0) == 0:
            delta, decay = 0.0, 1.0
        x.append(delta)
        a.append(0.0 if is_cut or np.isnan(delta) else decay)
        cuts.append(is_cut)
    y = np.empty(num_steps)
    reference.scan_terms(_Terms(x, a, cuts), y)
    return y
