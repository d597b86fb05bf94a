"""What a benchmark ran on, in a line."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version

_PACKAGES = ("gaecli", "numpy", "pyarrow", "torch", "polars", "numba")


def machine() -> str:
    """Processor, cores and how busy they are, Python, and the packages that matter, as far as they are there."""
    parts = [platform.machine(), f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"]
    parts.append(f"Python {platform.python_version()}")
    for name in _PACKAGES:
        try:
            parts.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(parts)
