"""Many settings of a stream: what each does to mean, spread and bias of its numbers.

A grid of γ, λ and n of one estimator is one reading. Presets and estimators side by side, each with its own rules for
how a file is to be read, are a reading each.

The bias proxy of a setting is the root mean square of A(γ, λ) - A(γ, 1), over the standard deviation of
A(γ, 1): λ = 1 trusts the values at the end of the trajectory only, so what another λ changes is owed to
them. It says nothing of the bias that γ itself brings, nor of values that are wrong at the bootstrap.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import field
from functools import partial
from pathlib import Path
from typing import TypeVar

from gaecli.commands.warnings import reading_notes
from gaecli.engines.threads import Threads, default_jobs
from gaecli.errors import GaeError
from gaecli.label_settings import OPERATORS
from gaecli.label_summary import LabelGroup
from gaecli.pipeline.apply import Totals
from gaecli.pipeline.column_statistics import Explained
from gaecli.pipeline.judging.continuity import Continuity
from gaecli.pipeline.label_types import LabelTypes
from gaecli.pipeline.labels import LabelConstants
from gaecli.pipeline.notes import merged
from gaecli.pipeline.outcomes import success_summary
from gaecli.pipeline.reading_errors import not_done
from gaecli.progress import Progress
from gaecli.records import dataclass
from gaecli.response_logs import ResponseLogError
from gaecli.results import Sweep, SweepFile, SweepPoint, SweptInput
from gaecli.settings import RunOptions, Settings
from gaecli.sources.inputs import StreamPlan, describe_streams, plan_streams, watched
from gaecli.storage.places import Places
from gaecli.studies.columns_out import ColumnsOut
from gaecli.studies.reading import SettledStream, longest_episode
from gaecli.studies.sweep_grid import GridReading, grid_thresholds, grid_totals, read_grid
from gaecli.studies.sweep_labels import check_fits, groups_told
from gaecli.studies.sweep_points import SweepPoints, grid_of, side_by_side
from gaecli.studies.sweep_rules import rules_side_by_side
from gaecli.studies.sweep_totals import PointTotal, sweep_point
from gaecli.summary import EpisodeCounts, Failure, WarningNote

T = TypeVar("T")

#: Points of single inputs are kept up to so many, of the first ones.
MOST_KEPT = 20_000


@dataclass(frozen=True)
class SweepOptions:
    """Where the columns go, if they are written, and what it all may cost."""

    output: Path | str | None = None
    overwrite: bool = False
    memory_bytes: int = 1 << 30
    device: str = "auto"
    jobs: int | None = None


def sweep(
    sources: Sequence[str | Path],
    gammas: Sequence[float],
    lams: Sequence[float],
    settings: Settings | None = None,
    options: SweepOptions | None = None,
    *,
    windows: Sequence[int] = (),
    progress: Progress | None = None,
) -> Sweep:
    """Every γ with every λ and n of a grid over all steps of all sources.

    Args:
        sources: files, as for `compute`.
        gammas, lams, windows: the grid; the last two as far as the estimator uses them.
        settings: the estimator, and how files are read; the settings that signs are compared with.
        options: `output` writes one column per setting into copies.
        progress: is told of the rows gone over.

    Raises:
        GaeError: for what concerns the run as a whole; files that fail are listed in the result.
    """
    settings = settings or Settings()
    points = grid_of(settings, gammas, lams, windows)
    return _swept(sources, points, options or SweepOptions(), progress)


def sweep_side_by_side(
    sources: Sequence[str | Path],
    settings: Sequence[Settings],
    options: SweepOptions | None = None,
    progress: Progress | None = None,
) -> Sweep:
    """Each of `settings` over all sources; signs are compared with those under the first of them."""
    return _swept(sources, side_by_side(settings), options or SweepOptions(), progress)


def _swept(
    sources: Sequence[str | Path], points: SweepPoints, options: SweepOptions, progress: Progress | None
) -> Sweep:
    run = RunOptions(output=options.output, overwrite=options.overwrite, dry_run=options.output is None)
    started = time.perf_counter()
    with Places(run) as places:
        plans = plan_streams(places.inputs.fetched(sources), points.reference.join)
        looks = 2 if points.is_grid else 2 * len(points.points)  # of several settings each reads all streams
        plans = watched(plans, progress, "sweeping", looks=looks, is_in_step=not points.is_grid or None)
        places.results.check([path for plan in plans for path in plan.paths])
        check_fits(points.reference, len(points.points) + 1, options.memory_bytes)
        output = ColumnsOut(plans, points.reference, points.columns, places)
        threads = Threads(options.jobs or default_jobs())
        one = _Swept(points, options, output, threads, [PointTotal() for _ in points.points])
        try:
            if points.is_grid:
                one.grid(plans)
            else:
                one.side_by_side(plans)
        finally:
            threads.close()
            output.abandon()
        places.results.deliver()
        found = one.result(plans, time.perf_counter() - started)
        return places.shown_in(found)


@dataclass(eq=False)
class _Swept:
    """What a sweep has found so far."""

    points: SweepPoints
    options: SweepOptions
    output: ColumnsOut
    threads: Threads
    totals: list[PointTotal]
    explained: list[Explained] = field(default_factory=list)
    continuity: Continuity = field(default_factory=Continuity)
    counts: EpisodeCounts = field(default_factory=EpisodeCounts)
    files: list[SweepFile] = field(default_factory=list)
    inputs: list[SweptInput] = field(default_factory=list)
    #: Thresholds of labels by point, where rows are labelled.
    label_groups: list[Sequence[LabelGroup]] = field(default_factory=list)
    warnings: list[WarningNote] = field(default_factory=list)
    #: Where success makes the rewards: the steps of the longest episode of all inputs, and those that succeeded.
    longest_episode: int = 0
    num_successes: int = 0

    def __post_init__(self) -> None:
        self.explained = [Explained() for _ in self.totals]

    def grid(self, plans: Sequence[StreamPlan]) -> None:
        """One reading of each stream, with every point of the grid."""
        memory = self.options.memory_bytes
        longest = longest_episode(plans, self.points.reference, memory, self._tried)
        if self.points.reference.labelling is not None:
            self._labelled_grid(plans, longest)
            return
        for number, plan in enumerate(plans):

            def look(plan: StreamPlan = plan, number: int = number) -> None:
                self._finish_grid(plan, self._grid_reading(plan, number, longest, memory), None)

            self._tried(plan, look)
            if plan.progress is not None:
                plan.progress.end(plan.paths)

    def _labelled_grid(self, plans: Sequence[StreamPlan], longest: int) -> None:
        """Thresholds are of all streams, so that all are read before the first of them is done."""
        memory, types = self.options.memory_bytes // max(len(plans), 1), LabelTypes()
        grids: list[tuple[StreamPlan, GridReading]] = []
        for number, plan in enumerate(plans):

            def read(plan: StreamPlan = plan, number: int = number) -> GridReading:
                found = self._grid_reading(plan, number, longest, memory)
                types.add(found.reading.stream.opened)
                self.output.check(found.reading.stream)
                return found

            found = self._tried(plan, read)
            grids += [] if found is None else [(plan, found)]
        constants = grid_thresholds([grid for _, grid in grids], self.points)
        self.label_groups = [groups_told(one) for one in constants]
        for plan, grid in grids:
            self._tried(plan, partial(self._finish_grid, plan, grid, constants))

    def _grid_reading(self, plan: StreamPlan, number: int, longest: int, memory: int) -> GridReading:
        points, device = self.points, self.options.device
        return GridReading(read_grid(plan, number, points, memory, device, longest, self.threads), points)

    def _finish_grid(
        self, plan: StreamPlan, grid: GridReading, constants: Sequence[LabelConstants] | None
    ) -> None:
        by_point, totals = grid_totals(grid, self.output, constants)
        self._add(plan, by_point, totals)
        self._know(plan, grid.reading, totals)

    def side_by_side(self, plans: Sequence[StreamPlan]) -> None:
        """One reading of all streams for each point; groups reach over all of them."""
        memory = self.options.memory_bytes
        each, self.label_groups = rules_side_by_side(plans, self.points, self.output, memory, self._tried)
        for found in each:
            self._add(found.plan, found.by_point, found.totals)
            self._know(found.plan, found.reading, found.totals)

    def _tried(self, plan: StreamPlan, look: Callable[[], T]) -> T | None:
        try:
            return look()
        except (GaeError, OSError, MemoryError) as error:
            self.files = [file for file in self.files if file.input not in map(str, plan.paths)]
            self.files += _failed(plan, error)
            return None

    def _add(self, plan: StreamPlan, by_point: Sequence[PointTotal], totals: Totals) -> None:
        """What a stream adds to each point, and what each is of the stream alone."""
        alone = [Explained() for _ in by_point]
        for index, total in enumerate(by_point):
            self.totals[index] = self.totals[index].merge(total)
            self.explained[index].add(total.errors, total.returns)
            alone[index].add(total.errors, total.returns)
        if len(self.inputs) * self.points.num_shown < MOST_KEPT:
            points = [self._point(index, by_point, alone[index].within) for index in self.points.shown]
            self.inputs.append(SweptInput(str(plan.paths[0]), len(plan.paths), totals.counts, points))

    def _point(self, index: int, totals: Sequence[PointTotal], explained: float | None) -> SweepPoint:
        groups = self.label_groups[index] if self.label_groups else ()
        return sweep_point(self.points, index, totals, explained, groups)

    def _know(self, plan: StreamPlan, reading: SettledStream, totals: Totals) -> None:
        self.counts += totals.counts
        self.continuity.add(reading.stream.edges)
        opened = reading.stream.opened
        self.longest_episode = max(self.longest_episode, opened.longest_episode)
        self.num_successes += sum(one.num_successes for one in opened.outcomes or ())
        self.warnings += reading.stream.warnings
        self.warnings += reading_notes(totals, self.points.reference, opened)
        layout = reading.stream.layout.name
        self.files += [SweepFile(str(path), self.output.place(path), layout=layout) for path in plan.paths]

    def result(self, plans: Sequence[StreamPlan], seconds: float) -> Sweep:
        points, reference = self.points, self.points.reference
        return Sweep(
            settings=reference.to_dict(),
            gammas=list(points.gammas),
            lams=list(points.lams),
            is_grid=points.is_grid,
            reference=(reference.gamma if points.gammas else None, reference.lam) if points.lams else None,
            points=[self._point(index, self.totals, self.explained[index].within) for index in points.shown],
            files=self.files,
            counts=self.counts,
            inputs=self.inputs if len(plans) > 1 else [],
            labels=_words_of(reference),
            windows=list(points.windows),
            streams=describe_streams(plans),
            warnings=merged([*self.warnings, *self.continuity.notes()]),
            seconds=seconds,
            success=success_summary(
                reference, self.longest_episode, self.counts.episodes, self.num_successes
            ),
        )


def _words_of(settings: Settings) -> str | None:
    """Which rows are positive."""
    labelling = settings.labelling
    if labelling is None:
        return None
    fixed = "" if labelling.threshold is None else f"{OPERATORS[labelling.operator]} {labelling.threshold:g}"
    return (labelling.words or fixed) + (f", of each {settings.label_by}" if settings.label_by else "")


def _failed(plan: StreamPlan, error: GaeError | OSError | MemoryError) -> list[SweepFile]:
    """An error of the system comes from writing here: those of reading are told where they come up."""
    known = not_done(error, plan.paths[0], plan.paths[0])
    if isinstance(known, ResponseLogError):
        known = known.of_command("gae sweep")
    return [SweepFile.of(failure) for failure in Failure.of_stream(plan.paths, known)]
