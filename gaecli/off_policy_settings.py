"""Settings of off-policy estimators: the clips of ratios, and their columns."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from gaecli.decay_settings import says_nothing
from gaecli.errors import UsageError
from gaecli.estimator_kinds import CLIPS, ESTIMATOR_ROLES, EstimatorKind
from gaecli.setting_fields import SettingFields, setting_flag

#: Read in rlax 0.1.9, rlax/_src/vtrace.py, and Ray 2.60.0, rllib/algorithms/impala: the clip of A is 1 by itself.
#: torchrl 0.14.1, objectives/value/functional.py, clips A as it clips TD errors, which is what holds elsewhere.
_OWN_CLIP = ("rlax", "rllib", "rllib-old")


def clip_rules(preset: str) -> Mapping[str, Any]:
    """What a preset says to the clips of an estimator that has them."""
    return {"pg_bar": 1.0} if preset in _OWN_CLIP else {}


def check(settings: SettingFields) -> None:
    for name in CLIPS:
        given: object = getattr(settings, name)
        if given is None:
            continue
        if not (isinstance(given, int | float) and math.isfinite(given) and given > 0):
            raise UsageError(
                f"`{setting_flag(name)}` is {given}; it must be finite and more than 0",
                hint="a large number clips nothing",
            )
    _check_own_roles(settings.kind, settings.columns)


def _check_own_roles(kind: EstimatorKind, columns: Mapping[str, str]) -> None:
    """Columns that say nothing to the estimator are refused where they are named."""
    for role in ESTIMATOR_ROLES:
        if role in columns and role not in kind.own_roles:
            raise says_nothing(f"{role}_column", kind)
