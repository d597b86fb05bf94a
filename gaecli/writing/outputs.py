"""The new files of a run: decided on, begun, complete, and then all of a stream there at once, or none."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gaecli.engine_kinds import ENGINES
from gaecli.formats.base import SPLICE, FileWriter, WritePlan
from gaecli.formats.stored import own_columns
from gaecli.names import LANGUAGE
from gaecli.pipeline.clock import Stopwatch
from gaecli.pipeline.column_builder import output_dtypes
from gaecli.pipeline.opening import OpenFile, OpenStream
from gaecli.pipeline.stream import SummarisedStream
from gaecli.pipeline.worker import Worker
from gaecli.settings import Settings
from gaecli.sources.inputs import StreamPlan
from gaecli.storage.new_file import NewFile, directory_of, open_files_limit, sweep, sync_directory
from gaecli.storage.pending import PendingFile, PendingObject
from gaecli.storage.places import Places
from gaecli.writing.data_set_copies import (
    DEFAULT_TAG,
    companion_places,
    new_records,
    sidecar_keys,
    whole_file,
)
from gaecli.writing.data_set_marks import DataSetMarks
from gaecli.writing.encode_part import EncodedPart, EncodePart, divided, parts_of
from gaecli.writing.output import Output
from gaecli.writing.targets import (
    Target,
    check_language,
    check_output_names,
    check_target,
    plan_targets,
    replaced_columns,
    wanted_format,
)
from gaecli.writing.transaction import commit_together
from gaecli.writing.write_file import (
    NewFilePlan,
    ResultFacts,
    WriteFile,
    Written,
    begin_early,
)

if TYPE_CHECKING:
    from gaecli.formats.conversion import Conversion
    from gaecli.pipeline.ahead import WrittenAhead
    from gaecli.pipeline.sketches import SketchBook
    from gaecli.storage.full_disks import FullDisks

#: From this size on a copy is begun before the first look, so that the disk works meanwhile.
_EARLY_COPY_BYTES = 8 << 20
_EARLY_COPY_FILES = 4


class Outputs:
    """All outputs of one run, by stream.

    `plan` comes first. Then for each stream: `of` decides and checks; `task` begins those of its outputs that go
    into one new file, and says what is to be written; `complete` takes what came of it; `commit` puts all of them
    into their places. Until then nothing is visible, and `discard` leaves nothing. Each stream lives in one thread
    at a time, several of them side by side.
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
        self.data_sets = DataSetMarks(settings, places, self.targets)
        #: New file -> its writer, where the copy was begun before its rows were known.
        self.writers: dict[Path, FileWriter] = {}
        self._num_kept_open = 0
        self._full_disks: FullDisks | None = None
        #: Folders in which results are written, or what belongs to them.
        self._folders: set[Path] = set()
        #: Stream number -> its files, where all results are in their places.
        self._done: dict[int, int] = {}
        #: Those of every stream, by its number, until they are committed or given up.
        self._pending: dict[int, list[Output]] = {}
        #: Directories of new files whose names the disk may not have yet: of a thousand files there are a few.
        self._unsynced: set[Path] = set()
        self._lock = threading.Lock()
        self._marks_lock = threading.Lock()

    def plan(self, streams: Sequence[StreamPlan]) -> None:
        """Find the place of every result, and remove what killed runs left there."""
        tag = self.settings.advantage_column
        tag = DEFAULT_TAG if tag == "advantage" else tag
        self.targets.update(plan_targets(streams, self.options, tag, may_convert=True))
        results = list(dict.fromkeys(target.path for target in self.targets.values()))
        self.places.results.expect(results)
        if not self.options.dry_run:
            self.places.results.sweep(results)
            places = list(results)
            places += [place for stream in streams for place in companion_places(stream, self.options)]
            self._folders = {directory_of(place) for place in places}
            for directory in self._folders:
                sweep(directory)
        self._num_kept_open = open_files_limit(len(self.targets)) // self.jobs

    def of(self, stream: OpenStream) -> list[Output]:
        """One per file, in their order. Raises where a result may not be written."""
        pending = self._pending.get(stream.number)
        return self._decide(stream) if pending is None else pending

    def check_room(self, stream: OpenStream) -> None:
        """Raises NotBegunError where a result before had no room: thousands would say the same one by one."""
        if self._full_disks is not None:
            self._full_disks.check(self.targets[path].path for path in stream.plan.paths)

    def know_full(self, path: Path) -> None:
        """The result of this input had no room."""
        from gaecli.storage.full_disks import FullDisks

        with self._lock:
            self._full_disks = self._full_disks or FullDisks()
        self._full_disks.add(path, self.targets[path].path)

    def begin_early(self, stream: OpenStream, worker: Worker) -> WrittenAhead | None:
        """Begin the copies of a few large files at once: the disk works while their rows are looked at.

        What comes back finishes blocks meanwhile, where that can be.
        """
        size = sum(opened.file.identity[0] for opened in stream.files)
        if len(self.targets) > _EARLY_COPY_FILES or size < _EARLY_COPY_BYTES:
            return None
        outputs = self.of(stream)
        if any(output.conversion is not None for output in outputs):
            return None  # most of the work, for what may be refused by its rows
        for output in outputs:
            new_file = self._begun(output)
            if new_file is not None:
                begin_early(worker, stream.source(output.index), new_file)
        if len(outputs) > 1 or self.options.gallery:
            return None
        return _ahead(stream, outputs[0].new_file, worker)

    def task(
        self,
        outputs: Sequence[Output],
        stream: SummarisedStream,
        inputs: str,
        words: Mapping[str, Any],
        book: SketchBook | None,
        parts: Sequence[EncodedPart] = (),
    ) -> WriteFile:
        """What is to be done for outputs that go into one new file.

        `inputs` is the fingerprint of all files that their rows depend on, as in the provenance. `words`, as of
        `kept_words`, are those of the stream: its first result keeps them. `parts` are what came of those of `parts`.
        """
        new_file, facts = self.place(outputs[0], inputs)
        sources = [output.written_from(stream) for output in outputs]
        if parts and new_file is not None:
            sources = [replace(sources[0], carries=(), parts=parts)]
            new_file = replace(new_file, columns=replace(new_file.columns, has_parts=True))
        return WriteFile(
            sources, new_file, replace(facts, words=words if outputs[0].index == 0 else {}), book
        )

    def place(self, output: Output, inputs: str) -> tuple[NewFilePlan | None, ResultFacts]:
        """Begin a new file, and say what it is to become."""
        return self._begun(output), ResultFacts(output.target.in_place, inputs, {})

    def parts(self, outputs: Sequence[Output], stream: SummarisedStream) -> Iterator[EncodePart]:
        """What is to be done before `task`, by as many as there are, where the new file is a huge one."""
        options = self.options
        # What pictures are drawn of is too much to be sent for every block.
        if ENGINES[options.engine].is_here or options.sidecar or options.gallery or len(outputs) > 1:
            return
        (output,) = outputs
        can_be = len(output.opened.units) > 1 and output.conversion is None
        new_file = self._begun(output) if can_be else None
        plans = (
            []
            if new_file is None
            else divided(output.opened, stream.steps_of(output.index), new_file.columns)
        )
        if plans and new_file is not None and output.new_file is not None:
            source = output.written_from(stream)
            output.parts = self.places.results.part_files(output.new_file, len(plans))
            paths = output.parts.paths
            yield from parts_of(source, plans, paths, new_file.columns)

    def complete(self, outputs: Sequence[Output], written: Written) -> None:
        """All rows are written that go into one new file."""
        for output, totals in zip(outputs, written.totals, strict=True):
            output.totals, output.method = totals, written.method
        first, last = outputs[0], outputs[-1]
        if first.parts is not None:
            first.parts.discard()
        last.provenance, last.record = written.provenance, written.record
        if isinstance(first.new_file, PendingObject):
            if written.sent is None:
                first.new_file.leaves_out(written.left_out)
            else:
                first.new_file.take_over(written.sent)
        if first.index >= self._num_kept_open and isinstance(first.new_file, NewFile):
            first.new_file.let_go()

    def commit(self, group: Sequence[OpenStream]) -> None:
        """Put the complete outputs of streams that are written together into their places, and what tells of them.

        A stream may have none, as its files have their columns from an earlier run; if that was killed right
        after, what tells of them is what is left to do.
        """
        outputs = [output for stream in group for output in self._pending.get(stream.number, [])]
        plan = group[0].plan
        if not self.options.dry_run:
            # Marks are read, changed and written; other files of the data set may be concerned in another thread.
            with self._marks_lock if plan.data_set is not None else nullcontext():
                marks = self.data_sets.made_for(group, self._pending)
                self._commit_files(outputs, marks, self.data_sets.publication(plan, outputs))
                self.data_sets.are_there(marks)
        with self._lock:
            for stream in group:
                self._done[stream.number] = len(stream.plan.paths)
                self._pending.pop(stream.number, None)

    @property
    def done(self) -> Mapping[int, int]:
        """Streams whose results are all in their places, with the number of their files: for `know_done`."""
        return self._done

    def know_done(self, done: Mapping[int, int]) -> None:
        """The same of another process."""
        self._done.update(done)

    def is_committing(self, stream_number: int) -> bool:
        """Whether some of its outputs are in their places, and not yet all that belongs to them."""
        return any(output.is_there for output in self._pending.get(stream_number, []))

    @property
    def state(self) -> str:
        """What an interrupt leaves, in a few words."""
        total, num_done = len(self.targets), sum(self._done.values())
        for outputs in self._pending.values():
            new_files = [output for output in outputs if output.new_file is not None]
            num_there = sum(output.is_there for output in new_files)
            if num_there and num_there == len(new_files):
                num_done += len(outputs)
            elif num_there:
                counts = f"{num_there:,} of {len(new_files):,}"
                return f"{counts} files that belong together have the new columns: {_AGAIN}"
        if not num_done or self.options.dry_run:
            return "nothing was left half-written"
        if num_done == total:
            return "the file is done" if total == 1 else f"all {total:,} files are done"
        return f"nothing was left half-written; {num_done:,} of {total:,} files are done: {_AGAIN}"

    def discard(self, stream_number: int) -> None:
        """Give up what was begun of a stream and not committed."""
        with self._lock:
            pending = self._pending.pop(stream_number, [])
        for output in pending:
            if output.is_there:
                continue
            if output.parts is not None:
                output.parts.discard()
            if output.new_file is not None:
                writer = self.writers.pop(output.new_file.temporary, None)
                if writer is not None:
                    writer.abort()
                output.new_file.discard()

    def close(self, *, is_worker_lost: bool = False) -> None:
        """Whatever was begun and not committed disappears; what was committed is on the disk."""
        for number, outputs in list(self._pending.items()):
            new_files = [output for output in outputs if output.new_file is not None]
            if new_files and all(output.is_there for output in new_files):  # interrupted in the instant after
                self._done[number] = len(outputs)
            self.discard(number)
        if is_worker_lost or not ENGINES[self.options.engine].is_here:
            for directory in self._folders:  # where tries of tasks may be whose worker was lost
                sweep(directory)
        while self._unsynced:
            sync_directory(self._unsynced.pop())

    def _decide(self, stream: OpenStream) -> list[Output]:
        outputs = [self._output(index, opened, stream.plan) for index, opened in enumerate(stream.files)]
        for before, output in pairwise(outputs):
            output.goes_on = output.target == before.target
        self.data_sets.check_free(stream.plan)
        with self._lock:
            self._pending[stream.number] = outputs
        return outputs

    def _output(self, index: int, opened: OpenFile, plan: StreamPlan) -> Output:
        file, roles = opened.file, opened.layout.roles
        target = self.targets[file.path]
        check_output_names(file, roles, self.settings)
        check_language(file, plan, self.settings, sidecar=self.options.sidecar)
        own: list[str] = []
        foreign: list[str] = []
        if not self.options.sidecar:
            own, foreign = replaced_columns(file, self.settings, overwrite=self.options.overwrite)
        check_target(target, self.places)
        conversion = self._conversion(opened, target, plan, (*own, *foreign))
        return Output(index, opened, target, own, foreign, sidecar_keys(plan, file, roles), conversion)

    def _conversion(
        self, opened: OpenFile, target: Target, plan: StreamPlan, left_out: tuple[str, ...]
    ) -> Conversion | None:
        wanted = wanted_format(opened.file, target, plan, self.options)
        if wanted is None:
            return None
        from gaecli.writing.converted import conversion_to

        return conversion_to(wanted, opened.file, opened.layout, left_out)

    def _begun(self, output: Output) -> NewFilePlan | None:
        """The new file, empty, and what it is to become; None where none is written."""
        if self.options.dry_run or output.goes_on:
            return None
        if output.new_file is None:
            self.check_stop()
            if not output.target.in_place:
                output.target.path.parent.mkdir(parents=True, exist_ok=True)
            output.new_file = self.places.results.new_file(output.target.path)
            output.new_file.create()  # in this order: an interrupt in between finds what to discard
            if isinstance(output.new_file, PendingObject) and not ENGINES[self.options.engine].is_here:
                output.upload = output.new_file.begin()
            output.leaves_head = not self.options.sidecar and self._leaves_head(output)
            if not (self.options.sidecar or output.leaves_head) and ENGINES[self.options.engine].is_here:
                with self.clock("read"):
                    self.places.inputs.fill(output.opened.file.path)
        return self._new_file(output, output.new_file.temporary)

    def _leaves_head(self, output: Output) -> bool:
        """The old bytes begin the new file, and the store puts them there."""
        file = output.opened.file
        if output.conversion is not None:
            return False
        if LANGUAGE in self.settings.output_columns:  # whose old rows are read
            return False
        can_be = self.places.results.can_copy_head(file.path, output.target.path)
        return can_be and file.planned_method(output.own, output.foreign) == SPLICE

    def _new_file(self, output: Output, temporary: Path) -> NewFilePlan:
        file, new_names = output.opened.file, self.settings.output_columns
        plan = WritePlan(
            new_columns=output_dtypes(self.settings),
            like_column=output.opened.layout.like_column,
            own_columns=output.own,
            drop_columns=output.foreign,
            kept_own_columns=[name for name in own_columns(file.provenance) if name not in new_names],
            is_language=LANGUAGE in new_names,
            replaces_labels=self.options.overwrite,
            leaves_head=output.leaves_head,
            replaces_source=output.target.in_place,
        )
        return NewFilePlan(
            temporary,
            output.target.path,
            plan,
            self.rows_per_block,
            self.options.sidecar,
            output.keys,
            output.conversion,
            output.upload,
        )

    def _commit_files(
        self,
        outputs: Sequence[Output],
        marks: Mapping[Path, bytes],
        publish: Callable[[], None] | None = None,
    ) -> None:
        """All at once, when all of them are sealed and no input has changed."""
        files = [output.new_file for output in outputs if output.new_file is not None]
        made: list[PendingFile] = []
        records: list[PendingFile] = []
        with self.clock("write"):
            try:
                for file in files:
                    file.seal()
                for output in outputs:
                    records += new_records(output.record, output.target.path, self.places)
                for path, content in marks.items():
                    made.append(whole_file(path, content, self.places))
                for output in outputs:
                    self.places.inputs.check_unchanged(output.opened.file.path, output.opened.file.identity)
                # Backwards: the first ones hold the locks that keep the others from being swept.
                commit_together(files[::-1], made, publish, records, self._unsynced.add)
            finally:
                for mark in (*made, *records):
                    mark.discard()


def _ahead(stream: OpenStream, new_file: PendingFile | None, worker: Worker) -> WrittenAhead | None:
    """`new_file`: where its writer was begun; None: only numbers are asked for."""
    from gaecli.pipeline.ahead import WrittenAhead, can_be_ahead

    if not can_be_ahead(worker.estimator):
        return None
    source, writers = stream.source(0), worker.writers
    if new_file is None:
        return WrittenAhead(source, worker, lambda columns: None, lambda: None)
    name = new_file.temporary
    return WrittenAhead(source, worker, writers[name].write, lambda: writers.pop(name).abort())


_AGAIN = "run the same command again for the others"
