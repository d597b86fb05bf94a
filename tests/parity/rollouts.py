"""Random rollouts of several environments, and the estimators asked directly, without a file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gaecli.estimators.registry import make_estimator
from gaecli.kernels.devices import choose_device
from gaecli.rollouts import NO_LANES, Block, Placement
from gaecli.settings import Settings


@dataclass(frozen=True, eq=False)
class Rollout:
    """[N, T] each: N environments side by side, as an automatic reset leaves them.

    `following` is V of the true next observation: of the last one where the episode ends there.
    """

    rewards: np.ndarray
    values: np.ndarray
    following: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        return self.rewards.shape

    @property
    def ended(self) -> np.ndarray:
        return self.terminated | self.truncated

    @property
    def last_values(self) -> np.ndarray:
        """[N] V of the observation after the last row; where an episode ended there, of a new one."""
        return np.where(self.ended[:, -1], 123.0, self.following[:, -1])

    def env(self, index: int) -> dict[str, list[Any]]:
        """One environment as lists of plain floats and bools."""
        names = ("rewards", "values", "following", "terminated", "truncated")
        return {name: getattr(self, name)[index].tolist() for name in names}

    def cast(self, dtype: Any) -> Rollout:
        return replace(
            self,
            rewards=self.rewards.astype(dtype),
            values=self.values.astype(dtype),
            following=self.following.astype(dtype),
        )


def random_rollout(
    seed: int, num_envs: int = 5, num_steps: int = 40, end_rate: float = 0.15, *, both: bool = False
) -> Rollout:
    """Episodes of every kind of end, some one step long. `both`: some steps carry both flags."""
    rng = np.random.default_rng(seed)
    shape = (num_envs, num_steps)
    rewards, values, finals = rng.normal(size=(3, *shape))
    ended = rng.random(shape) < end_rate
    terminated = ended & (rng.random(shape) < 0.5)
    truncated = ended & ~terminated
    following = finals
    following[:, :-1] = np.where(ended[:, :-1], finals[:, :-1], values[:, 1:])
    if both:
        truncated = truncated | (terminated & (rng.random(shape) < 0.5))
    return Rollout(rewards, values, following, terminated, truncated)


def block_of(rollout: Rollout, *, next_values: bool = True, **changes: Any) -> Block:
    """The block a layout makes of it: every environment a lane that is closed at its end."""
    num_envs, num_steps = rollout.shape
    truncated = rollout.truncated & ~rollout.terminated  # as every layout has it
    cuts = rollout.ended.copy()
    cuts[:, -1] = True
    given = np.where(cuts, rollout.following, np.nan)
    block = Block(
        rewards=rollout.rewards.reshape(-1),
        values=rollout.values.reshape(-1),
        terminated=rollout.terminated.reshape(-1),
        truncated=truncated.reshape(-1),
        cuts=cuts.reshape(-1),
        next_values=given.reshape(-1) if next_values else None,
        lanes=NO_LANES,
        placement=Placement(num_envs * num_steps),
        stream_ends=np.arange(1, num_envs + 1) * num_steps - 1,
    )
    return replace(block, **changes)


def estimate(block: Block, settings: Settings) -> tuple[np.ndarray, np.ndarray]:
    """(advantages, returns) per step, raw."""
    estimator = make_estimator(settings, choose_device("auto", block.num_steps))
    prepared = estimator.prepare(block)
    advantages, returns, _ = estimator.estimate(prepared)
    return advantages, advantages + prepared.values if returns is None else returns
