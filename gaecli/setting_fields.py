"""The settings as data: every field, and what fields say without a check. The families of settings stand above:
each has a module with its checks, and with what else it says, `gaecli.settings` puts all together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import MISSING, field, fields
from functools import cache, cached_property
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from gaecli.choices import (
    Bootstrap,
    ColumnNames,
    DoneAt,
    LabelForced,
    LabelOperator,
    LabelSide,
    LabelType,
    MaskedReward,
    MaskFill,
    MaskMode,
    MeasuredOver,
    NormalizeScope,
    NormFloor,
    OnNan,
    OpenEnds,
    Precision,
    RewardAt,
    ScaleRewards,
    Singleton,
    SuccessAt,
    SuccessReward,
    Truncation,
    UnitIs,
    UnitReward,
    UnitValue,
    Unscored,
    Weight,
)
from gaecli.errors import not_one_of
from gaecli.estimator_kinds import ESTIMATOR_ROLES, ESTIMATORS, EstimatorKind
from gaecli.presets import Preset, find_preset
from gaecli.records import dataclass, shallow

if TYPE_CHECKING:
    from gaecli.reward_streams import RewardStream

#: The roles a column can play, in the order in which messages list them.
ROLES = (
    "reward",
    "value",
    "next_value",
    "bootstrap_value",
    "done",
    "terminated",
    "truncated",
    "not_done",
    "not_truncated",
    "final_done",
    "episode",
    "env",
    "step",
    "mask",
    "unit",
    *ESTIMATOR_ROLES,
)

#: Left out of documents where nothing is computed over units.
UNIT_SETTINGS = ("unit_is", "unit_reward", "unit_value", "turn_gamma")

#: Settings that name columns whose equal values belong together, with their flags.
LABEL_FLAGS = {
    "group_column": "--group-column",
    "normalize_by": "--normalize-by",
    "batch_column": "--batch-column",
    "state_column": "--state-column",
    "sample_of": "--sample-of",
    "order_column": "--order-column",
    "label_by": "--label-by",
}


@dataclass(frozen=True)
class LabelFields:
    """Of rewards out of success, labels and weights; none of them says anything unless it is given."""

    #: The column that says whether an episode succeeded: it stands in place of the rewards.
    success_column: str | None = None
    success_reward: SuccessReward = "recap"
    #: C, what a failure costs. Of `recap` and `steps`, which have no default for it.
    failure_cost: float | None = None
    success_at: SuccessAt | None = None

    #: One of `LabelRuleName`.
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


#: Of every one of them.
LABEL_DEFAULTS: Mapping[str, Any] = {name: getattr(LabelFields, name) for name in LabelFields.__annotations__}


@dataclass(frozen=True)
class SettingFields(LabelFields):
    """Field names are those of the flags and of `--json`; the order is that of documents."""

    gamma: float = 0.99
    lam: float = 0.95
    #: λ of a trajectory of n steps is 1 - 1 / max(lam_alpha · n, 1); `lam` is then not used.
    lam_alpha: float | None = None
    #: Or it is q ** (1 / (n - 1)), so that q is left of the last step's reward at the first one.
    lam_retain: float | None = None
    #: λ of the returns, where it is not that of the advantages; in the same three ways.
    lam_value: float | None = None
    lam_value_alpha: float | None = None
    lam_value_retain: float | None = None
    #: Columns with γ and λ of each step.
    gamma_column: str | None = None
    lam_column: str | None = None
    #: Where a step is a unit of rows (the role `unit`): what the column holds, None where that is plain; what
    #: becomes of rewards and values of its rows.
    unit_is: UnitIs | None = None
    unit_reward: UnitReward = "sum"
    unit_value: UnitValue = "first"
    #: Several kinds of reward, whose columns take the place of those of reward and value.
    stream: tuple[RewardStream, ...] = ()
    #: γ over units; γ is then that within each of them, in a second pass.
    turn_gamma: float | None = None
    preset: str = "exact"
    #: One of `gaecli.estimator_kinds.ESTIMATORS`.
    estimator: str = "gae"
    #: Rewards of an n-step return. Of `n-step` alone, which has no default for it.
    n_steps: int | None = None
    #: Of `vtrace`: what ρ is clipped to in TD errors, in traces, and in A. None: 1; of the last, as of the first.
    rho_bar: float | None = None
    c_bar: float | None = None
    pg_bar: float | None = None
    truncation: Truncation = "exact"
    bootstrap: Bootstrap = "zero"
    done_at: DoneAt | None = None
    reward_at: RewardAt = "action"
    #: `auto`, or one of `gaecli.layout_kinds`.
    layout: str = "auto"
    #: The list with an item for each token of a response whose reward is one number of the row.
    token_column: str | None = None
    mask_mode: MaskMode | None = None
    mask_fill: MaskFill = "null"
    masked_reward: MaskedReward = "drop"

    #: Role -> column name, for the roles that the user named; the others resolve by alias.
    columns: Mapping[str, str] = field(default_factory=dict)
    advantage_column: str = "advantage"
    return_column: str = "return"

    normalize: NormalizeScope = "none"
    normalize_by: str | None = None
    norm_ddof: int = 1
    norm_eps: float = 1e-8
    norm_floor: NormFloor = "add"
    keep_raw: bool = False
    #: What enters mean and standard deviation once, of estimators that score trajectories. None: as is usual for it.
    norm_over: MeasuredOver | None = None

    # Of estimators that score trajectories and compare them (`gaecli.estimators.baselines`).
    #: The column, or columns, whose equal values are a group.
    group_column: str | tuple[str, ...] | None = None
    #: Rule for the standard deviation of groups, where that of a normalisation after it is another. None: the same.
    group_ddof: int | None = None
    group_eps: float | None = None
    group_floor: NormFloor | None = None
    #: What the only trajectory of a group gets.
    singleton: Singleton = "zero"
    #: What centred scores are divided by. None: nothing, or what is usual for the estimator.
    scale_rewards: ScaleRewards | None = None
    #: Column -> weight: the score is their weighted sum. Empty: that of the one reward column.
    rewards: Mapping[str, float] = field(default_factory=dict)
    #: A trajectory without any reward is an error, is compared with none and gets 0, or counts as one with score 0.
    unscored: Unscored = "error"
    #: Rows with equal values are samples of one rollout, and count once.
    sample_of: str | None = None
    #: Equal values are one batch; None: all inputs are.
    batch_column: str | None = None
    state_column: str | None = None
    step_weight: float = 1.0
    baseline_column: str | None = None
    length_column: str | None = None
    #: The column, or columns, of numbers by which the trajectories of a group follow one another.
    order_column: str | tuple[str, ...] | None = None
    #: What stays of a running mean when a score comes in.
    ema_decay: float = 0.95

    join: bool | None = None
    precision: Precision = "double"
    on_nan: OnNan = "error"

    @property
    def kind(self) -> EstimatorKind:
        """The row of the table of estimators."""
        return ESTIMATORS[self.estimator]

    def uses(self, name: str) -> bool:
        """Whether a setting, or a rule of the preset, says anything to the estimator."""
        return self.kind.uses(name)

    @property
    def convention(self) -> Preset:
        """The row of the table: what no setting can change, such as the recursion."""
        return find_preset(self.preset)

    @property
    def group_columns(self) -> tuple[str, ...]:
        return names_of(self.group_column)

    @property
    def order_columns(self) -> tuple[str, ...]:
        return names_of(self.order_column)

    @property
    def sample_columns(self) -> tuple[str, ...]:
        """Rows with equal values in all of them count once; none: every row does."""
        return () if self.sample_of is None else (*self.group_columns, self.sample_of)

    @cached_property
    def label_flags(self) -> Mapping[str, str]:
        """Columns whose equal values belong together, each with the flag that names it."""
        return {
            column: flag for name, flag in LABEL_FLAGS.items() for column in names_of(getattr(self, name))
        }

    @property
    def label_columns(self) -> tuple[str, ...]:
        return tuple(self.label_flags)

    @property
    def measured_over(self) -> MeasuredOver:
        return self.norm_over or self.kind.measured_over

    @property
    def open_ends(self) -> OpenEnds:
        """What lies beyond a trajectory that merely stops: nothing, where its success is known."""
        return "terminal" if self.success_column is not None else self.convention.open_ends

    @property
    def end_rule(self) -> Truncation:
        """What a truncated end means, by `truncation` or because its success is known."""
        return "zero" if self.success_column is not None else self.truncation

    @property
    def arrives(self) -> bool:
        """The reward of a step stands in the row after it."""
        return self.reward_at == "arrival" and self.uses("reward_at")

    @property
    def resets_itself(self) -> bool:
        """That is so at the last step of a trajectory as well: the row after it begins another one.

        The flags that came with such a reward begin that trajectory, too.
        """
        return self.arrives and (self.done_at or self.convention.done_at) == "start"

    @property
    def normalizes(self) -> bool:
        return self.normalize != "none" or self.normalize_by is not None or self.kind.is_grouped

    @property
    def raw_column(self) -> str | None:
        """Name of the column that keeps the advantage before normalisation, if one is written."""
        keeps = self.keep_raw and self.normalizes
        return f"{self.advantage_column}_raw" if keeps else None

    @property
    def decay_columns(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(filter(None, [self.gamma_column, self.lam_column])))

    @property
    def is_over_units(self) -> bool:
        """A step of the estimator is a unit of several rows."""
        return are_units(self.columns, self.convention, self.kind)

    @property
    def given_labels(self) -> dict[str, Any]:
        """The fields of labels that are not as they are where nothing is said."""
        if not says(self, _LABEL_NAMES):
            return {}
        return {
            name: getattr(self, name)
            for name, usual in LABEL_DEFAULTS.items()
            if getattr(self, name) != usual
        }

    @property
    def flagged_columns(self) -> dict[str, str | None]:
        """Flag -> the column that it names, if it does: those with a number per step."""
        return {
            "--gamma-column": self.gamma_column,
            "--lam-column": self.lam_column,
            "--baseline-column": self.baseline_column,
            "--length-column": self.length_column,
            "--success-column": self.success_column,
            "--force-positive": self.force_positive,
            "--progress-column": self.progress_column,
        }


#: Of every field: what it is where nothing is said.
DEFAULTS: Mapping[str, Any] = {
    one.name: one.default if one.default_factory is MISSING else one.default_factory()
    for one in fields(SettingFields)
}


_LABEL_NAMES = tuple(LABEL_DEFAULTS)


@cache
def _usual(names: tuple[str, ...]) -> tuple[Callable[[Any], Any], tuple[Any, ...]]:
    """What gets these fields of settings, and what they are where nothing is said."""
    return attrgetter(*names), tuple(DEFAULTS[name] for name in names)


def says(settings: SettingFields, names: tuple[str, ...]) -> bool:
    """One of these, two at least, is not as it is where nothing is said."""
    fields_of, usual = _usual(names)
    found: bool = fields_of(settings) != usual
    return found


def said(settings: SettingFields, left_out: Collection[str]) -> str:
    """The fields that are not as they are where nothing is said, but for some, as a text."""
    items = ((name, value) for name, value in shallow(settings).items() if value != DEFAULTS[name])
    return repr([item for item in items if item[0] not in left_out])


def names_of(given: str | tuple[str, ...] | None) -> tuple[str, ...]:
    if given is None:
        return ()
    return (given,) if isinstance(given, str) else tuple(given)


def are_units(columns: Mapping[str, str], preset: Preset, kind: EstimatorKind) -> bool:
    """A column of units is named, or the preset has one."""
    return columns.get("unit", "none") != "none" or (preset.over_units and kind.has_units)


def setting_flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def check_choices(settings: SettingFields, choices: Mapping[str, tuple[str, ...]]) -> None:
    """Each of these settings is one of its words, or as it is where nothing is said."""
    if not says(settings, tuple(choices)):
        return
    for name, words in choices.items():
        given = getattr(settings, name)
        if given != DEFAULTS[name]:
            check_choice(name, given, words)


def check_choice(name: str, given: object, words: tuple[str, ...]) -> None:
    if given not in words:
        raise not_one_of(setting_flag(name), given, words)


def is_number(given: object) -> bool:
    return isinstance(given, int | float) and math.isfinite(given)


def is_finite(given: object) -> bool:
    """A number, and not a flag."""
    return is_number(given) and not isinstance(given, bool)
