"""The whole of `gae check`: every rule over every stream, block by block."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from gaecli.checks.base import CellBlock, CheckRule, Context, FirstLook, Hits, Observation, Window
from gaecli.checks.group_ledger import GroupLedger, Trajectories, beside
from gaecli.checks.refusals import REFUSED
from gaecli.checks.registry import choose_rules
from gaecli.checks.windows import Windows
from gaecli.columns import Roles
from gaecli.commands.answers import MakeSettings
from gaecli.commands.groups_over_blocks import add_groups
from gaecli.commands.rules_ahead import BehindTheRules, RulesAhead
from gaecli.diagnosis import Checkup, Finding
from gaecli.engines.threads import Threads, default_jobs
from gaecli.errors import DataError, GaeError, UsageError
from gaecli.estimators.ends_only import for_ends_only
from gaecli.estimators.registry import make_estimator
from gaecli.formats.base import Column, RolloutFile
from gaecli.formats.kept import KeptFile, Room
from gaecli.kernels.devices import choose_device
from gaecli.layouts.base import Layout
from gaecli.layouts.flag_columns import flag_columns
from gaecli.layouts.registry import choose_layout
from gaecli.layouts.row_order import RowOrder
from gaecli.pipeline.judging.continuity import Continuity, Edges
from gaecli.pipeline.label_types import LabelTypes
from gaecli.pipeline.memory import rows_per_block
from gaecli.pipeline.opening import OpenFile, OpenStream, open_stream
from gaecli.pipeline.reading_errors import told
from gaecli.pipeline.stream import BYTES_PER_SORTED_ROW, RunContext, summarised
from gaecli.progress import Progress
from gaecli.records import dataclass
from gaecli.response_logs import ResponseLog, recognise
from gaecli.settings import RunOptions, Settings
from gaecli.sources.inputs import StreamPlan, plan_streams, watched
from gaecli.storage.places import Places
from gaecli.summary import Failure

#: Of a block as other commands read it.
_BLOCKS_PER_BLOCK = 2
#: Of the memory limit, for columns that are kept from one look to the other.
_KEPT_SHARE = 0.4


def check(
    sources: Sequence[str | Path],
    settings: Settings | None = None,
    *,
    select: Sequence[str] = (),
    ignore: Sequence[str] = (),
    strict: bool = False,
    memory_bytes: int = 1 << 30,
    jobs: int | None = None,
    progress: Progress | None = None,
    mends_with: MakeSettings | None = None,
) -> Checkup:
    """Apply the rules to every source. What cannot be opened, or read without a flag, is a failure.

    `mends_with`: gives the settings with more of them, for the command whose flags deal with findings.
    """
    rules = choose_rules(select, ignore)
    threads = Threads(jobs or default_jobs())
    try:
        with Places(RunOptions(dry_run=True, memory_bytes=memory_bytes)) as places:
            local = places.inputs.fetched(sources)
            found = checkup_of(local, settings or Settings(), rules, memory_bytes, threads, progress)
            if mends_with is not None:
                from gaecli.commands.inspect import InspectOptions
                from gaecli.commands.mending import mending_of

                options = InspectOptions(memory_bytes=memory_bytes, jobs=jobs)
                mending = mending_of(found, sources, local, mends_with, options, progress)
                found = replace(found, mending=mending)
            return places.shown_in(replace(found, is_strict=strict))
    finally:
        threads.close()


def checkup_of(
    sources: Sequence[str | Path],
    settings: Settings,
    rules: Sequence[CheckRule],
    memory_bytes: int,
    threads: Threads,
    progress: Progress | None = None,
) -> Checkup:
    """Of files that are on this machine."""
    started = time.perf_counter()
    findings: list[Finding] = []
    contexts: list[Context] = []
    failures: list[Failure] = []
    continuity, ledger, types = Continuity(), GroupLedger(), LabelTypes()
    files: list[str] = []
    num_rows = 0
    looks = 2 if any(rule.scope in ("run", "between") for rule in rules) else 1
    plans = watched(plan_streams(sources, settings.join), progress, "checking", looks=looks)
    for number, plan in enumerate(plans):
        files += map(str, plan.paths)
        try:
            block_rows = rows_per_block(memory_bytes)
            read = partial(open_stream, plan, memory_bytes=memory_bytes, number=number, block_rows=block_rows)
            opened = _opened(plan, settings, read, ledger)
            types.add(opened)
            checker = _Checker(opened, block_rows, rules, ledger, threads)
            with told(plan.paths[0]):
                findings += checker.findings()
            contexts += checker.contexts
            continuity.add(checker.edges)
            num_rows += checker.num_rows
        except GaeError as error:
            failures.append(Failure.of(plan.paths[0], error))
        if progress is not None:
            progress.end(plan.paths)
    findings += _of_all_inputs(rules, contexts, continuity, ledger)
    return Checkup(
        findings=findings,
        codes=[rule.code for rule in rules],
        num_files=len(files),
        num_rows=num_rows,
        failures=failures,
        seconds=time.perf_counter() - started,
        files=files,
    )


def _opened(
    plan: StreamPlan, settings: Settings, read: Callable[..., OpenStream], ledger: GroupLedger
) -> OpenStream:
    """The stream; a log of responses that cannot be read as it is, as the command that it takes would read it."""
    try:
        return read(settings=settings)
    except (UsageError, DataError):
        log, path = _log_of(plan, settings)
        if log is None:
            raise
    ledger.read_as.append((path, f"read as {log.name}, {log.says}, as by `{log.command(str(path))}`"))
    return read(settings=log.settings(settings))


def _log_of(plan: StreamPlan, settings: Settings) -> tuple[ResponseLog | None, Path]:
    """None where it is none, or where the user said which columns are to be read."""
    if settings.rewards or settings.columns:
        return None, plan.paths[0]
    file = plan.open_all(settings)[0]
    log = recognise(file)
    if log is not None and settings.kind.is_scored:
        log = replace(log, group=settings.group_columns, estimator=settings.estimator)
    return (log if log is not None and log.can_be_computed else None), file.path


def _of_all_inputs(
    rules: Sequence[CheckRule], contexts: Sequence[Context], continuity: Continuity, ledger: GroupLedger
) -> list[Finding]:
    notes = continuity.notes()
    between = [FirstLook(Path(note.file or ""), notes=[note]) for note in notes]
    subjects: dict[str, Sequence[object]] = {"inputs": [contexts], "between": between, "groups": [ledger]}
    return [
        _finding(rule, hits, hits.file or "")
        for rule in rules
        for subject in subjects.get(rule.scope, ())
        if (found := rule.find(subject)) is not None and (hits := found.weigh()) is not None
    ]


@dataclass(frozen=True, eq=False)
class _BlockSubjects:
    """What the rules are shown of a block."""

    cells: CellBlock
    window: Window | None


class _Checker:
    """One stream."""

    def __init__(
        self,
        stream: OpenStream,
        block_rows: int,
        rules: Sequence[CheckRule],
        ledger: GroupLedger,
        threads: Threads,
    ) -> None:
        #: Of all streams; None where nothing is compared, or no rule asks.
        has_groups = stream.settings.group_columns != () and any(rule.scope == "groups" for rule in rules)
        self.ledger = ledger if has_groups else None
        #: Trajectories go on in other blocks: what they score is known once all of them were seen.
        self._is_crossing = any(opened.layout.crosses_blocks for opened in stream.files)
        #: No steps can be made of some block: what the others say of steps is of no use without it.
        self._lacks_steps = False
        #: Rows of one trajectory stand between those of others, and `compute` took them key by key.
        self._is_by_key = False
        #: Of rows that are gone over twice, by the rules and by `compute`.
        self._room = Room(int(stream.memory_bytes * _KEPT_SHARE))
        self.stream = replace(stream, files=[self._kept(opened) for opened in stream.files])
        self.settings = stream.settings
        # What the rules make of a block takes memory; where one block is enough it is one.
        self.block_rows = (
            block_rows if stream.num_rows <= block_rows else max(block_rows // _BLOCKS_PER_BLOCK, 1)
        )
        self.threads = threads
        self.rules = rules
        self.contexts: list[Context] = []
        self.num_rows = 0
        self.edges: Edges | None = None
        self._path = str(stream.plan.paths[0])
        self._evidence: dict[str, Observation] = {}

    def _kept(self, opened: OpenFile) -> OpenFile:
        if not _has_a_cell_per_row(opened):
            return opened
        return replace(opened, file=KeptFile(opened.file, self._room, once=not self._compares))

    def findings(self) -> list[Finding]:
        try:
            return self._findings()
        finally:
            self._room.clear()

    def _findings(self) -> list[Finding]:
        windows = Windows()
        rules = RulesAhead(self._looked_at(self.block_rows, windows))
        is_asked = self._compares or any(rule.scope in ("run", "between") for rule in self.rules)
        first_look = self._first_look(rules) if is_asked else None
        rules.finish()
        is_cut = self.block_rows < self.stream.num_rows
        if self._is_by_key and is_cut and not self._fits:  # a row has others of its trajectory anywhere
            self._lacks_steps = True
        elif (windows.is_unsorted or self._is_by_key) and is_cut and self._fits:
            self._evidence, self.contexts, self.num_rows, self._lacks_steps = {}, [], 0, False
            RulesAhead(self._looked_at(self.stream.num_rows, Windows())).finish()
        of_steps = {rule.code for rule in self.rules if rule.scope == "steps"} if self._lacks_steps else ()
        weighed = {
            code: hits
            for code, found in self._evidence.items()
            if code not in of_steps and (hits := found.weigh())
        }
        findings = [
            _finding(rule, weighed[rule.code], self._path)
            for rule in self.rules
            if rule.code in weighed and not any(code in weighed for code in rule.unless)
        ]
        errors = {finding.rule.code for finding in findings if finding.rule.severity == "error"}
        told = [] if first_look is None else self._told_by_compute(first_look, errors)
        codes = {finding.rule.code for finding in told}
        explained = {rule.code for rule in self.rules if codes & set(rule.unless)}
        return [finding for finding in findings if finding.rule.code not in explained] + told

    @property
    def _fits(self) -> bool:
        """Rows out of order are sorted all at once, as `compute` sorts them; groups were compared already."""
        return self.ledger is None and self.stream.num_rows * BYTES_PER_SORTED_ROW <= self.stream.memory_bytes

    @property
    def _compares(self) -> bool:
        """What trajectories score, once all blocks are known."""
        return self.ledger is not None and self._is_crossing

    def _looked_at(self, block_rows: int, windows: Windows) -> Iterator[tuple[int, int]]:
        """By the rules; after each block its file, and the row behind it."""
        for number, opened in enumerate(self.stream.files):
            file, layout = opened.file, opened.layout
            self.num_rows += file.num_rows
            context = Context(
                file, layout.roles, self.settings, flag_columns(layout.roles, self.settings), layout.kind
            )
            self.contexts.append(context)
            self._add(self._found("file", context))
            subjects = self._subjects(context, opened, windows, block_rows)
            for stop, found in self.threads.run(self._found_in_block, subjects):
                self._add(found)
                yield number, stop

    def _subjects(
        self, context: Context, opened: OpenFile, windows: Windows, block_rows: int
    ) -> Iterator[_BlockSubjects]:
        """The blocks of one file, in order. Where no steps can be made of one, the rules about cells say why."""
        bare, layout = _without_steps(context.file, context.roles, self.settings), opened.layout
        more = [] if self.ledger is None else beside(context)
        names = list(dict.fromkeys([*layout.row_columns, *more]))
        blocks = self._blocks(opened, names, block_rows)
        if opened.file.num_rows > block_rows:
            blocks = self.threads.ahead(blocks)
        for start, stop, columns in blocks:
            cells = CellBlock(context, start, layout.cells(start, columns), stop - start)
            yield _BlockSubjects(cells, self._window(context, bare, start, columns, windows))
            self._compare(context, bare, start, columns)

    def _blocks(
        self, opened: OpenFile, names: Sequence[str], block_rows: int
    ) -> Iterator[tuple[int, int, Mapping[str, Column]]]:
        """Cut out of those that `compute` reads, where that can be, so that rows are read once."""
        file = opened.file
        is_cut = _has_a_cell_per_row(opened)
        read_rows = max(block_rows, self.stream.rows_per_block) if is_cut else block_rows
        for unit in file.units(read_rows, opened.layout.like_column or opened.layout.roles.names["reward"]):
            for start, stop, columns in file.blocks(unit, names, read_rows):
                if not is_cut:
                    yield start, stop, columns
                    continue
                for first in range(start, stop, block_rows):
                    which = slice(first - start, min(first + block_rows, stop) - start)
                    yield first, start + which.stop, {name: columns[name].rows(which) for name in names}

    def _compare(
        self, context: Context, layout: Layout | None, start: int, columns: Mapping[str, Column]
    ) -> None:
        """The responses of a block with those of their groups."""
        if self.ledger is None or layout is None or self._is_crossing:
            return
        with contextlib.suppress(GaeError):  # told by a rule about cells, or at the end by the last rule
            block = layout.block(start, columns)
            self.ledger.add(context, start, columns, Trajectories.whole(block))

    def _window(
        self,
        context: Context,
        layout: Layout | None,
        start: int,
        columns: Mapping[str, Column],
        windows: Windows,
    ) -> Window | None:
        if layout is None or not layout.has_steps or not any(rule.scope == "steps" for rule in self.rules):
            return None
        try:
            return windows.window(context, layout, start, columns)
        except GaeError:  # told by a rule about cells, or at the end by the last rule
            self._lacks_steps = True
            return None

    def _found_in_block(self, block: _BlockSubjects) -> tuple[int, dict[str, Observation]]:
        found = self._found("cells", block.cells)
        if block.window is not None:
            found.update(self._found("steps", block.window))
        return block.cells.start + block.cells.num_rows, found

    def _found(self, scope: str, subject: object) -> dict[str, Observation]:
        """By the code of the rule."""
        rules = [rule for rule in self.rules if rule.scope == scope]
        return {rule.code: found for rule in rules if (found := rule.find(subject)) is not None}

    def _add(self, found: Mapping[str, Observation]) -> None:
        for code, observation in found.items():
            known = self._evidence.get(code)
            self._evidence[code] = observation if known is None else known.merge(observation)

    def _told_by_compute(self, look: FirstLook, errors: Collection[str]) -> list[Finding]:
        """What `compute` itself would say. A refusal counts where no rule about errors has said anything."""
        rules = [rule for rule in self.rules if rule.scope in ("run", "between")]
        hits = {
            rule.code: found
            for rule in rules
            if rule.scope == "run" and (found := rule.find(look)) is not None
        }
        return [
            _finding(rule, found, self._path)
            for rule in rules
            if (found := hits.get(rule.code)) is not None
            and isinstance(found, Hits)
            and not any(code in hits or code in errors for code in rule.unless)
            and not (errors and rule.code == REFUSED)
        ]

    def _first_look(self, rules: RulesAhead) -> FirstLook:
        path = self.stream.plan.paths[0]
        estimator = make_estimator(self.settings, choose_device("auto", 0))
        context = RunContext.plain(estimator if self._compares else for_ends_only(estimator), 0, self.threads)
        behind = RunContext(BehindTheRules(context.engine, rules, self.stream.files), context.worker)
        try:
            stream = summarised(self.stream, behind)
            if self.ledger is not None and self._compares:
                rules.finish()
                add_groups(self.ledger, stream, context, self.contexts)
        except GaeError as error:
            return FirstLook(path, error)
        self.edges, self._is_by_key = stream.edges, stream.opened.row_order.by_key
        return FirstLook(path, notes=stream.warnings)


def _has_a_cell_per_row(opened: OpenFile) -> bool:
    file, names = opened.file, opened.columns
    return file.structure == "table" and not any((info := file.find(name)) and info.is_list for name in names)


def _without_steps(file: RolloutFile, roles: Roles, settings: Settings) -> Layout | None:
    """A layout that refuses neither steps out of order nor single cells: the rules are to find those."""
    dropped = ["step"]
    if all(roles.get(role) is not None for role in ("terminated", "truncated", "done")):
        dropped.append("done")
    lenient = settings.of_first_stream.replace(on_nan="drop-episode")
    try:
        return choose_layout(file, roles.without(*dropped), lenient, RowOrder(is_whole=True))
    except GaeError:
        return None


def _finding(rule: CheckRule, hits: Hits, path: str) -> Finding:
    return Finding(
        rule=rule.info,
        file=hits.file or path,
        message=hits.message,
        count=hits.count,
        unit=hits.unit,
        row=hits.row,
        place=hits.place,
        fix=hits.fix,
    )
