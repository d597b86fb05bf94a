"""Which group baseline, by whose rules, over which groups and of which reward, made a column of advantages."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np

from gaecli.errors import GaeError
from gaecli.records import dataclass
from gaecli.results import Deviation, Verification
from gaecli.settings import Settings
from gaecli.studies.asked import Asked, GroupColumns, GroupsUntold
from gaecli.studies.baseline_candidates import Rule, rules, settings_with
from gaecli.studies.baseline_choices import Choice, Choices
from gaecli.studies.baseline_deviations import deviations_of
from gaecli.studies.baseline_proof import BaselineProof
from gaecli.studies.baseline_trials import (
    BaselineTrial,
    fitted_eps,
    held_against,
    looks_at_all,
    ranked,
)
from gaecli.studies.baseline_weights import weighed_rules, weight_remarks
from gaecli.studies.command import flags_of
from gaecli.studies.row_equations import ROUNDINGS
from gaecli.studies.sample_proof import MOST_OFF

_USUAL_EPS = (1e-4, 1e-6, 1e-8)
_MOST_SCALED = 2.0


@dataclass(frozen=True, eq=False)
class Verdict:
    """What is found, and the rules of group baselines that make the column."""

    verification: Verification
    rules: Sequence[Rule] = ()


@dataclass(frozen=True, eq=False)
class _Heard:
    choice: Choice
    trials: Sequence[BaselineTrial]
    unreadable: dict[str, str]
    #: Of the first, where it was held against every cell of a stream of which the others saw a sample.
    deviations: Sequence[Deviation] | None = None

    @property
    def is_reproduced(self) -> bool:
        return bool(self.trials) and self.trials[0].attempt.is_reproduced

    @property
    def share_deviating(self) -> float:
        attempt = self.trials[0].attempt
        return attempt.num_deviating / max(attempt.num_rows, 1)

    @property
    def num_searched(self) -> int | None:
        is_whole = self.choice.sample.is_whole
        return None if is_whole else int(np.count_nonzero(self.choice.cells.is_scored))


class BaselineCourt:
    """Tries plausible columns, then every rule on those that may be it."""

    def __init__(self, asked: Asked) -> None:
        self._asked, self._only = asked, asked.only
        self._choices = Choices(asked)
        #: By how much a sample may be off in the standard deviation of the whole.
        self._most_scaled = _MOST_SCALED

    @property
    def groups(self) -> Sequence[GroupColumns]:
        """Columns that may tell them apart by their names."""
        return self._choices.groups

    def follows(self, rules: Sequence[Rule]) -> Verdict | None:
        """By rules that others follow; None where it follows none of them."""
        choice = self._choices.like(rules[0].settings)
        heard = None if choice is None else self._heard(choice, list(rules))
        if heard is None or not heard.is_reproduced:
            return None
        heard = self._judged(heard)
        return self._verdict(heard) if heard.is_reproduced else None

    def verdict(self) -> Verdict:
        """`GroupsUntold` where no column tells groups apart; whatever keeps the file from being read."""
        choices = self._choices.worth_hearing()
        found = self._first_reproduced(choices)
        if not found[-1:] or not found[-1].is_reproduced:
            sampled = [choice for choice in choices if not choice.sample.is_whole]
            self._most_scaled = math.inf
            found += self._first_reproduced(sampled)
        if found and found[-1].is_reproduced:
            return self._verdict(found[-1])
        verdicts = found
        if not verdicts:
            raise self._asked.untried("advantage")
        if not self.groups and self._only.may_be_grouped:
            raise GroupsUntold(
                f"no column of `{self._asked.file.path}` has a usual name for groups of responses",
                hint="pass `--group-column` with the column that is equal for responses to one prompt",
            )
        nearest = min(verdicts, key=lambda one: one.share_deviating)
        is_proven = nearest.deviations is not None
        return self._verdict(nearest if is_proven else self._judged(nearest))

    def _first_reproduced(self, choices: Sequence[Choice]) -> list[_Heard]:
        """Whatever was heard before it, and it."""
        found: list[_Heard] = []
        # No library's rule with numbers of its own before every library has been asked about every choice.
        for candidates_of in (self._of_libraries, self._weighed, self._fitted):
            for choice in choices:
                heard = self._heard(choice, candidates_of(choice))
                if heard.is_reproduced:
                    heard = self._judged(heard)
                found += [heard] if heard.trials else []
                if heard.is_reproduced:
                    return found
        return found

    def _judged(self, heard: _Heard) -> _Heard:
        """Held against every cell, where a sample has spoken for it or does not refute it."""
        if heard.choice.sample.is_whole:
            return heard
        sampled = [trial.as_sampled() for trial in heard.trials]
        open_ones = [trial for trial in sampled if trial.attempt.is_reproduced]
        if not open_ones and heard.share_deviating < MOST_OFF:
            open_ones = sampled[:1]
        if not open_ones:
            return replace(heard, trials=sampled)
        proven = BaselineProof(self._asked, heard.choice).of_all(open_ones)
        rest = [trial for trial in sampled if trial not in open_ones]
        return replace(heard, trials=[*(one.trial for one in proven), *rest], deviations=proven[0].deviations)

    def _of_libraries(self, choice: Choice) -> list[Rule]:
        is_open = choice.is_of_several and self._only.are_weights_open
        estimator = self._only.estimator or ("gdpo" if is_open else None)
        return list(rules(choice.settings, self._only, estimator, has_steps=choice.has_steps))

    def _weighed(self, choice: Choice) -> list[Rule]:
        return list(weighed_rules(self._asked, choice))

    def _heard(self, choice: Choice, candidates: list[Rule]) -> _Heard:
        unreadable: dict[str, str] = {}
        trials = self._tried(choice, candidates, unreadable)
        return _Heard(choice, ranked(trials, choice.column.num_missing) if trials else [], unreadable)

    def _tried(
        self, choice: Choice, candidates: list[Rule], unreadable: dict[str, str]
    ) -> list[BaselineTrial]:
        trials = []
        for rule in candidates:
            try:
                is_part = not choice.sample.is_whole and looks_at_all(rule.settings)
                most_scaled = self._most_scaled if is_part else 1.0
                written = choice.written(rule.settings)
                trials.append(held_against(rule, written, choice.column, most_scaled=most_scaled))
            except GaeError as error:
                unreadable.update(
                    {f"{name} {rule.settings.estimator}": error.message for name in rule.presets}
                )
        return trials

    def _fitted(self, choice: Choice) -> list[Rule]:
        """No library's rule: ε as the rows say it, with either divisor of the variance, and either way with one."""
        found = []
        for estimator, given in [*self._fitted_grpo(choice), *self._usual_gdpo(choice)]:
            is_other = choice.is_of_several and estimator != "gdpo"
            if is_other or self._only.preset is not None or self._only.estimator not in (None, estimator):
                continue
            usual = Settings.usual("exact", estimator)
            flags = {name: value for name, value in given.items() if value != usual[name]}
            settings = settings_with(
                choice.settings, "exact", estimator, **self._only.says_to(estimator), **flags
            )
            if settings is not None and flags:
                found.append(Rule(("exact",), settings, flags))
        return found

    def _fitted_grpo(self, choice: Choice) -> Iterator[tuple[str, dict[str, Any]]]:
        singles = ("zero", "raw") if choice.column.is_single.any() else ("zero",)
        for ddof in (1, 0):
            eps = fitted_eps(choice.column, ddof)
            for singleton in singles if eps is not None else ():
                yield "grpo", {"norm_ddof": ddof, "norm_eps": eps, "singleton": singleton}

    def _usual_gdpo(self, choice: Choice) -> Iterator[tuple[str, dict[str, Any]]]:
        for group_eps, norm_eps in product(_USUAL_EPS, _USUAL_EPS) if choice.settings.rewards else ():
            yield "gdpo", {"group_eps": group_eps, "norm_eps": norm_eps}

    def _verdict(self, heard: _Heard) -> Verdict:
        """With the rules that reproduce the column, the likeliest first."""
        rules = [
            replace(trial.rule, has_fitted_weights=trial.rule.has_fitted_weights or heard.choice.is_fitted)
            for trial in heard.trials
            if trial.attempt.is_reproduced and not trial.attempt.is_sampled
        ]
        return Verdict(self._verification(heard), rules)

    def _verification(self, verdict: _Heard) -> Verification:
        best, is_reproduced = verdict.trials[0], verdict.is_reproduced
        deviations = verdict.deviations
        if deviations is None and not is_reproduced:
            choice = verdict.choice
            rows = choice.sample.rows_of_stream(choice.column.rows)
            deviations = deviations_of(best, replace(choice.column, rows=rows))
        return Verification(
            path=self._asked.path,
            column=self._asked.against.column,
            column_path=str(self._asked.against.path),
            holds="advantage",
            attempts=[trial.attempt for trial in verdict.trials],
            normalization=None,
            deviations=[] if is_reproduced else deviations or [],
            tolerance=ROUNDINGS * self._asked.against.rounding,
            flags=flags_of(best.rule.settings) if is_reproduced else [],
            equivalent=_equivalent(verdict.trials),
            unreadable=verdict.unreadable,
            num_searched=verdict.num_searched,
            remarks=weight_remarks(self._choices, verdict.choice, best) if is_reproduced else [],
            groups_tried=[_said(one) for one in (*self.groups, *self._choices.others)],
        )


def _said(group: GroupColumns) -> str:
    return group if isinstance(group, str) else ", ".join(group or ())


def _equivalent(trials: Sequence[BaselineTrial]) -> list[str]:
    """`trl grpo`: every other library and estimator that reproduces the column; `grpo` where it is no library's."""
    reproducing = [
        trial.attempt
        for trial in trials
        if trial.attempt.is_reproduced and trial.attempt.is_sampled == trials[0].attempt.is_sampled
    ]
    plain = [attempt for attempt in reproducing if not attempt.flags or attempt is trials[0].attempt]
    names = [replace(attempt, presets=(preset,)).name for attempt in plain for preset in attempt.presets]
    return [name for name in dict.fromkeys(names) if name != names[0]]
