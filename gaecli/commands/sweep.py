"""A grid of γ and λ in one go: what each setting does to mean, spread and bias of the advantages.

The bias proxy of a setting is the root mean square of A(γ, λ) - A(γ, 1), over the standard deviation of
A(γ, 1): λ = 1 trusts the values at the end of the trajectory only, so what another λ changes is owed to
them. It says nothing of the bias that γ itself brings, nor of values that are wrong at the bootstrap.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path

import numpy as np

from gaecli.commands.warnings import only_file, reading_notes
from gaecli.errors import GaeError, UsageError
from gaecli.estimators.batch import BatchBorders, BatchGae
from gaecli.formats.base import OutputColumn
from gaecli.kernels.devices import choose_device
from gaecli.moments import Moments
from gaecli.pipeline.apply import Totals, reading_totals
from gaecli.pipeline.column_builder import ColumnBuilder
from gaecli.pipeline.column_statistics import Explained
from gaecli.pipeline.combine import Carry, combine
from gaecli.pipeline.judging.continuity import Continuity
from gaecli.pipeline.memory import rows_per_block
from gaecli.pipeline.notes import merged
from gaecli.pipeline.reading_errors import not_done
from gaecli.pipeline.settle import Settled
from gaecli.pipeline.stream import SummarisedStream
from gaecli.records import dataclass
from gaecli.results import Sweep, SweepFile, SweepPoint, effective_horizon
from gaecli.rollouts import FloatArray
from gaecli.settings import RunOptions, Settings
from gaecli.sources.inputs import StreamPlan, describe_streams, plan_streams
from gaecli.storage.places import Places
from gaecli.studies.columns_out import ColumnsOut
from gaecli.studies.reading import SettledStream, check_is_gae, read_stream
from gaecli.summary import EpisodeCounts, Failure, WarningNote

#: More settings than this are a mistake in the grid.
MOST_POINTS = 2000
_MIN_ROWS_PER_BLOCK = 1 << 12
#: Bytes of one row under one setting, from the scan to the column that is written.
_BYTES_PER_CELL = 48


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
) -> Sweep:
    """Every (γ, λ) of the grid over all steps of all sources.

    Args:
        sources: files, as for `compute`.
        gammas, lams: the grid.
        settings: how files are read; its γ and λ are the reference that signs are compared with.
        options: `output` writes one advantage column per setting into copies.

    Raises:
        GaeError: for what concerns the run as a whole; files that fail are listed in the result.
    """
    settings, options = settings or Settings(), options or SweepOptions()
    check_is_gae(settings, "gae sweep")
    grid = Grid.of(gammas, lams, settings)
    run = RunOptions(output=options.output, overwrite=options.overwrite, dry_run=options.output is None)
    with Places(run) as places:
        found = _sweep(places, places.inputs.fetched(sources), grid, settings, options)
        places.results.deliver()
        return places.shown_in(replace(found, gammas=list(gammas), lams=list(lams)))


def _sweep(
    places: Places, sources: Sequence[str | Path], grid: Grid, settings: Settings, options: SweepOptions
) -> Sweep:
    started = time.perf_counter()
    plans = plan_streams(sources, settings.join)
    places.results.check([path for plan in plans for path in plan.paths])
    output = ColumnsOut(plans, settings, grid.columns, places)
    totals = [_Total() for _ in grid.points]
    explained = [Explained() for _ in grid.points]
    continuity = Continuity()
    counts = EpisodeCounts()
    files: list[SweepFile] = []
    warnings: list[WarningNote] = []
    try:
        for number, plan in enumerate(plans):
            try:
                reading = _read(plan, number, grid, settings, options)
                found = _stream_totals(reading, grid, settings, output)
            except (GaeError, OSError, MemoryError) as error:
                files += _failed(plan, error)
                continue
            totals = [one.merge(other) for one, other in zip(totals, found.by_point, strict=True)]
            for one, of_stream in zip(explained, found.by_point, strict=True):
                one.add(of_stream.advantages, of_stream.returns)
            counts += found.totals.counts
            continuity.add(reading.stream.edges)
            warnings += reading.stream.warnings
            warnings += reading_notes(found.totals, settings, only_file(plan))
            files += [SweepFile(str(path), output.place(path)) for path in plan.paths]
    finally:
        output.abandon()
    return Sweep(
        settings=settings.to_dict(),
        gammas=(),
        lams=(),
        reference=(settings.gamma, settings.lam),
        points=[_point(grid, index, totals, explained[index]) for index in grid.shown],
        files=files,
        counts=counts,
        streams=describe_streams(plans),
        warnings=merged([*warnings, *continuity.notes()]),
        seconds=time.perf_counter() - started,
    )


@dataclass(frozen=True)
class Grid:
    """The points that are asked for, then those that they are compared with."""

    points: tuple[tuple[float, float], ...]
    num_shown: int
    #: Index of (γ, 1) for every point.
    bases: tuple[int, ...]
    prefix: str

    @classmethod
    def of(cls, gammas: Sequence[float], lams: Sequence[float], settings: Settings) -> Grid:
        if not gammas or not lams:
            raise UsageError("the grid is empty", hint="pass `--gamma` and `--lam`, such as `--lam 0:1:0.05`")
        for flag, numbers in (("--gamma", gammas), ("--lam", lams)):
            for number in numbers:
                if not 0.0 <= number <= 1.0:
                    raise UsageError(f"`{flag}` holds {number}; it must lie in [0, 1]")
        shown = list(dict.fromkeys((gamma, lam) for gamma in gammas for lam in lams))
        if len(shown) > MOST_POINTS:
            raise UsageError(
                f"{len(shown):,} settings are more than {MOST_POINTS:,}", hint="take a wider step in the grid"
            )
        points = list(dict.fromkeys([*shown, *((gamma, 1.0) for gamma, _ in shown)]))
        index = {point: position for position, point in enumerate(points)}
        bases = tuple(index[gamma, 1.0] for gamma, _ in points)
        return cls(tuple(points), len(shown), bases, settings.advantage_column)

    @property
    def shown(self) -> range:
        return range(self.num_shown)

    @property
    def columns(self) -> list[str]:
        """`advantage_g0.99_l0.95`, one per point that is asked for."""
        return [self.column(index) for index in self.shown]

    def column(self, index: int) -> str:
        gamma, lam = (repr(float(number)).removesuffix(".0") for number in self.points[index])
        return f"{self.prefix}_g{gamma}_l{lam}"

    @property
    def order(self) -> list[int]:
        """By γ, the base of each first."""
        order: list[int] = []
        for gamma in dict.fromkeys(gamma for gamma, _ in self.points):
            same = [index for index, point in enumerate(self.points) if point[0] == gamma]
            order += dict.fromkeys([self.bases[same[0]], *same])
        return order


@dataclass(frozen=True)
class _Total:
    """What one setting adds up to."""

    advantages: Moments = field(default_factory=Moments)
    returns: Moments = field(default_factory=Moments)
    squared_change: float = 0.0
    same_sign: int = 0

    def merge(self, other: _Total) -> _Total:
        return _Total(
            self.advantages.merge(other.advantages),
            self.returns.merge(other.returns),
            self.squared_change + other.squared_change,
            self.same_sign + other.same_sign,
        )


@dataclass(eq=False)
class _GridNumbers:
    by_point: list[_Total]
    totals: Totals = field(default_factory=Totals)


def _read(
    plan: StreamPlan, number: int, grid: Grid, settings: Settings, options: SweepOptions
) -> SettledStream:
    memory = options.memory_bytes
    device = choose_device(options.device, 0)
    estimator = BatchGae(settings, device, points=grid.points, launch_bytes=memory // 8)
    fitting = memory // 2 // (_BYTES_PER_CELL * len(grid.points))
    block_rows = min(rows_per_block(memory), max(fitting, _MIN_ROWS_PER_BLOCK))
    return read_stream(plan, settings, memory, estimator=estimator, block_rows=block_rows, number=number)


def _stream_totals(
    reading: SettledStream, grid: Grid, settings: Settings, output: ColumnsOut
) -> _GridNumbers:
    stream = reading.stream
    estimator = reading.context.worker.estimator
    assert isinstance(estimator, BatchGae)
    inflows = _inflows(stream, len(grid.points))
    found = _GridNumbers([_Total() for _ in grid.points])
    writes = output.begin(stream)

    def look(file: int, start: int, settled: Settled, carry: Carry) -> None:
        written: dict[str, OutputColumn] = {}
        for index, advantages, total in _block_totals(settled, estimator, grid, inflows[file, start]):
            found.by_point[index] = found.by_point[index].merge(total)
            if writes and index in grid.shown:
                builder = ColumnBuilder(settled.block, settled.prepared.values, settings.mask_fill)
                written[grid.column(index)] = builder.advantages(advantages, None)
        found.totals.merge(reading_totals(settled, settings))
        if writes:
            output.write(stream, file, {name: written[name] for name in grid.columns})

    for _ in stream.visit(reading.context, look):
        pass
    if writes:
        output.commit(stream, found.totals.counts)
    return found


def _inflows(stream: SummarisedStream, num_points: int) -> Mapping[tuple[int, int], FloatArray]:
    """[K, lanes] of every block, by file and first row: `combine`, once per setting."""
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
        (summary.address.file, summary.start): np.stack([carry[block].inflow for carry in carries])
        for block, summary in enumerate(stream.summaries)
    }


def _block_totals(
    settled: Settled, estimator: BatchGae, grid: Grid, inflows: FloatArray
) -> Iterator[tuple[int, FloatArray, _Total]]:
    """(point, advantages, what they add) of one block."""
    values = settled.counted(settled.prepared.values).astype(np.float64)
    signs = np.sign(settled.counted(settled.advantages))  # the settings of the run are the reference
    base = np.zeros(0)
    estimates = estimator.estimate_points(settled.prepared, inflows, grid.order)
    for index, advantages in zip(grid.order, estimates, strict=True):
        counted = settled.counted(advantages)
        if grid.bases[index] == index:
            base = counted
        total = _Total(
            Moments.of(counted),
            Moments.of(counted + values),
            _squared_sum(counted, base),
            int(np.count_nonzero(np.sign(counted) == signs)),
        )
        yield index, advantages, total


def _squared_sum(one: FloatArray, other: FloatArray) -> float:
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is infinite, and is shown as unknown
        return float(np.square(one - other).sum())


def _point(grid: Grid, index: int, totals: Sequence[_Total], explained: Explained) -> SweepPoint:
    gamma, lam = grid.points[index]
    total, base = totals[index], totals[grid.bases[index]]
    count = total.advantages.count
    spread = base.advantages.std(1)
    return SweepPoint(
        gamma=gamma,
        lam=lam,
        mean=total.advantages.mean if count else None,
        std=total.advantages.std(1),
        variance=total.advantages.variance(1),
        explained_variance=explained.within,
        bias=math.sqrt(total.squared_change / count) / spread if count and spread else None,
        sign_agreement=total.same_sign / count if count else None,
        effective_horizon=effective_horizon(gamma, lam),
        column=grid.column(index),
    )


def _failed(plan: StreamPlan, error: GaeError | OSError | MemoryError) -> list[SweepFile]:
    """An error of the system comes from writing here: those of reading are told where they come up."""
    known = not_done(error, plan.paths[0], plan.paths[0])
    return [SweepFile.of(failure) for failure in Failure.of_stream(plan.paths, known)]
