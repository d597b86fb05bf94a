"""The kernel for CUDA devices, in Triton's interpreter: one program after another, by NumPy."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from covers import turns
from kernels.tensor_cases import KINDS, SHAPES, estimates, steps_of
from kernels.test_tensor_kernels import check


@pytest.fixture(scope="module")
def triton_scan() -> Any:
    """The module; `tests/conftest.py` has its kernels interpreted."""
    if find_spec("triton") is None:
        pytest.skip("triton is not installed: `pip install triton`")
    from gaecli.kernels import triton_scan

    return triton_scan


def tilings(triton_scan: Any, shape: tuple[int, int, int]) -> dict[str, Any]:
    """Small ones, so that there are several tiles to a chunk, several chunks to a lane, and lanes to spare."""
    outer, num_steps, inner = shape
    length = outer * num_steps
    rows, lanes = (8, 1) if inner == 1 else (4, 2)
    chunks = -(-length // (2 * rows))
    return {
        "chunks": triton_scan.Tiling(rows, lanes, 2, chunks, is_linked=chunks > 1),
        "one chunk": triton_scan.Tiling(16, lanes * lanes, -(-length // 16), 1, is_linked=False),
    }


@pytest.mark.few(7)
@pytest.mark.parametrize(
    ("kind", "shape", "tiling"),
    turns(KINDS, [shape for shape in SHAPES if shape[1] > 1], ["chunks", "one chunk"]),
)
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_the_kernel_gives_what_the_law_gives(triton_scan: Any, kind: str, shape: Any, tiling: str) -> None:
    def kernel(steps: Any, computed: Any, written: Any) -> Any:
        return triton_scan.scan_in_tiles(steps, computed, written, tilings(triton_scan, shape)[tiling])

    check(kernel, steps_of(kind, shape))


@pytest.mark.parametrize(
    ("length", "lane_length", "num_lanes", "expected"),
    [
        (10**9, 10**9, 1, (1024, 1, 16, 61036, True)),  # flat: chunks of many tiles
        (128 * 8192, 128, 1, (1024, 1, 1, 1024, False)),  # lanes that end with the chunks: nothing to link
        (128, 128, 4096, (32, 32, 4, 1, False)),  # as in a training loop: one launch
        (1000, 1000, 10000, (32, 32, 32, 1, False)),  # lanes enough to keep a device busy
        (100_000, 100_000, 8, (128, 8, 1, 782, True)),
        (5, 5, 3, (256, 4, 1, 1, False)),
    ],
)
def test_how_the_work_is_shared(
    triton_scan: Any, length: int, lane_length: int, num_lanes: int, expected: tuple[Any, ...]
) -> None:
    assert tuple(triton_scan.tiling_of(length, lane_length, num_lanes)) == expected


@pytest.mark.parametrize(("current", "entered"), [(1, []), (0, ["cuda:1"])])
def test_kernels_are_begun_on_the_device_of_the_tensors(
    triton_scan: Any, monkeypatch: pytest.MonkeyPatch, current: int, entered: list[str]
) -> None:
    import torch

    places: list[str] = []
    monkeypatch.setattr(torch.cuda, "current_device", lambda: current)
    monkeypatch.setattr(
        torch.cuda, "device", lambda device: places.append(str(device)) or contextlib.nullcontext()
    )
    monkeypatch.setattr(triton_scan, "_launch_for", lambda *_: None)
    monkeypatch.setattr(triton_scan, "_scan", lambda *_: "begun")
    steps = SimpleNamespace(rewards=SimpleNamespace(device=torch.device("cuda", 1)))
    assert triton_scan.scan_tensors(steps, torch.float64, torch.float32) == "begun"
    assert places == entered


@pytest.mark.parametrize("number", [0.99, 0.95, 1.0, 0.0, 1 / 3, 1e-3])
def test_two_numbers_of_single_precision_carry_one_of_double(triton_scan: Any, number: float) -> None:
    high, low = triton_scan._halves(number)
    assert float(np.float32(high)) == high
    assert abs(float(np.float32(high)) + float(np.float32(low)) - number) <= 2**-48 * number


@pytest.mark.few(1)
@pytest.mark.parametrize("shape", [(1, 40, 1), (1, 20, 4)], ids=str)
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_a_cut_keeps_out_what_is_not_finite(triton_scan: Any, shape: Any) -> None:
    # Behind each cut, wherever it stands in a tile or in a thread's steps, there is nothing but NaN.
    steps = steps_of("plain", shape)
    steps["truncated"] = np.arange(shape[1])[:, None] % 9 == np.arange(shape[2])
    steps["truncated"] = steps["truncated"].reshape(shape)
    steps["rewards"][:, 1:][steps["truncated"][:, :-1]] = np.nan

    def kernel(given: Any, computed: Any, written: Any) -> Any:
        return triton_scan.scan_in_tiles(given, computed, written, tilings(triton_scan, shape)["chunks"])

    assert np.isnan(estimates(steps)[0]).mean() < 0.2
    check(kernel, steps)


@pytest.mark.slow
def test_sizes_as_on_a_device_give_what_the_law_gives(triton_scan: Any) -> None:
    def kernel(steps: Any, computed: Any, written: Any) -> Any:
        outer, num_steps, inner = steps.shape
        tiling = triton_scan.tiling_of(outer * num_steps, num_steps, inner)
        return triton_scan.scan_in_tiles(steps, computed, written, tiling)

    for shape in [(1, 3000, 1), (9, 200, 1), (1, 100, 40)]:
        check(kernel, steps_of("next_values", shape))


COMPILED = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from gaecli.kernels import triton_kernels

def compiled(kernel, constants, pointers):
    kinds = {name: "*fp32" for name in ("out", "out_beside", "rewards", "values", "next_values", "end_values")}
    kinds |= {name: "*u8" for name in ("terminated", "truncated", "is_step")}
    kinds |= {name: "*fp64" for name in ("firsts", "map_x", "map_a", "gammas", "lams")}
    kinds |= {name: "fp32" for name in ("gamma_high", "gamma_low", "lam_high", "lam_low")} | pointers
    signature = {name: "constexpr" if name in constants else kinds.get(name, "i32") for name in kernel.arg_names}
    source = ASTSource(fn=kernel, signature=signature, constexprs=constants)
    return triton.compile(source, target=GPUTarget("cuda", ARCH, 32)).asm["cubin"]

CASES = [(1024, 1, 1, 0, 1), (1024, 1, 0, 1, 1), (32, 32, 0, 0, 0), (1024, 1, 1, 1, 0)]
have = ("VALUES", "NEXT", "ENDS", "TERMINATED", "TRUNCATED", "MASK")
for rows, lanes, all_of_it, reduce, double in CASES:
    constants = {f"HAS_{name}": bool(all_of_it) or name in ("VALUES", "TERMINATED") for name in have}
    constants |= {"GAMMAS": 2 * all_of_it, "LAMS": all_of_it, "ONE_LANE": not all_of_it, "ROWS": rows, "LANES": lanes}
    constants["PIECE"] = 4 if lanes == 1 else 1
    constants |= {"DOUBLE": bool(double), "LINKED": not reduce, "REDUCE": bool(reduce)}
    written = "*fp64" if double else "*fp32"
    pointers = {"firsts": written} | ({"out": written, "out_beside": written} if reduce else {})
    print(len(compiled(triton_kernels.over_chunks, constants, pointers)))
print(len(compiled(triton_kernels.link_chunks, {"ROWS": 1024, "LANES": 1, "DOUBLE": True}, {})))
"""


