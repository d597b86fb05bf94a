"""The λ-return, which is what GAE is the advantage of.

    Gₜ = rₜ + γ (1 - dₜ) ((1 - λ) V(sₜ₊₁) + λ Gₜ₊₁)        Aₜ = Gₜ - V(sₜ)

Sutton and Barto 2018, eq. 12.2-12.3. A is the scan of δ, and G = A + V, whatever recursion and return a preset has
for its own advantages: the same where V(sₜ₊₁) is that of the next row. A file may give another one, such as that of
a target network; then it enters δ, and no mean of sums of rewards has it behind them.
"""

from __future__ import annotations

from gaecli.estimators.base import Estimates
from gaecli.estimators.decays import lams
from gaecli.estimators.gae_variants import GatedGae, WholeTrajectoryGae, needs_ends
from gaecli.kernels.devices import Device
from gaecli.records import dataclass
from gaecli.rollouts import Block
from gaecli.settings import Settings


def make(settings: Settings, device: Device) -> GatedGae:
    kind = _WholeTrajectories if needs_whole_trajectories(settings) else GatedGae
    return kind(settings, device)


def needs_whole_trajectories(settings: Settings) -> bool:
    return needs_ends(settings)


@dataclass(frozen=True)
class _WholeTrajectories(WholeTrajectoryGae):
    """λ by the length of the trajectory."""

    def estimate(self, block: Block, threads: int = 1) -> Estimates:
        block = self._closed(block)
        return Estimates(self._gae(block, lams(block, self.settings), threads))
