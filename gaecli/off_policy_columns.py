"""The columns that off-policy estimators need beside rewards and values: policies, and values of actions.

There may be two ways to the same weight, a ratio or two log-probabilities. Which of them counts is never guessed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from gaecli.errors import UsageError
from gaecli.estimator_kinds import EstimatorKind

_WHAT = {
    "log_prob": "log π(a|s) of the policy that is evaluated",
    "behaviour_log_prob": "log μ(a|s) of the policy that acted",
    "ratio": "π(a|s) / μ(a|s)",
    "prob": "π(a|s) of the policy that is evaluated",
    "q": "Q(s, a) of the action that was taken",
}


def other_ways(
    kind: EstimatorKind, names: Mapping[str, str], explicit: Collection[str], path: Path, there: str
) -> tuple[str, ...]:
    """The roles that are not used, as the estimator takes another way. `UsageError` where none or two are there."""
    named = [way for way in kind.ways if any(role in explicit and role in names for role in way)]
    found = [way for way in named or kind.ways if all(role in names for role in way)]
    if not found:
        lacking = [role for way in named for role in way if role not in names]
        if lacking:
            raise missing_own(kind, lacking[0], path, there)
        raise _no_way(kind, names, path, there)
    if len(found) > 1:
        both = " and ".join(", ".join(f"`{names[role]}`" for role in way) for way in found)
        raise UsageError(
            f"`{path}` has {both}, and `--estimator {kind.name}` takes one of them",
            hint=" or ".join(f"pass `{_flag(way[0])} {names[way[0]]}`" for way in found)
            if not named
            else "name one of them",
        )
    (chosen,) = found
    return tuple(role for way in kind.ways for role in way if role not in chosen)


def missing_own(kind: EstimatorKind, role: str, path: Path, there: str) -> UsageError:
    """A role of the estimator's own that no column has."""
    return UsageError(
        f"no column of {_WHAT[role]} in `{path}`, which `--estimator {kind.name}` needs\n"
        f"       columns there: {there}",
        hint=f"name it with `{_flag(role)}`",
    )


def _no_way(kind: EstimatorKind, names: Mapping[str, str], path: Path, there: str) -> UsageError:
    ways = "; or ".join(" and ".join(f"`{_flag(role)}` ({_WHAT[role]})" for role in way) for way in kind.ways)
    known = [f"`{names[role]}` is {_WHAT[role]}" for way in kind.ways for role in way if role in names]
    return UsageError(
        f"`--estimator {kind.name}` needs the policies, and `{path}` does not say enough of them\n"
        f"       columns there: {there}",
        hint=f"name {ways}" + "".join(f"; {one}" for one in known),
    )


def _flag(role: str) -> str:
    return f"--{role.replace('_', '-')}-column"
