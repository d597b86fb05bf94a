"""Many settings of (γ, λ) at once: the same scan with a row per setting, [K, N].

What flows over the borders of a block is one number per lane and setting, so a batch of borders goes
where one set of borders would go.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from gaecli.estimators.base import Borders, Estimator
from gaecli.estimators.decays import with_one_lam
from gaecli.estimators.whole_stream import GatedGae, following_values, make, needs_whole_trajectories
from gaecli.kernels.devices import Device
from gaecli.kernels.scan import TILE_ROWS, affine_scan
from gaecli.kernels.torch_import import torch_module
from gaecli.records import dataclass
from gaecli.rollouts import Block, FloatArray

#: Bytes of a row under one setting while a launch is under way: x, a, and the buffers of the scan.
_BYTES_PER_CELL = 32


@dataclass(frozen=True, eq=False)
class BatchBorders(Borders):
    """The borders under the settings of the run, and those under every point of the grid."""

    batch: tuple[Borders, ...] = ()


@dataclass(frozen=True)
class BatchGae(GatedGae):
    """The estimator of `settings`, which also estimates every (γ, λ) of `points`."""

    points: tuple[tuple[float, float], ...] = ()
    launch_bytes: int = 1 << 28

    def borders(self, block: Block, advantages: FloatArray) -> Borders:
        own = super().borders(block, advantages)
        if not block.lanes.count:
            return BatchBorders(**vars(own), batch=(own,) * len(self.points))
        batch = [
            self._single(gamma, lam).borders(block, found)
            for (gamma, lam), found in zip(self.points, self._every(block), strict=True)
        ]
        return BatchBorders(**vars(own), batch=tuple(batch))

    def estimate_points(
        self, block: Block, inflows: FloatArray, chosen: Sequence[int]
    ) -> Iterator[FloatArray]:
        """[N] advantages of each of `chosen`, in this order. `inflows`: [K, lanes], of all points."""
        yield from self._every(block, inflows, chosen)

    def _every(
        self, block: Block, inflows: FloatArray | None = None, chosen: Sequence[int] | None = None
    ) -> Iterator[FloatArray]:
        chosen = range(len(self.points)) if chosen is None else chosen
        if needs_whole_trajectories(self.settings) or self.settings.mask_mode == "gated":
            for index in chosen:
                estimator = self._single(*self.points[index])
                yield estimator.estimate(block).advantages
            return
        per_launch = max(self.launch_bytes // (_BYTES_PER_CELL * max(block.num_steps, 1)), 1)
        following = following_values(replace(block, cuts=self._scan_cuts(block)))
        for first in range(0, len(chosen), per_launch):
            indices = list(chosen[first : first + per_launch])
            yield from self._launch(block, following, indices, inflows)

    def _single(self, gamma: float, lam: float) -> Estimator:
        return make(with_one_lam(self.settings.replace(gamma=gamma), lam), self.device)

    @np.errstate(over="ignore", invalid="ignore")
    def _launch(
        self, block: Block, following: FloatArray, indices: list[int], inflows: FloatArray | None
    ) -> FloatArray:
        """[K, N]: one scan for as many settings as there are `indices`."""
        points = np.array([self.points[index] for index in indices])
        gammas, decays = points[:, 0], points[:, 0] * points[:, 1]
        cuts = self._scan_cuts(block)
        x = gammas[:, None] * following
        x += block.rewards.astype(np.float64)
        x -= block.values
        a = np.repeat(decays[:, None], block.num_steps, axis=1)
        a[:, cuts] = 0.0
        if inflows is not None and block.lanes.count:
            x[:, block.lanes.stops - 1] += inflows[indices]
        if block.is_step is not None:
            x[:, ~block.is_step] = 0.0
            a[:, ~block.is_step] = 0.0
        return _scan(x, a, self.device)


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
