"""Public bugs of arithmetic, dtypes and degenerate groups, each with the test that catches it."""

from __future__ import annotations

from itertools import product

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from parity import loops
from parity.rollouts import Rollout, block_of, estimate, random_rollout

import gaecli
from gaecli.estimators.recursion import gae_block
from gaecli.presets import PRESETS
from gaecli.settings import Settings


def constant_reward(num_steps: int) -> Rollout:
    zeros = np.zeros((1, num_steps))
    never = np.zeros((1, num_steps), bool)
    return Rollout(np.ones((1, num_steps)), zeros, zeros, never, never)


def test_long_episodes_do_not_underflow():
    """huggingface/trl#6626, #6635: γᵗ by the absolute index scaled A by γᵗ and ended in 0/0."""
    found, _ = estimate(block_of(constant_reward(2048)), Settings(gamma=0.9, lam=1.0))
    assert np.isfinite(found).all()
    assert found[1024] == pytest.approx(10.0, rel=1e-12)


@pytest.mark.parametrize(("gamma", "lam"), list(product([0.0, 1e-4, 0.5, 0.99, 1.0], repeat=2)))
def test_every_discount_works(gamma, lam):
    """pytorch/rl 0.14.1, vec_generalized_advantage_estimate: IndexError for λ = 0, γ = 0 and γλ < 1e-7."""
    rollout = random_rollout(1, num_envs=2)
    found, _ = estimate(block_of(rollout), Settings(gamma=gamma, lam=lam))
    expected = [loops.exact(**rollout.env(env), gamma=gamma, lam=lam)[0] for env in range(2)]
    np.testing.assert_allclose(found, np.reshape(expected, -1), rtol=1e-11, atol=1e-12)


@pytest.mark.few(4)
@pytest.mark.parametrize("dtype", [bool, np.int8, np.int64, np.uint8, np.float32, np.float64])
def test_flags_of_every_dtype(tmp_path, dtype):
    """pytorch/rl 0.14.1: `~1 == -2` for integers, inf for uint8, an exception for floats."""
    done = np.array([0, 0, 1, 0, 1])
    columns = {"reward": np.arange(5.0), "value": np.ones(5)}
    found = []
    for kind in (bool, dtype):
        pq.write_table(pa.table({**columns, "done": done.astype(kind)}), tmp_path / "r.parquet")
        gaecli.compute(tmp_path / "r.parquet", gamma=0.9, lam=0.8)
        found.append(pq.read_table(tmp_path / "r.parquet")["advantage"].to_pylist())
    assert found[0] == found[1]
    assert found[0][2] == 2.0 - 1.0


def test_a_null_flag_is_no_flag(tmp_path):
    """The same: what is neither 0 nor 1 has no meaning that could be guessed."""
    for done in ([0, None, 1], [0, 2, 1]):
        pq.write_table(
            pa.table({"reward": [1.0] * 3, "value": [1.0] * 3, "done": done}), tmp_path / "r.parquet"
        )
        with pytest.raises(gaecli.DataError, match="`done`"):
            gaecli.compute(tmp_path / "r.parquet")


def test_single_precision_keeps_its_digits():
    """pytorch/rl 0.14.1: the filter cut at 1e-7 cost float32 a digit over 4,000 steps."""
    rng = np.random.default_rng(2)
    rewards, values = rng.normal(size=(2, 4000)).astype(np.float32)
    cuts = np.zeros(4000, bool)
    given = {"cuts": cuts, "gamma": 0.99, "lam": 0.95}
    single = gae_block(rewards, values, **given, precision="single")
    double = gae_block(rewards, values, **given)
    np.testing.assert_allclose(single, double, rtol=1e-5, atol=1e-5)


