"""Arrays of a few lanes, [T, N] and [N], and what their advantages are: by a plain loop over each trajectory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gaecli

GAMMA, LAM = 0.9, 0.8
#: Results pass through float32 arrays.
CLOSE: Mapping[str, float] = {"rtol": 1e-5, "atol": 1e-5}
RANDOM = np.random.default_rng(11)
T, N = 6, 3
REWARDS, VALUES = RANDOM.normal(size=(T, N)), RANDOM.normal(size=(T, N))
LAST = RANDOM.normal(size=N)
#: The step ends its trajectory; [T, N].
ENDS = np.zeros((T, N), bool)
ENDS[1, 0] = ENDS[3, 1] = ENDS[4, 1] = ENDS[T - 1, 2] = True


def looped(
    rewards: np.ndarray, values: np.ndarray, cut: np.ndarray, beyond: np.ndarray | None = None
) -> np.ndarray:
    """One lane. `beyond`: V behind each step that is cut or the last; None: 0."""
    found = np.zeros(len(rewards))
    following = 0.0
    for t in reversed(range(len(rewards))):
        if cut[t] or t == len(rewards) - 1:
            following, next_value = 0.0, 0.0 if beyond is None else beyond[t]
        else:
            next_value = values[t + 1]
        following = rewards[t] + GAMMA * next_value - values[t] + GAMMA * LAM * following
        found[t] = following
    return found


def by_lane(cuts: np.ndarray, *, bootstrapped: bool, ends: np.ndarray | None = None) -> np.ndarray:
    """[T, N]. `ends`: cuts behind which V is 0; behind the last step it is LAST, if it is bootstrapped."""
    beyond = np.zeros((T, N))
    if bootstrapped:
        beyond[-1] = np.where(cuts[-1] if ends is None else ends[-1], 0, LAST)
    return np.stack([looped(REWARDS[:, n], VALUES[:, n], cuts[:, n], beyond[:, n]) for n in range(N)], 1)


def advantages(path: Path, arrays: Mapping[str, Any], **options: Any) -> np.ndarray:
    np.savez(path, **arrays)
    gaecli.compute(path, gamma=GAMMA, lam=LAM, **options)
    with np.load(path) as found:
        assert found["advantage"].shape == np.shape(arrays["rewards"])
        return found["advantage"]


def refused(path: Path, arrays: Mapping[str, Any], **options: Any) -> tuple[int, str]:
    np.savez(path, **arrays)
    before = path.read_bytes()
    with pytest.raises(gaecli.GaeError) as raised:
        gaecli.compute(path, **options)
    assert path.read_bytes() == before
    return raised.value.exit_code, f"{raised.value.message}\n{raised.value.hint}"


VECTORS: Mapping[str, Any] = {
    "[N]": lambda array: np.reshape(array, -1),
    "[N, 1]": lambda array: np.reshape(array, (-1, 1)),
    "[1, N]": lambda array: np.reshape(array, (1, -1)),
    "[N, 1, 1]": lambda array: np.reshape(array, (-1, 1, 1)),
    "[1, N, 1]": lambda array: np.reshape(array, (1, -1, 1)),
}
FLAT = {"rewards": REWARDS[:, 0], "values": VALUES[:, 0], "done": ENDS[:, 0]}
EPISODES = np.concatenate(([0], np.cumsum(ENDS[:-1, 0])))
STEPS = np.array([0, 1, 0, 1, 2, 3])


def dense(**arrays: Any) -> dict[str, Any]:
    return {"rewards": REWARDS, "values": VALUES, "last_values": LAST, "terminated": ENDS, **arrays}
