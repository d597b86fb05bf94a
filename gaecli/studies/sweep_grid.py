"""One reading of a stream under every setting of a grid: what each adds, and the columns that it writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from gaecli.estimators.base import Beyond, WholePieces
from gaecli.estimators.batch import BatchBorders, BatchEstimator, Inflow
from gaecli.formats.base import OutputColumn
from gaecli.kernels.devices import choose_device
from gaecli.pipeline.apply import Totals, reading_totals
from gaecli.pipeline.combine import Carry, combine
from gaecli.pipeline.memory import rows_per_block
from gaecli.pipeline.settle import Settled
from gaecli.pipeline.stream import SummarisedStream
from gaecli.pipeline.trajectories import estimated, gathered_pieces
from gaecli.sources.inputs import StreamPlan
from gaecli.studies.columns_out import ColumnsOut, first_column
from gaecli.studies.reading import SettledStream, read_stream
from gaecli.studies.sweep_points import SweepPoints
from gaecli.studies.sweep_totals import PointTotal, values_that_count

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
) -> SettledStream:
    """The stream, summarised under every point at once."""
    estimator = BatchEstimator(
        points.reference, choose_device(device, 0), points=points.points, launch_bytes=memory_bytes // 8
    )
    fitting = memory_bytes // 2 // (_BYTES_PER_CELL * len(points.points))
    block_rows = min(rows_per_block(memory_bytes), max(fitting, _MIN_ROWS_PER_BLOCK))
    return read_stream(
        plan,
        points.reference,
        memory_bytes,
        estimator=estimator,
        block_rows=block_rows,
        number=number,
        longest_episode=longest_episode,
    )


def grid_totals(
    reading: SettledStream, points: SweepPoints, output: ColumnsOut
) -> tuple[list[PointTotal], Totals]:
    """What a stream adds to each point, and of the stream itself; columns on the way, where some are written."""
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
                written[points.column(index)] = first_column(settled, numbers, points.points[index])
        totals.merge(reading_totals(settled, points.reference))
        if writes:
            output.write(stream, file, {name: written[name] for name in points.columns})

    for _ in stream.visit(reading.context, look):
        pass
    if writes:
        output.commit(stream, totals.counts)
    return by_point, totals


def _inflows(stream: SummarisedStream, num_points: int) -> Mapping[tuple[int, int], Sequence[Inflow]]:
    """Of every block, by file and first row, under every setting: `combine`, once per setting."""
    paths = [str(path) for path in stream.plan.paths]
    bootstrap, open_ends = stream.settings.bootstrap, stream.settings.open_ends
    carries = []
    for index in range(num_points):
        summaries = []
        for summary in stream.as_read:
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
    base, values = np.zeros(0), values_that_count(settled)
    estimates = estimator.estimate_points(settled.prepared, inflows, wholes, points.order)
    for index, (advantages, returns) in zip(points.order, estimates, strict=True):
        numbers = advantages if not is_return or returns is None else returns
        counted = settled.counted(numbers)
        base_index = points.bases[index]
        if base_index == index:
            base = counted
        compared = base if base_index is not None else None
        total = PointTotal.of(counted, values, signs, is_return=is_return, base=compared)
        yield index, numbers, total
