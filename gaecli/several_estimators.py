"""Settings given to several estimators at once: each takes what says something to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gaecli.decay_settings import FAMILIES
from gaecli.estimator_kinds import ESTIMATOR_ROLES, ESTIMATORS, FEW, EstimatorKind
from gaecli.setting_fields import UNIT_SETTINGS

#: They say what the rewards are: an estimator that went by others would not be beside the rest, but elsewhere.
_OF_REWARDS = ("rewards", "stream")


def said_to(estimator: str, given: Mapping[str, Any], estimators: Sequence[str]) -> dict[str, Any]:
    """What is given, without what says nothing to this estimator and something to another one of them.

    What says nothing to any of them stays, and is refused where settings are checked.

    Args:
        given: settings by their names, and `columns` by role.
    """
    kind = ESTIMATORS.get(estimator)
    if kind is None:
        return dict(given)
    others = [ESTIMATORS[name] for name in estimators if name in ESTIMATORS]

    def stays(name: str) -> bool:
        return name in _OF_REWARDS or _hears(kind, name) or not any(_hears(one, name) for one in others)

    columns = {role: name for role, name in given.get("columns", {}).items() if stays(role)}
    found = {name: value for name, value in given.items() if stays(name)}
    return {**found, "columns": columns} if "columns" in given else found


def _hears(kind: EstimatorKind, name: str) -> bool:
    """Whether a setting, or the role of a column, says anything to an estimator."""
    if name in ESTIMATOR_ROLES:
        return name in kind.own_roles
    if name == "turn_gamma":
        return kind.name == "gae"
    if name == "unit" or name in UNIT_SETTINGS:
        return kind.has_units
    if name in ("gamma_column", "lam_column"):
        return name.removesuffix("_column") in kind.by_column
    if name in FEW:
        return kind.uses(name)
    return not any(of in kind.unused for of, names in FAMILIES.items() if name in names) and kind.uses(name)
