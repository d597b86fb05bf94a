"""Which group baseline, by whose rules, over which groups and of which reward, made a column of advantages."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gaecli.columns import find_roles
from gaecli.errors import GaeError, UsageError
from gaecli.formats.base import RolloutFile
from gaecli.records import dataclass
from gaecli.results import Verification
from gaecli.settings import Settings
from gaecli.sources.inputs import StreamPlan
from gaecli.studies.baseline_candidates import (
    Rule,
    group_columns,
    reading_with,
    reward_columns,
    rules,
    settings_with,
)
from gaecli.studies.baseline_trials import (
    BaselineTrial,
    ScoredColumn,
    baseline_deviations,
    fitted_eps,
    held_against,
    ranked,
)
from gaecli.studies.column import Against
from gaecli.studies.command import flags_of
from gaecli.studies.row_equations import ROUNDINGS
from gaecli.studies.scores import cells_of, scored_cells, written_numbers

#: So many choices of a group and a reward column are held against all rules.
_MOST_CHOICES = 4


@dataclass(frozen=True, eq=False)
class _Choice:
    """A column of groups and one of rewards, and how much of the column they leave unexplained by any rule."""

    settings: Settings
    column: ScoredColumn
    num_unexplained: int
    num_telling: int
    #: A trajectory may be more than a cell.
    has_steps: bool

    @property
    def rank(self) -> tuple[bool, int, int]:
        return (not self.num_telling, self.num_unexplained, -self.num_telling)


@dataclass(frozen=True, eq=False)
class _Verdict:
    choice: _Choice
    trials: Sequence[BaselineTrial]
    unreadable: dict[str, str]


class BaselineCourt:
    """Tries plausible columns, then every rule on those that may be it."""

    def __init__(
        self,
        plan: StreamPlan,
        file: RolloutFile,
        against: Against,
        settings: Settings,
        memory_bytes: int,
        *,
        preset: str | None = None,
        estimator: str | None = None,
        group_column: str | None = None,
    ) -> None:
        self._plan, self._file, self._against = plan, file, against
        self._settings, self._memory_bytes = settings, memory_bytes
        self._preset, self._estimator = preset, estimator
        self.groups = group_columns(file, group_column)
        self._is_given = group_column is not None

    def verdict(self) -> Verification:
        """`UsageError` where no column tells groups apart; whatever keeps the file from being read."""
        verdicts: list[_Verdict] = []
        for choice in self._choices()[:_MOST_CHOICES]:
            heard = self._heard(choice)
            verdicts += [heard] if heard.trials else []
            if heard.trials and heard.trials[0].attempt.is_reproduced:
                break
        if not verdicts:
            raise UsageError(
                f"no rule can be tried on `{self._file.path}` as it stands",
                hint="`gae compute --estimator NAME` says what an estimator asks for",
            )
        best = min(verdicts, key=lambda one: one.trials[0].attempt.num_deviating)
        if not self.groups and not best.trials[0].attempt.is_reproduced:
            raise UsageError(
                f"no column of `{self._file.path}` has a usual name for groups of responses",
                hint="pass `--group-column` with the column that is equal for responses to one prompt",
            )
        return self._verification(best)

    def _choices(self) -> list[_Choice]:
        found: list[_Choice] = []
        first_error: GaeError | None = None
        seen = set()
        for reward in reward_columns(self._file, self._settings, self._against.column):
            for group in self.groups if self._is_given else (*self.groups, None):
                settings = reading_with(self._settings, group, reward)
                try:
                    if settings is None:
                        continue
                    names = find_roles(self._file, settings).names
                    key = (group, names.get("reward"))
                    if key in seen or group in key[1:]:
                        continue
                    seen.add(key)
                    found.append(self._choice(settings))
                except GaeError as error:
                    first_error = first_error or error
        if not found:
            assert first_error is not None
            raise first_error
        return sorted(found, key=lambda choice: choice.rank)

    def _choice(self, settings: Settings) -> _Choice:
        cells = scored_cells(self._plan, settings, self._memory_bytes)
        numbers = cells_of(self._against, cells, str(self._plan.paths[0]))
        column = ScoredColumn.of(cells, numbers, self._against.rounding)
        return _Choice(
            settings,
            column,
            column.num_unexplained(),
            int(np.count_nonzero(column.is_telling)),
            has_steps=bool((cells.is_scored & ~cells.is_last).any()),
        )

    def _heard(self, choice: _Choice) -> _Verdict:
        unreadable: dict[str, str] = {}
        candidates = rules(choice.settings, self._preset, self._estimator, has_steps=choice.has_steps)
        trials = self._tried(choice, list(candidates), unreadable)
        if not any(trial.attempt.is_reproduced for trial in trials) and self._preset is None:
            trials += self._tried(choice, self._fitted(choice), unreadable)
        return _Verdict(choice, ranked(trials, choice.column.num_missing) if trials else [], unreadable)

    def _tried(
        self, choice: _Choice, candidates: list[Rule], unreadable: dict[str, str]
    ) -> list[BaselineTrial]:
        trials = []
        for rule in candidates:
            try:
                written = written_numbers(self._plan, rule.settings, self._memory_bytes)
                trials.append(held_against(rule, written, choice.column))
            except GaeError as error:
                unreadable.update(
                    {f"{name} {rule.settings.estimator}": error.message for name in rule.presets}
                )
        return trials

    def _fitted(self, choice: _Choice) -> list[Rule]:
        """No library's rule: ε as the rows say it, with either divisor of the variance, and either way with one."""
        if self._estimator not in (None, "grpo"):
            return []
        singles = ("zero", "raw") if choice.column.is_single.any() else ("zero",)
        found = []
        for ddof in (1, 0):
            eps = fitted_eps(choice.column, ddof)
            for singleton in singles if eps is not None else ():
                given = {"norm_ddof": ddof, "norm_eps": eps, "singleton": singleton}
                usual = Settings.usual("exact", "grpo")
                flags = {name: value for name, value in given.items() if value != usual[name]}
                settings = settings_with(choice.settings, "exact", "grpo", **flags)
                if settings is not None and flags:
                    found.append(Rule(("exact",), settings, flags))
        return found

    def _verification(self, verdict: _Verdict) -> Verification:
        best, column = verdict.trials[0], verdict.choice.column
        is_reproduced = best.attempt.is_reproduced
        return Verification(
            path=str(self._plan.paths[0]),
            column=self._against.column,
            column_path=str(self._against.path),
            holds="advantage",
            attempts=[trial.attempt for trial in verdict.trials],
            normalization=None,
            deviations=[] if is_reproduced else baseline_deviations(best, column),
            tolerance=ROUNDINGS * self._against.rounding,
            flags=flags_of(best.rule.settings) if is_reproduced else [],
            equivalent=_equivalent(verdict.trials),
            unreadable=verdict.unreadable,
            groups_tried=self.groups,
        )


def _equivalent(trials: Sequence[BaselineTrial]) -> list[str]:
    """`trl grpo`: every other library and estimator that reproduces the column; `grpo` where it is no library's."""
    reproducing = [trial.attempt for trial in trials if trial.attempt.is_reproduced]
    plain = [attempt for attempt in reproducing if not attempt.flags or attempt is trials[0].attempt]
    names = [
        attempt.estimator if preset == "exact" else f"{preset} {attempt.estimator}"
        for attempt in plain
        for preset in attempt.presets
    ]
    return list(dict.fromkeys(names[1:])) if reproducing else []
