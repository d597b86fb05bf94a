"""Presets for which a trajectory that merely stops has no value beyond its end, whatever its last row gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pipeline.running import small_blocks

import gaecli

GAMMA, LAM = 0.9, 0.8
LENGTHS = (4, 1, 3, 5)


def columns(num_envs: int) -> dict[str, np.ndarray]:
    """Trajectories one after the other, of several environments in turn; a next value in every row, of its own."""
    rng = np.random.default_rng(3)
    episodes = np.repeat(np.arange(len(LENGTHS)), LENGTHS)
    made = {
        "episode_id": np.repeat(episodes * num_envs, num_envs) + np.tile(np.arange(num_envs), len(episodes))
    }
    if num_envs > 1:
        made["env_id"] = np.tile(np.arange(num_envs), len(episodes))
    size = len(made["episode_id"])
    return made | {name: rng.normal(size=size) for name in ("reward", "value", "next_value")}


def law(of: dict[str, np.ndarray], estimator: str, n: int) -> np.ndarray:
    """Aₜ by sums over the rest of the trajectory; V' of the last step is 0."""
    found = np.empty(len(of["reward"]))
    for episode in np.unique(of["episode_id"]):
        rows = np.flatnonzero(of["episode_id"] == episode)
        r, v, following = of["reward"][rows], of["value"][rows], of["next_value"][rows].copy()
        following[-1] = 0.0
        for t in range(len(rows)):
            rest = len(rows) - t
            if estimator == "gae":
                delta = r + GAMMA * following - v
                found[rows[t]] = sum((GAMMA * LAM) ** k * delta[t + k] for k in range(rest))
                continue
            returns = [
                sum(GAMMA**k * r[t + k] for k in range(steps)) + GAMMA**steps * following[t + steps - 1]
                for steps in range(1, rest + 1)
            ]
            if estimator == "n-step":
                found[rows[t]] = returns[min(n, rest) - 1] - v[t]
            else:
                weights = [(1 - LAM) * LAM**k for k in range(rest - 1)] + [LAM ** (rest - 1)]
                found[rows[t]] = np.dot(weights, returns) - v[t]
    return found


@pytest.mark.few(8)
@pytest.mark.parametrize("num_envs", [1, 2])
@pytest.mark.parametrize("rows", [1, 3, 4, None])
@pytest.mark.parametrize(
    ("estimator", "given"),
    [("gae", {"lam": LAM}), ("td-lambda", {"lam": LAM}), ("n-step", {"n_steps": 3})],
    ids=["gae", "td-lambda", "n-step"],
)
def test_the_last_next_value_counts_nowhere(
    rows: int | None, num_envs: int, estimator: str, given: dict[str, Any]
) -> None:
    of = columns(num_envs)
    with small_blocks(rows, dtype=np.float64) as folder:
        path = folder / "rollouts.parquet"
        pq.write_table(pa.table(of), path, row_group_size=rows or 1000)
        summary = gaecli.compute(
            path, preset="verl", estimator=estimator, gamma=GAMMA, normalize="none", **given
        )
        found = pq.read_table(path)["advantage"].to_numpy()
    np.testing.assert_allclose(found, law(of, estimator, given.get("n_steps", 0)), rtol=1e-12, atol=1e-12)
    assert summary.bootstrapped == type(summary.bootstrapped)()
