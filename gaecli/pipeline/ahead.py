"""Blocks that are finished while others behind them are still looked at for the first time.

Of all that follows a block, mostly the next one alone reaches into it: a trajectory that ends there lets nothing
through. Once that one has been looked at, the block need not be kept until all have been, nor read once more. So it
is only where no figure of all blocks enters what is written; what they say together still decides whether the file
is written at all.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from itertools import chain
from typing import Any

from gaecli.engines.base import Engine, Task
from gaecli.estimators.base import Estimator
from gaecli.estimators.conventions import crosses_trajectories
from gaecli.estimators.stages import stages_of
from gaecli.formats.base import OutputColumn
from gaecli.pipeline.apply import Totals
from gaecli.pipeline.blocks import BlockAddress, BlockSummary
from gaecli.pipeline.combine import Carry, combine, empty_carry
from gaecli.pipeline.joined_lanes import JoinedLanes
from gaecli.pipeline.opening import FileSource
from gaecli.pipeline.tasks import BlockTask, Carries, FinishedBlock, FinishUnit, SummariseUnit
from gaecli.pipeline.worker import Worker
from gaecli.records import dataclass
from gaecli.settings import Settings


def can_be_ahead(estimator: Estimator) -> bool:
    """Nothing that is written of a row depends on more than its own trajectory."""
    settings = estimator.settings
    return not (
        stages_of(settings)
        or settings.has_labels
        or settings.stream
        or settings.success_column is not None
        or settings.on_nan == "drop-episode"  # an end far behind drops what is before it
        or estimator.needs_trajectories
        or crosses_trajectories(settings)
    )


@dataclass(eq=False)
class Ahead:
    """The blocks of one file, finished in their order as far as that can be."""

    source: FileSource
    worker: Worker
    #: Takes the columns of each block, in order.
    write: Callable[[Mapping[str, OutputColumn]], None]
    #: Undoes all of that.
    undo: Callable[[], None]
    #: What the finished blocks add to the summary.
    totals: Totals = field(default_factory=Totals)
    #: The last one of them.
    last: BlockAddress | None = None
    is_over: bool = False
    _waiting: BlockSummary | None = None
    #: Tasks of blocks of which all is known, and the blocks of those that are under way.
    _ready: deque[BlockTask[FinishedBlock]] = field(default_factory=deque)
    _under_way: deque[BlockAddress] = field(default_factory=deque)

    def run(self, units: Iterable[SummariseUnit], engine: Engine[Worker]) -> Iterator[BlockSummary]:
        """The summaries of all blocks, in order."""
        for found in chain.from_iterable(engine.run([_Among(units, self._drawn)])):
            if isinstance(found, FinishedBlock):
                self._take(found)
            else:
                self._go_on(found)
                yield found

    def left(self, carries: Sequence[Carries]) -> tuple[int, list[Carries]]:
        """The first unit that is not finished, and by unit what its unfinished blocks and those behind are told."""
        if self.last is None:
            return 0, list(carries)
        first, part = self.last.unit, self.last.part
        rest = {address: carry for address, carry in carries[first].items() if address.part > part}
        return (first, [rest, *carries[first + 1 :]]) if rest else (first + 1, list(carries[first + 1 :]))

    def give_up(self) -> None:
        """The rows have to be taken in another way, or not at all."""
        if self.last is not None:
            self.undo()
        self.totals, self.last, self.is_over = Totals(), None, True

    def _drawn(self) -> Iterator[BlockTask[FinishedBlock]]:
        while self._ready:
            task = self._ready.popleft()
            self._under_way.append(task.address)
            yield task

    def _take(self, found: FinishedBlock) -> None:
        with self.worker.clock("write"):
            self.write(found.columns)
        self.totals.merge(found.totals)
        self.last = self._under_way.popleft()

    def _go_on(self, summary: BlockSummary) -> None:
        before, self._waiting = self._waiting, summary
        if before is None or self.is_over:
            return
        carry = carry_between(before, summary, self.source.settings)
        if carry is None or self.worker.store.get(self.source.stream, before.address) is None:
            self.is_over = True  # those behind it are written after it
            return
        address = before.address
        unit = FinishUnit(self.source, address.unit, {address: carry}, (), None, has_sketches=False)
        self._ready.append(BlockTask(unit, address, None))


@dataclass(frozen=True, eq=False)
class _Among:
    """The first look at all units, and beside it whatever is ready."""

    units: Iterable[SummariseUnit]
    ready: Callable[[], Iterator[BlockTask[FinishedBlock]]]

    def __call__(self, worker: Worker) -> list[Any]:
        return [found for part in self.parts(worker) for found in part(worker)]

    def parts(self, worker: Worker) -> Iterator[Task[Worker, Any]]:
        for unit in self.units:
            for part in unit.parts(worker):
                yield part
                yield from self.ready()


def carry_between(block: BlockSummary, following: BlockSummary, settings: Settings) -> Carry | None:
    """What all blocks together would tell of the surroundings of one; None where the next one cannot say it alone."""
    # What lacks a value is refused once all are known that do.
    bootstrap = "zero" if settings.bootstrap == "error" else settings.bootstrap
    if _has_more(block):
        return None
    if not block.lanes.count:
        return empty_carry(0)
    if _has_more(following) or not following.lanes.count:
        return None
    lanes = JoinedLanes([block, following])
    followers = lanes.followers()[: block.lanes.count]
    # A closed lane takes nothing in at its end.
    lets_through = lanes.of_borders("is_through") & lanes.of_lanes("open_ends")
    if (block.lanes.open_ends & ((followers < 0) | lets_through[followers])).any():
        return None
    return combine([block, following], bootstrap, (), open_ends=settings.open_ends).carries[0]


def _has_more(summary: BlockSummary) -> bool:
    """Something of it goes from block to block that only all of them together tell."""
    more = (summary.sums, summary.parts, summary.first_progress, summary.units, summary.in_time)
    return bool(summary.others) or any(one is not None for one in more)
