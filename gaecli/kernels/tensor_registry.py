"""Which kernel computes on the tensors of a device. A line registers one; the first that serves a device is taken.

Beside `gaecli.kernels.registry`, which is imported where there is no torch. `torch.compile` follows what stands here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from gaecli.kernels.tensor_steps import ScanTensors


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


TENSOR_KERNELS = (TensorKernel("operations", _operations, lambda device: True),)


def tensor_kernel_for(device: Any) -> TensorKernel:
    for kernel in TENSOR_KERNELS:
        if kernel.serves(device):
            return kernel
    raise AssertionError("the last one serves every device")
