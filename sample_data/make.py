"""Make the sample data: rollouts of real PPO agents, with Stable-Baselines3's own advantages.

    pip install -c constraints.txt -e '.[samples]'
    python sample_data/make.py

Two small agents are trained for a few updates; the last rollout of each is written in the shapes
that `README.md` beside this file lists. What is in `expected/` comes out of SB3's rollout buffer,
not out of gaecli. On one machine, with the same versions, every run writes the same bytes.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import DummyVecEnv

#: SB3's defaults, and gaecli's: the samples need no flags.
GAMMA = 0.99
GAE_LAMBDA = 0.95

#: No multiple of an environment's rows, so that row groups cut through trajectories.
ROWS_PER_GROUP = 300


@dataclass(frozen=True)
class Recipe:
    """One agent. `time_limits` holds one per environment, so that they do not end in lockstep."""

    env_id: str
    time_limits: tuple[int, ...]
    num_steps: int
    num_rollouts: int
    batch_size: int
    learning_rate: float
    seed: int


RECIPES = {
    # Half trained: some episodes fall over, others reach the limit.
    "cartpole": Recipe("CartPole-v1", (50, 60, 70, 80), 256, 3, batch_size=64, learning_rate=1e-3, seed=7),
    # Never terminates: every end is a time limit or the end of the rollout. The limit of 125 falls on
    # the rollout's last row, where `last_values` already belongs to the next episode.
    "pendulum": Recipe("Pendulum-v1", (80, 100, 125), 250, 3, batch_size=50, learning_rate=3e-4, seed=7),
}


@dataclass(frozen=True, eq=False)
class Rollout:
    """One rollout, arrays [T, N, ...] (T steps, N environments) unless said otherwise."""

    observations: NDArray[np.float32]
    actions: NDArray[Any]
    #: As the environment gave them; the buffer's have γ V(terminal observation) added at time limits.
    rewards: NDArray[np.float32]
    folded_rewards: NDArray[np.float32]
    values: NDArray[np.float32]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    #: V(terminal observation) where truncated, else NaN.
    terminal_values: NDArray[np.float32]
    episode_starts: NDArray[np.float32]
    #: [N] V of the observation after the last step; of a new episode's first one if `last_dones`.
    last_values: NDArray[np.float32]
    last_dones: NDArray[np.bool_]
    advantages: NDArray[np.float32]
    returns: NDArray[np.float32]


class RolloutRecorder(BaseCallback):
    """Keeps the latest rollout, with the raw rewards that SB3 overwrites in place."""

    def __init__(self) -> None:
        super().__init__()
        self.rollout: Rollout | None = None
        self._steps: list[dict[str, NDArray[Any]]] = []

    def _on_rollout_start(self) -> None:
        self._steps = []

    def _on_step(self) -> bool:
        dones, infos = self.locals["dones"], self.locals["infos"]
        truncated = np.array([bool(info.get("TimeLimit.truncated", False)) for info in infos])
        terminal_values = np.full(len(infos), np.nan, np.float32)
        for index in np.flatnonzero(truncated):
            terminal_values[index] = self._value_of(infos[index]["terminal_observation"])
        self._steps.append(
            {
                # A copy: after this callback SB3 adds γ V(terminal observation) to the same array.
                "rewards": self.locals["rewards"].astype(np.float32, copy=True),
                "terminated": dones & ~truncated,
                "truncated": truncated,
                "terminal_values": terminal_values,
            }
        )
        return True

    def _on_rollout_end(self) -> None:
        # Copies throughout: training flattens and shuffles the buffer's arrays.
        buffer = self.locals["rollout_buffer"]
        discrete = isinstance(self.model.action_space, gymnasium.spaces.Discrete)
        self.rollout = Rollout(
            observations=buffer.observations.copy(),
            actions=buffer.actions[:, :, 0].astype(np.int64) if discrete else buffer.actions.copy(),
            folded_rewards=buffer.rewards.copy(),
            values=buffer.values.copy(),
            episode_starts=buffer.episode_starts.copy(),
            last_values=self.locals["values"].cpu().numpy().flatten(),
            last_dones=self.locals["dones"].copy(),
            advantages=buffer.advantages.copy(),
            returns=buffer.returns.copy(),
            **{name: np.stack([step[name] for step in self._steps]) for name in self._steps[0]},
        )

    def _value_of(self, observation: NDArray[Any]) -> float:
        policy = self.model.policy
        assert isinstance(policy, ActorCriticPolicy)
        with torch.no_grad():
            return float(policy.predict_values(policy.obs_to_tensor(observation)[0])[0])


def record(recipe: Recipe) -> Rollout:
    """Train the recipe's agent and return its last rollout."""
    env = DummyVecEnv([_environment(recipe.env_id, limit) for limit in recipe.time_limits])
    model = PPO(
        "MlpPolicy",
        env,
        n_steps=recipe.num_steps,
        batch_size=recipe.batch_size,
        gamma=GAMMA,
        gae_lambda=GAE_LAMBDA,
        learning_rate=recipe.learning_rate,
        seed=recipe.seed,
        device="cpu",
    )
    # SB3 would leave a folder of logs behind for every run.
    model.set_logger(Logger(folder=None, output_formats=[]))
    recorder = RolloutRecorder()
    num_envs = len(recipe.time_limits)
    model.learn(recipe.num_rollouts * recipe.num_steps * num_envs, callback=recorder)
    assert recorder.rollout is not None
    return recorder.rollout


