"""Columns of numbers that are needed beside those of the roles."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from gaecli.columns import Roles, columns_there
from gaecli.errors import UsageError
from gaecli.formats.base import Column, RolloutFile, damaged
from gaecli.layouts.cells import Cells
from gaecli.records import dataclass
from gaecli.rollouts import Array, BoolArray
from gaecli.settings import Settings


def check_extras(file: RolloutFile, roles: Roles, settings: Settings) -> tuple[str, ...]:
    """Their names, once each of them is there, holds numbers, and is of steps or of whole rows."""
    reward = file.find(roles.names["reward"])
    assert reward is not None
    for name in settings.extra_columns:
        info = file.find(name)
        who = _who_needs(name, settings)
        if info is None:
            raise UsageError(
                f"column `{name}` not found in `{file.path}`, which {who} needs\n"
                f"       columns there: {columns_there(file)}"
            )
        if info.damage is not None:
            raise damaged(file.path, info)
        is_number = info.kind in ("float", "int", "bool") or (
            info.kind == "null" and name in settings.rewards
        )
        if info.unusable is not None or not is_number or (info.is_list and not reward.is_list):
            why = info.unusable or f"its type is {info.type_name}"
            raise UsageError(f"column `{name}` of `{file.path}` cannot be used by {who}: {why}")
    return settings.extra_columns


def _who_needs(name: str, settings: Settings) -> str:
    for flag, column in (("--gamma-column", settings.gamma_column), ("--lam-column", settings.lam_column)):
        if name == column:
            return f"`{flag}`"
    return f"`--estimator {settings.estimator}`"


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
