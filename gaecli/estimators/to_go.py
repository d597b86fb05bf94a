"""The discounted rewards from each step on, for estimators of responses: nothing lies beyond the last token.

    Gₜ = rₜ + γ Gₜ₊₁        REINFORCE++: A = G, normalised        ReMax: A = G - b, b the reward of a greedy response

GiGPO compares G over equal states, and the score of the trajectory over its group (`gaecli.estimators.baselines`).
"""

from __future__ import annotations

from gaecli.array_types import FloatArray
from gaecli.estimators.base import Borders, Estimates
from gaecli.estimators.decays import with_one_lam
from gaecli.estimators.monte_carlo import MonteCarlo
from gaecli.estimators.score import nothing_beyond, without_beyond
from gaecli.estimators.scores import given_numbers, sums_of
from gaecli.kernels.devices import Device
from gaecli.records import dataclass
from gaecli.rollouts import Block
from gaecli.settings import Settings


def make(settings: Settings, device: Device) -> ToGo:
    return ToGo(with_one_lam(settings, 1.0), device)


def needs_whole_trajectories(settings: Settings) -> bool:
    return False


@dataclass(frozen=True)
class ToGo(MonteCarlo):
    def prepare(self, block: Block) -> Block:
        return without_beyond(block, self.settings)

    def estimate(self, block: Block, threads: int = 1) -> Estimates:
        found = super().estimate(block, threads)
        # What is compared as a whole, or may be missing as a whole, is summed too.
        is_summed = self.settings.kind.is_grouped or self.settings.unscored != "error"
        return found._replace(sums=sums_of(block, self.settings)) if is_summed else found

    def borders(self, block: Block, advantages: FloatArray) -> Borders:
        return nothing_beyond(super().borders(block, advantages))

    def settle(
        self, block: Block, advantages: FloatArray, inflow: FloatArray, *, in_place: bool = False
    ) -> FloatArray:
        settled = super().settle(block, advantages, inflow, in_place=in_place)
        name = self.settings.baseline_column
        return (
            settled
            if name is None
            else settled - given_numbers(block, name, "--baseline-column", self.settings)
        )
