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
from contextlib import closing
from dataclasses import field
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from gaecli.commands.warnings import only_file, reading_notes
from gaecli.errors import GaeError
from gaecli.pipeline.apply import Totals, reading_totals
from gaecli.pipeline.column_statistics import Explained
from gaecli.pipeline.combine import Carry
from gaecli.pipeline.judging.continuity import Continuity
from gaecli.pipeline.label_types import LabelTypes
from gaecli.pipeline.notes import merged
from gaecli.pipeline.reading_errors import not_done
from gaecli.pipeline.settle import Settled
from gaecli.records import dataclass
from gaecli.results import Sweep, SweepFile
from gaecli.settings import RunOptions, Settings
from gaecli.sources.inputs import StreamPlan, describe_streams, plan_streams
from gaecli.storage.places import Places
from gaecli.studies.columns_out import ColumnsOut
from gaecli.studies.final_numbers import finishers
from gaecli.studies.reading import SettledStream, read_stream
from gaecli.studies.sign_spool import SignSpool
from gaecli.studies.sweep_grid import grid_totals, read_grid
from gaecli.studies.sweep_points import SweepPoints, grid_of, side_by_side
from gaecli.studies.sweep_totals import PointTotal, own_returns_that_count, sweep_point, values_that_count
from gaecli.summary import EpisodeCounts, Failure, WarningNote

T = TypeVar("T")


@dataclass(frozen=True)
class SweepOptions:
    """Where the columns go, if they are written, and what it all may cost."""

    output: Path | str | None = None
    overwrite: bool = False
    memory_bytes: int = 1 << 30
    device: str = "auto"


def sweep(
    sources: Sequence[str | Path],
    gammas: Sequence[float],
    lams: Sequence[float],
    settings: Settings | None = None,
    options: SweepOptions | None = None,
    *,
    windows: Sequence[int] = (),
) -> Sweep:
    """Every γ with every λ and n of a grid over all steps of all sources.

    Args:
        sources: files, as for `compute`.
        gammas, lams, windows: the grid; the last two as far as the estimator uses them.
        settings: the estimator, and how files are read; the settings that signs are compared with.
        options: `output` writes one column per setting into copies.

    Raises:
        GaeError: for what concerns the run as a whole; files that fail are listed in the result.
    """
    settings = settings or Settings()
    return _swept(sources, grid_of(settings, gammas, lams, windows), options or SweepOptions())


def sweep_side_by_side(
    sources: Sequence[str | Path], settings: Sequence[Settings], options: SweepOptions | None = None
) -> Sweep:
    """Each of `settings` over all sources; signs are compared with those under the first of them."""
    return _swept(sources, side_by_side(settings), options or SweepOptions())


