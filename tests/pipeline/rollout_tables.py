"""Long tables with known trajectories, and what GAE of them is by its definition.

    δₜ = rₜ + γ V(sₜ₊₁) - V(sₜ)         V(sₜ₊₁) = 0 where sₜ₊₁ is terminal
    Aₜ = Σₗ (γλ)ˡ δₜ₊ₗ                   the sum ends where the trajectory does
    Rₜ = Aₜ + V(sₜ)

Written out as the double sum that it is, one trajectory at a time: no recursion, no blocks, no scan, and
nothing of gaecli.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

End = Literal["terminated", "truncated", "open"]


@dataclass(frozen=True)
class Trajectory:
    """Steps in the order of time. `next_values` is NaN where the file does not give one."""

    rewards: np.ndarray
    values: np.ndarray
    next_values: np.ndarray
    end: End
    env: int = 0

    @property
    def num_steps(self) -> int:
        return len(self.rewards)

    @property
    def last_next_value(self) -> float:
        return float(self.next_values[-1])


def double_sum(trajectory: Trajectory, gamma: float, lam: float, bootstrap: str = "zero") -> np.ndarray:
    """[T] advantages."""
    values = trajectory.values.astype(np.float64)
    following = np.append(values[1:], np.nan)
    given = ~np.isnan(trajectory.next_values)
    following[given] = trajectory.next_values[given]
    if trajectory.end == "terminated":
        following[-1] = 0.0
    elif np.isnan(following[-1]):
        following[-1] = {"zero": 0.0, "current": values[-1]}[bootstrap]
    deltas = trajectory.rewards.astype(np.float64) + gamma * following - values
    num_steps = trajectory.num_steps
    lags = np.arange(num_steps)[None, :] - np.arange(num_steps)[:, None]
    weights = np.where(lags >= 0, (gamma * lam) ** np.maximum(lags, 0).astype(np.float64), 0.0)
    return weights @ deltas


@dataclass(frozen=True)
class Rollout:
    """A table and the rows of it that each trajectory consists of."""

    trajectories: Sequence[Trajectory]
    rows: Sequence[np.ndarray]
    table: pa.Table
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def num_rows(self) -> int:
        return self.table.num_rows

    def advantages(self, gamma: float, lam: float, bootstrap: str = "zero") -> np.ndarray:
        found = np.full(self.num_rows, np.nan)
        for trajectory, rows in zip(self.trajectories, self.rows, strict=True):
            found[rows] = double_sum(trajectory, gamma, lam, bootstrap)
        return found

    def column(self, name: str) -> np.ndarray:
        return np.array(self.table.column(name).to_pylist())

    @property
    def values(self) -> np.ndarray:
        return self.column("value").astype(np.float64)

    @property
    def scale(self) -> float:
        """No advantage is larger: what rounding is measured against."""
        given = [np.nan_to_num(np.abs(t.next_values)) for t in self.trajectories]
        sums = [
            np.abs(t.rewards).sum() + 2 * np.abs(t.values).sum() + n.sum()
            for t, n in zip(self.trajectories, given, strict=True)
        ]
        return max(1.0, *map(float, sums)) if sums else 1.0


def a_table(seed: int, count: int = 60, num_envs: int = 3, end_share: float = 0.08) -> dict[str, np.ndarray]:
    """Rows in time order, environments in turn; not every end has a next value."""
    random = np.random.default_rng(seed)
    ended = random.random(count) < end_share
    is_terminal = random.random(count) < 0.4
    return {
        "env_id": np.arange(count) % num_envs,
        "reward": random.normal(size=count),
        "value": random.normal(size=count),
        "terminated": ended & is_terminal,
        "truncated": ended & ~is_terminal,
        "next_value": np.where(ended & (random.random(count) < 0.7), random.normal(size=count), np.nan),
    }


def write(rollout: Rollout, path: Path, row_group_size: int) -> Path:
    pq.write_table(rollout.table, path, row_group_size=max(1, row_group_size))
    return path


Keys = Literal["flags", "ids", "ids and flags", "env", "env and ids", "interleaved ids"]
KEYS: tuple[Keys, ...] = ("flags", "ids", "ids and flags", "env", "env and ids", "interleaved ids")
_NUMBERS = st.integers(-400, 400).map(lambda number: number / 8 + 0.1)


@st.composite
def rollouts(
    draw: st.DrawFn, keys: Sequence[Keys] = KEYS, max_trajectories: int = 5, max_steps: int = 12
) -> Rollout:
    """Trajectories of every kind of end, and a table in which they stand one after the other or interleaved."""
    kind = draw(st.sampled_from(keys))
    lengths = draw(st.lists(st.integers(1, max_steps), min_size=1, max_size=max_trajectories))
    num_envs = draw(st.integers(1, 3)) if kind.startswith("env") else 1
    has_next_values = draw(st.booleans())
    trajectories = []
    for index, length in enumerate(lengths):
        is_last_of_lane = index >= len(lengths) - num_envs
        needs_flag = kind in ("flags", "env") and not is_last_of_lane
        ends: list[End] = ["terminated", "truncated"] if needs_flag else ["terminated", "truncated", "open"]
        end: End = "open" if kind == "ids" else draw(st.sampled_from(ends))
        numbers = draw(st.lists(_NUMBERS, min_size=3 * length, max_size=3 * length))
        rewards, values, given = np.array(numbers).reshape(3, length)
        present = draw(st.lists(st.booleans(), min_size=length, max_size=length))
        next_values = np.where(present, given, np.nan) if has_next_values else np.full(length, np.nan)
        trajectories.append(Trajectory(rewards, values, next_values, end, env=index % num_envs))
    order = _order(draw, kind, trajectories, num_envs)
    return as_rollout(trajectories, order, kind, has_next_values, draw(st.booleans()))


def _order(
    draw: st.DrawFn, kind: Keys, trajectories: Sequence[Trajectory], num_envs: int
) -> list[tuple[int, int]]:
    """(trajectory, step) of every row."""
    if kind in ("flags", "ids", "ids and flags"):
        return [(index, step) for index, t in enumerate(trajectories) for step in range(t.num_steps)]
    lanes: list[list[tuple[int, int]]] = [[] for _ in range(num_envs)]
    if kind == "interleaved ids":
        lanes = [[(index, step) for step in range(t.num_steps)] for index, t in enumerate(trajectories)]
    else:
        for index, t in enumerate(trajectories):
            lanes[t.env] += [(index, step) for step in range(t.num_steps)]
    turns = draw(st.permutations([lane for lane, rows in enumerate(lanes) for _ in rows]))
    positions = [iter(rows) for rows in lanes]
    return [next(positions[lane]) for lane in turns]


def as_rollout(
    trajectories: Sequence[Trajectory],
    order: Sequence[tuple[int, int]],
    kind: Keys,
    has_next_values: bool,
    has_steps: bool = False,
) -> Rollout:
    rows: list[list[int]] = [[] for _ in trajectories]
    for row, (index, _) in enumerate(order):
        rows[index].append(row)
    ends = [(trajectories[i].end, step == trajectories[i].num_steps - 1) for i, step in order]
    columns: dict[str, Any] = {"payload": pa.array([f"row {row}" for row in range(len(order))], pa.string())}
    for name in ("rewards", "values"):
        numbers = [float(getattr(trajectories[i], name)[step]) for i, step in order]
        columns[name.removesuffix("s")] = pa.array(numbers, pa.float64())
    if kind != "ids":
        columns["terminated"] = pa.array([last and end == "terminated" for end, last in ends], pa.bool_())
        columns["truncated"] = pa.array([last and end == "truncated" for end, last in ends], pa.bool_())
    if has_next_values:
        given = [float(trajectories[i].next_values[step]) for i, step in order]
        columns["next_value"] = pa.array(given, pa.float64())
    if "ids" in kind:
        columns["episode_id"] = pa.array([i * 7 + 3 for i, _ in order], pa.int32())
        if has_steps:
            columns["step"] = pa.array([step for _, step in order], pa.int64())
    if kind.startswith("env"):
        columns["env_id"] = pa.array([f"env {trajectories[i].env}" for i, _ in order], pa.string())
    return Rollout(trajectories, [np.array(found) for found in rows], pa.table(columns))
