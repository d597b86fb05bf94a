"""One stream of files on its way: summarised and combined, then measured, visited or applied."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from gaecli.columns import Roles
from gaecli.engines.threads import run_in_order
from gaecli.errors import DataError, UsageError
from gaecli.estimators.base import Estimator
from gaecli.estimators.normalization import NormConstants, NormRule
from gaecli.formats.base import FileWriter, OutputColumn
from gaecli.layout_kinds import LayoutKind
from gaecli.layouts.evidence.unused_flags import EndsUnrecognised, peek
from gaecli.layouts.row_order import NeedsKeys, NeedsWholeStream, RowOrder
from gaecli.moments import Moments
from gaecli.pipeline.apply import Totals, finish_block
from gaecli.pipeline.blocks import (
    BlockAddress,
    BlockReader,
    BlockStore,
    BlockSummary,
    RawBlock,
    Scanned,
    summarise,
)
from gaecli.pipeline.clock import Stopwatch
from gaecli.pipeline.combine import Carry, combine
from gaecli.pipeline.groups import group_keys, measure, normalized
from gaecli.pipeline.judging.continuity import Edges
from gaecli.pipeline.judging.judge import StreamEvidence, judge
from gaecli.pipeline.opening import OpenFile, OpenStream
from gaecli.pipeline.reading_errors import told
from gaecli.pipeline.settle import Settled, settle
from gaecli.pipeline.sketches import SketchBook, sketch_of
from gaecli.settings import Settings
from gaecli.sources.inputs import StreamPlan
from gaecli.summary import WarningNote

T = TypeVar("T")
R = TypeVar("R")

#: What a row of a file takes that is sorted as a whole.
BYTES_PER_SORTED_ROW = 100

#: Runs a function over tasks and yields results in the order of the tasks.
Runner = Callable[[Callable[[T], R], Iterable[T]], Iterator[R]]


@dataclass(frozen=True, eq=False)
class RunContext:
    """What every phase of every stream works with."""

    estimator: Estimator
    store: BlockStore
    run: Runner[Any, Any]
    clock: Stopwatch
    #: Threads within one block; more than one only where blocks are not worked on side by side.
    threads: int
    #: Called between blocks; raises once the run is to end.
    check_stop: Callable[[], None]

    @classmethod
    def plain(
        cls, estimator: Estimator, store_bytes: int, run: Runner[Any, Any] = run_in_order
    ) -> RunContext:
        """For a command that looks at one stream after the other and stops where Python does."""
        return cls(estimator, BlockStore(store_bytes), run, Stopwatch(), threads=1, check_stop=lambda: None)


@dataclass(frozen=True, eq=False)
class BlockTask:
    """What one task works on: a unit, or one block of a unit that is more than a block.

    Such a unit is read in order, by whoever hands out the tasks, so that a row group or an array of any
    size passes through memory block by block while other threads compute.
    """

    file: int
    unit: int
    #: Number of the block within the unit; None: all of them, still to be read.
    part: int | None = None
    #: The rows of that block; None: the store has it.
    piece: RawBlock | None = None


@dataclass(eq=False)
class Stream:
    """A stream after its first look (`first_look` makes it). Lives in one thread at a time."""

    opened: OpenStream
    summaries: list[BlockSummary] = field(default_factory=list)
    #: Of every block, by its unit.
    carries: dict[tuple[int, int], dict[BlockAddress, Carry]] = field(default_factory=dict)
    warnings: list[WarningNote] = field(default_factory=list)
    #: What pictures are drawn from, where they are.
    sketches: SketchBook | None = None
    #: Where it begins and ends, if it may be a part of what the next input goes on with.
    edges: Edges | None = None
    #: During the first look, of every file: columns that no role uses and that hold flags, as far as was seen.
    _looked_at: list[Sequence[str]] = field(default_factory=list)

    @property
    def number(self) -> int:
        return self.opened.number

    @property
    def plan(self) -> StreamPlan:
        return self.opened.plan

    @property
    def settings(self) -> Settings:
        return self.opened.settings

    @property
    def files(self) -> Sequence[OpenFile]:
        return self.opened.files

    @property
    def roles(self) -> Roles:
        return self.opened.roles

    @property
    def layout(self) -> LayoutKind:
        return self.opened.layout

    def summarise(self, context: RunContext) -> None:
        """The first look: every cell that is used is checked before anything is written."""

        def task(batch: BlockTask) -> list[BlockSummary]:
            summaries = []
            for address, scanned in self._scan(batch, context):
                summaries.append(summarise(scanned, address, context.estimator))
                context.store.keep(self.number, address, scanned)
            return summaries

        self._looked_at = []
        for opened in self.files:
            with told(opened.file.path):
                self._looked_at.append(peek(opened.file, opened.unused, opened.units))
        self.summaries = [one for found in self._run(task, range(len(self.files)), context) for one in found]
        self._looked_at = []
        paths = [str(path) for path in self.plan.paths]
        open_ends = self.settings.convention.open_ends
        combined = combine(self.summaries, self.settings.bootstrap, paths, open_ends=open_ends)
        for summary, carry in zip(self.summaries, combined.carries, strict=True):
            unit = summary.address.file, summary.address.unit
            self.carries.setdefault(unit, {})[summary.address] = carry
        by_key = self.opened.taking.by_key
        case = StreamEvidence(
            self.plan.paths,
            self.roles,
            self.settings,
            self.summaries,
            combined,
            self.layout,
            by_key=by_key,
        )
        self.warnings = [*self.opened.warnings, *judge(case)]
        is_free = self.plan.data_set is None and self.settings.join is None
        self.edges = Edges.of(case) if is_free else None

    def measure(self, context: RunContext, *, only_file: int | None = None) -> dict[Hashable, Moments]:
        """Moments of the raw advantages by normalisation group, merged in the order of the blocks."""

        def task(batch: BlockTask) -> list[dict[Hashable, Moments]]:
            found = []
            for scanned, carry in self._blocks(batch, context, last=False):
                with context.clock("kernel"):
                    settled = settle(scanned, carry, context.estimator, context.threads)
                    found.append(measure(settled, group_keys(settled, carry, self.settings)))
            return found

        files = range(len(self.files)) if only_file is None else [only_file]
        total: dict[Hashable, Moments] = {}
        for found in self._run(task, files, context):
            for groups in found:
                for key, moments in groups.items():
                    total[key] = total.get(key, Moments()).merge(moments)
        return total

    def visit(self, context: RunContext, look: Callable[[int, int, Settled, Carry], R]) -> Iterator[R]:
        """look(file, start row, block, carry) of every block, in the order of the blocks."""

        def task(batch: BlockTask) -> list[R]:
            found = []
            for scanned, carry in self._blocks(batch, context):
                with context.clock("kernel"):
                    settled = settle(scanned, carry, context.estimator, context.threads)
                    found.append(look(batch.file, scanned.start, settled, carry))
            return found

        for found in self._run(task, range(len(self.files)), context):
            yield from found

    def apply(
        self,
        index: int,
        writer: FileWriter | None,
        context: RunContext,
        constants: Mapping[Hashable, NormConstants],
        rule: NormRule,
    ) -> Totals:
        """The second look: the final columns of one file, written in the order of its rows."""

        def task(batch: BlockTask) -> list[tuple[dict[str, OutputColumn], Totals]]:
            found = []
            for scanned, carry in self._blocks(batch, context):
                with context.clock("kernel"):
                    settled = settle(scanned, carry, context.estimator, context.threads)
                    finished = self._finish(settled, carry, constants, rule)
                    if self.sketches is not None:
                        is_first = index == scanned.start == 0
                        finished[1].sketch = sketch_of(index, scanned.start, settled, carry, is_first)
                found.append(finished)
            return found

        totals = Totals()
        for found in self._run(task, [index], context):
            for columns, block_totals in found:
                totals.merge(block_totals)
                if self.sketches is not None:
                    self.sketches.add(block_totals.sketch)
                if writer is not None:
                    with context.clock("write"):
                        writer.write(columns)
        return totals

    def _finish(
        self, settled: Settled, carry: Carry, constants: Mapping[Hashable, NormConstants], rule: NormRule
    ) -> tuple[dict[str, OutputColumn], Totals]:
        if not self.settings.normalizes:
            return finish_block(settled, None, self.settings)
        groups = group_keys(settled, carry, self.settings)
        written = normalized(settled, groups, constants, rule)
        columns, totals = finish_block(settled, written, self.settings)
        totals.local_groups, totals.degenerate_groups = written.num_local, written.num_degenerate
        return columns, totals

    def _run(self, task: Callable[[BlockTask], R], files: Iterable[int], context: RunContext) -> Iterator[R]:
        """The results for all batches of these files, in the order of the rows."""
        with contextlib.closing(self._batches(files, context)) as batches:
            yield from context.run(task, batches)

    def _batches(self, files: Iterable[int], context: RunContext) -> Generator[BlockTask, None, None]:
        for file in files:
            for number, unit in enumerate(self.files[file].units):
                if kept := self._kept(file, number, context):
                    yield from (BlockTask(file, number, address.part) for address in kept)
                elif unit.num_cells <= self.opened.rows_per_block:
                    yield BlockTask(file, number)
                else:
                    pieces = self._reader(file, context).pieces(unit, context.clock)
                    yield from (BlockTask(file, number, part, piece) for part, piece in enumerate(pieces))

    def _reader(self, file: int, context: RunContext) -> BlockReader:
        opened = self.files[file]
        return BlockReader(
            opened.file,
            opened.layout,
            context.estimator,
            self.settings.bootstrap,
            self.opened.rows_per_block,
            self._looked_at[file] if self._looked_at else (),
        )

    def _scan(self, batch: BlockTask, context: RunContext) -> Iterator[tuple[BlockAddress, Scanned]]:
        reader = self._reader(batch.file, context)
        if batch.part is not None and batch.piece is not None:
            pieces: Iterable[tuple[int, RawBlock]] = [(batch.part, batch.piece)]
        else:
            pieces = enumerate(reader.pieces(self.files[batch.file].units[batch.unit], context.clock))
        for part, piece in pieces:
            context.check_stop()
            yield (
                BlockAddress(batch.file, batch.unit, part),
                reader.scan(piece, context.clock, context.threads),
            )

    def _kept(self, file: int, unit: int, context: RunContext) -> list[BlockAddress]:
        """The blocks of a unit, if this is not the first look and the store has all of them."""
        found = list(self.carries.get((file, unit), ()))
        is_kept = all(context.store.get(self.number, address) is not None for address in found)
        return found if is_kept else []

    def _blocks(
        self, batch: BlockTask, context: RunContext, *, last: bool = True
    ) -> Iterator[tuple[Scanned, Carry]]:
        """The blocks of a batch with their carries: from the store, or scanned again."""
        carries = self.carries[batch.file, batch.unit]
        if batch.part is not None:
            address = BlockAddress(batch.file, batch.unit, batch.part)
            scanned = (context.store.take if last else context.store.get)(self.number, address)
            if scanned is not None:
                yield scanned, carries[address]
                return
        for address, scanned in self._scan(batch, context):
            yield scanned, carries[address]


def first_look(opened: OpenStream, context: RunContext) -> Stream:
    """Summarise every block; a file whose rows are out of order is taken as one, if it fits into memory."""
    fits = len(opened.files) == 1 and opened.num_rows * BYTES_PER_SORTED_ROW <= opened.memory_bytes
    try:
        return _by_key_if_needed(opened, context)
    except NeedsWholeStream as error:
        if not fits:
            raise UsageError(
                f"rows of `{opened.plan.paths[0]}` are out of order, and sorting them takes more than `--memory`",
                hint="sort the rows by trajectory and step, or raise `--memory`; `--step-column none` goes by the "
                "order in the file",
            ) from error
    except EndsUnrecognised:
        raise  # all blocks together say so
    except (DataError, UsageError):
        # A block alone may take rows that are out of order for wrong ones, and counts no others.
        if opened.num_blocks <= 1 or opened.layout.row_is != "step" or not fits:
            raise
    context.store.forget(opened.number)
    return _summarised(opened.taken(RowOrder(is_whole=True), opened.num_rows), context)


def _by_key_if_needed(opened: OpenStream, context: RunContext) -> Stream:
    """Where ids come back after others, each key becomes a lane of its own."""
    try:
        return _summarised(opened, context)
    except NeedsKeys:
        context.store.forget(opened.number)
        return _summarised(opened.taken(RowOrder(by_key=True)), context)


def _summarised(opened: OpenStream, context: RunContext) -> Stream:
    stream = Stream(opened)
    stream.summarise(context)
    return stream
