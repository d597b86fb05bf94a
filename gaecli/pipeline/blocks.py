"""Summarise: one look at every block. What it needs from its neighbours, what they need from it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gaecli.choices import Bootstrap
from gaecli.errors import DataError
from gaecli.estimators.base import Borders, Estimates, Estimator, LaneSums, TrajectorySums
from gaecli.estimators.bootstrap import needs_bootstrap
from gaecli.estimators.stages import Statistic
from gaecli.formats.base import Column, RolloutFile, Unit
from gaecli.layouts.base import Layout
from gaecli.layouts.evidence.flags import BlockEnds, block_ends
from gaecli.layouts.evidence.tails import ZeroTails, zero_tails
from gaecli.moments import GroupedMoments
from gaecli.pipeline.clock import Stopwatch
from gaecli.pipeline.reading_errors import told
from gaecli.records import dataclass
from gaecli.rollouts import Block, BlockFacts, BoolArray, FloatArray, IndexArray, Lanes, Names, UnitLanes
from gaecli.settings import Settings

if TYPE_CHECKING:
    from gaecli.labels.outcomes import EpisodeOutcomes, EpisodeParts
    from gaecli.labels.weights import Following
    from gaecli.reward_streams import RewardStream


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
    #: Moments of what the first stage compares, where they were asked for and nothing crosses the borders.
    measured: Mapping[Statistic, Measured] | None = None


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

    @property
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
        self._kept: dict[tuple[int, BlockAddress], Scanned] = {}
        self._lock = threading.Lock()

    def keep(self, stream: int, address: BlockAddress, scanned: Scanned) -> None:
        with self._lock:
            if scanned.num_bytes <= self._left:
                self._left -= scanned.num_bytes
                self._kept[stream, address] = scanned

    def get(self, stream: int, address: BlockAddress) -> Scanned | None:
        return self._kept.get((stream, address))

    def forget(self, stream: int) -> None:
        """Give up all blocks of a stream: it failed, or it will be cut into other blocks."""
        with self._lock:
            for key in [key for key in self._kept if key[0] == stream]:
                self._left += self._kept.pop(key).num_bytes

    def take(self, stream: int, address: BlockAddress) -> Scanned | None:
        """The block, given up by the store."""
        with self._lock:
            scanned = self._kept.pop((stream, address), None)
            if scanned is not None:
                self._left += scanned.num_bytes
            return scanned


class RawBlock(NamedTuple):
    """The cells of a block as they are in the file."""

    #: The first row; of dense arrays, the first cell.
    start: int
    columns: Mapping[str, Column]


@dataclass(frozen=True)
class BlockReader:
    """Reads and scans the blocks of one file; the same blocks on every call."""

    file: RolloutFile
    layout: Layout
    estimator: Estimator
    bootstrap: Bootstrap
    rows_per_block: int
    #: Columns that no role uses and that are looked at all the same, once.
    unused: Sequence[str] = ()
    #: Where success makes the rewards, once all episodes are known.
    outcomes: EpisodeOutcomes | None = None
    #: How the same rows are read for the other streams of rewards.
    others: Sequence[Layout] = ()

    def pieces(self, unit: Unit, clock: Stopwatch) -> Iterator[RawBlock]:
        """The rows of a unit, read one block after the other."""
        names = [name for layout in (self.layout, *self.others) for name in layout.row_columns]
        blocks = self.file.blocks(unit, (*dict.fromkeys(names), *self.unused), self.rows_per_block)
        while True:
            with clock("read"), told(self.file.path):
                found = next(blocks, None)
            if found is None:
                return
            yield RawBlock(found[0], found[2])

    def scan(self, piece: RawBlock, address: BlockAddress, clock: Stopwatch) -> Scanned:
        with clock("read"):
            block, parts = self._block(piece, address)
            prepared = self.estimator.prepare(block)
            self._check_bootstrap(piece.start, prepared)
            ends = block_ends(block, piece.columns, self.unused, piece.start)
        with clock("kernel"), _beyond_float64():
            estimates = _estimates(self.estimator, prepared)
        others = tuple(
            self._other(piece, layout, estimator, ends, clock, one, block)
            for layout, estimator, one in self._streams()
        )
        return Scanned(piece.start, block, prepared, ends, *estimates, parts=parts, others=others)

    def _streams(self) -> list[tuple[Layout, Estimator, RewardStream]]:
        """The other streams of rewards, if the estimator goes over several."""
        streams = self.estimator.settings.stream[1:]
        if not streams:
            return []
        from gaecli.estimators.streams import others_of

        return list(zip(self.others, others_of(self.estimator), streams, strict=True))

    def _other(
        self,
        piece: RawBlock,
        layout: Layout,
        estimator: Estimator,
        ends: BlockEnds,
        clock: Stopwatch,
        stream: RewardStream,
        first: Block,
    ) -> Scanned:
        """The block with the rewards of another stream: the same steps, which may end elsewhere."""
        with clock("read"):
            block = layout.block(piece.start, piece.columns)
            if not block.placement.is_same(first.placement, first.num_steps, block.num_steps):
                beside = self.layout.roles.names["reward"]
                raise DataError(
                    f"`{stream.reward}` of `{self.file.path}` has other steps than `{beside}` from row {piece.start} "
                    "on, or in another order",
                    hint="every step needs a reward of each stream; for `cut=never` the rows of an environment stand "
                    "in the order of time",
                )
            if stream.cut == "never":
                from gaecli.estimators.streams import never_cut
                from gaecli.layouts.units import with_units_of

                block = never_cut(with_units_of(block, first))
            prepared = estimator.prepare(block)
            self._check_bootstrap(piece.start, prepared)
        with clock("kernel"), _beyond_float64():
            return Scanned(piece.start, block, prepared, ends, *_estimates(estimator, prepared))

    def _block(self, piece: RawBlock, address: BlockAddress) -> tuple[Block, EpisodeParts | None]:
        block = self.layout.block(piece.start, piece.columns)
        settings, path = self.estimator.settings, self.file.path
        forced, name = settings.force_positive, settings.success_column
        if forced is None and name is None:
            return block, None
        from gaecli.labels.outcomes import episode_parts
        from gaecli.pipeline.success import checked_flags, rewarded, success_flags

        if forced is not None:
            checked_flags(block, block.extras[forced], f"`{forced}`", "--force-positive", piece.start, path)
        if name is None:
            return block, None
        succeeded = success_flags(block, self.layout, settings, piece.start, path)
        if self.outcomes is None:
            return block, episode_parts(block, succeeded)
        return rewarded(block, succeeded, self.outcomes, self.outcomes.by_block[address]), None

    def _check_bootstrap(self, start: int, block: Block) -> None:
        """`--bootstrap error`, for ends that are known in the block; those at its border come later."""
        if self.bootstrap != "error":
            return
        needs = needs_bootstrap(block)
        needs[block.lanes.stops[block.lanes.open_ends] - 1] = False
        if needs.any():
            step = int(np.argmax(needs))
            raise missing_bootstrap(start + int(block.file_rows(np.array([step]))[0]), str(self.file.path))


def _estimates(estimator: Estimator, prepared: Block) -> Estimates:
    """Where trajectories have to be whole, nothing can be said before all ends are known."""
    if estimator.needs_trajectories:
        return Estimates(np.zeros(prepared.num_steps))
    return estimator.estimate(prepared)


def _beyond_float64() -> AbstractContextManager[object]:
    """What overflows comes out as infinite or NaN, of which the numbers that are written tell."""
    return np.errstate(over="ignore", invalid="ignore")


def missing_bootstrap(row: int, path: str) -> DataError:
    """Without a count: more of them may be in blocks that were not looked at."""
    return DataError(
        f"the trajectory that ends at row {row} of `{path}` has neither a terminal flag nor a next value",
        hint="name a column with `--next-value-column`, or pass `--bootstrap zero` or `--bootstrap current`",
    )


def summarise(scanned: Scanned, address: BlockAddress, estimator: Estimator) -> BlockSummary:
    block = scanned.block
    lanes = block.lanes
    dropped = block.dropped
    first, last = lanes.starts, lanes.stops - 1
    nothing = np.zeros(lanes.count, np.bool_)
    return BlockSummary(
        address=address,
        start=scanned.start,
        num_rows=block.placement.num_rows,
        lanes=lanes,
        borders=estimator.borders(scanned.prepared, scanned.advantages),
        facts=block.facts,
        ends=scanned.ends,
        tails=zero_tails(block),
        last_rows=scanned.start + block.file_rows(last),
        head_dropped=nothing if dropped is None else dropped[first],
        tail_dropped=nothing if dropped is None else dropped[last],
        sums=None if scanned.sums is None else scanned.sums.at_borders(scanned.prepared),
        parts=scanned.parts,
        first_progress=_first_progress(block, estimator.settings),
        units=None if block.units is None else block.units.lanes,
        others=_others(scanned, address, estimator),
    )


def _others(scanned: Scanned, address: BlockAddress, estimator: Estimator) -> tuple[BlockSummary, ...]:
    if not scanned.others:
        return ()
    from gaecli.estimators.streams import others_of

    pairs = zip(scanned.others, others_of(estimator), strict=True)
    return tuple(summarise(other, address, one) for other, one in pairs)


def _first_progress(block: Block, settings: Settings) -> Following | None:
    if settings.progress_column is None:
        return None
    from gaecli.label_settings import parameter
    from gaecli.labels.weights import first_progress

    return first_progress(
        block, block.extras[settings.progress_column], int(parameter(settings, "progress_chunk"))
    )
