"""One device, one set of sizes, how long there is; and how checks and times are taken there."""

from __future__ import annotations

import statistics
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from device_bench.findings import Findings
from gaecli.kernels.tensor_registry import TENSOR_KERNELS

#: Of the time for all: compiling takes most of that of the checks, and how long is the machine's affair.
SHARE_OF_CHECKS = 0.6


@dataclass
class Sizes:
    """What a run of the real thing, and one of `--smoke`, differ in."""

    steps: int
    #: Of a block of a file or a buffer, of which many make up `steps`.
    block: tuple[int, int]
    loop: tuple[int, int]
    #: Of arrays on the host, in blocks of so many.
    host_rows: int
    host_block: int
    repeats: int
    calls: int


FULL = Sizes(1_000_000_000, (128, 8192), (128, 4096), 64_000_000, 4_000_000, 7, 300)
SMOKE = Sizes(40_000, (8, 64), (8, 16), 20_000, 5_000, 2, 3)


class Bench:
    """What all parts get."""

    def __init__(self, device: torch.device, sizes: Sizes, seconds: float) -> None:
        self.device, self.sizes = device, sizes
        self.stop = time.perf_counter() + seconds
        self.stop_checking = time.perf_counter() + SHARE_OF_CHECKS * seconds
        self.is_cuda = device.type == "cuda"
        self.findings = Findings()
        self.kernels = [kernel for kernel in TENSOR_KERNELS if kernel.serves(device)]

    @contextmanager
    def checking(self, name: str) -> Iterator[dict[str, Any]]:
        """What is raised within is what was found."""
        line: dict[str, Any] = {"check": name, "ok": True}
        try:
            yield line
        except Exception as error:
            line |= {"ok": False, "error": f"{type(error).__name__}: {str(error)[:500]}"}
            if not isinstance(error, AssertionError):
                traceback.print_exc()
        self.findings.checks.append(line)

    def has_time(self, name: str, *, to_check: bool = False) -> bool:
        if time.perf_counter() < (self.stop_checking if to_check else self.stop):
            return True
        self.findings.left_out.append(f"{name}: no time left")
        return False

    def synchronize(self) -> None:
        if self.is_cuda:
            torch.cuda.synchronize(self.device)

    def seconds(self, function: Callable[[], Any], repeats: int | None = None) -> float:
        """Of the device, the median; the first call compiles."""
        function()
        self.synchronize()
        taken = []
        for _ in range(repeats or self.sizes.repeats):
            if self.is_cuda:
                begun, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                begun.record()
                function()
                ended.record()
                ended.synchronize()
                taken.append(begun.elapsed_time(ended) / 1e3)
            else:
                started = time.perf_counter()
                function()
                taken.append(time.perf_counter() - started)
        return statistics.median(taken)

    def captured(self, function: Callable[[], Any]) -> tuple[Callable[[], Any], Any]:
        """What replays it, and what then holds the results; without CUDA the function itself."""
        if not self.is_cuda:
            return function, function()
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                function()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            result = function()
        return graph.replay, result
