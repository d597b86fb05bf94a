"""Which group baseline, by whose rules, over which groups and of which reward, made a column of advantages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, product, zip_longest
from typing import Any

import numpy as np

from gaecli.columns import find_roles
from gaecli.errors import GaeError, UsageError
from gaecli.records import dataclass
from gaecli.response_logs import likely
from gaecli.results import Verification
from gaecli.setting_fields import names_of
from gaecli.settings import Settings
from gaecli.studies.asked import Asked, GroupColumns
from gaecli.studies.baseline_candidates import (
    Rule,
    group_columns,
    other_columns,
    reading_with,
    reward_columns,
    rules,
    says_reward,
    settings_with,
    step_column,
)
from gaecli.studies.baseline_trials import (
    BaselineTrial,
    ScoredColumn,
    baseline_deviations,
    fitted_eps,
    held_against,
    ranked,
)
from gaecli.studies.column import load_column
from gaecli.studies.command import flags_of
from gaecli.studies.reward_weights import reward_weights
from gaecli.studies.row_equations import ROUNDINGS
from gaecli.studies.scores import ScoredCells, cells_of, scored_cells, written_numbers

#: So many choices of a group and a reward column are held against all rules.
_MOST_CHOICES = 4
_USUAL_EPS = (1e-4, 1e-6, 1e-8)


@dataclass(frozen=True, eq=False)
class _Choice:
    """A column of groups and one of rewards, and how much of the column they leave unexplained by any rule."""

    settings: Settings
    cells: ScoredCells
    column: ScoredColumn
    num_unexplained: int
    num_telling: int
    #: A trajectory may be more than a cell.
    has_steps: bool

    @property
    def is_of_several(self) -> bool:
        """No straight line in the sum of these rewards: scaled one by one they may be it all the same."""
        return bool(self.num_unexplained) and len(self.settings.rewards) > 1

    @property
    def rank(self) -> tuple[bool, int, int, int]:
        """Of columns that tell the same groups the fewest."""
        num_columns = len(self.settings.group_columns)
        return (not self.num_telling, self.num_unexplained, -self.num_telling, num_columns)


@dataclass(frozen=True, eq=False)
class _Verdict:
    choice: _Choice
    trials: Sequence[BaselineTrial]
    unreadable: dict[str, str]


class BaselineCourt:
    """Tries plausible columns, then every rule on those that may be it."""

    def __init__(self, asked: Asked) -> None:
        self._asked, self._only = asked, asked.only
        self.groups = group_columns(asked.file, asked.only.group_column)
        #: Of names that say nothing: they count if they are it.
        self._others = [] if self.groups else other_columns(asked.file, asked.against.column)

    def verdict(self) -> Verification:
        """`UsageError` where no column tells groups apart; whatever keeps the file from being read."""
        verdicts: list[_Verdict] = []
        choices = _worth_hearing(self._choices())
        # No library's rule with numbers of its own before every library has been asked about every choice.
        for candidates_of in (self._of_libraries, self._fitted):
            for choice in choices:
                heard = self._heard(choice, candidates_of(choice))
                verdicts += [heard] if heard.trials else []
                if heard.trials and heard.trials[0].attempt.is_reproduced:
                    return self._verification(heard)
        if not verdicts:
            raise self._asked.untried("advantage")
        if not self.groups and self._only.may_be_grouped:
            raise UsageError(
                f"no column of `{self._asked.file.path}` has a usual name for groups of responses",
                hint="pass `--group-column` with the column that is equal for responses to one prompt",
            )
        return self._verification(min(verdicts, key=lambda one: one.trials[0].attempt.num_deviating))

    def _choices(self) -> list[_Choice]:
        """By how little of the column they leave open. Sums of rewards where no single one is it."""
        found = self._of_known_log()
        first_error: GaeError | None = None
        seen = set()
        for reward in self._rewards():
            for group in self._groups_to_try():
                settings = reading_with(self._asked.settings, group, reward)
                try:
                    if settings is None:
                        continue
                    names = find_roles(self._asked.file, settings).names
                    key = (group, names.get("reward"))
                    if key in seen or names.get("reward") in settings.group_columns:
                        continue
                    seen.add(key)
                    found.append(self._choice(settings))
                except GaeError as error:
                    first_error = first_error or error
        if not found:
            raise first_error or self._no_rewards()
        found.sort(key=lambda choice: choice.rank)
        if found[0].num_unexplained or not found[0].num_telling:
            return [*self._sums(found), *found]
        return found

    def _no_rewards(self) -> UsageError:
        by = " and ".join(f"`{name}`" for name in names_of(self._only.group_column))
        return UsageError(
            f"no column of `{self._asked.file.path}` can be the reward: groups are told by {by}",
            hint="pass another column with `--group-column`, or with `--reward-column`",
        )

    def _rewards(self) -> Sequence[str | None]:
        return reward_columns(self._asked.file, self._asked.settings, self._asked.against.column)

    @property
    def _is_given(self) -> bool:
        return self._only.group_column is not None

    def _of_known_log(self) -> list[_Choice]:
        """What the file says itself, where it is of a writer that is known."""
        log = None if self._is_given or "reward" in self._asked.settings.columns else likely(self._asked.file)
        if log is None or not log.can_be_computed:
            return []
        base = self._asked.settings.replace(layout=log.layout or self._asked.settings.layout)
        group = log.group[0] if len(log.group) == 1 else log.group
        weights = {name: log.weights.get(name, 1.0) for name in log.rewards}
        is_single = weights == {log.rewards[0]: 1.0}
        made = reading_with(
            base, group, log.rewards[0] if is_single else None, None if is_single else weights
        )
        try:
            return [] if made is None else [self._choice(made)]
        except GaeError:
            return []

    def _groups_to_try(self) -> list[GroupColumns]:
        """One column, or the step of training and it: a prompt that comes again is another group then."""
        if self._is_given:
            return list(self.groups)
        step = step_column(self._asked.file)
        names = [name for name in self.groups if isinstance(name, str) and name != step]
        pairs = [] if step is None else [(step, name) for name in names]
        return [*self.groups, *self._others, *pairs, None]

    def _choice(self, settings: Settings) -> _Choice:
        cells = scored_cells(self._asked.plan, settings, self._asked.memory_bytes)
        numbers = cells_of(self._asked.against, cells, self._asked.path)
        column = ScoredColumn.of(cells, numbers, self._asked.against.rounding)
        return _Choice(
            settings,
            cells,
            column,
            column.num_unexplained(),
            int(np.count_nonzero(column.is_telling)),
            has_steps=bool((cells.is_scored & ~cells.is_last).any()),
        )

    def _sums(self, singles: Sequence[_Choice]) -> list[_Choice]:
        """Weighted sums of the columns of numbers that make a straight line of it, then the sum of all rewards."""
        names = [name for name in self._rewards() if name]
        named = [name for name in names if says_reward(name)]
        if len(names) < 2:
            return []
        files = self._asked.plan.open_all(self._asked.settings)
        kinds = ("float", "int", "bool")  # a reward may be whether it was right
        loaded = {name: load_column(files, name, self._asked.memory_bytes, kinds) for name in names}
        by_group = {choice.settings.group_column: choice for choice in singles}
        found: list[list[_Choice | None]] = []
        plain: list[_Choice | None] = []
        for group, choice in by_group.items():
            held = choice.column.held
            path = self._asked.path
            numbers = {name: cells_of(one, choice.cells, path)[held] for name, one in loaded.items()}
            weights = reward_weights(numbers, choice.column.column, choice.column.groups)
            found.append([self._sum(group, one) for one in weights])
            plain += [self._sum(group, dict.fromkeys(named, 1.0))] if len(named) > 1 else []
        # By turns: a part of a group is on the same line as the whole group is, in weights of the same sizes.
        by_turns = chain.from_iterable(zip_longest(*found))
        sums = [one for one in by_turns if one is not None and not one.num_unexplained]
        # Several rewards that are scaled one by one are no straight line in any sum of them.
        last = [one for one in plain if one is not None][:_MOST_CHOICES]
        return [*sums[: 2 * _MOST_CHOICES - len(last)], *last]

    def _sum(self, group: GroupColumns, rewards: Mapping[str, float]) -> _Choice | None:
        settings = reading_with(self._asked.settings, group, None, rewards)
        try:
            return None if settings is None else self._choice(settings)
        except GaeError:
            return None

    def _of_libraries(self, choice: _Choice) -> list[Rule]:
        estimator = self._only.estimator or ("gdpo" if choice.is_of_several else None)
        return list(rules(choice.settings, self._only.preset, estimator, has_steps=choice.has_steps))

    def _heard(self, choice: _Choice, candidates: list[Rule]) -> _Verdict:
        unreadable: dict[str, str] = {}
        trials = self._tried(choice, candidates, unreadable)
        return _Verdict(choice, ranked(trials, choice.column.num_missing) if trials else [], unreadable)

    def _tried(
        self, choice: _Choice, candidates: list[Rule], unreadable: dict[str, str]
    ) -> list[BaselineTrial]:
        trials = []
        for rule in candidates:
            try:
                written = written_numbers(self._asked.plan, rule.settings, self._asked.memory_bytes)
                trials.append(held_against(rule, written, choice.column))
            except GaeError as error:
                unreadable.update(
                    {f"{name} {rule.settings.estimator}": error.message for name in rule.presets}
                )
        return trials

    def _fitted(self, choice: _Choice) -> list[Rule]:
        """No library's rule: ε as the rows say it, with either divisor of the variance, and either way with one."""
        found = []
        for estimator, given in [*self._fitted_grpo(choice), *self._usual_gdpo(choice)]:
            is_other = choice.is_of_several and estimator != "gdpo"
            if is_other or self._only.preset is not None or self._only.estimator not in (None, estimator):
                continue
            usual = Settings.usual("exact", estimator)
            flags = {name: value for name, value in given.items() if value != usual[name]}
            settings = settings_with(choice.settings, "exact", estimator, **flags)
            if settings is not None and flags:
                found.append(Rule(("exact",), settings, flags))
        return found

    def _fitted_grpo(self, choice: _Choice) -> Iterator[tuple[str, dict[str, Any]]]:
        singles = ("zero", "raw") if choice.column.is_single.any() else ("zero",)
        for ddof in (1, 0):
            eps = fitted_eps(choice.column, ddof)
            for singleton in singles if eps is not None else ():
                yield "grpo", {"norm_ddof": ddof, "norm_eps": eps, "singleton": singleton}

    def _usual_gdpo(self, choice: _Choice) -> Iterator[tuple[str, dict[str, Any]]]:
        for group_eps, norm_eps in product(_USUAL_EPS, _USUAL_EPS) if choice.settings.rewards else ():
            yield "gdpo", {"group_eps": group_eps, "norm_eps": norm_eps}

    def _verification(self, verdict: _Verdict) -> Verification:
        best, column = verdict.trials[0], verdict.choice.column
        is_reproduced = best.attempt.is_reproduced
        return Verification(
            path=self._asked.path,
            column=self._asked.against.column,
            column_path=str(self._asked.against.path),
            holds="advantage",
            attempts=[trial.attempt for trial in verdict.trials],
            normalization=None,
            deviations=[] if is_reproduced else baseline_deviations(best, column),
            tolerance=ROUNDINGS * self._asked.against.rounding,
            flags=flags_of(best.rule.settings) if is_reproduced else [],
            equivalent=_equivalent(verdict.trials),
            unreadable=verdict.unreadable,
            groups_tried=[_said(one) for one in (*self.groups, *self._others)],
        )


def _worth_hearing(choices: Sequence[_Choice]) -> list[_Choice]:
    """What is no straight line in the score is no rule's: of those only the nearest, to say where it leaves it."""
    found = [one for one in choices if one.num_telling and not one.num_unexplained][: 2 * _MOST_CHOICES]
    several = [one for one in choices if one.is_of_several][:_MOST_CHOICES]
    plain = [one for one in choices if not one.is_of_several]
    return [*found, *several] if found else [*several, *plain[:1]]


def _said(group: GroupColumns) -> str:
    return group if isinstance(group, str) else ", ".join(group or ())


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
