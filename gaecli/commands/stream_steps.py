"""What one stream goes through in `gae compute`: opened, compared, looked at, measured, written. Not committed."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from typing import TYPE_CHECKING

from gaecli.commands.outcome import Outcome
from gaecli.commands.rerun import earlier_entries, may_be_done
from gaecli.commands.warnings import behind_cache, findings, only_file
from gaecli.estimators.stages import stages_of
from gaecli.kernels.devices import Device
from gaecli.kernels.torch_import import start_torch_import
from gaecli.pipeline.apply import Totals
from gaecli.pipeline.header_notes import earlier_columns, names_alike, stored_settings
from gaecli.pipeline.judging.continuity import Edges
from gaecli.pipeline.label_tables import Constants
from gaecli.pipeline.opening import OpenStream, open_stream
from gaecli.pipeline.stream import RunContext, SummarisedStream, final, summarised, with_outcomes
from gaecli.records import dataclass
from gaecli.settings import Settings
from gaecli.sources.inputs import StreamPlan
from gaecli.storage.places import Places
from gaecli.summary import WarningNote
from gaecli.writing.encode_part import WrittenFrom
from gaecli.writing.kept_words import kept_words
from gaecli.writing.output import Output, by_new_file
from gaecli.writing.outputs import Outputs
from gaecli.writing.provenance import inputs_of
from gaecli.writing.write_file import WriteFile

if TYPE_CHECKING:
    from gaecli.pipeline.labels import LabelConstants, SurveyAnswer, SurveyQuestion
    from gaecli.pipeline.sketches import SketchBook


class Job:
    """A stream from the plan to its outcome."""

    __slots__ = ("number", "opened", "plan")

    def __init__(self, number: int, plan: StreamPlan) -> None:
        self.number = number
        self.plan = plan
        #: Once it is open, until it is over: of a thousand streams it is more than their data.
        self.opened: OpenStream | None = None


@dataclass(frozen=True, eq=False)
class ReadyStream:
    """A stream whose new files are complete, and not in their places yet."""

    opened: OpenStream
    warnings: Sequence[WarningNote]
    #: As of `SummarisedStream`.
    edges: Edges | None
    outputs: Sequence[Output]
    #: What pictures are drawn from, where they are.
    book: SketchBook | None


class StreamSteps:
    """Of any stream of the run, several of them side by side, each in one thread at a time."""

    def __init__(
        self,
        settings: Settings,
        places: Places,
        outputs: Outputs,
        context: RunContext,
        device: Device,
        num_streams: int,
    ) -> None:
        self.settings = settings
        self.options = places.options
        self.places = places
        self.outputs = outputs
        self.context = context
        self.device = device
        self.num_streams = num_streams
        self.stages = stages_of(settings)

    def open(self, number: int, plan: StreamPlan) -> OpenStream:
        with self.context.worker.clock("read"):
            self.places.inputs.attach(plan.paths)
            opened = open_stream(
                plan,
                self.settings,
                self.options.memory_bytes,
                number=number,
                block_rows=self.outputs.rows_per_block,
            )
            if len(opened.files) > 1 and opened.settings.label_columns:
                from gaecli.pipeline.label_types import LabelTypes

                LabelTypes().add(opened)
            opened.warnings.extend([*stored_settings(opened), *earlier_columns(opened)])
            if not self.options.sidecar:
                opened.warnings.extend(names_alike(opened))
            return opened

    def rest(self, opened: OpenStream) -> Outcome | ReadyStream:
        """All that follows for a stream that shares its normalisation with no other."""
        inputs = inputs_of([one.file for one in opened.files])
        done = self.up_to_date(opened, inputs)
        if done is not None and not self.options.gallery:
            return done
        self.outputs.check_room(opened)
        ahead = None
        if done is None:
            if self.context.engine.is_here:
                ahead = self.outputs.begin_early(opened, self.context.worker)
                if self.device.uses_torch:  # after the copy has begun, which goes on meanwhile
                    start_torch_import()
            elif (ready := self._in_one_task(opened, inputs)) is not None:
                return ready
        if ahead is None:
            self.expect_looks(opened)
        with self.context.worker.clock("read"):
            self._fill(opened)
        found = final(opened, self.context, ahead)
        if done is not None:
            return self._drawn(done, found.stream, found.constants, found.labels)
        return self.written(found.stream, found.constants, found.labels, inputs)

    def expect_looks(self, opened: OpenStream) -> None:
        """Of a stream whose blocks are not finished during the first: that one, one for each thing that all blocks
        say together, and the last."""
        if opened.plan.progress is None:
            return
        num_stages = len(self.stages)
        if opened.is_one_block and num_stages:
            num_stages -= 1  # measured in passing
        has_outcomes = self.settings.success_column is not None
        opened.plan.progress.expect(2 + num_stages + self.settings.has_labels + has_outcomes)

    def _in_one_task(self, opened: OpenStream, inputs: str) -> ReadyStream | None:
        """Looked at and written by the same worker, if there is enough to do for the others."""
        from gaecli.writing.write_stream import WriteStream, is_one_task

        if not is_one_task(opened, self.num_streams, self.context.engine.jobs):
            return None
        outputs = self.outputs.of(opened)
        book = new_book() if self.options.gallery else None
        task = WriteStream(opened.alone(), *self.outputs.place(outputs[0], inputs), book)
        ((found,),) = self.context.engine.run([task])
        outputs[0].constants, outputs[0].labels = found.constants, found.labels
        self.outputs.complete(outputs, found.written)
        return ReadyStream(opened, found.warnings, found.edges, outputs, found.written.book)

    def may_be_done(self, opened: OpenStream) -> bool:
        """Whether it is worth while to ask if a stream is up to date."""
        return may_be_done(opened, self.outputs.targets, self.places)

    def up_to_date(self, opened: OpenStream, inputs: str) -> Outcome | None:
        """The outcome of the earlier run, if all files of the stream hold just what this run would write."""
        targets = self.outputs.targets
        entries = earlier_entries(opened, targets, self.places, self.settings, inputs)
        if entries is None:
            return None
        self.outputs.data_sets.found(opened, entries)
        outcome = Outcome.up_to_date(opened, targets, entries)
        outcome.warnings.extend(findings(opened, outcome.totals, outcome.facts, self.settings, self.device))
        outcome.warnings.extend(self._of_success(opened, outcome))
        return outcome

    def _of_success(self, opened: OpenStream, outcome: Outcome) -> list[WarningNote]:
        if self.settings.success_column is None:
            return []
        from gaecli.commands.told_labels import open_episodes

        return open_episodes(opened.roles, outcome.totals, self.settings, only_file(opened.plan))

    def left_alone(
        self, stream: SummarisedStream, constants: Constants, labels: LabelConstants | None, inputs: str
    ) -> Outcome | None:
        """`up_to_date` of a stream that was looked at, with what pictures are drawn from."""
        done = self.up_to_date(stream.opened, inputs)
        if done is None or not self.options.gallery:
            return done
        return self._drawn(done, stream, constants, labels)

    def with_outcomes(self, opened: OpenStream) -> OpenStream:
        """Once it is known of all episodes whether they succeeded, and which is the longest."""
        with self.context.worker.clock("read"):
            self._fill(opened)
        return with_outcomes(opened, self.context)

    def _fill(self, opened: OpenStream) -> None:
        """See that the columns can be read, where they are in this process."""
        if self.context.engine.is_here:
            for one in opened.files:
                self.places.inputs.fill(one.file.path, one.columns)

    def survey(
        self, stream: SummarisedStream, question: SurveyQuestion, constants: Constants
    ) -> list[SurveyAnswer]:
        """One look at every block, for what labels and weights rest on."""
        return list(stream.survey(self.context, question, constants))

    def summarised(self, opened: OpenStream) -> SummarisedStream:
        with self.context.worker.clock("read"):
            self._fill(opened)
        return summarised(opened, self.context, measures=True)

    def written(
        self, stream: SummarisedStream, constants: Constants, labels: LabelConstants | None, inputs: str
    ) -> ReadyStream:
        """The new files, complete."""
        self.outputs.check_room(stream.opened)
        outputs = self.outputs.of(stream.opened)
        book = new_book() if self.options.gallery else None
        words = kept_words(stream.warnings, stream.edges, stream.plan.paths)

        def tasks(groups: Iterable[Sequence[Output]]) -> Generator[WriteFile, None, None]:
            for group in groups:
                for output in group:
                    output.constants, output.labels = constants, labels
                encoded = self.outputs.parts(group, stream)
                parts = [part for found in self.context.engine.run(encoded) for part in found]
                yield self.outputs.task(group, stream, inputs, words, book, parts)

        groups = by_new_file(outputs)
        # What is drawn of a file goes on with what is drawn of the one before it.
        runs = [groups] if book is None else [[group] for group in groups]
        for together in runs:
            with closing(tasks(together)) as begun:
                for group, (written,) in zip(together, self.context.engine.run(begun), strict=True):
                    self.outputs.complete(group, written)
                    book = written.book
        return ReadyStream(stream.opened, stream.warnings, stream.edges, outputs, book)

    def done(self, ready: ReadyStream) -> Outcome:
        """Of a stream whose new files are in their places."""
        plan = ready.opened.plan
        outcome = Outcome.done(
            ready.opened, self.outputs.targets, ready.outputs, dry_run=self.options.dry_run
        )
        outcome.warnings.extend(ready.warnings)
        outcome.sketches, outcome.edges = ready.book, ready.edges
        outcome.warnings.extend(
            findings(ready.opened, outcome.totals, outcome.facts, self.settings, self.device)
        )
        outcome.warnings.extend(self._of_success(ready.opened, outcome))
        data_set = plan.data_set
        if data_set is not None and ready.opened.number in self.outputs.data_sets.behind_caches:
            outcome.warnings.append(behind_cache(str(data_set.root)))
        return outcome

    def _drawn(
        self, done: Outcome, stream: SummarisedStream, constants: Constants, labels: LabelConstants | None
    ) -> Outcome:
        """What is up to date, with the numbers that pictures are drawn from: computed, and not written."""
        done.totals, book = Totals(), new_book()
        for index in range(len(stream.files)):
            source = WrittenFrom(stream.opened.source(index), stream.carries_of(index), constants, labels)
            ((written,),) = self.context.engine.run([WriteFile([source], book=book)])
            done.totals.merge(written.totals[0])
            book = written.book or book
        done.sketches = book
        return done


def new_book() -> SketchBook:
    """What pictures are drawn from; imported where they are."""
    from gaecli.pipeline.sketches import SketchBook

    return SketchBook()
