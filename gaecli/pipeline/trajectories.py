"""Trajectories over the borders of blocks, put together for estimators that need them whole.

A block estimates the trajectories that are whole in it. Those that are not (`Carry.head_chains`, `tail_chains`) lie
in several blocks, perhaps of several files: their pieces are gathered, estimated as one block, and what becomes of
each step goes back to its block as a part of the carry. So the memory that it takes is that of such trajectories,
however many rows there are beside them. An estimator over units gets a row for each unit of them, not for each step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from gaecli.array_types import BoolArray, FloatArray, IndexArray
from gaecli.engines.base import Engine
from gaecli.errors import UsageError
from gaecli.estimators.base import Estimator, WholePieces
from gaecli.estimators.bootstrap import fill_bootstrap
from gaecli.estimators.conventions import ends_as_terminal
from gaecli.estimators.parts import joined, num_bytes, part
from gaecli.estimators.streams import others_of
from gaecli.pipeline.blocks import BlockAddress, Scanned
from gaecli.pipeline.combine import Carry
from gaecli.pipeline.opening import BYTES_PER_WHOLE_ROW, OpenStream
from gaecli.pipeline.settle import final_block
from gaecli.pipeline.tasks import CarriedUnit, Carries
from gaecli.pipeline.worker import Worker
from gaecli.records import dataclass
from gaecli.rollouts import Block

if TYPE_CHECKING:
    from gaecli.estimators.unit_pieces import UnitParts

#: What estimating takes beside the steps, and what goes back to the blocks, in bytes of a step.
_WORK_BYTES = 64


@dataclass(frozen=True, eq=False)
class BorderPieces:
    """The pieces that a block has of such trajectories."""

    address: BlockAddress
    #: [P] numbers of the trajectories, and how many steps of each are here.
    chains: IndexArray
    lengths: IndexArray
    #: Which steps of the block they are, and what is there.
    steps: IndexArray
    block: Block

    @property
    def num_bytes(self) -> int:
        return num_bytes(self.block) + _WORK_BYTES * len(self.steps)


@dataclass(frozen=True, eq=False)
class UnitPieces:
    """The same of an estimator over units."""

    address: BlockAddress
    chains: IndexArray
    parts: UnitParts

    @property
    def num_bytes(self) -> int:
        return self.parts.num_bytes + _WORK_BYTES * len(self.parts.counts)


Pieces = BorderPieces | UnitPieces


@dataclass(frozen=True, eq=False)
class GatherUnit(CarriedUnit[Pieces]):
    """Those of every block of a unit. It is the one task but for writing whose results hold rows."""

    #: Which of the streams of rewards (`--stream`).
    stream: int = 0

    def of_block(self, worker: Worker, address: BlockAddress, scanned: Scanned) -> Pieces:
        carry, estimator = self.carries[address], worker.estimator
        if self.stream:
            scanned, carry = scanned.others[self.stream - 1], carry.others[self.stream - 1]
            estimator = others_of(estimator)[self.stream - 1]
        block = final_block(scanned, carry, estimator)
        carry = carry.as_read
        stops = block.trajectories()[1] + 1
        heads, tails = np.flatnonzero(carry.head_chains >= 0), np.flatnonzero(carry.tail_chains >= 0)
        ends = np.concatenate((block.lanes.starts[heads], block.lanes.stops[tails] - 1))
        numbers = np.concatenate((carry.head_chains[heads], carry.tail_chains[tails]))
        # A lane without an end is the head and the tail of one trajectory.
        found, first = np.unique(np.searchsorted(stops, ends, side="right"), return_index=True)
        starts, stops = np.concatenate(([0], stops[:-1])).astype(np.int64)[found], stops[found]
        if carry.units is not None:
            enters = np.concatenate((carry.units.enters[heads], np.zeros(len(tails), np.bool_)))[first]
            return UnitPieces(address, numbers[first], self._unit_parts(block, starts, stops, enters))
        lengths = stops - starts
        offsets = np.cumsum(lengths) - lengths
        steps = np.arange(int(lengths.sum())) + np.repeat(starts - offsets, lengths)
        return BorderPieces(address, numbers[first], lengths, steps, part(block, steps))

    def _unit_parts(
        self, block: Block, starts: IndexArray, stops: IndexArray, enters: BoolArray
    ) -> UnitParts:
        from gaecli.estimators.unit_pieces import unit_parts

        settings = self.source.settings
        own = settings.of_streams[self.stream] if settings.stream else settings
        return unit_parts(block, starts, stops, enters, own)


def with_whole_trajectories(
    opened: OpenStream,
    carries: Mapping[tuple[int, int], Carries],
    engine: Engine[Worker],
    estimator: Estimator,
) -> Mapping[tuple[int, int], Carries]:
    """The carries with what becomes of the steps of trajectories that lie in several blocks."""
    first, *others = (
        estimated(gathered_pieces(opened, carries, engine, stream=index), one)
        for index, one in enumerate([estimator, *others_of(estimator)])
    )
    return {
        place: {
            address: replace(
                carry,
                whole=first.get(address),
                others=tuple(
                    replace(other, whole=wholes.get(address))
                    for other, wholes in zip(carry.others, others, strict=True)
                ),
            )
            for address, carry in of_unit.items()
        }
        for place, of_unit in carries.items()
    }


def gathered_pieces(
    opened: OpenStream, carries: Mapping[tuple[int, int], Carries], engine: Engine[Worker], *, stream: int = 0
) -> list[Pieces]:
    """Those of all blocks, in their order. `UsageError` where they are more than the memory holds."""
    tasks = (
        GatherUnit(opened.source(file), unit, of_unit, stream)
        for (file, unit), of_unit in sorted(carries.items())
        if any(
            _crosses((carry.others[stream - 1] if stream else carry).as_read) for carry in of_unit.values()
        )
    )
    gathered: list[Pieces] = []
    # What a block takes is there in any case.
    size, limit = 0, max(opened.memory_bytes, opened.rows_per_block * BYTES_PER_WHOLE_ROW)
    for found in engine.run(tasks):
        for pieces in found:
            gathered.append(pieces)
            size += pieces.num_bytes
        if size > limit:
            raise _too_large(opened)
    return gathered


def _crosses(carry: Carry) -> bool:
    return bool((carry.head_chains >= 0).any() or (carry.tail_chains >= 0).any())


@np.errstate(over="ignore", invalid="ignore")  # the numbers that are written tell of it
def estimated(gathered: Sequence[Pieces], estimator: Estimator) -> dict[BlockAddress, WholePieces]:
    """What becomes of them, block by block."""
    units = [pieces for pieces in gathered if isinstance(pieces, UnitPieces)]
    if units:
        from gaecli.estimators.unit_pieces import estimated_units

        chains = np.concatenate([pieces.chains for pieces in units])
        found = estimated_units([pieces.parts for pieces in units], chains, estimator)
        return {pieces.address: whole for pieces, whole in zip(units, found, strict=True)}
    return _estimated_steps([pieces for pieces in gathered if isinstance(pieces, BorderPieces)], estimator)


def _estimated_steps(
    gathered: Sequence[BorderPieces], estimator: Estimator
) -> dict[BlockAddress, WholePieces]:
    if not gathered:
        return {}
    chains = np.concatenate([pieces.chains for pieces in gathered])
    lengths = np.concatenate([pieces.lengths for pieces in gathered])
    starts = np.cumsum(lengths) - lengths
    order = np.argsort(chains, kind="stable")  # the pieces of a trajectory come in the order of its steps
    steps = np.arange(int(lengths.sum())) + np.repeat(
        starts[order] - (np.cumsum(lengths[order]) - lengths[order]), lengths[order]
    )
    block = part(joined([pieces.block for pieces in gathered]), steps)
    settings = estimator.settings
    if settings.open_ends == "terminal":
        block = ends_as_terminal(block)
    block = fill_bootstrap(block, settings.bootstrap, is_whole_stream=True)
    advantages, returns = estimator.whole(block)
    bounds = np.cumsum([len(pieces.steps) for pieces in gathered])[:-1]
    parts = np.split(_back(advantages, steps), bounds)
    of_returns: Sequence[FloatArray | None] = [None] * len(gathered)
    if returns is not None:
        of_returns = np.split(_back(returns, steps), bounds)
    return {
        pieces.address: WholePieces(pieces.steps, its_advantages, its_returns)
        for pieces, its_advantages, its_returns in zip(gathered, parts, of_returns, strict=True)
    }


def _back(numbers: FloatArray, steps: IndexArray) -> FloatArray:
    """In the order in which they were gathered."""
    found = np.empty_like(numbers)
    found[steps] = numbers
    return found


def _too_large(opened: OpenStream) -> UsageError:
    leaks = opened.settings.end_rule == "leak"
    return UsageError(
        f"`--estimator {opened.settings.estimator}` takes trajectories as wholes here, and those of "
        f"`{opened.plan.paths[0]}` that lie in several blocks take more than `--memory`"
        + (": a time limit that leaks makes one of two" if leaks else ""),
        hint="raise `--memory`; of rows that are sorted by trajectory, only those at the borders of blocks count",
    )
