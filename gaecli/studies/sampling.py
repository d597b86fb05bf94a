"""A part of a stream to search on: whole trajectories from all over it, gathered block by block.

Each trajectory has a place between 0 and 1 by its number (multiples of the golden ratio, which lie evenly however
many there are), and is in the sample if that is below a limit. The limit is 1 until there are too many steps, and is
halved then, for each kind of end by itself: what is done at the few truncated ends tells conventions apart.
"""

from __future__ import annotations

import numpy as np

from gaecli.array_types import Array, BoolArray, FloatArray, IndexArray
from gaecli.pipeline.combine import Carry
from gaecli.records import dataclass
from gaecli.rollouts import Block
from gaecli.studies.parts import Part, joined, nothing

#: γ and λ are searched for on about so many steps; what is found is held against all of them.
SEARCH_STEPS = 1 << 15
#: Of a long trajectory whose steps do not depend on those before them, this part of that number is enough: its end.
_PART_OF_LONG = 4
_GOLDEN = 0.6180339887498949
#: Ends: terminated, truncated without and with V(s'), others without and with it; and those that are still to come.
_NUM_KINDS, _TO_COME = 6, 5


@dataclass(frozen=True, eq=False)
class TrajectoryPieces:
    """What a block has of trajectories, [P] each."""

    starts: IndexArray
    stops: IndexArray
    numbers: IndexArray
    #: False where it comes in from another block.
    begin: BoolArray
    #: How they end.
    kinds: IndexArray

    @property
    def lengths(self) -> IndexArray:
        return self.stops - self.starts

    @classmethod
    def of(cls, part: Part, block: Block, carry: Carry) -> TrajectoryPieces:
        """`block`: that of the part as it was, with its lanes, of which `carry` is."""
        _, lasts = block.trajectories()
        starts = np.concatenate(([0], lasts[:-1] + 1))
        lanes = block.lanes
        comes_in, goes_on = np.zeros((2, block.num_steps), np.bool_)
        comes_in[lanes.starts[carry.head_chains >= 0]] = True
        goes_on[lanes.stops[carry.tail_chains >= 0] - 1] = True
        kinds = np.where(block.terminated[lasts], 0, np.where(block.truncated[lasts], 1, 3))
        if block.next_values is not None:
            kinds += (kinds > 0) & ~np.isnan(block.next_values[lasts])
        kinds[goes_on[lasts]] = _TO_COME
        return cls(starts, lasts + 1, part.trajectories[lasts], ~comes_in[starts], kinds)

    def ends_of(self, most_steps: int) -> TrajectoryPieces:
        starts = np.maximum(self.starts, self.stops - most_steps)
        return TrajectoryPieces(starts, self.stops, self.numbers, self.begin, self.kinds)

    def steps(self, chosen: BoolArray) -> BoolArray:
        """[N] those of the chosen pieces."""
        edges = np.zeros(int(self.stops[-1]) + 1, np.int64)
        edges[self.starts[chosen]] += 1
        edges[self.stops[chosen]] -= 1
        result: BoolArray = np.cumsum(edges[:-1]) > 0
        return result


