"""The blocks of one file, read and scanned: for each kind of reward that there is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gaecli.choices import Bootstrap
from gaecli.errors import DataError
from gaecli.estimators.base import Estimator
from gaecli.estimators.conventions import crosses_trajectories
from gaecli.formats.base import RolloutFile, Unit
from gaecli.layouts.base import Layout
from gaecli.layouts.evidence.flags import BlockEnds, block_ends
from gaecli.pipeline.blocks import BlockAddress, RawBlock, Scanned, check_bootstrap, estimates_of
from gaecli.pipeline.clock import Stopwatch
from gaecli.pipeline.reading_errors import told
from gaecli.records import dataclass
from gaecli.rollouts import Block

if TYPE_CHECKING:
    from gaecli.labels.outcomes import EpisodeOutcomes, EpisodeParts
    from gaecli.reward_streams import RewardStream


@dataclass(frozen=True)
class RewardReader:
    """One kind of reward of a file: the layout that finds it, and the estimator that goes over it."""

    path: Path
    layout: Layout
    estimator: Estimator
    bootstrap: Bootstrap

    def scanned(self, start: int, block: Block, ends: BlockEnds, clock: Stopwatch) -> Scanned:
        """The block with its estimates as if nothing came after it, as far as it can have some yet."""
        if block.lanes.count and crosses_trajectories(self.estimator.settings):
            return Scanned(start, block, block, ends, np.zeros(0), waits=True)
        with clock("read"):
            if self.estimator.settings.open_ends == "terminal":
                last = block.lanes.stops - 1
                block = block.with_next_values_beside(block.lanes.open_ends & ~block.cuts[last])
            prepared = self.estimator.prepare(block)
            if self.bootstrap == "error":
                check_bootstrap(start, prepared, self.path)
        with clock("kernel"):
            return Scanned(start, block, prepared, ends, *estimates_of(prepared, self.estimator))


@dataclass(frozen=True)
class StreamReader(RewardReader):
    """A stream of rewards behind the first one (`--stream`): over the same steps, which may end elsewhere."""

    stream: RewardStream
    #: The column of rewards of the first one.
    beside: str

    def block(self, piece: RawBlock, first: Block) -> Block:
        """`first`: of the same rows."""
        block = self.layout.block(piece.start, piece.columns)
        if not block.placement.is_same(first.placement, first.num_steps, block.num_steps):
            raise DataError(
                f"`{self.stream.reward}` of `{self.path}` has other steps than `{self.beside}` from row "
                f"{piece.start} on, or in another order",
                hint="every step needs a reward of each stream; for `cut=never` the rows of an environment stand "
                "in the order of time",
            )
        if self.stream.cut != "never":
            return block
        from gaecli.estimators.streams import never_cut
        from gaecli.layouts.units import with_units_of

        return never_cut(with_units_of(block, first))


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
        reader = RewardReader(self.file.path, self.layout, self.estimator, self.bootstrap)
        with clock("read"):
            block, parts = self._block(piece, address)
            ends = block_ends(block, piece.columns, self.unused, piece.start)
        scanned = reader.scanned(piece.start, block, ends, clock)
        others = [self._other(other, piece, scanned, clock) for other in self._stream_readers()]
        return replace(scanned, parts=parts, others=tuple(others)) if parts is not None or others else scanned

    def _other(self, reader: StreamReader, piece: RawBlock, first: Scanned, clock: Stopwatch) -> Scanned:
        with clock("read"):
            block = reader.block(piece, first.block)
        return reader.scanned(piece.start, block, first.ends, clock)

    def _stream_readers(self) -> list[StreamReader]:
        """Of the streams behind the first one, if the estimator goes over several."""
        streams = self.estimator.settings.stream[1:]
        if not streams:
            return []
        from gaecli.estimators.streams import others_of

        path, beside = self.file.path, self.layout.roles.names["reward"]
        estimators = others_of(self.estimator)
        return [
            StreamReader(path, layout, estimator, self.bootstrap, stream, beside)
            for layout, estimator, stream in zip(self.others, estimators, streams, strict=True)
        ]

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
