"""The whole of `gae compute`: plan, summarise, combine, measure, apply, commit, for every stream."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from gaecli.errors import FileError, GaeError, UsageError
from gaecli.estimators.normalization import Constants, Rule
from gaecli.estimators.variants import make_estimator
from gaecli.formats.base import FileWriter, RolloutFile, SidecarWriter, WritePlan
from gaecli.kernels.devices import (
    BREAK_EVEN_STEPS,
    choose_device,
    one_thread_per_operation,
    start_torch_import,
)
from gaecli.moments import Moments
from gaecli.pipeline.apply import Report
from gaecli.pipeline.blocks import BlockStore
from gaecli.pipeline.clock import Stopwatch
from gaecli.pipeline.commit import NewFile, check_writable, explain, open_files_limit, sweep
from gaecli.pipeline.findings import findings, stored_settings
from gaecli.pipeline.gallery import SketchBook
from gaecli.pipeline.inputs import StreamPlan, describe_streams, plan_streams
from gaecli.pipeline.local import LocalEngine, default_jobs, run_in_order
from gaecli.pipeline.outcome import Outcome, summarize
from gaecli.pipeline.pen import OUTPUT_DTYPE
from gaecli.pipeline.places import NewThing, Places
from gaecli.pipeline.provenance import combined_fingerprint, is_up_to_date, make_provenance, own_columns
from gaecli.pipeline.roots import (
    DEFAULT_TAG,
    check_companions,
    close_data_set,
    copy_companions,
    copy_marks,
    other_root,
    sidecar_keys,
)
from gaecli.pipeline.stream import OpenFile, Stream, Workshop, check_memory, summarise_in_order
from gaecli.pipeline.targets import Target, check_output_names, plan_targets, replaced_columns
from gaecli.settings import RunOptions, Settings
from gaecli.summary import BootstrapCounts, EpisodeCounts, Summary

T = TypeVar("T")

#: Called with the name of every file that is done.
Progress = Callable[[str], None]
#: Called with the number of files once it is known; what it returns is told of each.
Begin = Callable[[int], Progress]

#: Share of `--memory` for blocks that are kept between the two looks; the rest is for work and buffers.
_STORE_SHARE = 0.3
_MIN_ROWS_PER_BLOCK = 1 << 12
_MAX_ROWS_PER_BLOCK = 1 << 20
#: From this size on a copy is begun before the first look, so that the disk works meanwhile.
_EARLY_COPY_BYTES = 8 << 20
_EARLY_COPY_FILES = 4


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
        finally:
            run.close()
        places.deliver()
        return places.shown_in(summary)


def rows_per_block(memory_bytes: int) -> int:
    """A block's rows depend on the memory limit alone, so that results do not depend on `--jobs`."""
    return int(np.clip(memory_bytes >> 10, _MIN_ROWS_PER_BLOCK, _MAX_ROWS_PER_BLOCK))


@dataclass(eq=False)
class _Pending:
    """A file of a stream between its first and its last byte."""

    opened: OpenFile
    target: Target
    own: list[str]
    foreign: list[str]
    #: Columns that identify a row, for a sidecar.
    keys: Sequence[str] = ()
    new_file: NewThing | None = None
    writer: FileWriter | None = None
    #: The file before this one, whose sidecar goes on with this one; and whether one more goes on with it.
    continues: _Pending | None = None
    is_continued: bool = False
    is_committed: bool = False

    report: Report = field(default_factory=Report)
    constants: Mapping[Hashable, Constants] = field(default_factory=dict)

    def counts(self) -> tuple[EpisodeCounts, BootstrapCounts]:
        """Of all files whose rows go where those of this one go."""
        counts, bootstrapped = EpisodeCounts(), BootstrapCounts()
        one: _Pending | None = self
        while one is not None:
            counts, bootstrapped = counts + one.report.counts, bootstrapped + one.report.bootstrapped
            one = one.continues
        return counts, bootstrapped


