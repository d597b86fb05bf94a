"""Ids that are missing in some rows: those rows are of no trajectory that anybody could name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from gaecli.array_types import BoolArray
from gaecli.columns import Roles
from gaecli.errors import DataError
from gaecli.formats.base import Column
from gaecli.layouts.cells import Cells
from gaecli.records import dataclass

#: By role. Parts of a key such as `agent_id` may be null in the rows that have none.
_REMEDIES = {
    "episode": "give every row the id of its episode, or pass `--episode-column none` to go by the flags alone",
    "env": "give every row its environment, or pass `--env-column none` if there is one alone",
}


@dataclass(frozen=True)
class IdHoles:
    """Of the rows of a block: where an id is missing first, if it is, and whether any has one."""

    first: str | None
    has_ids: bool


def id_holes(
    columns: Mapping[str, Column], roles: Roles, cells: Cells, kept: BoolArray | None
) -> Mapping[str, IdHoles]:
    """By column; rows that a mask leaves out need no id. Raises where some rows of the block alone have one.

    A block that has none at all may be one of a file that has none, which only all blocks together can tell.
    """
    found = {}
    for role, name in _id_columns(roles):
        if name not in columns:
            continue
        missing = columns[name].missing
        if missing is None:
            found[name] = IdHoles(None, bool(len(columns[name].values) if kept is None else kept.any()))
            continue
        counted, others = (missing, ~missing) if kept is None else (missing & kept, ~missing & kept)
        first = cells.locate(int(np.argmax(counted))) if counted.any() else None
        found[name] = IdHoles(first, bool(others.any()))
        if first is not None and found[name].has_ids:
            raise _id_is_missing(name, role, first, str(cells.path))
    return found


def check_id_holes(found: Sequence[tuple[str, Mapping[str, IdHoles]]], roles: Roles) -> None:
    """`found`: of the blocks of a stream, the path of each and its holes."""
    for role, name in _id_columns(roles):
        blocks = [(path, holes[name]) for path, holes in found if name in holes]
        missing = [(path, block.first) for path, block in blocks if block.first is not None]
        if missing and any(block.has_ids for _, block in blocks):
            path, first = missing[0]
            raise _id_is_missing(name, role, first, path)


def _id_columns(roles: Roles) -> list[tuple[str, str]]:
    return [(role, name) for role in _REMEDIES if (name := roles.get(role)) is not None]


def _id_is_missing(name: str, role: str, where: str, path: str) -> DataError:
    return DataError(
        f"`{name}` is missing at {where} of `{path}`, and other rows have one", hint=_REMEDIES[role]
    )
