"""Which library and which device does the arithmetic, and why.

Importing this module does not import torch: that costs more than ten million rows of work, so it
is done only where asked for or where it can pay, in a thread (`gaecli.kernels.torch_import`).
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gaecli.errors import DeviceError, UsageError
from gaecli.kernels.torch_import import torch_module
from gaecli.records import dataclass


class BreakEven(NamedTuple):
    """From how many steps on a kind of device pays for its start."""

    #: None: it never does.
    steps: int | None
    #: The machine; None: nobody has, it is assumed.
    measured_on: str | None


#: What `--device auto` goes by; below, it never imports torch. `bench/device.py` prints the row for a machine. On the
#: CPU, measured on two cores, torch takes 7-9 ns per step and NumPy 4-5, so that it never pays there. Of a GPU it is
#: assumed that it saves 2-3 ns, since host arrays still travel, against 0.8-1.3 s for the import of torch.
BREAK_EVEN = {"cuda": BreakEven(500_000_000, measured_on=None)}
BREAK_EVEN_STEPS = BREAK_EVEN["cuda"].steps or sys.maxsize

#: What the drivers of GPUs that torch knows as CUDA devices show on Linux, AMD's among them: without one of these
#: there is no such GPU, and nothing to import torch for, which takes 200 MiB.
_DRIVERS = ("/dev/nvidiactl", "/dev/nvmap", "/dev/nvhost-ctrl", "/dev/kfd", "/dev/dxg")

_NAMES = re.compile(r"auto|cpu|mps|cuda(:\d+)?")


@dataclass(frozen=True)
class Device:
    """Where the numbers are computed.

    `name` is "cpu", "cuda:0" or "mps"; `backend` is the library with its version; `reason` says in
    words why this one. Where `has_float64` is False, float32 is used and the user should be told.
    """

    name: str
    backend: str
    reason: str
    uses_torch: bool
    has_float64: bool = True

    @property
    def is_accelerator(self) -> bool:
        return self.uses_torch and self.name != "cpu"


def choose_device(requested: str, num_steps: int) -> Device:
    """The device for `--device requested` and a job of this many steps.

    `auto` is NumPy on the CPU; from `BREAK_EVEN_STEPS` on the first CUDA device, if there is one.
    Every other name means torch.

    Raises:
        UsageError: no such name.
        DeviceError: the device, or torch itself, is not there.
    """
    _check_name(requested)
    if requested == "auto":
        return _automatic_device(num_steps)
    if requested == "cpu":
        # It is there wherever torch is, so that nothing has to be imported until something is computed.
        return Device("cpu", f"torch {_torch_version()}", "as requested", uses_torch=True)
    torch = torch_module()
    available = _available_devices(torch)
    name = "cuda:0" if requested == "cuda" else requested
    if name not in available:
        raise DeviceError(
            f"device `{requested}` is not available; devices here: {', '.join(available)}",
            hint="pass `--device auto`, or one of the devices listed",
        )
    return Device(name, _torch_backend(torch), "as requested", uses_torch=True, has_float64=name != "mps")


def device_elsewhere(requested: str) -> Device:
    """That of other machines, as far as it can be told here. What is computed here is so by NumPy."""
    _check_name(requested)
    if requested == "auto":
        return Device("cpu", f"numpy {np.__version__}", "what workers of a cluster use", uses_torch=False)
    return Device(
        requested, "torch of the workers", "as requested", uses_torch=False, has_float64=requested != "mps"
    )


def _check_name(requested: str) -> None:
    if not _NAMES.fullmatch(requested):
        raise UsageError(
            f"`--device` is `{requested}`; it must be auto, cpu, cuda, cuda:N or mps",
        )


def _automatic_device(num_steps: int) -> Device:
    numpy_backend = f"numpy {np.__version__}"
    if num_steps < BREAK_EVEN_STEPS:
        return Device("cpu", numpy_backend, _why_not(BREAK_EVEN["cuda"]), uses_torch=False)
    cuda = (
        [name for name in _available_devices(torch_module()) if name.startswith("cuda")]
        if _may_be_gpu()
        else []
    )
    if not cuda:
        reason = "no CUDA device here, and on a CPU NumPy is the faster one"
        return Device("cpu", numpy_backend, reason, uses_torch=False)
    reason = f"at least {BREAK_EVEN_STEPS:,} steps, and the first CUDA device"
    return Device(cuda[0], _torch_backend(torch_module()), reason, uses_torch=True)


def _may_be_gpu() -> bool:
    return sys.platform != "linux" or any(Path(path).exists() for path in _DRIVERS)


def _why_not(known: BreakEven) -> str:
    if known.steps is None:
        return f"torch does not pay for files, measured on {known.measured_on}"
    told = "it is assumed" if known.measured_on is None else f"measured on {known.measured_on}"
    return f"torch only pays from {known.steps:,} steps on, {told}"


def _torch_backend(torch: Any) -> str:
    return f"torch {torch.__version__}"


def _torch_version() -> str:
    """Without importing it."""
    from importlib.metadata import PackageNotFoundError, version  # which brings what e-mail is made of

    try:
        return version("torch")
    except PackageNotFoundError:
        return str(torch_module().__version__)  # or the error that it is not there


def _available_devices(torch: Any) -> list[str]:
    num_cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return ["cpu", *(f"cuda:{index}" for index in range(num_cuda)), *mps]
