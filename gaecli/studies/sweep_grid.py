"""One reading of a stream under every setting of a grid: what each adds, and the columns that it writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from gaecli.estimators.base import Beyond, Estimator, FinalEstimates, WholePieces
from gaecli.estimators.batch import BatchBorders, BatchEstimator, Inflow
from gaecli.estimators.streams import StreamsEstimator
from gaecli.formats.base import OutputColumn
from gaecli.kernels.devices import choose_device
from gaecli.pipeline.apply import Totals, reading_totals
from gaecli.pipeline.combine import Carry, combine
from gaecli.pipeline.memory import rows_per_block
from gaecli.pipeline.settle import Settled
from gaecli.pipeline.stream import SummarisedStream
from gaecli.pipeline.trajectories import estimated, gathered_pieces
from gaecli.settings import Settings
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
    )


def grid_totals(
    reading: SettledStream, points: SweepPoints, output: ColumnsOut
) -> tuple[list[PointTotal], Totals]:
    """What a stream adds to each point, and of the stream itself; columns on the way, where some are written."""
    stream = reading.stream
    parts = _parts(reading.context.worker.estimator)
    inflows = [_inflows(stream, number, len(points.points)) for number in range(len(parts))]
    wholes = [_wholes(reading, part, number) for number, part in enumerate(parts)]
    by_point = [PointTotal() for _ in points.points]
    totals = Totals()
    writes = output.begin(stream)

    def look(file: int, start: int, settled: Settled, carry: Carry) -> None:
        written: dict[str, OutputColumn] = {}
        for index, numbers, total in _block_totals(
            settled,
            parts,
            points,
            [of_part[file, start] for of_part in inflows],
            [[of_point.get((file, start)) for of_point in of_part] for of_part in wholes],
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


def _block_totals(
    settled: Settled,
    parts: Sequence[BatchEstimator],
    points: SweepPoints,
    inflows: Sequence[Sequence[Inflow]],
    wholes: Sequence[Sequence[WholePieces | None]],
) -> Iterator[tuple[int, np.ndarray, PointTotal]]:
    """(point, numbers, what they add) of one block."""
    is_return = settled.kind.outputs[0] == "return"
    own = settled.returns if is_return else settled.advantages
    signs = np.sign(settled.counted(own))  # the settings of the run are the reference
    base, values = np.zeros(0), values_that_count(settled)
    blocks = [one.prepared for one in settled.streams.values()] or [settled.prepared]
    estimates = zip(
        *(
            part.estimate_points(block, inflow, pieces, points.order)
            for part, block, inflow, pieces in zip(parts, blocks, inflows, wholes, strict=True)
        ),
        strict=True,
    )
    for index, of_parts in zip(points.order, estimates, strict=True):
        advantages, returns = _added_up(of_parts, points.points[index])
        numbers = advantages if not is_return or returns is None else returns
        counted = settled.counted(numbers)
        base_index = points.bases[index]
        if base_index == index:
            base = counted
        compared = base if base_index is not None else None
        own_returns = None if returns is None else settled.counted(returns)
        total = PointTotal.of(
            counted, values, signs, is_return=is_return, base=compared, own_returns=own_returns
        )
        yield index, numbers, total


def _added_up(of_parts: Sequence[FinalEstimates], settings: Settings) -> FinalEstimates:
    """Of several streams the advantages, by weight."""
    if not settings.stream:
        return of_parts[0]
    with np.errstate(over="ignore", invalid="ignore"):
        terms = [one.weight * found.advantages for one, found in zip(settings.stream, of_parts, strict=True)]
        return FinalEstimates(np.sum(terms, axis=0))
