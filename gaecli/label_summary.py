"""What a summary tells of labels and of rewards out of success."""

from __future__ import annotations

from collections.abc import Sequence

from gaecli.records import dataclass
from gaecli.shown import Shown, plural


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


@dataclass(frozen=True)
class LabelRow:
    """A row whose label is another one than the rule gives it."""

    row: int
    #: Of the list of the row; None where a row is a step.
    item: int | None
    number: float | None
    threshold: float | None
    #: None where there is none.
    label: bool | None
    expected: bool | None


@dataclass(frozen=True)
class LabelDifference:
    """Rows that differ in one way from the rule."""

    #: "positive", "negative" or "none", as the column has it and as the rule has it.
    label: str
    expected: str
    count: int
    #: Those of them whose number is the threshold: the operator alone tells them apart.
    num_at_threshold: int
    first_row: int


@dataclass(frozen=True)
class LabelAttempt:
    """One rule, held against all labels."""

    #: That of the command, "as gaecli wrote it", or the name of a library's.
    name: str
    words: str
    operator: str
    groups: Sequence[LabelGroup]
    num_groups: int
    num_differing: int


@dataclass(frozen=True)
class LabelVerification(Shown):
    """A column of labels beside what a rule makes of the numbers of the same file; the best rule first."""

    path: str
    column: str
    #: The column of numbers, and those of groups and of rows that are positive whatever their number.
    number: str
    by: str | None
    forced: str | None
    num_rows: int
    #: As the column has it.
    num_positive: int
    attempts: Sequence[LabelAttempt]
    differences: Sequence[LabelDifference]
    #: The first ones.
    rows: Sequence[LabelRow]
    #: The highest number with a negative label and the lowest with a positive one, where a threshold between them
    #: would make all labels.
    between: tuple[float | None, float | None] | None = None

    @property
    def best(self) -> LabelAttempt:
        return self.attempts[0]

    @property
    def is_reproduced(self) -> bool:
        return self.best.num_differing == 0 and self.num_rows > 0

    @property
    def exit_code(self) -> int:
        return 0 if self.is_reproduced else 3

    @property
    def brief(self) -> str:
        best = self.best
        return (
            f"{self.column!r} by {best.name}, {best.num_differing:,} of {plural(self.num_rows, 'row')} differ"
        )
