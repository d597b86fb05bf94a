"""A call in a training loop: what the loop waits for, with many of them one after the other."""

from __future__ import annotations

import time

import torch

import gaecli
from device_bench.cases import arguments, by_kernel, on
from device_bench.harness import Bench
from gaecli.kernels.tensor_registry import TensorKernel


def measure_calls(bench: Bench) -> None:
    steps, lanes = bench.sizes.loop
    given = on(bench.device, arguments("time-major", "ends", (lanes, steps), 2), torch.float32)
    results = gaecli.gae(**given)
    # All that comes before a kernel is begun, which is Python's: the launch itself is the difference to the next.
    idle = TensorKernel("none", lambda: lambda *_: results, lambda _: True)
    roads = {"the arguments alone": lambda: by_kernel(idle, given)}
    roads |= {kernel.name: lambda kernel=kernel: by_kernel(kernel, given) for kernel in bench.kernels}  # type: ignore[misc]
    roads["gaecli.gae"] = lambda: gaecli.gae(**given)
    if bench.is_cuda:
        roads["a CUDA graph"], _kept = bench.captured(lambda: gaecli.gae(**given))
    taken = {}
    for name, call in roads.items():
        for _ in range(3):
            call()
        bench.synchronize()
        started = time.perf_counter()
        for _ in range(bench.sizes.calls):
            call()
        bench.synchronize()
        taken[name] = (time.perf_counter() - started) / bench.sizes.calls
        bench.findings.figure(f"[{steps}, {lanes}] a call, {name}", taken[name], steps * lanes)
    bench.findings.at_most(f"[{steps}, {lanes}] a call, in µs", taken["gaecli.gae"] * 1e6, 60.0)
