"""Rollouts as whoever calls from Python has them: flat arrays of all steps of one input."""

from __future__ import annotations

from gaecli.array_types import BoolArray, FloatArray, IndexArray
from gaecli.records import dataclass
from gaecli.shown import plural


@dataclass(frozen=True, eq=False)
class Rollouts:
    """All steps of one input, in memory; what `gaecli.read` returns.

    Attributes:
        rewards, values: [N] float64.
        terminated, truncated: [N] flags after the step; both False at an open end.
        next_values: [N] V(sₜ₊₁) where given explicitly, NaN elsewhere.
        offsets: [S + 1] trajectory k is steps offsets[k] up to offsets[k + 1].
        rows: [N] the row of the input that each step comes from (flat index for dense arrays).
    """

    rewards: FloatArray
    values: FloatArray
    terminated: BoolArray
    truncated: BoolArray
    next_values: FloatArray
    offsets: IndexArray
    rows: IndexArray

    def __repr__(self) -> str:
        steps, episodes = len(self.rewards), len(self.offsets) - 1
        return f"<Rollouts: {plural(steps, 'step')} in {plural(episodes, 'episode')}>"
