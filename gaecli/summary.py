"""What a run reports: plain numbers, no arrays of rows, nothing that knows how it is shown.

`gaecli.report` turns a `Summary` into a table or into JSON; `gaecli.compute` returns it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from gaecli.errors import GaeError, NoSpaceError, NotBegunError
from gaecli.records import dataclass
from gaecli.shown import Shown, listed, plural

if TYPE_CHECKING:
    from gaecli.gallery import Gallery
    from gaecli.label_summary import LabelSummary, SuccessSummary

SCHEMA_VERSION = 2

Status = Literal["written", "up to date", "dry run", "failed", "not written"]


@dataclass(frozen=True)
class EpisodeCounts:
    """Steps and trajectories, and how the trajectories ended. terminated + truncated + open = episodes."""

    steps: int = 0
    episodes: int = 0
    terminated: int = 0
    truncated: int = 0
    open: int = 0

    def __add__(self, other: EpisodeCounts) -> EpisodeCounts:
        return EpisodeCounts(
            self.steps + other.steps,
            self.episodes + other.episodes,
            self.terminated + other.terminated,
            self.truncated + other.truncated,
            self.open + other.open,
        )


@dataclass(frozen=True)
class BootstrapCounts:
    """Non-terminated ends of trajectories, by what stood in for V(s_{t+1}) there."""

    next_value: int = 0
    zero: int = 0
    current: int = 0

    def __add__(self, other: BootstrapCounts) -> BootstrapCounts:
        return BootstrapCounts(
            self.next_value + other.next_value, self.zero + other.zero, self.current + other.current
        )


@dataclass(frozen=True)
class ColumnStatistics:
    """Of one column over all files. Numbers are None where the count is 0 (never NaN)."""

    count: int
    mean: float | None
    std: float | None
    min: float | None
    max: float | None
    #: Median and histogram come from `sample_count` evenly spread rows; from all rows if it equals `count`.
    median: float | None = None
    sample_count: int = 0
    #: Counts in equal bins from `histogram_range[0]` to `histogram_range[1]`; empty if nothing was sampled.
    histogram: Sequence[int] = ()
    histogram_range: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class Spread:
    """A number of each of several streams: how many have it, and where it lies."""

    count: int
    min: float
    median: float
    max: float


@dataclass(frozen=True)
class Failure:
    """An input that could not be done, and why: how every command hands on what a `GaeError` says."""

    input: str
    error: str
    hint: str | None
    exit_code: int
    #: The input that has the error, where it is another one, without which this one is not done.
    follows: str | None = None
    #: There was no space left for its result.
    lacks_room: bool = False

    @classmethod
    def of(cls, path: Path, error: GaeError) -> Failure:
        follows = error.first if isinstance(error, NotBegunError) else None
        return cls(
            str(path), error.message, error.hint, error.exit_code, follows, isinstance(error, NoSpaceError)
        )

    @classmethod
    def of_stream(cls, paths: Sequence[Path], error: GaeError) -> list[Failure]:
        """The first file has the error, and the others are not done either."""
        first, *others = paths
        told = f"`{first}` of the same stream failed"
        followers = [cls(str(path), told, None, error.exit_code, str(first)) for path in others]
        return [cls.of(first, error), *followers]

    def as_error(self) -> GaeError:
        """To be raised again, where it is the only one."""
        kinds = {kind.exit_code: kind for kind in reversed(GaeError.__subclasses__())}
        return kinds.get(self.exit_code, GaeError)(self.error, hint=self.hint)


@dataclass(frozen=True)
class FileSummary:
    """One input file."""

    input: str
    output: str | None
    status: Status
    format: str | None = None
    layout: str | None = None
    counts: EpisodeCounts = field(default_factory=EpisodeCounts)
    #: How it was (or would be) written: "splice", "rewrite: <why>", "archive", ...
    method: str | None = None
    error: str | None = None
    hint: str | None = None
    exit_code: int = 0
    #: Role -> column that plays it, e.g. {"reward": "rewards"}.
    columns: Mapping[str, str] = field(default_factory=dict)
    #: There was no space left for its result.
    lacks_room: bool = False

    @classmethod
    def of(cls, failure: Failure) -> FileSummary:
        status: Status = "failed" if failure.follows is None else "not written"
        return cls(
            failure.input,
            None,
            status,
            error=failure.error,
            hint=failure.hint,
            exit_code=failure.exit_code,
            lacks_room=failure.lacks_room,
        )

    @property
    def failure(self) -> Failure | None:
        """None as well for a file that is not written because another one failed."""
        if self.status != "failed":
            return None
        return Failure(self.input, self.error or "no reason given", self.hint, self.exit_code)


@dataclass(frozen=True)
class WarningNote:
    """Something the user should know; `count` rows, files or episodes are concerned."""

    code: str
    message: str
    file: str | None = None
    count: int = 0
    hint: str | None = None


@dataclass(frozen=True)
class NormalizationGroup:
    """Constants with which one scope was normalised: out = (A - mean) * scale."""

    label: str
    count: int
    mean: float
    std: float


@dataclass(frozen=True)
class Normalization:
    """`scope` is "none", "all", "file", "episode" or "by <column>"."""

    scope: str
    ddof: int
    eps: float
    floor: str
    #: None where there is more than one group, or none.
    mean: float | None = None
    std: float | None = None
    num_groups: int = 0
    #: At most a few dozen, in order of appearance; all of them are counted in `num_groups`.
    groups: Sequence[NormalizationGroup] = ()


@dataclass(frozen=True)
class UnitCounts:
    """Units of several steps that were one step each: their column, what it holds, and how many there are."""

    column: str
    reading: Literal["id", "end"]
    count: int


@dataclass(frozen=True)
class Baseline:
    """What the scores of trajectories were compared with, of estimators that do so."""

    estimator: str
    #: Columns whose equal values are a group; none where all of a batch are compared.
    columns: Sequence[str]
    ddof: int
    eps: float
    floor: str
    singleton: str
    scale_rewards: str | None = None
    num_groups: int = 0
    #: Groups without a spread of scores, and those of a single trajectory.
    num_flat: int = 0
    num_alone: int = 0
    #: As of `Normalization`.
    groups: Sequence[NormalizationGroup] = ()


@dataclass(frozen=True)
class Seconds:
    """Wall time. Phases overlap, so they need not add up to the total."""

    total: float = 0.0
    read: float = 0.0
    kernel: float = 0.0
    write: float = 0.0


@dataclass(frozen=True)
class Summary(Shown):
    """The result of one `gae compute`."""

    settings: Mapping[str, Any]
    #: "cpu", "cuda:0", "mps"; with what computes there in `backend`, "torch 2.13.0" or "numpy 2.4.1".
    device: str
    backend: str
    files: Sequence[FileSummary]
    bootstrapped: BootstrapCounts
    #: Keys "reward", "value", "advantage", "return", in this order; missing when nothing was computed.
    columns: Mapping[str, ColumnStatistics]
    #: Within streams: what sets their means apart counts as explained by nothing.
    explained_variance: float | None
    normalization: Normalization
    #: None of estimators that compare no trajectories.
    baseline: Baseline | None = None
    warnings: Sequence[WarningNote] = ()
    seconds: Seconds = field(default_factory=Seconds)
    #: One line on how several inputs relate: "3 independent files", "one stream of 3 files".
    streams: str = ""
    #: One line on why this device: "numpy below 20,000,000 steps", "asked for", ...
    device_reason: str = ""
    exit_code: int = 0
    interrupted: bool = False
    #: What pictures are drawn from, where asked for.
    gallery: Gallery | None = None
    #: Of each stream by itself, where there are several.
    explained_variances: Spread | None = None
    #: Where a step was a unit of several rows.
    units: UnitCounts | None = None
    #: Where they were asked for.
    labels: LabelSummary | None = None
    success: SuccessSummary | None = None

    @property
    def failures(self) -> list[Failure]:
        return [file.failure for file in self.files if file.failure is not None]

    @property
    def totals(self) -> EpisodeCounts:
        total = EpisodeCounts()
        for file in self.files:
            total += file.counts
        return total

    @property
    def steps_per_second(self) -> float | None:
        """Of the files that were computed; those that were up to date took no time worth counting."""
        steps = sum(file.counts.steps for file in self.files if file.status in ("written", "dry run"))
        return steps / self.seconds.total if self.seconds.total > 0 else None

    @property
    def brief(self) -> str:
        totals = self.totals
        return listed(
            plural(len(self.files), "file"),
            f"{plural(totals.steps, 'step')} in {plural(totals.episodes, 'episode')}",
            plural(len(self.warnings), "warning") if self.warnings else None,
            f"{len(self.failures):,} failed" if self.failures else None,
        )
