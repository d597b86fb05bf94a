"""The task that writes one result: from the rows of its inputs to the whole new file under its temporary name.

It is carried out in one place, so that no rows come back; whoever asked for it seals the file and renames it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gaecli.engines.base import CarryOut, run_here
from gaecli.formats.base import FileWriter, LeftOut, SidecarWriter, WritePlan, left_out_by, record_of
from gaecli.pipeline.apply import Totals
from gaecli.pipeline.group_facts import facts_of
from gaecli.pipeline.opening import FileSource, OpenFile
from gaecli.pipeline.tasks import FinishedBlock
from gaecli.pipeline.worker import Worker
from gaecli.records import dataclass
from gaecli.storage.new_file import sync_file, temporary_beside
from gaecli.storage.stage import Stage
from gaecli.writing.encode_part import WrittenFrom, mirror_of
from gaecli.writing.provenance import make_provenance, source_of

if TYPE_CHECKING:
    from gaecli.formats.conversion import Conversion
    from gaecli.pipeline.sketches import SketchBook
    from gaecli.storage.uploads import SentObject


@dataclass(frozen=True, eq=False)
class NewFilePlan:
    """A file that is there, empty, and what it is to become."""

    temporary: Path
    #: Where it is to be.
    target: Path
    columns: WritePlan
    #: Of its input, where that is read once more.
    rows_per_block: int
    is_sidecar: bool = False
    #: Columns that identify a row, for a sidecar.
    keys: Sequence[str] = ()
    #: Where it has another format than its input.
    conversion: Conversion | None = None
    #: Where it is to be an object that whoever commits it has begun.
    upload: SentObject | None = None


@dataclass(frozen=True, eq=False)
class ResultFacts:
    """What the provenance of a result tells that its rows do not."""

    in_place: bool
    #: Fingerprint of all files that the numbers depend on, if they are several.
    inputs: str
    #: What there is to tell of the stream, as JSON: see `kept_words`.
    words: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Written:
    """What whoever commits a result has to know of it."""

    #: Of each input.
    totals: Sequence[Totals]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    method: str | None = None
    #: What goes into a file beside it.
    record: bytes | None = None
    book: SketchBook | None = None
    #: What the new file has from others and was not written.
    left_out: Sequence[LeftOut] = ()
    #: Where it was sent to a store by another process than the one that commits it.
    sent: SentObject | None = None


@dataclass(frozen=True, eq=False)
class WriteFile:
    """The result of one file, or of several whose rows go into one; without `new_file`, only what it adds up to."""

    inputs: Sequence[WrittenFrom]
    new_file: NewFilePlan | None = None
    facts: ResultFacts | None = None
    #: What pictures are drawn from, of the files of the stream before these.
    book: SketchBook | None = None

    def __call__(self, worker: Worker) -> list[Written]:
        return self.carry_out(worker, run_here(worker))

    def parts(self, worker: Worker) -> Iterator[WriteFile]:
        yield self

    def carry_out(self, worker: Worker, run: CarryOut[Worker, FinishedBlock]) -> list[Written]:
        if self.new_file is None or self.facts is None:
            return [Written([self._applied(one, None, worker, run) for one in self.inputs], book=self.book)]
        if worker.is_here:
            return [self._written(self.new_file, self.facts, worker, run)]
        # A try that was given up for lost may be at work still: each has a file of its own until it is whole.
        own = replace(self.new_file, temporary=temporary_beside(self.new_file.temporary))
        for one in self.inputs:
            if own.is_sidecar:  # which has keys of theirs
                worker.files.fill_columns(one.source)
            elif not own.columns.leaves_head:
                worker.files.fill(one.source)
        written = self._written(own, self.facts, worker, run)
        sent = handed_over(own.temporary, self.new_file, worker.stage, written.left_out)
        for one in self.inputs:
            worker.files.release(one.source, [part.path for part in one.parts])
        return [replace(written, sent=sent)]

    def _written(
        self, plan: NewFilePlan, facts: ResultFacts, worker: Worker, run: CarryOut[Worker, FinishedBlock]
    ) -> Written:
        writer = begun(worker, self.inputs[0].source, plan)
        try:
            totals = [self._applied(one, writer, worker, run) for one in self.inputs]
            provenance = self._provenance(facts, worker, totals)
            with worker.clock("write"):
                writer.finish(provenance)
        except BaseException:
            writer.abort()
            raise
        return Written(totals, provenance, writer.method, record_of(writer), self.book, left_out_by(writer))

    def _applied(
        self,
        one: WrittenFrom,
        writer: FileWriter | None,
        worker: Worker,
        run: CarryOut[Worker, FinishedBlock],
    ) -> Totals:
        """The final columns of one input, written in the order of its rows."""
        if one is not self.inputs[0] and isinstance(writer, SidecarWriter):
            opened = worker.files.open(one.source)
            writer.go_on(opened.file, opened.units)
        totals = Totals()
        if one.before is not None:
            totals.merge(one.before)
        for block in one.blocks(writer, worker, run, has_sketches=self.book is not None):
            totals.merge(block.totals)
            if self.book is not None and block.sketch is not None:
                self.book.add(block.sketch)
        outcomes = one.source.outcomes
        if outcomes is not None:
            totals.successes, totals.longest_episode = outcomes.num_successes, outcomes.rule.longest
        return totals

    def _keeps_earlier(self, facts: ResultFacts) -> bool:
        """A file of another format has columns of earlier runs as data: nothing tells whether they are as written."""
        assert self.new_file is not None
        if self.new_file.conversion is not None:
            return False
        return facts.in_place or not self.new_file.is_sidecar

    def _provenance(self, facts: ResultFacts, worker: Worker, totals: Sequence[Totals]) -> dict[str, Any]:
        assert self.new_file is not None
        last = self.inputs[-1]
        opened = worker.files.open(last.source)
        whole = Totals()
        for one in totals:
            whole.merge(one)
        return make_provenance(
            last.source.settings,
            layout=opened.layout.kind.name,
            roles=opened.layout.roles.names,
            source=source_of(opened.file, in_place=facts.in_place),
            inputs=facts.inputs,
            totals=whole,
            words=facts.words,
            facts=facts_of(last.constants, last.source.settings, last.source.place),
            thresholds=None if last.labels is None else last.labels.thresholds,
            earlier=opened.file.provenance if self._keeps_earlier(facts) else None,
        )


def handed_over(
    own: Path, plan: NewFilePlan, stage: Stage | None, left_out: Sequence[LeftOut]
) -> SentObject | None:
    """The whole new file of one try, to the process that commits it: by the name that it waits for, or by a store."""
    mirror = mirror_of(plan.target, stage)
    if mirror is None:
        sync_file(own)
        own.replace(plan.temporary)
        return None
    upload = mirror.upload(plan.target, own)
    upload.go_on(plan.upload)
    try:
        mirror.send(upload, own, left_out)
        return upload.hand_over()
    finally:
        upload.discard()
        own.unlink(missing_ok=True)


def begun(worker: Worker, source: FileSource, new_file: NewFilePlan) -> FileWriter:
    """The writer of a result: the one that was begun before, or a new one."""
    writer = worker.writers.pop(new_file.temporary, None)
    if writer is not None:
        return writer
    with worker.clock("write"):
        return _writer(worker.files.open(source), new_file)


def begin_early(worker: Worker, source: FileSource, new_file: NewFilePlan) -> None:
    """The copy of a large file starts before its rows are known: the disk works while they are looked at."""
    worker.writers[new_file.temporary] = begun(worker, source, new_file)


def _writer(opened: OpenFile, new_file: NewFilePlan) -> FileWriter:
    if new_file.is_sidecar:
        from gaecli.formats.parquet.sidecar import SidecarOutput

        return SidecarOutput(
            opened.file,
            new_file.keys,
            opened.units,
            new_file.rows_per_block,
            new_file.temporary,
            new_file.columns,
        )
    if new_file.conversion is not None:
        from gaecli.writing.converted import ConvertedOutput

        return ConvertedOutput(opened.file, new_file.conversion, new_file.temporary, new_file.columns)
    return opened.file.writer(new_file.temporary, new_file.columns)
