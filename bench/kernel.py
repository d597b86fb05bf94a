"""GAE in memory: gaecli's kernel against the ways people compute it, in one run.

    python bench/kernel.py [--rows 10000000] [--repeats 5]

Every method gets the same float32 reward and value columns and leaves float32 advantages. Repeats are
interleaved, so a slow moment of the machine meets all methods; the medians are printed as a Markdown
table. Numba, SciPy and torchrl take part where they can be imported. A method that would take minutes
gets the first rows only (marked *): it is linear in rows. Results are compared before times are.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from gaecli.arrays import gae
from gaecli.estimators.recursion import gae_block
from gaecli.kernels.devices import choose_device

GAMMA, LAM = 0.99, 0.95
BASELINE = "gaecli numpy, float64, 2 threads"
#: Rows for methods that are thousands of times slower than a loop in C.
FEW_ROWS = 200_000
SECONDS_TOO_LONG = 3


@dataclass
class Case:
    """Flat lanes, one after the other; `shape` is [B, T] where all lanes have one length."""

    name: str
    rewards: np.ndarray
    values: np.ndarray
    cuts: np.ndarray
    shape: tuple[int, int] | None

    def head(self, num_rows: int) -> Case:
        num_rows = min(num_rows, len(self.rewards))
        lanes = None if self.shape is None else (max(1, num_rows // self.shape[1]), self.shape[1])
        if lanes is not None:
            lanes = lanes if lanes[1] <= num_rows else (1, num_rows)
            num_rows = lanes[0] * lanes[1]
        cuts = self.cuts[:num_rows].copy()
        cuts[-1:] = True
        return Case(self.name, self.rewards[:num_rows], self.values[:num_rows], cuts, lanes)


def make_cases(num_rows: int) -> list[Case]:
    rng = np.random.default_rng(0)
    rewards, values = rng.normal(size=(2, num_rows)).astype(np.float32)

    def rectangle(name: str, length: int) -> Case:
        rows = num_rows // length * length
        cuts = np.arange(1, rows + 1) % length == 0
        return Case(name, rewards[:rows], values[:rows], cuts, (rows // length, length))

    ragged = np.zeros(num_rows, bool)
    ragged[rng.integers(0, num_rows, max(1, num_rows // 200))] = True
    ragged[-1] = True
    num_steps = max(1, min(1000, num_rows // 10))
    return [
        rectangle("one episode", num_rows),
        Case("ragged, 200 steps on average", rewards, values, ragged, None),
        rectangle("[128, 8] blocks", 128),
        rectangle(f"dense [{num_steps}, {num_rows // num_steps}]", num_steps),
    ]


def following_values(case: Case) -> np.ndarray:
    """V of the next state: every lane ends in a terminal state."""
    following = np.append(case.values[1:], np.float32(0))
    following[case.cuts] = 0
    return following


def ours(case: Case, out: np.ndarray, *, device: Any, precision: Any, threads: int) -> np.ndarray:
    return gae_block(
        case.rewards,
        case.values,
        cuts=case.cuts,
        terminated=case.cuts,
        gamma=GAMMA,
        lam=LAM,
        device=device,
        precision=precision,
        threads=threads,
        out=out,
    )


def public_function(case: Case, out: np.ndarray) -> np.ndarray:
    """`gaecli.gae`, which also checks every cell and adds up returns."""
    out[:] = gae(case.rewards, case.values, terminated=case.cuts, gamma=GAMMA, lam=LAM).advantages
    return out


def make_scipy_lfilter() -> Callable[[Case, np.ndarray], np.ndarray]:
    from scipy.signal import lfilter

    def run(case: Case, out: np.ndarray) -> np.ndarray:
        deltas = case.rewards + GAMMA * following_values(case).astype(np.float64) - case.values
        start = 0
        for stop in np.flatnonzero(case.cuts) + 1:
            out[start:stop] = lfilter([1.0], [1.0, -GAMMA * LAM], deltas[start:stop][::-1])[::-1]
            start = stop
        return out

    return run


def numpy_over_time(case: Case, out: np.ndarray) -> np.ndarray | None:
    """The recurrence of stable-baselines3's rollout buffer: a loop over T on rows [N] of a [T, N] buffer."""
    if case.shape is None:
        return None
    num_lanes, num_steps = case.shape
    rewards, values, following, cuts = rectangles(case)
    advantages = out.reshape(num_steps, num_lanes)
    last_gae_lam = np.zeros(num_lanes)
    for step in reversed(range(num_steps)):
        next_non_terminal = 1.0 - cuts[step]
        delta = rewards[step] + GAMMA * following[step] * next_non_terminal - values[step]
        last_gae_lam = delta + GAMMA * LAM * next_non_terminal * last_gae_lam
        advantages[step] = last_gae_lam
    return advantages.T.reshape(-1)


#: Of the case that was last asked for. It is kept with them: another one may have the id of one that is gone.
_rectangles: list[tuple[Case, list[np.ndarray]]] = []


def rectangles(case: Case) -> list[np.ndarray]:
    """The columns as [T, N], made once: there the data lies so to begin with."""
    if not _rectangles or _rectangles[0][0] is not case:
        columns = (case.rewards, case.values, following_values(case), case.cuts.astype(np.float32))
        made = [np.ascontiguousarray(column.reshape(case.shape).T) for column in columns]
        _rectangles[:] = [(case, made)]
    return _rectangles[0][1]


