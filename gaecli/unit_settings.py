"""Settings of estimators whose steps are units of several rows, such as the turns of a dialogue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from gaecli.choices import UnitIs, UnitReward, UnitValue
from gaecli.decay_settings import FAMILIES, says_nothing
from gaecli.errors import UsageError
from gaecli.estimator_kinds import EstimatorKind
from gaecli.presets.base import Preset
from gaecli.setting_fields import (
    UNIT_SETTINGS,
    SettingFields,
    are_units,
    check_choices,
    is_number,
    setting_flag,
)

_CHOICES: Mapping[str, tuple[str, ...]] = {
    "unit_is": get_args(UnitIs),
    "unit_reward": get_args(UnitReward),
    "unit_value": get_args(UnitValue),
}


def check_given(given: Mapping[str, Any], preset: Preset, kind: EstimatorKind) -> None:
    """What is said of units where there are none."""
    if are_units(given.get("columns", {}), preset, kind):
        return
    for name in UNIT_SETTINGS:
        if name in given:
            raise UsageError(
                f"`{setting_flag(name)}` is of units, and none are named",
                hint="pass `--unit COLUMN` with the id of the turn, or with a flag at its last token",
            )


def check(settings: SettingFields) -> None:
    check_choices(settings, _CHOICES)
    if not settings.is_over_units:
        return
    kind = settings.kind
    if not kind.has_units:
        raise says_nothing("unit", kind, "it scores trajectories as wholes, whatever their units")
    is_of_units = settings.truncation in ("exact", "current", "zero", "ask")
    if not is_of_units or settings.convention.reward_at == "arrival" or settings.convention.early_ends:
        who = f"preset `{settings.preset}`"
        why = who if is_of_units else f"`--truncation {settings.truncation}`"
        raise UsageError(
            f"{why} is a rule for single steps, and `--unit` takes several for one",
            hint="drop one of them; `--truncation exact`, `current` and `zero` speak of the last unit",
        )
    if settings.turn_gamma is not None:
        _check_two_levels(settings)


def _check_two_levels(settings: SettingFields) -> None:
    gamma = settings.turn_gamma
    if not (is_number(gamma) and 0.0 <= float(gamma or 0.0) <= 1.0):
        raise UsageError(f"`--turn-gamma` is {gamma}; it must lie in [0, 1]")
    if settings.kind.name != "gae" or settings.convention.recursion != "gae":
        raise UsageError(
            "`--turn-gamma` makes two passes of GAE, over turns and within them, and another recursion is asked for",
            hint="drop `--turn-gamma`",
        )
    if settings.unit_value != "last":
        raise UsageError(
            "`--turn-gamma` gives a turn its return at its last token, and `--unit-value first` takes V of another",
            hint="pass `--unit-value last`",
        )
    for name in ("lam_alpha", "lam_retain", *FAMILIES["returns"]):
        if getattr(settings, name) is not None:
            raise UsageError(
                f"`{setting_flag(name)}` has no one length to go by in the two passes of `--turn-gamma`",
                hint=f"drop `{setting_flag(name)}`",
            )
