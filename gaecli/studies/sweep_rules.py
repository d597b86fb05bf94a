"""Estimators and presets side by side: one reading of all streams for each, compared with the first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial

import numpy as np

from gaecli.array_types import Array, FloatArray
from gaecli.formats.base import OutputColumn
from gaecli.label_summary import LabelGroup
from gaecli.pipeline.apply import Totals, reading_totals
from gaecli.pipeline.combine import Carry
from gaecli.pipeline.label_types import LabelTypes
from gaecli.pipeline.labels import LabelConstants
from gaecli.pipeline.settle import Settled
from gaecli.records import dataclass
from gaecli.sources.inputs import StreamPlan
from gaecli.studies.columns_out import ColumnsOut, first_column
from gaecli.studies.final_numbers import Finisher, finishers
from gaecli.studies.reading import SettledStream, Tried, longest_episode, read_stream
from gaecli.studies.row_spool import ColumnSpool, RowSpool, SignSpool
from gaecli.studies.sweep_labels import NO_LABEL, LabelTotal, Thresholds, block_labels, groups_told
from gaecli.studies.sweep_points import SweepPoints
from gaecli.studies.sweep_totals import Compared, PointTotal, own_returns_that_count, values_that_count

#: A stream by its number.
NumberedStream = tuple[int, StreamPlan]


@dataclass(frozen=True, eq=False)
class RuleTotals:
    """Of one stream: what it adds under each rule, and of itself as the first rule reads it."""

    plan: StreamPlan
    reading: SettledStream
    totals: Totals
    by_point: list[PointTotal]


def rules_side_by_side(
    plans: Sequence[StreamPlan], points: SweepPoints, output: ColumnsOut, memory_bytes: int, tried: Tried
) -> tuple[list[RuleTotals], list[Sequence[LabelGroup]]]:
    """Of the streams that every rule can read; groups reach over all of them.

    One that a later rule cannot read has been compared with the others by then: they begin again without it.
    """
    good: list[NumberedStream] = list(enumerate(plans))
    while good:
        with closing(_Rules(points, output, memory_bytes, tried)) as rules:
            left = rules.read(good)
        if left is None:
            return list(rules.found.values()), rules.label_groups
        good = left
    return [], []


class _Rules:
    """One attempt."""

    def __init__(self, points: SweepPoints, output: ColumnsOut, memory_bytes: int, tried: Tried) -> None:
        self.found: dict[int, RuleTotals] = {}
        #: Thresholds by rule, where rows are labelled.
        self.label_groups: list[Sequence[LabelGroup]] = []
        self._points, self._output, self._memory, self._tried = points, output, memory_bytes, tried
        self._open = ExitStack()
        self._signs = self._open.enter_context(closing(SignSpool()))
        self._labels = self._open.enter_context(closing(RowSpool(np.int8)))
        num_waiting = len(points.points) - 1 if output.is_wanted else 0
        self._columns = [self._open.enter_context(closing(ColumnSpool())) for _ in range(num_waiting)]

    def close(self) -> None:
        self._open.close()

    def read(self, good: list[NumberedStream]) -> list[NumberedStream] | None:
        """None where it is done; else the streams that are left."""
        for index in range(len(self._points.points)):
            readings = self._readings(index, good)
            left = [one for one in good if one[0] in readings]
            if not left or (len(left) < len(good) and index > 0):
                return left
            good = left
            finish_each = finishers([readings[number] for number, _ in good])
            constants = self._thresholds(index, [readings[number] for number, _ in good], finish_each)
            for (number, plan), finish in zip(good, finish_each, strict=True):
                self._look_through(index, number, plan, readings[number], finish, constants)
        return None

    def _readings(self, index: int, good: list[NumberedStream]) -> dict[int, SettledStream]:
        """Of the streams that this rule can read, by number."""
        settings, types = self._points.points[index], LabelTypes()
        memory = self._memory // max(len(good), 1)
        longest = longest_episode([plan for _, plan in good], settings, memory, self._tried)
        found = {}
        for number, plan in good:
            read = partial(read_stream, plan, settings, memory, number=number, longest_episode=longest)
            reading = self._tried(plan, partial(self._read, types, read, is_first=index == 0))
            if reading is not None:
                found[number] = reading
        return found

    def _read(self, types: LabelTypes, read: Callable[[], SettledStream], *, is_first: bool) -> SettledStream:
        """The next stream, whose groups may be those of the streams before it."""
        reading = read()
        types.add(reading.stream.opened)
        if is_first:
            self._output.check(reading.stream)
        return reading

    def _thresholds(
        self, index: int, readings: Sequence[SettledStream], finish_each: Sequence[Finisher]
    ) -> LabelConstants | None:
        """Of all streams together, under one rule."""
        if self._points.points[index].labelling is None:
            return None
        search = Thresholds([self._points.points[index]])
        while search.are_open:
            for reading, finish in zip(readings, finish_each, strict=True):

                def look(
                    file: int, start: int, settled: Settled, carry: Carry, finish: Finisher = finish
                ) -> None:
                    found = search.answer(0, settled, finish(file, start, settled, carry), carry)
                    if found is not None:
                        search.add(0, found)

                for _ in reading.stream.visit(reading.context, look):
                    pass
            search.next()
        self.label_groups.append(groups_told(search.constants[0]))
        return search.constants[0]

    def _look_through(
        self,
        index: int,
        number: int,
        plan: StreamPlan,
        reading: SettledStream,
        finish: Finisher,
        constants: LabelConstants | None,
    ) -> None:
        is_first, is_last = index == 0, index == len(self._points.points) - 1
        for compared in (self._signs, self._labels):
            if is_first:
                compared.begin(number)
            else:
                compared.go_back(number)
        for position, spool in enumerate(self._columns):
            if position == index:
                spool.begin(number)
            elif is_last:
                spool.go_back(number)
        looked = self._tried(plan, partial(self._totals, index, reading, finish, constants))
        if looked is None:
            # What it is compared with has been measured with it, and its copy could not be written.
            self.found.pop(number, None)
            return
        total, totals = looked
        if is_first:
            self.found[number] = RuleTotals(plan, reading, totals, [])
        if number in self.found:
            self.found[number].by_point.append(total)

    def _totals(
        self, index: int, reading: SettledStream, finish: Finisher, constants: LabelConstants | None
    ) -> tuple[PointTotal, Totals]:
        settings, stream = reading.stream.settings, reading.stream
        is_return = settings.kind.outputs[0] == "return"
        is_last = index == len(self._points.points) - 1
        writes = is_last and self._output.begin(stream)
        found, totals = PointTotal(), Totals()

        def look(file: int, start: int, settled: Settled, carry: Carry) -> None:
            nonlocal found
            staged = finish.staged(file, settled, carry)
            own = settled.returns if is_return else settled.advantages
            numbers = (own if staged is None else staged.advantages).astype(np.float64)
            theirs = self._compared(index, numbers, settled)
            values = None if settings.normalizes else values_that_count(settled)
            compared = Compared(settled.counted(theirs), values)
            own_returns = None if values is None else own_returns_that_count(settled)
            counted = settled.counted(numbers)
            total = PointTotal.of(counted, compared, is_return=is_return, own_returns=own_returns)
            if constants is not None:
                total = replace(total, labels=self._label_total(index, settled, numbers, constants))
            found = found.merge(total)
            totals.merge(reading_totals(settled, settings))
            if self._output.is_wanted:
                zeros = None if staged is None else staged.zeros
                column = first_column(settled, own if staged is None else staged.advantages, settings, zeros)
                if writes:
                    self._output.write(stream, file, self._beside(column))
                else:
                    self._columns[index].write(column)

        for _ in stream.visit(reading.context, look):
            pass
        if writes:
            self._output.commit(stream, totals.counts)
        return found, totals

    def _compared(self, index: int, numbers: FloatArray, settled: Settled) -> Array:
        """[N] the signs of the first rule."""
        placement = settled.block.placement
        if index > 0:
            return self._signs.read_signs(placement)
        kept = numbers if settled.estimated is None else np.where(settled.estimated, numbers, np.nan)
        self._signs.write_signs(kept, placement)
        signs: Array = np.sign(numbers)
        return signs

    def _label_total(
        self, index: int, settled: Settled, numbers: FloatArray, constants: LabelConstants
    ) -> LabelTotal:
        """Beside the labels of the first rule."""
        placement = settled.block.placement
        labels = block_labels(settled, numbers, self._points.points[index], constants)
        if index == 0:
            self._labels.write(placement.to_rows(labels, NO_LABEL))
            return LabelTotal.of(labels, labels)
        theirs = placement.to_steps(self._labels.read(placement.num_rows))
        return LabelTotal.of(labels, theirs)

    def _beside(self, last: OutputColumn) -> dict[str, OutputColumn]:
        columns = [*(spool.read(last) for spool in self._columns), last]
        return dict(zip(self._points.columns, columns, strict=True))
