"""What is computed (`Settings`) and how and where the run goes (`RunOptions`).

`Settings` is all that the numbers depend on: it is stored in the provenance of every file written,
and two runs with equal settings on equal input give equal output. Nothing in `RunOptions` changes
a number beyond rounding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from gaecli import decay_settings
from gaecli.choices import (
    Bootstrap,
    DoneAt,
    MaskedReward,
    MaskFill,
    MaskMode,
    NormalizeScope,
    NormFloor,
    OnNan,
    Precision,
    RewardAt,
    Truncation,
    WrittenFormat,
)
from gaecli.decay_settings import FAMILIES, OPTIONAL, says_nothing, without_other_ways
from gaecli.engine_kinds import ENGINES
from gaecli.errors import UsageError
from gaecli.estimator_kinds import CLIPS, ESTIMATOR_ROLES, ESTIMATORS, FEW, EstimatorKind, estimator_name
from gaecli.layout_kinds import LAYOUTS
from gaecli.names import LANGUAGE
from gaecli.presets import Preset, find_preset
from gaecli.presets.groups import score_rules
from gaecli.records import dataclass, shallow
from gaecli.setting_fields import (
    DEFAULTS,
    LABEL_DEFAULTS,
    ROLES,
    UNIT_SETTINGS,
    SettingFields,
    check_choice,
    check_choices,
    is_number,
    says,
)

if TYPE_CHECKING:
    from gaecli.label_settings import Labelling

_CHOICES: Mapping[str, tuple[str, ...]] = {
    "bootstrap": get_args(Bootstrap),
    "mask_fill": get_args(MaskFill),
    "masked_reward": get_args(MaskedReward),
    "normalize": get_args(NormalizeScope),
    "norm_floor": get_args(NormFloor),
    "precision": get_args(Precision),
    "on_nan": get_args(OnNan),
    "done_at": get_args(DoneAt),
    "reward_at": get_args(RewardAt),
    "mask_mode": get_args(MaskMode),
}
#: What presets alone decide along with a setting that an estimator may not look at.
_OF_PRESETS: Mapping[str, tuple[str, ...]] = {"recursion": ("turn_gamma",)}
_TRUNCATIONS = tuple(word for word in get_args(Truncation) if word != "ask")


@dataclass(frozen=True)
class Settings(SettingFields):
    """Everything that decides the numbers, checked.

    The defaults are those of the preset `exact`; `Settings.from_preset` takes those of another one.
    """

    @classmethod
    def from_preset(cls, name: str, **explicit: Any) -> Settings:
        """What the preset says, but for what is given here and not None: that wins."""
        preset = find_preset(name)
        given = {name: value for name, value in explicit.items() if value is not None}
        if not given.keys().isdisjoint(FEW):
            from gaecli.group_settings import plain_group_settings

            given = plain_group_settings(given)
        if given.get("names") == "lerobot":
            given = {"return_column": "mc_return", "terminal_column": "is_terminal", **given}
        kind = ESTIMATORS.get(estimator_name(given.get("estimator", "gae")))
        if kind is not None:
            _check_used(kind, given)
            if not given.keys().isdisjoint(UNIT_SETTINGS):
                from gaecli.unit_settings import check_given

                check_given(given, preset, kind)
        chosen = _preset_settings(preset, kind)
        without_other_ways(chosen, given)
        if given.get("rewards"):
            given["columns"] = {"reward": next(iter(given["rewards"])), **given.get("columns", {})}
        return cls(**{**chosen, **given, "preset": preset.name})

    @staticmethod
    def usual(preset: str, estimator: str) -> dict[str, Any]:
        """What holds under a preset where nothing else is said, as `to_dict` has it."""
        chosen = _preset_settings(find_preset(preset), ESTIMATORS[estimator])
        return {**DEFAULTS, **chosen, "preset": preset, "estimator": estimator}

    def __post_init__(self) -> None:
        object.__setattr__(self, "preset", find_preset(self.preset).name)
        object.__setattr__(self, "estimator", estimator_name(self.estimator))
        check_choice("estimator", self.estimator, tuple(ESTIMATORS))
        decay_settings.check(self)
        if self.is_over_units or says(self, UNIT_SETTINGS):
            from gaecli import unit_settings

            unit_settings.check(self)
        if self.stream != ():
            from gaecli import stream_settings

            object.__setattr__(self, "stream", stream_settings.parsed(self.stream))
            object.__setattr__(self, "columns", {**self.stream[0].columns, **self.columns})
            stream_settings.check(self)
        check_choices(self, _CHOICES)
        asks = ("ask",) if self.convention.truncation == "ask" else ()
        check_choice("truncation", self.truncation, (*_TRUNCATIONS, *asks))
        check_choice("layout", self.layout, ("auto", *LAYOUTS))
        self._check_n_steps()
        if self.reward_at == "arrival":
            from gaecli import arrival_settings

            arrival_settings.check(self)
        if self.kind.is_scored or self.convention.only_scores or says(self, FEW):
            from gaecli import group_settings

            group_settings.check(self)
        if says(self, CLIPS) or not self.columns.keys().isdisjoint(ESTIMATOR_ROLES):
            from gaecli import off_policy_settings

            off_policy_settings.check(self)
        if self.given_labels:
            from gaecli import label_settings

            label_settings.check(self)
        self._check_columns()
        self._check_normalization()
        self._forget_derived()

    def _forget_derived(self) -> None:
        """What was asked for before all fields were as they stay."""
        for name in vars(self).keys() - self.__dataclass_fields__.keys():
            del vars(self)[name]

    def __getstate__(self) -> dict[str, Any]:
        """The fields alone: what is derived of them is kept once it is asked for, and sent nowhere."""
        return shallow(self)

    def _check_columns(self) -> None:
        for role in self.columns:
            if role not in ROLES:
                raise UsageError(f"no column role `{role}`", hint=f"roles: {', '.join(ROLES)}")
        if self.columns.get("reward", "none") == self.columns.get("value", "none") != "none":
            raise UsageError(
                f"`{self.columns['reward']}` is named for rewards and for values",
                hint="a column is one of them; without values pass `--estimator mc`",
            )
        named = {"--advantage-column": self.advantage_column, "--return-column": self.return_column}
        for flag, name in {**named, **self.flagged_columns}.items():
            if name == "":
                raise UsageError(
                    f"`{flag}` is an empty name", hint="a variable in the command may not be set"
                )
        names = self.output_columns
        if "" in names or len(set(names)) != len(names):
            raise UsageError(f"the output columns need different names, not {', '.join(map(repr, names))}")

    def _check_normalization(self) -> None:
        if self.norm_ddof not in (0, 1):
            raise UsageError(f"`--norm-ddof` is {self.norm_ddof}; it must be 0 or 1")
        if not (is_number(self.norm_eps) and self.norm_eps >= 0):
            raise UsageError(f"`--norm-eps` is {self.norm_eps}; it must be finite and not negative")
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

    @cached_property
    def labelling(self) -> Labelling | None:
        """None where no labels are asked for."""
        if not self.given_labels:
            return None
        from gaecli.label_settings import labelling

        return labelling(self)

    @property
    def has_labels(self) -> bool:
        """Labels or weights are asked for."""
        return self.labelling is not None or self.weight is not None

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
    def overrides(self) -> dict[str, Any]:
        """The settings that the preset decides and that are not as it says."""
        usual = _preset_settings(self.convention, self.kind)
        return {name: getattr(self, name) for name in usual if getattr(self, name) != usual[name]}

    @cached_property
    def output_columns(self) -> tuple[str, ...]:
        return tuple(self.output_items.values())

    @cached_property
    def output_items(self) -> Mapping[str, str]:
        """What is written -> the name of its column, in the order of the columns."""
        name_of = {"advantage": self.advantage_column, "return": self.return_column}
        found: dict[str, str | None] = {output: name_of[output] for output in self.kind.outputs}
        if self.stream:
            if "advantage" in found:  # it alone is added up
                del found["return"]
            found |= {f"return {one.name}": f"{self.return_column}_{one.name}" for one in self.stream}
        found["raw"] = self.raw_column
        label = LANGUAGE if self.label_type == "language" else self.label_column
        found["label"] = None if self.labelling is None else label
        found["weight"] = None if self.weight is None else self.weight_column
        found["terminal"] = self.terminal_column
        return {what: name for what, name in found.items() if name is not None}

    def output_flag(self, name: str) -> str:
        """The flag that gives the column of that name another one."""
        what = next((what for what, column in self.output_items.items() if column == name), "advantage")
        first = what.partition(" ")[0]  # of several streams each has its return
        return (
            f"--{first}-column"
            if first in ("return", "label", "weight", "terminal")
            else "--advantage-column"
        )

    def to_dict(self) -> dict[str, Any]:
        """As `from_preset` takes them again: without what the estimator does not look at."""
        return dict(self._document)

    @cached_property
    def _document(self) -> Mapping[str, Any]:
        """Once for all files that it is stored in."""
        found = {**shallow(self), "columns": dict(self.columns), "rewards": dict(self.rewards)}
        by_column = [name for name in ("gamma", "lam") if found[f"{name}_column"] is not None]
        without_number = [name for name in ("n_steps", "token_column", *OPTIONAL) if found[name] is None]
        for name in (*self.kind.unused, *by_column, *without_number):
            found.pop(name, None)
        if self.stream:
            from gaecli.reward_streams import as_documents

            found["stream"] = as_documents(self.stream)
            theirs = self.stream[0].columns.items()
            found["columns"] = dict(item for item in self.columns.items() if item not in theirs)
        else:
            del found["stream"]
        if self.rewards:
            found["columns"].pop("reward", None)
        if self.reward_at == self.convention.reward_at:
            found.pop("reward_at", None)
        for name in UNIT_SETTINGS:
            if not self.is_over_units or found[name] is None:
                del found[name]
        for name in FEW:
            if not self.uses(name) or found[name] in (None, {}):
                del found[name]
        for name in ("group_column", "order_column"):
            if isinstance(found.get(name), tuple):
                found[name] = list(found[name])
        given = self.given_labels
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
    #: Of a cluster that runs already, for an engine that has one.
    ray_address: str | None = None
    output: Path | str | None = None
    #: The format of results, where it is neither that of their inputs nor promised by their names: a `WrittenFormat`.
    to: str | None = None
    sidecar: bool = False
    overwrite: bool = False
    dry_run: bool = False
    #: Compute and write again what is up to date.
    force: bool = False
    #: Keep in the summary what pictures are drawn from.
    gallery: bool = False

    def __post_init__(self) -> None:
        check_choice("engine", self.engine, tuple(ENGINES))
        if self.to is not None:
            check_choice("to", self.to, get_args(WrittenFormat))
        if self.ray_address is not None and self.engine != "ray":
            raise UsageError(
                "`--ray-address` says nothing without `--engine ray`", hint="pass both, or neither"
            )
        if self.jobs is not None and self.jobs < 1:
            raise UsageError(f"`--jobs` is {self.jobs}; it must be 1 at least")
        if not self.memory_bytes > 0:
            raise UsageError(f"`--memory` is {self.memory_bytes}; it is a number of bytes")


SETTING_NAMES = frozenset(DEFAULTS)
OPTION_NAMES = frozenset(f.name for f in fields(RunOptions))


def _preset_settings(preset: Preset, kind: EstimatorKind | None) -> dict[str, Any]:
    """What a preset decides for an estimator."""
    return dict(_of_tables(preset.name, None if kind is None else kind.name))


@cache
def _of_tables(preset_name: str, estimator: str | None) -> Mapping[str, Any]:
    preset, kind = find_preset(preset_name), None if estimator is None else ESTIMATORS[estimator]
    chosen = preset.settings()
    if kind is None:
        return chosen
    if "advantage" not in kind.outputs or kind.is_scored:
        chosen["normalize"] = "none"
    if "truncation" in kind.unused:
        chosen["truncation"] = "exact"
    if "reward_at" in kind.unused:
        chosen["reward_at"] = "action"
    for of in kind.unused:
        chosen.update(
            {name: None for name in (*FAMILIES.get(of, ()), *_OF_PRESETS.get(of, ())) if name in chosen}
        )
    chosen |= score_rules(preset.name, kind.name)
    if "pg_bar" in kind.takes:
        from gaecli.off_policy_settings import clip_rules

        chosen |= clip_rules(preset.name)
    return chosen


def _check_used(kind: EstimatorKind, given: Mapping[str, Any]) -> None:
    for of in kind.unused:
        for name in (of, *FAMILIES.get(of, ())):
            if name in given:
                raise says_nothing(name, kind)
