"""Which kernel computes on a device. One line here registers one; the first that serves the device is taken."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import cast

from gaecli.kernels.base import ScanTerms
from gaecli.kernels.devices import Device
from gaecli.records import dataclass


@dataclass(frozen=True)
class Kernel:
    """A way to scan. Its module is imported when it is first used."""

    name: str
    #: Where `scan_terms` is.
    module: str
    serves: Callable[[Device | None], bool]

    @property
    def scan_terms(self) -> ScanTerms:
        return cast(ScanTerms, import_module(self.module).scan_terms)


KERNELS = (
    Kernel(
        "on-device", "gaecli.kernels.on_device", lambda device: device is not None and device.is_accelerator
    ),
    Kernel("tiles", "gaecli.kernels.tiles", lambda device: True),
    #: The law that the others are held against. Never taken by itself.
    Kernel("reference", "gaecli.kernels.reference", lambda device: False),
)


def kernel_for(device: Device | None) -> Kernel:
    return next(kernel for kernel in KERNELS if kernel.serves(device))
