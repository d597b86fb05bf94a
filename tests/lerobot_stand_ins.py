"""Imported before lerobot: stand-ins for imports that its Parquet and metadata path never calls.

torchvision and others have no wheel everywhere; a data set without video does not need them.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
import types
from typing import Any

_ROOTS = {"torchvision", "torchcodec", "diffusers", "accelerate", "wandb", "rerun", "pynput", "serial"}


class _StandIn(types.ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        value = type(name, (), {} if name == "VideoReader" else {"__init__": lambda self, *a, **k: None})
        setattr(self, name, value)
        return value


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name.split(".", maxsplit=1)[0] not in _ROOTS:
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: Any) -> types.ModuleType:
        module = _StandIn(spec.name)
        module.__path__ = []
        return module

    def exec_module(self, module: Any) -> None:
        module.__version__ = "0.0"


def install() -> None:
    """Stand in for them from here on."""
    sys.meta_path.insert(0, _Finder())
