"""What an estimator says of the ends of trajectories, for whoever asks for no numbers: nothing is scanned."""

from __future__ import annotations

import numpy as np

from gaecli.array_types import FloatArray
from gaecli.estimators.base import (
    Beyond,
    Borders,
    Estimates,
    Estimator,
    FinalEstimates,
    WholePieces,
)
from gaecli.records import dataclass
from gaecli.rollouts import Block
from gaecli.settings import Settings


def for_ends_only(estimator: Estimator) -> Estimator:
    """The estimator itself, where it knows of more than what crosses the borders of blocks in one number."""
    settings = estimator.settings
    is_plain = not (settings.stream or settings.is_over_units or settings.kind.is_scored)
    return _EndsOnly(estimator) if is_plain and not estimator.needs_trajectories else estimator


def is_for_ends_only(estimator: Estimator) -> bool:
    return isinstance(estimator, _EndsOnly)


@dataclass(frozen=True)
class _EndsOnly:
    """All advantages are 0. Which ends there are, and which of them lack a value, does not depend on those."""

    estimator: Estimator

    @property
    def settings(self) -> Settings:
        return self.estimator.settings

    @property
    def needs_trajectories(self) -> bool:
        return False

    def prepare(self, block: Block) -> Block:
        return self.estimator.prepare(block)

    def estimate(self, block: Block, threads: int = 1) -> Estimates:
        return Estimates(np.broadcast_to(0.0, block.num_steps))

    def borders(self, block: Block, advantages: FloatArray) -> Borders:
        return self.estimator.borders(block, advantages)

    def settle(
        self, block: Block, advantages: FloatArray, inflow: FloatArray, *, in_place: bool = False
    ) -> FloatArray:
        return advantages

    def outputs(self, block: Block, advantages: FloatArray, beyond: Beyond) -> FinalEstimates:
        return FinalEstimates(advantages)

    def whole(self, block: Block, pieces: WholePieces | None = None, threads: int = 1) -> FinalEstimates:
        return FinalEstimates(np.zeros(block.num_steps))
