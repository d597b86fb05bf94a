"""What `gae verify` is asked: which column of which file, and what alone may have made it."""

from __future__ import annotations

from gaecli.estimator_kinds import ESTIMATORS
from gaecli.formats.base import RolloutFile
from gaecli.records import dataclass
from gaecli.settings import Settings
from gaecli.sources.inputs import StreamPlan
from gaecli.studies.column import Against

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
    def is_grouped(self) -> bool:
        """Nothing but group baselines is meant."""
        return self.group_column is not None or (
            self.estimator is not None and ESTIMATORS[self.estimator].is_grouped
        )


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
