"""The one way into a stream: files opened, columns resolved, the layout chosen, and all that headers can refuse.

Whatever a command is going to do with the rows, it begins here, so that all of them refuse the same inputs
in the same words. `gaecli.pipeline.stream.summarised` goes on with what is opened.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from gaecli.columns import Roles, Unused, flag_of, resolve
from gaecli.datasets.base import DataSet
from gaecli.errors import DataError, UsageError
from gaecli.estimators.registry import units_are_of_next_steps
from gaecli.formats.base import Column, RolloutFile, Unit, damaged, holds_short_arrays
from gaecli.formats.registry import open_file
from gaecli.formats.wrapped import innermost
from gaecli.layout_kinds import LayoutKind
from gaecli.layouts.base import Layout
from gaecli.layouts.evidence.unused_flags import (
    breaking_columns,
    first_rows_are_scattered,
    first_rows_break,
    flags_in,
    numbering_columns,
    peek,
    unused_flags,
    valued_columns,
)
from gaecli.layouts.registry import choose_layout
from gaecli.layouts.row_order import RowOrder
from gaecli.layouts.singles import as_found, single_columns
from gaecli.pipeline.memory import check_memory, rows_per_block
from gaecli.pipeline.reading_errors import told
from gaecli.records import dataclass
from gaecli.settings import Settings
from gaecli.sources.inputs import StreamPlan, completed
from gaecli.storage.local_inputs import Identity
from gaecli.summary import WarningNote

if TYPE_CHECKING:
    from gaecli.labels.outcomes import EpisodeOutcomes

#: What a row takes where a stream is one block: columns, flags, and a few arrays of work.
BYTES_PER_WHOLE_ROW = 150


@dataclass(eq=False)
class OpenFile:
    """One file of a stream with what was decided about it."""

    file: RolloutFile
    layout: Layout
    units: Sequence[Unit]
    #: Columns that no role uses and that may say where trajectories end, going by the headers: as flags, or by
    #: breaking off there, by one of a few values.
    flags: Sequence[str] = ()
    breaking: Sequence[str] = ()
    valued: Sequence[str] = ()
    #: Of rows that ids tell apart: columns that may say in which order they were recorded.
    numbering: Sequence[str] = ()
    #: How the same rows are read for other kinds of reward than the first (`--stream`).
    others: Sequence[Layout] = ()

    @property
    def columns(self) -> set[str]:
        """All columns that are read; there may be many more in the file."""
        layouts = (self.layout, *self.others)
        used = {name for layout in layouts for name in (*layout.row_columns, *layout.roles.names.values())}
        return {*used, *self.unused}

    @property
    def unused(self) -> Sequence[str]:
        return tuple(dict.fromkeys([*self.flags, *self.breaking, *self.valued, *self.numbering]))

    @cached_property
    def seen_unused(self) -> tuple[str, ...]:
        """Of `unused`, the columns whose first rows hold nothing but flags, or may break off."""
        with told(self.file.path):
            return peek(self.file, self.unused, self.units, self._fits)

    def _fits(self, name: str, column: Column) -> bool:
        return (
            (name in self.flags and flags_in(column) is not None)
            or (name in (*self.breaking, *self.valued) and first_rows_break(column))
            or (name in self.numbering and first_rows_are_scattered(name, column))
        )


class FilePlace(NamedTuple):
    """Where a file stands in the run, as far as groups go by it."""

    stream: int
    file: int


@dataclass(frozen=True, eq=False)
class FileSource:
    """A descriptor of one file of a stream: `open` gives what is open here, in any process that sees the file.

    Not of the whole stream: that may be ten thousand files, and whoever works on a unit of one needs no other.
    """

    stream: int
    index: int
    path: Path
    #: What knows how to open it, where its place tells more than its content.
    opener: DataSet | None
    settings: Settings
    rows_per_block: int
    row_order: RowOrder
    #: What all files of the stream decided together: which columns of lists are taken as scalars.
    singles: Mapping[str, bool] | None
    #: Where success makes the rewards, once all episodes are known.
    outcomes: EpisodeOutcomes | None = None

    @property
    def place(self) -> FilePlace:
        return FilePlace(self.stream, self.index)

    def open(self) -> OpenFile:
        with told(self.path):
            file = open_file(self.path) if self.opener is None else self.opener.open(self.path)
            file = completed(as_found(file, self.singles), self.opener, self.settings)
        return _opened(file, self.settings, self.rows_per_block, self.row_order)


@dataclass(frozen=True, eq=False)
class StreamSource:
    """A descriptor of a stream of one file, that is of no data set."""

    file: FileSource
    memory_bytes: int
    #: What is to be told of it so far.
    warnings: Sequence[WarningNote]

    def open(self, opened: OpenFile) -> OpenStream:
        """`opened`: what the descriptor of the file stands for."""
        file, opener = self.file, self.file.opener
        openers = {} if opener is None else {file.path: opener}
        plan = StreamPlan((file.path,), file.path.parent, openers=openers)
        return OpenStream(
            file.stream,
            plan,
            file.settings,
            self.memory_bytes,
            [opened],
            file.rows_per_block,
            file.row_order,
            list(self.warnings),
        )


@dataclass(frozen=True, eq=False)
class OpenStream:
    """A stream whose headers were read and found good; none of its rows was looked at yet."""

    number: int
    plan: StreamPlan
    settings: Settings
    memory_bytes: int
    files: Sequence[OpenFile]
    rows_per_block: int
    #: How the rows of a long table are taken.
    row_order: RowOrder = field(default_factory=RowOrder)
    #: What is to be told before any row is read, whatever the command; to it come those of some commands.
    warnings: list[WarningNote] = field(default_factory=list)
    #: Where success makes the rewards: what the blocks of each file are told, once all episodes are known; and the
    #: longest of them, those of other inputs included.
    outcomes: Sequence[EpisodeOutcomes] | None = None
    longest_episode: int = 0
    #: Rows stand in the order of time, as another look found: what is wrong with them is not cured by sorting.
    is_in_order: bool = False

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
    def layout(self) -> LayoutKind:
        return self.files[0].layout.kind

    @property
    def identities(self) -> tuple[Identity, ...]:
        """Of the files, as they were when they were opened first, without opening those that were let go."""
        known: tuple[Identity, ...] | None = getattr(self.files, "identities", None)
        return tuple(one.file.identity for one in self.files) if known is None else known

    def source(self, index: int) -> FileSource:
        """The descriptor of one of the files."""
        path = self.plan.paths[index]
        opener = self.plan.openers.get(path)
        return FileSource(
            self.number,
            index,
            path,
            None if opener is None else opener.of_one(path),
            self.settings,
            self.rows_per_block,
            self.row_order,
            single_columns(self.files[index].file),
            None if self.outcomes is None else self.outcomes[index],
        )

    def alone(self) -> StreamSource:
        """The descriptor of a stream of one file."""
        return StreamSource(self.source(0), self.memory_bytes, list(self.warnings))

    def taken(self, row_order: RowOrder, rows_per_block: int | None = None) -> OpenStream:
        """The same stream, its rows taken in another way."""
        block_rows = rows_per_block or self.rows_per_block
        files = open_files(self.plan, self.settings, block_rows, row_order)
        return replace(self, files=files, rows_per_block=block_rows, row_order=row_order, outcomes=None)


def open_stream(
    plan: StreamPlan,
    settings: Settings,
    memory_bytes: int,
    *,
    number: int = 0,
    block_rows: int | None = None,
) -> OpenStream:
    """Read footers and headers, find the columns, choose the layout, and see that it all fits.

    Args:
        plan: the files.
        settings: how they are to be read, and what will be computed.
        memory_bytes: what `--memory` allows.
        number: of the stream within the run.
        block_rows: rows of a block; by default as many as the memory suggests.

    Raises:
        GaeError: whatever `compute` would refuse before it looks at a row.
    """
    block_rows = block_rows or rows_per_block(memory_bytes)
    files = open_files(plan, settings, block_rows, RowOrder())
    for opened in files:
        check_memory(opened.file, opened.layout, settings, memory_bytes)
        if opened.layout.kind.name in ("nested", "batch-major") or _names_labels(opened.file):
            _check_rows_of_steps(opened, settings)
    stream = _joined(OpenStream(number, plan, settings, memory_bytes, files, block_rows))
    stream.warnings.extend(_remarks(stream))
    stream.warnings.extend(_unused_columns(stream))
    return stream


def _names_labels(file: RolloutFile) -> bool:
    """As tables do that have a row per token."""
    return any("label" in name.lower() or "target" in name.lower() for name in file.columns)


def _check_rows_of_steps(opened: OpenFile, settings: Settings) -> None:
    from gaecli.layouts.evidence.marked_cells import check_rows_of_steps

    with told(opened.file.path):
        check_rows_of_steps(opened.file, opened.layout, settings, opened.units)


def layout_of(file: RolloutFile, settings: Settings, row_order: RowOrder | None = None) -> Layout:
    """How one file is read, by its headers; `GaeError` where it cannot be."""
    return _read_as(file, settings, row_order or RowOrder())[1]


def _read_as(file: RolloutFile, settings: Settings, row_order: RowOrder) -> tuple[RolloutFile, Layout]:
    """The file as it is to be read, and how. A log of responses that is known gets the command that it takes."""
    try:
        _check_stream_columns(file, settings)
        roles = resolve(file, settings)
        _check_label_columns(file, settings)
        if settings.label_columns:
            from gaecli.layouts.whole_lists import with_whole_lists

            file = with_whole_lists(file, roles, settings)
        if file.structure == "arrays":
            from gaecli.layouts.token_arrays import with_token_rewards

            file = with_token_rewards(file, roles, settings)
        return file, choose_layout(file, roles, settings, row_order)
    except (UsageError, DataError) as error:
        from gaecli.response_logs import as_asked

        raise as_asked(error, file, settings) from error


def open_files(plan: StreamPlan, settings: Settings, block_rows: int, row_order: RowOrder) -> list[OpenFile]:
    with told(plan.paths[0]):
        files = plan.open_all(settings)
    opened = [_opened(file, settings, block_rows, row_order) for file in files]
    _check_same_columns(opened)
    return opened


def _opened(file: RolloutFile, settings: Settings, block_rows: int, row_order: RowOrder) -> OpenFile:
    with told(file.path):
        file, layout = _read_as(file, settings, row_order)
        if layout.kind.name == "long" and holds_short_arrays(innermost(file)):
            from gaecli.layouts.runs import with_runs

            file = with_runs(file, layout)
        units = file.units(block_rows, layout.like_column or layout.roles.names["reward"])
        others = _layouts_of_others(file, layout, settings, row_order)
        flags, breaking = unused_flags(file, layout, settings), breaking_columns(file, layout, settings)
        valued = valued_columns(file, layout, settings)
        numbering = numbering_columns(file, layout, settings)
        return OpenFile(file, layout, units, flags, breaking, valued, numbering, others)


def _layouts_of_others(
    file: RolloutFile, layout: Layout, settings: Settings, row_order: RowOrder
) -> list[Layout]:
    """How the rows are read for the streams of rewards behind the first one, in the same layout."""
    padding = layout.roles.get("padding")
    if padding is not None and any(one.cut == "never" for one in settings.stream):
        raise UsageError(
            f"`{padding}` of `{file.path}` marks rows that hold the last state of an episode, and a stream of "
            "rewards with `cut=never` would go on over them",
            hint="leave these rows out of the file, or drop `cut=never`",
        )
    # Lists of which each may hold several trajectories are told by `long` alone.
    name = layout.kind.name if settings.layout == "auto" else settings.layout
    alike = [one.replace(layout=name) for one in settings.of_streams[1:]]
    return [choose_layout(file, resolve(file, one), one, row_order) for one in alike]


def _joined(stream: OpenStream) -> OpenStream:
    """One block of a stream that cannot be taken in pieces."""
    if units_are_of_next_steps(stream.settings) and stream.settings.stream:
        why = f"`--stream` under preset `{stream.settings.preset}` is computed over whole streams"
    elif any(opened.layout.needs_all_rows for opened in stream.files):
        why = "a mask over time-major arrays is applied to all of them at once"
    else:
        return stream
    if stream.is_one_block:
        return stream
    name = stream.plan.paths[0]
    if len(stream.files) > 1:
        raise UsageError(
            f"{why}, and that of `{name}` has {len(stream.files)} files",
            hint="pass `--no-join` if no trajectory runs on from one file into the next; else merge them",
        )
    if stream.num_rows * BYTES_PER_WHOLE_ROW > stream.memory_bytes:
        raise UsageError(
            f"{why}, and `{name}` with {stream.num_rows:,} rows takes more than `--memory`",
            hint=f"raise `--memory` to {stream.num_rows * BYTES_PER_WHOLE_ROW / (1 << 30):.1f}GiB or more",
        )
    return stream.taken(RowOrder(is_whole=True), stream.num_rows)


def _check_same_columns(files: Sequence[OpenFile]) -> None:
    first = files[0]
    for other in files[1:]:
        if dict(other.layout.roles.names) != dict(first.layout.roles.names):
            raise DataError(
                f"`{other.file.path}` and `{first.file.path}` belong to one stream but have different columns: "
                f"{_named(other)}; {_named(first)}",
                hint="name the columns by flags, or pass `--no-join` if the files are independent",
            )
        kinds = other.layout.kind, first.layout.kind
        if kinds[0] != kinds[1]:
            raise DataError(
                f"`{other.file.path}` is {kinds[0].name} and `{first.file.path}` is {kinds[1].name}, "
                "but they belong to one stream",
                hint="pass `--no-join` if the files are independent",
            )


def _named(opened: OpenFile) -> str:
    return ", ".join(f"{role} `{name}`" for role, name in opened.layout.roles.names.items())


def _check_stream_columns(file: RolloutFile, settings: Settings) -> None:
    for stream in settings.stream:
        for name in stream.columns.values():
            if name != "none" and file.find(name) is None:
                from gaecli.missing_columns import not_in_stream

                raise not_in_stream(name, stream.name, file, settings.stream_columns)


def _check_label_columns(file: RolloutFile, settings: Settings) -> None:
    for name, flag in settings.label_flags.items():
        what = f"the column whose values are the {LABELLED.get(flag, 'groups')}"
        info = file.find(name)
        if info is None:
            from gaecli.missing_columns import columns_there, did_you_mean

            raise UsageError(
                f"column `{name}` not found in `{file.path}`\n       columns there: {columns_there(file)}",
                hint=f"{did_you_mean(name, flag, file)}, {what}",
            )
        if info.damage is not None:
            raise damaged(file.path, info)
        if info.unusable is not None and not info.has_whole_cells:
            raise UsageError(
                f"column `{name}` of `{file.path}` has no groups: {info.unusable}",
                hint=f"`{flag}` names {what}",
            )


#: What the values of a column stand for.
LABELLED = {
    "--batch-column": "batches",
    "--state-column": "states",
    "--sample-of": "rollouts",
    "--order-column": "places",
}


def _remarks(stream: OpenStream) -> list[WarningNote]:
    return [
        WarningNote(remark.code, remark.message, str(opened.file.path), remark.count)
        for opened in stream.files
        for remark in opened.file.remarks
    ]


def _unused_columns(stream: OpenStream) -> list[WarningNote]:
    """Columns whose name promises a role that their type does not keep."""
    notes: dict[Unused, WarningNote] = {}
    for opened in stream.files:
        for column in opened.layout.roles.unused:
            role = column.role.replace("_", " ")
            notes.setdefault(
                column,
                WarningNote(
                    "unused-column",
                    f"`{column.name}` is not used as the {role}: {column.why}",
                    str(opened.file.path),
                    1,
                    hint=f"name another column with `{flag_of(column.role)}`, or pass `{flag_of(column.role)} none` "
                    "if it is none",
                ),
            )
    return list(notes.values())
