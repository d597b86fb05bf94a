"""Summarise: one look at every block. What it needs from its neighbours, what they need from it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gaecli.array_types import BoolArray, FloatArray, IndexArray, Names
from gaecli.block_facts import BlockFacts
from gaecli.errors import DataError
from gaecli.estimators.base import Borders, Estimates, Estimator, LaneSums, TrajectorySums
from gaecli.estimators.bootstrap import needs_bootstrap
from gaecli.estimators.conventions import crosses_trajectories
from gaecli.estimators.stages import Statistic
from gaecli.formats.base import Column
from gaecli.layouts.evidence.flags import BlockEnds
from gaecli.layouts.evidence.tails import HeldSteps, ZeroTails, held_steps, zero_tails
from gaecli.moments import GroupedMoments
from gaecli.records import dataclass
from gaecli.rollouts import Block, Lanes, NextRows, UnitLanes
from gaecli.settings import Settings

if TYPE_CHECKING:
    from gaecli.labels.outcomes import EpisodeParts
    from gaecli.labels.weights import Following
    from gaecli.layouts.evidence.chains import ChainFacts


@dataclass(frozen=True)
class BlockAddress:
    """Where a block stands: the file of the stream, the unit of the file, the number within the unit."""

    file: int
    unit: int
    part: int


@dataclass(frozen=True, eq=False)
class BlockSummary:
    """All that the other blocks and the driver learn of a block. No array of rows."""

    address: BlockAddress
    start: int
    num_rows: int
    lanes: Lanes
    borders: Borders
    facts: BlockFacts
    ends: BlockEnds
    tails: ZeroTails | None
    #: Rows of the file (flat) at the end of each lane, for messages.
    last_rows: IndexArray
    head_dropped: BoolArray
    tail_dropped: BoolArray
    #: Under a mask, [lanes] it keeps a step of what the block has of the trajectory at the start, and at the end.
    kept: tuple[BoolArray, BoolArray] | None = None
    #: What the block has of the trajectories at its borders, where whole ones are summed.
    sums: LaneSums | None = None
    #: What is known of the success of its episodes, before they have rewards.
    parts: EpisodeParts | None = None
    #: Where progress makes weights: that of the first steps of each lane.
    first_progress: Following | None = None
    #: Of an estimator over units, those at both ends of each lane.
    units: UnitLanes | None = None
    #: The same rows with the rewards of other streams (`--stream`).
    others: tuple[BlockSummary, ...] = ()
    #: Under rules that reach beyond trajectories: the lanes of time, and how each begins.
    in_time: FirstRows | None = None
    #: Moments of what the first stage compares, where they were asked for and nothing crosses the borders.
    measured: Mapping[Statistic, Measured] | None = None
    #: Steps that look like padding that repeats, and what next values say of the order of the rows.
    held: HeldSteps | None = None
    chain: ChainFacts | None = None


class FirstRows(NamedTuple):
    lanes: Lanes
    rows: NextRows


class Measured(NamedTuple):
    """Moments of groups by label, as a block has them."""

    labels: Names
    moments: GroupedMoments


@dataclass(frozen=True, eq=False)
class Scanned:
    """A block with its advantages as if nothing came after it."""

    start: int
    block: Block
    #: The block as the convention reads it; the same object where the convention changes nothing.
    prepared: Block
    ends: BlockEnds
    advantages: FloatArray
    #: None where they are A + V.
    returns: FloatArray | None = None
    sums: TrajectorySums | None = None
    #: Of episodes whose success makes their rewards, as long as not all of them are known.
    parts: EpisodeParts | None = None
    #: The same rows with the rewards of other streams (`--stream`).
    others: tuple[Scanned, ...] = ()
    #: Neither read nor estimated before it is known what follows its lanes: a rule reaches beyond trajectories.
    waits: bool = False

    @cached_property
    def num_bytes(self) -> int:
        return self._own_bytes + sum(other._own_bytes for other in self.others)

    @property
    def _own_bytes(self) -> int:
        holders = [self, self.block, self.block.placement, self.block.slots, self.block.units, self.prepared]
        arrays = [item for holder in holders if holder is not None for item in vars(holder).values()]
        arrays += [] if self.sums is None else [*vars(self.sums).values(), *self.sums.by_name.values()]
        arrays += [*self.block.extras.values(), *(labels.codes for labels in self.block.labels.values())]
        # A name of a group is an object, and all of a long one stays.
        names = sum(80 * len(one.names) for one in self.block.labels.values() if isinstance(one.names, list))
        return names + sum(
            {id(item): item.nbytes for item in arrays if isinstance(item, np.ndarray)}.values()
        )


class BlockStore:
    """Scanned blocks that fit into the memory limit are kept for the second look; the others are read again."""

    def __init__(self, limit_bytes: int) -> None:
        self._left = limit_bytes
        #: By stream: there may be thousands.
        self._kept: dict[int, dict[BlockAddress, Scanned]] = {}
        self._lock = threading.Lock()

    def keep(self, stream: int, address: BlockAddress, scanned: Scanned) -> None:
        with self._lock:
            of_stream = self._kept.setdefault(stream, {})
            if (earlier := of_stream.pop(address, None)) is not None:
                self._left += earlier.num_bytes
            if scanned.num_bytes <= self._left:
                self._left -= scanned.num_bytes
                of_stream[address] = scanned

    def get(self, stream: int, address: BlockAddress) -> Scanned | None:
        return self._kept.get(stream, {}).get(address)

    def forget(self, stream: int) -> None:
        """Give up all blocks of a stream: it failed, or it will be cut into other blocks."""
        with self._lock:
            self._left += sum(block.num_bytes for block in self._kept.pop(stream, {}).values())

    def take(self, stream: int, address: BlockAddress) -> Scanned | None:
        """The block, given up by the store."""
        with self._lock:
            scanned = self._kept.get(stream, {}).pop(address, None)
            if scanned is not None:
                self._left += scanned.num_bytes
            return scanned


class LastingStore(BlockStore):
    """For a stream that is gone over again and again."""

    @property
    def num_bytes(self) -> int:
        return sum(block.num_bytes for blocks in self._kept.values() for block in blocks.values())

    def take(self, stream: int, address: BlockAddress) -> Scanned | None:
        return self.get(stream, address)


class RawBlock(NamedTuple):
    """The cells of a block as they are in the file."""

    #: The first row; of dense arrays, the first cell.
    start: int
    columns: Mapping[str, Column]


def estimates_of(prepared: Block, estimator: Estimator) -> Estimates:
    """As if nothing came after the block."""
    if estimator.needs_trajectories:  # nothing can be said before all ends are known
        return Estimates(np.zeros(prepared.num_steps))
    # What overflows comes out as infinite or NaN, of which the numbers that are written tell.
    with np.errstate(over="ignore", invalid="ignore"):
        return estimator.estimate(prepared)


def check_bootstrap(start: int, block: Block, path: Path) -> None:
    """`--bootstrap error`: of ends that are known in the block; those at its borders come later."""
    needs = needs_bootstrap(block)
    needs[block.lanes.stops[block.lanes.open_ends] - 1] = False
    if needs.any():
        step = int(np.argmax(needs))
        raise missing_bootstrap(start + int(block.file_rows(np.array([step]))[0]), str(path))


class MissingBootstrapError(DataError):
    """`--bootstrap error`, and an end has no V beyond it. Who knows the file may know a better hint."""


def missing_bootstrap(row: int, path: str) -> MissingBootstrapError:
    """Without a count: more of them may be in blocks that were not looked at."""
    return MissingBootstrapError(
        f"the trajectory that ends at row {row} of `{path}` has neither a terminal flag nor a next value",
        hint="name a column with `--next-value-column`, or pass `--bootstrap zero` or `--bootstrap current`",
    )


def summarise(
    scanned: Scanned, address: BlockAddress, estimator: Estimator, settings: Settings
) -> BlockSummary:
    """`settings`: those of the run, beside which the estimator may be another one's."""
    block = scanned.block
    lanes = block.lanes
    prepared, waits = scanned.prepared, scanned.waits
    looks_ahead = waits or crosses_trajectories(settings)
    borders = Borders.of_ends(block) if waits else estimator.borders(prepared, scanned.advantages)
    dropped = block.dropped
    first, last = lanes.starts, lanes.stops - 1
    nothing = np.zeros(lanes.count, np.bool_)
    return BlockSummary(
        address=address,
        start=scanned.start,
        num_rows=block.placement.num_rows,
        lanes=lanes,
        borders=borders,
        facts=block.facts,
        ends=scanned.ends,
        tails=zero_tails(block),
        chain=_chain(block),
        held=held_steps(block),
        last_rows=scanned.start + block.file_rows(last),
        head_dropped=nothing if dropped is None else dropped[first],
        tail_dropped=nothing if dropped is None else dropped[last],
        kept=_kept(block),
        sums=None if scanned.sums is None else scanned.sums.at_borders(prepared),
        parts=scanned.parts,
        first_progress=_first_progress(block, estimator.settings),
        units=None if block.units is None else block.units.lanes,
        others=_others(scanned, address, estimator, settings),
        in_time=_first_rows(block) if looks_ahead else None,
    )


