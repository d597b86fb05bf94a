"""Which convention, γ and λ reproduce a column of advantages, or where it first does something else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from gaecli.errors import GaeError, UsageError, not_one_of
from gaecli.estimator_kinds import ESTIMATOR_ROLES, ESTIMATORS, estimator_name
from gaecli.formats.base import RolloutFile
from gaecli.formats.kept import Room
from gaecli.formats.registry import open_file
from gaecli.group_settings import weighed_rewards
from gaecli.label_summary import LabelVerification
from gaecli.layouts.singles import as_scalars
from gaecli.names import LANGUAGE
from gaecli.pipeline.reading_errors import not_done, told
from gaecli.presets import find_preset
from gaecli.progress import Progress
from gaecli.records import dataclass
from gaecli.response_logs import ResponseLogError, recognise
from gaecli.results import Verification, Verifications
from gaecli.setting_fields import names_of, setting_flag
from gaecli.settings import RunOptions, Settings
from gaecli.sources.inputs import StreamPlan, describe_streams, plan_streams, watched
from gaecli.storage.places import Places
from gaecli.studies.asked import Asked, GroupColumns, Only
from gaecli.studies.column import find_column
from gaecli.studies.common_rule import CommonRule
from gaecli.studies.label_cells import is_label
from gaecli.studies.label_court import verify_labels
from gaecli.studies.reading import only_stream
from gaecli.studies.success_rules import OfSuccess
from gaecli.studies.tested import given_of
from gaecli.studies.verdict import verdict
from gaecli.summary import Failure

#: Share of the memory limit for columns that are kept from one reading to the next.
KEPT_SHARE = 0.125


@dataclass(frozen=True, eq=False)
class ColumnQuestion:
    """What is asked of every input: which column, how it is read, and what alone is to be tried."""

    column: str
    settings: Settings
    only: Only
    success: OfSuccess | None
    memory_bytes: int

    @classmethod
    def of(
        cls,
        column: str,
        settings: Settings | None = None,
        *,
        preset: str | None = None,
        estimator: str | None = None,
        group_column: str | Sequence[str] | None = None,
        n_steps: int | None = None,
        rewards: Mapping[str, float] | Sequence[str] | None = None,
        score_columns: Mapping[str, str | None] | None = None,
        success: Mapping[str, Any] | None = None,
        tested: Mapping[str, Any] | None = None,
        policies: Mapping[str, Any] | None = None,
        memory_bytes: int = 1 << 30,
    ) -> ColumnQuestion:
        """Checked.

        Args:
            column: the advantages that are to be explained, or the returns, or labels made of them.
            settings: how the file is to be read, and the rule of labels; its γ and λ are of no account.
            preset, estimator: try this one only.
            group_column: what tells groups apart, one column or several; else columns of usual names are tried.
            n_steps: of `n-step`; else usual numbers are tried.
            rewards: what scores are made of, as `compute` has it; weights that none of them has are looked for.
            score_columns: `sample_of` and the like, of `gaecli.studies.asked.SCORE_COLUMNS`.
            success: what makes the rewards, as `compute` has it: `success_column`, `success_reward`, `failure_cost`,
                `success_at`. All rules are tried where none is given, and the cost is taken from the column.
            tested: units, streams, γ and λ by column and by length, as `compute` has them: settings that hold for
                every rule, of `gaecli.studies.tested.TESTED`.
            policies: columns of policies and of Q by role, of `ESTIMATOR_ROLES`, and `CLIPS`, for the estimators that
                have them.
            memory_bytes: an input is held in memory as a whole; one that takes more is refused.
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
            given_of(policies or {}),
        )
        _check(only, settings)
        of_success = _of_success(success or {}, settings)
        return cls(column, settings, only, of_success, memory_bytes)

    @property
    def name(self) -> str:
        """Of the column; labels, where their rule is given and nothing else is said."""
        is_label = self.settings.labelling is not None and self.column == "advantage"
        return self.settings.label_column if is_label else self.column

    @property
    def words(self) -> list[str]:
        """What stands behind the file."""
        return [] if self.column == "advantage" else ["--against", self.column]

    def kept_open(self, plan: StreamPlan) -> StreamPlan:
        return plan.kept_open(Room(int(self.memory_bytes * KEPT_SHARE)))

    def asked(self, plan: StreamPlan, beside: Path | None = None) -> Asked:
        """Of one stream; `beside`: the file with the column, if it is another one."""
        with told(plan.paths[0]):
            plan = self.kept_open(plan)
            first = plan.open_all(self.settings)[0]
        files = self._files([plan], beside)
        with told(beside or plan.paths[0]):
            against = find_column(files, self.name, self.memory_bytes)
        return Asked(plan, first, against, self.settings, self.memory_bytes, self.only)

    def of_labels(self, plans: Sequence[StreamPlan], beside: Path | None = None) -> LabelVerification | None:
        """Of all inputs together, as their threshold is; None where the column is one of numbers."""
        if not self._is_of_labels(plans[0], beside):
            return None
        _check_of_labels(self.only)
        files = self._files(plans, beside)
        with told(beside or plans[0].paths[0]):
            return verify_labels(files, self.name, self.settings, self.memory_bytes)

    def _is_of_labels(self, plan: StreamPlan, beside: Path | None) -> bool:
        try:
            return is_label(self._files([plan], beside), self.name, self.settings)
        except GaeError:  # told where it is read
            return False

    def _files(self, plans: Sequence[StreamPlan], beside: Path | None) -> list[RolloutFile]:
        """Those with the column."""
        if beside is not None:
            return self._with_texts(as_scalars([open_file(beside)], self.settings))
        found: list[RolloutFile] = []
        for plan in plans:
            with told(plan.paths[0]):
                found += plan.open_all(self.settings)
        return self._with_texts(found)

    def _with_texts(self, files: Sequence[RolloutFile]) -> list[RolloutFile]:
        """Labels among what LeRobot says of its frames are texts."""
        if self.name != LANGUAGE:
            return list(files)
        from gaecli.formats.parquet.language_labels import with_language_labels

        return [with_language_labels(file) for file in files]


