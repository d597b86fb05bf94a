"""Streams that share constants: all of them are looked at before the first is written.

There may be thousands, so none stays open from one look to the next but the first few: see `gaecli.pipeline.shelf`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain
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
from gaecli.writing.provenance import Fingerprint, fingerprint_of, inputs_of_prints

if TYPE_CHECKING:
    from gaecli.pipeline.labels import LabelConstants, SurveyAnswer, SurveyQuestion

S = TypeVar("S")
T = TypeVar("T")


class Hands(Protocol):
    """Of the run: how steps of many streams are carried out."""

    steps: StreamSteps

    def open(self, job: Job) -> OpenStream: ...

    def each(self, function: Callable[[S], T], jobs: Sequence[S]) -> Iterator[T]:
        """In the order of the jobs."""

    def guard(self, job: Job, step: Callable[[], T]) -> T | Outcome:
        """What the step gives, or the outcome of a stream with which something went wrong."""


class _ByHeaders(NamedTuple):
    """What is known of a stream by its headers."""

    prints: tuple[Fingerprint, ...]
    #: All its results may be there from an earlier run.
    may_be_done: bool


class _AtOnce(NamedTuple):
    """What a stream says of the first stage, measured as it is opened: it need not be opened again for that."""

    measured: StageTables | None


class Together:
    """`look` at all of them comes first, then `finish` of each."""

    def __init__(self, hands: Hands, jobs: Sequence[Job]) -> None:
        self._hands = hands
        self._jobs = jobs
        self._steps = steps = hands.steps
        self._settings, self._context = steps.settings, steps.context
        self._shelf = Shelf(self._settings, steps.places.inputs.check_unchanged, self._context.worker.forget)
        self._seen: dict[int, _ByHeaders] = {}
        #: Of streams that failed, and of some that are up to date; the others of these are looked up once more.
        self._outcomes: dict[int, Outcome] = {}
        self._up_to_date: set[int] = set()
        self._constants: Constants = ()
        self._labels: LabelConstants | None = None
        self._inputs = ""
        #: What the first streams say of the first stage, and how many they are: up to the one that an earlier run may
        #: have written, they are measured as they are opened.
        self._first = StageTables(self._steps.stages[0]) if self._steps.stages else None
        self._num_measured = 0
        self._is_first_over = self._first is None or self._settings.success_column is not None

    def look(self) -> None:
        """All that the streams have to say to each other."""
        good = self._carry_on(self._open, self._jobs, self._take_first)
        self._check_label_types(good)
        self._inputs = self._inputs_of(good)
        # Each of them is needed for the constants that they share; pictures need all rows.
        if not self._steps.options.gallery and all(self._seen[job.number].may_be_done for job in good):
            done = self._carry_on(partial(self._is_done, constants=()), good)
            good = [job for job in good if not self._has_failed(job)]
            if len(done) == len(good):
                return
            self._forget_done(good)
        if self._settings.success_column is not None:
            good = self._with_outcomes(good)
        ready = self._measured(good)
        self._inputs = self._inputs_of(ready)
        self._labels, ready = self._labels_of(ready)
        # A run that was killed, or that met the same bad file, has written some of them already.
        perhaps = [job for job in ready if self._seen[job.number].may_be_done]
        self._carry_on(partial(self._is_done, constants=self._constants), perhaps)

    def _has_failed(self, job: Job) -> bool:
        outcome = self._outcomes.get(job.number)
        return outcome is not None and outcome.is_failure

    def finish(self, job: Job) -> Outcome | ReadyStream:
        outcome = self._outcomes.pop(job.number, None)
        if outcome is not None and outcome.is_failure:
            return outcome
        stream = self._taken(job)
        self._shelf.drop(job.number)
        if outcome is None and job.number in self._up_to_date:
            outcome = self._steps.up_to_date(_opened(stream), self._inputs)
            if outcome is None:
                raise FileError(f"the result of `{job.plan.paths[0]}` was changed by somebody else meanwhile")
        if outcome is not None:
            return outcome
        assert isinstance(stream, SummarisedStream)
        if self._context.engine.is_here:
            self._context.worker.files.know(stream.opened)
        return self._steps.written(stream, self._constants, self._labels, self._inputs)

    def _carry_on(
        self,
        step: Callable[[Job], T | Outcome | None],
        jobs: Sequence[Job],
        take: Callable[[T], object] = lambda found: None,
    ) -> list[Job]:
        """Those for which the step gives what it is for, which is handed on in their order.

        Of the others that fail there is an outcome.
        """
        good = []
        results = self._hands.each(lambda job: self._hands.guard(job, partial(step, job)), jobs)
        for job, found in zip(jobs, results, strict=True):
            if isinstance(found, Outcome):
                self._outcomes[job.number] = found
                self._shelf.drop(job.number)
            elif found is not None:
                take(found)
                good.append(job)
        return good

    def _taken(self, job: Job) -> AnyStream:
        stream = self._shelf.get(job.number, job.plan)
        job.opened = _opened(stream)
        return stream

    def _put(self, job: Job, stream: AnyStream) -> None:
        self._shelf.put(stream)
        job.opened = None

    def _open(self, job: Job) -> _AtOnce:
        opened = self._hands.open(job)
        self._steps.expect_looks(opened)
        prints = tuple(fingerprint_of(one.file) for one in opened.files)
        seen = _ByHeaders(prints, self._steps.may_be_done(opened))
        self._seen[job.number] = seen
        if self._first is not None and not (self._is_first_over or seen.may_be_done):
            return _AtOnce(self._measured_one(job, opened, self._first.stage))
        self._put(job, opened)
        return _AtOnce(None)

    def _take_first(self, found: _AtOnce) -> None:
        """Moments are merged in the order of the streams, whatever was there before."""
        if self._first is None or found.measured is None:
            self._is_first_over = True
        elif not self._is_first_over:
            self._first.merge(found.measured)
            self._num_measured += 1

    def _inputs_of(self, jobs: Sequence[Job]) -> str:
        return inputs_of_prints([one for job in jobs for one in self._seen[job.number].prints])

    def _check_label_types(self, jobs: Sequence[Job]) -> None:
        if not self._settings.label_columns:
            return
        from gaecli.pipeline.label_types import LabelTypes

        types = LabelTypes()
        for job in jobs:
            types.add(_opened(self._shelf.get(job.number, job.plan)))

    def _is_done(self, job: Job, constants: Constants) -> bool | None:
        """Whether a stream is up to date; where pictures are drawn of it, with what they are drawn from."""
        stream = self._taken(job)
        if isinstance(stream, SummarisedStream):
            outcome = self._steps.left_alone(stream, constants, self._labels, self._inputs)
        else:
            outcome = self._steps.up_to_date(stream, self._inputs)
        self._put(job, stream)
        if outcome is None:
            return None
        if self._shelf.keeps(job.number) or outcome.sketches is not None:
            self._outcomes[job.number] = outcome
        else:
            self._up_to_date.add(job.number)
        return True

    def _forget_done(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            self._outcomes.pop(job.number, None)
        self._up_to_date.clear()

    def _with_outcomes(self, jobs: Sequence[Job]) -> list[Job]:
        """Those whose rewards could be made, by the longest episode of all of them."""
        from gaecli.pipeline.outcomes import with_longest

        longest = 0

        def known(job: Job) -> int:
            opened = self._steps.with_outcomes(_opened(self._taken(job)))
            self._put(job, opened)
            return opened.longest_episode

        def take(found: int) -> None:
            nonlocal longest
            longest = max(longest, found)

        good = self._carry_on(known, jobs, take)
        for job in good:
            self._put(job, with_longest(_opened(self._taken(job)), longest))
        return good

    def _measured(self, jobs: Sequence[Job]) -> list[Job]:
        """Looked at, and measured stage by stage."""
        if not self._steps.stages:
            return self._carry_on(self._summarise, jobs)
        total, done = self._first, list(jobs[: self._num_measured])
        for stage in self._steps.stages:
            total = total or StageTables(stage)
            jobs = done + self._carry_on(partial(self._measure, stage=stage), jobs[len(done) :], total.merge)
            self._constants = (*self._constants, total.constants())
            total, done = None, []
        return list(jobs)

    def _summarise(self, job: Job) -> bool:
        stream = self._steps.summarised(_opened(self._taken(job)))
        self._put(job, stream.for_later_looks())
        return True

    def _measure(self, job: Job, stage: ScoreStage) -> StageTables:
        return self._measured_one(job, self._taken(job), stage)

    def _measured_one(self, job: Job, stream: AnyStream, stage: ScoreStage) -> StageTables:
        if isinstance(stream, OpenStream):
            stream = self._steps.summarised(stream)
        found = stream.measure(self._context, self._constants, stage)
        self._put(job, stream.for_later_looks())
        return found

    def _labels_of(self, jobs: list[Job]) -> tuple[LabelConstants | None, list[Job]]:
        """What labels and weights of all streams rest on together, and the streams that could be asked."""
        if not self._settings.has_labels:
            return None, jobs
        from gaecli.pipeline.labels import LabelSearch

        search = LabelSearch(self._settings)
        while (question := search.question) is not None:
            answers: list[list[SurveyAnswer]] = []
            ask = partial(self._survey, question=question)
            asked = self._carry_on(ask, jobs, answers.append)
            if len(asked) < len(jobs):  # what is left has other quantiles
                jobs, search = asked, LabelSearch(self._settings)
                continue
            search.take(chain.from_iterable(answers))
        return search.constants, jobs

    def _survey(self, job: Job, question: SurveyQuestion) -> list[SurveyAnswer]:
        stream = self._taken(job)
        assert isinstance(stream, SummarisedStream)
        found = self._steps.survey(stream, question, self._constants)
        self._put(job, stream)
        return found


def _opened(stream: AnyStream) -> OpenStream:
    return stream if isinstance(stream, OpenStream) else stream.opened