FOLLOWED = """
import torch
import torch.utils._triton
torch.utils._triton.has_triton = lambda *_: True  # as where there is a device
from gaecli.kernels import triton_scan
from gaecli.kernels.tensor_steps import TensorSteps

def scan(rewards, ends):
    steps = TensorSteps((1, len(rewards), 1), rewards, rewards, 0.9, 0.8, None, None, ends)
    tiling = triton_scan.tiling_of(len(rewards), len(rewards), 1)
    return triton_scan.scan_in_tiles(steps, torch.float64, torch.float32, tiling)

def backend(graph, inputs):
    print(*(node.target for node in graph.graph.nodes if "triton" in str(node.target)))
    return lambda *_: (inputs[0], inputs[0])

rewards = torch.ones(20_000)
torch.compile(scan, fullgraph=True, backend=backend)(rewards, rewards > 0)
"""


@pytest.mark.slow
def test_a_compiler_follows_how_kernels_are_begun() -> None:
    """All three of a long lane, in one graph; it is not run."""
    if find_spec("triton") is None:
        pytest.skip("triton is not installed: `pip install triton`")
    done = run_compiling(FOLLOWED)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split().count("triton_kernel_wrapper_mutation") == 3


def run_compiling(code: str) -> subprocess.CompletedProcess[str]:
    """Where kernels are not interpreted."""
    env = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    return subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", [80, 90])
def test_it_compiles_for_devices_that_are_not_here(architecture: int) -> None:
    """To machine code, which needs no device. That it runs there is for bench/device.py to show."""
    if find_spec("triton") is None:
        pytest.skip("triton is not installed: `pip install triton`")
    done = run_compiling(COMPILED.replace("ARCH", str(architecture)))
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(done.stdout.split()) == 5