def _kept(block: Block) -> tuple[BoolArray, BoolArray] | None:
    if block.masked is None or not block.lanes.count:
        return None
    numbers, _ = block.trajectories()
    kept = block.kept_trajectories(numbers)
    return kept[numbers[block.lanes.starts]], kept[numbers[block.lanes.stops - 1]]


def _chain(block: Block) -> ChainFacts | None:
    if block.next_values is None or not block.has_values:
        return None
    from gaecli.layouts.evidence.chains import chain_facts

    return chain_facts(block)


def _first_rows(block: Block) -> FirstRows:
    from gaecli.estimators.time_order import first_rows, in_time

    block = in_time(block)
    return FirstRows(block.lanes, first_rows(block))


def _others(
    scanned: Scanned, address: BlockAddress, estimator: Estimator, settings: Settings
) -> tuple[BlockSummary, ...]:
    if not scanned.others:
        return ()
    from gaecli.estimators.streams import others_of

    pairs = zip(scanned.others, others_of(estimator), strict=True)
    return tuple(summarise(other, address, one, settings) for other, one in pairs)


def _first_progress(block: Block, settings: Settings) -> Following | None:
    if settings.progress_column is None:
        return None
    from gaecli.label_settings import parameter
    from gaecli.labels.weights import first_progress

    return first_progress(
        block, block.extras[settings.progress_column], int(parameter(settings, "progress_chunk"))
    )
