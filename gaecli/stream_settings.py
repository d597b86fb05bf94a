"""Settings of several kinds of reward: what `--stream` takes, and what has to hold of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

from gaecli.errors import UsageError
from gaecli.estimator_kinds import EstimatorKind
from gaecli.reward_streams import KEYS, NUMBERS, RewardStream
from gaecli.setting_fields import SettingFields, is_number

_EXAMPLE = "`--stream ext=reward,value,0.999,0.95,2 --stream int=int_reward,int_value,0.99,0.95,1,cut=never`"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
#: In this order where they are not named.
_IN_ORDER = ("reward", "value", *NUMBERS)


def parsed(given: Any) -> tuple[RewardStream, ...]:
    """Texts as `--stream` takes them, mappings, or what they make; that which follows the ends first."""
    if isinstance(given, str | Mapping | RewardStream):
        given = [given]
    if not isinstance(given, Iterable):
        raise UsageError(f"`--stream` is {given!r}; it takes texts", hint=f"such as {_EXAMPLE}")
    found = [_one(one) for one in given]
    if not found:
        raise UsageError("`--stream` is an empty list", hint=f"such as {_EXAMPLE}")
    return tuple(sorted(found, key=lambda one: one.cut == "never"))


def _one(given: Any) -> RewardStream:
    if isinstance(given, RewardStream):
        return given
    if isinstance(given, Mapping):
        unknown = set(given) - {field.name for field in fields(RewardStream)}
        if unknown or not {"name", "reward"} <= set(given):
            raise UsageError(f"`--stream` is {dict(given)}", hint="it has a name, a reward and a value")
        return RewardStream(**given)
    text = str(given)
    name, equals, rest = text.partition("=")
    items: dict[str, Any] = {}
    for position, item in enumerate(rest.split(",")):
        key, named, value = item.partition("=")
        if not named:
            key, value = (_IN_ORDER[position] if position < len(_IN_ORDER) else ""), item
        key = KEYS.get(key, key)
        if key not in (*_IN_ORDER, "cut", *KEYS.values()) or key in items or not value:
            raise UsageError(
                f"`--stream {text}` has {item!r}, which is none of reward, value, gamma, lam, weight, cut, next, "
                "bootstrap and q, or a second one",
                hint=f"name=REWARD,VALUE[,GAMMA[,LAM[,WEIGHT]]], such as {_EXAMPLE}",
            )
        items[key] = _number(value, key, text) if key in NUMBERS else value
    if not equals or "reward" not in items:
        raise _lacks_something(text)
    return RewardStream(name, **items)


def _lacks_something(text: str) -> UsageError:
    return UsageError(
        f"`--stream {text}` has no name, reward and value",
        hint=f"name=REWARD,VALUE[,GAMMA[,LAM[,WEIGHT]]], such as {_EXAMPLE}",
    )


def _number(text: str, key: str, whole: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise UsageError(f"`--stream {whole}`: {key} is `{text}`; it must be a number") from error


def check(settings: SettingFields) -> None:
    streams = settings.stream
    if not streams:
        return
    kind = settings.kind
    if not kind.has_streams:
        raise UsageError(
            f"`--stream` says nothing to `--estimator {kind.name}`, which scores trajectories as wholes",
            hint="drop one of them; `--reward COLUMN=WEIGHT`, given for each, adds up several rewards of one score",
        )
    for one in streams:
        _check_one(one, settings)
    names = [one.name for one in streams]
    if len(set(names)) < len(names):
        raise UsageError(f"two of `--stream` have one name: {', '.join(names)}", hint="name each differently")
    if settings.success_column is not None:
        raise UsageError(
            "`--stream` names rewards, and `--success-column` makes them", hint="drop one of them"
        )
    if streams[0].cut == "never":
        raise UsageError(
            "no stream follows the ends of episodes, which every one has `cut=never` for",
            hint="drop `cut=never`, and pass `--done-column none` with `--layout` if nothing ends in the file",
        )
    named = [role for role, name in settings.columns.items() if streams[0].columns.get(role, name) != name]
    if named:
        flag = f"--{named[0].replace('_', '-')}-column"
        raise UsageError(
            f"`{flag}` is of one kind of reward, and `--stream` names the columns of several",
            hint=f"drop `{flag}`; `next=COLUMN` and `bootstrap=COLUMN` go into `--stream`",
        )
    if settings.on_nan == "drop-episode" and any(one.cut == "never" for one in streams):
        raise UsageError(
            "`--on-nan drop-episode` leaves out episodes, and a stream with `cut=never` has none",
            hint="repair the file, and drop `--on-nan`",
        )


def _check_one(one: RewardStream, settings: SettingFields) -> None:
    whole = f"--stream {one.text}"
    if not _NAME.fullmatch(str(one.name)):
        raise UsageError(f"`{whole}`: `{one.name}` is no name", hint="letters, digits, `_`, `-` and `.`")
    if one.cut not in ("ends", "never"):
        raise UsageError(f"`{whole}`: cut is `{one.cut}`; it must be ends or never")
    _check_columns(one, settings.kind)
    for key in ("gamma", "lam"):
        number = getattr(one, key)
        if number is None:
            continue
        if not (is_number(number) and 0.0 <= number <= 1.0):
            raise UsageError(f"`{whole}`: {key} is {number}; it must lie in [0, 1]")
        if getattr(settings, f"{key}_column") is not None:
            raise UsageError(
                f"`{whole}` has a {key} of its own, and `--{key}-column` has one for each step",
                hint="drop one of them",
            )
    if not is_number(one.weight):
        raise UsageError(f"`{whole}`: weight is {one.weight}; it must be finite")


def _check_columns(one: RewardStream, kind: EstimatorKind) -> None:
    """Those that the estimator needs of each kind of reward, and no others."""
    if one.value is None and "value" in kind.roles:
        raise _lacks_something(one.text)
    needs_q = "q" in kind.own_roles
    if needs_q and one.q is None:
        raise UsageError(
            f"`--stream {one.text}` has no Q(s, a) of its rewards, which `--estimator {kind.name}` corrects",
            hint="add `q=COLUMN` to it",
        )
    if one.q is not None and not needs_q:
        raise UsageError(
            f"`--stream {one.text}` names Q(s, a), which says nothing to `--estimator {kind.name}`",
            hint=f"drop `q={one.q}`",
        )
