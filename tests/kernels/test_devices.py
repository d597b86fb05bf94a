"""Which device is chosen, without needing any but the CPU."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from gaecli.errors import DeviceError, UsageError
from gaecli.kernels import devices, torch_import
from gaecli.kernels.devices import BREAK_EVEN_STEPS, choose_device
from gaecli.kernels.torch_import import start_torch_import, torch_module


@pytest.fixture
def torch() -> Any:
    """Not imported by the module: it takes a second and a half, in every worker that collects."""
    import torch

    return torch


@pytest.fixture
def no_accelerator(monkeypatch, torch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.fixture
def two_gpus(monkeypatch, torch, tmp_path):
    monkeypatch.setattr(devices, "_DRIVERS", ("/nowhere", str(tmp_path)))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


def run_python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a driver has other names")
@pytest.mark.parametrize(
    "action",
    [
        f"devices.choose_device('auto', {BREAK_EVEN_STEPS - 1})",
        f"devices._DRIVERS = ('/nowhere',); devices.choose_device('auto', {BREAK_EVEN_STEPS})",
    ],
    ids=["few steps", "no GPU"],
)
def test_torch_is_not_imported_until_it_is_needed(action):
    code = f"import sys; from gaecli.kernels import devices; {action}; print('torch' in sys.modules)"
    assert run_python(code).strip() == "False"


@pytest.fixture(scope="module")
def told() -> list[str]:
    """What a process says that has chosen the CPU before torch is there."""
    code = (
        "import sys, threading\n"
        "from gaecli.kernels import devices, torch_import\n"
        "with torch_import.one_thread_per_operation():\n"
        "    device = devices.choose_device('cpu', 1)\n"
        "    print('torch' in sys.modules or torch_import._only.is_alive(), device.backend)\n"
        "    torch_import.start_torch_import()\n"
        "    torch = torch_import.torch_module()\n"
        "    print(torch is sys.modules['torch'])\n"
        "    print(torch.get_num_threads())\n"
        "    worker = threading.Thread(target=lambda: print(torch.get_num_threads()))\n"
        "    worker.start(), worker.join()\n"
    )
    return run_python(code).splitlines()


def test_choosing_the_cpu_does_not_begin_the_import(told, torch):
    assert told[0] == f"False torch {torch.__version__}"


def test_starting_the_import_makes_torch_available(told):
    assert told[1] == "True"


def test_torch_is_told_of_one_thread_per_operation_when_it_comes(told):
    assert told[2:] == ["1", "1"]


def test_auto_below_the_break_even_is_numpy():
    device = choose_device("auto", 1000)
    assert (device.name, device.uses_torch, device.has_float64) == ("cpu", False, True)
    assert device.backend.startswith("numpy ")
    assert "torch only pays from" in device.reason


@pytest.mark.parametrize(
    ("known", "reason"),
    [
        (devices.BreakEven(2_000, None), "torch only pays from 2,000 steps on, it is assumed"),
        (devices.BreakEven(2_000, "H1"), "torch only pays from 2,000 steps on, measured on H1"),
        (devices.BreakEven(None, "H1"), "torch does not pay for files, measured on H1"),
    ],
)
def test_auto_says_what_it_goes_by(monkeypatch, known, reason):
    monkeypatch.setattr(devices, "BREAK_EVEN", {"cuda": known})
    assert choose_device("auto", 1000).reason == reason


@pytest.mark.usefixtures("no_accelerator")
def test_auto_without_a_gpu_is_numpy_for_any_size():
    device = choose_device("auto", BREAK_EVEN_STEPS)
    assert (device.name, device.uses_torch) == ("cpu", False)
    assert "no CUDA device" in device.reason


@pytest.mark.usefixtures("two_gpus")
def test_auto_from_the_break_even_on_takes_the_first_gpu():
    device = choose_device("auto", BREAK_EVEN_STEPS)
    assert (device.name, device.uses_torch) == ("cuda:0", True)
    assert choose_device("auto", BREAK_EVEN_STEPS - 1).name == "cpu"


def test_cpu_means_torch_whatever_the_size(torch):
    device = choose_device("cpu", 1)
    assert (device.name, device.uses_torch, device.has_float64) == ("cpu", True, True)
    assert device.backend == f"torch {torch.__version__}"
    assert device.reason == "as requested"


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(("requested", "name"), [("cuda", "cuda:0"), ("cuda:1", "cuda:1")])
def test_cuda_is_named_with_its_index(requested, name):
    assert choose_device(requested, 1).name == name


@pytest.mark.usefixtures("two_gpus")
def test_an_index_that_is_not_there_lists_what_is():
    with pytest.raises(DeviceError, match=r"`cuda:2` is not available; devices here: cpu, cuda:0, cuda:1"):
        choose_device("cuda:2", 1)


@pytest.mark.usefixtures("no_accelerator")
@pytest.mark.parametrize("requested", ["cuda", "cuda:0", "mps"])
def test_an_absent_device_is_an_error_with_a_hint(requested):
    with pytest.raises(DeviceError, match=rf"`{requested}` is not available; devices here: cpu") as caught:
        choose_device(requested, 1)
    assert caught.value.hint is not None
    assert "--device auto" in caught.value.hint
    assert caught.value.exit_code == 5


def test_mps_has_no_float64(monkeypatch, torch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    device = choose_device("mps", 1)
    assert (device.name, device.uses_torch, device.has_float64) == ("mps", True, False)


@pytest.mark.parametrize("requested", ["", "gpu", "CUDA", "cuda:", "cuda:x", "cpu:0", "auto "])
def test_an_unknown_name_is_a_usage_error(requested):
    with pytest.raises(UsageError, match="it must be auto, cpu, cuda, cuda:N or mps"):
        choose_device(requested, 1)


def test_a_torch_that_cannot_be_imported_is_a_device_error(monkeypatch):
    monkeypatch.setattr(torch_import, "_only", None)
    monkeypatch.setitem(sys.modules, "torch", None)  # makes `import torch` fail
    start_torch_import()  # must not raise: the error is for whoever needs torch
    with pytest.raises(DeviceError, match="torch cannot be imported") as caught:
        torch_module()
    assert isinstance(caught.value.__cause__, ImportError)
    assert choose_device("auto", 1).uses_torch is False


def test_one_thread_per_operation_ends_with_the_last_who_wants_it(torch):
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with torch_import.one_thread_per_operation():
            torch_module()
            assert torch.get_num_threads() == 1
            with pytest.raises(ZeroDivisionError), torch_import.one_thread_per_operation():
                1 / 0  # noqa: B018 - what is raised is wanted
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
