"""What is computed (`Settings`) and how and where the run goes (`RunOptions`).

`Settings` is all that the numbers depend on: it is stored in the provenance of every file written,
and two runs with equal settings on equal input give equal output. Nothing in `RunOptions` changes
a number beyond rounding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from gaecli.choices import (
    Bootstrap,
    DoneAt,
    MaskedReward,
    MaskFill,
    MaskMode,
    MeasuredOver,
    NormalizeScope,
    NormFloor,
    OnNan,
    OpenEnds,
    Precision,
    ScaleRewards,
    Singleton,
    Truncation,
    UnitIs,
    UnitReward,
    UnitValue,
    Unscored,
)
from gaecli.decay_settings import (
    FAMILIES,
    OPTIONAL,
    check_decays,
    flag_of,
    is_number,
    says_nothing,
    without_other_ways,
)
from gaecli.engine_kinds import ENGINES
from gaecli.errors import UsageError
from gaecli.estimator_kinds import ESTIMATOR_ROLES, ESTIMATORS, FEW, EstimatorKind, estimator_name
from gaecli.group_settings import (
    LABEL_FLAGS,
    check_group_settings,
    check_preset_has,
    names_of,
    plain_group_settings,
)
from gaecli.label_settings import DEFAULTS as LABEL_DEFAULTS
from gaecli.label_settings import LabelSettings, check_outcomes
from gaecli.layout_kinds import LAYOUTS
from gaecli.off_policy_settings import check_clips, check_own_roles, clip_rules
from gaecli.presets import Preset, find_preset
from gaecli.presets.groups import SCORE_RULES, score_rules
from gaecli.records import dataclass
from gaecli.unit_settings import UNIT_SETTINGS, check_given, check_units, is_over_units

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


@dataclass(frozen=True)
class Settings(LabelSettings):
    """Everything that decides the numbers. Field names are those of the flags and of `--json`.

    The defaults are those of the preset `exact`; `Settings.from_preset` takes those of another one.
    """

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
    #: `auto`, or one of `gaecli.layout_kinds`.
    layout: str = "auto"
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
    #: A trajectory without any reward is an error, or is compared with none and gets 0.
    unscored: Unscored = "error"
    #: Rows with equal values are samples of one rollout, and count once.
    sample_of: str | None = None
    #: Equal values are one batch; None: all inputs are.
    batch_column: str | None = None
    state_column: str | None = None
    step_weight: float = 1.0
    baseline_column: str | None = None
    length_column: str | None = None

    join: bool | None = None
    precision: Precision = "double"
    on_nan: OnNan = "error"

    @classmethod
    def from_preset(cls, name: str, **explicit: Any) -> Settings:
        """What the preset says, but for what is given here and not None: that wins."""
        preset = find_preset(name)
        given = plain_group_settings({name: value for name, value in explicit.items() if value is not None})
        if given.get("names") == "lerobot":
            given = {"return_column": "mc_return", "terminal_column": "is_terminal", **given}
        kind = ESTIMATORS.get(estimator_name(given.get("estimator", "gae")))
        if kind is not None:
            _check_used(kind, given)
            check_given(given, given.get("columns", {}), preset, kind)
        chosen = _preset_settings(preset, kind)
        without_other_ways(chosen, given)
        if given.get("rewards"):
            given["columns"] = {"reward": next(iter(given["rewards"])), **given.get("columns", {})}
        return cls(**{**chosen, **given, "preset": preset.name})

    @staticmethod
    def usual(preset: str, estimator: str) -> dict[str, Any]:
        """What holds under a preset where nothing else is said, as `to_dict` has it."""
        defaults = {field.name: field.default for field in fields(Settings)}
        chosen = _preset_settings(find_preset(preset), ESTIMATORS[estimator])
        return {**defaults, "columns": {}, "rewards": {}, **chosen, "preset": preset, "estimator": estimator}

    def __post_init__(self) -> None:
        object.__setattr__(self, "preset", find_preset(self.preset).name)
        object.__setattr__(self, "estimator", estimator_name(self.estimator))
        _check_choice("estimator", self.estimator, tuple(ESTIMATORS))
        check_decays(self)
        check_units(self)
        if self.stream:
            from gaecli.reward_streams import check_streams, parsed

            object.__setattr__(self, "stream", parsed(self.stream))
            object.__setattr__(self, "columns", {**self.stream[0].columns, **self.columns})
            check_streams(self)
        choices: dict[str, Any] = {
            "bootstrap": Bootstrap,
            "truncation": Truncation,
            "mask_fill": MaskFill,
            "masked_reward": MaskedReward,
            "normalize": NormalizeScope,
            "norm_floor": NormFloor,
            "precision": Precision,
            "on_nan": OnNan,
        }
        for name, literal in choices.items():
            by_preset = "ask" if name == "truncation" and self.convention.truncation != "ask" else None
            choices_there = tuple(choice for choice in get_args(literal) if choice != by_preset)
            _check_choice(name, getattr(self, name), choices_there)
        _check_choice("layout", self.layout, ("auto", *LAYOUTS))
        if self.done_at is not None:
            _check_choice("done_at", self.done_at, get_args(DoneAt))
        if self.mask_mode is not None:
            _check_choice("mask_mode", self.mask_mode, get_args(MaskMode))
        self._check_n_steps()
        check_preset_has(self, SCORE_RULES)
        check_group_settings(self)
        check_clips(self.rho_bar, self.c_bar, self.pg_bar)
        check_own_roles(self.kind, self.columns)
        self.check_labels()
        check_outcomes(self, _preset_settings(self.convention, self.kind)["truncation"])
        if self.norm_ddof not in (0, 1):
            raise UsageError(f"`--norm-ddof` is {self.norm_ddof}; it must be 0 or 1")
        if not (is_number(self.norm_eps) and self.norm_eps >= 0):
            raise UsageError(f"`--norm-eps` is {self.norm_eps}; it must be finite and not negative")
        for role in self.columns:
            if role not in ROLES:
                raise UsageError(f"no column role `{role}`", hint=f"roles: {', '.join(ROLES)}")
        for flag, name in (("advantage", self.advantage_column), ("return", self.return_column)):
            if not name:
                raise UsageError(
                    f"`--{flag}-column` is an empty name", hint="a variable in the command may not be set"
                )
        names = self.output_columns
        if "" in names or len(set(names)) != len(names):
            raise UsageError(f"the output columns need different names, not {', '.join(map(repr, names))}")
        if self.normalizes and "advantage" not in self.kind.outputs:
            raise UsageError(
                f"advantages are normalised, and `--estimator {self.estimator}` writes none",
                hint="drop `--normalize` and `--normalize-by`",
            )
        if self.normalize_by is not None and self.normalize not in ("none", "all"):
            raise UsageError(
                f"`--normalize {self.normalize}` and `--normalize-by` ask for two different groupings",
                hint="drop one of them",
            )

    def _check_n_steps(self) -> None:
        given: object = self.n_steps
        if given is None:
            if self.uses("n_steps"):
                raise UsageError(
                    f"`--estimator {self.estimator}` needs the number of steps",
                    hint="pass `--n-steps N`; 10 and 50 are usual for robots",
                )
        elif isinstance(given, bool) or not isinstance(given, int) or given < 1:
            raise UsageError(f"`--n-steps` is {given}; it must be a whole number, 1 at least")

    @property
    def group_columns(self) -> tuple[str, ...]:
        return names_of(self.group_column)

    @property
    def open_ends(self) -> OpenEnds:
        """What lies beyond a trajectory that merely stops: nothing, where its success is known."""
        return "terminal" if self.success_column is not None else self.convention.open_ends

    @property
    def end_rule(self) -> Truncation:
        """What a truncated end means, by `truncation` or because its success is known."""
        return "zero" if self.success_column is not None else self.truncation

    @property
    def sample_columns(self) -> tuple[str, ...]:
        """Rows with equal values in all of them count once; none: every row does."""
        return () if self.sample_of is None else (*self.group_columns, self.sample_of)

    @property
    def label_flags(self) -> dict[str, str]:
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
    def extra_columns(self) -> tuple[str, ...]:
        """Columns of numbers that are read beside those of the roles."""
        beside = [*self.kind.extras(self), *self.decay_columns, self.force_positive, self.progress_column]
        return tuple(dict.fromkeys([*self.rewards, *filter(None, beside)]))

    @property
    def of_streams(self) -> tuple[Settings, ...]:
        """The settings of each kind of reward, of which none has several."""
        return tuple(
            self.replace(
                stream=(),
                columns={**self.columns, **one.columns},
                gamma=self.gamma if one.gamma is None else one.gamma,
                lam=self.lam if one.lam is None else one.lam,
            )
            for one in self.stream
        )

    @property
    def of_first_stream(self) -> Settings:
        """As if the first kind of reward were the only one; these, where there is one."""
        return self.of_streams[0] if self.stream else self

    @property
    def stream_columns(self) -> tuple[str, ...]:
        found = [name for one in self.stream for name in one.columns.values() if name != "none"]
        return tuple(dict.fromkeys(found))

    @property
    def decay_columns(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(filter(None, [self.gamma_column, self.lam_column])))

    @property
    def is_over_units(self) -> bool:
        """A step of the estimator is a unit of several rows."""
        return is_over_units(self.columns, self.convention, self.kind)

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
    def overrides(self) -> dict[str, Any]:
        """The settings that the preset decides and that are not as it says."""
        usual = _preset_settings(self.convention, self.kind)
        return {name: getattr(self, name) for name in usual if getattr(self, name) != usual[name]}

    @property
    def normalizes(self) -> bool:
        return self.normalize != "none" or self.normalize_by is not None or self.kind.is_grouped

    @property
    def raw_column(self) -> str | None:
        """Name of the column that keeps the advantage before normalisation, if one is written."""
        keeps = self.keep_raw and self.normalizes
        return f"{self.advantage_column}_raw" if keeps else None

    @property
    def output_columns(self) -> tuple[str, ...]:
        return tuple(self.output_items.values())

    @property
    def output_items(self) -> dict[str, str]:
        """What is written -> the name of its column, in the order of the columns."""
        name_of = {"advantage": self.advantage_column, "return": self.return_column}
        found: dict[str, str | None] = {output: name_of[output] for output in self.kind.outputs}
        if self.stream:
            del found["return"]
            found |= {f"return {one.name}": f"{self.return_column}_{one.name}" for one in self.stream}
        found["raw"] = self.raw_column
        found["label"] = None if self.labelling is None else self.label_column
        found["weight"] = None if self.weight is None else self.weight_column
        found["terminal"] = self.terminal_column
        return {what: name for what, name in found.items() if name is not None}

    def to_dict(self) -> dict[str, Any]:
        """Settings of one estimator alone are left out of the documents of the others."""
        found = {**asdict(self), "columns": dict(self.columns), "rewards": dict(self.rewards)}
        for name in ("n_steps", *OPTIONAL):
            if found[name] is None:
                del found[name]
        if self.stream:
            from gaecli.reward_streams import as_documents

            found["stream"] = as_documents(self.stream)
            theirs = self.stream[0].columns.items()
            found["columns"] = dict(item for item in self.columns.items() if item not in theirs)
        else:
            del found["stream"]
        if self.rewards:
            found["columns"].pop("reward", None)
        for name in UNIT_SETTINGS:
            if not self.is_over_units or found[name] is None:
                del found[name]
        for name in FEW:
            if not self.uses(name) or found[name] in (None, {}):
                del found[name]
        if isinstance(self.group_column, tuple):
            found["group_column"] = list(self.group_column)
        given = self.given_labels()
        return {name: value for name, value in found.items() if name not in LABEL_DEFAULTS or name in given}

    def replace(self, **changes: Any) -> Settings:
        return replace(self, **changes)


@dataclass(frozen=True)
class RunOptions:
    """How and where a run goes; none of it changes a number beyond rounding."""

    device: str = "auto"
    memory_bytes: int = 1 << 30
    jobs: int | None = None
    #: One of `gaecli.engine_kinds.ENGINES`.
    engine: str = "local"
    output: Path | str | None = None
    sidecar: bool = False
    overwrite: bool = False
    dry_run: bool = False
    #: Compute and write again what is up to date.
    force: bool = False
    #: Keep in the summary what pictures are drawn from.
    gallery: bool = False

    def __post_init__(self) -> None:
        _check_choice("engine", self.engine, tuple(ENGINES))
        if self.jobs is not None and self.jobs < 1:
            raise UsageError(f"`--jobs` is {self.jobs}; it must be 1 at least")
        if not self.memory_bytes > 0:
            raise UsageError(f"`--memory` is {self.memory_bytes}; it is a number of bytes")


SETTING_NAMES = frozenset(f.name for f in fields(Settings))
OPTION_NAMES = frozenset(f.name for f in fields(RunOptions))


def _preset_settings(preset: Preset, kind: EstimatorKind | None) -> dict[str, Any]:
    """What a preset decides for an estimator."""
    chosen = preset.settings()
    if kind is None:
        return chosen
    if "advantage" not in kind.outputs or kind.is_scored:
        chosen["normalize"] = "none"
    if "truncation" in kind.unused:
        chosen["truncation"] = "exact"
    return {**chosen, **score_rules(preset.name, kind.name), **clip_rules(preset.name, kind)}


def _check_used(kind: EstimatorKind, given: Mapping[str, Any]) -> None:
    for of in kind.unused:
        for name in (of, *FAMILIES.get(of, ())):
            if name in given:
                raise says_nothing(name, kind)


def _check_choice(name: str, given: object, choices: tuple[str, ...]) -> None:
    if given not in choices:
        raise UsageError(f"`{flag_of(name)}` is `{given}`; it must be one of {', '.join(choices)}")
