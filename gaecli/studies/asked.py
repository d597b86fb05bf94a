"""What `gae verify` is asked: which column of which file, and what alone may have made it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from gaecli.errors import UsageError
from gaecli.estimator_kinds import ESTIMATORS, EstimatorKind
from gaecli.formats.base import RolloutFile
from gaecli.records import dataclass
from gaecli.setting_fields import setting_flag
from gaecli.settings import Settings
from gaecli.sources.inputs import StreamPlan
from gaecli.studies.column import Against, Holds

#: Equal cells in which are a group; None: all are one.
GroupColumns = str | tuple[str, ...] | None

#: What scores are made of and compared over, beside their groups and rewards: said by the user or not at all.
SCORE_COLUMNS = ("sample_of", "batch_column", "length_column", "state_column", "baseline_column")


@dataclass(frozen=True)
class Only:
    """What alone is to be tried; None: whatever there is."""

    preset: str | None = None
    estimator: str | None = None
    n_steps: int | None = None
    group_column: GroupColumns = None
    #: Column -> weight: the score is their weighted sum, or they are compared one by one. Empty: any.
    rewards: Mapping[str, float] = field(default_factory=dict)
    #: No weight was given: where 1 is not it, those are looked for that are.
    are_weights_open: bool = True
    #: Of `SCORE_COLUMNS`, those that are given.
    score_columns: Mapping[str, str] = field(default_factory=dict)
    #: Settings that hold for every rule, of `gaecli.studies.tested.TESTED`.
    tested: Mapping[str, Any] = field(default_factory=dict)
    #: Columns of policies and of Q by their role, and clips: for estimators that have them.
    policies: Mapping[str, Any] = field(default_factory=dict)

    @property
    def tries_presets(self) -> bool:
        """Those of GAE."""
        return self.estimator in (None, "gae")

    @property
    def is_scored(self) -> bool:
        """Nothing but what compares scores is meant."""
        is_named = self.estimator is not None and ESTIMATORS[self.estimator].is_scored
        return is_named or self.flag_of_scores is not None

    def says_to(self, estimator: str) -> dict[str, Any]:
        """Of the columns that are given, those that this estimator looks at."""
        takes = ESTIMATORS[estimator].takes
        return {name: column for name, column in self.score_columns.items() if name in takes}

    def policies_of(self, kind: EstimatorKind) -> tuple[dict[str, str], dict[str, Any]]:
        """Of policies, the columns that an estimator reads, and its clips."""
        columns = {role: name for role, name in self.policies.items() if role in kind.own_roles}
        return columns, {name: clip for name, clip in self.policies.items() if name in kind.takes}

    @property
    def flag_of_scores(self) -> str | None:
        """One that is given and says something to scores alone."""
        if self.group_column is not None:
            return "--group-column"
        if self.rewards:
            return "--reward"
        return next((setting_flag(name) for name in self.score_columns), None)

    @property
    def may_be_grouped(self) -> bool:
        return self.estimator is None or ESTIMATORS[self.estimator].is_grouped


class Untried(UsageError):
    """No rule can be tried: what keeps the file from being read says more, where there is such a reason."""


class GroupsUntold(UsageError):
    """Nothing tells groups of scores apart."""


@dataclass(frozen=True, eq=False)
class Asked:
    """`settings` say how the file is to be read."""

    plan: StreamPlan
    #: The first of the plan.
    file: RolloutFile
    against: Against
    settings: Settings
    memory_bytes: int
    only: Only

    @property
    def path(self) -> str:
        return str(self.plan.paths[0])

    def untried(self, holds: Holds) -> Untried:
        """What is told where no rule makes a column that holds these, or none that is asked for can be tried."""
        name = self.only.estimator
        other: Holds = "advantage" if holds == "return" else "return"
        is_of_other = name is not None and holds not in ESTIMATORS[name].outputs
        if not is_of_other and not (self.only.is_scored and holds == "return"):
            return Untried(
                f"no rule can be tried on `{self.path}` as it stands",
                hint="`gae compute --estimator NAME` says what an estimator asks for",
            )
        who = f"`{self.only.flag_of_scores}`" if name is None else f"`--estimator {name}`"
        return Untried(
            f"`{self.against.column}` holds {holds}s by its name, and {who} is tried on {other}s",
            hint=f"name a column of {other}s with `--against`, or drop {who}",
        )
