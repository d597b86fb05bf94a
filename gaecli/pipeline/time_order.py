"""Rules that reach from one trajectory into the next, over the borders of blocks.

What such a rule makes of the last row of a lane depends on the row that follows in time. So a block waits: the first
look finds how trajectories end, and how each lane of time begins; then the blocks are told what follows theirs, and
read as the convention reads them. From there on all is as elsewhere, with the lanes of time in place of the block's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from gaecli.array_types import BoolArray
from gaecli.engines.base import Engine
from gaecli.estimators.base import Borders, Estimator
from gaecli.layouts.keys import numbered
from gaecli.pipeline.blocks import BlockAddress, BlockSummary, FirstRows, Scanned, check_bootstrap
from gaecli.pipeline.combine import Carry, Combined, combine
from gaecli.pipeline.opening import OpenStream
from gaecli.pipeline.settle import read_on
from gaecli.pipeline.tasks import CarriedUnit
from gaecli.pipeline.worker import Worker
from gaecli.records import dataclass
from gaecli.rollouts import Lanes, NextRows


class ReadBlock(NamedTuple):
    """What a block hands on as the convention reads it."""

    address: BlockAddress
    lanes: Lanes
    borders: Borders
    #: The same rows with the rewards of other streams (`--stream`).
    others: tuple[ReadBlock, ...]


@dataclass(frozen=True, eq=False)
class ReadOnUnit(CarriedUnit[ReadBlock]):
    """Every block, once it is known what follows its lanes. It is kept as it is then."""

    def of_block(self, worker: Worker, address: BlockAddress, scanned: Scanned) -> ReadBlock:
        carry, estimator = self.carries[address], worker.estimator
        with worker.clock("kernel"):
            others = [
                read_on(other, its_carry, one)
                for other, its_carry, one in zip(
                    scanned.others, carry.others, _others_of(estimator), strict=True
                )
            ]
            found = replace(read_on(scanned, carry, estimator), others=tuple(others))
        if self.source.settings.bootstrap == "error":
            for one in (found, *others):
                check_bootstrap(one.start, one.prepared, self.source.path)
        worker.store.keep(self.source.stream, address, found)
        return _read_block(found, address, estimator)


def _others_of(estimator: Estimator) -> tuple[Estimator, ...]:
    if not estimator.settings.stream:
        return ()
    from gaecli.estimators.streams import others_of

    return others_of(estimator)


def _read_block(scanned: Scanned, address: BlockAddress, estimator: Estimator) -> ReadBlock:
    others = zip(scanned.others, _others_of(estimator), strict=True)
    return ReadBlock(
        address,
        scanned.prepared.lanes,
        estimator.borders(scanned.prepared, scanned.advantages),
        tuple(_read_block(other, address, one) for other, one in others),
    )


def with_next_rows(summaries: Sequence[BlockSummary], combined: Combined) -> Combined:
    """The carries with what follows every lane of time."""
    others = zip(*(summary.others for summary in summaries), strict=True)
    told = [
        _next_rows(of_stream, [carry.others[index] for carry in combined.carries])
        for index, of_stream in enumerate(others)
    ]
    carries = [
        replace(
            carry,
            next_rows=next_rows,
            others=tuple(
                replace(other, next_rows=of_stream[block])
                for other, of_stream in zip(carry.others, told, strict=True)
            ),
        )
        for block, (carry, next_rows) in enumerate(
            zip(combined.carries, _next_rows(summaries, combined.carries), strict=True)
        )
    ]
    return replace(combined, carries=carries)


def _next_rows(summaries: Sequence[BlockSummary], carries: Sequence[Carry]) -> list[NextRows]:
    """Of every block, from the last to the first: the first row of the next lane with the same key."""
    firsts = [_final(summary, carry) for summary, carry in zip(summaries, carries, strict=True)]
    slots = numbered([first.lanes.keys for first in firsts])
    known = _no_rows(max((int(part.max()) for part in slots if len(part)), default=-1) + 1)
    found: list[NextRows] = []
    for first, slot in zip(reversed(firsts), reversed(slots), strict=True):
        following = _at(known, slot, first.lanes.open_ends)
        found.append(following)
        for name, numbers in vars(_with_idle(first, following)).items():
            getattr(known, name)[slot] = numbers
    return found[::-1]


def _with_idle(first: FirstRows, following: NextRows) -> NextRows:
    """Of a first row that is the last of its lane as well, what follows the lane says whether it is a last state."""
    lanes, rows = first
    is_alone = lanes.stops - lanes.starts == 1
    idle = rows.cuts & rows.is_step & ~(following.exist & ~following.is_step)
    return replace(rows, idle=np.where(is_alone, idle, rows.idle))


def _final(summary: BlockSummary, carry: Carry) -> FirstRows:
    """A first row that is the last of its lane as well may end by what follows it."""
    assert summary.in_time is not None
    lanes, rows = summary.in_time
    last = summary.lanes.stops[carry.ends] - 1
    if not np.isin(lanes.starts, last).any():
        return summary.in_time
    terminated = rows.terminated | np.isin(lanes.starts, last[carry.ends_terminated[carry.ends]])
    cuts = rows.cuts | np.isin(lanes.starts, last)
    return FirstRows(lanes, replace(rows, terminated=terminated, cuts=cuts))


def _no_rows(count: int) -> NextRows:
    no = [np.zeros(count, np.bool_) for _ in range(6)]
    return NextRows(no[0], np.zeros(count), np.zeros(count), *no[1:])


def _at(rows: NextRows, slots: np.ndarray, where: BoolArray) -> NextRows:
    """Of these slots; nothing but `where`."""
    return NextRows(**{name: np.where(where, array[slots], False) for name, array in vars(rows).items()})


def read_in_time(
    opened: OpenStream, summaries: Sequence[BlockSummary], combined: Combined, engine: Engine[Worker]
) -> tuple[Sequence[BlockSummary], Combined]:
    """(what every block hands on as the convention reads it, the carries with what flows into the lanes of time)."""
    carries: dict[tuple[int, int], dict[BlockAddress, Carry]] = {}
    for summary, carry in zip(summaries, combined.carries, strict=True):
        address = summary.address
        carries.setdefault((address.file, address.unit), {})[address] = carry
    tasks = (
        ReadOnUnit(opened.source(file), unit, of_unit)
        for (file, unit), of_unit in carries.items()
        if any(len(carry.inflow) for carry in of_unit.values())
    )
    found = {block.address: block for blocks in engine.run(tasks) for block in blocks}
    read = [_as_read(summary, found.get(summary.address)) for summary in summaries]
    # All ends are final, and have the value that the bootstrap rule gives them.
    inner = combine(read, "zero", ())
    together = [
        replace(
            carry,
            in_time=own,
            others=tuple(
                replace(other, in_time=its_own)
                for other, its_own in zip(carry.others, own.others, strict=True)
            ),
        )
        for carry, own in zip(combined.carries, inner.carries, strict=True)
    ]
    return read, replace(combined, carries=together)


def _as_read(summary: BlockSummary, block: ReadBlock | None) -> BlockSummary:
    """The same block with the lanes of time; whatever else is known of trajectories is told of the others."""
    if block is None:
        return summary
    nothing = np.zeros(block.lanes.count, np.bool_)
    others = zip(summary.others, block.others, strict=True)
    return replace(
        summary,
        lanes=block.lanes,
        borders=block.borders,
        head_dropped=nothing,
        tail_dropped=nothing,
        sums=None,
        first_progress=None,
        units=None,
        others=tuple(_as_read(other, its_own) for other, its_own in others),
    )
