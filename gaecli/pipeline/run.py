"""The whole of `gae compute`: plan, summarise, combine, measure, apply, commit, for every stream."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from gaecli.errors import FileError, GaeError, UsageError
from gaecli.estimators.gae import Gae
from gaecli.estimators.normalization import Constants, Rule
from gaecli.formats.base import FileWriter, RolloutFile, WritePlan
from gaecli.kernels.devices import BREAK_EVEN_STEPS, choose_device, start_torch_import
from gaecli.layouts.long import NeedsWholeStream
from gaecli.moments import Moments
from gaecli.pipeline.apply import OUTPUT_DTYPE, Report
from gaecli.pipeline.blocks import BlockStore
from gaecli.pipeline.clock import Stopwatch
from gaecli.pipeline.commit import NewFile, check_unchanged, explain, sweep
from gaecli.pipeline.findings import findings, stored_settings
from gaecli.pipeline.inputs import StreamPlan, describe_streams, plan_streams
from gaecli.pipeline.local import LocalEngine, default_jobs, run_in_order
from gaecli.pipeline.outcome import Outcome, summarize
from gaecli.pipeline.provenance import combined_fingerprint, is_up_to_date, make_provenance, own_columns
from gaecli.pipeline.stream import OpenFile, Stream, Workshop
from gaecli.pipeline.targets import Target, plan_targets, replaced_columns
from gaecli.settings import RunOptions, Settings
from gaecli.summary import Summary

T = TypeVar("T")

#: Called with the name of every file that is done.
Progress = Callable[[str], None]

#: Share of `--memory` for blocks that are kept between the two looks; the rest is for work and buffers.
_STORE_SHARE = 0.4
_MIN_ROWS_PER_BLOCK = 1 << 12
_MAX_ROWS_PER_BLOCK = 1 << 20
#: From this size on a copy is begun before the first look, so that the disk works meanwhile.
_EARLY_COPY_BYTES = 8 << 20
_EARLY_COPY_FILES = 4


def compute(
    sources: Sequence[str | Path],
    settings: Settings | None = None,
    options: RunOptions | None = None,
    progress: Progress | None = None,
) -> Summary:
    """Compute advantages and returns for every source, and write them.

    Files that fail are reported in the summary; the others are done all the same. Raises `GaeError`
    only for what concerns the run as a whole.
    """
    run = _Run(settings or Settings(), options or RunOptions(), progress or (lambda name: None))
    try:
        return run.go(sources)
    finally:
        run.close()


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
    new_file: NewFile | None = None
    writer: FileWriter | None = None
    report: Report = field(default_factory=Report)
    constants: Mapping[Hashable, Constants] = field(default_factory=dict)


class _Run:
    def __init__(self, settings: Settings, options: RunOptions, progress: Progress) -> None:
        self.settings = settings
        self.options = options
        self.progress = progress
        self.rule = Rule(settings.norm_ddof, settings.norm_eps, settings.norm_floor)
        self.jobs = options.jobs or default_jobs()
        self.clock = Stopwatch()
        self.store = BlockStore(int(options.memory_bytes * _STORE_SHARE))
        self.rows_per_block = rows_per_block(options.memory_bytes)
        self._open_files: set[NewFile] = set()
        self._lock = threading.Lock()
        self._engine = LocalEngine(self.jobs)
        self.targets: dict[Path, Target] = {}
        self.started = time.perf_counter()
        if options.device not in ("auto",):
            start_torch_import()

    def go(self, sources: Sequence[str | Path]) -> Summary:
        plans = plan_streams(sources, self.settings.join)
        self.targets = plan_targets(plans, self.options)
        self._sweep()
        streams = [Stream(number, plan, self.settings) for number, plan in enumerate(plans)]
        self.device = choose_device(self.options.device, _guess_of_steps(plans))
        self.num_files = sum(len(plan.paths) for plan in plans)
        outcomes = (
            self._together(streams) if self._spans_streams and len(streams) > 1 else self._apart(streams)
        )
        return summarize(
            outcomes,
            settings=self.settings,
            device=self.device,
            streams=describe_streams(plans),
            clock=self.clock,
            total_seconds=time.perf_counter() - self.started,
        )

    @property
    def _spans_streams(self) -> bool:
        return self.settings.normalize == "all" or self.settings.normalize_by is not None

    def close(self) -> None:
        """Whatever was begun and not committed disappears."""
        self._engine.close()
        for new_file in list(self._open_files):
            new_file.discard()

    def _sweep(self) -> None:
        if not self.options.dry_run:
            for directory in {target.path.parent for target in self.targets.values()}:
                sweep(directory)

    def _shop(self, *, side_by_side: bool) -> Workshop:
        """Streams side by side, or the blocks of one stream side by side; never both."""
        estimator = Gae(self.settings.gamma, self.settings.lam, self.settings.precision, self.device)
        on_accelerator = self.device.name != "cpu"
        run = run_in_order if side_by_side or on_accelerator else self._engine.run
        return Workshop(estimator, self.rows_per_block, self.store, run, self.clock, threads=1)

    def _apart(self, streams: Sequence[Stream]) -> list[Outcome]:
        """Each stream from beginning to end, several at a time."""
        side_by_side = len(streams) > 1
        shop = self._shop(side_by_side=side_by_side)

        def whole(stream: Stream) -> Outcome:
            return self._guard(stream, lambda: self._whole(stream, shop))

        return list(self._map(whole, streams).values())

    def _map(self, function: Callable[[Stream], T], streams: Sequence[Stream]) -> dict[int, T]:
        """A function over streams, several at a time where the CPU computes."""
        run = self._engine.run if self.device.name == "cpu" else run_in_order
        return dict(zip((stream.number for stream in streams), run(function, streams), strict=True))

    def _together(self, streams: Sequence[Stream]) -> list[Outcome]:
        """All streams are looked at before the first is written: they share their normalisation."""
        shop = self._shop(side_by_side=True)
        opened = list(
            self._map(lambda stream: self._guard(stream, lambda: self._open(stream)), streams).values()
        )
        good = [stream for stream, outcome in zip(streams, opened, strict=True) if outcome is None]
        inputs = combined_fingerprint([fp for stream in good for fp in self._fingerprints(stream)])
        done = {stream.number: self._up_to_date(stream, inputs) for stream in good}
        current = {number: outcome for number, outcome in done.items() if outcome is not None}
        if good and len(current) == len(good):
            return [
                outcome or current[stream.number] for stream, outcome in zip(streams, opened, strict=True)
            ]

        def look(stream: Stream) -> Outcome | dict[Hashable, Moments]:
            return self._guard(stream, lambda: self._look(stream, shop))

        looks = self._map(look, good)
        total: dict[Hashable, Moments] = {}
        for found in looks.values():
            if not isinstance(found, Outcome):
                _merge(total, found)
        constants = {key: self.rule.constants(moments) for key, moments in total.items()}

        def finish(stream: Stream) -> Outcome:
            return self._guard(stream, lambda: self._finish(stream, shop, constants, inputs))

        ready = [stream for stream in good if not isinstance(looks[stream.number], Outcome)]
        finished = self._map(finish, ready)
        failed_looks = {number: found for number, found in looks.items() if isinstance(found, Outcome)}
        return [
            outcome or failed_looks.get(stream.number) or finished[stream.number]
            for stream, outcome in zip(streams, opened, strict=True)
        ]

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
        for path in stream.plan.paths:
            self.progress(str(path))
        return Outcome.failed(stream, self.targets, failure)

    def _whole(self, stream: Stream, shop: Workshop) -> Outcome:
        self._open(stream)
        inputs = self._inputs_key(stream)
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

    def _open(self, stream: Stream) -> None:
        with self.clock("read"):
            stream.open(self.rows_per_block)
            stream.warnings = stored_settings(stream, self.settings)

    def _look(self, stream: Stream, shop: Workshop) -> dict[Hashable, Moments]:
        self._summarise(stream, shop)
        return stream.measure(shop)

    def _summarise(self, stream: Stream, shop: Workshop) -> None:
        try:
            stream.summarise(shop)
        except NeedsWholeStream:
            self._take_whole(stream, shop)

    def _take_whole(self, stream: Stream, shop: Workshop) -> None:
        """Rows are out of order: the file is one block, if it fits."""
        if stream.num_rows * 100 > self.options.memory_bytes or len(stream.files) > 1:
            raise UsageError(
                f"rows of `{stream.plan.paths[0]}` are out of order, and sorting them takes more than `--memory`",
                hint="sort the rows by trajectory and step, or raise `--memory`",
            )
        stream.open(stream.num_rows, is_whole=True)
        stream.summarise(replace(shop, rows_per_block=stream.num_rows))

    def _inputs_key(self, stream: Stream) -> str:
        return combined_fingerprint(self._fingerprints(stream)) if len(stream.files) > 1 else ""

    def _fingerprints(self, stream: Stream) -> list[str]:
        return [opened.file.fingerprint(own_columns(opened.file.provenance)) for opened in stream.files]

    def _up_to_date(self, stream: Stream, inputs: str) -> Outcome | None:
        """The outcome of the earlier run, if all files of the stream hold just what this run would write."""
        from gaecli.formats.registry import open_file

        entries = []
        for opened in stream.files:
            file: RolloutFile = opened.file
            target = self.targets[file.path]
            source = None
            if not target.in_place:
                if not target.path.exists() or self.options.overwrite:
                    return None
                source = file.fingerprint(own_columns(file.provenance))
                try:
                    file = open_file(target.path)
                except GaeError:
                    return None
            if file.provenance is None:
                return None
            entry = is_up_to_date(
                file.provenance,
                self.settings,
                payload=file.fingerprint(own_columns(file.provenance)),
                source=source,
                inputs=inputs,
                names=list(file.columns),
            )
            if entry is None:
                return None
            entries.append(entry)
        for opened in stream.files:
            self.progress(str(opened.file.path))
        return Outcome.up_to_date(stream, self.targets, entries)

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
            own, foreign = replaced_columns(opened.file, self.settings, overwrite=self.options.overwrite)
            self._check_target(target)
            pending.append(_Pending(opened, target, own, foreign))
        return pending

    def _check_target(self, target: Target) -> None:
        """An existing output file is replaced only if gaecli wrote it, or with leave."""
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
        if not one.target.in_place:
            one.target.path.parent.mkdir(parents=True, exist_ok=True)
        new_file = NewFile(one.target.path)
        with self._lock:
            self._open_files.add(new_file)
        one.new_file = new_file
        plan = WritePlan(
            new_columns=dict.fromkeys(self.settings.output_columns, OUTPUT_DTYPE),
            like_column=one.opened.layout.like_column,
            own_columns=one.own,
            drop_columns=one.foreign,
        )
        with self.clock("write"):
            one.writer = self._writer(one, new_file, plan)
            new_file.lock()

    def _writer(self, one: _Pending, new_file: NewFile, plan: WritePlan) -> FileWriter:
        if self.options.sidecar:
            from gaecli.formats.sidecar import KEY_ROLES, SidecarOutput

            roles = one.opened.layout.roles
            keys = [name for role in KEY_ROLES if (name := roles.get(role)) is not None]
            file, units = one.opened.file, one.opened.units
            return SidecarOutput(file, keys, units, self.rows_per_block, new_file.temporary, plan)
        return one.opened.file.writer(new_file.temporary, plan)

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
        num_rows = stream.num_rows
        shop = replace(shop, rows_per_block=max(num_rows, 1)) if stream.is_whole else shop
        for index, one in enumerate(pending):
            if one.writer is None:
                self._begin(one)
            one.constants = self._constants_of_file(stream, index, shop) or constants
            one.report = stream.apply(index, one.writer, shop, one.constants, self.rule)
            self._complete(stream, one, inputs)
        self._commit(pending)
        for one in pending:
            self.progress(str(one.opened.file.path))
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
        if one.writer is None:
            return
        file = one.opened.file
        earlier = file.provenance if one.target.in_place or not self.options.sidecar else None
        provenance = make_provenance(
            self.settings,
            layout=one.opened.layout.name,
            roles=one.opened.layout.roles.names,
            source=file.fingerprint(own_columns(file.provenance)),
            inputs=inputs,
            counts=one.report.counts,
            bootstrapped=one.report.bootstrapped,
            constants=one.constants,
            earlier=earlier,
        )
        with self.clock("write"):
            one.writer.finish(provenance)

    def _commit(self, pending: Sequence[_Pending]) -> None:
        """All files of a stream, one right after the other, once all of them are complete."""
        for one in pending:
            check_unchanged(one.opened.file.path, one.opened.file.identity)
        with self.clock("write"):
            for one in pending:
                if one.new_file is not None:
                    one.new_file.commit()
                    with self._lock:
                        self._open_files.discard(one.new_file)


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