def _swept(sources: Sequence[str | Path], points: SweepPoints, options: SweepOptions) -> Sweep:
    run = RunOptions(output=options.output, overwrite=options.overwrite, dry_run=options.output is None)
    started = time.perf_counter()
    with Places(run) as places:
        plans = plan_streams(places.inputs.fetched(sources), points.reference.join)
        places.results.check([path for plan in plans for path in plan.paths])
        output = ColumnsOut(plans, points.reference, points.columns, places)
        one = _Swept(points, options, output, [PointTotal() for _ in points.points])
        try:
            if points.is_grid:
                one.grid(plans)
            else:
                one.side_by_side(plans)
        finally:
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
    totals: list[PointTotal]
    explained: list[Explained] = field(default_factory=list)
    continuity: Continuity = field(default_factory=Continuity)
    counts: EpisodeCounts = field(default_factory=EpisodeCounts)
    files: list[SweepFile] = field(default_factory=list)
    warnings: list[WarningNote] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.explained = [Explained() for _ in self.totals]

    def grid(self, plans: Sequence[StreamPlan]) -> None:
        """One reading of each stream, with every point of the grid."""
        for number, plan in enumerate(plans):

            def look(plan: StreamPlan = plan, number: int = number) -> None:
                reading = read_grid(plan, number, self.points, self.options.memory_bytes, self.options.device)
                by_point, totals = grid_totals(reading, self.points, self.output)
                self._add(list(enumerate(by_point)))
                self._know(plan, reading, totals)

            self._tried(plan, look)

    def side_by_side(self, plans: Sequence[StreamPlan]) -> None:
        """One reading of all streams for each point; groups reach over all of them."""
        good = list(enumerate(plans))
        with closing(SignSpool()) as signs:
            for index, settings in enumerate(self.points.points):
                readings: list[tuple[StreamPlan, SettledStream]] = []
                memory, types = self.options.memory_bytes // max(len(good), 1), LabelTypes()
                for number, plan in good:
                    read = partial(read_stream, plan, settings, memory, number=number)
                    reading = self._tried(plan, partial(_beside, types, read))
                    if reading is not None:
                        readings.append((plan, reading))
                good = [(number, plan) for number, plan in good if any(plan is one for one, _ in readings)]
                if not readings:
                    return
                signs.rewind()
                for (plan, reading), finish in zip(
                    readings, finishers([one for _, one in readings]), strict=True
                ):
                    total, totals = _point_totals(reading, finish, signs, is_first=index == 0)
                    self._add([(index, total)])
                    if index == 0:
                        self._know(plan, reading, totals)

    def _tried(self, plan: StreamPlan, look: Callable[[], T]) -> T | None:
        try:
            return look()
        except (GaeError, OSError, MemoryError) as error:
            self.files = [file for file in self.files if file.input not in map(str, plan.paths)]
            self.files += _failed(plan, error)
            return None

    def _add(self, found: Sequence[tuple[int, PointTotal]]) -> None:
        for index, total in found:
            self.totals[index] = self.totals[index].merge(total)
            self.explained[index].add(total.errors, total.returns)

    def _know(self, plan: StreamPlan, reading: SettledStream, totals: Totals) -> None:
        self.counts += totals.counts
        self.continuity.add(reading.stream.edges)
        self.warnings += reading.stream.warnings
        self.warnings += reading_notes(totals, self.points.reference, only_file(plan))
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
            points=[
                sweep_point(points, index, self.totals, self.explained[index].within)
                for index in points.shown
            ],
            files=self.files,
            counts=self.counts,
            windows=list(points.windows),
            streams=describe_streams(plans),
            warnings=merged([*self.warnings, *self.continuity.notes()]),
            seconds=seconds,
        )


def _point_totals(
    reading: SettledStream,
    finish: Callable[[int, int, Settled, Carry], np.ndarray],
    signs: SignSpool,
    *,
    is_first: bool,
) -> tuple[PointTotal, Totals]:
    settings = reading.stream.settings
    found = [PointTotal()]
    totals = Totals()

    def look(file: int, start: int, settled: Settled, carry: Carry) -> None:
        numbers = finish(file, start, settled, carry).astype(np.float64)
        placement = settled.block.placement
        if is_first:
            kept = numbers if settled.estimated is None else np.where(settled.estimated, numbers, np.nan)
            signs.write(kept, placement)
            theirs = np.sign(numbers)
        else:
            theirs = signs.read(placement)
        values = None if settings.normalizes else values_that_count(settled)
        counted = settled.counted(numbers), values, settled.counted(theirs)
        is_return = settings.kind.outputs[0] == "return"
        own_returns = None if values is None else own_returns_that_count(settled)
        total = PointTotal.of(*counted, is_return=is_return, own_returns=own_returns)
        found[0] = found[0].merge(total)
        totals.merge(reading_totals(settled, settings))

    for _ in reading.stream.visit(reading.context, look):
        pass
    return found[0], totals


def _beside(types: LabelTypes, read: Callable[[], SettledStream]) -> SettledStream:
    """The next stream, whose groups may be those of the streams before it."""
    reading = read()
    types.add(reading.stream.opened)
    return reading


def _failed(plan: StreamPlan, error: GaeError | OSError | MemoryError) -> list[SweepFile]:
    """An error of the system comes from writing here: those of reading are told where they come up."""
    known = not_done(error, plan.paths[0], plan.paths[0])
    return [SweepFile.of(failure) for failure in Failure.of_stream(plan.paths, known)]
