"""Blocks that are finished while others behind them are still looked at for the first time.

Of all that follows a block, mostly the next one alone reaches into it: a trajectory that ends there lets nothing
through. Once that one has been looked at, the block need not be kept until all have been, nor read once more. So it
is only where no figure of all blocks enters what is written; what they say together still decides whether the file
is written at all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any, Generic, TypeVar

import numpy as np

from gaecli.array_types import IndexArray
from gaecli.engines.base import Engine, Task
from gaecli.estimators.base import Estimator
from gaecli.estimators.conventions import crosses_trajectories
from gaecli.estimators.stages import stages_of
from gaecli.formats.base import OutputColumn
from gaecli.formats.watched import count_kept
from gaecli.pipeline.apply import Totals
from gaecli.pipeline.blocks import BlockAddress, BlockSummary
from gaecli.pipeline.combine import Carry, combine, empty_carry
from gaecli.pipeline.joined_lanes import JoinedLanes
from gaecli.pipeline.opening import FileSource
from gaecli.pipeline.settle import Settled
from gaecli.pipeline.tasks import (
    BlockTask,
    CarriedUnit,
    Carries,
    FinishedBlock,
    FinishUnit,
    LookUnit,
    SummariseUnit,
)
from gaecli.pipeline.worker import Worker
from gaecli.records import dataclass
from gaecli.settings import Settings

R = TypeVar("R")

#: All blocks together number their trajectories from 0.
_FIRST_CHAIN = 1 << 32


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


class Ahead(ABC, Generic[R]):
    """The blocks of one file, finished in their order as far as that can be."""

    #: What the finished blocks add to the summary of what is written, if it is.
    totals: Totals | None = None

    def __init__(self, source: FileSource, worker: Worker) -> None:
        self.source = source
        self.worker = worker
        #: The last block that is finished.
        self.last: BlockAddress | None = None
        self.is_over = False
        self._waiting: BlockSummary | None = None
        #: Of blocks that are not finished: the trajectories that enter each lane from a block that is or will be.
        self._entering: dict[BlockAddress, IndexArray] = {}
        self._next_chain = _FIRST_CHAIN
        #: Tasks of blocks of which all is known, and how many rows they have; the same of those that are under way.
        self._ready: deque[tuple[BlockTask[R], int]] = deque()
        self._under_way: deque[tuple[BlockAddress, int]] = deque()

    @abstractmethod
    def last_look(self, unit: int, carries: Carries) -> CarriedUnit[R]:
        """What finishes these blocks of a unit."""

    @abstractmethod
    def take(self, found: R, num_rows: int) -> None:
        """What came of the next block, of so many rows."""

    @abstractmethod
    def undo(self) -> None:
        """All that was taken, as if there had been nothing."""

    def run(self, units: Iterable[SummariseUnit], engine: Engine[Worker]) -> Iterator[BlockSummary]:
        """The summaries of all blocks, in order."""
        for found in chain.from_iterable(engine.run([_Among(units, self._drawn)])):
            if isinstance(found, BlockSummary):
                self._go_on(found)
                yield found
            else:
                self.last, num_rows = self._under_way.popleft()
                self.take(found, num_rows)
                self._entering.pop(self.last, None)

    def left(self, carries: Sequence[Carries]) -> tuple[int, list[Carries]]:
        """The first unit that is not finished, and by unit what its unfinished blocks and those behind are told."""
        if self.last is None:
            return 0, list(carries)
        first, part = self.last.unit, self.last.part
        rest = {address: carry for address, carry in carries[first].items() if address.part > part}
        left = [rest, *carries[first + 1 :]]
        if not rest:
            first, left = first + 1, left[1:]
        return first, self._with_what_enters(left)

    def _with_what_enters(self, left: list[Carries]) -> list[Carries]:
        """The first block knows trajectories by the numbers that they have in what is finished."""
        for index, carries in enumerate(left):
            if not carries:
                continue
            address, carry = next(iter(carries.items()))
            heads = self._entering.get(address, carry.head_chains)
            known = {**carries, address: replace(carry, head_chains=heads)}
            return [*left[:index], known, *left[index + 1 :]]
        return left

    def give_up(self) -> None:
        """The rows have to be taken in another way, or not at all."""
        if self.last is not None:
            self.undo()
        self.last, self.is_over = None, True

    def _drawn(self) -> Iterator[BlockTask[R]]:
        while self._ready:
            task, num_rows = self._ready.popleft()
            self._under_way.append((task.address, num_rows))
            yield task

    def _go_on(self, summary: BlockSummary) -> None:
        before, self._waiting = self._waiting, summary
        if before is None or self.is_over:
            return
        pair = carries_between(before, summary, self.source.settings)
        if pair is None or self.worker.store.get(self.source.stream, before.address) is None:
            self.is_over = True  # those behind it are written after it
            return
        address, carry = before.address, self._numbered(before.address, summary.address, *pair)
        task = BlockTask(self.last_look(address.unit, {address: carry}), address, None)
        self._ready.append((task, before.num_rows))

    def _numbered(
        self, address: BlockAddress, next_one: BlockAddress, carry: Carry, following: Carry
    ) -> Carry:
        """With numbers of trajectories that no others have: those of a pair of blocks begin with 0."""
        first = self._next_chain
        self._next_chain += int(carry.tail_chains.max(initial=-1)) + 1
        self._entering[next_one] = _counted_from(first, following.head_chains)
        heads = self._entering.get(address, carry.head_chains)
        return replace(carry, head_chains=heads, tail_chains=_counted_from(first, carry.tail_chains))


def _counted_from(first: int, chains: IndexArray) -> IndexArray:
    return np.where(chains >= 0, chains + first, chains)


class WrittenAhead(Ahead[FinishedBlock]):
    """Blocks whose new columns are written."""

    def __init__(
        self,
        source: FileSource,
        worker: Worker,
        write: Callable[[Mapping[str, OutputColumn]], None],
        abort: Callable[[], None],
    ) -> None:
        """`write` takes the columns of each block, in order; `abort` gives up the file that has them."""
        super().__init__(source, worker)
        self._write, self._abort = write, abort
        self.totals: Totals = Totals()

    def last_look(self, unit: int, carries: Carries) -> FinishUnit:
        return FinishUnit(self.source, unit, carries, (), None, has_sketches=False)

    def take(self, found: FinishedBlock, num_rows: int) -> None:
        with self.worker.clock("write"):
            self._write(found.columns)
        self.totals.merge(found.totals)

    def undo(self) -> None:
        self._abort()
        self.totals = Totals()


class LookedAhead(Ahead[R]):
    """Blocks that a command looks at."""

    def __init__(
        self,
        source: FileSource,
        worker: Worker,
        look: Callable[[int, int, Settled, Carry], R],
        add: Callable[[R], None],
        forget: Callable[[], None],
    ) -> None:
        """`look` as of `LookUnit`; `add` takes what comes of each block, in order; `forget` all of it."""
        super().__init__(source, worker)
        self._look, self._add, self._forget = look, add, forget

    def last_look(self, unit: int, carries: Carries) -> LookUnit[R]:
        return LookUnit(self.source, unit, carries, self._look)

    def take(self, found: R, num_rows: int) -> None:
        self._add(found)
        opened = self.worker.files.known(self.source)
        if opened is not None:  # to whoever watches it is a look of its own
            count_kept(opened.file, num_rows)

    def undo(self) -> None:
        self._forget()


@dataclass(frozen=True, eq=False)
class _Among:
    """The first look at all units, and beside it whatever is ready."""

    units: Iterable[SummariseUnit]
    ready: Callable[[], Iterator[BlockTask[Any]]]

    def __call__(self, worker: Worker) -> list[Any]:
        return [found for part in self.parts(worker) for found in part(worker)]

    def parts(self, worker: Worker) -> Iterator[Task[Worker, Any]]:
        for unit in self.units:
            for part in unit.parts(worker):
                yield part
                yield from self.ready()


def carries_between(
    block: BlockSummary, following: BlockSummary, settings: Settings
) -> tuple[Carry, Carry] | None:
    """What all blocks together would tell of the surroundings of one; None where the next one cannot say it alone.

    But for the numbers of trajectories. Of the next one the second tells what enters it.
    """
    # What lacks a value is refused once all are known that do.
    bootstrap = "zero" if settings.bootstrap == "error" else settings.bootstrap
    if _has_more(block):
        return None
    if not block.lanes.count:
        return empty_carry(0), empty_carry(following.lanes.count)
    if _has_more(following) or not following.lanes.count:
        return None
    lanes = JoinedLanes([block, following])
    followers = lanes.followers()[: block.lanes.count]
    # A closed lane takes nothing in at its end.
    lets_through = lanes.of_borders("is_through") & lanes.of_lanes("open_ends")
    if (block.lanes.open_ends & ((followers < 0) | lets_through[followers])).any():
        return None
    carry, its_carry = combine([block, following], bootstrap, (), open_ends=settings.open_ends).carries
    return carry, its_carry


def _has_more(summary: BlockSummary) -> bool:
    """Something of it goes from block to block that only all of them together tell."""
    more = (summary.sums, summary.parts, summary.first_progress, summary.units, summary.in_time, summary.kept)
    return bool(summary.others) or any(one is not None for one in more)
