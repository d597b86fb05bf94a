"""Many settings of a stream: what each does to mean, spread and bias of its numbers.

A grid of γ, λ and n of one estimator is one reading. Presets and estimators side by side, each with its own rules for
how a file is to be read, are a reading each.

The bias proxy of a setting is the root mean square of A(γ, λ) - A(γ, 1), over the standard deviation of
A(γ, 1): λ = 1 trusts the values at the end of the trajectory only, so what another λ changes is owed to
them. It says nothing of the bias that γ itself brings, nor of values that are wrong at the bootstrap.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import field, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from gaecli.commands.warnings import only_file, reading_notes
from gaecli.errors import GaeError
from gaecli.estimators.base import Beyond
from gaecli.estimators.batch import BatchBorders, BatchEstimator, Inflow
from gaecli.formats.base import OutputColumn
from gaecli.kernels.devices import choose_device
from gaecli.pipeline.apply import Totals, reading_totals
from gaecli.pipeline.column_builder import ColumnBuilder
from gaecli.pipeline.column_statistics import Explained
from gaecli.pipeline.combine import Carry, WholePieces, combine
from gaecli.pipeline.judging.continuity import Continuity
from gaecli.pipeline.label_types import LabelTypes
from gaecli.pipeline.memory import rows_per_block
from gaecli.pipeline.notes import merged
from gaecli.pipeline.reading_errors import not_done
from gaecli.pipeline.settle import Settled
from gaecli.pipeline.stream import SummarisedStream
from gaecli.pipeline.trajectories import estimated, gathered_pieces
from gaecli.records import dataclass
from gaecli.results import Sweep, SweepFile
from gaecli.settings import RunOptions, Settings
from gaecli.sources.inputs import StreamPlan, describe_streams, plan_streams
from gaecli.storage.places import Places
from gaecli.studies.columns_out import ColumnsOut
from gaecli.studies.final_numbers import finishers
from gaecli.studies.reading import SettledStream, check_decays_are_numbers, read_stream
from gaecli.studies.sign_spool import SignSpool
from gaecli.studies.sweep_points import SweepPoints, grid_of, side_by_side
from gaecli.studies.sweep_totals import PointTotal, sweep_point
from gaecli.summary import EpisodeCounts, Failure, WarningNote

_MIN_ROWS_PER_BLOCK = 1 << 12
#: Bytes of one row under one setting, from the scan to the column that is written.
_BYTES_PER_CELL = 48
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
    check_decays_are_numbers(settings, "gae sweep")  # the grid takes their place
    return _swept(sources, grid_of(settings, gammas, lams, windows), options or SweepOptions())


def sweep_side_by_side(
    sources: Sequence[str | Path], settings: Sequence[Settings], options: SweepOptions | None = None
) -> Sweep:
    """Each of `settings` over all sources; signs are compared with those under the first of them."""
    return _swept(sources, side_by_side(settings), options or SweepOptions())


def _swept(sources: Sequence[str | Path], points: SweepPoints, options: SweepOptions) -> Sweep:
    for settings in points.points:
        check_decays_are_numbers(settings, "gae sweep")
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
                reading = _read_grid(plan, number, self.points, self.options)
                by_point, totals = _grid_totals(reading, self.points, self.output)
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
            reference=(reference.gamma, reference.lam) if points.lams else None,
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


def _read_grid(plan: StreamPlan, number: int, points: SweepPoints, options: SweepOptions) -> SettledStream:
    memory = options.memory_bytes
    device = choose_device(options.device, 0)
    estimator = BatchEstimator(points.reference, device, points=points.points, launch_bytes=memory // 8)
    fitting = memory // 2 // (_BYTES_PER_CELL * len(points.points))
    block_rows = min(rows_per_block(memory), max(fitting, _MIN_ROWS_PER_BLOCK))
    return read_stream(
        plan, points.reference, memory, estimator=estimator, block_rows=block_rows, number=number
    )


def _grid_totals(
    reading: SettledStream, points: SweepPoints, output: ColumnsOut
) -> tuple[list[PointTotal], Totals]:
    stream = reading.stream
    estimator = reading.context.worker.estimator
    assert isinstance(estimator, BatchEstimator)
    inflows = _inflows(stream, len(points.points))
    wholes = _wholes(reading, estimator)
    by_point = [PointTotal() for _ in points.points]
    totals = Totals()
    writes = output.begin(stream)

    def look(file: int, start: int, settled: Settled, carry: Carry) -> None:
        written: dict[str, OutputColumn] = {}
        for index, numbers, total in _block_totals(
            settled,
            estimator,
            points,
            inflows[file, start],
            [of_point.get((file, start)) for of_point in wholes],
        ):
            by_point[index] = by_point[index].merge(total)
            if writes and index in points.shown:
                written[points.column(index)] = _column(settled, numbers, points.points[index])
        totals.merge(reading_totals(settled, points.reference))
        if writes:
            output.write(stream, file, {name: written[name] for name in points.columns})

    for _ in stream.visit(reading.context, look):
        pass
    if writes:
        output.commit(stream, totals.counts)
    return by_point, totals


def _column(settled: Settled, numbers: np.ndarray, settings: Settings) -> OutputColumn:
    if settings.kind.outputs[0] == "return":
        return ColumnBuilder(settled.block, None, settings.mask_fill).returns(numbers)
    builder = ColumnBuilder(settled.block, settled.prepared.values, settings.mask_fill)
    return builder.advantages(numbers, None)


def _inflows(stream: SummarisedStream, num_points: int) -> Mapping[tuple[int, int], Sequence[Inflow]]:
    """Of every block, by file and first row, under every setting: `combine`, once per setting."""
    paths = [str(path) for path in stream.plan.paths]
    bootstrap, open_ends = stream.settings.bootstrap, stream.settings.open_ends
    carries = []
    for index in range(num_points):
        summaries = []
        for summary in stream.summaries:
            assert isinstance(summary.borders, BatchBorders)
            summaries.append(replace(summary, borders=summary.borders.batch[index]))
        carries.append(combine(summaries, bootstrap, paths, open_ends=open_ends).carries)
    return {
        (summary.address.file, summary.start): [
            Inflow(carry[block].inflow, Beyond(carry[block].values, carry[block].estimates))
            for carry in carries
        ]
        for block, summary in enumerate(stream.summaries)
    }


def _wholes(reading: SettledStream, estimator: BatchEstimator) -> list[Mapping[tuple[int, int], WholePieces]]:
    """Under every setting, by file and first row: what steps get whose trajectory lies in several blocks."""
    singles = [estimator.single(index) for index in range(len(estimator.points))]
    if not any(single.needs_trajectories for single in singles):
        return [{} for _ in singles]
    stream = reading.stream
    starts = {summary.address: (summary.address.file, summary.start) for summary in stream.summaries}
    gathered = gathered_pieces(stream.opened, stream.carries, reading.context.engine)
    return [
        {starts[address]: whole for address, whole in estimated(gathered, single).items()}
        if single.needs_trajectories
        else {}
        for single in singles
    ]


def _block_totals(
    settled: Settled,
    estimator: BatchEstimator,
    points: SweepPoints,
    inflows: Sequence[Inflow],
    wholes: Sequence[WholePieces | None],
) -> Iterator[tuple[int, np.ndarray, PointTotal]]:
    """(point, numbers, what they add) of one block."""
    is_return = settled.kind.outputs[0] == "return"
    own = settled.returns if is_return else settled.advantages
    signs = np.sign(settled.counted(own))  # the settings of the run are the reference
    base, values = np.zeros(0), _values(settled)
    estimates = estimator.estimate_points(settled.prepared, inflows, points.order)
    for index, (advantages, returns) in zip(points.order, estimates, strict=True):
        whole = wholes[index]
        if whole is not None:
            whole.put_into(advantages, returns)
        numbers = advantages if not is_return or returns is None else returns
        counted = settled.counted(numbers)
        base_index = points.bases[index]
        if base_index == index:
            base = counted
        compared = base if base_index is not None else None
        total = PointTotal.of(counted, values, signs, is_return=is_return, base=compared)
        yield index, numbers, total


def _values(settled: Settled) -> np.ndarray | None:
    """V of the steps that count."""
    if not settled.block.has_values:
        return None
    values: np.ndarray = settled.counted(settled.prepared.values).astype(np.float64)
    return values


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
        values = None if settings.normalizes else _values(settled)
        counted = settled.counted(numbers), values, settled.counted(theirs)
        is_return = settings.kind.outputs[0] == "return"
        found[0] = found[0].merge(PointTotal.of(*counted, is_return=is_return))
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
