"""Many settings at once of one block: where they are affine scans the same scan with a row per setting, [K, N].

What flows over the borders of a block is a few numbers per lane and setting, so a batch of borders goes where one set
of borders would go.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from gaecli.estimators.base import Beyond, Borders, Estimates, Estimator, FinalEstimates, WholePieces
from gaecli.estimators.decays import gammas, lams
from gaecli.estimators.gae_variants import following_values
from gaecli.estimators.registry import make_estimator, needs_whole_trajectories
from gaecli.kernels.devices import Device
from gaecli.kernels.scan import TILE_ROWS, affine_scan
from gaecli.kernels.torch_import import torch_module
from gaecli.records import dataclass
from gaecli.rollouts import Block, BoolArray, FloatArray
from gaecli.settings import Settings

#: Bytes of a row under one setting while a launch is under way: x, a, and the buffers of the scan.
_BYTES_PER_CELL = 32
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
    ) -> Iterator[FinalEstimates]:
        """Of each of `chosen`, in this order.

        Args:
            block: as if nothing came after it; what does enters by `inflows`.
            final: with its final ends, and what lies beyond them.
            inflows, pieces: of all points.
        """
        if self._is_scan:
            totals = np.stack([inflow.total for inflow in inflows])
            for advantages in self._scanned(block, chosen, totals):
                yield FinalEstimates(advantages)
            return
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
        """[N] each, as if nothing came after the block; nothing, where trajectories have to be whole."""
        if self._is_scan:
            yield from self._scanned(block, chosen)
            return
        for index in chosen:
            single = self.single(index)
            is_late = single.needs_trajectories
            yield np.zeros(block.num_steps) if is_late else single.estimate(block).advantages

    def _scanned(
        self, block: Block, chosen: Sequence[int], inflows: FloatArray | None = None
    ) -> Iterator[FloatArray]:
        per_launch = max(self.launch_bytes // (_BYTES_PER_CELL * max(block.num_steps, 1)), 1)
        cuts = block.piece_ends()
        following = following_values(replace(block, cuts=cuts))
        for first in range(0, len(chosen), per_launch):
            indices = list(chosen[first : first + per_launch])
            yield from self._launch(block, cuts, following, indices, inflows)

    @np.errstate(over="ignore", invalid="ignore")
    def _launch(
        self,
        block: Block,
        cuts: BoolArray,
        following: FloatArray,
        indices: list[int],
        inflows: FloatArray | None,
    ) -> FloatArray:
        """[K, N]: one scan for as many settings as there are `indices`."""
        gamma = _each([gammas(block, self.points[index]) for index in indices], block.num_steps)
        decays = gamma * _each([lams(block, self.points[index]) for index in indices], block.num_steps)
        x = gamma * following
        x += block.rewards.astype(np.float64)
        x -= block.values
        a = np.broadcast_to(decays, x.shape).copy()
        a[:, cuts] = 0.0
        if inflows is not None and block.lanes.count:
            x[:, block.lanes.stops - 1] += inflows[indices]
        if block.is_step is not None:
            x[:, ~block.is_step] = 0.0
            a[:, ~block.is_step] = 0.0
        return _scan(x, a, self.device)


def _each(decays: Sequence[float | FloatArray], num_steps: int) -> FloatArray:
    """[K, 1], or [K, N] where steps have each their own."""
    if not any(isinstance(decay, np.ndarray) for decay in decays):
        return np.array(decays, np.float64)[:, None]
    return np.stack([np.broadcast_to(decay, num_steps) for decay in decays])


def _scan(x: FloatArray, a: FloatArray, device: Device) -> FloatArray:
    tile_rows = max(TILE_ROWS // len(x), 8**4)
    if not device.uses_torch:
        result: FloatArray = affine_scan(x, a, tile_rows=tile_rows)
        return result
    torch = torch_module()
    dtype = torch.float64 if device.has_float64 else torch.float32
    moved = [torch.from_numpy(array).to(device=device.name, dtype=dtype) for array in (x, a)]
    scanned: FloatArray = affine_scan(*moved, tile_rows=TILE_ROWS).cpu().numpy()
    return scanned