def next_values(rollout: Rollout) -> NDArray[np.float32]:
    """[T, N] V(true next observation); NaN where the next state is terminal."""
    following = np.vstack([rollout.values[1:], rollout.last_values])
    following = np.where(rollout.truncated, rollout.terminal_values, following)
    return np.where(rollout.terminated, np.float32(np.nan), following)


def long_table(rollout: Rollout) -> pa.Table:
    """One row per step, environment after environment, in time order within each."""
    num_steps, num_envs = rollout.rewards.shape
    # Numbered through the file, so that an id names one episode without its environment.
    starts = _by_env(rollout.episode_starts) > 0
    starts[::num_steps] = True
    following = _by_env(next_values(rollout))
    return pa.table(
        {
            "env_id": pa.array(np.repeat(np.arange(num_envs), num_steps), pa.int32()),
            "episode_id": pa.array(np.cumsum(starts) - 1, pa.int32()),
            "t": pa.array(np.tile(np.arange(num_steps), num_envs), pa.int32()),
            "obs": _vectors(_by_env(rollout.observations)),
            "action": _vectors(_by_env(rollout.actions)),
            "reward": pa.array(_by_env(rollout.rewards)),
            "value": pa.array(_by_env(rollout.values)),
            "next_value": pa.array(following, mask=np.isnan(following)),
            "terminated": pa.array(_by_env(rollout.terminated)),
            "truncated": pa.array(_by_env(rollout.truncated)),
        }
    )


def expected_table(rollout: Rollout) -> pa.Table:
    """SB3's numbers under the keys of `long_table`, in its row order."""
    return (
        long_table(rollout)
        .select(["env_id", "t"])
        .append_column("advantage", pa.array(_by_env(rollout.advantages)))
        .append_column("return", pa.array(_by_env(rollout.returns)))
    )


def write(name: str, rollout: Rollout, folder: Path) -> None:
    """Write every file of one agent."""
    expected = folder / "expected"
    expected.mkdir(parents=True, exist_ok=True)
    pq.write_table(long_table(rollout), folder / f"{name}.parquet", row_group_size=ROWS_PER_GROUP)
    pq.write_table(expected_table(rollout), expected / f"{name}.parquet")
    np.savez(
        folder / f"{name}_TN.npz",
        rewards=rollout.rewards,
        values=rollout.values,
        terminated=rollout.terminated,
        truncated=rollout.truncated,
        terminal_values=rollout.terminal_values,
        last_values=rollout.last_values,
    )
    # `return` is a keyword, so the names go through a dict.
    arrays: dict[str, Any] = {"advantage": rollout.advantages, "return": rollout.returns}
    np.savez(expected / f"{name}_TN.npz", **arrays)


def write_sb3_buffer(name: str, rollout: Rollout, folder: Path) -> None:
    """The arrays of SB3's RolloutBuffer under its own names: start flags, γV folded into rewards."""
    np.savez(
        folder / f"sb3_rollout_buffer_{name}.npz",
        rewards=rollout.folded_rewards,
        values=rollout.values,
        episode_starts=rollout.episode_starts,
        last_values=rollout.last_values,
        last_dones=rollout.last_dones,
        gamma=np.float64(GAMMA),
        gae_lambda=np.float64(GAE_LAMBDA),
    )


def describe(name: str, rollout: Rollout) -> str:
    terminated, truncated = int(rollout.terminated.sum()), int(rollout.truncated.sum())
    num_open = int((~rollout.last_dones).sum())
    return (
        f"{name}: {rollout.rewards.size} rows, {terminated + truncated + num_open} episodes: "
        f"{terminated} terminated, {truncated} truncated, {num_open} open"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Make gaecli's sample data.")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent, help="folder to write to")
    folder: Path = parser.parse_args().output

    # One thread: sums in another order would give other bytes.
    torch.set_num_threads(1)
    for name, recipe in RECIPES.items():
        rollout = record(recipe)
        write(name, rollout, folder)
        if name == "cartpole":
            write_sb3_buffer(name, rollout, folder)
        print(describe(name, rollout))


def _environment(env_id: str, time_limit: int) -> Callable[[], gymnasium.Env[Any, Any]]:
    return lambda: gymnasium.make(env_id, max_episode_steps=time_limit)


def _by_env(array: NDArray[Any]) -> NDArray[Any]:
    """[T, N, ...] to [N T, ...], one environment after the other."""
    return np.ascontiguousarray(array.swapaxes(0, 1)).reshape(-1, *array.shape[2:])


def _vectors(rows: NDArray[Any]) -> pa.Array:
    """[rows, n] as fixed_size_list[n]; [rows] as plain numbers."""
    if rows.ndim == 1:
        return pa.array(rows)
    return pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), rows.shape[1])


if __name__ == "__main__":
    main()
