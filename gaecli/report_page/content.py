"""What the page of `gae report` shows: plain data, and curves as arrays. Bounded in size by whoever fills it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gaecli.array_types import FloatArray, IndexArray
from gaecli.diagnosis import Checkup
from gaecli.explanation import BootstrapSource, End
from gaecli.records import dataclass
from gaecli.summary import BootstrapCounts, ColumnStatistics, EpisodeCounts, WarningNote


@dataclass(frozen=True, eq=False)
class ReportCurves:
    """One episode, step by step; of a long one the steps that a drawing needs."""

    #: [P] positions in the episode, from 0, ascending.
    steps: IndexArray
    #: [P] the row of each, counted over all files of the input; of lists, also the item in them.
    rows: IndexArray
    items: IndexArray | None
    #: [P] each: "reward", "value", "return", "advantage", "delta", "stored". NaN where there is no number.
    series: Mapping[str, FloatArray]
    #: Positions [first, last] of steps that count for nothing: masked ones, say.
    masked: Sequence[tuple[int, int]] = ()


@dataclass(frozen=True, eq=False)
class ReportEpisode:
    """One line of the list, and what is drawn of it."""

    #: In the order in which they begin in the input.
    number: int
    #: What the file calls it: role -> value.
    key: Mapping[str, Any]
    file: str
    #: Of its first step.
    row: int
    #: Steps that count, and positions with those that do not.
    num_steps: int
    num_positions: int
    total_reward: float
    #: None where there is nothing of the kind.
    mean_value: float | None
    largest_advantage: float | None
    #: Root mean square of R - V.
    value_error: float | None
    largest_delta: float | None
    end: End
    bootstrap: BootstrapSource
    bootstrap_value: float
    #: How many robust standard deviations from the median its strangest measure is, which one that is, that measure
    #: and the median.
    strangeness: float
    strangest: str
    measure: float
    median: float
    #: Why it is on the page.
    chosen_as: Sequence[str]
    curves: ReportCurves
    #: Index into the groups that are shown.
    group: int | None = None


@dataclass(frozen=True)
class ReportGroup:
    """Responses that are compared with one another."""

    label: str
    count: int
    mean: float
    std: float
    min: float
    max: float
    #: All scores are equal: nothing is learned from it.
    is_flat: bool
    #: Of the first members.
    scores: Sequence[float]


@dataclass(frozen=True)
class ReportGroups:
    """Those that are shown, of all that there are."""

    columns: Sequence[str]
    groups: Sequence[ReportGroup]
    num_groups: int
    num_flat: int
    num_alone: int
    how_chosen: str


@dataclass(frozen=True, eq=False)
class ReportScatter:
    """Value against return, at steps spread evenly: [P] each."""

    values: FloatArray
    returns: FloatArray
    rows: IndexArray
    num_steps: int


@dataclass(frozen=True)
class StoredColumn:
    """Advantages that are in the file already, beside those that are computed."""

    column: str
    #: gaecli wrote it.
    is_own: bool
    #: Where gaecli wrote it, what the settings of that run were that are others here.
    settings: Mapping[str, Any]
    num_compared: int
    num_differing: int
    #: Cells without a number where there is one to be.
    num_missing: int
    max_abs: float


@dataclass(frozen=True)
class PlacedFinding:
    """A finding whose step is on the page: index of the episode, position in it."""

    finding: int
    episode: int
    position: int


@dataclass(frozen=True, eq=False)
class ReportContent:
    """Of one input."""

    source: str
    format: str
    layout: str
    files: Sequence[str]
    num_rows: int
    num_bytes: int
    roles: Mapping[str, str]
    #: Of earlier runs of gaecli, as the file has it.
    provenance: Sequence[Mapping[str, Any]]
    command: str
    #: `gae explain INPUT …`, to which the step is added; by `--row N`, or by `--row N --step T` of lists.
    explain: str
    is_by_item: bool
    settings: Mapping[str, Any]
    #: How the advantages were made, in one line.
    method: str
    #: Why other settings are used than those that were asked for.
    remark: str | None
    has_values: bool
    counts: EpisodeCounts
    bootstrapped: BootstrapCounts
    statistics: Mapping[str, ColumnStatistics]
    explained_variance: float | None
    warnings: Sequence[WarningNote]
    checkup: Checkup
    placed: Sequence[PlacedFinding]
    scatter: ReportScatter | None
    stored: StoredColumn | None
    episodes: Sequence[ReportEpisode]
    num_episodes: int
    how_chosen: str
    #: Points in all curves, and steps of the episodes that they stand for.
    num_points: int
    groups: ReportGroups | None = None
