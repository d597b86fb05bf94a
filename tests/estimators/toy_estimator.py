"""An estimator as somebody would add one: no value column, a further column, and an own output.

yₜ = rₜ + bonusₜ + γ yₜ₊₁       to the end of the trajectory, and 0 beyond it
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from gaecli.estimator_kinds import EstimatorKind
from gaecli.estimators.monte_carlo import MonteCarlo, needs_whole_trajectories
from gaecli.kernels.devices import Device
from gaecli.rollouts import Block
from gaecli.settings import Settings

__all__ = ["KIND", "make", "needs_whole_trajectories"]

KIND = EstimatorKind(
    name="bonus-to-go",
    summary="rewards and bonuses to the end",
    source="this test",
    module="estimators.toy_estimator",
    roles=("reward",),
    outputs=("return",),
    extras=lambda settings: ("bonus",),
    unused=("lam", "lam_alpha", "n_steps"),
)


def make(settings: Settings, device: Device) -> Toy:
    return Toy(settings.replace(lam=1.0), device)


@dataclass(frozen=True)
class Toy(MonteCarlo):
    def prepare(self, block: Block) -> Block:
        block = super().prepare(block)
        return replace(block, rewards=block.rewards + np.nan_to_num(block.extras["bonus"]))
