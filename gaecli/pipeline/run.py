"""The whole of `gae compute`: plan, summarise, combine, measure, apply, commit, for every stream."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from gaecli.errors import FileError, GaeError
from gaecli.estimators.normalization import Constants, Rule
from gaecli.estimators.variants import make_estimator
from gaecli.kernels.devices import (
    BREAK_EVEN_STEPS,
    choose_device,
    one_thread_per_operation,
    start_torch_import,
)
from gaecli.moments import Moments
from gaecli.pipeline.blocks import BlockStore
from gaecli.pipeline.clock import Stopwatch
from gaecli.pipeline.commit import explain
from gaecli.pipeline.findings import findings, names_alike, stored_settings, unused_columns
from gaecli.pipeline.gallery import SketchBook
from gaecli.pipeline.inputs import StreamPlan, describe_streams, plan_streams
from gaecli.pipeline.local import LocalEngine, default_jobs, run_in_order
from gaecli.pipeline.memory import check_memory, rows_per_block
from gaecli.pipeline.outcome import Outcome, summarize
from gaecli.pipeline.outputs import Outputs
from gaecli.pipeline.places import Places
from gaecli.pipeline.provenance import combined_fingerprint, payload_of
from gaecli.pipeline.rerun import earlier_entries
from gaecli.pipeline.stream import Stream, Workshop, summarise_in_order
from gaecli.settings import RunOptions, Settings
from gaecli.summary import Summary

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
            summary = run.go(places.sources(sources), begin or (lambda total: lambda name: None))
        except KeyboardInterrupt:
            run.interrupt()
            raise
        finally:
            run.close()
        places.deliver()
        return places.shown_in(summary)


class _Run:
    """Takes the streams through their phases: one by one, or all together where they share a normalisation."""

    def __init__(self, settings: Settings, places: Places) -> None:
        self.settings = settings
        self.options = options = places.options
        self.places = places
        self.progress: Progress = lambda name: None
        self.rule = Rule(settings.norm_ddof, settings.norm_eps, settings.norm_floor)
        self.jobs = options.jobs or default_jobs()
        self._engine = LocalEngine(self.jobs, places.interrupt)
        self.clock = Stopwatch()
        self.store = BlockStore(int(options.memory_bytes * _STORE_SHARE))
        self.rows_per_block = rows_per_block(options.memory_bytes)
        self.outputs = Outputs(
            settings,
            places,
            jobs=self.jobs,
            rows_per_block=self.rows_per_block,
            clock=self.clock,
            check_stop=self._engine.check_stop,
        )
        self.started = time.perf_counter()
        if options.device not in ("auto",):
            start_torch_import()

    def go(self, sources: Sequence[str | Path], begin: Begin) -> Summary:
        plans = plan_streams(sources, self.settings.join)
        self.places.check(plans)
        self.outputs.plan(plans)
        streams = [Stream(number, plan, self.settings) for number, plan in enumerate(plans)]
        if self.options.gallery:
            for stream in streams:
                stream.sketches = SketchBook()
        self.device = choose_device(self.options.device, _guess_of_steps(plans))
        self.progress = begin(sum(len(plan.paths) for plan in plans))
        is_together = self._spans_streams and len(streams) > 1
        with one_thread_per_operation() if self.device.uses_torch else contextlib.nullcontext():
            return summarize(
                self._together(streams) if is_together else self._apart(streams),
                settings=self.settings,
                device=self.device,
                streams=describe_streams(plans),
                clock=self.clock,
                started=self.started,
            )

    @property
    def _spans_streams(self) -> bool:
        return self.settings.normalize == "all" or self.settings.normalize_by is not None

    def interrupt(self) -> None:
        self._engine.interrupt()

    def close(self) -> None:
        """Whatever was begun and not committed disappears."""
        self._engine.close()  # waits for the blocks in hand: nothing is begun after this
        self.outputs.close()

    def _apart(self, streams: Sequence[Stream]) -> Iterator[Outcome]:
        """Each stream from beginning to end, several at a time."""
        shop = self._shop(side_by_side=len(streams) > 1)

        def whole(stream: Stream) -> Outcome:
            return self._last_step(stream, lambda: self._whole(stream, shop))

        return self._each(whole, streams)

    def _together(self, streams: Sequence[Stream]) -> Iterator[Outcome]:
        """All streams are looked at before the first is written: they share their normalisation."""
        shop = self._shop(side_by_side=True)
        outcomes: dict[int, Outcome] = {}
        finished: Iterator[Outcome] = iter(())

        def carry_on(
            step: Callable[[Stream], T | Outcome | None], among: Sequence[Stream]
        ) -> list[tuple[Stream, T]]:
            """Those for which the step gives what it is for; the others have their outcome."""
            found = self._map(lambda stream: self._guard(stream, lambda: step(stream)), among)
            outcomes.update({number: end for number, end in found.items() if isinstance(end, Outcome)})
            return [
                (stream, result)
                for stream in among
                if not isinstance(result := found[stream.number], Outcome) and result is not None
            ]

        good = [stream for stream, _ in carry_on(self._opened, streams)]
        inputs = _inputs_of(good)
        carry_on(lambda stream: self._up_to_date(stream, inputs), good)
        if any(stream.number not in outcomes for stream in good):
            for stream in good:  # each of them is needed for the constants that they share
                outcomes.pop(stream.number, None)
            looks = carry_on(lambda stream: self._look(stream, shop), good)
            ready = [stream for stream, _ in looks]
            total: dict[Hashable, Moments] = {}
            for _, moments in looks:
                _merge(total, moments)
            constants = self._constants(total)
            inputs = _inputs_of(ready)
            # A run that was killed, or that met the same bad file, has written some of them already.
            carry_on(lambda stream: self._up_to_date(stream, inputs), ready)
            left = [stream for stream in ready if stream.number not in outcomes]

            def finish(stream: Stream) -> Outcome:
                return self._last_step(stream, lambda: self._finish(stream, shop, constants, inputs))

            finished = self._each(finish, left)
        for stream in streams:
            yield outcomes[stream.number] if stream.number in outcomes else next(finished)

    def _shop(self, *, side_by_side: bool) -> Workshop:
        """Streams side by side, or the blocks of one stream side by side; never both."""
        estimator = make_estimator(self.settings, self.device)
        on_accelerator = self.device.name != "cpu"
        run = run_in_order if side_by_side or on_accelerator else self._engine.run
        return Workshop(estimator, self.store, run, self.clock, threads=1, check_stop=self._engine.check_stop)

    def _each(self, function: Callable[[Stream], T], streams: Sequence[Stream]) -> Iterator[T]:
        """A function over streams, several at a time where the CPU computes; results in their order.

        A single one is worked on here: its blocks need the threads.
        """
        run = self._engine.run if self.device.name == "cpu" and len(streams) > 1 else run_in_order
        return run(function, streams)

    def _map(self, function: Callable[[Stream], T], streams: Sequence[Stream]) -> dict[int, T]:
        return dict(zip((stream.number for stream in streams), self._each(function, streams), strict=True))

    def _last_step(self, stream: Stream, step: Callable[[], Outcome]) -> Outcome:
        """After it the stream is over, be it done or failed."""
        outcome = self._guard(stream, step)
        stream.close()
        self.places.release(stream.plan.paths)
        for path in stream.plan.paths:
            self.progress(self.places.shown(str(path)))
        return outcome

    def _whole(self, stream: Stream, shop: Workshop) -> Outcome:
        self._open(stream)
        inputs = _inputs_of([stream]) if len(stream.files) > 1 else ""
        done = self._up_to_date(stream, inputs)
        if done is not None:
            return done
        self.outputs.begin_early(stream)
        self._summarise(stream, shop)
        constants: Mapping[Hashable, Constants] = {}
        if self.settings.normalizes and self.settings.normalize != "file":
            constants = self._constants(stream.measure(shop))
        return self._finish(stream, shop, constants, inputs)

    def _opened(self, stream: Stream) -> bool:
        self._open(stream)
        return True

    def _open(self, stream: Stream) -> None:
        with self.clock("read"):
            self.places.attach(stream.plan.paths)
            stream.open(self.rows_per_block)
            for opened in stream.files:
                check_memory(opened.file, opened.layout, self.settings, self.options.memory_bytes)
            stream.join_blocks(self.options.memory_bytes)
            stream.warnings = [*stored_settings(stream, self.settings), *unused_columns(stream)]
            if not self.options.sidecar:
                stream.warnings += names_alike(stream, self.settings)

    def _up_to_date(self, stream: Stream, inputs: str) -> Outcome | None:
        """The outcome of the earlier run, if all files of the stream hold just what this run would write."""
        targets = self.outputs.targets
        entries = earlier_entries(stream, targets, self.places, self.settings, inputs)
        if entries is None:
            return None
        self.outputs.close_data_set(stream)
        return Outcome.up_to_date(stream, targets, entries)

    def _look(self, stream: Stream, shop: Workshop) -> dict[Hashable, Moments]:
        self._summarise(stream, shop)
        return stream.measure(shop)

    def _summarise(self, stream: Stream, shop: Workshop) -> None:
        with self.clock("read"):
            for opened in stream.files:
                self.places.fill(opened.file.path, opened.columns)
        summarise_in_order(stream, shop, self.options.memory_bytes)

    def _finish(
        self, stream: Stream, shop: Workshop, constants: Mapping[Hashable, Constants], inputs: str
    ) -> Outcome:
        """Apply file by file, and commit all of them at once."""
        outputs = self.outputs.of(stream)
        for output in outputs:
            self.outputs.begin(output)
            output.constants = self._constants_of_file(stream, output.index, shop) or constants
            output.report = stream.apply(output.index, output.writer, shop, output.constants, self.rule)
            self.outputs.complete(output, inputs)
        self.outputs.commit(stream)
        outcome = Outcome.done(stream, self.outputs.targets, outputs, dry_run=self.options.dry_run)
        outcome.warnings.extend(findings(stream, outcome, self.settings, self.device))
        return outcome

    def _constants_of_file(
        self, stream: Stream, index: int, shop: Workshop
    ) -> dict[Hashable, Constants] | None:
        if self.settings.normalize != "file":
            return None
        return self._constants(stream.measure(shop, only_file=index))

    def _constants(self, total: Mapping[Hashable, Moments]) -> dict[Hashable, Constants]:
        return {key: self.rule.constants(moments) for key, moments in total.items()}

    def _guard(self, stream: Stream, step: Callable[[], T]) -> T | Outcome:
        """Turn what goes wrong with one stream into its outcome."""
        try:
            return step()
        except Exception as error:
            # No name for it here that outlives this clause: its frames have files open, and this is one of them.
            changed = self._changed_meanwhile(stream)
            if changed is None and not isinstance(error, GaeError | OSError | MemoryError):
                raise
            outcome = Outcome.failed(stream, changed or self._told(stream, error))
        self.outputs.discard(stream.number)
        self.store.forget(stream.number)
        return outcome

    def _told(self, stream: Stream, error: Exception) -> GaeError:
        if isinstance(error, GaeError):
            return error
        path = stream.plan.paths[0]
        if isinstance(error, OSError):
            return explain(error, self.outputs.targets[path].path)
        return FileError(f"`{path}` does not fit into memory", hint="pass a smaller `--memory`")

    def _changed_meanwhile(self, stream: Stream) -> GaeError | None:
        """A file that somebody writes to while it is read looks damaged, or impossible, in ways that mislead."""
        if self.outputs.is_committing(stream):
            return None  # it was us
        try:
            for opened in stream.files:
                self.places.check_unchanged(opened.file.path, opened.file.identity)
        except (FileError, OSError) as error:
            return error if isinstance(error, FileError) else None
        return None


def _inputs_of(streams: Sequence[Stream]) -> str:
    """Fingerprint of all files that the numbers depend on."""
    return combined_fingerprint([payload_of(opened.file) for stream in streams for opened in stream.files])


def _merge(total: dict[Hashable, Moments], found: Mapping[Hashable, Moments]) -> None:
    for key, moments in found.items():
        total[key] = total.get(key, Moments()).merge(moments)


def _guess_of_steps(plans: Sequence[StreamPlan]) -> int:
    """About how many steps, by the size of the files: to open all of them only for this would cost more."""
    total = 0
    for plan in plans:
        for path in plan.paths:
            with contextlib.suppress(OSError):
                total += path.stat().st_size
    return min(total // 9, BREAK_EVEN_STEPS * 4)  # a reward, a value and a flag take 9 bytes as they are
