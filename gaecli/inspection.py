"""What `gae inspect` reports: plain numbers and names of columns, nothing that knows how it is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any, Literal

from gaecli.choices import RoleReason
from gaecli.records import dataclass
from gaecli.shown import Shown, listed, plural
from gaecli.summary import BootstrapCounts, ColumnStatistics, EpisodeCounts, Failure, Spread, WarningNote


@dataclass(frozen=True)
class EpisodeInfo:
    """One trajectory. `row` is that of its first step, counted from the start of `file`."""

    file: str
    row: int
    #: What the file calls it, by role ("env", "episode"); empty where only flags tell trajectories apart.
    key: Mapping[str, Any]
    length: int
    #: "terminated", "truncated" or "open".
    end: str
    #: Sum of its rewards, not discounted.
    total_reward: float
    #: None where no column has values.
    mean_value: float | None


@dataclass(frozen=True)
class StepInfo:
    """One row as it stands in the file, by role. A cell is None where it is null."""

    row: int
    cells: Mapping[str, Any]


@dataclass(frozen=True)
class ExistingColumn:
    """A column that holds, or by its name could hold, advantages or returns."""

    name: str
    type: str
    #: gaecli wrote it; then `provenance` is what that run stored.
    is_own: bool
    provenance: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class ComputePlan:
    """What `gae compute` would do with these files as they are: write, nothing, or ask."""

    action: Literal["write", "up to date", "refuse"]
    settings: Mapping[str, Any]
    target: str | None = None
    #: "splice", "rewrite: <why>", "archive".
    method: str | None = None
    new_columns: Sequence[str] = ()
    replaced_columns: Sequence[str] = ()
    #: Ends without a terminal flag, by what would stand in for the value after them.
    bootstrapped: BootstrapCounts = field(default_factory=BootstrapCounts)
    error: str | None = None
    hint: str | None = None
    exit_code: int = 0


@dataclass(frozen=True)
class LogInfo:
    """A log of responses that a library wrote, and how it is computed with. Nothing of it is done unasked."""

    name: str
    #: Library and version, file, function.
    writer: str
    rewards: Sequence[str]
    #: Columns whose values together tell the responses to one prompt.
    group: Sequence[str]
    #: The column of advantages that is there already.
    advantage: str | None
    #: One line of all that.
    says: str
    #: What to type; None where columns are missing for it.
    command: str | None


@dataclass(frozen=True)
class FileInfo(Shown):
    """What is in a file, or in the files of one stream; what `gaecli.inspect` returns.

    All from `counts` on needs the rows to be read; it is None or empty where `compute` would refuse
    the file, but for the statistics of the cells that can be read.
    """

    path: str
    format: str
    #: None where the columns that decide it are missing; `problem` then says what `compute` would say.
    layout: str | None
    num_rows: int
    num_bytes: int
    #: Every column with its type.
    columns: Mapping[str, str]
    #: Role -> column that plays it.
    roles: Mapping[str, str]
    problem: str | None = None
    hint: str | None = None
    #: What an earlier run left in the file.
    provenance: Mapping[str, Any] | None = None
    #: All files of the stream, in order.
    files: Sequence[str] = ()
    #: The data set that they are, or are a part of: "LeRobot v3.0 data set".
    data_set: str | None = None
    #: How the layout was recognised, in a few words.
    layout_reason: str | None = None
    #: None for formats without row groups.
    num_row_groups: int | None = None
    #: Role -> why its column was chosen.
    role_reasons: Mapping[str, RoleReason] = field(default_factory=dict)
    #: Role -> type of its column, which may lie within another one (`infos.value`).
    role_types: Mapping[str, str] = field(default_factory=dict)
    counts: EpisodeCounts | None = None
    #: Steps per episode.
    lengths: ColumnStatistics | None = None
    #: Rewards of an episode summed, not discounted.
    episode_rewards: ColumnStatistics | None = None
    #: "reward" and "value".
    statistics: Mapping[str, ColumnStatistics] = field(default_factory=dict)
    #: 1 - Var(R - V) / Var(R) with R the return at λ = 1, bootstrapped as `plan` says.
    explained_variance: float | None = None
    existing: Sequence[ExistingColumn] = ()
    #: Where it is one.
    log: LogInfo | None = None
    plan: ComputePlan | None = None
    warnings: Sequence[WarningNote] = ()
    #: Where asked for.
    episodes: Sequence[EpisodeInfo] = ()
    head: Sequence[StepInfo] = ()

    @property
    def brief(self) -> str:
        counts = self.counts
        return listed(
            f"{self.path!r}, {self.layout or 'unknown'} layout",
            plural(self.num_rows, "row"),
            plural(counts.episodes, "episode") if counts is not None else None,
            None if self.problem is None else f"refused: {self.problem}",
        )


@dataclass(frozen=True)
class Inspection:
    """The result of one `gae inspect`: what is in each input, and what could not be opened at all."""

    infos: Sequence[FileInfo]
    #: The γ that episodes are discounted with for the explained variance.
    gamma: float
    failures: Sequence[Failure] = ()
    streams: str = ""
    seconds: float = 0.0
    #: Within streams, and of each by itself, where there are several.
    explained_variance: float | None = None
    explained_variances: Spread | None = None

    @property
    def exit_code(self) -> int:
        return max((failure.exit_code for failure in self.failures), default=0)
