"""`gae compute --device`: rows on the host, sent, computed and fetched, against NumPy; from where on that pays."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from device_bench.cases import GAMMA, LAM
from device_bench.harness import Bench
from gaecli.engines.threads import default_jobs
from gaecli.estimators.recursion import gae_block
from gaecli.kernels.devices import Device


def measure_host_rows(bench: Bench) -> None:
    """As `gae compute` has them done: blocks side by side, a thread each, as many as there are cores."""
    num_rows, size = bench.sizes.host_rows, bench.sizes.host_block
    rng = np.random.default_rng(0)
    rewards, values = rng.normal(size=(2, num_rows)).astype(np.float32)
    cuts = rng.random(num_rows) < 1 / 200
    blocks = [slice(start, start + size) for start in range(0, num_rows, size)]
    jobs = default_jobs()
    name = "cuda:0" if bench.is_cuda else bench.device.type
    device = Device(name, "torch", "as requested", uses_torch=True)
    taken = {}
    for label, where in {"NumPy": None, "device": device}.items():

        def compute(rows: slice, where: Device | None = where) -> Any:
            return gae_block(
                rewards[rows],
                values[rows],
                cuts=cuts[rows],
                terminated=cuts[rows],
                gamma=GAMMA,
                lam=LAM,
                device=where,
            )

        runs = []
        with ThreadPoolExecutor(jobs) as pool:
            for _ in range(4):  # the first one starts threads, streams and pinned memory
                started = time.perf_counter()
                for _done in pool.map(compute, blocks):
                    pass
                runs.append(time.perf_counter() - started)
        taken[label] = min(runs[1:])
        bench.findings.figure(f"rows on the host, {label}, {jobs} threads", taken[label], num_rows)
    start = _seconds_of_start(bench)
    saved = (taken["NumPy"] - taken["device"]) / num_rows
    steps = math.ceil(start / saved) if saved > 0 else None
    bench.findings.machine |= {"start_seconds": round(start, 2), "break_even_steps": steps}


def _seconds_of_start(bench: Bench) -> float:
    """What a process that computes there waits for before its first row."""
    code = f"import torch; torch.zeros(1, device={str(bench.device)!r})" if bench.is_cuda else "pass"
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - started
