"""Group baselines as components of a stage: which score is compared with what, and by which rule.

grpo             (s - mean) / (σ + ε)                        over the group
grpo-batch       (s - mean over the group) / (σ + ε)         σ over the batch
dr-grpo, rf++-baseline    s - mean
rloo             s - mean of the others
max-rl           (s - mean) / mean, or / (mean + ε)
opo              s - Σ n s / Σ n                             n the length of the response
rae              s - b, then b := α b + (1 - α) s                b of the role, 0 at first
gpg              (s - mean) · N / N⁺                         N⁺ of the N responses of the batch have s ≠ 0
flash-reinforce  s - mean over the batch
gdpo             Σₖ wₖ (rₖ - meanₖ) / (σₖ + ε)               over the group, rₖ of each reward function
passk            (s - second) / (σ + ε) of the best one, 0 of the others     second: the next best of the group
gigpo            grpo of s, and ω times grpo of the reward-to-go over equal states in the group
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from gaecli.choices import MeasuredOver, ScaleRewards
from gaecli.estimators.normalization import NormRule, Scale
from gaecli.estimators.scores import LENGTH, NON_ZERO, SCORE, reward_score
from gaecli.estimators.stages import BEFORE, Component, GroupScope, Scaling, Statistic
from gaecli.settings import Settings


def baseline_of(settings: Settings) -> Sequence[Component]:
    return _BASELINES[settings.estimator](settings)


def _in_group(
    settings: Settings,
    scale: Scale,
    score: str = BEFORE,
    *,
    weight: str | None = None,
    unit: MeasuredOver = "trajectories",
    columns: tuple[str, ...] = (),
) -> Scaling:
    """Over the rows of a group; of those with equal `columns` too."""
    scope = GroupScope((*settings.group_columns, *columns))
    one_by = settings.sample_columns if unit == "trajectories" else ()
    has_second = settings.estimator == "passk"
    statistic = Statistic(score, scope, unit, weight, one_by, with_largest=has_second)
    return Scaling(statistic, replace(group_rule(settings), scale=scale, singleton=settings.singleton))


def _in_batch(settings: Settings, scale: Scale, score: str = BEFORE) -> Scaling:
    scope = GroupScope(() if settings.batch_column is None else (settings.batch_column,))
    statistic = Statistic(score, scope, "trajectories", one_by=settings.sample_columns)
    return Scaling(statistic, replace(group_rule(settings), scale=scale))


def group_rule(settings: Settings) -> NormRule:
    """The ε and divisor of the baseline itself, where a normalisation after it has others."""
    ddof, eps, floor = settings.group_ddof, settings.group_eps, settings.group_floor
    return NormRule(
        settings.norm_ddof if ddof is None else ddof,
        settings.norm_eps if eps is None else eps,
        settings.norm_floor if floor is None else floor,
    )


def divided_by(settings: Settings) -> ScaleRewards:
    """The spread of what scores are divided by, of the estimators that leave it open."""
    return settings.scale_rewards or _USUAL_DIVISORS.get(settings.estimator, "none")


_USUAL_DIVISORS: Mapping[str, ScaleRewards] = {
    "grpo": "group",
    "grpo-batch": "batch",
    "passk": "group",
}


def _scaled(scale: Scale) -> Callable[[Settings], Sequence[Component]]:
    """Centred, and then divided by the spread of the group, of the batch, or by none."""

    def components(settings: Settings) -> Sequence[Component]:
        divisor = divided_by(settings)
        if divisor == "none":
            return [Component(_in_group(settings, scale))]
        if divisor == "batch":
            return [Component(_in_group(settings, scale), _in_batch(settings, "std"))]
        if scale == "one":
            return [Component(_in_group(settings, "std"))]
        return [Component(_in_group(settings, scale), _in_group(settings, "std"))]

    return components


def _one(scale: Scale) -> Callable[[Settings], Sequence[Component]]:
    return lambda settings: [Component(_in_group(settings, scale))]


def _max_rl(settings: Settings) -> Sequence[Component]:
    if settings.group_eps is not None:
        return [Component(_in_group(settings, "one"), _in_group(settings, "mean + eps"))]
    of_means = _in_group(settings, "mean")
    return [Component(_in_group(settings, "one"), replace(of_means, rule=replace(of_means.rule, eps=0.0)))]


def _opo(settings: Settings) -> Sequence[Component]:
    return [Component(_in_group(settings, "one", weight=LENGTH))]


def _gpg(settings: Settings) -> Sequence[Component]:
    """1 over the mean of what is 1 where a score is not 0 is N / N⁺."""
    return [Component(_in_group(settings, "one"), _in_batch(settings, "mean", NON_ZERO))]


def _rae(settings: Settings) -> Sequence[Component]:
    scope = GroupScope((*settings.group_columns, *settings.order_columns))
    num_orders = len(settings.order_columns)
    statistic = Statistic(BEFORE, scope, "trajectories", ordered_by=num_orders, decay=settings.ema_decay)
    return [Component(Scaling(statistic, replace(group_rule(settings), scale="running")))]


def _flash_reinforce(settings: Settings) -> Sequence[Component]:
    return [Component(_in_batch(settings, "one"))]


def _gdpo(settings: Settings) -> Sequence[Component]:
    return [
        Component(_in_group(settings, "std", reward_score(name)), weight=weight)
        for name, weight in settings.rewards.items()
    ]


def _gigpo(settings: Settings) -> Sequence[Component]:
    assert settings.state_column is not None
    of_states = _in_group(settings, "std", unit="steps", columns=(settings.state_column,))
    of_states = replace(of_states, rule=replace(of_states.rule, singleton="zero"))
    return [
        Component(_in_group(settings, "std", SCORE)),
        Component(of_states, weight=settings.step_weight),
    ]


_BASELINES: Mapping[str, Callable[[Settings], Sequence[Component]]] = {
    "grpo": _scaled("one"),
    "grpo-batch": _scaled("one"),
    "grpo-loo": _one("std of others"),
    "dr-grpo": _one("one"),
    "rf++-baseline": _one("one"),
    "rloo": _scaled("others"),
    "max-rl": _max_rl,
    "passk": _scaled("second"),
    "opo": _opo,
    "gpg": _gpg,
    "rae": _rae,
    "flash-reinforce": _flash_reinforce,
    "gdpo": _gdpo,
    "gigpo": _gigpo,
}
