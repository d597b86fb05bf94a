"""The whole of `gae compute`: plan, summarise, combine, measure, apply, commit, for every stream."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from gaecli.commands.outcome import Outcome, summarize
from gaecli.commands.stream_steps import Job, ReadyStream, StreamSteps
from gaecli.engine_kinds import ENGINES
from gaecli.engines.base import Engine, EngineOptions
from gaecli.engines.registry import make_engine
from gaecli.engines.threads import Threads, default_jobs
from gaecli.errors import FileError, GaeError, UsageError
from gaecli.estimators.registry import make_estimator
from gaecli.estimators.stages import stages_of
from gaecli.kernels.devices import BREAK_EVEN_STEPS, choose_device, device_elsewhere
from gaecli.kernels.torch_import import one_thread_per_operation, start_torch_import
from gaecli.pipeline.blocks import BlockStore
from gaecli.pipeline.clock import Stopwatch
from gaecli.pipeline.memory import rows_per_block
from gaecli.pipeline.opening import OpenStream
from gaecli.pipeline.reading_errors import not_done
from gaecli.pipeline.stream import RunContext
from gaecli.pipeline.worker import Worker, WorkerRecipe
from gaecli.progress import Progress, ToldProgress
from gaecli.settings import RunOptions, Settings
from gaecli.sources.inputs import StreamPlan, describe_streams, plan_streams, size_of, watched
from gaecli.storage.places import Places
from gaecli.summary import Summary
from gaecli.unfinished import leave_word
from gaecli.writing.outputs import Outputs

if TYPE_CHECKING:
    from gaecli.commands.waiting_streams import Shared, WaitingStreams
    from gaecli.engines.forks import Forks

T = TypeVar("T")

#: Share of `--memory` for blocks that are kept between the two looks; the rest is for work and buffers.
_STORE_SHARE = 0.2
#: Streams that go through a cluster side by side, each with a thread of this process that waits for it. This process
#: begins and ends a hundred or two a second: of tasks that take one, no more are under way.
_MOST_WAITING = 256


def compute(
    sources: Sequence[str | Path],
    settings: Settings | None = None,
    options: RunOptions | None = None,
    progress: Progress | None = None,
    *,
    may_fork: bool = False,
) -> Summary:
    """Compute advantages and returns for every source, and write them; `progress` is told of the rows gone over.

    `may_fork`: this process is nobody else's, and thousands of small files may go to forks of it.
    Files that fail are reported in the summary; the others are done all the same. Raises `GaeError`
    only for what concerns the run as a whole.
    """
    with Places(options or RunOptions()) as places:
        run = _Run(settings or Settings(), places, progress, may_fork=may_fork)
        try:
            summary = run.go(places.inputs.sources(sources))
        except KeyboardInterrupt:
            run.interrupt()
            run.close()
            leave_word(run.state)
            raise
        finally:
            run.close()
        places.results.deliver()
        return places.shown_in(summary)


_MANY_STEPS = BREAK_EVEN_STEPS * 4

#: So many files take longer than the start of forks, and so few bytes of each are no work for several threads.
_LEAST_FORKED = 100
_SMALL_BYTES = 256 << 10
#: While one of them waits for the disk, the other one works.
_THREADS_OF_PROCESS = 2

_Group = Sequence[Job]


class _ForkReport(NamedTuple):
    """What a fork has to tell beside its results."""

    #: By phase, as of the clock.
    seconds: Mapping[str, float]
    #: As of `Outputs.done`, in the last one.
    done: Mapping[int, int]
    #: As of `ToldProgress`.
    progress: Sequence[tuple[str, tuple[Any, ...]]]


class _Run:
    """Takes the streams through their phases: one by one, or all together where they share a normalisation."""

    def __init__(
        self, settings: Settings, places: Places, progress: Progress | None, *, may_fork: bool
    ) -> None:
        self.settings = settings
        self.options = options = places.options
        self.places = places
        self.progress = progress
        self.jobs = options.jobs or default_jobs()
        self._may_fork = may_fork
        self._forks: Forks | None = None
        self._store_bytes = int(options.memory_bytes * _STORE_SHARE)
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
        if options.device not in ("auto", "cpu"):
            start_torch_import()

    def go(self, sources: Sequence[str | Path]) -> Summary:
        plans = plan_streams(sources, self.settings.join)
        self.places.results.check([path for plan in plans for path in plan.paths])
        self.outputs.plan(plans)
        if ENGINES[self.options.engine].is_here:
            self.device = choose_device(self.options.device, _guess_of_steps(plans))
        else:
            self._check_seen_elsewhere()
            self.device = device_elsewhere(self.options.device)
        if self._may_fork and not self.device.uses_torch and _are_for_forks(plans, self.places, self.jobs):
            self._forks = self._forked(plans)
        self._begin(plans)
        with one_thread_per_operation() if self.device.uses_torch else contextlib.nullcontext():
            summary = summarize(
                self._together() if self._is_together else self._apart(),
                settings=self.settings,
                device=self.device,
                streams=describe_streams(plans),
                clock=self.clock,
                started=self.started,
            )
        if not any(file.lacks_room for file in summary.files):
            return summary
        from gaecli.commands.lacking_room import told_once

        return told_once(summary, self.outputs.targets)

    def _begin(self, plans: Sequence[StreamPlan]) -> None:
        """Of this process: what streams are worked on with."""
        self._is_together = self._spans_streams and len(plans) > 1
        in_step = self._is_together or len(plans) == 1
        plans = watched(plans, self.progress, "computing", is_in_step=in_step)
        self._jobs = [Job(number, plan) for number, plan in enumerate(plans)]
        self.context = self._context()
        self.steps = StreamSteps(
            self.settings, self.places, self.outputs, self.context, self.device, num_streams=len(plans)
        )
        if self._is_together:
            from gaecli.commands.waiting_streams import WaitingStreams

            self._waiting = WaitingStreams(self.steps, self._open, self.guard)

    def _forked(self, plans: Sequence[StreamPlan]) -> Forks | None:
        from gaecli.engines.forks import BATCH, Forks

        count = min(self.jobs, -(-len(plans) // BATCH))  # for more of them there is nothing to do
        with contextlib.suppress(OSError):  # where there can be no more processes, threads do it
            forks = Forks(count - 1, partial(self._as_fork, plans, count), self, self._take_report)
            self._share(count)
            return forks
        return None

    def _as_fork(self, plans: Sequence[StreamPlan], num_processes: int) -> _Run:
        self.progress = None if self.progress is None else ToldProgress()
        self._share(num_processes)
        self._begin(plans)
        return self

    def _share(self, num_processes: int) -> None:
        """This process is one of several, and has its part of what they may take."""
        self._store_bytes //= num_processes
        self._threads = self._side_by_side = Threads(_THREADS_OF_PROCESS, self.places.interrupt)
        self.outputs.check_stop = self._threads.check_stop

    def carry_out(self, step: Callable[[_Run, _Group], T], numbers: Iterable[int]) -> Iterator[T]:
        """As one of several processes."""
        return self._side_by_side.run(partial(step, self), ([self._jobs[number]] for number in numbers))

    def report(self, *, is_last: bool) -> _ForkReport:
        told = self.progress.taken() if isinstance(self.progress, ToldProgress) else []
        return _ForkReport(self.clock.taken(), self.outputs.done if is_last else {}, told)

    def _take_report(self, report: _ForkReport) -> None:
        for phase, seconds in report.seconds.items():
            self.clock.add(phase, seconds)
        self.outputs.know_done(report.done)
        if self.progress is not None:
            for name, told in report.progress:
                getattr(self.progress, name)(*told)

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

    def interrupt(self) -> None:
        self._threads.interrupt()
        if self._forks is not None:
            self._forks.interrupt()

    def close(self) -> None:
        """Whatever was begun and not committed disappears."""
        if self._forks is not None:
            self._forks.close()
        self._side_by_side.close()
        self._threads.close()  # waits for the blocks in hand: nothing is begun after this
        if self._engine is not None:
            self._engine.close()
        self.state = self.state or self.outputs.state
        self.outputs.close(is_worker_lost=self._forks is not None and self._forks.is_one_lost)

    def _apart(self) -> Iterator[Outcome]:
        """Each stream from beginning to end, several at a time."""
        return chain.from_iterable(self._spread(_Run._whole, _groups(self._jobs)))

    def _whole(self, group: _Group) -> list[Outcome]:
        return self._last_step(group, lambda job: self.steps.rest(self._open(job)))

    def _together(self) -> Iterator[Outcome]:
        """All streams are looked at before the first is written: they share constants."""
        from gaecli.commands.together import Together

        streams = Together(self, self._jobs)
        streams.look()
        finish = partial(_Run._finished, shared=streams.shared)
        yield from chain.from_iterable(self._spread(finish, _groups(self._jobs)))

    def _finished(self, group: _Group, shared: Shared) -> list[Outcome]:
        return self._last_step(group, lambda job: self._waiting.finish(job, shared))

    def each_waiting(
        self, step: Callable[[WaitingStreams, Job], T], jobs: Sequence[Job]
    ) -> Iterator[T | Outcome]:
        return self._spread(partial(_Run._of_one, step=step), [[job] for job in jobs])

    def _of_one(self, group: _Group, step: Callable[[WaitingStreams, Job], T]) -> T | Outcome:
        return self._waiting.take(step, group[0])

    def _context(self) -> RunContext:
        """Streams side by side, or the blocks of one stream side by side."""
        options = self.options
        store_bytes = self._store_bytes
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

    def _open(self, job: Job) -> OpenStream:
        job.opened = self.steps.open(job.number, job.plan)
        return job.opened

    def _spread(self, step: Callable[[_Run, _Group], T], groups: Sequence[_Group]) -> Iterator[T]:
        """A step over streams, several at a time where the CPU computes; results in their order.

        A single one is worked on here: its blocks need the threads.
        """
        if self._forks is not None:
            return self._forks.run(step, [group[0].number for group in groups])
        return self._side_by_side.run(partial(step, self), groups)

    def _last_step(self, group: _Group, step: Callable[[Job], Outcome | ReadyStream]) -> list[Outcome]:
        """Streams that are written together: after it they are over, be they done or failed."""
        ends = [self.guard(job, partial(step, job)) for job in group]
        outcomes = self._concluded(group, ends)
        for job in group:
            job.opened = None
            self.context.worker.forget(job.number)
            self.places.inputs.release(job.plan.paths)
            if self.progress is not None:
                self.progress.end(job.plan.paths)
        return outcomes

    def _concluded(self, group: _Group, ends: Sequence[Outcome | ReadyStream]) -> list[Outcome]:
        """All of them are committed, or none."""
        bad = next((end for end in ends if isinstance(end, Outcome) and end.is_failure), None)
        if bad is None:
            streams = [job.opened for job in group if job.opened is not None]
            failed = self.guard(group[0], partial(self.outputs.commit, streams))
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

    def guard(self, job: Job, step: Callable[[], T]) -> T | Outcome:
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
        if outcome.files[0].lacks_room:
            self.outputs.know_full(job.plan.paths[0])
        self.outputs.discard(job.number)
        self.context.worker.forget(job.number)
        return outcome

    def _changed_meanwhile(self, job: Job) -> GaeError | None:
        """A file that somebody writes to while it is read looks damaged, or impossible, in ways that mislead."""
        if job.opened is None or self.outputs.is_committing(job.number):
            return None  # there is nothing to compare with, or it was us
        try:
            for path, identity in zip(job.plan.paths, job.opened.identities, strict=True):
                self.places.inputs.check_unchanged(path, identity)
        except (FileError, OSError) as error:
            return error if isinstance(error, FileError) else None
        return None


def _groups(jobs: Sequence[Job]) -> list[_Group]:
    """Those that are written all or none, in the order of the first ones."""
    groups: dict[Hashable, list[Job]] = {}
    for job in jobs:
        data_set = job.plan.data_set
        is_whole = data_set is not None and not job.plan.is_part
        key = (data_set.root, job.plan.together) if data_set is not None and is_whole else job.number
        groups.setdefault(key, []).append(job)
    return list(groups.values())


def _are_for_forks(plans: Sequence[StreamPlan], places: Places, jobs: int) -> bool:
    """Whether there is so much Python to do, and so little else, that processes are worth their start.

    Only of files that have nothing to do with each other: nobody else changes what is told of a data set meanwhile.
    """
    if jobs == 1 or len(plans) < _LEAST_FORKED or places.stage.path is not None:
        return False
    if any(len(plan.paths) > 1 or plan.data_set is not None or plan.opened for plan in plans):
        return False
    from gaecli.engines.forks import can_fork

    return sum(size_of(plan.paths[0]) for plan in plans) <= _SMALL_BYTES * len(plans) and can_fork()


def _guess_of_steps(plans: Sequence[StreamPlan]) -> int:
    """About how many steps, by the size of the files: to open all of them only for this would cost more."""
    total = 0
    for plan in plans:
        for path in plan.paths:
            with contextlib.suppress(OSError):
                total += path.stat().st_size
            if total // 9 >= _MANY_STEPS:
                break
    return min(total // 9, _MANY_STEPS)  # a reward, a value and a flag take 9 bytes as they are
