"""The streams of one process that wait for those of others as well: what is known of each, and the looks at it.

What they have in common is told with each step, and what a step finds is handed back: see `gaecli.commands.together`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

from gaecli.commands.outcome import Outcome
from gaecli.commands.stream_steps import Job, ReadyStream, StreamSteps
from gaecli.errors import FileError
from gaecli.estimators.stages import ScoreStage
from gaecli.pipeline.block_stages import StageTables
from gaecli.pipeline.label_tables import Constants
from gaecli.pipeline.opening import OpenStream
from gaecli.pipeline.shelf import AnyStream, Shelf
from gaecli.pipeline.stream import SummarisedStream
from gaecli.records import dataclass
from gaecli.writing.provenance import Fingerprint, fingerprint_of

if TYPE_CHECKING:
    from gaecli.pipeline.label_types import LabelledColumn
    from gaecli.pipeline.labels import LabelConstants, SurveyAnswer, SurveyQuestion

T = TypeVar("T")


class Guard(Protocol):
    def __call__(self, job: Job, step: Callable[[], T]) -> T | Outcome:
        """Turn what goes wrong with one stream into its outcome."""


class OpenedOnce(NamedTuple):
    """What is known of a stream by its headers, and what it says of the first stage where it was measured at once."""

    prints: tuple[Fingerprint, ...]
    #: All its results may be there from an earlier run.
    may_be_done: bool
    #: It need not be opened again for that.
    measured: StageTables | None


@dataclass(frozen=True, eq=False)
class Shared:
    """What all streams have said together."""

    constants: Constants = ()
    labels: LabelConstants | None = None
    #: Fingerprint of all inputs that the numbers depend on.
    inputs: str = ""


class WaitingStreams:
    """A step is a method with all but the job told: a plain value, for a process that has the stream.

    The others hold on to what they find out about a stream from one step to the next.
    """

    def __init__(self, steps: StreamSteps, open_job: Callable[[Job], OpenStream], guard: Guard) -> None:
        self._steps = steps
        self._open_job = open_job
        self._guard = guard
        self._context = steps.context
        self._shelf = Shelf(steps.settings, steps.places.inputs.check_unchanged, self._context.worker.forget)
        #: Of streams that failed, and of some that are up to date; the others of these are looked up once more.
        self._outcomes: dict[int, Outcome] = {}
        self._up_to_date: set[int] = set()
        #: Up to the first stream that an earlier run may have written, they are measured as they are opened.
        self._measures_at_once = bool(steps.stages) and steps.settings.success_column is None

    def take(self, step: Callable[[WaitingStreams, Job], T], job: Job) -> T | Outcome:
        """What the step gives, or the outcome of a stream with which something went wrong."""
        found: T | Outcome = self._guard(job, partial(step, self, job))
        if isinstance(found, Outcome):
            self._outcomes[job.number] = found
            self._shelf.drop(job.number)
        return found

    def open(self, job: Job) -> OpenedOnce:
        opened = self._open_job(job)
        self._steps.expect_looks(opened)
        prints = tuple(fingerprint_of(one.file) for one in opened.files)
        may_be_done = self._steps.may_be_done(opened)
        if may_be_done:
            self._measures_at_once = False
        if self._measures_at_once:
            return OpenedOnce(prints, may_be_done, self._measured(job, opened, (), self._steps.stages[0]))
        self._put(job, opened)
        return OpenedOnce(prints, may_be_done, None)

    def labelled_columns(self, job: Job) -> list[LabelledColumn]:
        from gaecli.pipeline.label_types import labelled_columns

        return labelled_columns(_opened(self._shelf.get(job.number, job.plan)))

    def is_done(self, job: Job, shared: Shared) -> bool | None:
        """Whether a stream is up to date; where pictures are drawn of it, with what they are drawn from."""
        stream = self._taken(job)
        if isinstance(stream, SummarisedStream):
            outcome = self._steps.left_alone(stream, shared.constants, shared.labels, shared.inputs)
        else:
            outcome = self._steps.up_to_date(stream, shared.inputs)
        self._put(job, stream)
        if outcome is None:
            return None
        if self._shelf.keeps(job.number) or outcome.sketches is not None:
            self._outcomes[job.number] = outcome
        else:
            self._up_to_date.add(job.number)
        return True

    def forget_done(self, job: Job) -> None:
        self._outcomes.pop(job.number, None)
        self._up_to_date.discard(job.number)

    def longest_episode(self, job: Job) -> int:
        """Of a stream whose rewards success makes, and whose episodes are known from now on."""
        opened = self._steps.with_outcomes(_opened(self._taken(job)))
        self._put(job, opened)
        return opened.longest_episode

    def know_longest(self, job: Job, longest: int) -> None:
        from gaecli.pipeline.outcomes import with_longest

        self._put(job, with_longest(_opened(self._taken(job)), longest))

    def summarise(self, job: Job) -> bool:
        stream = self._steps.summarised(_opened(self._taken(job)))
        self._put(job, stream.for_later_looks())
        return True

    def measure(self, job: Job, constants: Constants, stage: ScoreStage) -> StageTables:
        return self._measured(job, self._taken(job), constants, stage)

    def survey(self, job: Job, question: SurveyQuestion, constants: Constants) -> list[SurveyAnswer]:
        stream = self._taken(job)
        assert isinstance(stream, SummarisedStream)
        found = self._steps.survey(stream, question, constants)
        self._put(job, stream)
        return found

    def finish(self, job: Job, shared: Shared) -> Outcome | ReadyStream:
        outcome = self._outcomes.pop(job.number, None)
        if outcome is not None and outcome.is_failure:
            return outcome
        stream = self._taken(job)
        self._shelf.drop(job.number)
        if outcome is None and job.number in self._up_to_date:
            outcome = self._steps.up_to_date(_opened(stream), shared.inputs)
            if outcome is None:
                raise FileError(f"the result of `{job.plan.paths[0]}` was changed by somebody else meanwhile")
        if outcome is not None:
            return outcome
        assert isinstance(stream, SummarisedStream)
        if self._context.engine.is_here:
            self._context.worker.files.know(stream.opened)
        return self._steps.written(stream, shared.constants, shared.labels, shared.inputs)

    def _measured(self, job: Job, stream: AnyStream, constants: Constants, stage: ScoreStage) -> StageTables:
        if isinstance(stream, OpenStream):
            stream = self._steps.summarised(stream)
        found = stream.measure(self._context, constants, stage)
        self._put(job, stream.for_later_looks())
        return found

    def _taken(self, job: Job) -> AnyStream:
        stream = self._shelf.get(job.number, job.plan)
        job.opened = _opened(stream)
        return stream

    def _put(self, job: Job, stream: AnyStream) -> None:
        self._shelf.put(stream)
        job.opened = None


def _opened(stream: AnyStream) -> OpenStream:
    return stream if isinstance(stream, OpenStream) else stream.opened
