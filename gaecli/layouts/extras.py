"""Columns of numbers that an estimator, or what is made of its advantages, needs beside those of the roles."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from gaecli.columns import Roles
from gaecli.errors import UsageError
from gaecli.formats.base import Column, RolloutFile, damaged
from gaecli.layouts.cells import Cells
from gaecli.rollouts import Array
from gaecli.settings import Settings


def check_extras(file: RolloutFile, roles: Roles, settings: Settings) -> tuple[str, ...]:
    """Their names, once each of them is there, holds numbers, and is of steps or of whole rows."""
    asked_by = {name: f"`{flag}`" for name, flag in settings.extra_columns.items()}
    if settings.success_column not in (None, roles.names["reward"]):
        asked_by[settings.success_column] = "`--success-column`"
    asked_by |= dict.fromkeys(settings.kind.extras(settings), f"`--estimator {settings.estimator}`")
    reward = file.find(roles.names["reward"])
    assert reward is not None
    for name, who in asked_by.items():
        info = file.find(name)
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
    return tuple(asked_by)


def read_extras(
    columns: Mapping[str, Column], names: Sequence[str], cells: Cells, in_lanes: Callable[[Array], Array]
) -> Mapping[str, Array]:
    """[N] of each; NaN where a cell says nothing."""
    return {name: in_lanes(cells.optional_numbers(columns[name], name)) for name in names}
