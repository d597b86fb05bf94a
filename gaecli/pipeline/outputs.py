"""The new files of a run: decided on, begun, complete, and then all of a stream there at once, or none."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from gaecli.estimators.normalization import Constants
from gaecli.formats.base import FileWriter, SidecarWriter, WritePlan
from gaecli.pipeline.apply import Report
from gaecli.pipeline.clock import Stopwatch
from gaecli.pipeline.commit import NewFile, directory_of, open_files_limit, sweep
from gaecli.pipeline.inputs import StreamPlan
from gaecli.pipeline.pen import OUTPUT_DTYPE
from gaecli.pipeline.places import NewThing, Places
from gaecli.pipeline.provenance import make_provenance, own_columns, source_of
from gaecli.pipeline.roots import (
    DEFAULT_TAG,
    check_companions,
    close_data_set,
    copy_companions,
    copy_marks,
    other_root,
    sidecar_keys,
)
from gaecli.pipeline.stream import OpenFile, Stream
from gaecli.pipeline.targets import (
    Target,
    check_output_names,
    check_target,
    plan_targets,
    replaced_columns,
)
from gaecli.pipeline.versions import new_version
from gaecli.settings import Settings
from gaecli.summary import BootstrapCounts, EpisodeCounts

#: From this size on a copy is begun before the first look, so that the disk works meanwhile.
_EARLY_COPY_BYTES = 8 << 20
_EARLY_COPY_FILES = 4


@dataclass(eq=False)
class Output:
    """The result of one file of a stream, from the decision to write it until it is in its place."""

    #: Number of the file within its stream.
    index: int
    opened: OpenFile
    target: Target
    #: Columns that give way to the new ones: gaecli's of an earlier run, and those of others.
    own: list[str]
    foreign: list[str]
    #: Columns that identify a row, for a sidecar.
    keys: Sequence[str] = ()
    #: Both None before the output is begun, and in a dry run.
    new_file: NewThing | None = None
    writer: FileWriter | None = None
    #: The output before this one, whose sidecar goes on with this one; and whether one more goes on with it.
    continues: Output | None = None
    is_continued: bool = False
    is_committed: bool = False

    report: Report = field(default_factory=Report)
    constants: Mapping[Hashable, Constants] = field(default_factory=dict)

    def counts(self) -> tuple[EpisodeCounts, BootstrapCounts]:
        """Of all files whose rows go where those of this one go."""
        counts, bootstrapped = EpisodeCounts(), BootstrapCounts()
        one: Output | None = self
        while one is not None:
            counts, bootstrapped = counts + one.report.counts, bootstrapped + one.report.bootstrapped
            one = one.continues
        return counts, bootstrapped


class Outputs:
    """All outputs of one run, by stream.

    `plan` comes first. Then for each stream: `of` decides and checks, and for each of its outputs `begin`
    makes the writer, and `complete` ends it once the rows are written; `commit` puts all of them into their
    places. Until then nothing is visible, and `discard` leaves nothing. Each stream lives in one thread at a
    time, several of them side by side.
    """

    def __init__(
        self,
        settings: Settings,
        places: Places,
        *,
        jobs: int,
        rows_per_block: int,
        clock: Stopwatch,
        check_stop: Callable[[], None],
    ) -> None:
        self.settings = settings
        self.options = places.options
        self.places = places
        self.jobs = jobs
        self.rows_per_block = rows_per_block
        self.clock = clock
        self.check_stop = check_stop
        #: Input path -> where its result goes.
        self.targets: dict[Path, Target] = {}
        self._num_kept_open = 0
        #: Those of every stream, by its number, until they are committed or given up.
        self._pending: dict[int, list[Output]] = {}
        self._lock = threading.Lock()

    def plan(self, streams: Sequence[StreamPlan]) -> None:
        """Find the place of every result, and remove what killed runs left there."""
        tag = self.settings.advantage_column
        self.targets = plan_targets(streams, self.options, DEFAULT_TAG if tag == "advantage" else tag)
        if not self.options.dry_run:
            for directory in {directory_of(target.path) for target in self.targets.values()}:
                sweep(directory)
        self._num_kept_open = open_files_limit(len(self.targets)) // self.jobs

    def of(self, stream: Stream) -> list[Output]:
        """One per file, in their order. Raises where a result may not be written."""
        pending = self._pending.get(stream.number)
        return self._decide(stream) if pending is None else pending

    def begin_early(self, stream: Stream) -> None:
        """Begin the copies of a few large files at once: the disk works while their rows are looked at."""
        size = sum(opened.file.identity[0] for opened in stream.files)
        if len(self.targets) <= _EARLY_COPY_FILES and size >= _EARLY_COPY_BYTES:
            for output in self.of(stream):
                self.begin(output)

    def begin(self, output: Output) -> None:
        """Start the new file, unless that was done already."""
        if self.options.dry_run or output.writer is not None:
            return
        self.check_stop()
        if output.continues is not None:
            output.writer = output.continues.writer
            if isinstance(output.writer, SidecarWriter):
                output.writer.go_on(output.opened.file, output.opened.units)
            return
        if not output.target.in_place:
            output.target.path.parent.mkdir(parents=True, exist_ok=True)
        output.new_file = self.places.new_file(output.target.path)
        output.new_file.create()  # in this order: an interrupt in between finds what to discard
        if not self.options.sidecar:
            with self.clock("read"):
                self.places.fill(output.opened.file.path)
        with self.clock("write"):
            output.writer = self._writer(output, output.new_file.temporary)

    def complete(self, output: Output, inputs: str) -> None:
        """All rows are written. `inputs` is the fingerprint of all files they depend on, as in the provenance."""
        if output.writer is None or output.is_continued:
            return
        file, layout = output.opened.file, output.opened.layout
        counts, bootstrapped = output.counts()
        provenance = make_provenance(
            self.settings,
            layout=layout.name,
            roles=layout.roles.names,
            source=source_of(file, in_place=output.target.in_place),
            inputs=inputs,
            counts=counts,
            bootstrapped=bootstrapped,
            constants=output.constants,
            earlier=file.provenance if output.target.in_place or not self.options.sidecar else None,
        )
        with self.clock("write"):
            output.writer.finish(provenance)
        if output.index >= self._num_kept_open and isinstance(output.new_file, NewFile):
            output.new_file.let_go()

    def commit(self, stream: Stream) -> None:
        """Put the complete outputs of a stream into their places, and what belongs to its data set around them."""
        outputs = self._pending[stream.number]
        root = None if self.options.dry_run else self._copied_root(stream)
        if root is not None:
            copy_companions(stream.plan, root, self.places)
        with self._version(stream, outputs):
            self._commit_files(outputs)
        if root is not None:
            copy_marks(stream.plan, root, self.places)
        self.close_data_set(stream)
        with self._lock:
            del self._pending[stream.number]

    def _version(self, stream: Stream, outputs: Sequence[Output]) -> AbstractContextManager[None]:
        """Around the commit of files: what makes them the next version of a data set that has versions."""
        data_set = stream.plan.data_set
        new_files = {o.opened.file.path: o.target.path for o in outputs if o.new_file and o.target.in_place}
        if data_set is None or not data_set.is_versioned or not new_files:
            return nullcontext()
        return new_version(data_set, new_files, self.settings.output_columns)

    def close_data_set(self, stream: Stream) -> None:
        """Tell the data set of its columns, once all of them are there."""
        root = self._copied_root(stream)
        in_place = all(self.targets[path].in_place for path in stream.plan.paths)
        if (root is not None or in_place) and not self.options.dry_run:
            close_data_set(stream.plan, root, self.settings.output_columns, self.places)

    def is_committing(self, stream: Stream) -> bool:
        """Whether some of its outputs are in their places, and not yet all that belongs to them."""
        return any(output.is_committed for output in self._pending.get(stream.number, []))

    def discard(self, stream_number: int) -> None:
        """Give up what was begun of a stream and not committed."""
        with self._lock:
            pending = self._pending.pop(stream_number, [])
        for output in pending:
            if output.is_committed:
                continue
            if output.writer is not None:
                output.writer.abort()
            if output.new_file is not None:
                output.new_file.discard()

    def close(self) -> None:
        """Whatever was begun and not committed disappears."""
        for number in list(self._pending):
            self.discard(number)

    def _decide(self, stream: Stream) -> list[Output]:
        outputs = [self._output(index, opened, stream.plan) for index, opened in enumerate(stream.files)]
        for before, output in pairwise(outputs):
            if output.target == before.target:
                output.continues, before.is_continued = before, True
        root = self._copied_root(stream)
        if root is not None and not self.options.overwrite:
            check_companions(stream.plan, root, self.places)
        with self._lock:
            self._pending[stream.number] = outputs
        return outputs

    def _output(self, index: int, opened: OpenFile, plan: StreamPlan) -> Output:
        file, roles = opened.file, opened.layout.roles
        target = self.targets[file.path]
        check_output_names(file, roles, self.settings)
        own: list[str] = []
        foreign: list[str] = []
        if not self.options.sidecar:
            own, foreign = replaced_columns(file, self.settings, overwrite=self.options.overwrite)
        check_target(target, self.places)
        return Output(index, opened, target, own, foreign, sidecar_keys(plan, file, roles))

    def _writer(self, output: Output, temporary: Path) -> FileWriter:
        file, new_names = output.opened.file, self.settings.output_columns
        plan = WritePlan(
            new_columns=dict.fromkeys(new_names, OUTPUT_DTYPE),
            like_column=output.opened.layout.like_column,
            own_columns=output.own,
            drop_columns=output.foreign,
            kept_own_columns=[name for name in own_columns(file.provenance) if name not in new_names],
        )
        if self.options.sidecar:
            from gaecli.formats.sidecar import SidecarOutput

            units = output.opened.units
            return SidecarOutput(file, output.keys, units, self.rows_per_block, temporary, plan)
        return file.writer(temporary, plan)

    def _copied_root(self, stream: Stream) -> Path | None:
        """Where a copy of the whole data set is made, if one is."""
        return None if self.options.sidecar else other_root(stream.plan, self.options.output)

    def _commit_files(self, outputs: Sequence[Output]) -> None:
        """One right after the other, once all of them are sealed and no input has changed."""
        with self.clock("write"):
            for output in outputs:
                if output.new_file is not None:
                    output.new_file.seal()
            for output in outputs:
                self.places.check_unchanged(output.opened.file.path, output.opened.file.identity)
            # Backwards: the first ones hold the locks that keep the others from being swept.
            for output in reversed(outputs):
                if output.new_file is not None:
                    output.new_file.commit()
                    output.is_committed = True
