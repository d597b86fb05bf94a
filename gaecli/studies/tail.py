"""The steps of one trajectory from one of them on, as the estimator reads them, and the numbers it makes of them."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import field, replace

import numpy as np

from gaecli.array_types import BoolArray, FloatArray, IndexArray
from gaecli.errors import DataError
from gaecli.estimators.bootstrap import fill_bootstrap
from gaecli.estimators.decays import gammas, lams
from gaecli.estimators.gae_variants import following_values
from gaecli.estimators.parts import joined, part
from gaecli.estimators.td_lambda import has_second_values
from gaecli.explanation import BootstrapSource, End
from gaecli.pipeline.combine import Carry
from gaecli.pipeline.settle import Settled
from gaecli.records import dataclass
from gaecli.rollouts import Block, Units
from gaecli.settings import Settings
from gaecli.studies.final_numbers import grouping_of
from gaecli.studies.locate import Place
from gaecli.studies.reading import SettledStream, of_stream


@dataclass(frozen=True, eq=False)
class Tail:
    """Of its trajectory, which ends, the steps from `first` on: that one is asked about."""

    block: Block
    #: Steps of the trajectory before it, as far as they are known here.
    first: int
    #: [N] of the whole block: the row of each step, and what is made of it.
    all_rows: IndexArray
    all_advantages: FloatArray
    all_returns: FloatArray
    #: A row of the file holds many steps.
    is_in_lists: bool = False
    #: The group of the trajectory, where groups are compared.
    group: Hashable = None
    #: The last row of the trajectory, which holds no step where rewards stand in the row after.
    last_row: int = -1

    @property
    def num_steps(self) -> int:
        return self.block.num_steps - self.first

    @property
    def rewards(self) -> FloatArray:
        return self.block.rewards[self.first :].astype(np.float64)

    @property
    def values(self) -> FloatArray:
        return self.block.values[self.first :].astype(np.float64)

    @property
    def has_values(self) -> bool:
        return self.block.has_values

    @property
    def rows(self) -> IndexArray:
        return self.all_rows[self.first :]

    @property
    def advantages(self) -> FloatArray:
        return self.all_advantages[self.first :].astype(np.float64)

    @property
    def returns(self) -> FloatArray:
        return self.all_returns[self.first :].astype(np.float64)

    @property
    def is_step(self) -> BoolArray:
        """[K] False for a step that the convention drops: its δ is 0."""
        if self.block.is_step is None:
            return np.ones(self.num_steps, np.bool_)
        return self.block.is_step[self.first :]

    @property
    def end(self) -> End:
        if self.block.truncated[-1]:
            return "truncated"
        return "terminated" if self.block.terminated[-1] else "open"

    @property
    def extras(self) -> Sequence[str]:
        return tuple(self.block.extras)

    def extra(self, name: str) -> FloatArray:
        return self.block.extras[name][self.first :].astype(np.float64)

    def gammas(self, settings: Settings) -> FloatArray:
        """[K] of each step."""
        return np.broadcast_to(gammas(self.block, settings), self.block.num_steps)[self.first :]

    def lams(self, settings: Settings) -> FloatArray:
        return np.broadcast_to(lams(self.block, settings), self.block.num_steps)[self.first :]

    def following(self, settings: Settings) -> FloatArray:
        """V(s'): given, or that of the next step, or what the policy puts at the end; 0 where terminal."""
        return following_values(fill_bootstrap(self.block, settings.bootstrap, is_whole_stream=True))[
            self.first :
        ]

    @property
    def has_second_values(self) -> bool:
        """A next value, from this step on, is another one than V of the next step."""
        return has_second_values(part(self.block, slice(self.first, None)))

    def bootstrap(self, settings: Settings) -> BootstrapSource:
        return bootstrap_of(self.block, settings)


def bootstrap_of(block: Block, settings: Settings) -> BootstrapSource:
    """What stands for V beyond the last step of a block."""
    if block.terminated[-1]:
        return "none"
    if block.next_values is not None and not np.isnan(block.next_values[-1]):
        return "current" if block.filled is not None and block.filled[-1] else "next value"
    return "current" if settings.bootstrap == "current" else "zero"


@dataclass(eq=False)
class _TailPieces:
    """Collected as blocks come by."""

    blocks: list[Block] = field(default_factory=list)
    rows: list[IndexArray] = field(default_factory=list)
    advantages: list[FloatArray] = field(default_factory=list)
    returns: list[FloatArray] = field(default_factory=list)
    #: The first unit of the piece is the last one of those before.
    enters: list[bool] = field(default_factory=list)

    def add(self, start: int, settled: Settled, steps: slice, carry: Carry, lane: int | None) -> None:
        """`lane`: in which the trajectory comes from an earlier block, if it does."""
        block = settled.prepared
        numbers = np.arange(steps.start, steps.stop)
        self.blocks.append(part(block, steps))
        self.rows.append(start + block.placement.rows_of_steps(numbers))
        self.advantages.append(settled.advantages[steps])
        self.returns.append(settled.returns[steps])
        self.enters.append(lane is not None and carry.units is not None and bool(carry.units.enters[lane]))

    @property
    def num_steps(self) -> int:
        return sum(block.num_steps for block in self.blocks)


@dataclass(eq=False)
class _FoundStep:
    """What the block with the step says of its trajectory."""

    pieces: _TailPieces = field(default_factory=_TailPieces)
    first: int = 0
    #: Number of the trajectory if it comes from an earlier block, if it goes on in a later one; -1: it does not.
    head: int = -1
    chain: int = -1
    group: Hashable = None
    is_in_lists: bool = False


def tail_from(
    reading: SettledStream, place: Place, *, is_whole: bool = False, number: int | None = None
) -> Tail:
    """`DataError` where no step stands, or one without an advantage.

    `is_whole`: all of the trajectory is asked for, not what follows alone. `number`: that of one stream of rewards;
    None: what is written of all of them, along the first.
    """
    begun: _FoundStep | None = None

    def look(file: int, start: int, settled: Settled, carry: Carry) -> None:
        nonlocal begun
        if begun is None:
            step = step_at(file, start, settled, place)
            if step is None:
                return
            _check_has_advantage(settled, step, place, reading.stream.settings)
            grouping = grouping_of(settled, reading.stream.settings.group_columns)
            begun = _begun(*_of_stream(settled, carry, number), start, step)
            begun.group = None if grouping is None else grouping.label(step)
        elif begun.chain >= 0:
            _go_on(begun, *_of_stream(settled, carry, number), start)

    for _ in reading.stream.visit(reading.context, look):
        if begun is not None and begun.chain < 0:
            break
    if begun is None:
        raise DataError(f"row {place.row:,} of `{place.path}` holds no step that has an advantage")
    before = _before(reading, place, begun.head, number) if is_whole and begun.head >= 0 else _TailPieces()
    return _tail(before, begun, reading.stream.settings)


def _of_stream(settled: Settled, carry: Carry, number: int | None) -> tuple[Settled, Carry]:
    """The carry is that of the block as its convention reads it."""
    settled, carry = of_stream(settled, carry, number)
    return settled, carry.as_read


def _tail(before: _TailPieces, begun: _FoundStep, settings: Settings) -> Tail:
    pieces = begun.pieces

    def all_of(name: str) -> FloatArray:
        return np.concatenate([*getattr(before, name), *getattr(pieces, name)])

    block = joined([*before.blocks, *pieces.blocks])
    cuts = block.cuts.copy()
    cuts[-1] = True
    units = _units_of([*before.blocks, *pieces.blocks], [*before.enters, *pieces.enters])
    block = replace(block, cuts=cuts, units=units)
    count, rows = block.num_steps, all_of("rows").astype(np.int64)
    if settings.arrives and block.is_step is not None and count > 1 and not block.is_step[-1]:
        block, count = _without_last_state(block, settings), count - 1
    return Tail(
        block,
        before.num_steps + begun.first,
        rows[:count],
        all_of("advantages")[:count],
        all_of("returns")[:count],
        begun.is_in_lists,
        begun.group,
        int(rows[-1]),
    )


def _without_last_state(block: Block, settings: Settings) -> Block:
    """The steps alone: V of what the last row holds is the next value of the step before it."""
    following = following_values(fill_bootstrap(block, settings.bootstrap, is_whole_stream=True))
    steps = part(block, slice(0, block.num_steps - 1))
    cuts = steps.cuts.copy()
    cuts[-1] = True
    absent = np.full(steps.num_steps, np.nan) if steps.next_values is None else steps.next_values
    next_values = absent.astype(np.float64)
    if not steps.terminated[-1]:
        next_values[-1] = following[-2]
    return replace(steps, cuts=cuts, next_values=next_values)


def _units_of(blocks: Sequence[Block], enters: Sequence[bool]) -> Units | None:
    """Of the pieces of one trajectory: numbered on from piece to piece."""
    first, found, count = blocks[0].units, [], 0
    if first is None:
        return None
    for block, goes_on in zip(blocks, enters, strict=True):
        assert block.units is not None
        numbers = block.units.numbers.copy()
        inside = np.flatnonzero(numbers >= 0)
        if len(inside):
            count -= int(goes_on and count > 0)
            numbers[inside] += count - int(numbers[inside[0]])
            count = int(numbers[inside[-1]]) + 1
        found.append(numbers)
    return replace(first, numbers=np.concatenate(found))


def step_at(file: int, start: int, settled: Settled, place: Place) -> int | None:
    """The step of this block that is meant, if it is here."""
    block = settled.block
    if file != place.file or place.row < start:
        return None
    slot = place.row - start
    if block.list_offsets is not None:
        if slot >= len(block.list_offsets) - 1:
            return None
        slot = int(block.list_offsets[slot]) + place.item
    if slot >= block.placement.num_rows:
        return None
    found = np.flatnonzero(block.placement.rows_of_steps(np.arange(block.num_steps)) == slot)
    return int(found[0]) if len(found) else None


def _check_has_advantage(settled: Settled, step: int, place: Place, settings: Settings) -> None:
    if settled.estimated is None or settled.estimated[step]:
        return
    block = settled.block
    why = "is padding: it holds a state, and no action"
    if block.dropped is not None and block.dropped[step]:
        why = "belongs to an episode that is left out (`--on-nan drop-episode`)"
    elif block.units is not None and block.units.numbers[step] < 0:
        why = "is in no unit"
    elif block.masked is not None and block.masked[step]:
        why = "is masked"
    elif settings.arrives and settled.prepared.is_step is not None and not settled.prepared.is_step[step]:
        why = "holds a last state, and no action: its reward is that of the row before"
    elif block.is_step is None or block.is_step[step]:
        why = "gets no advantage under these rules"
    raise DataError(f"row {place.row:,} of `{place.path}` {why}")


def _begun(settled: Settled, carry: Carry, start: int, step: int) -> _FoundStep:
    """What the block has of the trajectory of its step."""
    block = settled.prepared
    before = np.flatnonzero(block.cuts[:step])
    first = int(before[-1]) + 1 if len(before) else 0
    found = _FoundStep(is_in_lists=settled.block.list_offsets is not None)
    lanes = np.flatnonzero((block.lanes.starts <= step) & (step < block.lanes.stops))
    stop, entered = _stop(block, step, block.num_steps), None
    if len(lanes):
        lane = int(lanes[0])
        lane_start = int(block.lanes.starts[lane])
        first, stop = max(first, lane_start), min(stop, int(block.lanes.stops[lane]))
        found.head = int(carry.head_chains[lane]) if first == lane_start else -1
        entered = lane if found.head >= 0 else None
        found.chain = -1 if block.cuts[stop - 1] else int(carry.tail_chains[lane])
    found.first = step - first
    found.pieces.add(start, settled, slice(first, stop), carry, entered)
    return found


def _stop(block: Block, first: int, stop: int) -> int:
    """Behind the first cut from `first` on, or `stop`."""
    cuts = block.cuts[first:stop]
    return first + int(np.argmax(cuts)) + 1 if cuts.any() else stop


def _go_on(begun: _FoundStep, settled: Settled, carry: Carry, start: int) -> None:
    block = settled.prepared
    lanes = np.flatnonzero(carry.head_chains == begun.chain)
    if len(lanes):
        first, end = int(block.lanes.starts[lanes[0]]), int(block.lanes.stops[lanes[0]])
        stop = _stop(block, first, end)
        begun.chain = -1 if block.cuts[stop - 1] else int(carry.tail_chains[lanes[0]])
        begun.pieces.add(start, settled, slice(first, stop), carry, int(lanes[0]))


def _before(reading: SettledStream, place: Place, chain: int, number: int | None) -> _TailPieces:
    """What earlier blocks have of the trajectory."""
    pieces = _TailPieces()

    def look(file: int, start: int, settled: Settled, carry: Carry) -> bool:
        if step_at(file, start, settled, place) is not None:
            return True
        one, its_carry = _of_stream(settled, carry, number)
        lanes = np.flatnonzero(its_carry.tail_chains == chain)
        if len(lanes):
            first, stop = int(one.prepared.lanes.starts[lanes[0]]), int(one.prepared.lanes.stops[lanes[0]])
            cuts = np.flatnonzero(one.prepared.cuts[first : stop - 1])
            begins = first + int(cuts[-1]) + 1 if len(cuts) else first
            is_through = int(its_carry.head_chains[lanes[0]]) == chain
            pieces.add(start, one, slice(begins, stop), its_carry, int(lanes[0]) if is_through else None)
        return False

    seen: Iterator[bool] = reading.stream.visit(reading.context, look)
    any(seen)
    return pieces
