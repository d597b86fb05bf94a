"""Which rules of group baselines a column may follow, and which columns may tell groups and rewards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from typing import Any

from gaecli.errors import GaeError, UsageError
from gaecli.estimator_kinds import ESTIMATORS
from gaecli.formats.base import RolloutFile
from gaecli.formats.stored import own_columns
from gaecli.missing_columns import not_found
from gaecli.names import ADVANTAGE_NAMES, GROUP_NAMES, RETURN_NAMES
from gaecli.presets.groups import group_presets
from gaecli.records import dataclass
from gaecli.setting_fields import names_of
from gaecli.settings import Settings
from gaecli.studies.asked import GroupColumns, Only
from gaecli.studies.reading import file_settings

#: Columns of numbers that are no rewards, whatever the file is.
_NO_REWARDS = (*ADVANTAGE_NAMES, *RETURN_NAMES, *GROUP_NAMES, "step", "index", "idx", "id", "epoch", "rank")
#: Names that say so less surely: a column counts if it explains another.
_MORE_NAMES = (
    *("task_id", "instance_id", "dataset_index", "query", "instruction", "inputs", "task"),
    *("prompt_token_ids", "prompt_ids"),
)
_TRAINING_STEPS = ("step", "global_step", "training_step", "train_step")
#: More columns than this are not tried.
_MOST_COLUMNS = 12
_MOST_OTHERS = 6


@dataclass(frozen=True)
class Rule:
    """Presets and an estimator that say the same. `settings` are those of the first of `presets`."""

    presets: tuple[str, ...]
    settings: Settings
    flags: Mapping[str, Any] = field(default_factory=dict)
    #: The weights of its rewards were solved for.
    has_fitted_weights: bool = False


def rules(base: Settings, only: Only, estimator: str | None, *, has_steps: bool) -> Iterator[Rule]:
    """Every estimator of scores under the rules of every library, those that say the same as one.

    Without steps nothing has a length.
    """
    for kind in ESTIMATORS.values():
        if not kind.is_scored or "advantage" not in kind.outputs or estimator not in (None, kind.name):
            continue
        has_lengths = has_steps or "length_column" in only.score_columns
        if "length_column" in kind.takes and not has_lengths:
            continue
        found: dict[str, list[str]] = {}
        made: dict[str, Settings] = {}
        for preset in [only.preset] if only.preset is not None else [*group_presets(kind.name), "exact"]:
            settings = settings_with(base, preset, kind.name, **only.says_to(kind.name))
            if settings is None:
                continue
            key = repr(sorted(decisive(settings).items(), key=lambda item: item[0]))
            found.setdefault(key, []).append(preset)
            made.setdefault(key, settings)
        for key, presets in found.items():
            yield Rule(tuple(presets), made[key])


def settings_with(base: Settings, preset: str, estimator: str, **more: Any) -> Settings | None:
    """How the file is to be read and its groups told, under the rules of a preset; None if it asks for more."""
    takes = ESTIMATORS[estimator].takes
    given = {
        "group_column": base.group_column if "group_column" in takes else None,
        "rewards": base.rewards if "rewards" in takes else None,
    }
    try:
        return Settings.from_preset(preset, estimator=estimator, **{**given, **file_settings(base), **more})
    except UsageError:
        return None


def with_rewards(settings: Settings, rewards: Mapping[str, float]) -> Settings:
    """The first of several stands for all of them where one column is asked for."""
    columns = {**settings.columns, "reward": next(iter(rewards))}
    return settings.replace(rewards=dict(rewards), columns=columns)


def decisive(settings: Settings) -> dict[str, Any]:
    """What numbers depend on, but for the name of the preset and what is said of steps."""
    left_out = ("preset", "mask_mode", "mask_fill", "gamma", "lam", "lam_alpha", "truncation")
    return {name: value for name, value in settings.to_dict().items() if name not in left_out}


def group_columns(file: RolloutFile, given: GroupColumns) -> Sequence[GroupColumns]:
    """Those that are there and may tell groups apart."""
    if given is not None:
        for name in names_of(given):
            if file.find(name) is None:
                raise not_found(name, "--group-column", file)
        return [given]
    names = list(reversed([*file.columns, *file.inner_fields()]))
    by_name = {name.rpartition(".")[2].lower(): name for name in names} | {
        name.lower(): name for name in names
    }
    found = list(dict.fromkeys(by_name[name] for name in (*GROUP_NAMES, *_MORE_NAMES) if name in by_name))
    return [name for name in found if _is_usable(file, name)][:_MOST_COLUMNS]


def other_columns(file: RolloutFile, against: str) -> Sequence[str]:
    """Where none has a usual name: whatever may tell rows apart, which is no measurement."""
    return [
        name
        for name, info in file.columns.items()
        if name != against and (info.kind in ("id", "int") or info.has_whole_cells) and _is_usable(file, name)
    ][:_MOST_OTHERS]


def _is_usable(file: RolloutFile, name: str) -> bool:
    info = file.find(name)
    return info is not None and (info.unusable is None or info.has_whole_cells)


def reward_columns(file: RolloutFile, settings: Settings, against: str) -> Sequence[str | None]:
    """None is the one that the file's names say; then every other column with a number per row."""
    if "reward" in settings.columns or settings.success_column is not None:
        return [None]
    column = file.find(against)
    may_be_list = column is not None and column.is_list  # a batch of responses in a row
    found: list[str | None] = [None]
    ours = own_columns(file.provenance)
    for name, info in file.columns.items():
        if name in ours:
            continue
        last = name.rpartition(".")[2].lower()
        is_number = info.kind in ("float", "int", "bool") and info.unusable is None
        is_number &= may_be_list or not info.is_list
        if is_number and name != against and last not in _NO_REWARDS:
            found.append(name)
    return found[:_MOST_COLUMNS]


def step_column(file: RolloutFile) -> str | None:
    """The step of training at which a response was sampled, by its name."""
    return next((name for name in file.columns if name.lower() in _TRAINING_STEPS), None)


def says_reward(name: str) -> bool:
    """TRL's columns are called as the functions are."""
    return any(word in name.lower() for word in ("reward", "score"))


def reading_with(
    settings: Settings,
    group: GroupColumns,
    reward: str | None,
    rewards: Mapping[str, float] | None = None,
    sample_of: str | None = None,
) -> Settings | None:
    """As scores by group, or all as one; None where that cannot be asked for."""
    columns = dict(settings.columns) | ({} if reward is None else {"reward": reward})
    try:
        return Settings.from_preset(
            "exact",
            estimator="dr-grpo" if group is not None else "flash-reinforce",
            group_column=group,
            rewards=rewards,
            sample_of=sample_of if group is not None else None,
            unscored="zero",  # which responses have a score at all is for the rules to say
            **{**file_settings(settings), "columns": columns},
        )
    except GaeError:
        return None
