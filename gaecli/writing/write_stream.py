"""The task that is all there is to do for one file: looked at and written in one place, so that it is read once.

What it does is what others do for all streams, `final` and `WriteFile`, with the local engine of wherever it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from gaecli.engines.local import LocalEngine
from gaecli.engines.threads import Threads
from gaecli.pipeline.judging.continuity import Edges
from gaecli.pipeline.label_tables import Constants
from gaecli.pipeline.opening import OpenStream, StreamSource
from gaecli.pipeline.stream import RunContext, final
from gaecli.pipeline.worker import Worker
from gaecli.records import dataclass
from gaecli.summary import WarningNote
from gaecli.writing.encode_part import WrittenFrom
from gaecli.writing.kept_words import kept_words
from gaecli.writing.write_file import NewFilePlan, ResultFacts, WriteFile, Written

if TYPE_CHECKING:
    from gaecli.pipeline.labels import LabelConstants
    from gaecli.pipeline.sketches import SketchBook

#: Larger files are looked at by several workers, however many other files there are: the last one is waited for.
_MOST_BYTES = 512 << 20
#: So many files for each worker, and none of them waits long for work.
FILES_PER_JOB = 2


@dataclass(frozen=True, eq=False)
class WrittenStream:
    """What whoever commits the result of a stream has to know of it."""

    written: Written
    warnings: Sequence[WarningNote]
    edges: Edges | None
    constants: Constants
    labels: LabelConstants | None


@dataclass(frozen=True, eq=False)
class WriteStream:
    """A stream of one file; without `new_file`, only what it adds up to."""

    stream: StreamSource
    new_file: NewFilePlan | None
    #: Its words are found out here.
    facts: ResultFacts
    #: Empty, where pictures are to be drawn.
    book: SketchBook | None = None

    def __call__(self, worker: Worker) -> list[WrittenStream]:
        own = worker.of_one_task()
        try:
            return [self._written(own)]
        finally:
            own.files.release(self.stream.file)

    def _written(self, own: Worker) -> WrittenStream:
        opened = self.stream.open(own.files.open(self.stream.file))
        found = final(opened, RunContext(LocalEngine(own, Threads(1)), own))
        stream = found.stream
        words = kept_words(stream.warnings, stream.edges, stream.plan.paths)
        source = WrittenFrom(stream.opened.source(0), stream.carries_of(0), found.constants, found.labels)
        writing = WriteFile([source], self.new_file, replace(self.facts, words=words), self.book)
        (written,) = writing(own)
        return WrittenStream(written, stream.warnings, stream.edges, found.constants, found.labels)

    def parts(self, worker: Worker) -> Iterator[WriteStream]:
        yield self


def is_one_task(opened: OpenStream, num_streams: int, jobs: int) -> bool:
    """Whether several workers would only read the same file several times: there is enough else for them to do."""
    if len(opened.files) > 1 or opened.plan.data_set is not None:
        return False
    (one,) = opened.files
    is_small = one.file.identity[0] <= _MOST_BYTES and num_streams >= FILES_PER_JOB * jobs
    return is_small or len(one.units) == 1
