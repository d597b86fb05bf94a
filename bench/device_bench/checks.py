"""Whether it is right there, and whether no call waits for the device."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

import gaecli
from device_bench.cases import GIVEN, LAYOUTS, TOLERANCE, arguments, check_close, error_of, on, random_block
from device_bench.harness import Bench
from gaecli.estimators.registry import make_estimator
from gaecli.kernels.devices import Device
from gaecli.kernels.tensor_registry import TensorKernel
from gaecli.presets import PRESETS
from gaecli.settings import Settings


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
    captured = None
    if bench.is_cuda:
        with bench.checking("a CUDA graph replays what it captured, on other numbers") as captured:
            replay, result = bench.captured(lambda: gaecli.gae(**made))
            for name in ("rewards", "values"):
                made[name].mul_(2.0)
            replay()
            check_close(result.advantages.cpu(), gaecli.gae(**made).advantages.cpu(), 0.0)
            for name in ("rewards", "values"):
                made[name].div_(2.0)
    bench.findings.is_so("captured in a CUDA graph", None if captured is None else captured["ok"])
    with bench.checking("torch.compile takes a call whole"):
        compiled = torch.compile(
            lambda given: gaecli.gae(**given).advantages, fullgraph=True, backend="eager"
        )
        check_close(compiled(made).cpu(), expected.cpu(), 1e-6)


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
                both.append(estimator.estimate(estimator.prepare(random_block(600))))
            line["error"] = max(
                check_close(found, expected, 1e-9)
                for found, expected in zip(both[0][:2], both[1][:2], strict=True)
                if expected is not None
            )


def check_tensors(bench: Bench) -> None:
    """Every layout, what can be given, dtype and kernel; sizes below and above tiles and chunks."""
    small, large = ((3, 7), (40, 300)) if bench.is_cuda else ((3, 7), (5, 40))
    for kernel in bench.kernels:
        for layout, given, dtype in _combinations():
            cases = [arguments(layout, given, shape, seed) for seed, shape in enumerate((small, large))]
            _check(bench, f"{layout}, {given}, {dtype}", kernel, cases, dtype)
        for lanes, steps in [(1, 300_000), (4096, 128), (7, 20_000)] if bench.is_cuda else [(1, 3000)]:
            for layout in LAYOUTS:
                cases = [arguments(layout, "ends", (lanes, steps), 5)]
                _check(bench, f"{layout}, {lanes} x {steps}", kernel, cases, "float32")
        made = arguments("flat", "ends", (30, 500), 3)
        made["rewards"][::997] = np.nan
        _check(bench, "NaN stops at cuts", kernel, [made], "float64", validate=False)


def _combinations() -> Iterator[tuple[str, str, str]]:
    dtypes = {"nothing": ("float32",), "ends": tuple(TOLERANCE), "all": ("float32", "float64")}
    for layout in LAYOUTS:
        for given in GIVEN:
            for dtype in dtypes[given]:
                yield layout, given, dtype


def _check(
    bench: Bench, about: str, kernel: TensorKernel, cases: list[dict[str, object]], dtype: str, **how: object
) -> None:
    name = f"gae, {kernel.name}, {about}"
    if bench.has_time(name, to_check=True):
        with bench.checking(name) as line:
            line["error"] = max(error_of(bench.device, kernel, case, dtype, **how) for case in cases)
