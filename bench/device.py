"""gaecli on a GPU: first whether it is right there, then how fast, in one run of under four minutes.

    python bench/device.py                      # a machine with torch and a CUDA device; no network
    python bench/device.py --json device.json
    python bench/device.py --smoke              # the same way on the CPU, in seconds: shows that the script works

Right: estimates of tensors of every layout and dtype, by every kernel that serves the device, against NumPy in
float64; every preset by the road of `gae compute --device`; that no call waits for the device; CUDA graphs;
`torch.compile`.
Fast: ratios within this run, so that another machine may differ in seconds. TorchRL and rl_games take part where they
can be imported. Exits with 1 if anything is wrong; a target that is not met is no error.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import statistics
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # a bare machine has nothing installed

import numpy as np
import torch

import gaecli
from gaecli.arrays import tensors
from gaecli.arrays.arguments import Arguments
from gaecli.estimators.recursion import gae_block
from gaecli.estimators.registry import make_estimator
from gaecli.kernels.devices import Device
from gaecli.kernels.tensor_registry import TENSOR_KERNELS, tensor_kernel_for
from gaecli.presets import PRESETS
from gaecli.rollouts import NO_LANES, Block, Placement
from gaecli.settings import Settings

GAMMA, LAM = 0.99, 0.95
#: Reward, value and flag are read, advantage and return written.
BYTES_PER_STEP = 4 + 4 + 1 + 4 + 4
#: Of what is measured is kept free: the buffers of one call and of its rivals.
SHARE_OF_MEMORY = 0.6
SHARE_OF_CHECKS = 0.6
LAYOUTS = ("time-major", "batch-major", "flat", "segments")
GIVEN = {
    "nothing": (),
    "ends": ("terminated", "truncated", "bootstrap"),
    "all": ("terminated", "truncated", "bootstrap", "next_values", "mask", "gamma", "lam"),
}
#: Against float64: rounding of the arithmetic, in the worst case over sums of some thousand numbers, and of float32.
TOLERANCE = {"float64": 1e-9, "float32": 2e-5, "bfloat16": 2e-5}


@dataclass
class Sizes:
    """What a run of the real thing, and one of `--smoke`, differ in."""

    steps: int
    loop: tuple[int, int]
    host_rows: int
    repeats: int
    calls: int


FULL = Sizes(1_000_000_000, (128, 4096), 50_000_000, 7, 300)
SMOKE = Sizes(40_000, (8, 16), 20_000, 2, 3)


@dataclass
class Report:
    """What was found, for the table and the JSON."""

    machine: dict[str, Any] = field(default_factory=dict)
    checks: list[dict[str, Any]] = field(default_factory=list)
    figures: list[dict[str, Any]] = field(default_factory=list)
    targets: list[dict[str, Any]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def target(self, name: str, ratio: float | None, bound: float, *, least: bool = False) -> None:
        met = None if ratio is None else (ratio >= bound if least else ratio <= bound)
        wanted = f"{'>=' if least else '<='} {bound:g}"
        self.targets.append({"target": name, "wanted": wanted, "found": ratio, "met": met})


class Bench:
    """One device, one set of sizes, and how long there is."""

    def __init__(self, device: torch.device, sizes: Sizes, seconds: float) -> None:
        self.device, self.sizes = device, sizes
        self.stop = time.perf_counter() + seconds
        #: Compiling takes most of the time of the checks, and how long is the machine's affair.
        self.stop_checking = time.perf_counter() + SHARE_OF_CHECKS * seconds
        self.is_cuda = device.type == "cuda"
        self.report = Report()
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
        self.report.checks.append(line)

    def has_time(self, name: str, *, to_check: bool = False) -> bool:
        if time.perf_counter() < (self.stop_checking if to_check else self.stop):
            return True
        self.report.left_out.append(f"{name}: no time left")
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

    def measured(self, name: str, seconds: float, steps: int, **more: Any) -> float:
        self.report.figures.append({"name": name, "seconds": seconds, "steps": steps, **more})
        return seconds


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


def by_kernel(kernel: Any, given: dict[str, Any]) -> tuple[Any, Any]:
    """`gaecli.gae` by a kernel that it would perhaps not take."""
    names = dict.fromkeys(Arguments._fields) | {"gamma": GAMMA, "lam": LAM} | given
    return tensors.gae(Arguments(**names), "auto", "double", kernel)


def check_close(found: Any, expected: Any, bound: float) -> float:
    found, expected = (np.asarray(one, np.float64).reshape(-1) for one in (found, expected))
    assert np.array_equal(np.isnan(found), np.isnan(expected)), "NaN stands elsewhere"
    error = float(np.nanmax(np.abs(found - expected) / np.maximum(np.abs(expected), 1.0), initial=0.0))
    assert error <= bound, f"off by {error:.3g}, of {bound:.3g}"
    return error


def check_tensors(bench: Bench) -> None:
    """Every layout, what can be given, dtype and kernel; sizes below and above tiles and chunks."""
    small, large = ((3, 7), (40, 300)) if bench.is_cuda else ((3, 7), (5, 40))
    for kernel in bench.kernels:
        for layout in LAYOUTS:
            for given in GIVEN:
                dtypes = (
                    TOLERANCE
                    if given == "ends"
                    else ("float32", "float64")
                    if given == "all"
                    else ("float32",)
                )
                for dtype in dtypes:
                    name = f"gae, {kernel.name}, {layout}, {given}, {dtype}"
                    if not bench.has_time(name, to_check=True):
                        continue
                    with bench.checking(name) as line:
                        errors = [
                            error_of(bench, kernel, arguments(layout, given, shape, seed), dtype)
                            for seed, shape in enumerate((small, large))
                        ]
                        line["error"] = max(errors)
        for lanes, steps in [(1, 300_000), (4096, 128), (7, 20_000)] if bench.is_cuda else [(1, 3000)]:
            for layout in LAYOUTS:
                name = f"gae, {kernel.name}, {layout}, {lanes} x {steps}"
                if not bench.has_time(name, to_check=True):
                    continue
                with bench.checking(name) as line:
                    line["error"] = error_of(
                        bench, kernel, arguments(layout, "ends", (lanes, steps), 5), "float32"
                    )
        with bench.checking(f"gae, {kernel.name}, NaN stops at cuts") as line:
            made = arguments("flat", "ends", (30, 500), 3)
            made["rewards"][::997] = np.nan
            line["error"] = error_of(bench, kernel, made, "float64", validate=False)


def error_of(bench: Bench, kernel: Any, given: dict[str, Any], dtype: str, **how: Any) -> float:
    there = on(bench.device, given, getattr(torch, dtype))
    # What the device was given, rounded as there, is what NumPy computes with.
    here = {
        name: one.to(torch.float64 if one.is_floating_point() else one.dtype).cpu().numpy()
        if isinstance(one, torch.Tensor)
        else one
        for name, one in there.items()
    }
    expected = gaecli.gae(**{"gamma": GAMMA, "lam": LAM, **here, **how})
    found = by_kernel(kernel, there)
    return max(
        check_close(one.cpu(), other, TOLERANCE[dtype]) for one, other in zip(found, expected, strict=True)
    )


def check_presets(bench: Bench) -> None:
    """Every preset, as `gae compute --device` computes a block of rows on the host."""
    name = "cuda:0" if bench.is_cuda else bench.device.type
    there = Device(name, f"torch {torch.__version__}", "as requested", uses_torch=True)
    here = Device("cpu", "numpy", "to compare", uses_torch=False)
    for preset in PRESETS:
        with bench.checking(f"preset {preset}") as line:
            settings = Settings.from_preset(preset)
            if settings.truncation == "ask":
                settings = Settings.from_preset(preset, truncation="exact")
            if settings.is_over_units:
                line["left_out"] = "units of steps are pooled on the host; the kernel is that of the others"
                continue
            both = []
            for device in (there, here):
                estimator = make_estimator(settings, device)
                block = estimator.prepare(random_block(600))
                both.append(estimator.estimate(block))
            line["error"] = max(
                check_close(found, expected, 1e-9)
                for found, expected in zip(both[0][:2], both[1][:2], strict=True)
                if expected is not None
            )


def random_block(num_rows: int) -> Block:
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


def check_calls(bench: Bench) -> None:
    """That nothing waits for the device, and that a call can be captured and compiled."""
    steps, lanes = bench.sizes.loop
    made = on(bench.device, arguments("time-major", "ends", (lanes, steps), 1), torch.float32)
    expected = gaecli.gae(**made).advantages
    for layout in LAYOUTS if bench.is_cuda else ():
        given = on(bench.device, arguments(layout, "all", (40, 300), 1), torch.float32)
        gaecli.gae(**given)
        with bench.checking(f"no call waits for the device, {layout}"):
            torch.cuda.set_sync_debug_mode("error")
            try:
                gaecli.gae(**given)
            finally:
                torch.cuda.set_sync_debug_mode("default")
    if bench.is_cuda:
        with bench.checking("a CUDA graph replays what it captured, on other numbers"):
            replay, captured = captured_call(made)
            for name in ("rewards", "values"):
                made[name].mul_(2.0)
            replay()
            check_close(captured.advantages.cpu(), gaecli.gae(**made).advantages.cpu(), 0.0)
            for name in ("rewards", "values"):
                made[name].div_(2.0)
    with bench.checking("torch.compile takes a call whole"):
        compiled = torch.compile(
            lambda given: gaecli.gae(**given).advantages, fullgraph=True, backend="eager"
        )
        check_close(compiled(made).cpu(), expected.cpu(), 1e-6)


def captured_call(given: dict[str, Any]) -> tuple[Callable[[], Any], Any]:
    """What replays it, and what then holds the results."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            gaecli.gae(**given)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = gaecli.gae(**given)
    return graph.replay, result


