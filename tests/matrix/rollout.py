"""One small rollout, and what its advantages are: a plain loop over floats."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

GAMMA, LAM = 0.9, 0.8


@dataclass(frozen=True, eq=False)
class Rollout:
    """[N, T] each, a row per environment; `following` is V of the true next observation."""

    rewards: np.ndarray
    values: np.ndarray
    following: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray

    @property
    def ended(self) -> np.ndarray:
        return self.terminated | self.truncated

    def with_ends(self, *, terminated: np.ndarray, truncated: np.ndarray) -> Rollout:
        return replace(self, terminated=terminated, truncated=truncated)


def rollout(*, ends_inside: bool = True) -> Rollout:
    """Ends of both kinds; without `ends_inside` on the last steps alone, and one environment stays open."""
    rng = np.random.default_rng(5)
    num_envs, num_steps = 3, 7
    rewards, values, finals = rng.normal(size=(3, num_envs, num_steps)).round(3)
    terminated, truncated = np.zeros((2, num_envs, num_steps), bool)
    if ends_inside:
        terminated[0, [1, 4]] = terminated[1, 6] = True
        truncated[1, 2] = truncated[2, [0, 5]] = True
    else:
        terminated[0, -1] = truncated[1, -1] = True
    ended = terminated | truncated
    following = finals
    following[:, :-1] = np.where(ended[:, :-1], finals[:, :-1], values[:, 1:])
    return Rollout(rewards, values, following, terminated, truncated)


def advantages(given: Rollout, lam: float = LAM) -> np.ndarray:
    """[N, T] by the recursion; the last step of a row uses what follows it, unless that is terminal."""
    found = np.zeros(given.rewards.shape)
    for env in range(found.shape[0]):
        later = 0.0
        for t in reversed(range(found.shape[1])):
            beyond = 0.0 if given.terminated[env, t] else float(given.following[env, t])
            delta = float(given.rewards[env, t]) + GAMMA * beyond - float(given.values[env, t])
            later = delta + (0.0 if given.ended[env, t] else GAMMA * lam * later)
            found[env, t] = later
    return found
