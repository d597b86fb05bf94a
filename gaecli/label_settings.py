"""Settings of what is made of advantages beside themselves: rewards out of success, labels, weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import get_args

from gaecli.choices import (
    ColumnNames,
    LabelForced,
    LabelOperator,
    LabelSide,
    LabelType,
    SuccessAt,
    SuccessReward,
    Weight,
)
from gaecli.decay_settings import OTHER_LAMS
from gaecli.errors import UsageError
from gaecli.names import LANGUAGE
from gaecli.records import dataclass
from gaecli.setting_fields import LABEL_DEFAULTS, SettingFields, check_choices, is_finite, setting_flag

OPERATORS: Mapping[str, str] = {"ge": ">=", "gt": ">"}


@dataclass(frozen=True)
class Labelling:
    """What a label says, with nothing left open: A beyond a threshold, or beyond a quantile of all A."""

    operator: LabelOperator
    threshold: float | None = None
    #: Of the numbers in rising order, as NumPy's `quantile(..., method="linear")` has it.
    quantile: float | None = None
    #: In words: `top 30 %`, `above the 30th percentile`.
    words: str = ""
    forced_count: bool = True


@dataclass(frozen=True)
class LabelRule:
    """Labels as a library makes them: what holds where the user says nothing else."""

    name: str
    source: str
    quantile: float | None = None
    side: LabelSide | None = None
    threshold: float | None = None
    operator: LabelOperator = "ge"
    forced: LabelForced = "counted"


_RULES = (
    LabelRule("rlinf-recap", "RLinf a3816b5, advantage_labeling/recap", 0.3, "top"),
    LabelRule("rlinf-steam", "RLinf a3816b5, advantage_labeling/steam", 0.3, "top", operator="gt"),
    LabelRule("kai0", "OpenDriveLab/kai0 9d93078, discretize_advantage.py", 0.7, "top"),
    LabelRule("lerobot-3245", "huggingface/lerobot refs/pull/3245", 0.7, "above", operator="gt"),
    LabelRule(
        "lerobot-3764",
        "huggingface/lerobot refs/pull/3764 2aa7f60, annotations/steerable_pipeline/modules/advantage.py",
        0.3,
        "above",
        operator="gt",
        forced="left-out",
    ),
    LabelRule("opentau", "TensorAuto/OpenTau 0b153a9, get_advantage_and_percentiles.py", threshold=0.0),
    LabelRule("crr", "Wang et al. 2020, https://arxiv.org/abs/2006.15134", threshold=0.0, operator="gt"),
)

#: By name.
LABEL_RULES: Mapping[str, LabelRule] = {rule.name: rule for rule in _RULES}

_CHOICES: Mapping[str, tuple[str, ...]] = {
    "success_reward": get_args(SuccessReward),
    "success_at": get_args(SuccessAt),
    "label_rule": tuple(LABEL_RULES),
    "label_side": get_args(LabelSide),
    "label_operator": get_args(LabelOperator),
    "label_forced": get_args(LabelForced),
    "label_type": get_args(LabelType),
    "weight": get_args(Weight),
    "names": get_args(ColumnNames),
}


@dataclass(frozen=True)
class _Parameter:
    """One of the numbers that a weight takes."""

    weights: tuple[str, ...]
    default: float | None
    what: str
    is_good: Callable[[float], bool]


_PARAMETERS: Mapping[str, _Parameter] = {
    "weight_beta": _Parameter(("awr", "crr"), 1.0, "more than 0", lambda given: given > 0),
    "weight_max": _Parameter(("awr", "crr"), None, "more than 0", lambda given: given > 0),
    "expectile": _Parameter(("iql",), 0.7, "between 0 and 1", lambda given: 0 < given < 1),
    "progress_chunk": _Parameter(
        ("rabc",), 50, "a whole number, 1 at least", lambda given: given >= 1 and int(given) == given
    ),
    "progress_kappa": _Parameter(("rabc",), 0.01, "0 or more", lambda given: given >= 0),
}


def labelling(settings: SettingFields) -> Labelling | None:
    """None where no labels are asked for."""
    rule = LABEL_RULES.get(settings.label_rule or "")
    quantile, threshold = settings.label_quantile, settings.label_threshold
    if rule is not None and quantile is None and threshold is None:
        quantile, threshold = rule.quantile, rule.threshold
    forced = settings.label_forced or (rule.forced if rule is not None else "counted")
    operator = settings.label_operator or (rule.operator if rule is not None else None)
    if threshold is not None:
        return Labelling(operator or "ge", threshold=threshold)
    if quantile is None:
        return None
    side = settings.label_side or (rule.side if rule is not None else None)
    share = Decimal(str(quantile))
    return Labelling(
        operator or ("gt" if side == "above" else "ge"),
        # Of the digits as they were given: 1 - 0.7 in float64 is not 0.3.
        quantile=float(share if side == "above" else 1 - share),
        words=_share_words(share, side),
        forced_count=forced == "counted",
    )


def parameter(settings: SettingFields, name: str) -> float:
    """Of the weight, given or by default."""
    given = getattr(settings, name)
    found = _PARAMETERS[name].default if given is None else given
    assert found is not None
    return float(found)


def check(settings: SettingFields) -> None:
    """`UsageError` where these settings say too little, too much or two things."""
    check_choices(settings, _CHOICES)
    _check_names(settings)
    _check_success(settings)
    _check_label(settings)
    _check_weight(settings)
    _check_others(settings)


def _check_names(settings: SettingFields) -> None:
    for name in ("label_column", "weight_column"):
        if not getattr(settings, name):
            hint = "a variable in the command may not be set"
            raise UsageError(f"`{setting_flag(name)}` is an empty name", hint=hint)


def _check_success(settings: SettingFields) -> None:
    if settings.success_column is None:
        _refuse_alone(
            settings,
            ("success_reward", "failure_cost", "success_at"),
            "needs `--success-column`, the flag of success",
        )
        return
    if settings.success_reward == "sparse":
        if settings.failure_cost is not None:
            raise UsageError(
                "`--failure-cost` says nothing to `--success-reward sparse`: the last step gets 1 or 0",
                hint="drop it, or pass `--success-reward recap` or `--success-reward steps`",
            )
    elif settings.failure_cost is None:
        raise UsageError(
            f"`--success-reward {settings.success_reward}` needs what a failure costs, in steps",
            hint="pass `--failure-cost C`; there is no usual value: LeRobot's own tool (PR 3764) has 900 on its "
            "command line and 50 in its config",
        )
    elif not (is_finite(settings.failure_cost) and settings.failure_cost >= 0):
        raise UsageError(f"`--failure-cost` is {settings.failure_cost}; it must be finite and not negative")


def _check_label(settings: SettingFields) -> None:
    found = labelling(settings)
    if found is None:
        _refuse_alone(
            settings,
            ("label_side", "label_operator", "label_by", "force_positive", "label_forced", "label_type"),
            "needs labels",
            hint="pass `--label-quantile`, `--label-threshold` or `--label-rule`",
        )
        return
    if settings.label_type == "language" and settings.label_column != LABEL_DEFAULTS["label_column"]:
        raise UsageError(
            f"`--label-column` names another column than `{LANGUAGE}`, in which `--label-type language` writes",
            hint="drop one of them",
        )
    if settings.label_quantile is not None and settings.label_threshold is not None:
        raise UsageError(
            "`--label-quantile` and `--label-threshold` give the threshold twice", hint="drop one of them"
        )
    if found.quantile is None:
        _check_number("label_threshold", found.threshold, "a finite number", found.threshold is not None)
        _refuse_alone(
            settings, ("label_side", "label_by", "label_forced"), "says nothing to a fixed threshold"
        )
        return
    quantile = settings.label_quantile
    if quantile is not None and not (is_finite(quantile) and 0 < quantile < 1):
        raise UsageError(
            f"`--label-quantile` is {quantile}; it must lie between 0 and 1",
            hint="30 % is `--label-quantile 0.3`",
        )
    if settings.label_side is None and (
        settings.label_rule is None or LABEL_RULES[settings.label_rule].side is None
    ):
        percent = _percent(Decimal(str(quantile)))
        raise UsageError(
            f"`--label-quantile {quantile}` is the top {percent} % to some tools, and all above the "
            f"{_nth(percent)} percentile to others",
            hint="pass `--label-side top` (RLinf, kai0) or `--label-side above` (LeRobot PRs 3245 and 3764); or "
            "`--label-rule NAME` for all that a library does",
        )
    if settings.label_forced is not None and settings.force_positive is None:
        raise UsageError("`--label-forced` says nothing without `--force-positive COLUMN`", hint="drop it")


def _check_weight(settings: SettingFields) -> None:
    for name, parameter in _PARAMETERS.items():
        given = getattr(settings, name)
        if given is None:
            continue
        if settings.weight not in parameter.weights:
            whose = "` and `--weight ".join(parameter.weights)
            raise UsageError(
                f"`{setting_flag(name)}` is of `--weight {whose}`", hint=f"drop `{setting_flag(name)}`"
            )
        _check_number(name, given, parameter.what, is_finite(given) and parameter.is_good(given))
    if settings.weight in ("awr", "crr") and settings.weight_max is None:
        raise UsageError(
            f"`--weight {settings.weight}` needs the largest weight",
            hint="pass `--weight-max W`; 20 is d3rlpy's, 10 is OpenTau's",
        )
    if (settings.weight == "rabc") != (settings.progress_column is not None):
        raise UsageError(
            "`--weight rabc` needs `--progress-column`, and nothing else takes it",
            hint="pass both: `--weight rabc --progress-column COLUMN`",
        )


def _refuse_alone(settings: SettingFields, names: tuple[str, ...], why: str, hint: str | None = None) -> None:
    """Settings that are given and say nothing."""
    for name in names:
        if getattr(settings, name) != LABEL_DEFAULTS[name]:
            raise UsageError(f"`{setting_flag(name)}` {why}", hint=hint or f"drop `{setting_flag(name)}`")


def _check_others(settings: SettingFields) -> None:
    """What labels, weights and rewards out of success ask of other settings."""
    if settings.success_column is not None:
        by_preset = settings.convention.settings()["truncation"] if settings.uses("truncation") else "exact"
        given = {
            "--reward-column": "reward" in settings.columns,
            "--truncation": settings.truncation not in ("exact", by_preset),
            "--bootstrap": settings.bootstrap != "zero",
        }
        flag = next((flag for flag, is_given in given.items() if is_given), None)
        if flag is not None:
            what = "rewards" if flag == "--reward-column" else "what lies beyond the end of an episode"
            raise UsageError(
                f"`{flag}` and `--success-column` both say {what}",
                hint="with `--success-column` an episode is a success or a failure, and over; drop one of them",
            )
    if settings.weight not in (None, "rabc") and "advantage" not in settings.kind.outputs:
        raise UsageError(
            f"`--weight {settings.weight}` is of advantages, and `--estimator {settings.estimator}` writes none",
            hint="name values and take another estimator, such as `--estimator gae`",
        )
    is_named_so = settings.names == "lerobot" and settings.return_column == "mc_return"
    if is_named_so and "return" in settings.kind.outputs and not _writes_mc_returns(settings):
        raise UsageError(
            "`mc_return` of `--names lerobot` is a Monte-Carlo return, and these settings write another one",
            hint="pass `--estimator mc`, or `--lam 1`, or name the column with `--return-column`",
        )


def _writes_mc_returns(settings: SettingFields) -> bool:
    is_at_one = settings.lam == 1 and all(getattr(settings, name) is None for name in OTHER_LAMS)
    return settings.estimator == "mc" or (settings.estimator in ("gae", "td-lambda") and is_at_one)


def _share_words(share: Decimal, side: str | None) -> str:
    percent = _percent(share)
    return f"above the {_nth(percent)} percentile" if side == "above" else f"top {percent} %"


def _percent(share: Decimal) -> str:
    return f"{(share * 100).normalize():f}"


def _nth(number: str) -> str:
    endings = {"1": "st", "2": "nd", "3": "rd"}
    is_teen = number[-2:] in ("11", "12", "13")
    return number + (endings.get(number[-1], "th") if number.isdigit() and not is_teen else "th")


def _check_number(name: str, given: object, what: str, is_good: bool) -> None:
    if not is_good or not is_finite(given):
        raise UsageError(f"`{setting_flag(name)}` is {given}; it must be {what}")
