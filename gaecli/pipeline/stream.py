"""One stream of files on its way: opened, summarised, combined, measured, applied."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from gaecli.columns import Roles, resolve
from gaecli.errors import DataError, UsageError
from gaecli.estimators.gae import Gae
from gaecli.estimators.normalization import Constants, Rule
from gaecli.estimators.variants import needs_whole_stream
from gaecli.formats.base import FileWriter, OutputColumn, RolloutFile, Unit, damaged
from gaecli.layouts.base import Layout
from gaecli.layouts.long import NeedsKeys, NeedsWholeStream, Taking
from gaecli.layouts.registry import choose_layout
from gaecli.moments import Moments
from gaecli.pipeline.apply import Report, Settled, finish_block, group_keys, measure, normalized, settle
from gaecli.pipeline.blocks import (
    BlockAddress,
    BlockReader,
    BlockStore,
    BlockSummary,
    Piece,
    Scanned,
    summarise,
)
from gaecli.pipeline.clock import Stopwatch
from gaecli.pipeline.combine import Carry, combine
from gaecli.pipeline.gallery import SketchBook, sketch_of
from gaecli.pipeline.inputs import StreamPlan
from gaecli.pipeline.judge import Case, judge
from gaecli.settings import Settings
from gaecli.summary import WarningNote

T = TypeVar("T")
R = TypeVar("R")

#: What a row of a file takes that is sorted as a whole.
BYTES_PER_SORTED_ROW = 100

#: What a row takes where a stream is one block: columns, flags, and a few arrays of work.
BYTES_PER_WHOLE_ROW = 150

#: Runs a function over tasks and yields results in the order of the tasks.
Runner = Callable[[Callable[[T], R], Iterable[T]], Iterator[R]]


@dataclass(frozen=True, eq=False)
class Workshop:
    """What every phase of every stream works with."""

    estimator: Gae
    store: BlockStore
    run: Runner[Any, Any]
    clock: Stopwatch
    #: Threads within one block; more than one only where blocks are not worked on side by side.
    threads: int
    #: Called between blocks; raises once the run is to end.
    check_stop: Callable[[], None]


@dataclass(eq=False)
class OpenFile:
    """One file of a stream with what was decided about it."""

    file: RolloutFile
    layout: Layout
    units: Sequence[Unit]

    @property
    def columns(self) -> set[str]:
        """All columns that are read; there may be many more in the file."""
        return {*self.layout.row_columns, *self.layout.roles.names.values()}


@dataclass(frozen=True, eq=False)
class Batch:
    """What one task works on: a unit, or one block of a unit that is more than a block.

    Such a unit is read in order, by whoever hands out the tasks, so that a row group or an array of any
    size passes through memory block by block while other threads compute.
    """

    file: int
    unit: int
    #: Number of the block within the unit; None: all of them, still to be read.
    part: int | None = None
    #: The rows of that block; None: the store has it.
    piece: Piece | None = None


@dataclass(eq=False)
class Stream:
    """A stream between opening and commit. Lives in one thread at a time."""

    number: int
    plan: StreamPlan
    settings: Settings
    files: list[OpenFile] = field(default_factory=list)
    summaries: list[BlockSummary] = field(default_factory=list)
    #: Of every block, by its unit.
    carries: dict[tuple[int, int], dict[BlockAddress, Carry]] = field(default_factory=dict)
    warnings: list[WarningNote] = field(default_factory=list)
    #: How the rows of a long table are taken.
    taking: Taking = field(default_factory=Taking)
    rows_per_block: int = 0
    #: What pictures are drawn from, where they are.
    sketches: SketchBook | None = None

    @property
    def num_rows(self) -> int:
        """Of dense arrays every cell counts as a row."""
        return sum(unit.num_cells for opened in self.files for unit in opened.units)

    @property
    def is_one_block(self) -> bool:
        """Nothing crosses the border of a block: there is one, or none of them goes on in another."""
        fits = len(self.files) == 1 and self.num_rows <= self.rows_per_block
        return fits or not self.files[0].layout.crosses_blocks

    @property
    def num_blocks(self) -> int:
        """At most so many; a format may have reasons to make fewer."""
        units = [unit for opened in self.files for unit in opened.units]
        return sum(-(-unit.num_cells // self.rows_per_block) for unit in units)

    @property
    def roles(self) -> Roles:
        return self.files[0].layout.roles

    @property
    def layout_name(self) -> str:
        return self.files[0].layout.name

    def open(self, rows_per_block: int, taking: Taking | None = None) -> None:
        """Read footers and headers, find the columns, choose the layout."""
        self.taking = taking or Taking()
        self.rows_per_block = rows_per_block
        self.files = []
        for path in self.plan.paths:
            file = self.plan.open(path)
            roles = resolve(file, self.settings)
            _check_group_column(file, roles, self.settings)
            layout = choose_layout(file, roles, self.settings, self.taking)
            units = file.units(rows_per_block, roles.names["reward"])
            self.files.append(OpenFile(file, layout, units))
        _check_same_columns(self.files)

    def close(self) -> None:
        """Let go of all that was found out: of a thousand streams it is more than their data."""
        self.files, self.summaries, self.carries = [], [], {}

    def join_blocks(self, memory_bytes: int) -> None:
        """Make one block of a stream that cannot be taken in pieces."""
        if needs_whole_stream(self.settings):
            why = f"preset `{self.settings.preset}` computes over whole streams"
        elif any(opened.layout.needs_all_rows for opened in self.files):
            why = "a mask over time-major arrays is applied to all of them at once"
        else:
            return
        if self.is_one_block:
            return
        name = self.plan.paths[0]
        if len(self.files) > 1:
            raise UsageError(
                f"{why}, and that of `{name}` has {len(self.files)} files",
                hint="pass `--no-join` if no trajectory runs on from one file into the next; else merge them",
            )
        if self.num_rows * BYTES_PER_WHOLE_ROW > memory_bytes:
            raise UsageError(
                f"{why}, and `{name}` with {self.num_rows:,} rows takes more than `--memory`",
                hint=f"raise `--memory` to {self.num_rows * BYTES_PER_WHOLE_ROW / (1 << 30):.1f}GiB or more",
            )
        self.open(self.num_rows, Taking(is_whole=True))

    def summarise(self, shop: Workshop) -> None:
        """The first look: every cell that is used is checked before anything is written."""

        def task(batch: Batch) -> list[BlockSummary]:
            summaries = []
            for address, scanned in self._scan(batch, shop):
                summaries.append(summarise(scanned, address, shop.estimator))
                shop.store.keep(self.number, address, scanned)
            return summaries

        self.summaries, self.carries = [], {}
        self.summaries = [one for found in self._run(task, range(len(self.files)), shop) for one in found]
        paths = [str(path) for path in self.plan.paths]
        combined = combine(self.summaries, self.settings.bootstrap, paths)
        for summary, carry in zip(self.summaries, combined.carries, strict=True):
            unit = summary.address.file, summary.address.unit
            self.carries.setdefault(unit, {})[summary.address] = carry
        self.warnings += judge(
            Case(
                self.plan.paths,
                self.roles,
                self.settings,
                self.summaries,
                combined,
                by_key=self.taking.by_key,
            )
        )

    def measure(self, shop: Workshop, *, only_file: int | None = None) -> dict[Hashable, Moments]:
        """Moments of the raw advantages by normalisation group, merged in the order of the blocks."""

        def task(batch: Batch) -> list[dict[Hashable, Moments]]:
            found = []
            for scanned, carry in self._blocks(batch, shop, last=False):
                with shop.clock("kernel"):
                    settled = settle(scanned, carry, shop.estimator, shop.threads)
                    found.append(measure(settled, group_keys(settled, carry, self.settings)))
            return found

        files = range(len(self.files)) if only_file is None else [only_file]
        total: dict[Hashable, Moments] = {}
        for found in self._run(task, files, shop):
            for groups in found:
                for key, moments in groups.items():
                    total[key] = total.get(key, Moments()).merge(moments)
        return total

    def visit(self, shop: Workshop, look: Callable[[int, int, Settled, Carry], R]) -> Iterator[R]:
        """look(file, start row, block, carry) of every block, in the order of the blocks."""

        def task(batch: Batch) -> list[R]:
            found = []
            for scanned, carry in self._blocks(batch, shop):
                with shop.clock("kernel"):
                    settled = settle(scanned, carry, shop.estimator, shop.threads)
                    found.append(look(batch.file, scanned.start, settled, carry))
            return found

        for found in self._run(task, range(len(self.files)), shop):
            yield from found

    def apply(
        self,
        index: int,
        writer: FileWriter | None,
        shop: Workshop,
        constants: Mapping[Hashable, Constants],
        rule: Rule,
    ) -> Report:
        """The second look: the final columns of one file, written in the order of its rows."""

        def task(batch: Batch) -> list[tuple[dict[str, OutputColumn], Report]]:
            found = []
            for scanned, carry in self._blocks(batch, shop):
                with shop.clock("kernel"):
                    settled = settle(scanned, carry, shop.estimator, shop.threads)
                    finished = self._finish(settled, carry, constants, rule)
                    if self.sketches is not None:
                        is_first = index == scanned.start == 0
                        finished[1].sketch = sketch_of(index, scanned.start, settled, carry, is_first)
                found.append(finished)
            return found

        report = Report()
        for found in self._run(task, [index], shop):
            for columns, block_report in found:
                report.merge(block_report)
                if self.sketches is not None:
                    self.sketches.add(block_report.sketch)
                if writer is not None:
                    with shop.clock("write"):
                        writer.write(columns)
        return report

    def _finish(
        self, settled: Settled, carry: Carry, constants: Mapping[Hashable, Constants], rule: Rule
    ) -> tuple[dict[str, OutputColumn], Report]:
        if not self.settings.normalizes:
            return finish_block(settled, None, self.settings)
        groups = group_keys(settled, carry, self.settings)
        written = normalized(settled, groups, constants, rule)
        columns, report = finish_block(settled, written, self.settings)
        report.local_groups, report.degenerate_groups = written.num_local, written.num_degenerate
        return columns, report

    def _run(self, task: Callable[[Batch], R], files: Iterable[int], shop: Workshop) -> Iterator[R]:
        """The results for all batches of these files, in the order of the rows."""
        with contextlib.closing(self._batches(files, shop)) as batches:
            yield from shop.run(task, batches)

    def _batches(self, files: Iterable[int], shop: Workshop) -> Generator[Batch, None, None]:
        for file in files:
            for number, unit in enumerate(self.files[file].units):
                if kept := self._kept(file, number, shop):
                    yield from (Batch(file, number, address.part) for address in kept)
                elif unit.num_cells <= self.rows_per_block:
                    yield Batch(file, number)
                else:
                    pieces = self._reader(file, shop).pieces(unit, shop.clock)
                    yield from (Batch(file, number, part, piece) for part, piece in enumerate(pieces))

    def _reader(self, file: int, shop: Workshop) -> BlockReader:
        opened = self.files[file]
        return BlockReader(
            opened.file, opened.layout, shop.estimator, self.settings.bootstrap, self.rows_per_block
        )

    def _scan(self, batch: Batch, shop: Workshop) -> Iterator[tuple[BlockAddress, Scanned]]:
        reader = self._reader(batch.file, shop)
        if batch.part is not None and batch.piece is not None:
            pieces: Iterable[tuple[int, Piece]] = [(batch.part, batch.piece)]
        else:
            pieces = enumerate(reader.pieces(self.files[batch.file].units[batch.unit], shop.clock))
        for part, piece in pieces:
            shop.check_stop()
            yield BlockAddress(batch.file, batch.unit, part), reader.scan(piece, shop.clock, shop.threads)

    def _kept(self, file: int, unit: int, shop: Workshop) -> list[BlockAddress]:
        """The blocks of a unit, if this is not the first look and the store has all of them."""
        found = list(self.carries.get((file, unit), ()))
        is_kept = all(shop.store.get(self.number, address) is not None for address in found)
        return found if is_kept else []

    def _blocks(self, batch: Batch, shop: Workshop, *, last: bool = True) -> Iterator[tuple[Scanned, Carry]]:
        """The blocks of a batch with their carries: from the store, or scanned again."""
        carries = self.carries[batch.file, batch.unit]
        if batch.part is not None:
            address = BlockAddress(batch.file, batch.unit, batch.part)
            scanned = (shop.store.take if last else shop.store.get)(self.number, address)
            if scanned is not None:
                yield scanned, carries[address]
                return
        for address, scanned in self._scan(batch, shop):
            yield scanned, carries[address]


def summarise_in_order(stream: Stream, shop: Workshop, memory_bytes: int) -> None:
    """`Stream.summarise`; a file whose rows are out of order is taken as one block, if it fits into memory."""
    fits = len(stream.files) == 1 and stream.num_rows * BYTES_PER_SORTED_ROW <= memory_bytes
    try:
        _summarise_by_key_if_needed(stream, shop)
        return
    except NeedsWholeStream as error:
        if not fits:
            raise UsageError(
                f"rows of `{stream.plan.paths[0]}` are out of order, and sorting them takes more than `--memory`",
                hint="sort the rows by trajectory and step, or raise `--memory`; `--step-column none` goes by the "
                "order in the file",
            ) from error
    except (DataError, UsageError):
        # A block alone may take rows that are out of order for wrong ones, and counts no others.
        if stream.num_blocks <= 1 or stream.layout_name != "long" or not fits:
            raise
    shop.store.forget(stream.number)
    stream.open(stream.num_rows, Taking(is_whole=True))
    stream.summarise(shop)


def _summarise_by_key_if_needed(stream: Stream, shop: Workshop) -> None:
    """`Stream.summarise`; where ids come back after others, each key becomes a lane of its own."""
    try:
        stream.summarise(shop)
    except NeedsKeys:
        shop.store.forget(stream.number)
        stream.open(stream.rows_per_block, Taking(by_key=True))
        stream.summarise(shop)


def _check_same_columns(files: Sequence[OpenFile]) -> None:
    first = files[0]
    for other in files[1:]:
        if dict(other.layout.roles.names) != dict(first.layout.roles.names):
            raise DataError(
                f"`{other.file.path}` and `{first.file.path}` belong to one stream but have different columns: "
                f"{_named(other)}; {_named(first)}",
                hint="name the columns by flags, or pass `--no-join` if the files are independent",
            )
        if other.layout.name != first.layout.name:
            raise DataError(
                f"`{other.file.path}` is {other.layout.name} and `{first.file.path}` is {first.layout.name}, "
                "but they belong to one stream",
                hint="pass `--no-join` if the files are independent",
            )


def _named(opened: OpenFile) -> str:
    return ", ".join(f"{role} `{name}`" for role, name in opened.layout.roles.names.items())


def _check_group_column(file: RolloutFile, roles: Roles, settings: Settings) -> None:
    name = settings.normalize_by
    if name is None:
        return
    hint = "`--normalize-by` names the column whose values are the groups"
    info, reward = file.find(name), file.find(roles.names["reward"])
    if info is None:
        there = ", ".join(list(file.columns)[:24])
        raise UsageError(
            f"column `{name}` not found in `{file.path}`\n       columns there: {there}", hint=hint
        )
    if info.damage is not None:
        raise damaged(file.path, info)
    if info.unusable is not None:
        raise UsageError(f"column `{name}` of `{file.path}` has no groups: {info.unusable}", hint=hint)
    assert reward is not None
    if info.is_list and not reward.is_list:
        raise UsageError(
            f"column `{name}` of `{file.path}` has no groups: it holds lists ({info.type_name}), and "
            f"`{reward.name}` one number per row",
            hint=hint,
        )
