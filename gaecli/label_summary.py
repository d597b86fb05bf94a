"""What a summary tells of labels and of rewards out of success."""

from __future__ import annotations

from collections.abc import Sequence

from gaecli.records import dataclass


@dataclass(frozen=True)
class LabelGroup:
    """Rows that have a threshold of their own; None where no number is one."""

    label: str
    threshold: float | None


@dataclass(frozen=True)
class LabelSummary:
    """Rows are positive where `number` `operator` threshold."""

    column: str
    #: What is compared: `advantage` or `return`.
    number: str
    #: `>=` or `>`.
    operator: str
    #: `top 30 %`, `above the 30th percentile`; empty for a fixed threshold.
    words: str
    #: Of all rows, or of the groups; as many as are shown, of `num_groups`.
    groups: Sequence[LabelGroup]
    num_groups: int
    #: The column of groups.
    by: str | None
    labelled: int
    positive: int
    #: Rows that are positive whatever their advantage; None where no column names them.
    forced: int | None = None
    #: They count for the quantile.
    forced_count: bool = True


@dataclass(frozen=True)
class SuccessSummary:
    """Rewards by the success of episodes."""

    column: str
    #: `recap`, `steps` or `sparse`.
    reward: str
    failure_cost: float | None
    longest_episode: int
    #: Z, by which the costs of `recap` are divided.
    scale: float | None
    episodes: int
    successes: int
