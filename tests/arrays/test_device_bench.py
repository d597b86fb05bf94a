"""bench/device.py, which is for machines that the tests never see: that it finds what is right, and what is wrong."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def device_bench() -> Any:
    sys.path.insert(0, str(ROOT / "bench"))
    yield importlib.import_module("device")
    sys.path.remove(str(ROOT / "bench"))


@pytest.mark.slow
def test_all_of_it_runs_on_the_cpu_in_small(device_bench: Any, tmp_path: Path, capsys: Any) -> None:
    assert device_bench.main(["--smoke", "--json", str(tmp_path / "found.json")]) == 0
    found = json.loads((tmp_path / "found.json").read_text())
    names = {line["check"] for line in found["checks"]}
    assert {
        "torch.compile takes a call whole",
        "preset sb3",
        "gae, operations, segments, all, float64",
    } <= names
    assert {f"{part.__name__} runs to its end" for part in device_bench.PARTS} <= names
    assert all(line["ok"] for line in found["checks"])
    assert len(found["figures"]) >= 12
    assert [line["wanted"] for line in found["targets"]] == [
        "yes",
        "<= 60",
        "<= 1.6",
        *3 * ["<= 1.2"],
        ">= 50",
        ">= 1.5",
    ]
    shown = capsys.readouterr().out
    assert "| ragged, of a copy of the same bytes | <= 1.6 |" in shown
    assert "to set in gaecli/kernels/devices.py" in shown


def test_numbers_that_are_wrong_are_told(device_bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from device_bench import cases, harness

    by_kernel = cases.by_kernel

    def nearly(kernel: Any, given: Any) -> Any:
        advantages, returns = by_kernel(kernel, given)
        return advantages * (1 + 1e-4), returns

    bench = harness.Bench(torch.device("cpu"), harness.SMOKE, 60)
    bench.findings.machine = device_bench.machine_of(bench)
    monkeypatch.setattr(cases, "by_kernel", nearly)
    with bench.checking("off"):
        cases.error_of(bench.device, bench.kernels[0], cases.arguments("flat", "ends", (3, 7), 0), "float32")
    with bench.checking("NaN"):
        cases.check_close(np.array([np.nan]), np.array([1.0]), 1.0)
    assert [line["ok"] for line in bench.findings.checks] == [False, False]
    assert any("WRONG  off: AssertionError: off by" in line for line in bench.findings.lines())


@pytest.mark.usefixtures("device_bench")
def test_targets_and_the_break_even_are_told_as_they_were_found() -> None:
    from device_bench.findings import Findings

    findings = Findings(machine={"name": "H1", "break_even_steps": 1_200_000})
    findings.at_most("a", 1.5, 1.6)
    findings.at_most("b", 1.7, 1.6)
    findings.at_least("c", 49.0, 50.0)
    findings.at_least("d", None, 50.0)
    findings.is_so("e", found=True)
    lines = findings.lines()
    assert [line for line in lines if line[:4] in {f"| {name} " for name in "abcde"}] == [
        "| a | <= 1.6 | 1.5 | met |",
        "| b | <= 1.6 | 1.7 | not met |",
        "| c | >= 50 | 49 | not met |",
        "| d | >= 50 |  | not measured |",
        "| e | yes | yes | met |",
    ]
    assert lines[-1] == """    BREAK_EVEN = {"cuda": BreakEven(1_200_000, measured_on='H1')}"""
    findings.machine["break_even_steps"] = None
    assert "BreakEven(None, measured_on='H1')" in findings.lines()[-1]


def test_a_machine_without_a_device_is_told_of_the_small_run(device_bench: Any, capsys: Any) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    assert device_bench.main([]) == 2
    assert "--smoke" in capsys.readouterr().out
