"""What `gae verify` is asked: which column of which file, and what alone may have made it."""

from __future__ import annotations

from gaecli.errors import UsageError
from gaecli.estimator_kinds import ESTIMATORS
from gaecli.formats.base import RolloutFile
from gaecli.records import dataclass
from gaecli.settings import Settings
from gaecli.sources.inputs import StreamPlan
from gaecli.studies.column import Against, Holds

#: Equal cells in which are a group; None: all are one.
GroupColumns = str | tuple[str, ...] | None


@dataclass(frozen=True)
class Only:
    """What alone is to be tried; None: whatever there is."""

    preset: str | None = None
    estimator: str | None = None
    n_steps: int | None = None
    group_column: GroupColumns = None

    @property
    def tries_presets(self) -> bool:
        """Those of GAE."""
        return self.estimator in (None, "gae")

    @property
    def is_scored(self) -> bool:
        """Nothing but what compares scores is meant."""
        return self.group_column is not None or (
            self.estimator is not None and ESTIMATORS[self.estimator].is_scored
        )

    @property
    def may_be_grouped(self) -> bool:
        return self.estimator is None or ESTIMATORS[self.estimator].is_grouped


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

    def untried(self, holds: Holds) -> UsageError:
        """What is told where no rule makes a column that holds these, or none that is asked for can be tried."""
        name = self.only.estimator
        other: Holds = "advantage" if holds == "return" else "return"
        is_of_other = name is not None and holds not in ESTIMATORS[name].outputs
        if not is_of_other and not (self.only.is_scored and holds == "return"):
            return UsageError(
                f"no rule can be tried on `{self.path}` as it stands",
                hint="`gae compute --estimator NAME` says what an estimator asks for",
            )
        who = "`--group-column`" if name is None else f"`--estimator {name}`"
        return UsageError(
            f"`{self.against.column}` holds {holds}s by its name, and {who} is tried on {other}s",
            hint=f"name a column of {other}s with `--against`, or drop {who}",
        )
