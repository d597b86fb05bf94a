"""The keyword arguments of `gaecli.compute` and its kin: their types, and how they become settings.

The names are those of `Settings` and `RunOptions`, and `<role>_column` for the column of every role. None says that
one is not given.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

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
from gaecli.errors import UsageError
from gaecli.reward_streams import RewardStream
from gaecli.setting_fields import ROLES
from gaecli.settings import OPTION_NAMES, SETTING_NAMES, RunOptions, Settings

#: One kind of reward: as `--stream` takes it, or a mapping of its fields.
Stream = str | Mapping[str, Any] | RewardStream


class ColumnKeywords(TypedDict, total=False):
    """Which column plays which role."""

    reward_column: str | None
    value_column: str | None
    next_value_column: str | None
    bootstrap_value_column: str | None
    done_column: str | None
    terminated_column: str | None
    truncated_column: str | None
    not_done_column: str | None
    not_truncated_column: str | None
    final_done_column: str | None
    episode_column: str | None
    env_column: str | None
    step_column: str | None
    mask_column: str | None
    unit: str | None
    log_prob_column: str | None
    behaviour_log_prob_column: str | None
    ratio_column: str | None
    prob_column: str | None
    q_column: str | None


class CommonKeywords(ColumnKeywords, total=False):
    """Of every function; the settings are described at the fields of `gaecli.Settings`."""

    memory_bytes: int | None
    jobs: int | None

    lam_alpha: float | None
    lam_retain: float | None
    lam_value: float | None
    lam_value_alpha: float | None
    lam_value_retain: float | None
    gamma_column: str | None
    lam_column: str | None
    unit_is: UnitIs | None
    unit_reward: UnitReward | None
    unit_value: UnitValue | None
    stream: Stream | Sequence[Stream] | None
    turn_gamma: float | None
    rho_bar: float | None
    c_bar: float | None
    pg_bar: float | None
    truncation: Truncation | None
    bootstrap: Bootstrap | None
    done_at: DoneAt | None
    reward_at: RewardAt | None
    layout: str | None
    token_column: str | None
    mask_mode: MaskMode | None
    mask_fill: MaskFill | None
    masked_reward: MaskedReward | None
    advantage_column: str | None
    return_column: str | None

    normalize: NormalizeScope | None
    normalize_by: str | None
    norm_ddof: int | None
    norm_eps: float | None
    norm_floor: NormFloor | None
    norm_over: MeasuredOver | None
    keep_raw: bool | None

    group_column: str | Sequence[str] | None
    group_ddof: int | None
    group_eps: float | None
    group_floor: NormFloor | None
    singleton: Singleton | None
    scale_rewards: ScaleRewards | None
    reward: str | Sequence[str] | Mapping[str, float] | None
    rewards: str | Sequence[str] | Mapping[str, float] | None
    unscored: Unscored | None
    sample_of: str | None
    batch_column: str | None
    state_column: str | None
    step_weight: float | None
    baseline_column: str | None
    length_column: str | None
    order_column: str | Sequence[str] | None
    ema_decay: float | None

    success_column: str | None
    success_reward: SuccessReward | None
    failure_cost: float | None
    success_at: SuccessAt | None
    label_rule: str | None
    label_quantile: float | None
    label_side: LabelSide | None
    label_threshold: float | None
    label_operator: LabelOperator | None
    label_by: str | None
    force_positive: str | None
    label_forced: LabelForced | None
    label_column: str | None
    label_type: LabelType | None
    weight: Weight | None
    weight_column: str | None
    weight_beta: float | None
    weight_max: float | None
    expectile: float | None
    progress_column: str | None
    progress_chunk: int | None
    progress_kappa: float | None
    names: ColumnNames | None
    terminal_column: str | None

    join: bool | None
    precision: Precision | None
    on_nan: OnNan | None


class PresetKeywords(CommonKeywords, total=False):
    """Of functions that work under one preset with one γ and λ."""

    preset: str | None
    estimator: str | None
    gamma: float | None
    lam: float | None
    n_steps: int | None


class ReadKeywords(PresetKeywords, total=False):
    """`columns` has the columns by their role, which is their keyword without `_column`."""

    columns: Mapping[str, str] | None


class DiffKeywords(CommonKeywords, total=False):
    """Of `gaecli.diff`, which takes two presets or two estimators as well."""

    gamma: float | None
    lam: float | None
    n_steps: int | None


class SweepKeywords(CommonKeywords, total=False):
    """Of `gaecli.sweep`, which has a sequence of each of the others."""

    columns: Mapping[str, str] | None
    device: str
    overwrite: bool


class ComputeKeywords(ReadKeywords, total=False):
    """Of `gaecli.compute`."""

    device: str
    engine: str
    ray_address: str | None
    to: str | None
    sidecar: bool
    overwrite: bool
    dry_run: bool
    force: bool
    gallery: bool


class StripKeywords(TypedDict, total=False):
    """Of `gaecli.strip`."""

    dry_run: bool
    overwrite: bool
    join: bool | None


#: Options of a run that all functions take.
COMMON_OPTIONS = frozenset({"memory_bytes", "jobs"})


def role_keyword(role: str) -> str:
    return "unit" if role == "unit" else f"{role}_column"


def settings_and_options(
    given: Mapping[str, Any], *, options: frozenset[str] = COMMON_OPTIONS, beside: Sequence[str] = ()
) -> tuple[Settings, RunOptions]:
    """Keyword arguments as `Settings` and `RunOptions`; `reward_column=` and the like name columns.

    Args:
        options: the fields of `RunOptions` that the function takes.
        beside: estimators to which the same is said; each takes what says something to it.

    Raises:
        UsageError: of a name that is none, with the nearest one that is.
    """
    said = dict(given)
    if "reward" in said and "rewards" not in said:  # the flag is given once for each
        said["rewards"] = said.pop("reward")
    columns = dict(said.pop("columns", None) or {})
    for role in ROLES:
        name = said.pop(role_keyword(role), None)
        if name is not None:
            columns[role] = name
    unknown = sorted(said.keys() - SETTING_NAMES - options)
    if unknown:
        raise _unknown(unknown[0], options)
    settings = {name: value for name, value in said.items() if name in SETTING_NAMES}
    run = {name: said[name] for name in said.keys() & options if said[name] is not None}
    preset = settings.pop("preset", None) or "exact"
    settings["columns"] = columns
    if len(beside) > 1:
        from gaecli.several_estimators import said_to

        settings = said_to(settings["estimator"], settings, beside)
    return Settings.from_preset(preset, **settings), RunOptions(**run)


def _unknown(name: str, options: frozenset[str]) -> UsageError:
    if name in OPTION_NAMES:
        return UsageError(f"`{name}` says nothing here", hint="leave it out; `gaecli.compute` takes it")
    known = sorted({*SETTING_NAMES, *options, *map(role_keyword, ROLES)} - {"columns"})
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"`{near[0]}` is one" if near else f"settings: {', '.join(known)}"
    return UsageError(f"no setting `{name}`", hint=hint)