def test_a_variance_far_from_zero(tmp_path):
    """THUDM/slime, Denys88/rl_games: E[x²] - E[x]² in float32 has no digits left at 1e4."""
    noise = np.random.default_rng(3).normal(size=20_000)
    columns = {"reward": 1e4 + noise, "value": np.zeros_like(noise), "done": np.ones(len(noise), bool)}
    pq.write_table(pa.table(columns), tmp_path / "r.parquet")
    summary = gaecli.compute(tmp_path / "r.parquet", preset="slime", normalize="all")
    assert summary.normalization.std == pytest.approx(noise.std(ddof=1), rel=1e-9)
    found = pq.read_table(tmp_path / "r.parquet")["advantage"].to_numpy()
    np.testing.assert_allclose(found, (noise - noise.mean()) / noise.std(ddof=1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", [name for name, row in PRESETS.items() if not row.over_units])
def test_inputs_are_left_as_they_were(name):
    """opendilab/DI-engine, ding/rl_utils/gae.py: next values were changed in place."""
    rollout = random_rollout(4)
    block = block_of(rollout)
    fields = ("rewards", "values", "terminated", "truncated", "cuts", "next_values")
    before = {field: getattr(block, field).copy() for field in fields}
    for field in fields:
        getattr(block, field).flags.writeable = False
    estimate(block, Settings.from_preset(name, **loops.SAID.get(name, {})))
    for field in fields:
        np.testing.assert_array_equal(getattr(block, field), before[field])


def test_strided_inputs():
    """Denys88/rl_games#358: views that are not contiguous gave wrong advantages without a word."""
    rng = np.random.default_rng(5)
    wide = rng.normal(size=(2, 3, 64))
    cuts = rng.random(64) < 0.1
    for view in (slice(None, None, 2), slice(None, None, -1), slice(3, 40)):
        rewards, values = wide[0, 1, view], wide[1, 2, view]
        strided = gae_block(rewards, values, cuts=cuts[view], gamma=0.9, lam=0.8)
        copied = gae_block(rewards.copy(), values.copy(), cuts=cuts[view].copy(), gamma=0.9, lam=0.8)
        np.testing.assert_array_equal(strided, copied)


def test_discounts_per_row():
    """pytorch/rl#400, #401, #2773: the vectorised path with a discount per row differed from the loop."""
    rng = np.random.default_rng(6)
    rewards, values, gammas, lams = rng.random(size=(4, 500))
    cuts = rng.random(500) < 0.05
    found = gae_block(rewards, values, cuts=cuts, gamma=gammas, lam=lams)
    expected, later = np.zeros(500), 0.0
    for t in reversed(range(500)):
        last = t == 499 or cuts[t]
        delta = rewards[t] - values[t] + (0.0 if last else gammas[t] * values[t + 1])
        later = delta + (0.0 if last else gammas[t] * lams[t] * later)
        expected[t] = later
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13)


def test_finite_horizon_of_lambda_one_is_the_mean_of_all_k_step_advantages():
    """mani-skill/ManiSkill#804, anthonytorlucci/rlevo#343: GAE gives all its weight to the longest one."""
    rollout = random_rollout(7, num_envs=1, num_steps=9, end_rate=0.0)
    rollout.truncated[0, -1] = True
    rewards, values, following = rollout.rewards[0], rollout.values[0], rollout.following[0]
    gamma = 0.9
    found, _ = estimate(block_of(rollout), Settings.from_preset("finite-horizon", gamma=gamma, lam=1.0))
    for t in range(9):
        k_steps = [
            sum(gamma**i * rewards[t + i] for i in range(k)) + gamma**k * following[t + k - 1] - values[t]
            for k in range(1, 9 - t + 1)
        ]
        assert found[t] == pytest.approx(np.mean(k_steps), abs=1e-12)


def test_finite_horizon_is_the_renormalised_mixture():
    """The same for any λ: weights λᵏ⁻¹ over their sum."""
    rollout = random_rollout(8, num_envs=1, num_steps=7, end_rate=0.0)
    rollout.terminated[0, -1] = True
    rewards, values, following = rollout.rewards[0], rollout.values[0], rollout.following[0].copy()
    following[-1] = 0.0
    found, _ = estimate(block_of(rollout), Settings.from_preset("finite-horizon", gamma=0.9, lam=0.6))
    for t in range(7):
        weights = 0.6 ** np.arange(7 - t)
        k_steps = [
            sum(0.9**i * rewards[t + i] for i in range(k)) + 0.9**k * following[t + k - 1] - values[t]
            for k in range(1, 7 - t + 1)
        ]
        assert found[t] == pytest.approx(np.average(k_steps, weights=weights), abs=1e-12)


NORMALIZING = [name for name, preset in PRESETS.items() if preset.mask_mode is None]


@pytest.mark.few(10)
@pytest.mark.parametrize("num_rows", [1, 6])
@pytest.mark.parametrize("name", NORMALIZING)
def test_one_row_or_equal_advantages_normalise_to_zero(tmp_path, name, num_rows):
    """DLR-RM/stable-baselines3#265, #325, #440, #1028 (the std of one row is NaN); thu-ml/tianshou#1298,
    hill-a/stable-baselines#722, #723, also Spinning Up and baselines ppo1 (no ε: 0/0)."""
    columns = {"reward": [0.1] * num_rows, "value": [0.3] * num_rows, "terminated": [True] * num_rows}
    if (
        PRESETS[name].reward_at == "arrival"
    ):  # flag and reward of the row before; one row more, which has no transition
        columns = {key: [*cells, cells[0]] for key, cells in columns.items()}
    pq.write_table(pa.table(columns), tmp_path / "r.parquet")
    summary = gaecli.compute(tmp_path / "r.parquet", preset=name, normalize="all")
    assert pq.read_table(tmp_path / "r.parquet")["advantage"].to_pylist()[:num_rows] == [0.0] * num_rows
    assert "zero-variance" in {note.code for note in summary.warnings}


@pytest.mark.parametrize("name", ["verl", "nemo", "trl", "openrlhf"])
@pytest.mark.parametrize("mask", [[1, 0, 0], [0, 0, 0]])
def test_one_kept_token_or_none(tmp_path, name, mask):
    """Whitening in verl, TRL and NeMo-RL: one token gives NaN or raises, none divides by 0."""
    columns = {"rewards": [[1.0] * 3], "values": [[0.5] * 3], "response_mask": [mask]}
    pq.write_table(pa.table(columns), tmp_path / "r.parquet")
    gaecli.compute(tmp_path / "r.parquet", preset=name)
    assert pq.read_table(tmp_path / "r.parquet")["advantage"].to_pylist() == [[0.0] * 3]


def test_ddof_is_that_of_the_library(tmp_path):
    """numpy and jax.numpy divide by n, torch by n - 1: a factor √2 for two rows."""
    columns = {"reward": [1.0, 3.0], "value": [0.0, 0.0], "terminated": [True, True]}
    found = {}
    for name in ("sb3", "cleanrl", "cleanrl-jax", "baselines-ppo2", "spinup", "rllib", "tianshou-npg"):
        pq.write_table(pa.table(columns), tmp_path / "r.parquet")
        gaecli.compute(tmp_path / "r.parquet", preset=name, normalize="all")
        found[name] = pq.read_table(tmp_path / "r.parquet")["advantage"].to_pylist()[1]
    assert {name: pytest.approx(number, abs=1e-6) for name, number in found.items()} == {
        "sb3": 0.5**0.5,
        "cleanrl": 0.5**0.5,
        "cleanrl-jax": 1.0,
        "baselines-ppo2": 1.0,
        "spinup": 1.0,
        "rllib": 1.0,
        "tianshou-npg": 0.5**0.5,
    }


def test_an_episode_that_cannot_be_used_counts_nowhere(tmp_path):
    """huggingface/trl#5773, #5902, OpenRLHF/OpenRLHF#1239: a missing reward became 0 and moved the baseline."""
    columns = {
        "episode_id": [0, 0, 1, 1, 2],
        "reward": [1.0, 2.0, None, 5.0, 4.0],
        "value": [0.0] * 5,
        "terminated": [False, True, False, True, True],
    }
    pq.write_table(pa.table(columns), tmp_path / "r.parquet")
    with pytest.raises(gaecli.DataError, match="`reward` is null"):
        gaecli.compute(tmp_path / "r.parquet")
    summary = gaecli.compute(
        tmp_path / "r.parquet", on_nan="drop-episode", normalize="all", gamma=0.0, preset="spinup"
    )
    found = pq.read_table(tmp_path / "r.parquet")["advantage"].to_pylist()
    kept = np.array([1.0, 2.0, 4.0])
    assert found[2:4] == [None, None]
    assert [found[0], found[1], found[4]] == pytest.approx(
        ((kept - kept.mean()) / kept.std()).tolist(), abs=1e-6
    )
    assert {note.code: note.count for note in summary.warnings}["dropped-episodes"] == 1
