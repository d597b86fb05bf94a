"""Many settings at once of one block: where they are affine scans, all of them over rows that are laid out once.

What flows over the borders of a block is a few numbers per lane and setting, so a batch of borders goes where one set
of borders would go.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby

import numpy as np

from gaecli.estimators.base import Beyond, Borders, Estimates, Estimator, FinalEstimates, WholePieces
from gaecli.estimators.decays import gammas, lams
from gaecli.estimators.gae_variants import following_values
from gaecli.estimators.parts import part
from gaecli.estimators.registry import make_estimator, needs_whole_trajectories
from gaecli.kernels.chunks import ChunkedRows
from gaecli.kernels.devices import Device
from gaecli.kernels.torch_import import torch_module
from gaecli.records import dataclass
from gaecli.rollouts import Block, FloatArray, IndexArray
from gaecli.settings import Settings

#: Bytes of a row under one setting while a launch is under way.
_BYTES_PER_CELL = 16
#: On a CPU a launch stays in the cache.
_LAUNCH_BYTES = 1 << 24
#: Estimators whose numbers are Σ (γλ)ˡ δ.
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
class BatchEstimator:
    """The estimator of `settings`, which also estimates every one of `points`: they differ in γ, λ and n."""

    settings: Settings
    device: Device
    points: tuple[Settings, ...] = ()
    launch_bytes: int = 1 << 28

    @property
    def needs_trajectories(self) -> bool:
        return self.own.needs_trajectories

    @property
    def own(self) -> Estimator:
        return make_estimator(self.settings, self.device)

    def prepare(self, block: Block) -> Block:
        return self.own.prepare(block)

    def estimate(self, block: Block, threads: int = 1) -> Estimates:
        return self.own.estimate(block, threads)

    def settle(
        self, block: Block, advantages: FloatArray, inflow: FloatArray, threads: int = 1
    ) -> FloatArray:
        return self.own.settle(block, advantages, inflow, threads)

    def outputs(self, block: Block, advantages: FloatArray, beyond: Beyond) -> FinalEstimates:
        return self.own.outputs(block, advantages, beyond)

    def whole(self, block: Block, pieces: WholePieces | None = None, threads: int = 1) -> FinalEstimates:
        return self.own.whole(block, pieces, threads)

    def borders(self, block: Block, advantages: FloatArray) -> Borders:
        own = self.own.borders(block, advantages)
        if not block.lanes.count:
            return BatchBorders(**vars(own), batch=(own,) * len(self.points))
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
        chosen: Sequence[int],
    ) -> PointEstimates:
        """Of each of `chosen`, in this order.

        Args:
            block: as if nothing came after it; what does enters by `inflows`.
            final: with its final ends, and what lies beyond them.
            inflows, pieces: of all points.
        """
        if not self._is_scan:
            return PointEstimates(None, self._one_by_one(block, final, inflows, pieces, chosen))
        order, scanned = self._scanned(block, chosen, np.stack([inflow.total for inflow in inflows]))
        return PointEstimates(order, (FinalEstimates(advantages) for advantages in scanned))

    def _one_by_one(
        self,
        block: Block,
        final: Block,
        inflows: Sequence[Inflow],
        pieces: Sequence[WholePieces | None],
        chosen: Sequence[int],
    ) -> Iterator[FinalEstimates]:
        for index in chosen:
            single = self.single(index)
            if single.needs_trajectories:
                yield single.whole(final, pieces[index])
                continue
            found = single.estimate(block)
            advantages = single.settle(block, found.advantages, inflows[index].total)
            if found.returns is not None:
                yield FinalEstimates(advantages, found.returns)
            else:
                yield single.outputs(block, advantages, inflows[index].beyond)

    @property
    def _is_scan(self) -> bool:
        is_gated = self.settings.mask_mode == "gated"
        return (
            self.settings.estimator in _SCANS and not needs_whole_trajectories(self.settings) and not is_gated
        )

    def single(self, index: int) -> Estimator:
        return make_estimator(self.points[index], self.device)

    def _alone(self, block: Block, chosen: Sequence[int]) -> Iterator[FloatArray]:
        """[N] each, as if nothing came after the block; nothing, where trajectories have to be whole.

        Of a scan at the heads of lanes alone: borders ask for no more.
        """
        if self._is_scan:
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
        order, scanned = self._scanned(heads, chosen)
        is_first = np.isin(order, firsts)
        lane_starts = starts[np.searchsorted(firsts, order[is_first])]
        found = np.zeros(block.num_steps)
        for advantages in scanned:
            found[lane_starts] = advantages[is_first]
            yield found

    def _scanned(
        self, block: Block, chosen: Sequence[int], inflows: FloatArray | None = None
    ) -> tuple[IndexArray, Iterator[FloatArray]]:
        """The step that stands at each place, and the advantages in this order, [N] of each of `chosen`."""
        cuts = block.piece_ends()
        following = following_values(replace(block, cuts=cuts))
        if block.is_step is not None:
            cuts |= ~block.is_step  # nothing passes them, and they have nothing to hand on
        rows = ChunkedRows(cuts)
        order = rows.order
        laid_out = _LaidOut(
            rows,
            order,
            following[order],
            block.rewards[order].astype(np.float64),
            block.values[order],
            None if block.is_step is None else np.flatnonzero(~block.is_step[order]),
            rows.places_of_last(block.lanes.stops - 1) if inflows is not None else order[:0],
        )
        return order, self._launches(block, laid_out, chosen, inflows)

    def _launches(
        self, block: Block, rows: _LaidOut, chosen: Sequence[int], inflows: FloatArray | None
    ) -> Iterator[FloatArray]:
        most = self.launch_bytes if self.device.uses_torch else min(self.launch_bytes, _LAUNCH_BYTES)
        per_launch = max(most // (_BYTES_PER_CELL * max(block.num_steps, 1)), 1)
        for _, indices in groupby(chosen, lambda index: self.points[index].gamma):
            same = list(indices)
            deltas = rows.deltas(gammas(block, self.points[same[0]]))
            decays = [gammas(block, self.points[index]) * lams(block, self.points[index]) for index in same]
            for first in range(0, len(same), per_launch):
                launch = slice(first, first + per_launch)
                entering = None if inflows is None else inflows[same[launch]]
                yield from rows.scanned(deltas, decays[launch], entering, self.device)


@dataclass(frozen=True, eq=False)
class PointEstimates:
    """Of one point after the other; [N] of steps in this order. None: as they stand in the block."""

    order: IndexArray | None
    found: Iterator[FinalEstimates]

    @property
    def in_block_order(self) -> Iterator[FinalEstimates]:
        if self.order is None:
            return self.found
        return (FinalEstimates(in_block_order(one.advantages, self.order)) for one in self.found)


def in_block_order(numbers: FloatArray, order: IndexArray | None) -> FloatArray:
    """[N] as steps stand in the block; `order` says which stands at each place now."""
    if order is None:
        return numbers
    found = np.empty_like(numbers)
    found[order] = numbers
    return found


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
    #: [lanes] where the last step of each lane stands.
    lane_ends: IndexArray

    @np.errstate(over="ignore", invalid="ignore")
    def deltas(self, gamma: float | FloatArray) -> FloatArray:
        found = self.following * (gamma[self.order] if isinstance(gamma, np.ndarray) else gamma)
        found += self.rewards
        found -= self.values
        return found

    @np.errstate(over="ignore", invalid="ignore")
    def scanned(
        self,
        deltas: FloatArray,
        decays: Sequence[float | FloatArray],
        inflows: FloatArray | None,
        device: Device,
    ) -> FloatArray:
        """[K, N]: one scan for as many settings as there are `decays`."""
        found = np.empty((len(decays), len(deltas)))
        found[...] = deltas
        if inflows is not None:
            found[:, self.lane_ends] += inflows
        if self.fillers is not None:
            found[:, self.fillers] = 0.0
        return _scan(self.rows, found, _each(decays, self.order), device)


def _each(decays: Sequence[float | FloatArray], order: IndexArray) -> FloatArray:
    """[K, 1], or [K, N] where steps have each their own."""
    if not any(isinstance(decay, np.ndarray) for decay in decays):
        return np.array(decays, np.float64)[:, None]
    return np.stack([np.broadcast_to(decay, len(order))[order] for decay in decays])


def _scan(rows: ChunkedRows, x: FloatArray, a: FloatArray, device: Device) -> FloatArray:
    if not device.uses_torch:
        rows.scan(x, a, np)
        return x
    torch = torch_module()
    dtype = torch.float64 if device.has_float64 else torch.float32
    moved, decays = (torch.from_numpy(array).to(device=device.name, dtype=dtype) for array in (x, a))
    rows.scan(moved, decays, torch)
    scanned: FloatArray = moved.cpu().numpy()
    return scanned
