"""One stream of files on its way: opened, summarised, combined, measured, applied, committed."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from gaecli.columns import Roles, resolve
from gaecli.errors import DataError, FileError, UsageError
from gaecli.estimators.gae import Gae
from gaecli.estimators.normalization import Constants, Rule
from gaecli.estimators.variants import needs_whole_stream
from gaecli.formats.base import FileWriter, OutputColumn, RolloutFile, Unit
from gaecli.layouts.base import Layout
from gaecli.layouts.long import NeedsKeys, NeedsWholeStream, Taking
from gaecli.layouts.registry import choose_layout
from gaecli.moments import Moments
from gaecli.pipeline.apply import Report, Settled, finish_block, group_keys, measure, normalized, settle
from gaecli.pipeline.blocks import BlockAddress, BlockReader, BlockStore, BlockSummary, Scanned, summarise
from gaecli.pipeline.clock import Stopwatch
from gaecli.pipeline.combine import Carry, Combined, combine
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
Runner = Callable[[Callable[[T], R], Sequence[T]], Iterator[R]]


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


@dataclass(eq=False)
class Stream:
    """A stream between opening and commit. Lives in one thread at a time."""

    number: int
    plan: StreamPlan
    settings: Settings
    files: list[OpenFile] = field(default_factory=list)
    summaries: list[BlockSummary] = field(default_factory=list)
    combined: Combined | None = None
    warnings: list[WarningNote] = field(default_factory=list)
    #: How the rows of a long table are taken.
    taking: Taking = field(default_factory=Taking)
    rows_per_block: int = 0
    #: What pictures are drawn from, where they are.
    sketches: SketchBook | None = None

    @property
    def num_rows(self) -> int:
        return sum(unit.num_rows for opened in self.files for unit in opened.units)

    @property
    def is_one_block(self) -> bool:
        """Nothing crosses the border of a block: there is one, or none of them goes on in another."""
        fits = len(self.files) == 1 and self.num_rows <= self.rows_per_block
        return fits or not self.files[0].layout.crosses_blocks

    @property
    def num_blocks(self) -> int:
        """At most so many; a format may have reasons to make fewer."""
        units = [unit for opened in self.files for unit in opened.units]
        return sum(-(-unit.num_rows // self.rows_per_block) for unit in units)

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
            _check_group_column(file, self.settings)
            layout = choose_layout(file, roles, self.settings, self.taking)
            units = file.units(rows_per_block, roles.names["reward"])
            self.files.append(OpenFile(file, layout, units))
        _check_same_columns(self.files)

    def close(self) -> None:
        """Let go of all that was found out: of a thousand streams it is more than their data."""
        self.files, self.summaries, self.combined = [], [], None

    def join_blocks(self, memory_bytes: int) -> None:
        """Make one block of a stream that the estimator cannot take in pieces."""
        if not needs_whole_stream(self.settings) or self.is_one_block:
            return
        name, preset = self.plan.paths[0], self.settings.preset
        if len(self.files) > 1:
            raise UsageError(
                f"preset `{preset}` computes over whole streams, and that of `{name}` has {len(self.files)} files",
                hint="pass `--no-join` if no trajectory runs on from one file into the next; else merge them",
            )
        if self.num_rows * BYTES_PER_WHOLE_ROW > memory_bytes:
            raise UsageError(
                f"preset `{preset}` computes over whole streams, and `{name}` with {self.num_rows:,} rows takes "
                "more than `--memory`",
                hint=f"raise `--memory` to {self.num_rows * BYTES_PER_WHOLE_ROW / (1 << 30):.1f}GiB or more",
            )
        self.open(self.num_rows, Taking(is_whole=True))

    def summarise(self, shop: Workshop) -> None:
        """The first look: every cell that is used is checked before anything is written."""

        def task(address: tuple[int, int]) -> list[BlockSummary]:
            summaries = []
            for block_address, scanned in self._scan(*address, shop):
                summaries.append(summarise(scanned, block_address, shop.estimator))
                shop.store.keep(self.number, block_address, scanned)
            return summaries

        self.summaries = [summary for summaries in shop.run(task, self._tasks()) for summary in summaries]
        paths = [str(path) for path in self.plan.paths]
        self.combined = combine(self.summaries, self.settings.bootstrap, paths)
        self.warnings += judge(
            Case(
                self.plan.paths,
                self.roles,
                self.settings,
                self.summaries,
                self.combined,
                by_key=self.taking.by_key,
            )
        )

    def measure(self, shop: Workshop, *, only_file: int | None = None) -> dict[Hashable, Moments]:
        """Moments of the raw advantages by normalisation group, merged in the order of the blocks."""

        def task(address: tuple[int, int]) -> list[dict[Hashable, Moments]]:
            found = []
            for scanned, carry in self._blocks(*address, shop, last=False):
                with shop.clock("kernel"):
                    settled = settle(scanned, carry, shop.estimator, shop.threads)
                    found.append(measure(settled, group_keys(settled, carry, self.settings)))
            return found

        tasks = [address for address in self._tasks() if only_file in (None, address[0])]
        total: dict[Hashable, Moments] = {}
        for found in shop.run(task, tasks):
            for groups in found:
                for key, moments in groups.items():
                    total[key] = total.get(key, Moments()).merge(moments)
        return total

    def visit(self, shop: Workshop, look: Callable[[int, int, Settled, Carry], R]) -> Iterator[R]:
        """look(file, start row, block, carry) of every block, in the order of the blocks."""

        def task(address: tuple[int, int]) -> list[R]:
            found = []
            for scanned, carry in self._blocks(*address, shop):
                with shop.clock("kernel"):
                    settled = settle(scanned, carry, shop.estimator, shop.threads)
                    found.append(look(address[0], scanned.start, settled, carry))
            return found

        for found in shop.run(task, self._tasks()):
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

        def blocks(number: int) -> Iterator[tuple[dict[str, OutputColumn], Report]]:
            for scanned, carry in self._blocks(index, number, shop):
                with shop.clock("kernel"):
                    settled = settle(scanned, carry, shop.estimator, shop.threads)
                    finished = self._finish(settled, carry, constants, rule)
                    if self.sketches is not None:
                        is_first = index == number == scanned.start == 0
                        finished[1].sketch = sketch_of(index, scanned.start, settled, carry, is_first)
                yield finished

        units = range(len(self.files[index].units))
        # One unit may be a row group larger than memory: its blocks are written one by one.
        done = map(blocks, units) if len(units) == 1 else shop.run(lambda unit: list(blocks(unit)), units)
        report = Report()
        for finished in done:
            for columns, block_report in finished:
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

    def _tasks(self) -> list[tuple[int, int]]:
        return [(index, unit) for index, opened in enumerate(self.files) for unit in range(len(opened.units))]

    def _scan(self, index: int, number: int, shop: Workshop) -> Iterator[tuple[BlockAddress, Scanned]]:
        opened = self.files[index]
        reader = BlockReader(
            opened.file, opened.layout, shop.estimator, self.settings.bootstrap, self.rows_per_block
        )
        for part, scanned in enumerate(reader.scan(opened.units[number], shop.clock, shop.threads)):
            shop.check_stop()
            yield BlockAddress(index, number, part), scanned

    def _blocks(
        self, index: int, number: int, shop: Workshop, *, last: bool = True
    ) -> Iterator[tuple[Scanned, Carry]]:
        """The blocks of a unit with their carries: kept ones from the store, or all of them read again."""
        assert self.combined is not None
        carries = {
            summary.address: carry
            for summary, carry in zip(self.summaries, self.combined.carries, strict=True)
            if (summary.address.file, summary.address.unit) == (index, number)
        }
        kept = {address: shop.store.get(self.number, address) for address in carries}
        if all(scanned is not None for scanned in kept.values()):
            for address, carry in carries.items():
                scanned = (shop.store.take if last else shop.store.get)(self.number, address)
                assert scanned is not None
                yield scanned, carry
            return
        for address, scanned in self._scan(index, number, shop):
            yield scanned, carries[address]


def check_memory(stream: Stream, limit_bytes: int) -> None:
    """Refuse arrays that are read in one piece and claim more than the limit, before they are read.

    A few kilobytes of archive can expand to any size.
    """
    for opened in stream.files:
        sizes = {
            name: info.whole_bytes for name in opened.layout.row_columns if (info := opened.file.find(name))
        }
        if sum(sizes.values()) > limit_bytes:
            largest = max(sizes, key=lambda name: sizes[name])
            raise FileError(
                f"the arrays of `{opened.file.path}` take {sum(sizes.values()):,} bytes in memory "
                f"(`{largest}` alone {sizes[largest]:,}), and `--memory` allows {limit_bytes:,}",
                hint="pass a larger `--memory` if the machine has it, or store the rollouts as Parquet, "
                "which is read in pieces",
            )


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
                hint="sort the rows by trajectory and step, or raise `--memory`",
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


def _check_group_column(file: RolloutFile, settings: Settings) -> None:
    name = settings.normalize_by
    if name is None:
        return
    info = file.find(name)
    if info is None or info.unusable is not None:
        raise UsageError(
            f"column `{name}` not found in `{file.path}`\n       columns there: {', '.join(list(file.columns)[:24])}",
            hint="`--normalize-by` names the column whose values are the groups",
        )
