"""gaecli against Stable-Baselines3's own numbers (`sample_data/`), by way of an oracle of plain floats.

SB3 computes in float32, so it is met to rtol 1e-5 and, as advantages of 150 come out of sums of
returns in the hundreds, atol 1e-4. The oracle loops over rows in Python and shares no code with
gaecli: that it meets SB3 shows that the sample data say what they claim; that gaecli meets SB3 on
the same files is the point of this file.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

SB3_TOLERANCE = {"rtol": 1e-5, "atol": 1e-4}
GAMMA, LAM = 0.99, 0.95
AGENTS = ("cartpole", "pendulum")


def advantages_of(rewards, values, next_values, terminated, cut):
    """δₜ = rₜ + γ (1 − dₜ) V(sₜ₊₁) − V(sₜ),  Aₜ = δₜ + γ λ (1 − cutₜ) Aₜ₊₁, one float after the other."""
    advantages = [0.0] * len(rewards)
    later = 0.0
    for t in reversed(range(len(rewards))):
        following = 0.0 if terminated[t] else next_values[t]
        delta = rewards[t] + GAMMA * following - values[t]
        later = delta if cut[t] else delta + GAMMA * LAM * later
        advantages[t] = later
    return advantages


def advantages_of_long(rows):
    """Of a list of rows; a trajectory ends at a flag and where (environment, episode) changes."""
    keys = [(row["env_id"], row["episode_id"]) for row in rows]
    cut = [
        row["terminated"] or row["truncated"] or index + 1 == len(rows) or keys[index + 1] != keys[index]
        for index, row in enumerate(rows)
    ]
    return advantages_of(
        [row["reward"] for row in rows],
        [row["value"] for row in rows],
        [row["next_value"] for row in rows],
        [row["terminated"] for row in rows],
        cut,
    )


def advantages_of_dense(arrays):
    """[T, N] of end flags, raw rewards, and V of the last observation where it is given."""
    columns = []
    num_steps, num_envs = arrays["rewards"].shape
    for env in range(num_envs):
        rewards, values, given = (
            arrays[name][:, env].tolist() for name in ("rewards", "values", "terminal_values")
        )
        following = [*values[1:], float(arrays["last_values"][env])]
        next_values = [
            inner if math.isnan(last) else last for inner, last in zip(following, given, strict=True)
        ]
        terminated = arrays["terminated"][:, env].tolist()
        cut = (arrays["terminated"] | arrays["truncated"])[:, env].tolist()
        cut[num_steps - 1] = True
        columns.append(advantages_of(rewards, values, next_values, terminated, cut))
    return np.array(columns).T


def advantages_of_buffer(arrays):
    """[T, N] of SB3's start flags: step t ended its episode where step t + 1 starts one.

    A time limit counts as terminal, for γ V of its last observation is in the reward already.
    """
    columns = []
    for env in range(arrays["rewards"].shape[1]):
        rewards, values, starts = (
            arrays[name][:, env].tolist() for name in ("rewards", "values", "episode_starts")
        )
        ends = [*(start == 1.0 for start in starts[1:]), bool(arrays["last_dones"][env])]
        next_values = [*values[1:], float(arrays["last_values"][env])]
        columns.append(advantages_of(rewards, values, next_values, ends, [*ends[:-1], True]))
    return np.array(columns).T


def read_columns(path: Path) -> dict[str, np.ndarray]:
    table = pq.read_table(path)
    return {name: table[name].to_numpy() for name in ("advantage", "return")}


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as archive:
        return dict(archive)


def assert_meets(found, expected):
    for name in ("advantage", "return"):
        assert found[name].shape == expected[name].shape
        np.testing.assert_allclose(found[name], expected[name], **SB3_TOLERANCE, err_msg=name)


class TestTheSampleData:
    """The oracle meets SB3 on every file."""

    @pytest.mark.parametrize("agent", AGENTS)
    def test_long_rows(self, sample_data, agent):
        rows = pq.read_table(sample_data / f"{agent}.parquet").to_pylist()
        expected_table = pq.read_table(sample_data / "expected" / f"{agent}.parquet")
        for key in ("env_id", "t"):
            assert [row[key] for row in rows] == expected_table[key].to_pylist()
        advantages = np.array(advantages_of_long(rows))
        values = np.array([row["value"] for row in rows])
        assert_meets(
            {"advantage": advantages, "return": advantages + values},
            read_columns(sample_data / "expected" / f"{agent}.parquet"),
        )

    @pytest.mark.parametrize("agent", AGENTS)
    def test_dense_arrays(self, sample_data, agent):
        arrays = read_arrays(sample_data / f"{agent}_TN.npz")
        advantages = advantages_of_dense(arrays)
        assert_meets(
            {"advantage": advantages, "return": advantages + arrays["values"]},
            read_arrays(sample_data / "expected" / f"{agent}_TN.npz"),
        )

    def test_sb3_buffer(self, sample_data):
        arrays = read_arrays(sample_data / "sb3_rollout_buffer_cartpole.npz")
        assert (float(arrays["gamma"]), float(arrays["gae_lambda"])) == (GAMMA, LAM)
        advantages = advantages_of_buffer(arrays)
        assert_meets(
            {"advantage": advantages, "return": advantages + arrays["values"]},
            read_arrays(sample_data / "expected" / "cartpole_TN.npz"),
        )

    @pytest.mark.parametrize("agent", AGENTS)
    def test_long_and_dense_hold_the_same_steps(self, sample_data, agent):
        table = pq.read_table(sample_data / f"{agent}.parquet")
        arrays = read_arrays(sample_data / f"{agent}_TN.npz")
        by_env = arrays["rewards"].shape[::-1]
        for column, array in (("reward", "rewards"), ("value", "values"), ("truncated", "truncated")):
            np.testing.assert_array_equal(
                table[column].to_numpy(zero_copy_only=False).reshape(by_env).T, arrays[array]
            )

    def test_every_kind_of_end_occurs(self, sample_data):
        cartpole = read_arrays(sample_data / "cartpole_TN.npz")
        ended = cartpole["terminated"] | cartpole["truncated"]
        assert cartpole["terminated"].any()
        assert cartpole["truncated"].any()
        assert not ended[-1].all(), "no trajectory of cartpole is open at the end of the rollout"
        pendulum = read_arrays(sample_data / "pendulum_TN.npz")
        assert pendulum["truncated"][-1].any(), "no time limit falls on the last row of pendulum"

    def test_a_truncation_read_as_a_termination_does_not_meet_sb3(self, sample_data):
        # The commonest mistake; if it passed unseen here, the tolerance would be worth nothing.
        rows = pq.read_table(sample_data / "cartpole.parquet").to_pylist()
        for row in rows:
            row["terminated"] = row["terminated"] or row["truncated"]
        expected = read_columns(sample_data / "expected" / "cartpole.parquet")["advantage"]
        assert np.abs(np.array(advantages_of_long(rows)) - expected).max() > 0.1


class TestGaeCompute:
    """`gae compute FILE`, no flags, writes SB3's numbers into the file."""

    @pytest.mark.parametrize("agent", AGENTS)
    def test_long_parquet(self, sample_data, copy_sample, run_gae, agent):
        path = copy_sample(f"{agent}.parquet")
        before = pq.read_table(path)
        result = run_gae("compute", path)
        assert result.returncode == 0, result.stderr
        assert_meets(read_columns(path), read_columns(sample_data / "expected" / f"{agent}.parquet"))
        assert pq.read_table(path).select(before.column_names).equals(before)

    @pytest.mark.parametrize("agent", AGENTS)
    def test_time_major_npz(self, sample_data, copy_sample, run_gae, agent):
        path = copy_sample(f"{agent}_TN.npz")
        before = read_arrays(path)
        result = run_gae("compute", path)
        assert result.returncode == 0, result.stderr
        after = read_arrays(path)
        assert_meets(after, read_arrays(sample_data / "expected" / f"{agent}_TN.npz"))
        for name, array in before.items():
            np.testing.assert_array_equal(after[name], array)

    def test_sb3_rollout_buffer(self, sample_data, copy_sample, run_gae):
        path = copy_sample("sb3_rollout_buffer_cartpole.npz")
        result = run_gae("compute", path)
        assert result.returncode == 0, result.stderr
        assert_meets(read_arrays(path), read_arrays(sample_data / "expected" / "cartpole_TN.npz"))


