"""Which convention, γ and λ reproduce a column of advantages, or where it first does something else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from gaecli.columns import find_roles
from gaecli.errors import GaeError, UsageError
from gaecli.estimator_kinds import ESTIMATORS, estimator_name
from gaecli.formats.registry import open_file
from gaecli.group_settings import weighed_rewards
from gaecli.label_summary import LabelVerification
from gaecli.layouts.singles import as_scalars
from gaecli.pipeline.reading_errors import told
from gaecli.presets import find_preset
from gaecli.results import Verification
from gaecli.setting_fields import names_of, setting_flag
from gaecli.settings import RunOptions, Settings
from gaecli.storage.places import Places
from gaecli.studies.asked import Asked, GroupColumns, Only
from gaecli.studies.baseline_court import BaselineCourt
from gaecli.studies.column import load_column, what_it_holds
from gaecli.studies.estimator_court import EstimatorCourt
from gaecli.studies.label_cells import is_label
from gaecli.studies.label_court import verify_labels
from gaecli.studies.reading import check_decays_are_numbers, only_stream


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
    memory_bytes: int = 1 << 30,
) -> Verification | LabelVerification:
    """Try every preset and estimator, with the γ and λ that fit its rules to the column.

    Args:
        source: one rollout file.
        column: the advantages that are to be explained, or the returns, or labels made of them.
        settings: how the file is to be read, and the rule of labels; its γ and λ are of no account.
        column_source: the file with the column, if it is another one with the same rows.
        preset, estimator: try this one only.
        group_column: what tells groups apart, one column or several; else columns of usual names are tried.
        n_steps: of `n-step`; else usual numbers are tried.
        rewards: what scores are made of, as `compute` has it; weights that none of them has are looked for.
        score_columns: `sample_of` and the like, of `gaecli.studies.asked.SCORE_COLUMNS`.
        memory_bytes: the file is held in memory as a whole; one that takes more is refused.

    Raises:
        GaeError: the file cannot be read under any preset, or there is no such column.
    """
    settings = settings or Settings()
    check_decays_are_numbers(settings, "gae verify")
    preset = None if preset is None else find_preset(preset).name
    names = names_of(group_column if isinstance(group_column, str | None) else tuple(group_column))
    groups: GroupColumns = names[0] if len(names) == 1 else names or None
    weighed, has_weights = weighed_rewards(rewards)
    columns = {name: column for name, column in (score_columns or {}).items() if column is not None}
    only = Only(preset, estimator_name(estimator), n_steps, groups, weighed, not has_weights, columns)
    _check(only, settings)
    if preset is not None:
        check_decays_are_numbers(settings.replace(preset=preset), "gae verify")
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
            if settings.labelling is not None and column == "advantage":
                column = settings.label_column
            if is_label(files, column, settings):
                _check_of_labels(only)
                return places.shown_in(verify_labels(files, column, settings, memory_bytes))
            against = load_column(files, column, memory_bytes)
        asked = Asked(plan, first, against, settings, memory_bytes, only)
        with told(plan.paths[0]):
            return places.shown_in(_verify(asked))


def _check_of_labels(only: Only) -> None:
    """Labels are held against the numbers in the file, whatever made those."""
    given = {"--preset": only.preset, "--estimator": only.estimator, "--n-steps": only.n_steps}
    flag = next((flag for flag, value in given.items() if value is not None), only.flag_of_scores)
    if flag is not None:
        raise UsageError(
            f"`{flag}` says nothing to labels, which are made of the numbers in the file",
            hint=f"drop `{flag}`; `--against` that column of numbers finds what made it",
        )


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


def _verify(asked: Asked) -> Verification:
    """As what the name says that the column holds; where it does not say, as whatever can be reproduced."""
    found: list[Verification] = []
    errors: list[GaeError] = []
    for hear in _hearings(asked):
        try:
            found.append(hear())
        except GaeError as error:
            errors.append(error)
            continue
        if found[-1].is_reproduced:
            return found[-1]
    if not found and not errors:
        raise asked.untried("return")
    if not found:
        raise errors[0] if _has_values(asked) else errors[-1]
    return min(found, key=lambda verdict: verdict.share_deviating)


def _has_values(asked: Asked) -> bool:
    """What compares no scores has a say first, and the last one where there are no values."""
    return not asked.only.is_scored and "value" in find_roles(asked.file, asked.settings).names


def _hearings(asked: Asked) -> Iterator[Callable[[], Verification]]:
    """One after the other, until one finds what reproduces the column."""
    holds, only = what_it_holds(asked.against.column), asked.only
    if not only.is_scored:
        for one in holds:
            yield EstimatorCourt(asked, one).verdict
    if "advantage" not in holds or (only.estimator is not None and not only.is_scored):
        return
    baselines = BaselineCourt(asked)
    if baselines.groups or not _has_values(asked):
        yield baselines.verdict