def verify(
    source: str | Path,
    column: str = "advantage",
    settings: Settings | None = None,
    *,
    column_source: str | Path | None = None,
    progress: Progress | None = None,
    **more: Any,
) -> Verification | LabelVerification:
    """Try every preset and estimator, with the γ and λ that fit its rules to the column.

    Args:
        source: one rollout file, or one stream of files.
        column, settings, more: as `ColumnQuestion.of` has them.
        column_source: the file with the column, if it is another one with the same rows.
        progress: is told of the rows gone over.

    Raises:
        GaeError: the file cannot be read under any preset, or there is no such column.
    """
    question = ColumnQuestion.of(column, settings, **more)
    given = [source] if column_source is None else [source, column_source]
    with Places(RunOptions(dry_run=True)) as places:
        local = [Path(path) for path in places.inputs.fetched(given)]
        (plan,) = _watched([only_stream(local[0], question.settings, "gae verify")], progress)
        return places.shown_in(_alone(question, plan, local[1] if len(local) > 1 else None))


def verify_inputs(
    sources: Sequence[str | Path],
    column: str = "advantage",
    settings: Settings | None = None,
    *,
    column_source: str | Path | None = None,
    progress: Progress | None = None,
    **more: Any,
) -> Verification | Verifications | LabelVerification:
    """Each of several inputs by itself, and the rule that they have in common; one alone as `verify` does.

    No group goes on from one input into the next, unless the log is of a kind whose files are cut anywhere.

    Raises:
        GaeError: what concerns the run as a whole, or the only input; others that fail are listed.
    """
    if column_source is not None:
        if len(sources) == 1:
            return verify(
                sources[0], column, settings, column_source=column_source, progress=progress, **more
            )
        raise UsageError(
            f"`--against-file` has the column of one input, and there are {len(sources)}",
            hint="verify them one by one",
        )
    question = ColumnQuestion.of(column, settings, **more)
    with Places(RunOptions(dry_run=True)) as places:
        local = places.inputs.fetched(sources)
        plans = plan_streams(local, question.settings.join)
        if len(plans) > 1 and question.settings.join is None and _are_shards(plans):
            question = replace(question, settings=question.settings.replace(join=True))
            plans = plan_streams(local, True)
        plans = _watched(plans, progress)
        if len(plans) == 1:
            return places.shown_in(_alone(question, plans[0]))
        return places.shown_in(question.of_labels(plans) or _each(question, plans))


def _watched(plans: Sequence[StreamPlan], progress: Progress | None) -> list[StreamPlan]:
    """How often their rows are gone over depends on which rule it is that fits."""
    return watched(plans, progress, "verifying", looks=None)


def _alone(
    question: ColumnQuestion, plan: StreamPlan, beside: Path | None = None
) -> Verification | LabelVerification:
    with told(plan.paths[0]):
        plan = question.kept_open(plan)
    labels = question.of_labels([plan], beside)
    if labels is not None:
        return labels
    asked = question.asked(plan, beside)
    with told(plan.paths[0]):
        try:
            return verdict(asked, question.success).verification
        except ResponseLogError as error:
            raise error.of_command("gae verify", question.words) from error


def _each(question: ColumnQuestion, plans: Sequence[StreamPlan]) -> Verifications:
    common, failures = CommonRule(), []
    for plan in plans:
        try:
            with told(plan.paths[0]):
                common.add(partial(question.asked, plan), question.success)
        except (GaeError, OSError, MemoryError) as error:
            known = not_done(error, plan.paths[0], plan.paths[0])
            if isinstance(known, ResponseLogError):
                known = known.of_command("gae verify", question.words)
            failures += Failure.of_stream(plan.paths, known)
        if plan.progress is not None:
            plan.progress.end(plan.paths)
    return replace(common.result(), failures=failures, streams=describe_streams(plans))


def _are_shards(plans: Sequence[StreamPlan]) -> bool:
    """Files of a log that begin a new one after so many lines."""
    try:
        logs = (recognise(plan.open(path)) for plan in plans for path in plan.paths)
        return all(log is not None and log.is_sharded for log in logs)
    except GaeError:  # told where it is read
        return False


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
        raise not_one_of("--estimator", estimator, ESTIMATORS)
    if only.group_column is not None and not only.may_be_grouped:
        raise UsageError(
            f"`--group-column` says nothing to `--estimator {estimator}`", hint="drop `--group-column`"
        )
    if estimator is not None:
        unused = [setting_flag(name) for name in only.score_columns.keys() - only.says_to(estimator).keys()]
        if only.rewards and not ESTIMATORS[estimator].uses("rewards"):
            unused.append("--reward")
        known = {*ESTIMATORS[estimator].own_roles, *ESTIMATORS[estimator].takes}
        unused += [
            setting_flag(f"{name}_column" if name in ESTIMATOR_ROLES else name)
            for name in only.policies
            if name not in known
        ]
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
