"""One stream of files on its way: open, then summarised and combined, then measured, looked at or written.

Each phase gives the object of the next one: `OpenStream` (`gaecli.pipeline.opening`), `SummarisedStream`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeVar

from gaecli.columns import Roles
from gaecli.engines.base import Engine
from gaecli.engines.local import LocalEngine
from gaecli.engines.threads import Threads
from gaecli.errors import DataError, UsageError
from gaecli.estimators.base import Estimator
from gaecli.estimators.conventions import crosses_trajectories
from gaecli.estimators.stages import ScoreStage, stages_of
from gaecli.layout_kinds import LayoutKind
from gaecli.layouts.evidence.unused_flags import EndsUnrecognised
from gaecli.layouts.row_order import NeedsKeys, NeedsWholeStream, RowOrder
from gaecli.pipeline.block_stages import StageTables
from gaecli.pipeline.blocks import BlockAddress, BlockStore, BlockSummary, MissingBootstrapError
from gaecli.pipeline.combine import Carry, combine
from gaecli.pipeline.judging.continuity import Edges
from gaecli.pipeline.judging.judge import StreamEvidence, judge
from gaecli.pipeline.label_tables import Constants
from gaecli.pipeline.opening import OpenFile, OpenStream
from gaecli.pipeline.settle import Settled
from gaecli.pipeline.tasks import Carries, LookUnit, MeasureUnit, SummariseUnit, SurveyUnit
from gaecli.pipeline.worker import Worker
from gaecli.records import dataclass
from gaecli.settings import Settings
from gaecli.sources.inputs import StreamPlan
from gaecli.summary import WarningNote

if TYPE_CHECKING:
    from gaecli.pipeline.ahead import Ahead
    from gaecli.pipeline.labels import LabelConstants, SurveyAnswer, SurveyQuestion

R = TypeVar("R")

#: What a row of a file takes that is sorted as a whole.
BYTES_PER_SORTED_ROW = 100


@dataclass(frozen=True, eq=False)
class RunContext:
    """What every phase of every stream works with."""

    engine: Engine[Worker]
    #: What tasks find that are carried out in this process.
    worker: Worker

    @classmethod
    def plain(cls, estimator: Estimator, store_bytes: int, threads: Threads | None = None) -> RunContext:
        """For a command that looks at one stream after the other and stops where Python does."""
        worker = Worker(estimator, BlockStore(store_bytes))
        return cls(LocalEngine(worker, threads or Threads(1)), worker)


@dataclass(frozen=True, eq=False)
class SummarisedStream:
    """A stream of which every cell that is used was checked, and every block knows its surroundings."""

    opened: OpenStream
    summaries: Sequence[BlockSummary]
    #: Of every block, by file and unit.
    carries: Mapping[tuple[int, int], Carries]
    warnings: Sequence[WarningNote]
    #: Where it begins and ends, if it may be a part of what the next input goes on with.
    edges: Edges | None
    #: What the blocks hand on as the convention reads them.
    as_read: Sequence[BlockSummary]
    #: Of the first stage, where it was measured in passing.
    first: StageTables | None = None
    #: Which blocks are finished and written already.
    ahead: Ahead[Any] | None = None
    #: Of the units of files, where `summaries` do not tell.
    num_steps: Mapping[tuple[int, int], int] | None = None

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

    def for_later_looks(self) -> SummarisedStream:
        """Without what is asked for once: all that later looks need are the carries."""
        return replace(self, first=None, summaries=(), as_read=(), num_steps=self._steps)

    def steps_of(self, file: int) -> list[int]:
        """How many there are in each unit: those of lists count."""
        return [self._steps.get((file, unit), 0) for unit in range(len(self.files[file].units))]

    @cached_property
    def _steps(self) -> Mapping[tuple[int, int], int]:
        """Once for all files: there may be thousands."""
        if self.num_steps is not None:
            return self.num_steps
        steps: dict[tuple[int, int], int] = {}
        for summary in self.summaries:
            key = summary.address.file, summary.address.unit
            steps[key] = steps.get(key, 0) + summary.num_rows
        return steps

    def carries_of(self, file: int) -> list[Carries]:
        """By unit; none for a unit without rows."""
        return [self.carries.get((file, unit), {}) for unit in range(len(self.files[file].units))]

    def _left_of(self, file: int) -> Iterator[tuple[int, Carries]]:
        first, carries = self.unfinished(file)
        return enumerate(carries, start=first)

    def unfinished(self, file: int) -> tuple[int, list[Carries]]:
        """The first unit with blocks that are not written yet, and by unit what those are told."""
        carries = self.carries_of(file)
        return (0, carries) if self.ahead is None else self.ahead.left(carries)

    def measure(self, context: RunContext, constants: Constants, stage: ScoreStage) -> StageTables:
        """Moments of what a stage compares, merged in the order of the blocks; `constants`: of those before it."""
        if not constants and self.first is not None:
            return self.first
        tasks = (
            MeasureUnit(self.opened.source(file), unit, carries, constants)
            for file in range(len(self.files))
            for unit, carries in enumerate(self.carries_of(file))
        )
        total = StageTables(stage)
        for found in context.engine.run(tasks):
            for block in found:
                total.add(block)
        return total

    def survey(
        self,
        context: RunContext,
        question: SurveyQuestion,
        constants: Constants,
    ) -> Iterator[SurveyAnswer]:
        """Of every block, in the order of the blocks."""
        tasks = (
            SurveyUnit(self.opened.source(file), unit, carries, question, constants)
            for file in range(len(self.files))
            for unit, carries in enumerate(self.carries_of(file))
        )
        for found in context.engine.run(tasks):
            yield from found

    def visit(self, context: RunContext, look: Callable[[int, int, Settled, Carry], R]) -> Iterator[R]:
        """look(file, start row, block, carry) of every block whose carry is here, in the order of the blocks.

        But for those that were looked at ahead.
        """
        tasks = (
            LookUnit(self.opened.source(file), unit, carries, look)
            for file in range(len(self.files))
            for unit, carries in self._left_of(file)
            if carries
        )
        for found in context.engine.run(tasks):
            yield from found


def with_numbers(
    stream: SummarisedStream, units: Collection[tuple[int, int]], context: RunContext
) -> SummarisedStream:
    """The numbers of these units (file, unit) alone, of a stream that was summarised for its ends.

    `units` have all that their trajectories go on in, and each of them all of its blocks.
    """
    opened, settings = stream.opened, stream.settings
    context.worker.files.know(opened)
    tasks = (SummariseUnit(opened.source(file), unit) for file, unit in sorted(units))
    found = {one.address: one for one in chain.from_iterable(context.engine.run(tasks))}
    summaries = [found.get(one.address, one) for one in stream.summaries]
    paths = [str(path) for path in opened.plan.paths]
    combined = combine(summaries, settings.bootstrap, paths, open_ends=settings.open_ends)
    carries = _CarriesByUnit(summaries, combined.carries)
    return replace(
        stream, summaries=summaries, as_read=summaries, carries={key: carries[key] for key in units}
    )


def summarised(
    opened: OpenStream, context: RunContext, *, measures: bool = False, ahead: Ahead[Any] | None = None
) -> SummarisedStream:
    """Summarise every block. Where that shows that the rows have to be taken in another way, once more so.

    `measures`: the moments of the first stage will be asked for. `ahead` finishes blocks meanwhile.
    """
    try:
        return _in_good_order(opened, context, partial(_as_taken, measures=measures, ahead=ahead))
    except MissingBootstrapError as error:
        from gaecli.pipeline.likely_values import hint_for_ends

        first = opened.files[0]
        error.hint = hint_for_ends(first.file, first.layout, opened.settings, ("zero", "current"))
        raise


@dataclass(frozen=True, eq=False)
class FinalStream:
    """A stream of which all is known that its rows are told."""

    stream: SummarisedStream
    constants: Constants
    labels: LabelConstants | None


def final(opened: OpenStream, context: RunContext, ahead: Ahead[Any] | None = None) -> FinalStream:
    """All looks at a stream that shares its normalisation with no other, but for the last one."""
    stream = summarised(opened, context, measures=True, ahead=ahead)
    constants: Constants = ()
    for stage in stages_of(opened.settings):
        constants = (*constants, stream.measure(context, constants, stage).constants())
    return FinalStream(stream, constants, _labels(stream, constants, context))


def _labels(stream: SummarisedStream, constants: Constants, context: RunContext) -> LabelConstants | None:
    """For labels and weights of this stream alone; None where there are none."""
    if not stream.settings.has_labels:
        return None
    from gaecli.pipeline.labels import LabelSearch

    search = LabelSearch(stream.settings)
    while (question := search.question) is not None:
        search.take(stream.survey(context, question, constants))
    return search.constants


def with_outcomes(opened: OpenStream, context: RunContext) -> OpenStream:
    """The stream with what its blocks are told of the success of episodes, where that makes their rewards."""
    return _in_good_order(opened, context, _with_outcomes)


def _in_good_order(opened: OpenStream, context: RunContext, look: Callable[[OpenStream, RunContext], R]) -> R:
    tried: list[RowOrder] = []
    while True:
        tried.append(opened.row_order)
        context.worker.files.know(opened)
        try:
            return look(opened, context)
        except (NeedsKeys, NeedsWholeStream, DataError, UsageError) as error:
            row_order = _other_order(opened, error)
            if row_order is None or row_order in tried:
                raise
        context.worker.forget(opened.number)
        opened = opened.taken(row_order, opened.num_rows if row_order.is_whole else None)


def _other_order(opened: OpenStream, error: Exception) -> RowOrder | None:
    """How the rows may be good all the same: key by key where ids come back, all at once where out of order."""
    if isinstance(error, NeedsKeys):
        _check_order_of_time(opened)
        return RowOrder(by_key=True)
    fits = len(opened.files) == 1 and opened.num_rows * BYTES_PER_SORTED_ROW <= opened.memory_bytes
    if isinstance(error, NeedsWholeStream):
        if not fits:
            raise UsageError(
                f"rows of `{opened.plan.paths[0]}` are out of order, and sorting them takes more than `--memory`",
                hint="sort the rows by trajectory and step, or raise `--memory`; `--step-column none` goes by the "
                "order in the file",
            ) from error
        return RowOrder(is_whole=True)
    if isinstance(error, EndsUnrecognised) or opened.row_order.is_whole or opened.is_in_order:
        return None  # all blocks together said so
    # A block alone may take rows that are out of order for wrong ones, and counts no others.
    return (
        RowOrder(is_whole=True) if opened.num_blocks > 1 and opened.layout.row_is == "step" and fits else None
    )


def _check_order_of_time(opened: OpenStream) -> None:
    """A stream of rewards that never ends goes on from row to row, which have to be those of one environment."""
    never = next((one for one in opened.settings.stream if one.cut == "never"), None)
    if never is not None:
        raise DataError(
            f"rows of several episodes of `{opened.plan.paths[0]}` stand between each other, and stream "
            f"`{never.name}` (`cut=never`) goes on from row to row of an environment",
            hint="pass `--env-column` with the column that tells environments apart; in each of them rows stand in "
            "the order of time",
        )


def _as_taken(
    opened: OpenStream, context: RunContext, *, measures: bool, ahead: Ahead[Any] | None
) -> SummarisedStream:
    if opened.settings.success_column is not None and opened.outcomes is None:
        opened = _with_outcomes(opened, context)
    stages = stages_of(opened.settings)
    first = StageTables(stages[0]) if measures and stages else None
    try:
        evidence, warnings = _looked_at(opened, context, first, ahead)
    except BaseException:
        if ahead is not None:
            ahead.give_up()
        raise
    as_read, combined = evidence.summaries, evidence.combined
    if any(summary.in_time is not None for summary in as_read):
        from gaecli.pipeline.time_order import read_in_time, with_next_rows

        combined = with_next_rows(as_read, combined)
        if crosses_trajectories(context.worker.estimator.settings):
            as_read, combined = read_in_time(opened, as_read, combined, context.engine)
    carries: Mapping[tuple[int, int], Carries] = _CarriesByUnit(evidence.summaries, combined.carries)
    if context.worker.estimator.needs_trajectories:
        from gaecli.pipeline.trajectories import with_whole_trajectories

        carries = with_whole_trajectories(opened, carries, context.engine, context.worker.estimator)
    is_free = opened.plan.data_set is None and opened.settings.join is None
    return SummarisedStream(
        opened,
        evidence.summaries,
        carries,
        [*opened.warnings, *warnings],
        Edges.of(evidence) if is_free else None,
        as_read,
        first if first is not None and first.is_complete else None,
        ahead,
    )


def _with_outcomes(opened: OpenStream, context: RunContext) -> OpenStream:
    """By a look of its own: how long the longest episode is, and how each of them ends."""
    from gaecli.pipeline.outcomes import outcomes_known

    evidence, _ = _looked_at(opened, context)
    return outcomes_known(opened, evidence.summaries, evidence.combined)


def _looked_at(
    opened: OpenStream,
    context: RunContext,
    first: StageTables | None = None,
    ahead: Ahead[Any] | None = None,
) -> tuple[StreamEvidence, list[WarningNote]]:
    """`first`: where the moments of the first stage go, of blocks that nothing crosses."""
    tasks = (
        SummariseUnit(opened.source(file), unit, first is not None)
        for file, one in enumerate(opened.files)
        for unit in range(len(one.units))
    )
    summaries: list[BlockSummary] = []
    found: Iterator[BlockSummary]
    if ahead is None or ahead.is_over:
        found = chain.from_iterable(context.engine.run(tasks))
    else:
        found = ahead.run(tasks, context.engine)
    for summary in found:
        if first is not None and first.is_complete:
            first.add_or_give_up(summary.measured)
        summaries.append(summary if summary.measured is None else replace(summary, measured=None))
    settings, paths = opened.settings, [str(path) for path in opened.plan.paths]
    # What waits for the next rows is asked for its values with them.
    bootstrap = "zero" if crosses_trajectories(context.worker.estimator.settings) else settings.bootstrap
    combined = combine(summaries, bootstrap, paths, open_ends=settings.open_ends)
    evidence = StreamEvidence(
        opened.plan.paths,
        opened.roles,
        settings,
        summaries,
        combined,
        opened.layout,
        by_key=opened.row_order.by_key,
    )
    return evidence, judge(evidence)


class _CarriesByUnit(Mapping[tuple[int, int], Carries]):
    """What every block is told, by file and unit; made when it is asked for."""

    def __init__(self, summaries: Iterable[BlockSummary], carries: Sequence[Carry]) -> None:
        self._carries = carries
        self._blocks: dict[tuple[int, int], dict[BlockAddress, int]] = {}
        for index, summary in enumerate(summaries):
            address = summary.address
            self._blocks.setdefault((address.file, address.unit), {})[address] = index

    def __getitem__(self, key: tuple[int, int]) -> Carries:
        return {address: self._carries[index] for address, index in self._blocks[key].items()}

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(self._blocks)

    def __len__(self) -> int:
        return len(self._blocks)
