"""Single rows for people to look at: the first ones by role, and what the file calls its episodes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gaecli.columns import Roles
from gaecli.formats.base import Column, RolloutFile, Unit
from gaecli.inspection import StepInfo
from gaecli.layouts.frames import core
from gaecli.pipeline.opening import OpenFile

#: Rows between which ids are looked up, at a time.
_ROWS_AT_A_TIME = 1 << 20
#: Columns that name an episode, in the order in which they stand in its label.
_ID_ROLES = ("env", "episode")


def first_steps(file: RolloutFile, names: Mapping[str, str], count: int) -> list[StepInfo]:
    """The first `count` rows, or items of lists, as they are in the file. `names`: role -> column."""
    usable = {role: name for role, name in names.items() if _is_shown(file, name)}
    if not usable or count <= 0 or not file.num_rows:
        return []
    like = usable.get("reward", next(iter(usable.values())))
    usable = {role: name for role, name in usable.items() if _is_beside(file, name, like)}
    for unit in file.units(count, like):
        for start, _, columns in file.blocks(
            unit, list(dict.fromkeys(usable.values())), count * unit.cells_per_row
        ):
            named = {role: columns[name] for role, name in usable.items()}
            return _steps(start, named, columns[like], count)
    return []


def _is_shown(file: RolloutFile, name: str) -> bool:
    info = file.find(name)
    return info is not None and info.unusable is None and info.shape != ()


def _is_beside(file: RolloutFile, name: str, like: str) -> bool:
    """Whether it has its rows where `like` has them: an array of another length would be read whole."""
    info, shown = file.find(name), file.find(like)
    return info is not None and shown is not None and info.shape[0] - shown.shape[0] in (0, 1)


def _steps(start: int, named: Mapping[str, Column], like: Column, count: int) -> list[StepInfo]:
    num_items = len(like.values) if like.offsets is not None else like.values.size
    steps = []
    for item in range(min(count, num_items)):
        row, place = item, {}
        if like.offsets is not None:
            row = int(np.searchsorted(like.offsets, item, side="right")) - 1
            place = {"item": item - int(like.offsets[row])}
        elif like.values.ndim > 1:
            row = item // int(np.prod(like.values.shape[1:]))
            place = {"item": item - row * int(np.prod(like.values.shape[1:]))}
        cells = {role: _cell(column, like, item, row) for role, column in named.items()}
        steps.append(StepInfo(start + row, {**place, **cells}))
    return steps


def _cell(column: Column, like: Column, item: int, row: int) -> Any:
    """The cell at an item: of the column itself if it has the shape of `like`, else that of the row."""
    if column.offsets is not None:
        begin, end = int(column.offsets[row]), int(column.offsets[row + 1])
        within = item - int(like.offsets[row]) if like.offsets is not None else 0
        return Column(column.values, column.is_null).label(begin + within) if begin + within < end else None
    if column.values.size == like.values.size:
        return Column(column.values.reshape(-1), column.is_null, categories=column.categories).label(item)
    if column.values.ndim == 1 and like.offsets is not None:
        return column.label(row)
    return None


def keys_of(opened: OpenFile, rows: Sequence[int]) -> list[dict[str, Any]]:
    """What the file calls the episodes that begin at these rows, which ascend."""
    if opened.layout.frame is not None:
        return [opened.layout.frame.place_of(row) for row in rows]
    return episode_keys(opened.file, opened.layout.key_roles, rows)


def episode_keys(
    file: RolloutFile,
    roles: Roles,
    rows: Sequence[int],
    units: Sequence[Unit] | None = None,
    block_rows: int = _ROWS_AT_A_TIME,
) -> list[dict[str, Any]]:
    """What the id columns say at each of `rows`, which ascend: role -> value.

    `units`, `block_rows`: in which these rows were read before.
    """
    like = roles.get("reward")
    if like is None:
        return [{} for _ in rows]
    found = {role: roles.get(role) for role in _ID_ROLES} | {part: part for part in roles.key_parts}
    names = {role: name for role, name in found.items() if name and _has_a_cell_per_row(file, name, like)}
    if not names or not len(rows):
        return [{} for _ in rows]
    wanted = np.asarray(rows, np.int64)
    keys: list[dict[str, Any]] = []
    for unit in file.units(block_rows, like) if units is None else units:
        if unit.cells_per_row == 1 and not ((wanted >= unit.start) & (wanted < unit.stop)).any():
            continue
        for start, stop, columns in file.blocks(unit, list(names.values()), block_rows):
            here = (wanted[(wanted >= start) & (wanted < stop)] - start).tolist()
            keys += [{role: columns[name].label(row) for role, name in names.items()} for row in here]
    return keys


def _has_a_cell_per_row(file: RolloutFile, name: str, like: str) -> bool:
    """Of an array of states, the last one has no row."""
    info, rows = file.find(name), file.find(like)
    if info is None or rows is None or info.unusable is not None or info.is_list or len(core(info.shape)) > 1:
        return False
    return math.prod(info.shape) - math.prod(rows.shape) in (0, 1)
