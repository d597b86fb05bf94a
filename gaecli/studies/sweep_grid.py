"""One reading of a stream under every setting of a grid: what each adds, and the columns that it writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from gaecli.array_types import FloatArray, IndexArray
from gaecli.engines.threads import Threads
from gaecli.estimators.base import Beyond, Estimator, WholePieces
from gaecli.estimators.batch import BatchBorders, BatchEstimator, Inflow, PointEstimates, PointTile
from gaecli.estimators.streams import StreamsEstimator
from gaecli.formats.base import OutputColumn
from gaecli.kernels.chunks import column_tiles
from gaecli.kernels.devices import choose_device
from gaecli.pipeline.apply import Totals, reading_totals
from gaecli.pipeline.combine import Carry, combine
from gaecli.pipeline.labels import LabelConstants, SurveyAnswer
from gaecli.pipeline.memory import rows_per_block
from gaecli.pipeline.settle import Settled
from gaecli.pipeline.stream import SummarisedStream
from gaecli.pipeline.trajectories import estimated, gathered_pieces
from gaecli.records import dataclass
from gaecli.sources.inputs import StreamPlan
from gaecli.studies.columns_out import ColumnsOut, first_column
from gaecli.studies.reading import SettledStream, read_stream
from gaecli.studies.sweep_labels import LabelTotal, Thresholds, block_labels
from gaecli.studies.sweep_points import PointsTogether, SweepPoints
from gaecli.studies.sweep_totals import Compared, PointSums, PointTotal

_MIN_ROWS_PER_BLOCK = 1 << 12
#: Bytes of one row under one setting, from the scan to the column that is written.
_BYTES_PER_CELL = 48


def read_grid(
    plan: StreamPlan,
    number: int,
    points: SweepPoints,
    memory_bytes: int,
    device: str,
    longest_episode: int = 0,
    threads: Threads | None = None,
) -> SettledStream:
    """The stream, summarised under every point at once."""
    reference, tried = points.reference, points.points
    num_streams = max(len(reference.stream), 1)
    chosen, launch_bytes = choose_device(device, 0), memory_bytes // 8
    estimator: Estimator = BatchEstimator(reference, chosen, points=tried, launch_bytes=launch_bytes)
    if reference.stream:
        by_stream = zip(*(point.of_streams for point in tried), strict=True)
        parts = [
            BatchEstimator(own, chosen, points=of_points, launch_bytes=launch_bytes)
            for own, of_points in zip(reference.of_streams, by_stream, strict=True)
        ]
        estimator = StreamsEstimator(reference, tuple(parts))
    fitting = memory_bytes // 2 // (_BYTES_PER_CELL * len(tried) * num_streams)
    block_rows = min(rows_per_block(memory_bytes), max(fitting, _MIN_ROWS_PER_BLOCK))
    return read_stream(
        plan,
        reference,
        memory_bytes,
        estimator=estimator,
        block_rows=block_rows,
        number=number,
        longest_episode=longest_episode,
        threads=threads,
    )


@dataclass(frozen=True, eq=False)
class PointBlock:
    """A block under one point of the grid."""

    index: int
    total: PointTotal
    #: [N] as steps stand in the block; empty where nobody asks for them.
    numbers: FloatArray


R = TypeVar("R")

#: (block, what it is told of its surroundings, what it is under every point) -> what is wanted of it, in any thread.
GridLook = Callable[[Settled, Carry, Iterator[PointBlock]], R]


class GridReading:
    """A stream under every setting of a grid, to be gone through as often as is needed."""

    def __init__(self, reading: SettledStream, points: SweepPoints) -> None:
        self.reading, self.points = reading, points
        self._parts = _parts(reading.context.worker.estimator)
        numbers = range(len(self._parts))
        self._inflows = [_inflows(reading.stream, number, len(points.points)) for number in numbers]
        self._wholes = [_wholes(reading, self._parts[number], number) for number in numbers]

    def visit(self, look: GridLook[R], *, with_numbers: bool) -> Iterator[tuple[int, R]]:
        """(file, what `look` gives) of every block, in their order; `with_numbers`: of `PointBlock`."""

        def look_at(file: int, start: int, settled: Settled, carry: Carry) -> tuple[int, R]:
            inflows = [of_part[file, start] for of_part in self._inflows]
            wholes = [[of_point.get((file, start)) for of_point in of_part] for of_part in self._wholes]
            block = _BlockUnderPoints(settled, self._parts, self.points, inflows, wholes)
            with np.errstate(over="ignore", invalid="ignore"):  # the numbers that are told tell of it
                return file, look(settled, carry, block.points(with_numbers=with_numbers))

        return self.reading.stream.visit(self.reading.context, look_at)


def grid_thresholds(grids: Sequence[GridReading], points: SweepPoints) -> list[LabelConstants]:
    """What labels need to know under every setting, and behind them under the reference: of all streams."""
    search = Thresholds([*points.points, points.reference])

    def look(settled: Settled, carry: Carry, found: Iterator[PointBlock]) -> list[tuple[int, SurveyAnswer]]:
        of_points = [(one.index, search.answer(one.index, settled, one.numbers, carry)) for one in found]
        own = search.answer(len(points.points), settled, _own(settled), carry)
        return [(index, answer) for index, answer in (*of_points, (len(points.points), own)) if answer]

    while search.are_open:
        for grid in grids:
            for _, answers in grid.visit(look, with_numbers=True):
                for index, answer in answers:
                    search.add(index, answer)
        search.next()
    return search.constants


@dataclass(frozen=True, eq=False)
class _BlockTotals:
    by_point: Mapping[int, PointTotal]
    totals: Totals
    written: Mapping[str, OutputColumn]


def grid_totals(
    grid: GridReading, output: ColumnsOut, constants: Sequence[LabelConstants] | None
) -> tuple[list[PointTotal], Totals]:
    """What a stream adds to each point, and of the stream itself; columns on the way, where some are written.

    `constants`: as of `grid_thresholds`, where rows are labelled.
    """
    stream, points = grid.reading.stream, grid.points
    by_point = [PointTotal() for _ in points.points]
    totals = Totals()
    writes = output.begin(stream)

    def look(settled: Settled, carry: Carry, found: Iterator[PointBlock]) -> _BlockTotals:
        written: dict[str, OutputColumn] = {}
        of_points = {}
        theirs = None
        if constants is not None:
            theirs = block_labels(settled, _own(settled), points.reference, constants[-1])
        for one in found:
            of_points[one.index] = one.total
            if constants is not None and theirs is not None:
                labels = block_labels(settled, one.numbers, points.points[one.index], constants[one.index])
                of_points[one.index] = replace(one.total, labels=LabelTotal.of(labels, theirs))
            if writes and one.index in points.shown:
                column = first_column(settled, one.numbers, points.points[one.index])
                written[points.column(one.index)] = column
        return _BlockTotals(of_points, reading_totals(settled, points.reference), written)

    for file, found in grid.visit(look, with_numbers=writes or constants is not None):
        for index, total in found.by_point.items():
            by_point[index] = by_point[index].merge(total)
        totals.merge(found.totals)
        if writes:
            output.write(stream, file, {name: found.written[name] for name in points.columns})
    if writes:
        output.commit(stream, totals.counts)
    return by_point, totals


def _own(settled: Settled) -> FloatArray:
    """[N] under the settings of the run, which are the reference."""
    return settled.returns if settled.kind.outputs[0] == "return" else settled.advantages


def _parts(estimator: Estimator) -> list[BatchEstimator]:
    """Of each stream of rewards, or of the one that there is."""
    found = estimator.parts if isinstance(estimator, StreamsEstimator) else (estimator,)
    return [part for part in found if isinstance(part, BatchEstimator)]


def _inflows(
    stream: SummarisedStream, number: int, num_points: int
) -> Mapping[tuple[int, int], Sequence[Inflow]]:
    """Of every block, by file and first row, under every setting: `combine`, once per setting.

    `number`: of the stream of rewards.
    """
    of_blocks = [one if number == 0 else one.others[number - 1] for one in stream.as_read]
    paths = [str(path) for path in stream.plan.paths]
    bootstrap, open_ends = stream.settings.bootstrap, stream.settings.open_ends
    carries = []
    for index in range(num_points):
        summaries = []
        for summary in of_blocks:
            assert isinstance(summary.borders, BatchBorders)
            summaries.append(replace(summary, borders=summary.borders.batch[index], others=()))
        carries.append(combine(summaries, bootstrap, paths, open_ends=open_ends).carries)
    return {
        (summary.address.file, summary.start): [
            Inflow(carry[block].inflow, Beyond(carry[block].values, carry[block].estimates))
            for carry in carries
        ]
        for block, summary in enumerate(of_blocks)
    }


def _wholes(
    reading: SettledStream, estimator: BatchEstimator, number: int
) -> list[Mapping[tuple[int, int], WholePieces]]:
    """Under every setting, by file and first row: what steps get whose trajectory lies in several blocks.

    `number`: of the stream of rewards.
    """
    singles = [estimator.single(index) for index in range(len(estimator.points))]
    if not any(single.needs_trajectories for single in singles):
        return [{} for _ in singles]
    stream = reading.stream
    starts = {summary.address: (summary.address.file, summary.start) for summary in stream.summaries}
    gathered = gathered_pieces(stream.opened, stream.carries, reading.context.engine, stream=number)
    return [
        {starts[address]: whole for address, whole in estimated(gathered, single).items()}
        if single.needs_trajectories
        else {}
        for single in singles
    ]


@dataclass(frozen=True, eq=False)
class _BlockUnderPoints:
    """One block, to be looked at under one point after the other; of `inflows` and `wholes` as of each stream."""

    settled: Settled
    parts: Sequence[BatchEstimator]
    of_points: SweepPoints
    inflows: Sequence[Sequence[Inflow]]
    wholes: Sequence[Sequence[WholePieces | None]]

    def points(self, *, with_numbers: bool) -> Iterator[PointBlock]:
        settled, launches = self.settled, self.of_points.launches
        order, tiles = self._tiles(launches)
        compared = self._compared(order)
        is_return = settled.kind.outputs[0] == "return"
        for launch, of_launch in zip(launches, tiles, strict=True):
            count = len(launch.indices)
            sums = PointSums(compared, count, launch.num_bases, is_return=is_return)
            rows = np.empty((count, settled.block.num_steps if with_numbers else 0))
            for places, numbers, returns in of_launch:
                shown = numbers if not is_return or returns is None else returns
                if with_numbers:
                    rows[:, places if order is None else order[places]] = shown
                sums.add(places, shown, returns)
            found = zip(launch.indices, sums.totals(), rows, strict=True)
            for index, total, its_numbers in list(found)[launch.is_repeated :]:
                yield PointBlock(index, total, its_numbers)

    def _tiles(
        self, launches: Sequence[PointsTogether]
    ) -> tuple[IndexArray | None, Iterator[Iterator[PointTile]]]:
        """Of one launch after the other, and the steps in whose order they are."""
        streams = list(self.settled.streams.values()) or [self.settled]
        indices = [launch.indices for launch in launches]
        of_parts = [
            part.estimate_points(one.scanned, one.prepared, inflow, pieces, indices)
            for part, one, inflow, pieces in zip(self.parts, streams, self.inflows, self.wholes, strict=True)
        ]
        if len(of_parts) == 1:
            return of_parts[0].order, of_parts[0].launches
        return None, self._added_up(indices, of_parts)

    def _added_up(
        self, launches: Sequence[Sequence[int]], of_parts: Sequence[PointEstimates]
    ) -> Iterator[Iterator[PointTile]]:
        """Of several streams the advantages, by weight; each has its steps in an order of its own."""
        num_steps = self.settled.block.num_steps
        for launch in launches:
            total = np.zeros((len(launch), num_steps))
            for position, estimates in enumerate(of_parts):
                weights = [self.of_points.points[index].stream[position].weight for index in launch]
                for places, numbers, _ in next(estimates.launches):
                    steps = places if estimates.order is None else estimates.order[places]
                    total[:, steps] += np.array(weights)[:, None] * numbers
            yield (PointTile(places, total[:, places]) for places in column_tiles(len(launch), num_steps))

    def _compared(self, order: IndexArray | None) -> Compared:
        settled = self.settled
        has_values = settled.block.has_values and not settled.streams
        in_order = slice(None) if order is None else order
        values = settled.prepared.values[in_order].astype(np.float64) if has_values else None
        is_in = None if settled.estimated is None else settled.estimated[in_order]
        return Compared(np.sign(_own(settled)[in_order]), values, is_in)