def measure_shapes(bench: Bench) -> None:
    """A billion steps in four shapes, against a copy on the device that moves as many bytes."""
    num_steps = steps_that_fit(bench)
    copying = bench.measured(
        f"copy, {BYTES_PER_STEP} bytes a step read or written", seconds_of_copy(bench, num_steps), num_steps
    )
    rewards = torch.randn(num_steps, device=bench.device)
    values = torch.randn(num_steps, device=bench.device)
    rows = num_steps // 128
    made = {
        "ragged, 200 steps on average": {"terminated": torch.rand(num_steps, device=bench.device) < 1 / 200},
        "one episode": {"terminated": torch.zeros(num_steps, dtype=torch.bool, device=bench.device)},
        "[128, N]": {"layout": "time-major"},
        "every row cut": {"terminated": torch.ones(num_steps, dtype=torch.bool, device=bench.device)},
    }
    taken: dict[str, float] = {}
    for name in list(made):
        how = made.pop(name)
        if not bench.has_time(name):
            continue
        given = {"rewards": rewards, "values": values, **how}
        if "layout" in how:
            given |= {key: given[key][: rows * 128].view(128, rows) for key in ("rewards", "values")}
            given["terminated"] = torch.rand(128, rows, device=bench.device) < 1 / 200
        for precision in ("double", "single"):
            label = f"{name}, {precision}"
            taken[label] = bench.seconds(lambda: gaecli.gae(**given, precision=precision))  # noqa: B023
            bench.measured(label, taken[label], num_steps, of_copy=taken[label] / copying)
    ragged = taken.get("ragged, 200 steps on average, double")
    if ragged is not None:
        bench.report.target("ragged, of a copy of the same bytes", ragged / copying, 1.6)
        for name in ("one episode", "[128, N]", "every row cut"):
            other = taken.get(f"{name}, double")
            bench.report.target(f"{name}, of ragged", None if other is None else other / ragged, 1.2)


