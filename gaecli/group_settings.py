"""Settings of scores and of the groups that they are compared in. Each error names the flag that is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from gaecli.choices import MeasuredOver, NormFloor, ScaleRewards, Singleton, Unscored
from gaecli.errors import UsageError
from gaecli.estimator_kinds import FEW
from gaecli.presets.groups import SCORE_RULES
from gaecli.setting_fields import DEFAULTS, SettingFields, check_choices, is_finite, setting_flag
from gaecli.shell_words import word

#: What an estimator that takes it cannot do without, and what it is.
_NEEDED = {
    "group_column": (
        "compares trajectories of one group, and no group is named",
        "pass `--group-column` with the column that is equal for responses to one prompt",
    ),
    "order_column": (
        "takes off a running mean, and nothing says which response came before which",
        "pass `--order-column` with a column of numbers that grow with time; given twice, the second orders what is "
        "equal in the first",
    ),
    "state_column": (
        "compares steps in equal states",
        "pass `--state-column` with the column that tells states apart",
    ),
    "baseline_column": (
        "takes off the reward of another response",
        "pass `--baseline-column` with the column that has it",
    ),
}

_CHOICES: Mapping[str, tuple[str, ...]] = {
    "singleton": get_args(Singleton),
    "unscored": get_args(Unscored),
    "scale_rewards": get_args(ScaleRewards),
    "norm_over": get_args(MeasuredOver),
    "group_floor": get_args(NormFloor),
}


class GroupsNeededError(UsageError):
    """Nothing says which responses are compared with each other."""

    estimator: str

    @classmethod
    def of(cls, estimator: str, message: str, hint: str) -> GroupsNeededError:
        error = cls(message, hint=hint)
        error.estimator = estimator
        return error


def plain_group_settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as `Settings` has them, from lists of columns and of `column=weight`; empty ones are not given."""
    found = dict(given)
    for name in ("group_column", "order_column"):
        columns = found.get(name)
        if columns is not None and not isinstance(columns, str):
            found[name] = columns[0] if len(columns) == 1 else tuple(columns)
    rewards = found.get("rewards")
    if rewards is not None:
        found["rewards"], _ = weighed_rewards(rewards)
    return {name: value for name, value in found.items() if name not in FEW or value not in ((), {})}


def weighed_rewards(given: Mapping[str, float] | Sequence[str] | None) -> tuple[dict[str, float], bool]:
    """Column -> weight, of `column=weight` and of columns alone, which weigh 1; and whether any weight is given."""
    if given is None or isinstance(given, Mapping):
        return dict(given or {}), bool(given)
    texts = [given] if isinstance(given, str) else list(given)
    found = dict(map(_weighed, texts))
    if len(found) < len(texts):
        raise UsageError("`--reward` names a column twice", hint="name each column once, with its weight")
    has_weights = any(weight is not None for weight in found.values())
    return {name: 1.0 if weight is None else weight for name, weight in found.items()}, has_weights


def weighted_sum(rewards: Mapping[str, float]) -> str:
    """As one would say it: `accuracy + 0.5 format`, `accuracy - length`."""
    parts: list[str] = []
    for name, weight in rewards.items():
        size = name if abs(weight) == 1 else f"{abs(weight):g} {name}"
        sign = ("-" if weight < 0 else "") if not parts else (" - " if weight < 0 else " + ")
        parts.append(f"{sign}{size}")
    return "".join(parts)


def _weighed(text: str) -> tuple[str, float | None]:
    """`accuracy=0.5`, or a name alone."""
    name, equals, weight = text.rpartition("=")
    try:
        return (name, float(weight)) if equals else (text, None)
    except ValueError:
        return text, None


