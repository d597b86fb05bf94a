"""The steps of one trajectory from one of them on, as the estimator reads them, and the numbers it makes of them."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import field, replace
from typing import Any

import numpy as np

from gaecli.errors import DataError
from gaecli.pipeline.combine import Carry
from gaecli.pipeline.settle import Settled
from gaecli.records import dataclass
from gaecli.results import BootstrapSource, End
from gaecli.rollouts import Block, BoolArray, FloatArray, IndexArray
from gaecli.settings import Settings
from gaecli.studies.final_numbers import grouping_of
from gaecli.studies.locate import Place
from gaecli.studies.reading import SettledStream


@dataclass(eq=False)
class Tail:
    """Collected piece by piece as blocks come by; the first step is the one that is asked about."""

    pieces: list[Block] = field(default_factory=list)
    #: Of each piece, in the order of its steps.
    rows_of_pieces: list[IndexArray] = field(default_factory=list)
    advantages_of_pieces: list[FloatArray] = field(default_factory=list)
    returns_of_pieces: list[FloatArray] = field(default_factory=list)
    #: The group of the trajectory, where groups are compared.
    group: Hashable = None
    #: Number of the trajectory if it goes on in a later block; -1 once it is complete.
    chain: int = -1

    @property
    def is_begun(self) -> bool:
        return bool(self.pieces)

    @property
    def num_steps(self) -> int:
        return sum(piece.num_steps for piece in self.pieces)

    @property
    def rewards(self) -> FloatArray:
        return self._joined("rewards")

    @property
    def values(self) -> FloatArray:
        return self._joined("values")

    @property
    def has_values(self) -> bool:
        return self.pieces[0].has_values

    @property
    def rows(self) -> IndexArray:
        return np.concatenate(self.rows_of_pieces)

    @property
    def advantages(self) -> FloatArray:
        return np.concatenate(self.advantages_of_pieces).astype(np.float64)

    @property
    def returns(self) -> FloatArray:
        return np.concatenate(self.returns_of_pieces).astype(np.float64)

    @property
    def is_step(self) -> BoolArray:
        """[K] False for a step that the convention drops: its δ is 0."""
        parts = [
            np.ones(piece.num_steps, np.bool_) if piece.is_step is None else piece.is_step
            for piece in self.pieces
        ]
        return np.concatenate(parts)

    @property
    def end(self) -> End:
        last = self.pieces[-1]
        if last.truncated[-1]:
            return "truncated"
        return "terminated" if last.terminated[-1] else "open"

    def extra(self, name: str) -> FloatArray:
        return np.concatenate([piece.extras[name] for piece in self.pieces]).astype(np.float64)

    def following(self, settings: Settings) -> FloatArray:
        """V(s'): given, or that of the next step, or what the policy puts at the end; 0 where terminal."""
        values = self.values
        following = np.append(values[1:], 0.0)
        position = 0
        for piece in self.pieces:
            steps = slice(position, position + piece.num_steps)
            if piece.next_values is not None:
                given = piece.next_values
                following[steps] = np.where(np.isnan(given), following[steps], given)
            following[steps][piece.terminated] = 0.0
            position += piece.num_steps
        last = self.pieces[-1]
        if not last.terminated[-1] and not _is_given(last) and settings.bootstrap == "current":
            following[-1] = values[-1]
        return following

    def bootstrap(self, settings: Settings) -> BootstrapSource:
        last = self.pieces[-1]
        if last.terminated[-1]:
            return "none"
        if _is_given(last):
            return "current" if last.filled is not None and last.filled[-1] else "next value"
        return "current" if settings.bootstrap == "current" else "zero"

    def _joined(self, name: str) -> FloatArray:
        return np.concatenate([getattr(piece, name) for piece in self.pieces]).astype(np.float64)


def _is_given(last: Block) -> bool:
    return last.next_values is not None and not np.isnan(last.next_values[-1])


def tail_from(reading: SettledStream, place: Place) -> Tail:
    """`DataError` where no step stands, or one without an advantage."""
    tail = Tail()

    def look(file: int, start: int, settled: Settled, carry: Carry) -> None:
        if not tail.is_begun:
            step = step_at(file, start, settled, place)
            if step is not None:
                _check_has_advantage(settled, step, place)
                grouping = grouping_of(settled, reading.stream.settings)
                tail.group = None if grouping is None else grouping.label(step)
                _collect(tail, settled, carry, start, step)
        elif tail.chain >= 0:
            lanes = np.flatnonzero(carry.as_read.head_chains == tail.chain)
            if len(lanes):
                _collect(tail, settled, carry, start, int(settled.prepared.lanes.starts[lanes[0]]))

    for _ in reading.stream.visit(reading.context, look):
        if tail.is_begun and tail.chain < 0:
            break
    if not tail.is_begun:
        raise DataError(f"row {place.row:,} of `{place.path}` holds no step that has an advantage")
    return tail


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


def _check_has_advantage(settled: Settled, step: int, place: Place) -> None:
    if settled.estimated is None or settled.estimated[step]:
        return
    block = settled.block
    why = "is padding: it holds a state, and no action"
    if block.dropped is not None and block.dropped[step]:
        why = "belongs to an episode that is left out (`--on-nan drop-episode`)"
    elif block.masked is not None and block.masked[step]:
        why = "is masked"
    elif block.is_step is None or block.is_step[step]:
        why = "gets no advantage under these rules"
    raise DataError(f"row {place.row:,} of `{place.path}` {why}")


def _collect(tail: Tail, settled: Settled, carry: Carry, start: int, first: int) -> None:
    """Steps from `first` to the end of the trajectory, or to that of the block."""
    block = settled.prepared
    stop = first + int(np.argmax(block.cuts[first:])) + 1 if block.cuts[first:].any() else block.num_steps
    lane = np.flatnonzero((block.lanes.starts <= first) & (first < block.lanes.stops))
    stop = min(stop, int(block.lanes.stops[lane[0]])) if len(lane) else stop
    tail.chain = -1 if block.cuts[stop - 1] or not len(lane) else int(carry.as_read.tail_chains[lane[0]])
    steps = slice(first, stop)
    tail.pieces.append(_part(block, steps))
    tail.rows_of_pieces.append(start + block.placement.rows_of_steps(np.arange(first, stop)))
    tail.advantages_of_pieces.append(settled.advantages[steps])
    tail.returns_of_pieces.append(settled.returns[steps])


def _part(block: Block, steps: slice) -> Block:
    """As much of a block as is needed here; its lanes and its placement are left as they are."""

    def part(array: Any) -> Any:
        return None if array is None else array[steps]

    return replace(
        block,
        rewards=part(block.rewards),
        values=part(block.values),
        terminated=part(block.terminated),
        truncated=part(block.truncated),
        cuts=part(block.cuts),
        next_values=part(block.next_values),
        is_step=part(block.is_step),
        filled=part(block.filled),
        extras={name: part(cells) for name, cells in block.extras.items()},
        dropped=None,
        masked=None,
    )