def seconds_of_copy(bench: Bench, num_steps: int) -> float:
    source = torch.empty(num_steps * BYTES_PER_STEP // 2, dtype=torch.uint8, device=bench.device)
    target = torch.empty_like(source)
    return bench.seconds(lambda: target.copy_(source))


def steps_that_fit(bench: Bench) -> int:
    if not bench.is_cuda:
        return bench.sizes.steps
    free, _ = torch.cuda.mem_get_info(bench.device)
    fit = int(free * SHARE_OF_MEMORY) // (3 * BYTES_PER_STEP)
    if fit < bench.sizes.steps:
        bench.report.left_out.append(f"{bench.sizes.steps:,} steps do not fit: {fit:,} were taken")
    return min(bench.sizes.steps, fit // 128 * 128)


def measure_loop(bench: Bench) -> None:
    """A call in a training loop: what the loop waits for, with many of them one after the other."""
    steps, lanes = bench.sizes.loop
    given = on(bench.device, arguments("time-major", "ends", (lanes, steps), 2), torch.float32)
    roads = {kernel.name: lambda kernel=kernel: by_kernel(kernel, given) for kernel in bench.kernels}
    roads["gaecli.gae"] = lambda: gaecli.gae(**given)
    if bench.is_cuda:
        replay, _kept = captured_call(given)
        roads["a CUDA graph"] = replay
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
        bench.measured(f"[{steps}, {lanes}] a call, {name}", taken[name], steps * lanes)
    bench.report.target(f"[{steps}, {lanes}] a call, in µs", taken["gaecli.gae"] * 1e6, 60.0)


def measure_rivals(bench: Bench) -> None:
    """Other libraries on layouts of their own."""
    steps, lanes = (128, 8192) if bench.is_cuda else bench.sizes.loop
    rng = torch.Generator(device=bench.device).manual_seed(0)
    rewards, values = (torch.randn(lanes, steps, 1, device=bench.device, generator=rng) for _ in range(2))
    done = torch.rand(lanes, steps, 1, device=bench.device, generator=rng) < 1 / 200
    ours = bench.seconds(
        lambda: gaecli.gae(rewards[..., 0], values[..., 0], terminated=done[..., 0], layout="batch-major")
    )
    bench.measured(f"[{lanes}, {steps}], gaecli", ours, lanes * steps)
    theirs = None
    try:
        from torchrl.objectives.value.functional import vec_generalized_advantage_estimate
    except ImportError as error:
        bench.report.left_out.append(f"TorchRL: {error}")
    else:
        following = torch.cat([values[:, 1:], torch.zeros_like(values[:, :1])], 1)
        theirs = bench.seconds(
            lambda: vec_generalized_advantage_estimate(GAMMA, LAM, values, following, rewards, done, done)
        )
        bench.measured(f"[{lanes}, {steps}], TorchRL, vectorised", theirs, lanes * steps)
    bench.report.target("times as fast as TorchRL", theirs and theirs / ours, 50.0, least=True)
    by_time = [one.transpose(0, 1).contiguous() for one in (rewards, values)]
    arrived = done[..., 0].T.contiguous()  # of the state that a step begins in
    ended = torch.cat([arrived[1:], torch.zeros_like(arrived[:1])])
    last = torch.randn(lanes, 1, device=bench.device, generator=rng)
    theirs = None
    ours = bench.seconds(
        lambda: gaecli.gae(
            by_time[0][..., 0],
            by_time[1][..., 0],
            terminated=ended,
            bootstrap=last[:, 0],
            layout="time-major",
            gamma=GAMMA,
            lam=LAM,
        )
    )
    bench.measured(f"[{steps}, {lanes}], gaecli", ours, lanes * steps)
    try:
        from rl_games.triton_kernels.gae_kernel import _triton_gae
    except ImportError as error:
        bench.report.left_out.append(f"rl_games: {error}")
    else:
        flags, last_flags = arrived.float(), torch.zeros(lanes, device=bench.device)
        theirs = bench.seconds(lambda: _triton_gae(*by_time, flags, last, last_flags, GAMMA, LAM))
        bench.measured(f"[{steps}, {lanes}], rl_games", theirs, lanes * steps)
    bench.report.target("times as fast as the kernel of rl_games", theirs and theirs / ours, 1.5, least=True)


def measure_host_arrays(bench: Bench) -> None:
    """`gae compute --device`: rows on the host, sent, computed and fetched, against NumPy; from where on it pays."""
    num_rows = bench.sizes.host_rows
    rng = np.random.default_rng(0)
    rewards, values = rng.normal(size=(2, num_rows)).astype(np.float32)
    cuts = rng.random(num_rows) < 1 / 200
    given = {
        "rewards": rewards,
        "values": values,
        "cuts": cuts,
        "terminated": cuts,
        "gamma": GAMMA,
        "lam": LAM,
    }
    name = "cuda:0" if bench.is_cuda else bench.device.type
    device = Device(name, "torch", "as requested", uses_torch=True)
    taken = {}
    for label, how in {"NumPy": {"threads": 4}, "device": {"device": device}}.items():
        runs = []
        for _ in range(3):
            started = time.perf_counter()
            gae_block(**given, **how)
            runs.append(time.perf_counter() - started)
        taken[label] = min(runs)
        bench.measured(f"arrays on the host, {label}", taken[label], num_rows)
    code = f"import torch; torch.zeros(1, device={str(bench.device)!r})" if bench.is_cuda else "pass"
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    start = time.perf_counter() - started
    saved = (taken["NumPy"] - taken["device"]) / num_rows
    steps = math.ceil(start / saved) if saved > 0 else None
    bench.report.machine |= {"start_seconds": start, "break_even_steps": steps}


def machine_of(bench: Bench) -> dict[str, Any]:
    kernel = tensor_kernel_for(bench.device).name
    name = (
        torch.cuda.get_device_name(bench.device)
        if bench.is_cuda
        else platform.processor() or platform.machine()
    )
    versions = {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__}
    try:
        import triton

        versions["triton"] = triton.__version__
    except ImportError:
        pass
    return {"device": str(bench.device), "name": name, "kernel": kernel, **versions}


def show(report: Report, seconds: float) -> None:
    machine = dict(report.machine)
    print(f"\n{machine.pop('name')}: {', '.join(f'{name} {value}' for name, value in machine.items())}\n")
    wrong = [line for line in report.checks if not line["ok"]]
    worst = max((line.get("error", 0.0) for line in report.checks if line["ok"]), default=0.0)
    print(
        f"right: {len(report.checks) - len(wrong)} of {len(report.checks)} checks, off by at most {worst:.2g}"
    )
    for line in wrong:
        print(f"  WRONG  {line['check']}: {line['error']}")
    print("\n| what | ms | ns a step | of a copy |\n|---|---:|---:|---:|")
    for line in report.figures:
        of_copy = f"{line['of_copy']:.2f}" if "of_copy" in line else ""
        per_step = line["seconds"] / line["steps"] * 1e9
        print(f"| {line['name']} | {line['seconds'] * 1e3:.4g} | {per_step:.4g} | {of_copy} |")
    print("\n| target | wanted | found | |\n|---|---|---:|---|")
    for line in report.targets:
        found = "" if line["found"] is None else f"{line['found']:.3g}"
        met = {None: "not measured", True: "met", False: "not met"}[line["met"]]
        print(f"| {line['target']} | {line['wanted']} | {found} | {met} |")
    for line in report.left_out:
        print(f"\nleft out: {line}")
    steps = report.machine.get("break_even_steps")
    told = f"{steps:_}, measured_on={report.machine['name']!r}" if steps else "never: NumPy is faster here"
    print(f"\nfor BREAK_EVEN in gaecli/kernels/devices.py: {told}\n{seconds:.0f} s")


def run(bench: Bench) -> Report:
    bench.report.machine = machine_of(bench)
    for part in (
        check_calls,
        check_presets,
        check_tensors,
        measure_loop,
        measure_shapes,
        measure_rivals,
        measure_host_arrays,
    ):
        if not bench.has_time(part.__name__):
            continue
        with bench.checking(f"{part.__name__} runs to its end"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            part(bench)
        if bench.is_cuda:
            torch.cuda.empty_cache()
    return bench.report


def main(given: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
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
    report = run(Bench(device, SMOKE if options.smoke else FULL, options.seconds))
    show(report, time.perf_counter() - started)
    if options.json is not None:
        found = {
            "machine": report.machine,
            "checks": report.checks,
            "figures": report.figures,
            "targets": report.targets,
            "left_out": report.left_out,
        }
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0 if all(line["ok"] for line in report.checks) else 1


if __name__ == "__main__":
    sys.exit(main())
