"""The task that encodes the new columns of some row groups of a huge file, so that others encode the rest meanwhile.

What it makes is a hidden file beside the result, or an object of the store; one writer puts all of them together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise, repeat
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gaecli.array_types import FloatArray
from gaecli.engines.base import CarryOut, run_here
from gaecli.formats.base import FileWriter, PartsWriter, PartWriter, WritePlan
from gaecli.names import LANGUAGE
from gaecli.pipeline.apply import Totals
from gaecli.pipeline.label_tables import Constants
from gaecli.pipeline.opening import FileSource, OpenFile
from gaecli.pipeline.tasks import Carries, FinishedBlock, FinishUnit
from gaecli.pipeline.worker import Worker
from gaecli.records import dataclass
from gaecli.storage.new_file import temporary_beside
from gaecli.storage.part_files import hand_over_part
from gaecli.storage.stage import Stage

if TYPE_CHECKING:
    from gaecli.pipeline.labels import LabelConstants
    from gaecli.storage.mirror import Mirror

#: Of new columns before they are encoded: what takes seconds, beside which a task more is nothing. Most of what comes
#: of it is more than the 5 MiB that a store wants a part of an upload to have.
PART_BYTES = 64 << 20
#: An upload has 10,000 parts at most, and the result of a task is some 10 kB.
_MOST_PARTS = 1000


@dataclass(frozen=True, eq=False)
class EncodedPart:
    """The new columns of consecutive units, encoded."""

    path: Path
    #: What they add to the summary, but for samples: these are in the file, as the rows are.
    blocks: Sequence[FinishedBlock]
    #: Of the samples, in the order of the blocks and their columns.
    sizes: Sequence[int]

    def whole_blocks(self) -> Iterator[FinishedBlock]:
        """With their samples."""
        from gaecli.formats.parquet.parts import numbers_of

        numbers = numbers_of(self.path, sum(self.sizes))
        samples = iter(np.split(numbers, np.cumsum(self.sizes)[:-1]))
        for block in self.blocks:
            yield _with_samples(block, samples)


def _with_samples(block: FinishedBlock, samples: Iterator[FloatArray]) -> FinishedBlock:
    tallies = {name: replace(tally, pieces=(next(samples),)) for name, tally in block.totals.tallies.items()}
    return replace(block, totals=replace(block.totals, tallies=tallies))


@dataclass(frozen=True, eq=False)
class WrittenFrom:
    """One input of a result. `carries` is by unit."""

    source: FileSource
    carries: Sequence[Carries]
    constants: Constants
    labels: LabelConstants | None = None
    #: Where its new columns are encoded already; what there is to do with them is to put them together.
    parts: Sequence[EncodedPart] = ()
    #: The first one of the units that are meant.
    first_unit: int = 0
    #: Of blocks before these, which the writer has already.
    before: Totals | None = None

    def finish(self, *, has_sketches: bool) -> Iterator[FinishUnit]:
        for unit, carries in enumerate(self.carries, start=self.first_unit):
            yield FinishUnit(self.source, unit, carries, self.constants, self.labels, has_sketches)

    def blocks(
        self,
        writer: FileWriter | None,
        worker: Worker,
        run: CarryOut[Worker, FinishedBlock],
        *,
        has_sketches: bool,
    ) -> Iterator[FinishedBlock]:
        """What comes of each block, in the order of the rows, which the writer then has."""
        for part in self.parts:
            if writer is not None:
                with worker.clock("write"):
                    _place(part.path, writer, worker.stage)
            yield from part.whole_blocks()
        if self.parts:
            return
        for found in run(self.finish(has_sketches=has_sketches)):
            for block in found:
                if writer is not None:
                    with worker.clock("write"):
                        writer.write(block.columns)
                yield block


@dataclass(frozen=True, eq=False)
class EncodePart:
    """Some units of a file, written to `path` by the plan of a part."""

    source: WrittenFrom
    path: Path
    columns: WritePlan

    def __call__(self, worker: Worker) -> list[EncodedPart]:
        # A try that was given up for lost may be at work still: each has a file of its own until it is whole.
        own = temporary_beside(self.path)
        with worker.clock("write"):
            writer = worker.files.open(self.source.source).file.writer(own, self.columns)
        assert isinstance(writer, PartWriter)
        blocks: list[FinishedBlock] = []
        samples: list[FloatArray] = [np.zeros(0)]
        try:
            for block in self.source.blocks(writer, worker, run_here(worker), has_sketches=False):
                samples += [tally.sample for tally in block.totals.tallies.values()]
                blocks.append(_with_samples(replace(block, columns={}), repeat(samples[0])))
            writer.numbers = np.concatenate(samples)
            with worker.clock("write"):
                writer.finish({})
        except BaseException:
            writer.abort()
            raise
        hand_over_part(own, self.path, mirror_of(self.path, worker.stage))
        return [EncodedPart(self.path, blocks, [len(sample) for sample in samples[1:]])]

    def parts(self, worker: Worker) -> Iterator[EncodePart]:
        yield self


def mirror_of(path: Path, stage: Stage | None) -> Mirror | None:
    """That of the stores, if a path lies in one."""
    return stage.stores() if stage is not None and stage.is_remote(path) else None


def _place(part: Path, writer: FileWriter, stage: Stage | None) -> None:
    """The store puts the pages of an object where they belong: they need not come here."""
    assert isinstance(writer, PartsWriter)
    mirror = mirror_of(part, stage)
    if mirror is not None:
        from gaecli.formats.parquet.parts import behind_pages

        mirror.attach(part)
        mirror.fill_behind(part, behind_pages(part))
    writer.place(part, leaves_pages=mirror is not None)


@dataclass(frozen=True)
class PartPlan:
    """Units of a file, and row groups that are theirs."""

    units: range
    row_groups: range


def divided(opened: OpenFile, steps: Sequence[int], columns: WritePlan) -> list[PartPlan]:
    """The parts in which the new columns of a file are encoded; none where one task does it as well.

    `steps` is by unit.
    """
    units = opened.units
    if columns.is_language or LANGUAGE in columns.new_columns or any(not unit.parts for unit in units):
        return []
    cell_bytes = sum(dtype.itemsize for dtype in columns.new_columns.values())
    sizes = [count * cell_bytes for count in steps]
    count = min(sum(sizes) // PART_BYTES, len(units), _MOST_PARTS)
    if count < 2:
        return []
    starts, done = [0], 0
    for index, size in enumerate(sizes):
        if index > starts[-1] and done >= len(starts) * sum(sizes) / count:
            starts.append(index)
        done += size
    groups = opened.file.row_group_rows
    assert groups is not None
    # Those without rows at the end of the file are of no unit.
    first_groups = [0, *(units[start].parts[0] for start in starts[1:]), len(groups)]
    return [
        PartPlan(range(*one), range(*its_groups))
        for one, its_groups in zip(pairwise([*starts, len(units)]), pairwise(first_groups), strict=True)
    ]


def parts_of(
    source: WrittenFrom, plans: Sequence[PartPlan], paths: Sequence[Path], columns: WritePlan
) -> Iterator[EncodePart]:
    """The tasks; whoever puts the parts together has to be told that there are some."""
    for plan, path in zip(plans, paths, strict=True):
        carries = source.carries[plan.units.start : plan.units.stop]
        yield EncodePart(
            replace(source, carries=carries, first_unit=plan.units.start),
            path,
            replace(columns, row_groups=tuple(plan.row_groups), has_parts=False),
        )