class _Run:
    def __init__(self, settings: Settings, places: Places) -> None:
        self.settings = settings
        self.options = options = places.options
        self.places = places
        self.progress: Progress = lambda name: None
        self.rule = Rule(settings.norm_ddof, settings.norm_eps, settings.norm_floor)
        self.jobs = options.jobs or default_jobs()
        self.clock = Stopwatch()
        self.store = BlockStore(int(options.memory_bytes * _STORE_SHARE))
        self.rows_per_block = rows_per_block(options.memory_bytes)
        #: What was begun of every stream, by its number, until it is committed or given up.
        self._begun: dict[int, list[_Pending]] = {}
        self._lock = threading.Lock()
        self._engine = LocalEngine(self.jobs)
        self.targets: dict[Path, Target] = {}
        self.started = time.perf_counter()
        if options.device not in ("auto",):
            start_torch_import()

    def go(self, sources: Sequence[str | Path], begin: Begin) -> Summary:
        plans = plan_streams(sources, self.settings.join)
        self.places.check(plans)
        tag = self.settings.advantage_column
        self.targets = plan_targets(plans, self.options, DEFAULT_TAG if tag == "advantage" else tag)
        self._sweep()
        streams = [Stream(number, plan, self.settings) for number, plan in enumerate(plans)]
        if self.options.gallery:
            for stream in streams:
                stream.sketches = SketchBook()
        self.device = choose_device(self.options.device, _guess_of_steps(plans))
        self.num_files = sum(len(plan.paths) for plan in plans)
        self.num_kept_open = open_files_limit(self.num_files) // self.jobs
        self.progress = begin(self.num_files)
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

    def close(self) -> None:
        """Whatever was begun and not committed disappears."""
        self._engine.close()  # waits for the blocks in hand: nothing is begun after this
        for number in list(self._begun):
            self._abandon(number)

    def _check_stop(self) -> None:
        """Threads end with the block in hand when the run is interrupted."""
        if self._engine.interrupted.is_set():
            raise KeyboardInterrupt

    def _abandon(self, number: int) -> None:
        """Give up what was begun of a stream and not committed."""
        with self._lock:
            pending = self._begun.pop(number, [])
        for one in pending:
            if one.is_committed:
                continue
            if one.writer is not None:
                one.writer.abort()
            if one.new_file is not None:
                one.new_file.discard()
        self.store.forget(number)

    def _sweep(self) -> None:
        if not self.options.dry_run:
            for directory in {target.path.resolve().parent for target in self.targets.values()}:
                sweep(directory)

    def _shop(self, *, side_by_side: bool) -> Workshop:
        """Streams side by side, or the blocks of one stream side by side; never both."""
        estimator = make_estimator(self.settings, self.device)
        on_accelerator = self.device.name != "cpu"
        run = run_in_order if side_by_side or on_accelerator else self._engine.run
        return Workshop(estimator, self.store, run, self.clock, threads=1, check_stop=self._check_stop)

    def _apart(self, streams: Sequence[Stream]) -> Iterator[Outcome]:
        """Each stream from beginning to end, several at a time."""
        side_by_side = len(streams) > 1
        shop = self._shop(side_by_side=side_by_side)

        def whole(stream: Stream) -> Outcome:
            outcome = self._guard(stream, lambda: self._whole(stream, shop))
            self._close_stream(stream)
            return outcome

        return self._each(whole, streams)

    def _each(self, function: Callable[[Stream], T], streams: Sequence[Stream]) -> Iterator[T]:
        """A function over streams, several at a time where the CPU computes; results in their order."""
        run = self._engine.run if self.device.name == "cpu" else run_in_order
        return run(function, streams)

    def _map(self, function: Callable[[Stream], T], streams: Sequence[Stream]) -> dict[int, T]:
        return dict(zip((stream.number for stream in streams), self._each(function, streams), strict=True))

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
        inputs = self._inputs_of(good)
        carry_on(lambda stream: self._up_to_date(stream, inputs), good)
        if any(stream.number not in outcomes for stream in good):
            for stream in good:  # each of them is needed for the constants that they share
                outcomes.pop(stream.number, None)
            looks = carry_on(lambda stream: self._look(stream, shop), good)
            ready = [stream for stream, _ in looks]
            total: dict[Hashable, Moments] = {}
            for _, moments in looks:
                _merge(total, moments)
            constants = {key: self.rule.constants(moments) for key, moments in total.items()}
            inputs = self._inputs_of(ready)
            # A run that was killed, or that met the same bad file, has written some of them already.
            carry_on(lambda stream: self._up_to_date(stream, inputs), ready)
            left = [stream for stream in ready if stream.number not in outcomes]

            def finish(stream: Stream) -> Outcome:
                outcome = self._guard(stream, lambda: self._finish(stream, shop, constants, inputs))
                self._close_stream(stream)
                return outcome

            finished = self._each(finish, left)
        for stream in streams:
            yield outcomes[stream.number] if stream.number in outcomes else next(finished)

    def _close_stream(self, stream: Stream) -> None:
        stream.close()
        self.places.release(stream.plan.paths)
        for path in stream.plan.paths:
            self.progress(self.places.shown(str(path)))

    def _guard(self, stream: Stream, step: Callable[[], T]) -> T | Outcome:
        """Turn what goes wrong with one stream into its outcome."""
        try:
            return step()
        except GaeError as error:
            failure = error
        except OSError as error:
            failure = explain(error, self.targets[stream.plan.paths[0]].path)
        except MemoryError:
            failure = FileError(
                f"`{stream.plan.paths[0]}` does not fit into memory", hint="pass a smaller `--memory`"
            )
        failure = self._changed_meanwhile(stream) or failure
        self._abandon(stream.number)
        return Outcome.failed(stream, self.targets, failure)

    def _changed_meanwhile(self, stream: Stream) -> GaeError | None:
        """A file that somebody writes to while it is read looks damaged in ways that mislead."""
        if any(one.is_committed for one in self._begun.get(stream.number, [])):
            return None  # it was us
        try:
            for opened in stream.files:
                self.places.check_unchanged(opened.file.path, opened.file.identity)
        except (FileError, OSError) as error:
            return error if isinstance(error, FileError) else None
        return None

    def _whole(self, stream: Stream, shop: Workshop) -> Outcome:
        self._open(stream)
        inputs = self._inputs_of([stream]) if len(stream.files) > 1 else ""
        done = self._up_to_date(stream, inputs)
        if done is not None:
            return done
        pending = self._begin_early(stream)
        self._summarise(stream, shop)
        constants: Mapping[Hashable, Constants] = {}
        if self.settings.normalizes and self.settings.normalize != "file":
            moments = stream.measure(shop)
            constants = {key: self.rule.constants(found) for key, found in moments.items()}
        return self._finish(stream, shop, constants, inputs, pending)

    def _opened(self, stream: Stream) -> bool:
        self._open(stream)
        return True

    def _open(self, stream: Stream) -> None:
        with self.clock("read"):
            self.places.attach(stream.plan.paths)
            stream.open(self.rows_per_block)
            check_memory(stream, self.options.memory_bytes)
            stream.join_blocks(self.options.memory_bytes)
            stream.warnings = stored_settings(stream, self.settings)

    def _look(self, stream: Stream, shop: Workshop) -> dict[Hashable, Moments]:
        self._summarise(stream, shop)
        return stream.measure(shop)

    def _summarise(self, stream: Stream, shop: Workshop) -> None:
        with self.clock("read"):
            for opened in stream.files:
                self.places.fill(opened.file.path, opened.columns)
        summarise_in_order(stream, shop, self.options.memory_bytes)

    def _inputs_of(self, streams: Sequence[Stream]) -> str:
        files = [opened.file for stream in streams for opened in stream.files]
        return combined_fingerprint([_payload(file) for file in files])

    def _source_key(self, file: RolloutFile, target: Target) -> str:
        """What the output depends on of its input. Elsewhere than in the input itself, time tells as well."""
        size, modified_ns, _ = file.identity
        return _payload(file) if target.in_place else f"{_payload(file)}:{size}:{modified_ns}"

    def _up_to_date(self, stream: Stream, inputs: str) -> Outcome | None:
        """The outcome of the earlier run, if all files of the stream hold just what this run would write."""
        from gaecli.formats.registry import open_file

        entries: list[dict[str, Any]] = []
        for opened in stream.files:
            file: RolloutFile = opened.file
            target = self.targets[file.path]
            source = None
            if not target.in_place:
                if self.options.overwrite:
                    return None
                self.places.look_up(target.path)
                if not target.path.exists():
                    return None
                if not self._is_shared(stream, target):
                    source = self._source_key(file, target)
                try:
                    file = open_file(target.path)
                except GaeError:
                    return None
            if file.provenance is None:
                return None
            entry = is_up_to_date(
                file.provenance,
                self.settings,
                payload=_payload(file),
                source=source,
                inputs=inputs,
                names=list(file.columns),
            )
            if entry is None:
                return None
            is_told = self._is_shared(stream, target) and entries
            entries.append({} if is_told else entry)  # one entry tells of all files of a shared sidecar
        self._close_data_set(stream)
        return Outcome.up_to_date(stream, self.targets, entries)

    def _is_shared(self, stream: Stream, target: Target) -> bool:
        """A sidecar of several files: what it was made of is told by all of them together."""
        return sum(self.targets[path] == target for path in stream.plan.paths) > 1

    def _begin_early(self, stream: Stream) -> list[_Pending] | None:
        size = sum(opened.file.identity[0] for opened in stream.files)
        if self.num_files > _EARLY_COPY_FILES or size < _EARLY_COPY_BYTES:
            return None
        pending = self._pending(stream)
        for one in pending:
            self._begin(one)
        return pending

    def _pending(self, stream: Stream) -> list[_Pending]:
        pending = []
        for opened in stream.files:
            target = self.targets[opened.file.path]
            check_output_names(opened.file, opened.layout.roles, self.settings)
            own: list[str] = []
            foreign: list[str] = []
            if not self.options.sidecar:
                own, foreign = replaced_columns(opened.file, self.settings, overwrite=self.options.overwrite)
            self._check_target(target)
            keys = sidecar_keys(stream.plan, opened.file, opened.layout.roles)
            pending.append(_Pending(opened, target, own, foreign, keys))
        for before, one in pairwise(pending):
            if one.target == before.target:
                one.continues, before.is_continued = before, True
        root = self._copied_root(stream)
        if root is not None and not self.options.overwrite:
            check_companions(stream.plan, root, self.places)
        with self._lock:
            self._begun[stream.number] = pending
        return pending

    def _check_target(self, target: Target) -> None:
        """An existing output file is replaced only if gaecli wrote it, or with leave."""
        self.places.look_up(target.path)
        check_writable(target.path)
        if target.in_place or self.options.overwrite or not target.path.exists():
            return
        from gaecli.formats.registry import open_file

        with contextlib.suppress(GaeError):
            if open_file(target.path).provenance is not None:
                return
        raise UsageError(
            f"`{target.path}` exists", hint="pass `--overwrite`, or choose another name with `--output`"
        )

    def _begin(self, one: _Pending) -> None:
        """Start the new file; nothing of it is visible."""
        if self.options.dry_run:
            return
        self._check_stop()
        if one.continues is not None:
            one.writer = one.continues.writer
            if isinstance(one.writer, SidecarWriter):
                one.writer.go_on(one.opened.file, one.opened.units)
            return
        if not one.target.in_place:
            one.target.path.parent.mkdir(parents=True, exist_ok=True)
        one.new_file = self.places.new_file(one.target.path)
        one.new_file.create()  # in this order: an interrupt in between finds what to discard
        if not self.options.sidecar:
            with self.clock("read"):
                self.places.fill(one.opened.file.path)
        plan = WritePlan(
            new_columns=dict.fromkeys(self.settings.output_columns, OUTPUT_DTYPE),
            like_column=one.opened.layout.like_column,
            own_columns=one.own,
            drop_columns=one.foreign,
            kept_own_columns=self._kept_own_columns(one),
        )
        with self.clock("write"):
            one.writer = self._writer(one, one.new_file, plan)

    def _kept_own_columns(self, one: _Pending) -> list[str]:
        earlier = own_columns(one.opened.file.provenance)
        return [name for name in earlier if name not in self.settings.output_columns]

    def _writer(self, one: _Pending, new_file: NewThing, plan: WritePlan) -> FileWriter:
        if self.options.sidecar:
            from gaecli.formats.sidecar import SidecarOutput

            file, units = one.opened.file, one.opened.units
            return SidecarOutput(file, one.keys, units, self.rows_per_block, new_file.temporary, plan)
        return one.opened.file.writer(new_file.temporary, plan)

    def _copied_root(self, stream: Stream) -> Path | None:
        """Where a copy of the whole data set is made, if one is."""
        return None if self.options.sidecar else other_root(stream.plan, self.options.output)

    def _close_data_set(self, stream: Stream) -> None:
        """Tell the data set of its columns, once all of them are there."""
        root = self._copied_root(stream)
        in_place = all(self.targets[path].in_place for path in stream.plan.paths)
        if (root is not None or in_place) and not self.options.dry_run:
            close_data_set(stream.plan, root, self.settings.output_columns, self.places)

    def _finish(
        self,
        stream: Stream,
        shop: Workshop,
        constants: Mapping[Hashable, Constants],
        inputs: str,
        pending: list[_Pending] | None = None,
    ) -> Outcome:
        if pending is None:
            pending = self._pending(stream)
        for index, one in enumerate(pending):
            if one.writer is None:
                self._begin(one)
            one.constants = self._constants_of_file(stream, index, shop) or constants
            one.report = stream.apply(index, one.writer, shop, one.constants, self.rule)
            self._complete(stream, one, inputs)
            if index >= self.num_kept_open and isinstance(one.new_file, NewFile):
                one.new_file.let_go()
        root = None if self.options.dry_run else self._copied_root(stream)
        if root is not None:
            copy_companions(stream.plan, root, self.places)
        self._commit(pending)
        if root is not None:
            copy_marks(stream.plan, root, self.places)
        self._close_data_set(stream)
        with self._lock:
            del self._begun[stream.number]
        outcome = Outcome.done(stream, self.targets, pending, dry_run=self.options.dry_run)
        outcome.warnings.extend(findings(stream, outcome, self.settings, self.device))
        return outcome

    def _constants_of_file(
        self, stream: Stream, index: int, shop: Workshop
    ) -> dict[Hashable, Constants] | None:
        if self.settings.normalize != "file":
            return None
        return {
            key: self.rule.constants(found) for key, found in stream.measure(shop, only_file=index).items()
        }

    def _complete(self, stream: Stream, one: _Pending, inputs: str) -> None:
        if one.writer is None or one.is_continued:
            return
        file = one.opened.file
        earlier = file.provenance if one.target.in_place or not self.options.sidecar else None
        counts, bootstrapped = one.counts()
        provenance = make_provenance(
            self.settings,
            layout=one.opened.layout.name,
            roles=one.opened.layout.roles.names,
            source=self._source_key(file, one.target),
            inputs=inputs,
            counts=counts,
            bootstrapped=bootstrapped,
            constants=one.constants,
            earlier=earlier,
        )
        with self.clock("write"):
            one.writer.finish(provenance)

    def _commit(self, pending: Sequence[_Pending]) -> None:
        """All files of a stream, one right after the other, once all of them are complete."""
        with self.clock("write"):
            for one in pending:
                if one.new_file is not None:
                    one.new_file.seal()
            for one in pending:
                self.places.check_unchanged(one.opened.file.path, one.opened.file.identity)
            # Backwards: the first ones hold the locks that keep the others from being swept.
            for one in reversed(pending):
                if one.new_file is not None:
                    one.new_file.commit()
                    one.is_committed = True


def _payload(file: RolloutFile) -> str:
    """Fingerprint of all that is in a file but what gaecli put there."""
    return file.fingerprint(own_columns(file.provenance))


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
