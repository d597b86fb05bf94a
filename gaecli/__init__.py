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
    "check": "gaecli.api.looks",
    "compute": "gaecli.api.runs",
    "diff": "gaecli.api.studies",
    "doctor": "gaecli.api.looks",
    "explain": "gaecli.api.studies",
    "inspect": "gaecli.api.looks",
    "read": "gaecli.api.looks",
    "strip": "gaecli.api.runs",
    "sweep": "gaecli.api.studies",
    "verify": "gaecli.api.studies",
    "write_report": "gaecli.api.runs",
    "Settings": "gaecli.settings",
    "Summary": "gaecli.summary",
    "FileInfo": "gaecli.inspection",
    "Rollouts": "gaecli.flat_rollouts",
}

if TYPE_CHECKING:
    from gaecli.api.looks import check as check
    from gaecli.api.looks import doctor as doctor
    from gaecli.api.looks import inspect as inspect
    from gaecli.api.looks import read as read
    from gaecli.api.runs import compute as compute
    from gaecli.api.runs import strip as strip
    from gaecli.api.runs import write_report as write_report
    from gaecli.api.studies import diff as diff
    from gaecli.api.studies import explain as explain
    from gaecli.api.studies import sweep as sweep
    from gaecli.api.studies import verify as verify
    from gaecli.arrays import GaeResult as GaeResult
    from gaecli.arrays import gae as gae
    from gaecli.flat_rollouts import Rollouts as Rollouts
    from gaecli.inspection import FileInfo as FileInfo
    from gaecli.settings import Settings as Settings
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
