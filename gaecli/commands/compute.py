"""The whole of `gae compute`: plan, summarise, combine, measure, apply, commit, for every stream."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from gaecli.commands.outcome import Outcome, summarize
from gaecli.commands.stream_steps import ReadyStream, StreamSteps, inputs_of_all
from gaecli.engine_kinds import ENGINES
from gaecli.engines.base import Engine, EngineOptions
from gaecli.engines.registry import make_engine
from gaecli.engines.threads import Threads, default_jobs
from gaecli.errors import FileError, GaeError, UsageError
from gaecli.estimators.registry import make_estimator
from gaecli.estimators.stages import ScoreStage, stages_of
from gaecli.kernels.devices import BREAK_EVEN_STEPS, choose_device, device_elsewhere
from gaecli.kernels.torch_import import one_thread_per_operation, start_torch_import
from gaecli.pipeline.block_stages import StageTables, merged_tables
from gaecli.pipeline.blocks import BlockStore
from gaecli.pipeline.clock import Stopwatch
from gaecli.pipeline.label_tables import Constants
from gaecli.pipeline.memory import rows_per_block
from gaecli.pipeline.opening import OpenStream
from gaecli.pipeline.reading_errors import not_done
from gaecli.pipeline.stream import RunContext, SummarisedStream
from gaecli.pipeline.worker import Worker, WorkerRecipe
from gaecli.records import dataclass
from gaecli.settings import RunOptions, Settings
from gaecli.sources.inputs import StreamPlan, describe_streams, plan_streams
from gaecli.storage.places import Places
from gaecli.summary import Summary
from gaecli.unfinished import leave_word
from gaecli.writing.outputs import Outputs

if TYPE_CHECKING:
    from gaecli.pipeline.labels import LabelConstants, SurveyAnswer, SurveyQuestion

S = TypeVar("S")
T = TypeVar("T")

#: Called with the name of every file that is done.
Progress = Callable[[str], None]
#: Called with the number of files once it is known; what it returns is told of each.
Begin = Callable[[int], Progress]

#: Share of `--memory` for blocks that are kept between the two looks; the rest is for work and buffers.
_STORE_SHARE = 0.2
#: Streams that go through a cluster side by side, each with a thread of this process that waits for it. This process
#: begins and ends a hundred or two a second: of tasks that take one, no more are under way.
_MOST_WAITING = 256


def compute(
    sources: Sequence[str | Path],
    settings: Settings | None = None,
    options: RunOptions | None = None,
    begin: Begin | None = None,
) -> Summary:
    """Compute advantages and returns for every source, and write them.

    Files that fail are reported in the summary; the others are done all the same. Raises `GaeError`
    only for what concerns the run as a whole.
    """
    with Places(options or RunOptions()) as places:
        run = _Run(settings or Settings(), places)
        try:
            summary = run.go(places.inputs.sources(sources), begin or (lambda total: lambda name: None))
        except KeyboardInterrupt:
            run.interrupt()
            run.close()
            leave_word(run.state)
            raise
        finally:
            run.close()
        places.results.deliver()
        return places.shown_in(summary)


@dataclass(eq=False)
class _Job:
    """A stream from the plan to its outcome."""

    number: int
    plan: StreamPlan
    #: Once it is open, until it is over: of a thousand streams it is more than their data.
    opened: OpenStream | None = None


_Group = Sequence[_Job]


class _Run:
    """Takes the streams through their phases: one by one, or all together where they share a normalisation."""

    def __init__(self, settings: Settings, places: Places) -> None:
        self.settings = settings
        self.options = options = places.options
        self.places = places
        self.progress: Progress = lambda name: None
        self.jobs = options.jobs or default_jobs()
        self._threads = self._side_by_side = Threads(self.jobs, places.interrupt)
        self._engine: Engine[Worker] | None = None
        self.clock = Stopwatch()
        self.outputs = Outputs(
            settings,
            places,
            jobs=self.jobs,
            rows_per_block=rows_per_block(options.memory_bytes),
            clock=self.clock,
            check_stop=self._threads.check_stop,
        )
        #: What there is of the results when the run has ended, in a few words.
        self.state = ""
        self.started = time.perf_counter()
        if options.device not in ("auto",):
            start_torch_import()

    def go(self, sources: Sequence[str | Path], begin: Begin) -> Summary:
        plans = plan_streams(sources, self.settings.join)
        self.places.results.check([path for plan in plans for path in plan.paths])
        self.outputs.plan(plans)
        jobs = [_Job(number, plan) for number, plan in enumerate(plans)]
        if ENGINES[self.options.engine].is_here:
            self.device = choose_device(self.options.device, _guess_of_steps(plans))
        else:
            self._check_seen_elsewhere()
            self.device = device_elsewhere(self.options.device)
        self.context = self._context()
        self.steps = StreamSteps(
            self.settings, self.places, self.outputs, self.context, self.device, num_streams=len(jobs)
        )
        self.progress = begin(sum(len(plan.paths) for plan in plans))
        is_together = self._spans_streams and len(jobs) > 1
        with one_thread_per_operation() if self.device.uses_torch else contextlib.nullcontext():
            return summarize(
                self._together(jobs) if is_together else self._apart(jobs),
                settings=self.settings,
                device=self.device,
                streams=describe_streams(plans),
                clock=self.clock,
                started=self.started,
            )

    def _check_seen_elsewhere(self) -> None:
        for path, target in self.outputs.targets.items():
            for place in (path, target.path):
                if self.places.is_of_a_pipe(place):
                    raise UsageError(
                        f"`{self.places.shown(str(place))}` cannot be seen by the workers of `--engine "
                        f"{self.options.engine}`, which read and write shared files and buckets",
                        hint="copy it there first, or leave `--engine` out",
                    )

    @property
    def _spans_streams(self) -> bool:
        settings, labelling = self.settings, self.settings.labelling
        has_quantile = labelling is not None and labelling.quantile is not None
        spans = has_quantile or settings.weight == "rabc" or settings.success_column is not None
        return spans or any(stage.spans_streams for stage in stages_of(settings))

    def _labels(
        self,
        carry_on: Callable[[Callable[[_Job], Any], Sequence[_Job]], list[tuple[_Job, Any]]],
        streams: Mapping[int, SummarisedStream],
        constants: Constants,
        jobs: list[_Job],
    ) -> tuple[LabelConstants | None, list[_Job]]:
        """What labels and weights of all streams rest on together, and the streams that could be asked."""
        if not self.settings.has_labels:
            return None, jobs
        from gaecli.pipeline.labels import LabelSearch

        search = LabelSearch(self.settings)
        while (question := search.question) is not None:

            def survey(job: _Job, question: SurveyQuestion = question) -> list[SurveyAnswer]:
                return self.steps.survey(streams[job.number], question, constants)

            answers = carry_on(survey, jobs)
            if len(answers) < len(jobs):  # what is left has other quantiles
                jobs, search = [job for job, _ in answers], LabelSearch(self.settings)
                continue
            search.take(chain.from_iterable(found for _, found in answers))
        return search.constants, jobs

    def _summarise(
        self,
        streams: dict[int, SummarisedStream],
        opened: Mapping[int, OpenStream],
        job: _Job,
    ) -> SummarisedStream:
        streams[job.number] = self.steps.summarised(opened[job.number])
        return streams[job.number]

    def _with_longest(self, known: Sequence[tuple[_Job, OpenStream]]) -> dict[int, OpenStream]:
        """Streams whose rewards are by the longest episode of all of them."""
        from gaecli.pipeline.outcomes import with_longest

        longest = max((stream.longest_episode for _, stream in known), default=0)
        return {job.number: with_longest(stream, longest) for job, stream in known}

    def interrupt(self) -> None:
        self._threads.interrupt()

    def close(self) -> None:
        """Whatever was begun and not committed disappears."""
        self._side_by_side.close()
        self._threads.close()  # waits for the blocks in hand: nothing is begun after this
        if self._engine is not None:
            self._engine.close()
        self.state = self.state or self.outputs.state
        self.outputs.close()

    def _apart(self, jobs: Sequence[_Job]) -> Iterator[Outcome]:
        """Each stream from beginning to end, several at a time."""

        def whole(group: _Group) -> list[Outcome]:
            return self._last_step(group, lambda job: self.steps.rest(self._open(job)))

        return chain.from_iterable(self._each(whole, _groups(jobs)))

    def _together(self, jobs: Sequence[_Job]) -> Iterator[Outcome]:
        """All streams are looked at before the first is written: they share their normalisation."""
        outcomes: dict[int, Outcome] = {}
        streams: dict[int, SummarisedStream] = {}
        constants: Constants = ()
        labels: LabelConstants | None = None

        def carry_on(
            step: Callable[[_Job], T | Outcome | None], among: Sequence[_Job]
        ) -> list[tuple[_Job, T]]:
            """Those for which the step gives what it is for; the others have their outcome."""
            found = self._map(lambda job: self._guard(job, lambda: step(job)), among)
            outcomes.update({number: end for number, end in found.items() if isinstance(end, Outcome)})
            return [
                (job, result)
                for job in among
                if not isinstance(result := found[job.number], Outcome) and result is not None
            ]

        opened = {job.number: stream for job, stream in carry_on(self._open, jobs)}
        good = [job for job in jobs if job.number in opened]
        if self.settings.label_columns:
            from gaecli.pipeline.label_types import LabelTypes

            types = LabelTypes()
            for stream in opened.values():
                types.add(stream)
        inputs = inputs_of_all(list(opened.values()))
        if not self.options.gallery:  # whose pictures need all rows
            carry_on(lambda job: self.steps.up_to_date(opened[job.number], inputs), good)
        if any(job.number not in outcomes for job in good):
            for job in good:  # each of them is needed for the constants that they share
                outcomes.pop(job.number, None)
            if self.settings.success_column is not None:
                opened = self._with_longest(
                    carry_on(lambda job: self.steps.with_outcomes(opened[job.number]), good)
                )
                good = [job for job in good if job.number in opened]

            def look(job: _Job, stage: ScoreStage) -> StageTables:
                stream = streams.get(job.number) or self._summarise(streams, opened, job)
                return stream.measure(self.context, constants, stage)

            ready = good
            if not self.steps.stages:
                ready = [job for job, _ in carry_on(partial(self._summarise, streams, opened), good)]
            for stage in self.steps.stages:
                looks = carry_on(partial(look, stage=stage), ready)
                ready = [job for job, _ in looks]
                tables = merged_tables(stage, (found for _, found in looks))
                constants = (*constants, tables.constants())
            inputs = inputs_of_all([opened[job.number] for job in ready])
            # A run that was killed, or that met the same bad file, has written some of them already.
            labels, ready = self._labels(carry_on, streams, constants, ready)
            carry_on(lambda job: self.steps.left_alone(streams[job.number], constants, labels, inputs), ready)

        def finish(job: _Job) -> Outcome | ReadyStream:
            done = outcomes.pop(job.number, None)
            if done is not None:
                return done
            return self.steps.written(streams.pop(job.number), constants, labels, inputs)

        def last_step(group: _Group) -> list[Outcome]:
            return self._last_step(group, finish)

        opened.clear()
        yield from chain.from_iterable(self._each(last_step, _groups(jobs)))

    def _context(self) -> RunContext:
        """Streams side by side, or the blocks of one stream side by side."""
        options = self.options
        store_bytes = int(options.memory_bytes * _STORE_SHARE)
        worker = Worker(
            make_estimator(self.settings, self.device),
            BlockStore(store_bytes),
            self.clock,
            self._threads.check_stop,
            self.outputs.writers,
        )
        engine_options = EngineOptions(
            options.jobs,
            options.ray_address,
            needs_gpu=options.device.startswith("cuda"),
            check_stop=self._threads.check_stop,
            stage=self.places.stage,
        )
        recipe = WorkerRecipe(self.settings, options.device, store_bytes)
        self._engine = make_engine(options.engine, self._side_by_side, worker, recipe, engine_options)
        if not self._engine.is_here:  # of this process they only wait
            self._side_by_side = Threads(min(self._engine.jobs + 1, _MOST_WAITING), self._threads.interrupt)
        return RunContext(self._engine, worker)

    def _open(self, job: _Job) -> OpenStream:
        job.opened = self.steps.open(job.number, job.plan)
        return job.opened

    def _each(self, function: Callable[[S], T], jobs: Sequence[S]) -> Iterator[T]:
        """A function over streams, several at a time where the CPU computes; results in their order.

        A single one is worked on here: its blocks need the threads.
        """
        return self._side_by_side.run(function, jobs) if len(jobs) > 1 else map(function, jobs)

    def _map(self, function: Callable[[_Job], T], jobs: Sequence[_Job]) -> dict[int, T]:
        return dict(zip((job.number for job in jobs), self._each(function, jobs), strict=True))

    def _last_step(self, group: _Group, step: Callable[[_Job], Outcome | ReadyStream]) -> list[Outcome]:
        """Streams that are written together: after it they are over, be they done or failed."""
        ends = [self._guard(job, partial(step, job)) for job in group]
        outcomes = self._concluded(group, ends)
        for job in group:
            job.opened = None
            self.context.worker.forget(job.number)
            self.places.inputs.release(job.plan.paths)
            for path in job.plan.paths:
                self.progress(self.places.shown(str(path)))
        return outcomes

    def _concluded(self, group: _Group, ends: Sequence[Outcome | ReadyStream]) -> list[Outcome]:
        """All of them are committed, or none."""
        bad = next((end for end in ends if isinstance(end, Outcome) and end.is_failure), None)
        if bad is None:
            streams = [job.opened for job in group if job.opened is not None]
            failed = self._guard(group[0], partial(self.outputs.commit, streams))
            if failed is None:
                return [end if isinstance(end, Outcome) else self.steps.done(end) for end in ends]
            bad = failed
            ends = [failed, *ends[1:]]
        for job in group:
            self.outputs.discard(job.number)
        return [
            end if isinstance(end, Outcome) else Outcome.not_written(job.plan, bad)
            for job, end in zip(group, ends, strict=True)
        ]

    def _guard(self, job: _Job, step: Callable[[], T]) -> T | Outcome:
        """Turn what goes wrong with one stream into its outcome."""
        try:
            return step()
        except Exception as error:
            # No name for it here that outlives this clause: its frames have files open, and this is one of them.
            changed = self._changed_meanwhile(job)
            if changed is None and not isinstance(error, GaeError | OSError | MemoryError):
                raise
            path = job.plan.paths[0]
            outcome = Outcome.failed(
                job.plan, changed or not_done(error, path, self.outputs.targets[path].path)
            )
        self.outputs.discard(job.number)
        self.context.worker.forget(job.number)
        return outcome

    def _changed_meanwhile(self, job: _Job) -> GaeError | None:
        """A file that somebody writes to while it is read looks damaged, or impossible, in ways that mislead."""
        if job.opened is None or self.outputs.is_committing(job.number):
            return None  # there is nothing to compare with, or it was us
        try:
            for opened in job.opened.files:
                self.places.inputs.check_unchanged(opened.file.path, opened.file.identity)
        except (FileError, OSError) as error:
            return error if isinstance(error, FileError) else None
        return None


def _groups(jobs: Sequence[_Job]) -> list[_Group]:
    """Those that are written all or none, in the order of the first ones."""
    groups: dict[Hashable, list[_Job]] = {}
    for job in jobs:
        data_set = job.plan.data_set
        is_whole = data_set is not None and not job.plan.is_part
        key = (data_set.root, job.plan.together) if data_set is not None and is_whole else job.number
        groups.setdefault(key, []).append(job)
    return list(groups.values())


def _guess_of_steps(plans: Sequence[StreamPlan]) -> int:
    """About how many steps, by the size of the files: to open all of them only for this would cost more."""
    total = 0
    for plan in plans:
        for path in plan.paths:
            with contextlib.suppress(OSError):
                total += path.stat().st_size
    return min(total // 9, BREAK_EVEN_STEPS * 4)  # a reward, a value and a flag take 9 bytes as they are
