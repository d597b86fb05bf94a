"""Streams that share constants: all of them are looked at before the first is written.

There may be thousands, so none stays open from one look to the next but the first few: see `gaecli.pipeline.shelf`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Protocol, TypeVar

from gaecli.commands.outcome import Outcome
from gaecli.commands.stream_steps import Job, StreamSteps
from gaecli.commands.waiting_streams import OpenedOnce, Shared, WaitingStreams
from gaecli.pipeline.block_stages import StageTables
from gaecli.writing.provenance import inputs_of_prints

if TYPE_CHECKING:
    from gaecli.pipeline.labels import LabelConstants, SurveyAnswer

T = TypeVar("T")


class Hands(Protocol):
    """Of the run: how steps of many streams are carried out."""

    steps: StreamSteps

    def each_waiting(
        self, step: Callable[[WaitingStreams, Job], T], jobs: Sequence[Job]
    ) -> Iterator[T | Outcome]:
        """In the order of the jobs; the outcome of a stream with which something went wrong."""


class Together:
    """`look` at all of them comes first; then each can be finished with what they `share`."""

    def __init__(self, hands: Hands, jobs: Sequence[Job]) -> None:
        self._hands = hands
        self._jobs = jobs
        self._stages = hands.steps.stages
        self._settings = hands.steps.settings
        self._has_pictures = hands.steps.options.gallery
        self._seen: dict[int, OpenedOnce] = {}
        self._failed: set[int] = set()
        self.shared = Shared()
        #: What the first streams say of the first stage, and how many they are: those that were measured as they were
        #: opened.
        self._first = StageTables(self._stages[0]) if self._stages else None
        self._num_measured = 0
        self._is_first_over = self._first is None

    def look(self) -> None:
        """All that the streams have to say to each other."""
        good = self._opened()
        self._check_label_types(good)
        self._share_inputs_of(good)
        # Each of them is needed for the constants that they share; pictures need all rows.
        if not self._has_pictures and all(self._seen[job.number].may_be_done for job in good):
            done = self._carry_on(partial(WaitingStreams.is_done, shared=self.shared), good)
            good = self._without_failed(good)
            if len(done) == len(good):
                return
            self._have_done(WaitingStreams.forget_done, good)
        if self._settings.success_column is not None:
            good = self._with_outcomes(good)
        ready = self._measured(good)
        self._share_inputs_of(ready)
        labels, ready = self._labels_of(ready)
        self.shared = replace(self.shared, labels=labels)
        # A run that was killed, or that met the same bad file, has written some of them already.
        perhaps = [job for job in ready if self._seen[job.number].may_be_done]
        self._carry_on(partial(WaitingStreams.is_done, shared=self.shared), perhaps)

    def _carry_on(
        self,
        step: Callable[[WaitingStreams, Job], T | None],
        jobs: Sequence[Job],
        take: Callable[[T], object] = lambda found: None,
    ) -> list[Job]:
        """Those for which the step gives what it is for, which is handed on in their order."""
        good = []
        for job, found in zip(jobs, self._hands.each_waiting(step, jobs), strict=True):
            if isinstance(found, Outcome):
                self._failed.add(job.number)
            elif found is not None:
                take(found)
                good.append(job)
        return good

    def _without_failed(self, jobs: Sequence[Job]) -> list[Job]:
        return [job for job in jobs if job.number not in self._failed]

    def _have_done(self, step: Callable[[WaitingStreams, Job], None], jobs: Sequence[Job]) -> None:
        """A step that finds nothing out."""
        self._carry_on(step, jobs)

    def _opened(self) -> list[Job]:
        found: list[OpenedOnce] = []

        def take(one: OpenedOnce) -> None:
            self._take_first(one)
            found.append(one._replace(measured=None))

        good = self._carry_on(WaitingStreams.open, self._jobs, take)
        self._seen = {job.number: seen for job, seen in zip(good, found, strict=True)}
        return good

    def _take_first(self, found: OpenedOnce) -> None:
        """Moments are merged in the order of the streams, whatever was there before."""
        if self._first is None or found.measured is None:
            self._is_first_over = True
        elif not self._is_first_over:
            self._first.merge(found.measured)
            self._num_measured += 1

    def _share_inputs_of(self, jobs: Sequence[Job]) -> None:
        prints = [one for job in jobs for one in self._seen[job.number].prints]
        self.shared = replace(self.shared, inputs=inputs_of_prints(prints))

    def _check_label_types(self, jobs: Sequence[Job]) -> None:
        if not self._settings.label_columns:
            return
        from gaecli.pipeline.label_types import LabelTypes

        self._carry_on(WaitingStreams.labelled_columns, jobs, LabelTypes().add_columns)

    def _with_outcomes(self, jobs: Sequence[Job]) -> list[Job]:
        """Those whose rewards could be made, by the longest episode of all of them."""
        longest = [0]
        good = self._carry_on(WaitingStreams.longest_episode, jobs, longest.append)
        self._have_done(partial(WaitingStreams.know_longest, longest=max(longest)), good)
        return self._without_failed(good)

    def _measured(self, jobs: Sequence[Job]) -> list[Job]:
        """Looked at, and measured stage by stage."""
        if not self._stages:
            return self._carry_on(WaitingStreams.summarise, jobs)
        total, done = self._first, list(jobs[: self._num_measured])
        for stage in self._stages:
            total = total or StageTables(stage)
            constants = self.shared.constants
            measure = partial(WaitingStreams.measure, constants=constants, stage=stage)
            jobs = done + self._carry_on(measure, jobs[len(done) :], total.merge)
            self.shared = replace(self.shared, constants=(*constants, total.constants()))
            total, done = None, []
        return list(jobs)

    def _labels_of(self, jobs: list[Job]) -> tuple[LabelConstants | None, list[Job]]:
        """What labels and weights of all streams rest on together, and the streams that could be asked."""
        if not self._settings.has_labels:
            return None, jobs
        from gaecli.pipeline.labels import LabelSearch

        search = LabelSearch(self._settings)
        while (question := search.question) is not None:
            answers: list[list[SurveyAnswer]] = []
            survey = partial(WaitingStreams.survey, question=question, constants=self.shared.constants)
            asked = self._carry_on(survey, jobs, answers.append)
            if len(asked) < len(jobs):  # what is left has other quantiles
                jobs, search = asked, LabelSearch(self._settings)
                continue
            search.take(chain.from_iterable(answers))
        return search.constants, jobs
