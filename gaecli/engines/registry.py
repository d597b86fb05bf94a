"""The engine that options ask for. `gaecli.engine_kinds` is the table."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TypeVar

from gaecli.engine_kinds import ENGINES
from gaecli.engines.base import Engine, EngineOptions
from gaecli.engines.threads import Threads

W = TypeVar("W")


def make_engine(
    name: str,
    threads: Threads,
    worker: W,
    recipe: Callable[[], W],
    options: EngineOptions | None = None,
) -> Engine[W]:
    """The engine of one run.

    Args:
        name: a row of the table.
        threads: of this process; streams go side by side on them, and they know when the run is interrupted.
        worker: what tasks find in this process.
        recipe: makes what they find elsewhere. It can be sent there.
        options: for an engine of several machines.
    """
    engine: Engine[W] = import_module(ENGINES[name].module).make(
        threads, worker, recipe, options or EngineOptions()
    )
    return engine
