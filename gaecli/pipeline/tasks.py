"""The tasks over the blocks of a stream: summarise, measure, finish. Plain values: see `gaecli.engines.base`.

The unit of work is that of the file, whole row groups or all of an array file. One of more rows than a block has
several blocks, which are the same on every call, wherever it is read.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Generic, TypeVar

from gaecli.estimators.stages import Statistic
from gaecli.formats.base import OutputColumn
from gaecli.formats.watched import count_kept
from gaecli.heap import looked_at
from gaecli.pipeline.apply import Totals, finish_block
from gaecli.pipeline.block_stages import BlockStages
from gaecli.pipeline.blocks import (
    BlockAddress,
    BlockSummary,
    Measured,
    RawBlock,
    Scanned,
    summarise,
)
from gaecli.pipeline.combine import Carry, empty_carry
from gaecli.pipeline.label_tables import Constants
from gaecli.pipeline.opening import FileSource, OpenFile
from gaecli.pipeline.reader import BlockReader
from gaecli.pipeline.settle import Settled, settle
from gaecli.pipeline.worker import Worker
from gaecli.records import dataclass

if TYPE_CHECKING:
    from gaecli.pipeline.labels import LabelConstants, SurveyAnswer, SurveyQuestion
    from gaecli.pipeline.sketches import Sketch

R = TypeVar("R")

#: What every block of a unit is told about its surroundings.
Carries = Mapping[BlockAddress, Carry]


@dataclass(frozen=True, eq=False)
class UnitTask(ABC, Generic[R]):
    """Something that is found out of every block of a unit."""

    source: FileSource
    unit: int

    @abstractmethod
    def of_block(self, worker: Worker, address: BlockAddress, scanned: Scanned) -> R: ...

    def __call__(self, worker: Worker) -> list[R]:
        return [found for block in self._blocks(worker) for found in block(worker)]

    def parts(self, worker: Worker) -> Iterator[UnitTask[R] | BlockTask[R]]:
        opened = worker.files.open(self.source)
        if self._kept(worker) or opened.units[self.unit].num_cells > self.source.rows_per_block:
            yield from self._blocks(worker)
        else:
            yield self

    def reader(self, worker: Worker) -> BlockReader:
        opened = worker.files.open(self.source)
        return BlockReader(
            opened.file,
            opened.layout,
            worker.estimator,
            self.source.settings.bootstrap,
            self.source.rows_per_block,
            self._unused(opened),
            self.source.outcomes,
            opened.others,
        )

    def stored(self, worker: Worker, address: BlockAddress) -> Scanned | None:
        """A block as an earlier task left it, for the last time where it is not needed again."""
        return worker.store.get(self.source.stream, address)

    def staged(self, settled: Settled, carry: Carry) -> BlockStages:
        return BlockStages(settled, carry, self.source.settings, self.source.place)

    def _unused(self, opened: OpenFile) -> Sequence[str]:
        """Columns that no role uses and that are looked at all the same."""
        return ()

    def _kept(self, worker: Worker) -> Sequence[BlockAddress]:
        """The blocks of the unit, if the store has all of them."""
        return ()

    def _blocks(self, worker: Worker) -> Iterator[BlockTask[R]]:
        kept = self._kept(worker)
        if kept:
            opened = worker.files.known(self.source)
            for address in kept:
                yield BlockTask(self, address, None)
                if opened is not None:
                    count_kept(opened.file, opened.units[self.unit].num_rows / len(kept))
            return
        worker.files.fill_unit(self.source, self.unit)
        unit = worker.files.open(self.source).units[self.unit]
        for part, piece in enumerate(self.reader(worker).pieces(unit, worker.clock)):
            address = BlockAddress(self.source.index, self.unit, part)
            if self._is_wanted(address):
                yield BlockTask(self, address, piece)

    def _is_wanted(self, address: BlockAddress) -> bool:
        return True


@dataclass(frozen=True, eq=False)
class BlockTask(Generic[R]):
    """One block of a unit, with its rows: it stays in the process that read them."""

    task: UnitTask[R]
    address: BlockAddress
    #: None: the store has the block.
    piece: RawBlock | None

    def __call__(self, worker: Worker) -> list[R]:
        worker.check_stop()
        if self.piece is None:
            scanned = self.task.stored(worker, self.address)
            assert scanned is not None
        else:
            scanned = self.task.reader(worker).scan(self.piece, self.address, worker.clock)
        found = self.task.of_block(worker, self.address, scanned)
        looked_at(scanned.block.placement.num_rows)
        return [found]

    def parts(self, worker: Worker) -> Iterator[BlockTask[R]]:
        yield self


@dataclass(frozen=True, eq=False)
class SummariseUnit(UnitTask[BlockSummary]):
    """The first look: every cell that is used is checked before anything is written.

    `measures`: where nothing crosses the borders of a block, what the first stage compares is measured at once,
    so that what the store has no room for is read once less.
    """

    measures: bool = False

    def of_block(self, worker: Worker, address: BlockAddress, scanned: Scanned) -> BlockSummary:
        summary = summarise(scanned, address, worker.estimator, self.source.settings)
        if scanned.parts is not None:  # it has no rewards yet
            return summary
        worker.store.keep(self.source.stream, address, scanned)
        if not self.measures or scanned.block.lanes.count or summary.others:
            return summary
        with worker.clock("kernel"):
            carry = empty_carry(0)
            stages = self.staged(settle(scanned, carry, worker.estimator), carry)
            return replace(summary, measured=stages.measured(()))

    def _unused(self, opened: OpenFile) -> Sequence[str]:
        return opened.seen_unused


@dataclass(frozen=True, eq=False)
class CarriedUnit(UnitTask[R]):
    """Something of blocks whose surroundings are known: of those of the unit that `carries` has."""

    carries: Carries

    def _kept(self, worker: Worker) -> Sequence[BlockAddress]:
        stream = self.source.stream
        is_kept = all(worker.store.get(stream, address) is not None for address in self.carries)
        return list(self.carries) if is_kept else []

    def _is_wanted(self, address: BlockAddress) -> bool:
        return address in self.carries  # of the others all is done


@dataclass(frozen=True, eq=False)
class _SettledUnit(CarriedUnit[R]):
    """The same, once it is exact."""

    @property
    def is_last(self) -> bool:
        """Nobody reads the blocks again."""
        return False

    @abstractmethod
    def of_settled(self, worker: Worker, start: int, settled: Settled, carry: Carry) -> R: ...

    def of_block(self, worker: Worker, address: BlockAddress, scanned: Scanned) -> R:
        carry = self.carries[address]
        with worker.clock("kernel"):
            settled = settle(scanned, carry, worker.estimator, is_last=self.is_last)
            return self.of_settled(worker, scanned.start, settled, carry)


@dataclass(frozen=True, eq=False)
class MeasureUnit(_SettledUnit[dict[Statistic, Measured]]):
    """Moments of what a stage compares; `constants` are those of the stages before it."""

    constants: Constants

    def of_settled(
        self, worker: Worker, start: int, settled: Settled, carry: Carry
    ) -> dict[Statistic, Measured]:
        return self.staged(settled, carry).measured(self.constants)


@dataclass(frozen=True, eq=False)
class SurveyUnit(_SettledUnit["SurveyAnswer"]):
    """What labels and weights ask of all blocks before any of them has some."""

    question: SurveyQuestion
    constants: Constants

    def of_settled(self, worker: Worker, start: int, settled: Settled, carry: Carry) -> SurveyAnswer:
        from gaecli.pipeline.labels import answer

        settings, advantages = self.source.settings, settled.advantages
        if settings.normalizes:
            advantages = self.staged(settled, carry).applied(self.constants).advantages
        return answer(self.question, settled, advantages, carry, settings)


@dataclass(frozen=True, eq=False)
class _LastLook(_SettledUnit[R]):
    def stored(self, worker: Worker, address: BlockAddress) -> Scanned | None:
        return worker.store.take(self.source.stream, address)


@dataclass(frozen=True, eq=False)
class LookUnit(_LastLook[R]):
    """Whatever a command wants to know of a block: of one that computes in this process, where `look` may be any."""

    #: (file of the stream, first row, block, what it is told about its surroundings)
    look: Callable[[int, int, Settled, Carry], R]

    def of_settled(self, worker: Worker, start: int, settled: Settled, carry: Carry) -> R:
        return self.look(self.source.index, start, settled, carry)


@dataclass(frozen=True, eq=False)
class FinishedBlock:
    """The rows of the new columns, and what they add to the summary."""

    columns: Mapping[str, OutputColumn]
    totals: Totals
    #: Where pictures are to be drawn.
    sketch: Sketch | None


@dataclass(frozen=True, eq=False)
class FinishUnit(_LastLook[FinishedBlock]):
    """The final columns. Its results hold rows: it is carried out where they are written."""

    constants: Constants
    labels: LabelConstants | None
    has_sketches: bool

    @property
    def is_last(self) -> bool:
        return True

    def of_settled(self, worker: Worker, start: int, settled: Settled, carry: Carry) -> FinishedBlock:
        columns, totals = self._finished(settled, carry)
        sketch = None
        if self.has_sketches:
            file = self.source.index
            from gaecli.pipeline.sketches import sketch_of

            sketch = sketch_of(file, start, settled, carry, with_strip=file == start == 0)
        return FinishedBlock(columns, totals, sketch)

    def _finished(self, settled: Settled, carry: Carry) -> tuple[dict[str, OutputColumn], Totals]:
        settings = self.source.settings
        written = None
        if settings.normalizes:
            written = self.staged(settled, carry).applied(self.constants)
        columns, totals = finish_block(settled, written, settings, carry, self.labels)
        if written is not None:
            totals.local_groups, totals.degenerate_groups = written.num_local, written.num_degenerate
        return columns, totals
