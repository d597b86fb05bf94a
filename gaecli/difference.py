"""What `gae diff` tells: where two columns of the same rows differ, and by how much. Plain data."""

from __future__ import annotations

from collections.abc import Sequence

from gaecli.records import dataclass
from gaecli.shown import Shown, plural
from gaecli.summary import WarningNote

#: Exit code where numbers differ.
EXIT_DIFFERENT = 3


@dataclass(frozen=True)
class Side:
    """One of the two columns."""

    path: str
    column: str
    #: What it was computed with, where that was done for the comparison: `preset sb3`.
    made_by: str | None = None


@dataclass(frozen=True)
class DifferentCell:
    """Row of the file, counted over the items of lists and the cells of arrays; None stands for no number."""

    row: int
    a: float | None
    b: float | None
    episode: int | None = None


@dataclass(frozen=True)
class DifferentEpisode:
    """A trajectory, by its number in the order of the file."""

    number: int
    row: int
    length: int
    num_differing: int
    max_abs: float
    #: Of `b` minus `a`, over its steps that both have.
    mean: float


@dataclass(frozen=True)
class ColumnDifference(Shown):
    """b against a. Cells differ where |a - b| > atol + rtol · max(|a|, |b|), or only one of them has a number."""

    a: Side
    b: Side
    rtol: float
    atol: float
    num_cells: int
    #: Both have a number there.
    num_compared: int
    num_differing: int
    #: Of these: one has a number, and the other has none.
    num_one_sided: int
    num_sign_flips: int
    #: Of the numbers that both have; None where there are none, or nothing varies.
    max_abs: float | None = None
    mean_abs: float | None = None
    rms: float | None = None
    correlation: float | None = None
    #: Least squares: b ≈ slope · a + intercept.
    slope: float | None = None
    intercept: float | None = None
    first: DifferentCell | None = None
    worst: Sequence[DifferentCell] = ()
    #: None where trajectories are not told apart.
    num_episodes: int | None = None
    num_episodes_differing: int | None = None
    #: Those with the largest differences.
    episodes: Sequence[DifferentEpisode] = ()
    #: Commands that take the first, or the worst, number apart.
    explain: Sequence[str] = ()
    warnings: Sequence[WarningNote] = ()

    @property
    def exit_code(self) -> int:
        return EXIT_DIFFERENT if self.num_differing else 0

    @property
    def brief(self) -> str:
        largest = "" if self.max_abs is None else f", by {self.max_abs:.3g} at most"
        return f"{self.num_differing:,} of {plural(self.num_cells, 'cell')} differ{largest}"
