"""Which engines there are. One row here, and one module, make one.

Plain data below everything that runs: options are checked against it, and nothing is imported for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class EngineKind(NamedTuple):
    """One row of the table."""

    name: str
    #: One line for lists.
    summary: str
    #: Where `make(threads, worker, recipe, options)` gives an `Engine` of `gaecli.engines.base`.
    module: str
    #: Tasks are carried out in this process.
    is_here: bool = True


_ROWS = (
    EngineKind("local", "threads of this process", "gaecli.engines.local"),
    EngineKind("ray", "workers of a Ray cluster", "gaecli.engines.ray", is_here=False),
)

#: By name.
ENGINES: Mapping[str, EngineKind] = {row.name: row for row in _ROWS}