def make_numba_loop() -> Callable[[Case, np.ndarray], np.ndarray]:
    import numba

    @numba.njit
    def loop(rewards, values, cuts, gamma, lam, out):
        advantage, following = 0.0, 0.0
        for t in range(len(rewards) - 1, -1, -1):
            if cuts[t]:
                advantage, following = 0.0, 0.0
            delta = rewards[t] + gamma * following - np.float64(values[t])
            advantage = delta + gamma * lam * advantage
            following = values[t]
            out[t] = advantage

    def run(case: Case, out: np.ndarray) -> np.ndarray:
        loop(case.rewards, case.values, case.cuts, GAMMA, LAM, out)
        return out

    return run


def make_torchrl(dtype: torch.dtype) -> Callable[[Case, np.ndarray], np.ndarray]:
    from torchrl.objectives.value.functional import vec_generalized_advantage_estimate

    def run(case: Case, out: np.ndarray) -> np.ndarray:
        shape = (*(case.shape or (1, len(case.rewards))), 1)
        rewards, values, following, cuts = (
            torch.from_numpy(column).reshape(shape)
            for column in (case.rewards, case.values, following_values(case), case.cuts)
        )
        rewards, values, following = (column.to(dtype) for column in (rewards, values, following))
        advantages, _ = vec_generalized_advantage_estimate(GAMMA, LAM, values, following, rewards, cuts, cuts)
        out[:] = advantages.reshape(-1).numpy()
        return out

    return run


@dataclass
class Method:
    name: str
    run: Callable[[Case, np.ndarray], np.ndarray | None]
    is_slow: Callable[[Case], bool] = lambda case: False
    torch_threads: int = 1


def make_methods() -> list[Method]:
    methods = []
    for library, device in (("numpy", None), ("torch", choose_device("cpu", 0))):
        for precision, dtype in (("double", "float64"), ("single", "float32")):
            for threads in (1, 2):
                run = partial(ours, device=device, precision=precision, threads=threads)
                count = f"{threads} thread{'s' * (threads > 1)}"
                methods.append(Method(f"gaecli {library}, {dtype}, {count}", run))
    methods.append(Method("gaecli.gae(), float64, checks and returns included", public_function))
    methods.append(Method("numpy loop over T (as stable-baselines3)", numpy_over_time, is_narrow))
    optional = {
        "numba plain loop, 1 thread": make_numba_loop,
        "scipy lfilter per episode": make_scipy_lfilter,
        "torchrl vec_generalized_advantage_estimate, float32": partial(make_torchrl, torch.float32),
        "torchrl vec_generalized_advantage_estimate, float64": partial(make_torchrl, torch.float64),
    }
    for name, make in optional.items():
        try:
            run = make()
        except ImportError as error:
            print(f"left out: {name} ({error})\n")
            continue
        methods.append(Method(name, run, torch_threads=2))
    return methods


def is_narrow(case: Case) -> bool:
    return case.shape is not None and case.shape[0] < 100


def measure(case: Case, methods: list[Method], repeats: int) -> dict[str, tuple[float, bool]]:
    """Method -> (median ns per step, whether on the first rows only)."""
    seconds: dict[str, list[float]] = {method.name: [] for method in methods}
    cases = {True: case.head(FEW_ROWS), False: case}
    outs = {few: np.empty(len(some.rewards), np.float32) for few, some in cases.items()}
    expected = {few: double_precision(some) for few, some in cases.items()}
    for repeat in range(repeats + 1):  # the first is to warm up, and to compare results
        for method in methods:
            few = method.is_slow(case)
            if max(seconds[method.name], default=0) > SECONDS_TOO_LONG:
                continue  # once will do
            torch.set_num_threads(method.torch_threads)
            started = time.perf_counter()
            try:
                result = method.run(cases[few], outs[few])
            except RuntimeError as error:  # torchrl's float64 convolution asks for 227 GB for one episode
                if repeat == 0:
                    print(f"{method.name} fails on {case.name}: {str(error)[-120:]}\n")
                continue
            elapsed = time.perf_counter() - started
            if result is None:
                continue
            if repeat == 0:
                np.testing.assert_allclose(result, expected[few], rtol=2e-3, atol=2e-3, err_msg=method.name)
            else:
                seconds[method.name].append(elapsed)
    return {
        method.name: (
            statistics.median(seconds[method.name]) / len(cases[method.is_slow(case)].rewards) * 1e9,
            method.is_slow(case) and len(case.rewards) > FEW_ROWS,
        )
        for method in methods
        if seconds[method.name]
    }


def double_precision(case: Case) -> np.ndarray:
    return ours(case, np.empty(len(case.rewards)), device=None, precision="double", threads=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    cases = make_cases(arguments.rows)
    methods = make_methods()
    print(
        f"{arguments.rows:,} rows; {platform.machine()}, {os.cpu_count()} cores; Python "
        f"{platform.python_version()}, numpy {np.__version__}, torch {torch.__version__}\n"
    )
    results = [measure(case, methods, arguments.repeats) for case in cases]
    print("ns per step, and in brackets the multiple of the first line\n")
    print("| method |" + "".join(f" {case.name} |" for case in cases))
    print("|---|" + "---:|" * len(cases))
    ordered = sorted(methods, key=lambda method: method.name != BASELINE)
    for method in ordered:
        cells = []
        for result in results:
            if method.name not in result:
                cells.append("-")
                continue
            per_step, is_few = result[method.name]
            ratio = per_step / result[BASELINE][0]
            digits = 1 if ratio < 100 else 0
            cells.append(f"{per_step:,.{digits}f}{'*' * is_few} ({ratio:,.{digits}f})")
        print(f"| {method.name} | " + " | ".join(cells) + " |")
    print(f"\n\\* on the first {FEW_ROWS:,} rows.")


if __name__ == "__main__":
    main()
