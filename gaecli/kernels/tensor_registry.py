"""Which kernel computes on the tensors of a device. A line registers one; the first that serves a device is taken.

Beside `gaecli.kernels.registry`, which is imported where there is no torch. `torch.compile` follows what stands here.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any, NamedTuple

from gaecli.kernels.tensor_steps import ScanTensors
from gaecli.kernels.torch_import import torch_module

torch: Any = torch_module()

#: With `tl.gather`. That of torch 2.6; the names are those of its distributions.
FIRST_TRITON = (3, 2)
TRITON_NAMES = ("triton", "pytorch-triton", "pytorch-triton-rocm", "triton-windows")
#: Triton compiles for these and later ones (Volta).
FIRST_CAPABILITY = 7


def _is_triton_here() -> bool:
    """Without importing it. `GAECLI_TRITON=0`: it is not to be used."""
    if os.environ.get("GAECLI_TRITON") == "0" or find_spec("triton") is None:
        return False
    for name in TRITON_NAMES:
        with contextlib.suppress(PackageNotFoundError):
            return tuple(int(part) for part in version(name).split(".")[:2]) >= FIRST_TRITON
    return False


#: Found out once: `torch.compile` does not follow how.
HAS_TRITON = _is_triton_here()


def _triton() -> ScanTensors:
    from gaecli.kernels.triton_scan import scan_tensors

    return scan_tensors


def _has_triton(device: Any) -> bool:
    if device.type != "cuda" or not HAS_TRITON:
        return False
    return bool(torch.cuda.get_device_properties(device).major >= FIRST_CAPABILITY)


def _operations() -> ScanTensors:
    from gaecli.kernels.tensor_scan import scan_tensors

    return scan_tensors


class TensorKernel(NamedTuple):
    """A way to compute on tensors where they lie."""

    name: str
    #: Its function; what that needs is imported when it is first used.
    find: Callable[[], ScanTensors]
    #: Of a `torch.device`.
    serves: Callable[[Any], bool]


TENSOR_KERNELS = (
    TensorKernel("triton", _triton, _has_triton),
    TensorKernel("operations", _operations, lambda device: True),
)


def tensor_kernel_for(device: Any) -> TensorKernel:
    for kernel in TENSOR_KERNELS:
        if kernel.serves(device):
            return kernel
    raise AssertionError("the last one serves every device")
