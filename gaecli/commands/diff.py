"""`gae diff`: two columns of the same rows, or what two presets make of one file."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from gaecli.array_types import BoolArray, FloatArray, IndexArray
from gaecli.difference import ColumnDifference, DifferentCell, DifferentEpisode, Side
from gaecli.errors import DataError, GaeError, UsageError
from gaecli.flat_rollouts import Rollouts
from gaecli.pipeline.memory import rows_per_block
from gaecli.pipeline.reading_errors import told
from gaecli.progress import Progress
from gaecli.records import dataclass
from gaecli.settings import RunOptions, Settings
from gaecli.shell_words import file_word
from gaecli.sources.inputs import StreamPlan, plan_streams, watched
from gaecli.storage.places import Places
from gaecli.studies.column_pairs import PairTally, cells_of, side_by_side
from gaecli.studies.command import flags_of
from gaecli.summary import WarningNote

#: Rows and episodes that are listed.
MOST_LISTED = 5
#: Of a step, where trajectories are told apart: its difference, and what `gaecli.read` holds of it.
_BYTES_PER_STEP = 96


@dataclass(frozen=True)
class DiffOptions:
    """What is equal, and what it may cost."""

    rtol: float = 1e-5
    atol: float = 1e-8
    memory_bytes: int = 1 << 30

    def __post_init__(self) -> None:
        for flag, number in (("--rtol", self.rtol), ("--atol", self.atol)):
            if not 0 <= number < float("inf"):
                raise UsageError(f"`{flag}` is {number:g}; it must be 0 or more")


def diff_columns(
    a: tuple[str | Path, str],
    b: tuple[str | Path, str],
    settings: Settings,
    options: DiffOptions,
    progress: Progress | None = None,
) -> ColumnDifference:
    """Column `b` against column `a`, each (source, name of the column); the sources have the same rows.

    `settings` say how trajectories are told apart.

    Raises:
        UsageError: if a column is not there, or a source is several files.
        DataError: if they do not have the same number of cells.
    """
    with Places(RunOptions(dry_run=True)) as places:
        paths = [_only(path, places) for path in places.inputs.fetched([a[0], b[0]])]
        sides = Side(str(a[0]), a[1]), Side(str(b[0]), b[1])
        return places.shown_in(_compared(paths, sides, settings, options, progress))


def diff_settings(
    source: str | Path,
    both: Sequence[Settings],
    names: Sequence[str],
    options: DiffOptions,
    progress: Progress | None = None,
) -> ColumnDifference:
    """What the second of two settings makes of a file against what the first one does; `names` are shown."""
    from gaecli.commands.sweep import SweepOptions, sweep_side_by_side

    with tempfile.TemporaryDirectory(prefix="gaecli-") as folder:
        to_folder = SweepOptions(f"{folder}/", memory_bytes=options.memory_bytes)
        found = sweep_side_by_side([source], both, to_folder, progress)
        bad = next((file for file in found.files if file.error is not None), None)
        if bad is not None:
            raise DataError(f"{bad.error}", hint=bad.hint)
        if len(found.files) != 1 or found.files[0].output is None:
            raise UsageError(
                f"`{source}` is several files", hint="compare what two settings make of one file at a time"
            )
        path = Path(found.files[0].output)
        columns = [point.column for point in found.points]
        if len(columns) != 2 or None in columns:
            raise UsageError("two different settings are compared", hint="pass `--preset exact,sb3`, say")
        sides = tuple(
            Side(str(source), str(column), name) for column, name in zip(columns, names, strict=True)
        )
        compared = _compared([path, path], (sides[0], sides[1]), both[0], options, progress)
        notes = [
            replace(note, message=note.message.replace(str(path), str(source))) for note in compared.warnings
        ]
        explain = [
            " ".join([command, *flags_of(one)])
            for one in both
            for command in _explain(str(source), compared.first)
        ]
        return replace(compared, explain=explain, warnings=notes)


def _only(source: str | Path, places: Places) -> Path:
    plans = plan_streams([source], None)
    if len(plans) != 1 or len(plans[0].paths) != 1:
        raise UsageError(f"`{source}` is several files", hint="compare two files at a time")
    (path,) = plans[0].paths
    places.inputs.fill(path)
    return path


def _compared(
    paths: Sequence[Path],
    sides: tuple[Side, Side],
    settings: Settings,
    options: DiffOptions,
    progress: Progress | None,
) -> ColumnDifference:
    tally = PairTally(options.rtol, options.atol, MOST_LISTED)
    block_rows = rows_per_block(options.memory_bytes)
    (first_plan,) = watched([_plan(paths[0])], progress, "telling episodes apart", looks=2)
    rollouts, warnings = _trajectories(first_plan, settings, options)
    looks = 2 if paths[0] == paths[1] else 1
    plans = watched([_plan(path) for path in paths], progress, "comparing", looks=looks, is_in_step=True)
    files = [plan.open(plan.paths[0]) for plan in plans]
    episodes = None if rollouts is None else _Episodes(rollouts)
    with told(paths[0]):
        cells = (cells_of(file, side.column, block_rows) for file, side in zip(files, sides, strict=True))
        for a, b in side_by_side(*cells):
            differs = tally.add(a, b)
            if episodes is not None:
                episodes.add(a, b, differs)
    count = tally.num_compared
    first = None if tally.first is None else _cell(*tally.first, episodes)
    worst = sorted(tally.worst, key=lambda entry: (-entry[0], -entry[1]))
    line = tally.line
    return ColumnDifference(
        *sides,
        options.rtol,
        options.atol,
        tally.num_cells,
        count,
        tally.num_differing,
        tally.num_one_sided,
        tally.num_sign_flips,
        max_abs=tally.max_abs if count else None,
        mean_abs=tally.sum_abs / count if count else None,
        rms=float(np.sqrt(tally.sum_squares / count)) if count else None,
        correlation=tally.correlation,
        slope=None if line is None else line[0],
        intercept=None if line is None else line[1],
        first=first,
        worst=[_cell(-minus_row, a, b, episodes) for _, minus_row, a, b in worst],
        num_episodes=None if episodes is None else episodes.count,
        num_episodes_differing=None if episodes is None else episodes.num_differing,
        episodes=() if episodes is None else episodes.worst(),
        explain=_explain(sides[0].path, first),
        warnings=warnings,
    )


def _plan(path: Path) -> StreamPlan:
    (plan,) = plan_streams([path], None)
    return plan


def _trajectories(
    plan: StreamPlan, settings: Settings, options: DiffOptions
) -> tuple[Rollouts | None, list[WarningNote]]:
    """Which step is of which trajectory; None, and why, where that is not told or does not fit."""
    from gaecli.studies.assembly import rollouts_of
    from gaecli.studies.reading import read_stream

    file = plan.open(plan.paths[0])
    if file.num_rows * _BYTES_PER_STEP > options.memory_bytes:
        return None, [
            WarningNote(
                "no-episodes", f"`{file.path}` is too large to tell by episode within `--memory`", None, 1
            )
        ]
    try:
        return rollouts_of(read_stream(plan, settings, options.memory_bytes)), []
    except GaeError as error:
        return None, [WarningNote("no-episodes", f"not told by episode: {error.message}", None, 1)]


class _Episodes:
    """What sets the columns apart, by trajectory."""

    def __init__(self, rollouts: Rollouts) -> None:
        self._rollouts = rollouts
        self.count = len(rollouts.offsets) - 1
        number_of_steps = np.repeat(np.arange(self.count), np.diff(rollouts.offsets))
        #: Step by step of the file: its cell, and its trajectory.
        order = np.argsort(rollouts.rows, kind="stable")
        self._rows: IndexArray = rollouts.rows[order]
        self._numbers: IndexArray = number_of_steps[order]
        self._start = 0
        self._differing = np.zeros(self.count, np.int64)
        self._max = np.zeros(self.count)
        self._sum = np.zeros(self.count)
        self._compared = np.zeros(self.count, np.int64)

    def add(self, a: FloatArray, b: FloatArray, differs: BoolArray) -> None:
        """The next cells."""
        begin, end = np.searchsorted(self._rows, [self._start, self._start + len(a)])
        at = self._rows[begin:end] - self._start
        numbers = self._numbers[begin:end]
        self._start += len(a)
        with np.errstate(invalid="ignore"):
            apart = np.where(a[at] == b[at], 0.0, b[at] - a[at])
        known = ~np.isnan(apart)
        np.add.at(self._differing, numbers, differs[at])
        np.maximum.at(self._max, numbers[known], np.abs(apart[known]))
        np.add.at(self._sum, numbers[known], apart[known])
        np.add.at(self._compared, numbers[known], 1)

    def number_of(self, row: int) -> int | None:
        at = int(np.searchsorted(self._rows, row))
        return int(self._numbers[at]) if at < len(self._rows) and self._rows[at] == row else None

    @property
    def num_differing(self) -> int:
        return int((self._differing > 0).sum())

    def worst(self) -> list[DifferentEpisode]:
        order = np.lexsort((np.arange(self.count), -self._max, self._differing == 0))[:MOST_LISTED]
        offsets = self._rollouts.offsets
        return [
            DifferentEpisode(
                number,
                int(self._rollouts.rows[offsets[number]]),
                int(offsets[number + 1] - offsets[number]),
                int(self._differing[number]),
                float(self._max[number]),
                float(self._sum[number] / max(1, self._compared[number])),
            )
            for number in order.tolist()
            if self._differing[number]
        ]


def _cell(row: int, a: float, b: float, episodes: _Episodes | None) -> DifferentCell:
    number = None if episodes is None else episodes.number_of(row)
    return DifferentCell(row, None if np.isnan(a) else a, None if np.isnan(b) else b, number)


def _explain(path: str, first: DifferentCell | None) -> list[str]:
    """The command that takes the first number apart in which they differ."""
    return [] if first is None else [f"gae explain {file_word(path)} --row {first.row}"]
