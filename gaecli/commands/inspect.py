"""The whole of `gae inspect`: what is in each stream, without writing and without torch.

Explained variance is 1 - Var(R - V) / Var(R) with R the return at λ = 1: the rewards to the end of the
episode, discounted with γ, and what stands in there for the value after the end. `gae compute`
reports the same for its own returns, which lean on the values as much as its λ says.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from functools import cached_property
from pathlib import Path

from gaecli.choices import RoleReason
from gaecli.columns import Roles, find_roles, why_found
from gaecli.commands.completeness import partly_written
from gaecli.commands.forecast import existing_columns, forecast
from gaecli.commands.raw_cells import statistics_of_cells
from gaecli.commands.readable import readable_settings
from gaecli.commands.single_rows import first_steps, keys_of
from gaecli.commands.warnings import reading_notes
from gaecli.engines.threads import Threads, default_jobs
from gaecli.errors import GaeError, UsageError
from gaecli.estimators.base import Estimator
from gaecli.estimators.conventions import reads_as_written
from gaecli.estimators.decays import with_one_lam
from gaecli.estimators.gae import Gae
from gaecli.estimators.registry import make_estimator
from gaecli.formats.base import RolloutFile
from gaecli.inspection import EpisodeInfo, FileInfo, Inspection, LogInfo
from gaecli.kernels.devices import choose_device
from gaecli.layouts.registry import why_layout
from gaecli.moments import Moments
from gaecli.pipeline.ahead import LookedAhead, can_be_ahead
from gaecli.pipeline.apply import Totals, reading_totals
from gaecli.pipeline.column_statistics import Explained, Tally, explained_variance
from gaecli.pipeline.combine import Carry
from gaecli.pipeline.episodes import EpisodeBook, Pieces, pieces_of
from gaecli.pipeline.header_notes import earlier_columns, names_alike, stored_settings
from gaecli.pipeline.judging.continuity import Continuity, Edges
from gaecli.pipeline.memory import expand_beyond_measure, rows_per_block
from gaecli.pipeline.opening import OpenStream, layout_of, open_stream
from gaecli.pipeline.reading_errors import told
from gaecli.pipeline.settle import Settled, reread
from gaecli.pipeline.stream import RunContext, SummarisedStream, summarised
from gaecli.progress import Progress
from gaecli.records import dataclass
from gaecli.response_logs import ResponseLog, recognise
from gaecli.settings import RunOptions, Settings
from gaecli.sources.inputs import StreamPlan, describe_streams, plan_streams, watched
from gaecli.storage.places import Places
from gaecli.summary import Failure, WarningNote

#: The λ of the returns that the values are compared with.
LAM = 1.0
_STORE_SHARE = 0.4


@dataclass(frozen=True)
class InspectOptions:
    """What to show beyond the statistics, and what it may cost."""

    episodes: bool = False
    #: So many rows from the beginning.
    head: int = 0
    memory_bytes: int = 1 << 30
    jobs: int | None = None

    def __post_init__(self) -> None:
        if self.head < 0:
            raise UsageError(f"`--head` is {self.head}; it must be 0 or more")


def inspect(
    sources: Sequence[str | Path],
    settings: Settings | None = None,
    options: InspectOptions | None = None,
    progress: Progress | None = None,
) -> Inspection:
    """Look into every source. What cannot be opened is a failure; what `compute` would refuse is not."""
    options = options or InspectOptions()
    with Places(RunOptions(dry_run=True, memory_bytes=options.memory_bytes, jobs=options.jobs)) as places:
        found = _inspect(places.inputs.fetched(sources), settings or Settings(), options, progress)
        return places.shown_in(found)


def _inspect(
    sources: Sequence[str | Path], settings: Settings, options: InspectOptions, progress: Progress | None
) -> Inspection:
    started = time.perf_counter()
    plans = watched(plan_streams(sources, settings.join), progress, "inspecting", looks=2)
    infos, failures = [], []
    explained, continuity = Explained(), Continuity()
    threads = Threads(options.jobs or default_jobs())
    try:
        for number, plan in enumerate(plans):
            inspector = _Inspector(number, plan, settings, options, threads)
            try:
                with told(plan.paths[0]):
                    info = inspector.info()
                    other = readable_settings(inspector.log, settings, has_values="value" in info.roles)
                    if info.problem is not None and other is not None:
                        inspector = _Inspector(number, plan, other, options, threads)
                        info = _filled(info, inspector.info())
                    infos.append(info)
                explained.add(inspector.errors, inspector.returns)
                continuity.add(inspector.edges)
            except GaeError as error:
                failures.append(Failure.of(plan.paths[0], error))
            if progress is not None:
                progress.end(plan.paths)
    finally:
        threads.close()
    seconds = time.perf_counter() - started
    notes = continuity.notes()
    return Inspection(
        [_with_notes(info, [note for note in notes if note.file in info.files]) for info in infos],
        settings.of_first_stream.gamma,
        failures,
        describe_streams(plans),
        seconds,
        explained.within,
        explained.over_streams,
    )


def _filled(info: FileInfo, other: FileInfo) -> FileInfo:
    """`compute` would ask all the same, so that stays."""
    if other.problem is not None:
        return info
    if info.log is not None:
        reasons: dict[str, RoleReason] = dict.fromkeys(other.role_reasons, "log")
        other = replace(other, role_reasons=reasons)
    return replace(other, problem=info.problem, hint=info.hint, plan=info.plan, warnings=info.warnings)


def _with_notes(info: FileInfo, notes: Sequence[WarningNote]) -> FileInfo:
    return replace(info, warnings=[*info.warnings, *notes]) if notes else info


@dataclass(frozen=True, eq=False)
class _BlockLook:
    """What one block adds to the statistics."""

    pieces: Pieces
    #: Under the rules of `compute`.
    totals: Totals
    rewards: Tally
    values: Tally
    errors: Moments
    returns: Moments


@dataclass(eq=False)
class _StreamStatistics:
    """Of all rows of a stream."""

    book: EpisodeBook
    totals: Totals = field(default_factory=Totals)
    rewards: Tally = field(default_factory=Tally)
    values: Tally = field(default_factory=Tally)
    errors: Moments = field(default_factory=Moments)
    returns: Moments = field(default_factory=Moments)

    def add(self, look: _BlockLook) -> None:
        self.book.add(look.pieces)
        self.totals.merge(look.totals)
        self.rewards = self.rewards.merge(look.rewards)
        self.values = self.values.merge(look.values)
        self.errors = self.errors.merge(look.errors)
        self.returns = self.returns.merge(look.returns)


class _Inspector:
    """One stream, from its footers to its last row."""

    def __init__(
        self, number: int, plan: StreamPlan, settings: Settings, options: InspectOptions, threads: Threads
    ) -> None:
        self.number = number
        self.plan = plan
        self.settings = settings
        #: Of R - V and of R, once the rows are read.
        self.errors = self.returns = Moments()
        self.edges: Edges | None = None
        self.log: ResponseLog | None = None
        self.options = options
        self.rows_per_block = rows_per_block(options.memory_bytes)
        self.device = choose_device("auto", 0)
        store_bytes = int(options.memory_bytes * _STORE_SHARE)
        self.threads = threads
        self.context = RunContext.plain(Gae(_yardstick(settings), self.device), store_bytes, threads)
        self._forget()

    def info(self) -> FileInfo:
        files = self.plan.open_all(self.settings)
        self.log = recognise(files[0])
        info = self._with_layout(_from_headers(files, self.settings), files[0])
        problem: GaeError | None = None
        stream = statistics = None
        warnings: list[WarningNote] = []
        try:
            opened = open_stream(
                self.plan,
                self.settings,
                self.options.memory_bytes,
                number=self.number,
                block_rows=self.rows_per_block,
            )
            warnings = opened.warnings
            opened.warnings.extend([*stored_settings(opened), *earlier_columns(opened), *names_alike(opened)])
            stream = self._summarised(opened)
            warnings, self.edges = list(stream.warnings), stream.edges
            for found in stream.visit(self.context, self._look):
                self._add(found)
            statistics = self._statistics
            warnings += reading_notes(statistics.totals, self.settings, opened)
        except GaeError as error:
            problem = error
        data_set = self.plan.data_set
        shown = self._without_bombs(files, info.roles)
        info = replace(
            info,
            path=_name(self.plan),
            data_set=data_set.title if data_set is not None else None,
            problem=problem.message if problem is not None else None,
            hint=problem.hint if problem is not None else None,
            log=None if self.log is None else _log_info(self.log, files[0]),
            warnings=[*partly_written(self.plan, files), *warnings],
            head=first_steps(files[0], shown, self.options.head),
            plan=forecast(
                self.plan,
                files,
                self.settings,
                stream.roles if stream is not None else None,
                statistics.totals.bootstrapped if statistics is not None else None,
                problem,
            ),
        )
        if stream is None or statistics is None:
            return replace(info, statistics=statistics_of_cells(files, shown, self.rows_per_block))
        self.errors, self.returns = statistics.errors, statistics.returns
        return self._with_statistics(info, stream, statistics)

    def _summarised(self, opened: OpenStream) -> SummarisedStream:
        """That of the yardstick, once `compute` would have nothing against the rows."""
        if self.settings.bootstrap == "error" and not reads_as_written(self.settings):
            # Which ends lack a value depends on how the convention reads them.
            estimator = make_estimator(self.settings, self.device)
            summarised(opened, RunContext.plain(estimator, 0, self.threads))
            opened = replace(opened, settings=self.settings.replace(bootstrap="zero"))
        return summarised(opened, self.context, ahead=self._ahead(opened))

    @cached_property
    def _reread_by(self) -> Estimator | None:
        """What reads the rows as `compute` would, where that is not as they are."""
        return None if reads_as_written(self.settings) else make_estimator(self.settings, self.device)

    def _ahead(self, opened: OpenStream) -> LookedAhead[_BlockLook] | None:
        """Of one file, whose rows `compute` reads as they are: no block is kept until all have been looked at."""
        worker = self.context.worker
        if len(opened.files) == 1 and self._reread_by is None and can_be_ahead(worker.estimator):
            return LookedAhead(opened.source(0), worker, self._look, self._add, self._forget)
        return None

    def _without_bombs(self, files: Sequence[RolloutFile], roles: Mapping[str, str]) -> dict[str, str]:
        """Roles whose arrays may be looked at, whatever is wrong with the others."""
        limit = self.options.memory_bytes
        return {
            role: name
            for role, name in roles.items()
            if not any(expand_beyond_measure(filter(None, [file.find(name)]), limit) for file in files)
        }

    def _with_layout(self, info: FileInfo, file: RolloutFile) -> FileInfo:
        """As far as one can be told by the headers, whatever is wrong with the rows."""
        with contextlib.suppress(GaeError):
            layout = layout_of(file, self.settings)
            return replace(
                info,
                layout=layout.kind.name,
                layout_reason=why_layout(file, layout, self.settings),
                roles=dict(layout.roles.names),
                role_reasons=_reasons(file, layout.roles),
                role_types=_types(file, layout.roles),
            )
        return info

    def _look(self, file: int, start: int, settled: Settled, carry: Carry) -> _BlockLook:
        block, counted, own = settled.block, settled.counted, self._reread_by
        return _BlockLook(
            pieces_of(file, start, settled, carry),
            reading_totals(settled if own is None else reread(settled, own), self.settings),
            Tally.of(counted(block.rewards)),
            Tally.of(counted(block.values)) if block.has_values else Tally(),
            Moments.of(counted(settled.advantages)) if block.has_values else Moments(),
            Moments.of(counted(settled.returns)) if block.has_values else Moments(),
        )

    def _add(self, look: _BlockLook) -> None:
        self._statistics.add(look)

    def _forget(self) -> None:
        self._statistics = _StreamStatistics(EpisodeBook(keep_all=self.options.episodes))

    def _with_statistics(
        self, info: FileInfo, stream: SummarisedStream, statistics: _StreamStatistics
    ) -> FileInfo:
        return replace(
            info,
            counts=statistics.totals.counts,
            lengths=statistics.book.lengths.statistics(),
            episode_rewards=statistics.book.total_rewards.statistics(),
            statistics={
                "reward": statistics.rewards.statistics(),
                **({"value": statistics.values.statistics()} if "value" in stream.roles.names else {}),
            },
            explained_variance=explained_variance(statistics.errors, statistics.returns),
            episodes=self._episodes(stream, statistics.book),
        )

    def _episodes(self, stream: SummarisedStream, book: EpisodeBook) -> list[EpisodeInfo]:
        listed = list(book.in_order())
        keys = []
        for index, opened in enumerate(stream.files):
            rows = [row for file, row, *_ in listed if file == index]
            keys += keys_of(opened, rows)
        paths = [str(path) for path in self.plan.paths]
        has_values = "value" in stream.roles.names
        return [
            EpisodeInfo(paths[file], row, key, length, end, reward, value if has_values else None)
            for (file, row, length, reward, value, end), key in zip(listed, keys, strict=True)
        ]


def _name(plan: StreamPlan) -> str:
    """The root, where the user named it and it is this one stream; else the first file."""
    is_all = plan.data_set is not None and plan.is_root and len(plan.data_set.streams) == 1
    return str(plan.data_set.root if plan.data_set is not None and is_all else plan.paths[0])


def _yardstick(settings: Settings) -> Settings:
    """Settings for the returns that values are compared with: whatever the preset, the rewards to the end."""
    first = settings.of_first_stream.replace(gamma_column=None)
    return with_one_lam(first.replace(preset="exact", truncation="exact", precision="double"), LAM)


def _from_headers(files: Sequence[RolloutFile], settings: Settings) -> FileInfo:
    """All that needs no row. The roles are those that names give, enough for `compute` or not."""
    first = files[0]
    row_groups = [file.row_group_rows for file in files]
    try:
        roles = find_roles(first, settings)
    except GaeError:  # a column that the user named is not there: `compute` would say so, and so will we
        roles = find_roles(first, settings.replace(columns={}))
    return FileInfo(
        path=str(first.path),
        format=first.format_name,
        layout=None,
        num_rows=sum(file.num_rows for file in files),
        num_bytes=sum(file.identity[0] for file in files),
        columns={name: info.type_name for name, info in first.columns.items()},
        provenance=first.provenance,
        files=[str(file.path) for file in files],
        num_row_groups=None if row_groups[0] is None else sum(len(rows or ()) for rows in row_groups),
        existing=existing_columns(first),
        roles=dict(roles.names),
        role_reasons=_reasons(first, roles),
        role_types=_types(first, roles),
    )


def _log_info(log: ResponseLog, file: RolloutFile) -> LogInfo:
    command = log.command(str(file.path)) if log.can_be_computed else None
    return LogInfo(log.name, log.writer, log.rewards, log.group, log.advantage, log.says, command)


def _reasons(file: RolloutFile, roles: Roles) -> dict[str, RoleReason]:
    """The data set that the file belongs to may know its columns better than any name tells."""
    known = file.known_roles
    return {
        role: "data set" if known.get(role) == name and role not in roles.explicit else why_found(roles, role)
        for role, name in roles.names.items()
    }


def _types(file: RolloutFile, roles: Roles) -> dict[str, str]:
    found = {role: file.find(name) for role, name in roles.names.items()}
    return {role: info.type_name for role, info in found.items() if info is not None}
