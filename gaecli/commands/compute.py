"""The whole of `gae compute`: plan, summarise, combine, measure, apply, commit, for every stream."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TypeVar

from gaecli.commands.outcome import Outcome, summarize
from gaecli.commands.rerun import earlier_entries
from gaecli.commands.warnings import behind_cache, findings
from gaecli.engines.base import Engine
from gaecli.engines.registry import make_engine
from gaecli.engines.threads import Threads, default_jobs
from gaecli.errors import FileError, GaeError
from gaecli.estimators.normalization import NormConstants, NormRule
from gaecli.estimators.registry import make_estimator
from gaecli.kernels.devices import BREAK_EVEN_STEPS, choose_device
from gaecli.kernels.torch_import import one_thread_per_operation, start_torch_import
from gaecli.moments import Moments
from gaecli.pipeline.apply import Totals
from gaecli.pipeline.blocks import BlockStore
from gaecli.pipeline.clock import Stopwatch
from gaecli.pipeline.header_notes import names_alike, stored_settings
from gaecli.pipeline.memory import rows_per_block
from gaecli.pipeline.opening import OpenStream, open_stream
from gaecli.pipeline.reading_errors import not_in_memory
from gaecli.pipeline.sketches import SketchBook
from gaecli.pipeline.stream import RunContext, SummarisedStream, merge_moments, summarised
from gaecli.pipeline.worker import Worker, WorkerRecipe
from gaecli.records import dataclass
from gaecli.settings import RunOptions, Settings
from gaecli.sources.inputs import StreamPlan, describe_streams, plan_streams
from gaecli.storage.new_file import explain
from gaecli.storage.places import Places
from gaecli.summary import Summary
from gaecli.unfinished import leave_word
from gaecli.writing.kept_words import kept_words
from gaecli.writing.outputs import Output, Outputs, by_new_file
from gaecli.writing.provenance import combined_fingerprint, payload_of
from gaecli.writing.write_file import WriteFile, WrittenFrom

S = TypeVar("S")
T = TypeVar("T")

#: Called with the name of every file that is done.
Progress = Callable[[str], None]
#: Called with the number of files once it is known; what it returns is told of each.
Begin = Callable[[int], Progress]

#: Share of `--memory` for blocks that are kept between the two looks; the rest is for work and buffers.
_STORE_SHARE = 0.2


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


@dataclass(frozen=True, eq=False)
class _Ready:
    """A stream whose new files are complete, and not in their places yet."""

    stream: SummarisedStream
    outputs: Sequence[Output]
    #: What pictures are drawn from, where they are.
    book: SketchBook | None


_Group = Sequence[_Job]


class _Run:
    """Takes the streams through their phases: one by one, or all together where they share a normalisation."""

    def __init__(self, settings: Settings, places: Places) -> None:
        self.settings = settings
        self.options = options = places.options
        self.places = places
        self.progress: Progress = lambda name: None
        self.rule = NormRule.of(settings)
        self.jobs = options.jobs or default_jobs()
        self._threads = self._side_by_side = Threads(self.jobs, places.interrupt)
        self._engine: Engine[Worker] | None = None
        self.clock = Stopwatch()
        self.rows_per_block = rows_per_block(options.memory_bytes)
        self.outputs = Outputs(
            settings,
            places,
            jobs=self.jobs,
            rows_per_block=self.rows_per_block,
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
        self.device = choose_device(self.options.device, _guess_of_steps(plans))
        self.context = self._context()
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

    @property
    def _spans_streams(self) -> bool:
        return self.settings.normalize == "all" or self.settings.grouped_by is not None

    def interrupt(self) -> None:
        self._threads.interrupt()

    def close(self) -> None:
        """Whatever was begun and not committed disappears."""
        if self._engine is not None:
            self._engine.close()
        self._threads.close()  # waits for the blocks in hand: nothing is begun after this
        self.state = self.state or self.outputs.state
        self.outputs.close()

    def _apart(self, jobs: Sequence[_Job]) -> Iterator[Outcome]:
        """Each stream from beginning to end, several at a time."""

        def whole(group: _Group) -> list[Outcome]:
            return self._last_step(group, self._whole)

        return chain.from_iterable(self._each(whole, _groups(jobs)))

    def _together(self, jobs: Sequence[_Job]) -> Iterator[Outcome]:
        """All streams are looked at before the first is written: they share their normalisation."""
        outcomes: dict[int, Outcome] = {}
        streams: dict[int, SummarisedStream] = {}
        constants: Mapping[Hashable, NormConstants] = {}

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
        inputs = _inputs_of(list(opened.values()))
        if not self.options.gallery:  # whose pictures need all rows
            carry_on(lambda job: self._up_to_date(opened[job.number], inputs), good)
        if any(job.number not in outcomes for job in good):
            for job in good:  # each of them is needed for the constants that they share
                outcomes.pop(job.number, None)

            def look(job: _Job) -> dict[Hashable, Moments]:
                stream = streams[job.number] = self._summarised(opened[job.number])
                return stream.measure(self.context)

            looks = carry_on(look, good)
            ready = [job for job, _ in looks]
            total: dict[Hashable, Moments] = {}
            for _, moments in looks:
                merge_moments(total, moments)
            constants = self._constants(total)
            inputs = _inputs_of([opened[job.number] for job in ready])
            # A run that was killed, or that met the same bad file, has written some of them already.
            carry_on(lambda job: self._left_alone(streams[job.number], constants, inputs), ready)

        def finish(job: _Job) -> Outcome | _Ready:
            done = outcomes.pop(job.number, None)
            if done is not None:
                return done
            return self._applied(streams.pop(job.number), constants, inputs)

        def last_step(group: _Group) -> list[Outcome]:
            return self._last_step(group, finish)

        opened.clear()
        yield from chain.from_iterable(self._each(last_step, _groups(jobs)))

    def _context(self) -> RunContext:
        """Streams side by side, or the blocks of one stream side by side; on an accelerator one after the other."""
        if self.device.name != "cpu":
            self._side_by_side = Threads(1)
        options = self.options
        worker = Worker(
            make_estimator(self.settings, self.device),
            BlockStore(int(options.memory_bytes * _STORE_SHARE)),
            self.clock,
            self._threads.check_stop,
            self.outputs.writers,
        )
        recipe = WorkerRecipe(self.settings, options.device)
        self._engine = make_engine(options.engine, self._side_by_side, worker, recipe)
        return RunContext(self._engine, worker)

    def _each(self, function: Callable[[S], T], jobs: Sequence[S]) -> Iterator[T]:
        """A function over streams, several at a time where the CPU computes; results in their order.

        A single one is worked on here: its blocks need the threads.
        """
        return self._side_by_side.run(function, jobs) if len(jobs) > 1 else map(function, jobs)

    def _map(self, function: Callable[[_Job], T], jobs: Sequence[_Job]) -> dict[int, T]:
        return dict(zip((job.number for job in jobs), self._each(function, jobs), strict=True))

    def _last_step(self, group: _Group, step: Callable[[_Job], Outcome | _Ready]) -> list[Outcome]:
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

    def _concluded(self, group: _Group, ends: Sequence[Outcome | _Ready]) -> list[Outcome]:
        """All of them are committed, or none."""
        bad = next((end for end in ends if isinstance(end, Outcome) and end.is_failure), None)
        if bad is None:
            streams = [job.opened for job in group if job.opened is not None]
            failed = self._guard(group[0], partial(self.outputs.commit, streams))
            if failed is None:
                return [end if isinstance(end, Outcome) else self._done(end) for end in ends]
            bad = failed
            ends = [failed, *ends[1:]]
        for job in group:
            self.outputs.discard(job.number)
        return [
            end if isinstance(end, Outcome) else Outcome.not_written(job.plan, bad)
            for job, end in zip(group, ends, strict=True)
        ]

    def _done(self, ready: _Ready) -> Outcome:
        outcome = Outcome.done(
            ready.stream, self.outputs.targets, ready.outputs, ready.book, dry_run=self.options.dry_run
        )
        constants = outcome.constants.values()
        outcome.warnings.extend(
            findings(ready.stream.plan, outcome.totals, constants, self.settings, self.device)
        )
        data_set = ready.stream.plan.data_set
        if data_set is not None and ready.stream.opened.number in self.outputs.behind_caches:
            outcome.warnings.append(behind_cache(str(data_set.root)))
        return outcome

    def _whole(self, job: _Job) -> Outcome | _Ready:
        opened = self._open(job)
        inputs = _inputs_of([opened]) if len(opened.files) > 1 else ""
        done = self._up_to_date(opened, inputs)
        if done is not None and not self.options.gallery:
            return done
        if done is None:
            self._begin_early(opened)
        stream = self._summarised(opened)
        constants: Mapping[Hashable, NormConstants] = {}
        if self.settings.normalizes and self.settings.normalize != "file":
            constants = self._constants(stream.measure(self.context))
        if done is not None:
            return self._drawn(done, stream, constants)
        return self._applied(stream, constants, inputs)

    def _begin_early(self, opened: OpenStream) -> None:
        if self._engine is not None and self._engine.is_here:
            self.outputs.begin_early(opened, self.context.worker)

    def _open(self, job: _Job) -> OpenStream:
        with self.clock("read"):
            self.places.inputs.attach(job.plan.paths)
            opened = open_stream(
                job.plan,
                self.settings,
                self.options.memory_bytes,
                number=job.number,
                block_rows=self.rows_per_block,
            )
            job.opened = opened
            opened.warnings.extend(stored_settings(opened))
            if not self.options.sidecar:
                opened.warnings.extend(names_alike(opened))
            return opened

    def _up_to_date(self, opened: OpenStream, inputs: str) -> Outcome | None:
        """The outcome of the earlier run, if all files of the stream hold just what this run would write."""
        targets = self.outputs.targets
        entries = earlier_entries(opened, targets, self.places, self.settings, inputs)
        if entries is None:
            return None
        self.outputs.found(opened, entries)
        outcome = Outcome.up_to_date(opened, targets, entries)
        constants = outcome.constants.values()
        outcome.warnings.extend(findings(opened.plan, outcome.totals, constants, self.settings, self.device))
        return outcome

    def _left_alone(
        self, stream: SummarisedStream, constants: Mapping[Hashable, NormConstants], inputs: str
    ) -> Outcome | None:
        """`_up_to_date` of a stream that was looked at, with what pictures are drawn from."""
        done = self._up_to_date(stream.opened, inputs)
        return self._drawn(done, stream, constants) if done is not None and self.options.gallery else done

    def _drawn(
        self, done: Outcome, stream: SummarisedStream, constants: Mapping[Hashable, NormConstants]
    ) -> Outcome:
        """What is up to date, with the numbers that pictures are drawn from: computed, and not written."""
        done.totals, book = Totals(), SketchBook()
        for index in range(len(stream.files)):
            of_file = self._constants_of_file(stream, index) or constants
            source = WrittenFrom(stream.opened.source(index), stream.carries_of(index), of_file)
            ((written,),) = self.context.engine.run([WriteFile([source], self.rule, book=book)])
            done.totals.merge(written.totals[0])
            book = written.book or book
        done.sketches = book
        return done

    def _summarised(self, opened: OpenStream) -> SummarisedStream:
        with self.clock("read"):
            for one in opened.files:
                self.places.inputs.fill(one.file.path, one.columns)
        return summarised(opened, self.context)

    def _applied(
        self, stream: SummarisedStream, constants: Mapping[Hashable, NormConstants], inputs: str
    ) -> _Ready:
        """The new files, complete."""
        outputs = self.outputs.of(stream.opened)
        book = SketchBook() if self.options.gallery else None

        words = kept_words(stream.warnings, stream.edges, stream.plan.paths)

        def tasks(groups: Iterable[Sequence[Output]]) -> Generator[WriteFile, None, None]:
            for group in groups:
                for output in group:
                    output.constants = self._constants_of_file(stream, output.index) or constants
                yield self.outputs.task(group, stream, self.rule, inputs, words, book)

        groups = by_new_file(outputs)
        # What is drawn of a file goes on with what is drawn of the one before it.
        runs = [groups] if book is None else [[group] for group in groups]
        for together in runs:
            with contextlib.closing(tasks(together)) as begun:
                for group, (written,) in zip(together, self.context.engine.run(begun), strict=True):
                    self.outputs.complete(group, written)
                    book = written.book
        return _Ready(stream, outputs, book)

    def _constants_of_file(
        self, stream: SummarisedStream, index: int
    ) -> dict[Hashable, NormConstants] | None:
        if self.settings.normalize != "file":
            return None
        return self._constants(stream.measure(self.context, only_file=index))

    def _constants(self, total: Mapping[Hashable, Moments]) -> dict[Hashable, NormConstants]:
        return {key: self.rule.constants(moments) for key, moments in total.items()}

    def _guard(self, job: _Job, step: Callable[[], T]) -> T | Outcome:
        """Turn what goes wrong with one stream into its outcome."""
        try:
            return step()
        except Exception as error:
            # No name for it here that outlives this clause: its frames have files open, and this is one of them.
            changed = self._changed_meanwhile(job)
            if changed is None and not isinstance(error, GaeError | OSError | MemoryError):
                raise
            outcome = Outcome.failed(job.plan, changed or self._told(job.plan, error))
        self.outputs.discard(job.number)
        self.context.worker.forget(job.number)
        return outcome

    def _told(self, plan: StreamPlan, error: Exception) -> GaeError:
        if isinstance(error, GaeError):
            return error
        path = plan.paths[0]
        if isinstance(error, OSError):
            return explain(error, self.outputs.targets[path].path)
        return not_in_memory(path)

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


def _inputs_of(streams: Sequence[OpenStream]) -> str:
    """Fingerprint of all files that the numbers depend on."""
    return combined_fingerprint([payload_of(opened.file) for stream in streams for opened in stream.files])


def _guess_of_steps(plans: Sequence[StreamPlan]) -> int:
    """About how many steps, by the size of the files: to open all of them only for this would cost more."""
    total = 0
    for plan in plans:
        for path in plan.paths:
            with contextlib.suppress(OSError):
                total += path.stat().st_size
    return min(total // 9, BREAK_EVEN_STEPS * 4)  # a reward, a value and a flag take 9 bytes as they are
