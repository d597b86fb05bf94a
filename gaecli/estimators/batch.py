"""Many settings at once of one block: where they are affine scans, all of them over rows that are laid out once.

What flows over the borders of a block is a few numbers per lane and setting, so a batch of borders goes where one set
of borders would go.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain, groupby
from typing import Any, NamedTuple

import numpy as np

from gaecli.array_types import FloatArray, IndexArray
from gaecli.estimators.base import Beyond, Borders, ByOwn, Estimator, FinalEstimates, WholePieces
from gaecli.estimators.decays import gammas, lams
from gaecli.estimators.gae_variants import following_values
from gaecli.estimators.parts import part
from gaecli.estimators.registry import make_estimator, needs_whole_trajectories
from gaecli.estimators.td_lambda import has_second_values, with_mixed_values
from gaecli.kernels.chunks import ChunkedRows, EnteringTerms, column_tiles, tile_width
from gaecli.kernels.devices import Device
from gaecli.kernels.torch_import import torch_module
from gaecli.records import dataclass
from gaecli.rollouts import Block
from gaecli.settings import Settings

#: Of a device: the tile that is made, and the one before it.
_BYTES_PER_CELL = 16
#: Estimators whose numbers are Σ (γλ)ˡ δ, as long as each state has one V.
_SCANS = ("gae", "td-lambda")


@dataclass(frozen=True, eq=False)
class BatchBorders(Borders):
    """The borders under the settings of the run, and those under every point of the grid."""

    batch: tuple[Borders, ...] = ()


@dataclass(frozen=True, eq=False)
class Inflow:
    """What enters a block under one setting: z, and what z is made of."""

    total: FloatArray
    beyond: Beyond


@dataclass(frozen=True)
class BatchEstimator(ByOwn):
    """The estimator of `settings`, which also estimates every one of `points`: they differ in γ, λ and n."""

    settings: Settings
    device: Device
    points: tuple[Settings, ...] = ()
    launch_bytes: int = 1 << 28

    @property
    def own(self) -> Estimator:
        return make_estimator(self.settings, self.device)

    def borders(self, block: Block, advantages: FloatArray) -> Borders:
        own = self.own.borders(block, advantages)
        if not block.lanes.count:
            return BatchBorders(**vars(own), batch=(own,) * len(self.points))
        with np.errstate(over="ignore", invalid="ignore"):
            batch = [
                self.single(index).borders(block, found)
                for index, found in enumerate(self._alone(block, range(len(self.points))))
            ]
        return BatchBorders(**vars(own), batch=tuple(batch))

    def estimate_points(
        self,
        block: Block,
        final: Block,
        inflows: Sequence[Inflow],
        pieces: Sequence[WholePieces | None],
        launches: Sequence[Sequence[int]],
    ) -> PointEstimates:
        """Of each of `launches`, points that are estimated together: as many of one γ as of the next.

        Args:
            block: as if nothing came after it; what does enters by `inflows`.
            final: with its final ends, and what lies beyond them.
            inflows, pieces: of all points.
        """
        if not self._is_scan(block):
            return PointEstimates(None, self._one_by_one(block, final, inflows, pieces, launches))
        return PointEstimates(*self._scanned(block, launches, np.stack([inflow.total for inflow in inflows])))

    def _one_by_one(
        self,
        block: Block,
        final: Block,
        inflows: Sequence[Inflow],
        pieces: Sequence[WholePieces | None],
        launches: Sequence[Sequence[int]],
    ) -> Iterator[Iterator[PointTile]]:
        kept: dict[int, FinalEstimates] = {}
        for launch in launches:
            # Several launches may begin with the same point.
            kept = {index: found for index, found in kept.items() if index in launch[:1]}
            for index in launch:
                if index not in kept:
                    kept[index] = self._one(index, block, final, inflows[index], pieces[index])
            yield _tiles_of([kept[index] for index in launch])

    def _one(
        self, index: int, block: Block, final: Block, inflow: Inflow, pieces: WholePieces | None
    ) -> FinalEstimates:
        single = self.single(index)
        if single.needs_trajectories:
            return single.whole(final, pieces)
        found = single.estimate(block)
        advantages = single.settle(block, found.advantages, inflow.total)
        if found.returns is not None:
            return FinalEstimates(advantages, found.returns)
        return single.outputs(block, advantages, inflow.beyond)

    def _is_scan(self, block: Block) -> bool:
        """A is Σ (γλ)ˡ δ with the same δ under every λ."""
        settings = self.settings
        if settings.estimator not in _SCANS or needs_whole_trajectories(settings):
            return False
        return settings.mask_mode != "gated" and not (
            settings.estimator == "td-lambda" and has_second_values(block)
        )

    def single(self, index: int) -> Estimator:
        return make_estimator(self.points[index], self.device)

    def _alone(self, block: Block, chosen: Sequence[int]) -> Iterator[FloatArray]:
        """[N] each, as if nothing came after the block; nothing, where trajectories have to be whole.

        Of a scan at the heads of lanes alone: borders ask for no more.
        """
        if self._is_scan(block):
            yield from self._heads(block, chosen)
            return
        for index in chosen:
            single = self.single(index)
            is_late = single.needs_trajectories
            yield np.zeros(block.num_steps) if is_late else single.estimate(block).advantages

    def _heads(self, block: Block, chosen: Sequence[int]) -> Iterator[FloatArray]:
        """By the first trajectory of each lane."""
        starts, ends = block.lanes.starts, block.piece_ends()
        last = np.flatnonzero(ends)
        lengths = last[np.searchsorted(last, starts)] + 1 - starts
        firsts = np.cumsum(lengths) - lengths
        steps = np.arange(int(lengths.sum())) + np.repeat(starts - firsts, lengths)
        heads = replace(part(block, steps), cuts=ends[steps])
        launches = self._alike(chosen)
        order, scanned = self._scanned(heads, launches)
        places = np.flatnonzero(np.isin(order, firsts))
        lane_starts = starts[np.searchsorted(firsts, order[places])]
        found = np.zeros(block.num_steps)
        for launch, tiles in zip(launches, scanned, strict=True):
            of_launch = np.empty((len(launch), len(places)))
            for there, numbers, _ in tiles:
                among = slice(*np.searchsorted(places, (there.start, there.stop)))
                of_launch[:, among] = numbers[:, places[among] - there.start]
            for advantages in of_launch:
                found[lane_starts] = advantages
                yield found

    def _alike(self, chosen: Sequence[int]) -> list[list[int]]:
        """One after the other, as many of one γ as of the next together."""
        found: list[list[list[int]]] = []
        for _, same in groupby(chosen, lambda index: self.points[index].gamma):
            of_gamma = list(same)
            if found and len(found[-1][0]) == len(of_gamma):
                found[-1].append(of_gamma)
            else:
                found.append([of_gamma])
        return [list(chain(*alike)) for alike in found]

    def _scanned(
        self, block: Block, launches: Sequence[Sequence[int]], inflows: FloatArray | None = None
    ) -> tuple[IndexArray, Iterator[Iterator[PointTile]]]:
        """The step that stands at each place, and the advantages in this order.

        `inflows`: [points, lanes] what enters at their ends.
        """
        if self.settings.estimator == "td-lambda":
            block = with_mixed_values(
                block, 0.0
            )  # but for the ends of lanes as it is: it has no second values
        cuts = block.piece_ends()
        following = following_values(replace(block, cuts=cuts))
        if block.is_step is not None:
            cuts |= ~block.is_step  # nothing passes them, and they have nothing to hand on
        most = max(map(len, launches), default=1)
        fitting = self.launch_bytes // (_BYTES_PER_CELL * most)
        rows = ChunkedRows(cuts, fitting if self.device.uses_torch else tile_width(most))
        order = rows.order
        laid_out = _LaidOut(
            rows,
            order,
            following[order],
            block.rewards[order].astype(np.float64),
            block.values[order],
            None if block.is_step is None else np.flatnonzero(~block.is_step[order]),
        )
        return order, self._launched(block, laid_out, launches, inflows)

    def _launched(
        self,
        block: Block,
        rows: _LaidOut,
        launches: Sequence[Sequence[int]],
        inflows: FloatArray | None,
    ) -> Iterator[Iterator[PointTile]]:
        for launch in launches:
            points = [self.points[index] for index in launch]
            firsts = [next(same) for _, same in groupby(points, lambda point: point.gamma)]
            deltas = np.empty((len(firsts), len(rows.order)))
            for first, of_gamma in zip(firsts, deltas, strict=True):
                rows.fill(of_gamma, gammas(block, first))
            decays = _each([gammas(block, point) * lams(block, point) for point in points], rows.order)
            entering = None if inflows is None else rows.entering(block, inflows[launch])
            yield _scan(rows.rows, deltas, decays, entering, self.device)


class PointTile(NamedTuple):
    """[K, n] the numbers of the points of a launch at some places; good until the next tile is asked for."""

    places: slice
    numbers: FloatArray
    #: None where they are A + V.
    returns: FloatArray | None = None


def _tiles_of(found: Sequence[FinalEstimates]) -> Iterator[PointTile]:
    for places in column_tiles(len(found), len(found[0].advantages)):
        returns = [one.returns[places] for one in found if one.returns is not None]
        numbers = np.stack([one.advantages[places] for one in found])
        yield PointTile(places, numbers, np.stack(returns) if returns else None)


@dataclass(frozen=True, eq=False)
class PointEstimates:
    """Of one launch after the other; [N] of steps in this order. None: as they stand in the block."""

    order: IndexArray | None
    launches: Iterator[Iterator[PointTile]]


@dataclass(frozen=True, eq=False)
class _LaidOut:
    """A block as `rows` has it; [N] each."""

    rows: ChunkedRows
    order: IndexArray
    #: V(s').
    following: FloatArray
    rewards: FloatArray
    values: FloatArray
    #: Where rows stand that are no steps.
    fillers: IndexArray | None

    @np.errstate(over="ignore", invalid="ignore")
    def fill(self, deltas: FloatArray, gamma: float | FloatArray) -> None:
        """r + γ V(s') - V."""
        gamma = gamma[self.order] if isinstance(gamma, np.ndarray) else gamma
        np.multiply(self.following, gamma, out=deltas)
        deltas += self.rewards
        deltas -= self.values
        if self.fillers is not None:
            deltas[self.fillers] = 0.0

    def entering(self, block: Block, inflows: FloatArray) -> EnteringTerms | None:
        """`inflows`: [K, lanes]."""
        last = block.lanes.stops - 1
        enters = inflows.any(axis=0)
        if block.is_step is not None:
            enters &= block.is_step[last]
        lanes = np.flatnonzero(enters)
        if not len(lanes):
            return None
        columns = self.rows.columns_of_last(last[lanes])
        ascending = np.argsort(columns)
        return EnteringTerms(columns[ascending], inflows[:, lanes[ascending]])


def _each(decays: Sequence[float | FloatArray], order: IndexArray) -> FloatArray:
    """[K, 1], or [K, N] where steps have each their own."""
    if not any(isinstance(decay, np.ndarray) for decay in decays):
        return np.array(decays, np.float64)[:, None]
    return np.stack([np.broadcast_to(decay, len(order))[order] for decay in decays])


def _scan(
    rows: ChunkedRows, x: FloatArray, a: FloatArray, entering: EnteringTerms | None, device: Device
) -> Iterator[PointTile]:
    if not device.uses_torch:
        yield from (PointTile(*tile) for tile in rows.scan(x, a, entering, np))
        return
    torch = torch_module()
    dtype = torch.float64 if device.has_float64 else torch.float32

    def moved(array: FloatArray) -> Any:
        return torch.from_numpy(array).to(device=device.name, dtype=dtype)

    if entering is not None:
        entering = EnteringTerms(entering.columns, moved(entering.terms))
    for places, tile in rows.scan(moved(x), moved(a), entering, torch):
        numbers = tile.cpu().numpy().astype(np.float64, copy=False)
        for some in column_tiles(*numbers.shape):
            yield PointTile(slice(places.start + some.start, places.start + some.stop), numbers[:, some])