class TrajectorySample:
    """Takes part after part. All of them are the sample as long as there is room."""

    def __init__(self, most_steps: int, *, may_cut: bool) -> None:
        """`may_cut`: nothing about a step depends on those before it in its trajectory."""
        self.is_whole = True
        self._most = most_steps
        self._most_of_one = max(most_steps // _PART_OF_LONG, 1) if may_cut else None
        self._limits = np.ones(_NUM_KINDS)
        self._parts: list[Part] = []
        #: Of the trajectories that are in.
        self._numbers, self._kinds, self._lengths = (np.zeros(0, np.int64) for _ in range(3))
        self._num_seen = 0

    @property
    def num_steps(self) -> int:
        return int(self._lengths.sum())

    @property
    def num_trajectories(self) -> int:
        return len(self._numbers)

    def add(self, part: Part, pieces: TrajectoryPieces) -> None:
        if not part.num_steps:
            return
        self._num_seen += part.num_steps
        if self._most_of_one is not None and self._num_seen > self._most:
            ends = pieces.ends_of(self._most_of_one)
            self.is_whole &= bool((ends.starts == pieces.starts).all())
            pieces = ends
        self._take_in(pieces)
        has_dropped = self._thin_out()
        chosen = np.isin(pieces.numbers, self._numbers)
        self.is_whole &= not has_dropped and bool(chosen.all())
        is_all = self.is_whole and int(pieces.lengths.sum()) == part.num_steps
        self._parts = self._remaining(self._parts) if has_dropped else self._parts
        if chosen.any():
            self._parts.append(part if is_all else part.take(pieces.steps(chosen)))
        self._cut_off()

    def result(self) -> Part:
        return joined(self._parts) if self._parts else nothing()

    def _take_in(self, pieces: TrajectoryPieces) -> None:
        """Those that have begun are known or are not in; new ones by their places."""
        known = np.flatnonzero(~pieces.begin)
        at = np.searchsorted(self._numbers, pieces.numbers[known])
        is_in = np.append(self._numbers, -1)[at] == pieces.numbers[known]
        at, known = at[is_in], known[is_in]
        self._kinds[at] = pieces.kinds[known]
        self._lengths[at] += pieces.lengths[known]
        new = pieces.begin & (_places(pieces.numbers) < self._limits[pieces.kinds])
        order = np.argsort(pieces.numbers[new], kind="stable")  # above all that are known
        self._numbers = np.append(self._numbers, pieces.numbers[new][order])
        self._kinds = np.append(self._kinds, pieces.kinds[new][order])
        self._lengths = np.append(self._lengths, pieces.lengths[new][order])

    def _thin_out(self) -> bool:
        """Whether any had to go."""
        has_dropped = False
        while self.num_steps > self._most:
            counts = np.bincount(self._kinds, minlength=_NUM_KINDS)
            steps = np.bincount(self._kinds, weights=self._lengths, minlength=_NUM_KINDS)
            kind = int(np.argmax(np.where(counts > 1, steps, 0)))
            if counts[kind] < 2:
                break
            places, of_kind = _places(self._numbers), self._kinds == kind
            least = float(places[of_kind].min())
            self._limits[kind] = max(self._limits[kind] / 2, np.nextafter(least, 1.0))
            stays = ~of_kind | (places < self._limits[kind])
            self._numbers, self._kinds, self._lengths = (
                one[stays] for one in (self._numbers, self._kinds, self._lengths)
            )
            has_dropped = True
        return has_dropped

    def _remaining(self, parts: list[Part]) -> list[Part]:
        kept = ((part, np.isin(part.trajectories, self._numbers)) for part in parts)
        return [part if chosen.all() else part.take(chosen) for part, chosen in kept if chosen.any()]

    def _cut_off(self) -> None:
        """The beginnings of what has become long."""
        if self._most_of_one is None:
            return
        for index in np.flatnonzero(self._lengths > 2 * self._most_of_one).tolist():
            self.is_whole, left = False, self._most_of_one
            for place in reversed(range(len(self._parts))):
                part = self._parts[place]
                mine = np.flatnonzero(part.trajectories == self._numbers[index])
                surplus = mine[: max(len(mine) - left, 0)]
                left -= len(mine) - len(surplus)
                if len(surplus):
                    self._parts[place] = part.take(np.delete(np.arange(part.num_steps), surplus))
            self._lengths[index] = self._most_of_one
        self._parts = [part for part in self._parts if part.num_steps]


def _places(numbers: Array) -> FloatArray:
    """From 0 to 1; that of the first one is no less likely to be small than another."""
    result: FloatArray = np.modf((numbers + 1.0) * _GOLDEN)[0]
    return result