def check(settings: SettingFields) -> None:
    _check_preset_has(settings)
    _check_few(settings)
    for name, (what, hint) in _NEEDED.items():
        if settings.uses(name) and not getattr(settings, name):
            message = f"`--estimator {settings.estimator}` {what}"
            if name == "group_column":
                raise GroupsNeededError.of(settings.estimator, message, hint)
            raise UsageError(message, hint=hint)
    check_choices(settings, _CHOICES)
    _check_rewards(settings)
    if settings.estimator == "passk" and settings.singleton == "raw":
        raise UsageError(
            "`--singleton raw` keeps a score, and `--estimator passk` gives the best response what it is better by",
            hint="pass `--singleton zero` for an advantage of 0, or `--singleton error`",
        )
    if settings.group_ddof not in (None, 0, 1):
        raise UsageError(f"`--group-ddof` is {settings.group_ddof}; it must be 0 or 1")
    for name in ("group_eps", "step_weight"):
        number = getattr(settings, name)
        if number is not None and not (is_finite(number) and number >= 0):
            flag = setting_flag(name)
            raise UsageError(f"`{flag}` is {number}; it must be finite and not negative")
    if not (is_finite(settings.ema_decay) and 0 <= settings.ema_decay < 1):
        raise UsageError(f"`--ema-decay` is {settings.ema_decay}; it must lie in [0, 1)")
    if len(set(settings.order_columns)) < len(settings.order_columns) or "" in settings.order_columns:
        raise UsageError("`--order-column` names a column twice, or none", hint="name each column once")
    names = settings.group_columns
    if len(set(names)) < len(names) or "" in names:
        raise UsageError("`--group-column` names a column twice, or none", hint="name each column once")
    both = [name for name in settings.order_columns if name in names]
    if both:
        raise UsageError(
            f"`--order-column {word(both[0])}` is a column of the groups, in each of which it says one thing",
            hint="`--order-column` names numbers that grow with time",
        )
    if settings.sample_of in names:
        raise UsageError(
            f"`--sample-of {settings.sample_of}` is a column of the groups, so that each group would be one rollout",
            hint="`--sample-of` names the column whose values tell the rollouts of a group apart",
        )


def _check_preset_has(settings: SettingFields) -> None:
    """A library without values has no other estimators than those that it has rules for."""
    if settings.convention.only_scores and settings.estimator not in SCORE_RULES[settings.preset]:
        has = ", ".join(SCORE_RULES[settings.preset])
        raise UsageError(
            f"preset `{settings.preset}` has no `{settings.estimator}`: {settings.convention.library} computes "
            "advantages from scores of responses alone",
            hint=f"pass `--estimator` with one of {has}",
        )


def _check_few(settings: SettingFields) -> None:
    """What is given and says nothing to the estimator."""
    for name in FEW:
        given = getattr(settings, name)
        if given is None or given == DEFAULTS[name] or settings.uses(name):
            continue
        flag = "--reward" if name == "rewards" else setting_flag(name)
        hint = (
            "pass `--estimator grpo` or one of its kind to compare the responses of a group; `--normalize-by` "
            "normalises advantages over equal values of a column"
        )
        raise UsageError(
            f"`{flag}` says nothing to `--estimator {settings.estimator}`",
            hint=hint if name == "group_column" else f"drop `{flag}`",
        )


def _check_rewards(settings: SettingFields) -> None:
    if settings.estimator == "gdpo" and not settings.rewards:
        raise UsageError(
            "`--estimator gdpo` needs the columns of its rewards",
            hint="pass `--reward NAME=WEIGHT` for each of them; the weight is 1 where it is left out",
        )
    for name, weight in settings.rewards.items():
        if not name or not is_finite(weight):
            raise UsageError(
                f"`--reward {name}={weight}` is no column and its weight",
                hint="`--reward accuracy_reward --reward format_reward=0.5`",
            )
    if settings.rewards and settings.columns.get("reward") not in (None, next(iter(settings.rewards))):
        raise UsageError(
            "`--reward-column` names the one column of rewards, and `--reward` several",
            hint="drop `--reward-column`, or name its column with `--reward` too",
        )
