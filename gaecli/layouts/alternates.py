"""Two columns that could play one role: fine while they say the same, an error when they differ."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gaecli.array_types import BoolArray
from gaecli.columns import Roles, flag_of
from gaecli.errors import UsageError
from gaecli.formats.base import Column, RolloutFile
from gaecli.layouts.cells import Cells
from gaecli.layouts.frames import core
from gaecli.layouts.keys import change_points
from gaecli.names import INVERTED_ROLES
from gaecli.shell_words import word

#: Ids need not be equal, they must change at the same rows; steps are compared where they are used.
_ID_ROLES = ("episode", "env")


def check_alternate_shapes(file: RolloutFile, roles: Roles) -> None:
    """What has another shape says something else: the headers tell, before any array is read."""
    for role, names in roles.alternates.items():
        chosen = file.find(roles.names[role])
        for other in map(file.find, names):
            if role == "step" or chosen is None or other is None or core(chosen.shape) == core(other.shape):
                continue
            raise UsageError(
                f"`{chosen.name}` and `{other.name}` of `{file.path}` could both be the "
                f"{role.replace('_', ' ')}, and have shapes {chosen.shape} and {other.shape}",
                hint=_which(role, chosen.name, other.name),
            )


def check_alternates(columns: Mapping[str, Column], roles: Roles, cells: Cells) -> None:
    for role, names in roles.alternates.items():
        if role == "step":
            continue
        for name in names:
            differs = _differences(columns[roles.names[role]], columns[name], role)
            if differs is not None and differs.any():
                first = int(np.argmax(differs))
                raise UsageError(
                    f"`{roles.names[role]}` and `{name}` of `{cells.path}` could both be the "
                    f"{role.replace('_', ' ')} and differ, first at {cells.locate(first)}; "
                    f"{int(differs.sum()):,} such in all",
                    hint=_which(role, roles.names[role], name),
                )


def _which(role: str, one: str, other: str) -> str:
    flag = flag_of(role)
    return f"say which one: `{flag} {word(one)}` or `{flag} {word(other)}`"


def _differences(one: Column, other: Column, role: str) -> BoolArray | None:
    if role in _ID_ROLES:
        first, second = change_points([one]), change_points([other])
        assert first is not None
        assert second is not None
        return np.concatenate(([False], first != second))
    if one.values.shape != other.values.shape:
        return np.ones(1, np.bool_)
    if role in INVERTED_ROLES:  # one may hold 1 and the other γ
        one, other = (Column(column.values != 0, column.is_null) for column in (one, other))
    differs: BoolArray = one.values != other.values
    if one.values.dtype.kind == "f" and other.values.dtype.kind == "f":
        differs = differs & ~(np.isnan(one.values) & np.isnan(other.values))
    if one.is_null is not None or other.is_null is not None:
        absent = np.zeros(one.values.shape, np.bool_)
        missing = absent if one.is_null is None else one.is_null
        other_missing = absent if other.is_null is None else other.is_null
        differs = (differs & ~missing & ~other_missing) | (missing != other_missing)
    return differs.reshape(-1)
