"""Columns of numbers that are needed beside those of the roles."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from gaecli.array_types import Array, BoolArray
from gaecli.columns import Roles
from gaecli.errors import UsageError
from gaecli.estimator_kinds import EstimatorKind
from gaecli.formats.base import Column, RolloutFile, damaged
from gaecli.layouts.cells import Cells
from gaecli.records import dataclass
from gaecli.settings import Settings

#: By how much a probability may exceed 1, and its logarithm 0, in float32 or bfloat16.
_ROUNDING = 1e-2


def check_extras(
    file: RolloutFile, roles: Roles, settings: Settings, like: str | None = None
) -> tuple[str, ...]:
    """Their names, once each of them is there, holds numbers, and is of steps or of whole rows.

    `like`: the column whose cells are the steps, if it is not that of the rewards.
    """
    names = dict.fromkeys(settings.extra_columns)
    if settings.success_column not in (None, roles.names["reward"]):
        names[settings.success_column] = None
    steps = file.find(like or roles.names["reward"])
    assert steps is not None
    for name in names:
        info = file.find(name)
        flag = _flag_with(name, settings)
        who = f"`{flag or f'--estimator {settings.estimator}'}`"
        if info is None:
            from gaecli.missing_columns import columns_there, did_you_mean

            raise UsageError(
                f"column `{name}` not found in `{file.path}`, which {who} needs\n"
                f"       columns there: {columns_there(file)}",
                hint=None if flag is None else did_you_mean(name, flag, file),
            )
        if info.damage is not None:
            raise damaged(file.path, info)
        is_number = info.kind in ("float", "int", "bool") or (
            info.kind == "null" and (name in settings.rewards or not file.num_rows)
        )
        if info.unusable is not None or not is_number or (info.is_list and not steps.is_list):
            why = info.unusable or f"its type is {info.type_name}"
            raise UsageError(f"column `{name}` of `{file.path}` cannot be used by {who}: {why}")
    return tuple(names)


def _flag_with(name: str, settings: Settings) -> str | None:
    """The flag that names a column of numbers; None where the estimator itself asks for it."""
    if name in settings.rewards:
        return "--reward"
    return next((flag for flag, column in settings.flagged_columns.items() if name == column), None)


@dataclass(frozen=True, eq=False)
class ExtraCells:
    """Those columns as the rows of a block have them."""

    numbers: Mapping[str, Array]
    #: [rows] where one that has to hold a number does not (`--on-nan drop-episode`).
    bad: BoolArray | None = None

    def moved(self, in_lanes: Callable[[Array], Array]) -> Mapping[str, Array]:
        """[N] of each, in the order of the steps."""
        return {name: in_lanes(numbers) for name, numbers in self.numbers.items()}


def read_extras(
    columns: Mapping[str, Column],
    names: Sequence[str],
    decays: Sequence[str],
    cells: Cells,
    used: BoolArray | None = None,
) -> ExtraCells:
    """NaN where a cell says nothing; but those of `decays` lie in [0, 1] wherever a row is a step.

    `used`: [rows] those whose γ and λ enter; None: all.
    """
    found: dict[str, Array] = {}
    bad: BoolArray | None = None
    for name in names:
        if name not in decays:
            found[name] = cells.optional_numbers(columns[name], name)
            continue
        found[name], missing = cells.fractions(columns[name], name, used)
        if missing is not None:
            bad = missing if bad is None else bad | missing
    return ExtraCells(found, bad)


def zeroed(extras: Mapping[str, Array], where: BoolArray | None) -> Mapping[str, Array]:
    if where is None:
        return extras
    return {name: np.where(where, numbers.dtype.type(0), numbers) for name, numbers in extras.items()}


def read_own_roles(
    columns: Mapping[str, Column],
    roles: Roles,
    kind: EstimatorKind,
    cells: Cells,
    used: BoolArray | None,
) -> ExtraCells:
    """Those of each role that the estimator alone has a use for, by the role.

    Rows that are not `used` get 0, and a ratio and a probability of 1: nothing is told of their policies.
    `DataError` for a number that no policy has.
    """
    found: dict[str, Array] = {}
    bad: BoolArray | None = None
    for role in kind.own_roles:
        name = roles.get(role)
        if name is None:
            continue
        numbers, unusable = cells.numbers(columns[name], name, role, used)
        if unusable is not None:
            bad = unusable if bad is None else bad | unusable
        if used is not None:
            numbers = np.where(used, numbers, numbers.dtype.type(role in ("ratio", "prob")))
        lowest, highest = _bounds(role, kind)
        cells.check_range(numbers, name, lowest, highest)
        found[role] = numbers
    return ExtraCells(found, bad)


def _bounds(role: str, kind: EstimatorKind) -> tuple[float, float]:
    """What a policy allows: a log-probability may be above 0 where actions have a density, not a probability."""
    if role == "log_prob" and ("prob",) in kind.ways:
        return -math.inf, _ROUNDING
    return {"ratio": (0.0, math.inf), "prob": (0.0, 1.0 + _ROUNDING)}.get(role, (-math.inf, math.inf))