@pytest.mark.parity_heavy
class TestSb3Itself:
    """`gaecli.gae` against `RolloutBuffer.compute_returns_and_advantage` on random rollouts.

    Deselected by default; needs `pip install -c constraints.txt -e '.[test,samples]'`.
    """

    @pytest.mark.parametrize("end_probability", [0.0, 0.05, 0.5])
    @pytest.mark.parametrize(("num_steps", "num_envs"), [(1, 1), (64, 1), (128, 7), (1, 5)])
    @pytest.mark.parametrize(("gamma", "lam"), [(0.99, 0.95), (1.0, 1.0), (0.9, 0.0), (0.0, 0.5)])
    def test_random_rollouts(self, num_steps, num_envs, end_probability, gamma, lam):
        gymnasium, torch = pytest.importorskip("gymnasium"), pytest.importorskip("torch")
        RolloutBuffer = pytest.importorskip("stable_baselines3.common.buffers").RolloutBuffer

        import gaecli

        rng = np.random.default_rng([num_steps, num_envs, int(100 * end_probability)])
        shape = (num_steps, num_envs)
        rewards, values = rng.normal(size=(2, *shape)).astype(np.float32)
        last_values = rng.normal(size=num_envs).astype(np.float32)
        terminal_values = rng.normal(size=shape).astype(np.float32)
        ended = rng.random(shape) < end_probability
        terminated = ended & (rng.random(shape) < 0.5)
        truncated = ended & ~terminated

        box = gymnasium.spaces.Box(-1.0, 1.0, (1,))
        buffer = RolloutBuffer(num_steps, box, box, "cpu", gae_lambda=lam, gamma=gamma, n_envs=num_envs)
        # As `OnPolicyAlgorithm.collect_rollouts` does: γ V(terminal observation) goes into the reward.
        buffer.rewards = np.where(truncated, rewards + np.float32(gamma) * terminal_values, rewards)
        buffer.values = values
        buffer.episode_starts = np.vstack([np.ones(num_envs), ended[:-1]]).astype(np.float32)
        buffer.compute_returns_and_advantage(torch.from_numpy(last_values), ended[-1])

        following = np.vstack([values[1:], last_values])
        advantages, returns = gaecli.gae(
            rewards,
            values,
            terminated=terminated,
            truncated=truncated,
            next_values=np.where(truncated, terminal_values, following),
            layout="time-major",
            gamma=gamma,
            lam=lam,
        )
        np.testing.assert_allclose(advantages, buffer.advantages, **SB3_TOLERANCE)
        np.testing.assert_allclose(returns, buffer.returns, **SB3_TOLERANCE)
