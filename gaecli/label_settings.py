"""Settings of what is made of advantages beside themselves: rewards out of success, labels, weights.

Plain data and its checks, below `gaecli.settings`, whose record has these fields among its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Literal, get_args

from gaecli.errors import UsageError
from gaecli.records import dataclass

#: Rewards out of success: -1/Z a step, 0 or -C/Z at the last one (`recap`); the same without the division
#: (`steps`); 1 or 0 at the last step, 0 elsewhere (`sparse`).
SuccessReward = Literal["recap", "steps", "sparse"]
#: Where the success flag of an episode counts that is not the same throughout.
SuccessAt = Literal["last", "any"]
#: The threshold leaves the share Q above it (`top`), or is the quantile Q (`above`).
LabelSide = Literal["top", "above"]
LabelOperator = Literal["ge", "gt"]
#: Whether rows that are labelled true whatever their advantage count for the quantile.
LabelForced = Literal["counted", "left-out"]
LabelType = Literal["bool", "text"]
Weight = Literal["awr", "crr", "crr-binary", "iql", "rabc"]
ColumnNames = Literal["gaecli", "lerobot"]

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


@dataclass(frozen=True)
class LabelSettings:
    """Fields of `Settings`; none of them says anything unless it is given."""

    #: The column that says whether an episode succeeded: it stands in place of the rewards.
    success_column: str | None = None
    success_reward: SuccessReward = "recap"
    #: C, what a failure costs. Of `recap` and `steps`, which have no default for it.
    failure_cost: float | None = None
    success_at: SuccessAt | None = None

    #: One of `LABEL_RULES`.
    label_rule: str | None = None
    label_quantile: float | None = None
    label_side: LabelSide | None = None
    label_threshold: float | None = None
    label_operator: LabelOperator | None = None
    #: Equal values of this column have a quantile of their own.
    label_by: str | None = None
    #: The column of rows that are labelled true whatever their advantage.
    force_positive: str | None = None
    label_forced: LabelForced | None = None
    label_column: str = "label"
    label_type: LabelType = "bool"

    weight: Weight | None = None
    weight_column: str = "weight"
    weight_beta: float | None = None
    weight_max: float | None = None
    expectile: float | None = None
    progress_column: str | None = None
    progress_chunk: int | None = None
    progress_kappa: float | None = None

    #: Names of columns where none is given.
    names: ColumnNames = "gaecli"
    #: Also written, if named: the step is the last one of its episode.
    terminal_column: str | None = None

    @property
    def labelling(self) -> Labelling | None:
        """None where no labels are asked for."""
        rule = LABEL_RULES.get(self.label_rule or "")
        quantile, threshold = self.label_quantile, self.label_threshold
        if rule is not None and quantile is None and threshold is None:
            quantile, threshold = rule.quantile, rule.threshold
        forced = self.label_forced or (rule.forced if rule is not None else "counted")
        operator = self.label_operator or (rule.operator if rule is not None else None)
        if threshold is not None:
            return Labelling(operator or "ge", threshold=threshold)
        if quantile is None:
            return None
        side = self.label_side or (rule.side if rule is not None else None)
        share = Decimal(str(quantile))
        return Labelling(
            operator or ("gt" if side == "above" else "ge"),
            # Of the digits as they were given: 1 - 0.7 in float64 is not 0.3.
            quantile=float(share if side == "above" else 1 - share),
            words=_share_words(share, side),
            forced_count=forced == "counted",
        )

    @property
    def has_labels(self) -> bool:
        """Labels or weights are asked for."""
        return self.labelling is not None or self.weight is not None

    def parameter(self, name: str) -> float:
        """Of the weight, given or by default."""
        given = getattr(self, name)
        found = _PARAMETERS[name].default if given is None else given
        assert found is not None
        return float(found)

    @property
    def flagged_columns(self) -> dict[str, str | None]:
        """Flag -> the column that it names, if it does: those with a number per step."""
        return {
            "--success-column": self.success_column,
            "--force-positive": self.force_positive,
            "--progress-column": self.progress_column,
        }

    def check_labels(self) -> None:
        """`UsageError` where these settings say too little, too much or two things."""
        self._check_choices()
        self._check_success()
        self._check_label()
        self._check_weight()

    def _check_choices(self) -> None:
        choices = {
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
        for name, allowed in choices.items():
            given = getattr(self, name)
            if given is not None and given not in allowed:
                raise UsageError(f"`{_flag(name)}` is `{given}`; it must be one of {', '.join(allowed)}")
        for name in ("label_column", "weight_column"):
            if not getattr(self, name):
                hint = "a variable in the command may not be set"
                raise UsageError(f"`{_flag(name)}` is an empty name", hint=hint)

    def _check_success(self) -> None:
        if self.success_column is None:
            self._refuse_alone(
                ("success_reward", "failure_cost", "success_at"),
                "needs `--success-column`, the flag of success",
            )
            return
        if self.success_reward == "sparse":
            if self.failure_cost is not None:
                raise UsageError(
                    "`--failure-cost` says nothing to `--success-reward sparse`: the last step gets 1 or 0",
                    hint="drop it, or pass `--success-reward recap` or `--success-reward steps`",
                )
        elif self.failure_cost is None:
            raise UsageError(
                f"`--success-reward {self.success_reward}` needs what a failure costs, in steps",
                hint="pass `--failure-cost C`; there is no usual value: LeRobot's own tool (PR 3764) has 900 on its "
                "command line and 50 in its config",
            )
        elif not (_is_number(self.failure_cost) and self.failure_cost >= 0):
            raise UsageError(f"`--failure-cost` is {self.failure_cost}; it must be finite and not negative")

    def _check_label(self) -> None:
        found = self.labelling
        if found is None:
            self._refuse_alone(
                ("label_side", "label_operator", "label_by", "force_positive", "label_forced", "label_type"),
                "needs labels",
                hint="pass `--label-quantile`, `--label-threshold` or `--label-rule`",
            )
            return
        if self.label_quantile is not None and self.label_threshold is not None:
            raise UsageError(
                "`--label-quantile` and `--label-threshold` give the threshold twice", hint="drop one of them"
            )
        if found.quantile is None:
            _check_number("label_threshold", found.threshold, "a finite number", found.threshold is not None)
            self._refuse_alone(
                ("label_side", "label_by", "label_forced"), "says nothing to a fixed threshold"
            )
            return
        quantile = self.label_quantile
        if quantile is not None and not (_is_number(quantile) and 0 < quantile < 1):
            raise UsageError(
                f"`--label-quantile` is {quantile}; it must lie between 0 and 1",
                hint="30 % is `--label-quantile 0.3`",
            )
        if self.label_side is None and (self.label_rule is None or LABEL_RULES[self.label_rule].side is None):
            percent = _percent(Decimal(str(quantile)))
            raise UsageError(
                f"`--label-quantile {quantile}` is the top {percent} % to some tools, and all above the "
                f"{_nth(percent)} percentile to others",
                hint="pass `--label-side top` (RLinf, kai0) or `--label-side above` (LeRobot PRs 3245 and 3764); or "
                "`--label-rule NAME` for all that a library does",
            )
        if self.label_forced is not None and self.force_positive is None:
            raise UsageError(
                "`--label-forced` says nothing without `--force-positive COLUMN`", hint="drop it"
            )

    def _check_weight(self) -> None:
        for name, parameter in _PARAMETERS.items():
            given = getattr(self, name)
            if given is None:
                continue
            if self.weight not in parameter.weights:
                whose = "` and `--weight ".join(parameter.weights)
                raise UsageError(f"`{_flag(name)}` is of `--weight {whose}`", hint=f"drop `{_flag(name)}`")
            _check_number(name, given, parameter.what, _is_number(given) and parameter.is_good(given))
        if self.weight in ("awr", "crr") and self.weight_max is None:
            raise UsageError(
                f"`--weight {self.weight}` needs the largest weight",
                hint="pass `--weight-max W`; 20 is d3rlpy's, 10 is OpenTau's",
            )
        if (self.weight == "rabc") != (self.progress_column is not None):
            raise UsageError(
                "`--weight rabc` needs `--progress-column`, and nothing else takes it",
                hint="pass both: `--weight rabc --progress-column COLUMN`",
            )

    def _refuse_alone(self, names: tuple[str, ...], why: str, hint: str | None = None) -> None:
        """Settings that are given and say nothing."""
        for name in names:
            if getattr(self, name) != DEFAULTS[name]:
                raise UsageError(f"`{_flag(name)}` {why}", hint=hint or f"drop `{_flag(name)}`")

    def given_labels(self) -> dict[str, Any]:
        """The fields that are not as they are where nothing is said."""
        return {name: getattr(self, name) for name in DEFAULTS if getattr(self, name) != DEFAULTS[name]}


def check_outcomes(settings: Any, usual_truncation: str) -> None:
    """What labels, weights and rewards out of success ask of other settings of a `Settings`, which stands above."""
    if settings.success_column is not None:
        given = {
            "--reward-column": "reward" in settings.columns,
            "--truncation": settings.truncation not in ("exact", usual_truncation),
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


def _writes_mc_returns(settings: Any) -> bool:
    others = ("lam_alpha", "lam_retain", "lam_column", "lam_value", "lam_value_alpha", "lam_value_retain")
    is_at_one = settings.lam == 1 and not any(getattr(settings, name) is not None for name in others)
    return settings.estimator == "mc" or (settings.estimator in ("gae", "td-lambda") and is_at_one)


def output_flag(settings: Any, name: str) -> str:
    """The flag that gives the column of that name another one; `settings`: a `Settings`."""
    what = next((what for what, column in settings.output_items.items() if column == name), "advantage")
    first = what.partition(" ")[0]  # of several streams each has its return
    return f"--{first}-column" if first in ("return", "label", "weight", "terminal") else "--advantage-column"


#: Of every field.
DEFAULTS: Mapping[str, Any] = {name: getattr(LabelSettings, name) for name in LabelSettings.__annotations__}


def _share_words(share: Decimal, side: str | None) -> str:
    percent = _percent(share)
    return f"above the {_nth(percent)} percentile" if side == "above" else f"top {percent} %"


def _percent(share: Decimal) -> str:
    return f"{(share * 100).normalize():f}"


def _nth(number: str) -> str:
    endings = {"1": "st", "2": "nd", "3": "rd"}
    is_teen = number[-2:] in ("11", "12", "13")
    return number + (endings.get(number[-1], "th") if number.isdigit() and not is_teen else "th")


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _is_number(given: object) -> bool:
    return isinstance(given, int | float) and not isinstance(given, bool) and math.isfinite(given)


def _check_number(name: str, given: object, what: str, is_good: bool) -> None:
    if not is_good or not _is_number(given):
        raise UsageError(f"`{_flag(name)}` is {given}; it must be {what}")
