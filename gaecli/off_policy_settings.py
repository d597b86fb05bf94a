"""Settings of off-policy estimators, and what has to hold of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from gaecli.errors import UsageError
from gaecli.estimator_kinds import ESTIMATOR_ROLES, EstimatorKind

#: Read in rlax 0.1.9, rlax/_src/vtrace.py, and Ray 2.60.0, rllib/algorithms/impala: the clip of A is 1 by itself.
#: torchrl 0.14.1, objectives/value/functional.py, clips A as it clips TD errors, which is what holds elsewhere.
_OWN_CLIP = ("rlax", "rllib", "rllib-old")


def clip_rules(preset: str, kind: EstimatorKind) -> Mapping[str, Any]:
    """What a preset says to the clips that an estimator has."""
    return {"pg_bar": 1.0} if "pg_bar" in kind.takes and preset in _OWN_CLIP else {}


def check_clips(*clips: float | None) -> None:
    for name, clip in zip(("rho-bar", "c-bar", "pg-bar"), clips, strict=True):
        given: object = clip
        if given is None:
            continue
        if not (isinstance(given, int | float) and math.isfinite(given) and given > 0):
            raise UsageError(
                f"`--{name}` is {clip}; it must be finite and more than 0",
                hint="a large number clips nothing",
            )


def check_own_roles(kind: EstimatorKind, columns: Mapping[str, str]) -> None:
    """Columns that say nothing to the estimator are refused where they are named."""
    for role in ESTIMATOR_ROLES:
        if role in columns and role not in kind.own_roles:
            flag = f"--{role.replace('_', '-')}-column"
            raise UsageError(f"`{flag}` says nothing to `--estimator {kind.name}`", hint=f"drop `{flag}`")
