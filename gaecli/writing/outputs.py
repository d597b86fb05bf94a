"""The new files of a run: decided on, begun, complete, and then all of a stream there at once, or none."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import field, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gaecli.datasets.base import DataSet, NewColumns
from gaecli.engine_kinds import ENGINES
from gaecli.formats.base import SPLICE, FileWriter, WritePlan, item_types
from gaecli.formats.stored import own_columns
from gaecli.names import LANGUAGE
from gaecli.pipeline.apply import Totals
from gaecli.pipeline.clock import Stopwatch
from gaecli.pipeline.column_builder import output_dtypes
from gaecli.pipeline.label_tables import Constants
from gaecli.pipeline.opening import OpenFile, OpenStream
from gaecli.pipeline.stream import SummarisedStream
from gaecli.pipeline.worker import Worker
from gaecli.records import dataclass
from gaecli.settings import Settings
from gaecli.sources.inputs import StreamPlan
from gaecli.storage.new_file import NewFile, directory_of, open_files_limit, sweep, sync_directory
from gaecli.storage.part_files import PartFiles
from gaecli.storage.pending import PendingFile, PendingObject
from gaecli.storage.places import Places
from gaecli.writing.companions import check_companions, copy_companions
from gaecli.writing.data_set_copies import (
    DEFAULT_TAG,
    companion_places,
    lacking_marks,
    new_marks,
    new_records,
    other_root,
    sidecar_keys,
    whole_file,
)
from gaecli.writing.encode_part import EncodedPart, EncodePart, WrittenFrom, divided, parts_of
from gaecli.writing.provenance import digest_of
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
    from gaecli.pipeline.ahead import Ahead
    from gaecli.pipeline.labels import LabelConstants
    from gaecli.pipeline.sketches import SketchBook
    from gaecli.storage.uploads import SentObject

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
    #: Where the result has another format than its input.
    conversion: Conversion | None = None
    #: The store has the old bytes, and they need not come here.
    leaves_head: bool = False
    #: Its rows go on where those of the file before it end: in one sidecar.
    goes_on: bool = False
    #: None before the output is begun, in a dry run, and where it goes on.
    new_file: PendingFile | None = None
    #: Where workers elsewhere send it: what was begun for them.
    upload: SentObject | None = None
    #: Where its new columns are encoded by several tasks.
    parts: PartFiles | None = None
    constants: Constants = ()
    labels: LabelConstants | None = None

    #: What is stored in the new file, and beside it.
    provenance: Mapping[str, Any] = field(default_factory=dict)
    record: bytes | None = None
    #: How it was written.
    method: str | None = None
    totals: Totals = field(default_factory=Totals)


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
        #: New file -> its writer, where the copy was begun before its rows were known.
        self.writers: dict[Path, FileWriter] = {}
        self._num_kept_open = 0
        #: Folders in which results are written, or what belongs to them.
        self._folders: set[Path] = set()
        #: Stream number -> its files, where all results are in their places.
        self._done: dict[int, int] = {}
        #: Those of every stream, by its number, until they are committed or given up.
        self._pending: dict[int, list[Output]] = {}
        #: Those of streams that had all of them before.
        self._found: dict[int, Sequence[Mapping[str, Any]]] = {}
        #: Marks of data sets that this run has put in their places.
        self._written: set[Path] = set()
        #: Streams whose loader may go on with what it has in its cache.
        self.behind_caches: set[int] = set()
        #: Directories of new files whose names the disk may not have yet: of a thousand files there are a few.
        self._unsynced: set[Path] = set()
        self._lock = threading.Lock()
        self._marks_lock = threading.Lock()

    def plan(self, streams: Sequence[StreamPlan]) -> None:
        """Find the place of every result, and remove what killed runs left there."""
        tag = self.settings.advantage_column
        tag = DEFAULT_TAG if tag == "advantage" else tag
        self.targets = plan_targets(streams, self.options, tag, may_convert=True)
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

    def begin_early(self, stream: OpenStream, worker: Worker) -> Ahead | None:
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
        sources = [_written_from(output, stream) for output in outputs]
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
            source = _written_from(output, stream)
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

    def found(self, stream: OpenStream, entries: Sequence[Mapping[str, Any]]) -> None:
        """All files of the stream have their columns from an earlier run, which stored these entries.

        They are told where the data set that it is of is marked.
        """
        if stream.plan.data_set is not None:
            self._found[stream.number] = entries

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
                root = self._copied_root(plan)
                if root is not None and outputs:
                    copy_companions(plan, root, self.places)
                marks = self._marks(group, has_outputs=bool(outputs))
                if plan.data_set is not None and plan.data_set.is_cached and outputs:
                    self._note_cache(group, marks)
                self._commit_files(outputs, marks, self._publication(plan, outputs))
                self._written.update(marks)
        with self._lock:
            for stream in group:
                self._done[stream.number] = len(stream.plan.paths)
                self._pending.pop(stream.number, None)

    def is_committing(self, stream_number: int) -> bool:
        """Whether some of its outputs are in their places, and not yet all that belongs to them."""
        return any(_is_there(output) for output in self._pending.get(stream_number, []))

    @property
    def state(self) -> str:
        """What an interrupt leaves, in a few words."""
        total, num_done = len(self.targets), sum(self._done.values())
        for outputs in self._pending.values():
            new_files = [output for output in outputs if output.new_file is not None]
            num_there = sum(map(_is_there, new_files))
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
            if _is_there(output):
                continue
            if output.parts is not None:
                output.parts.discard()
            if output.new_file is not None:
                writer = self.writers.pop(output.new_file.temporary, None)
                if writer is not None:
                    writer.abort()
                output.new_file.discard()

    def close(self) -> None:
        """Whatever was begun and not committed disappears; what was committed is on the disk."""
        for number in list(self._pending):
            self.discard(number)
        if not ENGINES[self.options.engine].is_here:
            for directory in self._folders:  # where tries of tasks may be whose worker was lost
                sweep(directory)
        while self._unsynced:
            sync_directory(self._unsynced.pop())

    def _decide(self, stream: OpenStream) -> list[Output]:
        outputs = [self._output(index, opened, stream.plan) for index, opened in enumerate(stream.files)]
        for before, output in pairwise(outputs):
            output.goes_on = output.target == before.target
        root = self._copied_root(stream.plan)
        if root is not None and not self.options.overwrite:
            check_companions(stream.plan, root, self.places, self._written)
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

    def _copied_root(self, plan: StreamPlan) -> Path | None:
        """Where a copy of the whole data set is made, if one is."""
        return None if self.options.sidecar else other_root(plan, self.options.output)

    def _note_cache(self, group: Sequence[OpenStream], marks: Mapping[Path, bytes]) -> None:
        """A loader that goes by the marks takes the files for what it has in its cache."""
        plan = group[0].plan
        is_written = self._copied_root(plan) is not None or self.targets[plan.paths[0]].in_place
        if is_written and all(path.is_file() and path.read_bytes() == text for path, text in marks.items()):
            self.behind_caches.update(stream.number for stream in group)

    def _marks(self, group: Sequence[OpenStream], *, has_outputs: bool) -> dict[Path, bytes]:
        plan = group[0].plan
        root = self._copied_root(plan)
        in_place = all(self.targets[path].in_place for stream in group for path in stream.plan.paths)
        if plan.data_set is None or plan.is_part or (root is None and not in_place):
            return {}
        marks_of = new_marks if has_outputs else lacking_marks
        return marks_of(
            plan.data_set, root, self._new_columns(plan.data_set, group), self.places, self._written
        )

    def _new_columns(self, data_set: DataSet, group: Sequence[OpenStream]) -> NewColumns:
        named = {path.absolute(): path for path in data_set.paths}
        digests: dict[Path, str] = {}
        for stream in group:
            entries = self._found.get(stream.number) or [
                output.provenance for output in self._pending.get(stream.number, [])
            ]
            for path, entry in zip(stream.plan.paths, entries, strict=True):
                digests[named[path.absolute()]] = digest_of(entry)
        first = group[0].files[0]
        like = first.file.find(first.layout.like_column) if first.layout.like_column is not None else None
        types = dict.fromkeys(self.settings.output_columns, None if like is None else like.type_name)
        return NewColumns(types, list(digests), digests, item_types(output_dtypes(self.settings)))

    def _publication(self, plan: StreamPlan, outputs: Sequence[Output]) -> Callable[[], None] | None:
        """What makes the new files the next version of a data set whose own files never change."""
        data_set = plan.data_set
        successors = {
            output.opened.file.path: output.target.path
            for output in outputs
            if output.target.in_place and output.target.path != output.opened.file.path
        }
        if data_set is None or not successors:
            return None
        return lambda: data_set.publish(successors, item_types(output_dtypes(self.settings)))

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


def _written_from(output: Output, stream: SummarisedStream) -> WrittenFrom:
    first_unit, carries = stream.unfinished(output.index)
    return WrittenFrom(
        stream.opened.source(output.index),
        carries,
        output.constants,
        output.labels,
        first_unit=first_unit,
        before=None if stream.ahead is None else stream.ahead.totals,
    )


def _ahead(stream: OpenStream, new_file: PendingFile | None, worker: Worker) -> Ahead | None:
    """`new_file`: where its writer was begun; None: only numbers are asked for."""
    from gaecli.pipeline.ahead import Ahead, can_be_ahead

    if not can_be_ahead(worker.estimator):
        return None
    source, writers = stream.source(0), worker.writers
    if new_file is None:
        return Ahead(source, worker, lambda columns: None, lambda: None)
    name = new_file.temporary
    return Ahead(source, worker, writers[name].write, lambda: writers.pop(name).abort())


def by_new_file(outputs: Sequence[Output]) -> list[list[Output]]:
    """Those together whose rows go into one new file."""
    groups: list[list[Output]] = []
    for output in outputs:
        if output.goes_on:
            groups[-1].append(output)
        else:
            groups.append([output])
    return groups


_AGAIN = "run the same command again for the others"


def _is_there(output: Output) -> bool:
    return output.new_file is not None and output.new_file.is_committed
