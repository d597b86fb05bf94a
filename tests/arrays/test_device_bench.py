"""bench/device.py, which is for machines that the tests never see: that it finds what is right, and what is wrong."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def device_bench() -> Any:
    spec = importlib.util.spec_from_file_location("device_bench", ROOT / "bench/device.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # for its dataclasses
    spec.loader.exec_module(module)
    return module


def test_all_of_it_runs_on_the_cpu_in_small(device_bench: Any, tmp_path: Path, capsys: Any) -> None:
    assert device_bench.main(["--smoke", "--json", str(tmp_path / "found.json")]) == 0
    found = json.loads((tmp_path / "found.json").read_text())
    names = {line["check"] for line in found["checks"]}
    assert {
        "torch.compile takes a call whole",
        "preset sb3",
        "gae, operations, segments, all, float64",
    } <= names
    assert {f"{part} runs to its end" for part in ("measure_shapes", "measure_rivals")} <= names
    assert all(line["ok"] for line in found["checks"])
    assert len(found["figures"]) >= 12
    assert [line["wanted"] for line in found["targets"]] == [
        "<= 60",
        "<= 1.6",
        *3 * ["<= 1.2"],
        ">= 50",
        ">= 1.5",
    ]
    shown = capsys.readouterr().out
    assert "| ragged, of a copy of the same bytes | <= 1.6 |" in shown
    assert "for BREAK_EVEN in gaecli/kernels/devices.py" in shown


def test_numbers_that_are_wrong_are_told(
    device_bench: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    import torch

    by_kernel = device_bench.by_kernel

    def nearly(kernel: Any, given: Any) -> Any:
        advantages, returns = by_kernel(kernel, given)
        return advantages * (1 + 1e-4), returns

    bench = device_bench.Bench(torch.device("cpu"), device_bench.SMOKE, 60)
    bench.report.machine = device_bench.machine_of(bench)
    monkeypatch.setattr(device_bench, "by_kernel", nearly)
    with bench.checking("off"):
        device_bench.error_of(
            bench, bench.kernels[0], device_bench.arguments("flat", "ends", (3, 7), 0), "float32"
        )
    with bench.checking("NaN"):
        device_bench.check_close(np.array([np.nan]), np.array([1.0]), 1.0)
    assert [line["ok"] for line in bench.report.checks] == [False, False]
    device_bench.show(bench.report, 1.0)
    assert "WRONG  off: AssertionError: off by" in capsys.readouterr().out


def test_a_machine_without_a_device_is_told_of_the_small_run(device_bench: Any, capsys: Any) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    assert device_bench.main([]) == 2
    assert "--smoke" in capsys.readouterr().out
