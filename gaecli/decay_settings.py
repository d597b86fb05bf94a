"""Settings of how much of what follows a step counts: γ and λ, of all steps, of a length, of each row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from gaecli.errors import UsageError
from gaecli.estimator_kinds import EstimatorKind
from gaecli.records import shallow
from gaecli.setting_fields import SettingFields, is_number, setting_flag

#: What says the same in another way, by the setting that an estimator may not look at (`EstimatorKind.unused`).
#: `returns` is the rule of a preset for what the return column holds.
FAMILIES: Mapping[str, tuple[str, ...]] = {
    "gamma": ("gamma_column",),
    "lam": ("lam_alpha", "lam_retain", "lam_column"),
    "returns": ("lam_value", "lam_value_alpha", "lam_value_retain"),
}
#: Of each group one may be given.
_WAYS = (FAMILIES["lam"], FAMILIES["returns"])
#: Every other way to say a λ than the one number for all steps.
OTHER_LAMS = (*FAMILIES["lam"], *FAMILIES["returns"])
#: Left out of documents where they are not in use.
OPTIONAL = tuple(name for names in FAMILIES.values() for name in names if name != "lam_alpha")

_USUAL = "usual values: `--gamma 0.99 --lam 0.95`"


S = TypeVar("S", bound=SettingFields)


def without_other_ways(chosen: dict[str, Any], given: Mapping[str, Any]) -> None:
    """Whoever names a λ does not mean that of the preset, in whatever way it has it."""
    for ways in (("lam", *_WAYS[0]), _WAYS[1]):
        if any(name in given for name in ways):
            chosen.update({name: None for name in ways if name in chosen and name != "lam"})
    for name in ("gamma", "lam"):
        if name in given and f"{name}_column" in given:
            raise UsageError(
                f"`--{name}` is one number for all steps, and `--{name}-column` has one for each",
                hint="drop one of them",
            )


def check(settings: SettingFields) -> None:
    """Each is a number that it may be, and no two say the same thing differently."""
    for name in ("gamma", "lam", "lam_value"):
        _check_range(settings, name, _USUAL)
    for name in ("lam_alpha", "lam_value_alpha"):
        number = getattr(settings, name)
        if number is not None and not (is_number(number) and number > 0):
            raise UsageError(f"`{setting_flag(name)}` is {number}; it must be finite and more than 0")
    for name in ("lam_retain", "lam_value_retain"):
        number = getattr(settings, name)
        if number is not None and not (is_number(number) and 0 < number <= 1):
            raise UsageError(
                f"`{setting_flag(name)}` is {number}; it must lie in (0, 1]",
                hint="it is what is left of the reward of the last step at the first one, whatever the length",
            )
    for ways in _WAYS:
        given = [name for name in ways if getattr(settings, name) is not None]
        if len(given) > 1:
            raise UsageError(
                f"`{setting_flag(given[0])}` and `{setting_flag(given[1])}` say two things of one λ",
                hint="drop one of them",
            )
    _check_used(settings)
    if settings.convention.recursion != "gae":
        for name in FAMILIES["returns"]:
            if getattr(settings, name) is not None:
                raise UsageError(
                    f"`{setting_flag(name)}` says nothing to preset `{settings.preset}`, whose returns are no sum of "
                    "TD errors of their own",
                    hint=f"drop `{setting_flag(name)}`",
                )


def with_decays(settings: S, gamma: float, lam: float) -> S:
    """Another γ and λ, and nothing else, so that nothing else is checked again: searches try thousands."""
    made = object.__new__(type(settings))
    vars(made).update(shallow(settings))
    for name, number in (("gamma", gamma), ("lam", lam)):
        object.__setattr__(made, name, number)
        _check_range(made, name, _USUAL)
    return made


def _check_range(settings: SettingFields, name: str, hint: str) -> None:
    number = getattr(settings, name)
    if number is not None and not (is_number(number) and 0.0 <= number <= 1.0):
        raise UsageError(f"`{setting_flag(name)}` is {number}; it must lie in [0, 1]", hint=hint)


def _check_used(settings: SettingFields) -> None:
    kind = settings.kind
    for of, names in FAMILIES.items():
        for name in names:
            if getattr(settings, name) is not None and of in kind.unused:
                raise says_nothing(name, kind)
    for name in ("gamma", "lam"):
        if getattr(settings, f"{name}_column") is not None and name not in kind.by_column:
            raise says_nothing(f"{name}_column", kind, f"it takes one {name} for all steps")


def says_nothing(name: str, kind: EstimatorKind, why: str = "") -> UsageError:
    flag = setting_flag(name)
    return UsageError(
        f"`{flag}` says nothing to `--estimator {kind.name}`{': ' if why else ''}{why}", hint=f"drop `{flag}`"
    )
