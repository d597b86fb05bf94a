"""gaecli on a GPU: first whether it is right there, then how fast, in one run of under four minutes.

    python bench/device.py                      # a machine with torch and a CUDA device; no network, nothing else
    python bench/device.py --json device.json
    python bench/device.py --smoke              # the same way on the CPU, in seconds: shows that the script works

Right: estimates of tensors of every layout and dtype, by every kernel that serves the device, against NumPy in
float64; every preset by the road of `gae compute --device`; that no call waits for the device; CUDA graphs;
`torch.compile`.
Fast: ratios within this run, so that another machine may differ in seconds. TorchRL and rl_games take part where they
can be imported. Each target is told as met or not, and the break-even of `--device auto` as it is to be set. Exits
with 1 if anything is wrong; a target that is not met is no error.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # a bare machine has nothing installed

import numpy as np
import torch
from device_bench.calls import measure_calls
from device_bench.checks import check_calls, check_presets, check_tensors
from device_bench.findings import Findings
from device_bench.harness import FULL, SMOKE, Bench
from device_bench.host_rows import measure_host_rows
from device_bench.rivals import measure_rivals
from device_bench.shapes import measure_shapes

from gaecli.kernels.tensor_registry import tensor_kernel_for

PARTS = (
    check_calls,
    check_presets,
    check_tensors,
    measure_calls,
    measure_shapes,
    measure_rivals,
    measure_host_rows,
)


def main(given: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N, or any other of torch")
    parser.add_argument("--smoke", action="store_true", help="small sizes, on the CPU")
    parser.add_argument("--seconds", type=float, default=200.0, help="nothing new is begun after that")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(given)
    if not options.smoke and options.device.startswith("cuda") and not torch.cuda.is_available():
        print("no CUDA device here; `--smoke` runs the same on the CPU, in small")
        return 2
    started = time.perf_counter()
    device = torch.device("cpu" if options.smoke else options.device)
    findings = run(Bench(device, SMOKE if options.smoke else FULL, options.seconds))
    print(*findings.lines(), sep="\n")
    print(f"{time.perf_counter() - started:.0f} s")
    if options.json is not None:
        options.json.write_text(json.dumps(asdict(findings), indent=1) + "\n", encoding="utf-8")
    return 1 if findings.wrong else 0


def run(bench: Bench) -> Findings:
    bench.findings.machine = machine_of(bench)
    for part in PARTS:
        if not bench.has_time(part.__name__):
            continue
        with bench.checking(f"{part.__name__} runs to its end"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            part(bench)
        if bench.is_cuda:
            torch.cuda.empty_cache()
    return bench.findings


def machine_of(bench: Bench) -> dict[str, Any]:
    kernel = tensor_kernel_for(bench.device).name
    here = platform.processor() or platform.machine()
    name = torch.cuda.get_device_name(bench.device) if bench.is_cuda else here
    versions = {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__}
    try:
        import triton
    except ImportError:
        pass
    else:
        versions["triton"] = triton.__version__
    return {"device": str(bench.device), "name": name, "kernel": kernel, **versions}


if __name__ == "__main__":
    sys.exit(main())
