"""Columns of numbers that an estimator needs beside those of the roles."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from gaecli.columns import Roles
from gaecli.errors import UsageError
from gaecli.estimator_kinds import EstimatorKind
from gaecli.formats.base import Column, RolloutFile, damaged
from gaecli.layouts.cells import Cells
from gaecli.rollouts import Array, BoolArray
from gaecli.settings import Settings

#: By how much a probability may exceed 1, and its logarithm 0, in float32 or bfloat16.
_ROUNDING = 1e-2


def check_extras(file: RolloutFile, roles: Roles, settings: Settings) -> tuple[str, ...]:
    """Their names, once each of them is there, holds numbers, and is of steps or of whole rows."""
    names = settings.kind.extras(settings)
    reward = file.find(roles.names["reward"])
    assert reward is not None
    for name in names:
        info = file.find(name)
        who = f"`--estimator {settings.estimator}`"
        if info is None:
            there = ", ".join(list(file.columns)[:24])
            raise UsageError(
                f"column `{name}` not found in `{file.path}`, which {who} needs\n       columns there: {there}"
            )
        if info.damage is not None:
            raise damaged(file.path, info)
        is_number = info.kind in ("float", "int", "bool")
        if info.unusable is not None or not is_number or (info.is_list and not reward.is_list):
            why = info.unusable or f"its type is {info.type_name}"
            raise UsageError(f"column `{name}` of `{file.path}` cannot be used by {who}: {why}")
    return names


def read_extras(
    columns: Mapping[str, Column], names: Sequence[str], cells: Cells, in_lanes: Callable[[Array], Array]
) -> Mapping[str, Array]:
    """[N] of each; NaN where a cell says nothing."""
    return {name: in_lanes(cells.optional_numbers(columns[name], name)) for name in names}


def read_own_roles(
    columns: Mapping[str, Column],
    roles: Roles,
    kind: EstimatorKind,
    cells: Cells,
    used: BoolArray | None,
) -> tuple[Mapping[str, Array], list[BoolArray]]:
    """([rows] of each role that the estimator alone has a use for, where cells cannot be used).

    Rows that are not `used` get 0, and a ratio of 1: nothing is told of their policies. `DataError` for a number
    that no policy has.
    """
    found, bad = {}, []
    for role in kind.own_roles:
        name = roles.get(role)
        if name is None:
            continue
        numbers, unusable = cells.numbers(columns[name], name, role, used)
        bad += [] if unusable is None else [unusable]
        if used is not None:
            numbers = np.where(used, numbers, numbers.dtype.type(role == "ratio"))
        lowest, highest = _bounds(role, kind)
        cells.check_range(numbers, name, lowest, highest)
        found[role] = numbers
    return found, bad


def _bounds(role: str, kind: EstimatorKind) -> tuple[float, float]:
    """What a policy allows: a log-probability may be above 0 where actions have a density, not a probability."""
    if role == "log_prob" and ("prob",) in kind.ways:
        return -math.inf, _ROUNDING
    return {"ratio": (0.0, math.inf), "prob": (0.0, 1.0 + _ROUNDING)}.get(role, (-math.inf, math.inf))
