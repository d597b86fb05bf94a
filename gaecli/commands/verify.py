"""Which convention, γ and λ reproduce a column of advantages, or where it first does something else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gaecli.errors import UsageError
from gaecli.estimator_kinds import ESTIMATORS, estimator_name
from gaecli.formats.registry import open_file
from gaecli.group_settings import weighed_rewards
from gaecli.layouts.singles import as_scalars
from gaecli.pipeline.reading_errors import told
from gaecli.presets import find_preset
from gaecli.results import Verification
from gaecli.setting_fields import names_of, setting_flag
from gaecli.settings import RunOptions, Settings
from gaecli.storage.places import Places
from gaecli.studies.asked import Asked, GroupColumns, Only
from gaecli.studies.column import load_column
from gaecli.studies.reading import only_stream
from gaecli.studies.success_rules import OfSuccess
from gaecli.studies.tested import given_of
from gaecli.studies.verdict import verdict


def verify(
    source: str | Path,
    column: str = "advantage",
    settings: Settings | None = None,
    *,
    column_source: str | Path | None = None,
    preset: str | None = None,
    estimator: str | None = None,
    group_column: str | Sequence[str] | None = None,
    n_steps: int | None = None,
    rewards: Mapping[str, float] | Sequence[str] | None = None,
    score_columns: Mapping[str, str | None] | None = None,
    success: Mapping[str, Any] | None = None,
    tested: Mapping[str, Any] | None = None,
    memory_bytes: int = 1 << 30,
) -> Verification:
    """Try every preset and estimator, with the γ and λ that fit its rules to the column.

    Args:
        source: one rollout file.
        column: the advantages that are to be explained, or the returns.
        settings: how the file is to be read; its γ and λ are of no account.
        column_source: the file with the column, if it is another one with the same rows.
        preset, estimator: try this one only.
        group_column: what tells groups apart, one column or several; else columns of usual names are tried.
        n_steps: of `n-step`; else usual numbers are tried.
        rewards: what scores are made of, as `compute` has it; weights that none of them has are looked for.
        score_columns: `sample_of` and the like, of `gaecli.studies.asked.SCORE_COLUMNS`.
        success: what makes the rewards, as `compute` has it: `success_column`, `success_reward`, `failure_cost`,
            `success_at`. All rules are tried where none is given, and the cost is taken from the column.
        tested: units, streams, γ and λ by column and by length, as `compute` has them: settings that hold for every
            rule, of `gaecli.studies.tested.TESTED`.
        memory_bytes: the file is held in memory as a whole; one that takes more is refused.

    Raises:
        GaeError: the file cannot be read under any preset, or there is no such column.
    """
    settings = settings or Settings()
    preset = None if preset is None else find_preset(preset).name
    names = names_of(group_column if isinstance(group_column, str | None) else tuple(group_column))
    groups: GroupColumns = names[0] if len(names) == 1 else names or None
    weighed, has_weights = weighed_rewards(rewards)
    columns = {name: column for name, column in (score_columns or {}).items() if column is not None}
    only = Only(
        preset,
        estimator_name(estimator),
        n_steps,
        groups,
        weighed,
        not has_weights,
        columns,
        given_of(tested or {}),
    )
    _check(only, settings)
    of_success = _of_success(success or {}, settings)
    given = [source] if column_source is None else [source, column_source]
    with Places(RunOptions(dry_run=True)) as places:
        local = [Path(path) for path in places.inputs.fetched(given)]
        plan = only_stream(local[0], settings, "gae verify")
        is_beside = len(local) > 1
        with told(plan.paths[0]):
            plan = plan.kept_open()
            files = plan.open_all(settings)
            first = files[0]
        with told(local[-1]):
            if is_beside:
                files = as_scalars([open_file(local[1])], settings)
            against = load_column(files, column, memory_bytes)
        asked = Asked(plan, first, against, settings, memory_bytes, only)
        with told(plan.paths[0]):
            return places.shown_in(verdict(asked, of_success))


def _of_success(given: Mapping[str, Any], settings: Settings) -> OfSuccess | None:
    """`UsageError` for what `compute` would not take either."""
    said = {name: value for name, value in given.items() if value is not None}
    column, reward, cost = (said.get(name) for name in ("success_column", "success_reward", "failure_cost"))
    if column is None:
        settings.replace(**said)  # which says that these need a column
        return None
    found = OfSuccess(column, reward, cost, said.get("success_at"))
    is_sparse = reward == "sparse" and cost is None
    found.settings(settings, reward or "recap", None if is_sparse else cost or 0.0)
    if reward == "sparse" and cost is not None:
        settings.replace(success_column=column, success_reward=reward, failure_cost=cost)
    return found


def _check(only: Only, settings: Settings) -> None:
    estimator, n_steps = only.estimator, only.n_steps
    if estimator is not None and estimator not in ESTIMATORS:
        raise UsageError(f"`--estimator` is `{estimator}`; it must be one of {', '.join(ESTIMATORS)}")
    if only.group_column is not None and not only.may_be_grouped:
        raise UsageError(
            f"`--group-column` says nothing to `--estimator {estimator}`", hint="drop `--group-column`"
        )
    if estimator is not None:
        unused = [setting_flag(name) for name in only.score_columns.keys() - only.says_to(estimator).keys()]
        if only.rewards and not ESTIMATORS[estimator].uses("rewards"):
            unused.append("--reward")
        if unused:
            raise UsageError(
                f"`{unused[0]}` says nothing to `--estimator {estimator}`", hint=f"drop `{unused[0]}`"
            )
    if only.rewards and settings.columns.get("reward") not in (None, next(iter(only.rewards))):
        raise UsageError(
            "`--reward-column` names the one column of rewards, and `--reward` several",
            hint="drop `--reward-column`, or name its column with `--reward` too",
        )
    if n_steps is not None and n_steps < 1:
        raise UsageError(f"`--n-steps` is {n_steps}; it must be a whole number, 1 at least")
