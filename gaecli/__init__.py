"""Advantages and returns for reinforcement-learning rollout files.

    gaecli.compute("rollouts.parquet", gamma=0.99, lam=0.95)      the command line's twin
    gaecli.gae(rewards, values, terminated=…, offsets=…)          the same numbers for arrays
    gaecli.read("rollouts.parquet")                               steps and trajectories of a file

Importing this package imports neither torch nor pyarrow nor numpy: they come with the first call.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gaecli.errors import DataError, DeviceError, FileError, GaeError, MissingExtraError, UsageError
from gaecli.version import __version__

_LAZY = {
    "gae": "gaecli.arrays",
    "GaeResult": "gaecli.arrays",
    "check": "gaecli.api",
    "compute": "gaecli.api",
    "diff": "gaecli.api",
    "doctor": "gaecli.api",
    "explain": "gaecli.api",
    "inspect": "gaecli.api",
    "read": "gaecli.api",
    "strip": "gaecli.api",
    "sweep": "gaecli.api",
    "verify": "gaecli.api",
    "write_report": "gaecli.api",
    "Settings": "gaecli.settings",
    "Summary": "gaecli.summary",
    "FileInfo": "gaecli.summary",
    "Rollouts": "gaecli.rollouts",
}

if TYPE_CHECKING:
    from gaecli.api import check as check
    from gaecli.api import compute as compute
    from gaecli.api import diff as diff
    from gaecli.api import doctor as doctor
    from gaecli.api import explain as explain
    from gaecli.api import inspect as inspect
    from gaecli.api import read as read
    from gaecli.api import strip as strip
    from gaecli.api import sweep as sweep
    from gaecli.api import verify as verify
    from gaecli.api import write_report as write_report
    from gaecli.arrays import GaeResult as GaeResult
    from gaecli.arrays import gae as gae
    from gaecli.rollouts import Rollouts as Rollouts
    from gaecli.settings import Settings as Settings
    from gaecli.summary import FileInfo as FileInfo
    from gaecli.summary import Summary as Summary

__all__ = [
    "DataError",
    "DeviceError",
    "FileError",
    "FileInfo",
    "GaeError",
    "GaeResult",
    "MissingExtraError",
    "Rollouts",
    "Settings",
    "Summary",
    "UsageError",
    "__version__",
    "check",
    "compute",
    "diff",
    "doctor",
    "explain",
    "gae",
    "inspect",
    "read",
    "strip",
    "sweep",
    "verify",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'gaecli' has no attribute '{name}'")
    found = globals()[name] = getattr(import_module(_LAZY[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
